"""The shared beginnings of a list of candidates, so that each token is computed once. Pure Python, no model.

"go to shelf 1", "go to shelf 2" and "take mug" have seven words between them, of which "go to shelf" is computed once.
"""

from collections.abc import Sequence
from typing import NamedTuple


class Trie(NamedTuple):
    """Nodes are the proper beginnings of the candidates, each node one token to compute; parents come first.

    tokens[m], parents[m] (-1: the prefix itself) and depths[m] (0 right after the prefix) describe node m.
    scores[a] lists, for candidate a, the pairs (node whose output predicts it, token), one pair a token.
    """

    tokens: tuple[int, ...]
    parents: tuple[int, ...]
    depths: tuple[int, ...]
    scores: tuple[tuple[tuple[int, int], ...], ...]


def build_trie(candidates: Sequence[Sequence[int]]) -> Trie:
    """The trie of these candidates. Raises ValueError for an empty candidate.

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
            raise ValueError("a candidate holds no token")
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
    return Trie(tuple(token for _, token in nodes), tuple(parent for parent, _ in nodes), tuple(depths), tuple(scores))
