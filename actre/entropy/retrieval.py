"""Whether thoughts respond to the state: their mutual information with it, and how often they are traced back to it.

Template collapse (RAGEN-2, arXiv 2604.06268): a policy's thoughts still vary, so that their entropy is high, but they
are the same in every state. K thoughts are sampled in each of N fixed states, and each is scored in all N of them.

The likelihoods l are the policy's own and exact: the log-probability, at the sampling temperature, of the thought's
tokens as they were sampled, up to and including the opening action tag (or where the reply was cut).
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from actre.config import RunConfig, derive_seed
from actre.entropy.action_texts import thought_stop
from actre.entropy.probes import Probe
from actre.policies import Policy
from actre.stats import Interval, bootstrap
from actre.types import ActreError

_TOKENS = 2048
"""Most tokens of thoughts that are scored after one prompt at once. It bounds memory and does not change the result."""


class Retrieval(NamedTuple):
    """information: I(T; S) in nats, of at most log(states). accuracy: the share of thoughts whose own state is the one
    in which they are likeliest, by chance 1 / states. Intervals are over the states.
    """

    information: Interval
    accuracy: Interval
    states: int
    thoughts: int

    @property
    def chance(self) -> float:
        """The accuracy of thoughts that ignore the state."""
        return 1 / self.states


def retrieval(logps: ArrayLike) -> Retrieval:
    """Both measures from (N, K, N) log-probabilities in nats: [i, k, j] of state i's k-th thought in state j.

    I = mean over i, k of l_i - (log sum_j exp l_j - log N): the thought's log-likelihood in its own state, less that in
    a state drawn at random. It is the mutual information of thought and state where the N states are equally likely,
    and unbiased in the thoughts. Ties share a hit. Source: RAGEN-2 (arXiv 2604.06268), section 3.
    Differs: whole thoughts, not means per token, so that the value is in nats per thought and at most log N.
    Raises ValueError for another shape, fewer than 2 states, and NaN.

    Two states, a thought each: the first is e times as likely in its own state, the second says nothing.

    >>> found = retrieval([[[1.0, 0.0]], [[0.0, 0.0]]])
    >>> round(found.information.value, 4), found.accuracy.value, found.chance
    (0.1899, 0.75, 0.5)
    """
    given = np.asarray(logps, dtype=np.float64)
    if given.ndim != 3 or given.shape[0] != given.shape[2] or given.shape[0] < 2 or not given.shape[1]:
        raise ValueError(f"log-probabilities have shape {given.shape}: expected (N, K, N), with at least 2 states")
    if np.isnan(given).any():
        raise ValueError("log-probabilities hold NaN")
    states, thoughts, _ = given.shape
    own = given[np.arange(states), :, np.arange(states)]
    marginal = np.logaddexp.reduce(given, axis=2) - math.log(states)
    best = given.max(axis=2)
    hits = (own == best) / (given == best[..., None]).sum(axis=2)
    of_state = [(own - marginal).mean(axis=1), hits.mean(axis=1)]
    information, accuracy = (bootstrap(one, range(states)) for one in of_state)
    return Retrieval(information, accuracy, states, thoughts)


def measured(policy: Policy, probes: Sequence[Probe], config: RunConfig, *, seed: int) -> Retrieval:
    """Sample `config.probe.retrieval_thoughts` think-first thoughts in each of `retrieval_states` states; score them.

    Raises ActreError if fewer than 2 of the states have different prompts.
    """
    renderer = policy.renderer(config.prompt, "think_first")
    prompts = [renderer.probe_prompt(probe.observations, probe.actions) for probe in spread(probes)]
    distinct = list(dict.fromkeys(map(tuple, prompts)))[: config.probe.retrieval_states]
    if len(distinct) < 2:
        raise ActreError(
            f"{len(distinct)} state: whether thoughts tell states apart needs at least 2 of them: "
            "--set probe.retrieval_states=12, or 0 to leave it out"
        )
    k, temperature = config.probe.retrieval_thoughts, config.sampling.temperature
    replies = policy.generate(
        [prompt for prompt in distinct for _ in range(k)],
        max_new_tokens=config.sampling.max_reply_tokens,
        temperature=temperature,
        stop=thought_stop(force_action_tag=False),
        seed=derive_seed(seed, "retrieval"),
    )
    unique = list(dict.fromkeys(reply.token_ids for reply in replies))
    place = {ids: number for number, ids in enumerate(unique)}
    parts = []
    most = max(1, _TOKENS // max(map(len, unique)))  # all thoughts of a call are one tree with a square mask
    for first in range(0, len(unique), most):
        part = unique[first : first + most]
        parts.append(policy.action_logprobs(distinct, [part] * len(distinct), temperature=temperature))
    in_state = np.concatenate([np.stack(part, axis=1) for part in parts])  # (unique thoughts, N)
    return retrieval(in_state[[place[reply.token_ids] for reply in replies]].reshape(len(distinct), k, len(distinct)))


def spread(probes: Sequence[Probe]) -> list[Probe]:
    """The states in an order in which the first N have as many different games as there are."""
    seen: dict[str, int] = {}
    rounds = []
    for probe in probes:
        seen[probe.game] = seen.get(probe.game, -1) + 1
        rounds.append(seen[probe.game])
    return [probes[i] for i in sorted(range(len(probes)), key=lambda i: (rounds[i], i))]
