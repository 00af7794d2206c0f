"""Entropy of search queries, in states with an open action such as search[<query>].

The exact distribution treats all queries of an open action as one class, because they cannot be listed. This is the
entropy within the class, H(query | open action). It is estimated from as many samples as thoughts and so cannot exceed
log K by much: compare it between orders, not with the exact entropies.
"""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from actre.entropy.estimators import CountMethod, entropy_from_counts
from actre.orders import END_ACTION
from actre.policies import Policy


class Asked(NamedTuple):
    """A state with an open action: token ids up to and including its verb, act-first and after each of the K thoughts.

    weights: (K,) the probability of the open action after each thought. Thoughts are drawn in proportion to it, so that
    queries are those of a policy that thinks and then takes the open action. begun: (K,) the beginning of the query
    that a thought's last token already contains.
    """

    act_prefix: tuple[int, ...]
    act_p: float
    think_prefixes: tuple[tuple[int, ...], ...]
    weights: np.ndarray
    begun: tuple[str, ...]


class QueryEntropy(NamedTuple):
    """In nats; None without an open action, or if the policy never takes it."""

    act_first: float | None
    think_first: float | None


NO_QUERY = QueryEntropy(None, None)


def query_entropies(
    policy: Policy,
    asked: Sequence[Asked | None],
    *,
    samples: int,
    temperature: float,
    max_new_tokens: int,
    method: CountMethod,
    seed: int,
) -> list[QueryEntropy]:
    """One per state, from `samples` queries in each order; all states are sampled in one batch."""
    rng = np.random.default_rng(seed)
    prefixes: list[tuple[int, ...]] = []
    begun: list[str] = []
    spans: list[tuple[range, range]] = []
    for one in asked:
        act: list[tuple[int, ...]] = []
        think: list[tuple[int, ...]] = []
        drawn: Sequence[int] = []
        if one is not None and one.act_p > 0:
            act = [one.act_prefix] * samples
        if one is not None and one.weights.sum() > 0:
            drawn = rng.choice(len(one.weights), size=samples, p=one.weights / one.weights.sum()).tolist()
            think = [one.think_prefixes[t] for t in drawn]
        start = len(prefixes)
        prefixes += act + think
        begun += [""] * len(act) + ([one.begun[t] for t in drawn] if one is not None else [])
        middle = start + len(act)
        spans.append((range(start, middle), range(middle, len(prefixes))))
    if not prefixes:
        return [NO_QUERY] * len(asked)
    replies = policy.generate(
        prefixes, max_new_tokens=max_new_tokens, temperature=temperature, stop=END_ACTION, seed=seed
    )
    whole = [before + reply.text for before, reply in zip(begun, replies, strict=True)]
    texts = [text.partition(END_ACTION)[0].strip().lower() for text in whole]
    return [QueryEntropy(*(_entropy([texts[i] for i in span], method) for span in pair)) for pair in spans]


def _entropy(texts: Sequence[str], method: CountMethod) -> float | None:
    return entropy_from_counts(np.array(list(Counter(texts).values())), method) if texts else None
