"""Exact log-probabilities of candidates, all those of a prefix in one pass over a tree of tokens with its own mask.

A candidate that stands for its text (`types.Spelling`) may end in any token that begins with its last token's text.
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch

from actre.policies.cached import BLOCK_TOKENS, CachedModel, Prefilled, chunks
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
        inner = model.runner.trees(start, lengths, [tries[i] for i in chosen])
        for last, after, i in zip(prefilled.logits[start:stop], inner, chosen, strict=True):
            logps = torch.log_softmax(torch.cat([last[None], after]).float() / temperature, dim=-1)
            result[i] = _sum_scores(logps, tries[i])
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
