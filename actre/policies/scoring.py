"""Exact log-probabilities of candidates, all those of a prefix in one pass over a tree of tokens with its own mask.

A candidate that stands for its text (`types.Spelling`) may end in any token that begins with its last token's text.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch

from actre.policies.cached import BLOCK_TOKENS, CachedModel, Prefilled, chunks
from actre.policies.rowcache import additive
from actre.policies.trie import Trie, build_trie
from actre.types import ActreError, Spelling

_LOGITS = 1 << 27  # most numbers in one tensor of logits (0.5 GB in float32)


def score(
    model: CachedModel,
    prefixes: list[tuple[int, ...]],
    tries: list[Trie],
    prefilled: Prefilled,
    temperature: float,
) -> list[np.ndarray]:
    """For each prefix, whose row must be computed already, its candidates' log-probabilities (A,), float64."""
    by_row = np.argsort(prefilled.slots)
    bound = min(BLOCK_TOKENS, max(1, _LOGITS // prefilled.logits.shape[-1]))
    result: list[np.ndarray] = [np.empty(0)] * len(prefixes)
    for start, stop in chunks([len(tries[i].tokens) + 1 for i in by_row], bound):
        chosen = by_row[start:stop]
        lengths = [len(prefixes[i]) for i in chosen]
        logits = _tree_logits(model, start, lengths, [tries[i] for i in chosen], prefilled.logits[start:stop])
        logps = torch.log_softmax(logits.float() / temperature, dim=-1)
        for row, i in enumerate(chosen):
            result[i] = _sum_scores(logps[row], tries[i])
    return result


def make_tries(
    candidates: Sequence[Sequence[Sequence[int]]], beginning_like: Callable[[int], tuple[int, ...]]
) -> list[Trie]:
    """One trie for each list of candidates, shared by equal lists. Raises ActreError for an empty candidate.

    beginning_like: the tokens whose text begins with a given token's text (`TokenTexts.beginning_like`).
    """
    made: dict[tuple[tuple[tuple[int, ...], tuple[int, ...]], ...], Trie] = {}
    tries = []
    for listed in candidates:
        key = tuple((tuple(ids), last_tokens(ids, beginning_like)) for ids in listed)
        if key not in made:
            try:
                made[key] = build_trie([ids for ids, _ in key], [ends for _, ends in key])
            except ValueError as error:
                raise ActreError(f"{error}; an action without text cannot be scored") from error
        tries.append(made[key])
    return tries


def last_tokens(candidate: Sequence[int], beginning_like: Callable[[int], tuple[int, ...]]) -> tuple[int, ...]:
    """The tokens that may be a candidate's last one, if there are several; else ()."""
    ends = beginning_like(candidate[-1]) if isinstance(candidate, Spelling) and candidate else ()
    return ends if len(ends) > 1 else ()


def _tree_logits(
    model: CachedModel, start: int, lengths: list[int], tries: list[Trie], last: torch.Tensor
) -> torch.Tensor:
    """Logits (rows, 1 + nodes, V): `last`, those after each prefix, then those after each node of its trie."""
    nodes = max(len(trie.tokens) for trie in tries)
    if nodes == 0:
        return last[:, None]
    block = _tree_block(lengths, tries, nodes)
    seen = block.seen.to(model.device)
    inner = model.forward(
        block.ids.to(model.device),
        block.columns.to(model.device),
        start,
        seen.shape[-1],
        mask=additive(seen, model.model.dtype),
        positions=block.positions.to(model.device),
        keep=0,
    )
    return torch.cat([last[:, None], inner], dim=1)


class _TreeBlock(NamedTuple):
    ids: torch.Tensor  # (rows, nodes)
    columns: torch.Tensor  # (rows, nodes), -1 for padding
    positions: torch.Tensor  # (rows, nodes)
    seen: torch.Tensor  # (rows, 1, nodes, width), bool


def _tree_block(lengths: list[int], tries: list[Trie], nodes: int) -> _TreeBlock:
    """The tries as one padded block. Each node sees the prefix of its row, its ancestors and itself."""
    rows = len(tries)
    width = max(length + len(trie.tokens) for length, trie in zip(lengths, tries, strict=True))
    ids = np.zeros((rows, nodes), dtype=np.int64)
    columns = np.full((rows, nodes), -1, dtype=np.int64)
    positions = np.zeros((rows, nodes), dtype=np.int64)
    seen = np.zeros((rows, 1, nodes, width), dtype=bool)
    for row, (length, trie) in enumerate(zip(lengths, tries, strict=True)):
        count = len(trie.tokens)
        ids[row, :count] = trie.tokens
        columns[row, :count] = range(length, length + count)
        positions[row, :count] = np.asarray(trie.depths, dtype=np.int64) + length
        seen[row, 0, :, :length] = True
        seen[row, 0, :count, length : length + count] = _ancestors(trie.parents)
    return _TreeBlock(*map(torch.from_numpy, (ids, columns, positions, seen)))


@lru_cache(maxsize=256)
def _ancestors(parents: tuple[int, ...]) -> np.ndarray:
    """(nodes, nodes) bool: whether the column's node is the row's node or an ancestor of it."""
    above = np.eye(len(parents), dtype=bool)
    for node, parent in enumerate(parents):
        if parent >= 0:
            above[node] |= above[parent]
    return above


def _sum_scores(logps: torch.Tensor, trie: Trie) -> np.ndarray:
    """(A,): each candidate's sum over its (node, token) pairs in logps (1 + nodes, V); its last token over its ends."""
    if not trie.scores:
        return np.empty(0)
    pairs = torch.tensor([pair for listed in trie.scores for pair in listed], device=logps.device)
    values = logps[pairs[:, 0] + 1, pairs[:, 1]].double().cpu().numpy()
    after = np.cumsum([len(listed) for listed in trie.scores])
    for ends in set(trie.ends) - {()}:
        last = [after[a] - 1 for a, own in enumerate(trie.ends) if own == ends]
        nodes, tokens = pairs[last, 0] + 1, torch.tensor(ends, device=logps.device)
        values[last] = torch.logsumexp(logps[nodes][:, tokens].double(), dim=-1).cpu().numpy()
    return np.add.reduceat(values, after - [len(listed) for listed in trie.scores])
