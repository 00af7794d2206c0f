"""The probability of an expert's action at fixed states, in both orders: what training changes, without playing.

Act-first it is exact. Think-first it is E[p(action | thought)], the mean over K sampled thoughts of the exact
probability after each: unbiased. Its logarithm is not: that of the mean is too low in expectation (Jensen), most where
few thoughts lead to the action, so it rises too much as that grows likelier. The jackknife removes the bias up to
O(1/K**2) but varies more (Nowozin 2018, Debiasing evidence approximations); the two ends are a bracket in this sense.
What K thoughts cannot tell from 0 must not decide: in both orders a probability below FLOOR has FLOOR's logarithm.
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from actre.config import RunConfig, derive_seed
from actre.entropy.action_texts import action_logps, after_reply, thought_stop
from actre.entropy.probes import Probe
from actre.orders import Opened
from actre.policies import Policy

FLOOR = 0.02
FLOOR_LOGP = math.log(FLOOR)
_BATCH_ROWS = 256


class ExpertState(NamedTuple):
    """A state and what the expert does in it. Its history has observations and actions only, as every probe's."""

    probe: Probe
    action: str


class ExpertScores(NamedTuple):
    """One entry per state. act_p, think_p: probabilities; act_logp, think_lower, think_upper: logarithms, in nats."""

    act_p: tuple[float, ...]
    think_p: tuple[float, ...]
    act_logp: tuple[float, ...]
    think_lower: tuple[float, ...]
    think_upper: tuple[float, ...]


def expert_scores(
    policy: Policy,
    states: Sequence[ExpertState],
    config: RunConfig,
    *,
    thoughts: int,
    seed: int,
    force_action_tag: bool = False,
) -> ExpertScores:
    """The expert's action at every state, at `config.sampling.temperature`.

    thoughts: K, at least 2. A thought that never reaches an action gives it probability 0. Raises ValueError for K < 2.
    """
    if thoughts < 2:
        raise ValueError(f"{thoughts} thought: the bracket needs at least 2")
    prompt = replace(config.prompt, tags="first")
    act, think = policy.renderer(prompt, "act_first"), policy.renderer(prompt, "think_first")
    temperature = config.sampling.temperature
    size = max(1, _BATCH_ROWS // thoughts)
    exact: list[float] = []
    thought: list[np.ndarray] = []
    for first in range(0, len(states), size):
        part = states[first : first + size]
        prompts = [think.probe_prompt(one.probe.observations, one.probe.actions) for one in part]
        places = [Opened(act.probe_prompt(one.probe.observations, one.probe.actions), "") for one in part]
        scored = action_logps(policy, act, places, [(one.action,) for one in part], temperature=temperature)
        exact += [float(np.exp(logps[0])) for logps in scored]
        replies = policy.generate(
            [prompt for prompt in prompts for _ in range(thoughts)],
            max_new_tokens=config.sampling.max_reply_tokens,
            temperature=temperature,
            stop=thought_stop(force_action_tag=force_action_tag),
            seed=derive_seed(seed, "expert states", first),
        )
        reached = [after_reply(think, reply, force_action_tag=force_action_tag) for reply in replies]
        known = [r for r, place in enumerate(reached) if place is not None]
        after = action_logps(
            policy,
            think,
            [Opened((*prompts[r // thoughts], *reached[r].ids), reached[r].written) for r in known],  # type: ignore[union-attr]
            [(part[r // thoughts].action,) for r in known],
            temperature=temperature,
        )
        p = np.zeros(len(replies))
        p[known] = [float(np.exp(logps[0])) for logps in after]
        thought += [p[i * thoughts : (i + 1) * thoughts] for i in range(len(part))]
    ends = [log_mean(p) for p in thought]
    return ExpertScores(
        act_p=tuple(exact),
        think_p=tuple(float(p.mean()) for p in thought),
        act_logp=tuple(math.log(max(p, FLOOR)) for p in exact),
        think_lower=tuple(low for low, _ in ends),
        think_upper=tuple(high for _, high in ends),
    )


def log_mean(p: ArrayLike) -> tuple[float, float]:
    """The logarithm of a mean of K probabilities: the plug-in, and the jackknife, at most 0 and never below it.

    >>> [round(x, 4) for x in log_mean([0.5, 0.5])], [round(x, 4) for x in log_mean([0.2, 0.4, 0.3])]
    ([-0.6931, -0.6931], [-1.204, -1.1852])
    >>> log_mean([0.0, 0.0]) == (FLOOR_LOGP, FLOOR_LOGP)
    True
    """
    given = np.asarray(p, dtype=np.float64)
    k = given.size
    whole = max(FLOOR_LOGP, math.log(max(given.mean(), FLOOR)))
    without = np.log(np.maximum((given.sum() - given) / (k - 1), FLOOR))
    bias = (k - 1) * (whole - float(without.mean()))
    return whole, min(0.0, whole + max(0.0, bias))
