"""The sampling temperature at which an order's action entropy equals act-first's: what think_first_hot trains at.

Knows policies by their protocol and probe states through `diagnose`; not what is done with the temperature.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

from actre.config import RunConfig
from actre.entropy.diagnose import diagnose
from actre.entropy.probes import Probe
from actre.entropy.self_check import REPLIES
from actre.policies import Policy
from actre.types import ActreError, Order

LOWEST, HIGHEST = 0.3, 3.0
"""No temperature outside is tried: below, hardly anything is sampled but the likeliest; above, replies fall apart."""
STRIDE = 1.5
"""Where the target lies beyond all that is known, the next temperature is so many times as far."""
TRIES = 6
"""Measurements of one search at most, each of all probe states; `matched_temperature` makes one before it, at the run's
temperature."""
CLOSE_NATS = 0.03
"""A temperature is good enough where the two entropies differ by no more."""

GROSS = 0.1
"""A self-check that is off by more than this ends the run; smaller disagreements come up by chance in a long one."""


class Matched(NamedTuple):
    """What a search found. temperature: to sample at. target_nats: act-first's action entropy at the run's temperature.
    reached_nats: the order's own at `temperature`. They differ by more than `CLOSE_NATS` where no temperature between
    LOWEST and HIGHEST reaches the target, or TRIES measurements did not find it.
    """

    temperature: float
    target_nats: float
    reached_nats: float


def matched_temperature(
    policy: Policy, probes: Sequence[Probe], config: RunConfig, order: Order, *, seed: int, start: float | None = None
) -> Matched:
    """Search the temperature at which `order` is as varied in its actions as act-first at the run's temperature.

    Both are marginal action entropies, mean over the probe states: act-first's exact, think-first's the middle of its
    bracket from `config.probe.thoughts` thoughts, sampled and scored at the temperature that is tried (with the same
    seed for all). start: the last match, tried first. Raises ActreError where the exact probabilities are far from
    what is sampled.
    """

    wording = config.prompt.wording  # the prompts that are sampled from

    def measured(temperature: float, check_replies: int = 0) -> dict[str, float]:
        there = replace(config, sampling=replace(config.sampling, temperature=temperature))
        found = diagnose(
            policy,
            probes,
            there,
            thoughts=config.probe.thoughts,
            seed=seed,
            wording=wording,
            check_replies=check_replies,
        )
        if wrong := [one.words for one in found.self_check if not one.agrees and one.gap > GROSS]:
            raise ActreError(
                f"no temperature can be matched: exact probabilities are not those of what is sampled "
                f"({'; '.join(wrong)}). `actre diagnose` shows more; choose an arm without matched temperatures"
            )
        return {name: interval.value for name, interval in found.summary.items()}

    at_run = measured(config.sampling.temperature, REPLIES)
    known = {config.sampling.temperature: action_entropy(at_run, order)}
    return search(lambda t: action_entropy(measured(t), order), at_run["act_first"], known=known, start=start)


def action_entropy(means: dict[str, float], order: Order) -> float:
    """The marginal action entropy (nats) of an order in a diagnosis' means; of think-first the middle of its bracket.

    >>> action_entropy({"act_first": 1.2, "think_first_lower": 0.8, "think_first_upper": 1.0}, "think_first")
    0.9
    """
    if order == "think_first":
        return (means["think_first_lower"] + means["think_first_upper"]) / 2
    return means[order]


def search(
    entropy_at: Callable[[float], float],
    target_nats: float,
    *,
    known: dict[float, float],
    start: float | None = None,
    tries: int = TRIES,
) -> Matched:
    """The temperature where a rising function meets the target, as close as `tries` more values come.

    known: temperatures whose value is known, at least one. start: tried first. A noisy function may fall between two
    temperatures; the best of all that were tried is returned.

    >>> round(search(lambda t: t, 1.2, known={1.0: 1.0}).temperature, 2)  # after 1.5
    1.18
    >>> search(lambda t: t, 9.0, known={1.0: 1.0})
    Matched(temperature=3.0, target_nats=9.0, reached_nats=3.0)
    """
    seen = dict(known)

    def best() -> float:
        return min(seen, key=lambda t: abs(seen[t] - target_nats))

    for number in range(tries):
        if abs(seen[best()] - target_nats) <= CLOSE_NATS:
            break
        following = start if number == 0 and start is not None and start not in seen else _next(seen, target_nats)
        if following in seen:  # the end of the range
            break
        seen[following] = entropy_at(following)
    return Matched(best(), target_nats, seen[best()])


def _next(seen: dict[float, float], target: float) -> float:
    """The temperature to try after these: between two around the target, on a straight line over log temperature."""
    below = max((t for t in seen if seen[t] < target), default=None)
    above = min((t for t in seen if seen[t] >= target), default=None)
    if below is None:
        return max(LOWEST, min(seen) / STRIDE)
    if above is None:
        return min(HIGHEST, max(seen) * STRIDE)
    # kept off the ends, so that the range shrinks whatever the function's shape
    share = min(0.8, max(0.2, (target - seen[below]) / (seen[above] - seen[below])))
    return float(below ** (1 - share) * above**share)
