"""A trie of candidates, so that tokens of shared beginnings are computed once. No model.

Of the words in "go to shelf 1", "go to shelf 2" and "take mug", "go to shelf" is computed once.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np


class Trie(NamedTuple):
    """Nodes are the proper prefixes of the candidates; each is one token to compute. Parents come first.

    tokens[m], parents[m] (-1: the prefix itself) and depths[m] (0 right after the prefix) describe node m.
    scores[a] lists the tokens of candidate a as pairs (node whose output predicts the token, token).
    ends[a]: the tokens that may be candidate a's last one, if there are several; else empty.
    """

    tokens: tuple[int, ...]
    parents: tuple[int, ...]
    depths: tuple[int, ...]
    scores: tuple[tuple[tuple[int, int], ...], ...]
    ends: tuple[tuple[int, ...], ...]


def build_trie(candidates: Sequence[Sequence[int]], ends: Sequence[tuple[int, ...]] = ()) -> Trie:
    """The trie of these candidates. ends: as in `Trie`; (): none. Raises ValueError for an empty candidate.

    >>> trie = build_trie([[5, 6, 7], [5, 6, 8], [9]])
    >>> trie.tokens, trie.parents, trie.depths
    ((5, 6), (-1, 0), (0, 1))
    >>> trie.scores[1]
    ((-1, 5), (0, 6), (1, 8))
    """
    nodes: dict[tuple[int, int], int] = {}
    depths: list[int] = []
    scores = []
    for candidate in candidates:
        if not candidate:
            raise ValueError("a candidate has no token")
        at, pairs = -1, []
        for depth, token in enumerate(candidate):
            pairs.append((at, token))
            if depth + 1 == len(candidate):
                break
            if (at, token) not in nodes:
                nodes[(at, token)] = len(depths)
                depths.append(depth)
            at = nodes[(at, token)]
        scores.append(tuple(pairs))
    tokens, parents = tuple(token for _, token in nodes), tuple(parent for parent, _ in nodes)
    return Trie(tokens, parents, tuple(depths), tuple(scores), tuple(ends) or ((),) * len(scores))


@lru_cache(maxsize=256)
def ancestors(parents: tuple[int, ...]) -> np.ndarray:
    """(nodes, nodes) bool: whether the column's node is the row's node or an ancestor of it.

    >>> ancestors((-1, 0, 0)).astype(int)
    array([[1, 0, 0],
           [1, 1, 0],
           [1, 0, 1]])
    """
    above = np.eye(len(parents), dtype=bool)
    for node, parent in enumerate(parents):
        if parent >= 0:
            above[node] |= above[parent]
    return above
