"""The sampling temperature at which an order's action entropy equals act-first's: what think_first_hot trains at."""

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
"""The range that is tried: below, sampling is almost greedy; above, replies fall apart."""
STRIDE = 1.5
"""The factor to the next temperature while the target lies outside the range measured so far."""
TRIES = 6
"""Most measurements of one search, each over all probe states; `matched_temperature` first makes one more, at the run's
temperature."""
CLOSE_NATS = 0.03
"""The search ends once the two entropies differ by no more than this."""

GROSS = 0.1
"""A self-check that is off by more than this ends the run; in a long run smaller disagreements occur by chance."""


class Matched(NamedTuple):
    """The result of a search. temperature: to sample at. target_nats: act-first's action entropy at the run's
    temperature. reached_nats: the order's own at `temperature`. They differ by more than `CLOSE_NATS` if no temperature
    between LOWEST and HIGHEST reaches the target, or TRIES measurements did not find it.
    """

    temperature: float
    target_nats: float
    reached_nats: float


def matched_temperature(
    policy: Policy, probes: Sequence[Probe], config: RunConfig, order: Order, *, seed: int, start: float | None = None
) -> Matched:
    """Search the temperature at which `order` has the action entropy of act-first at the run's temperature.

    Both are marginal action entropies, mean over the probe states: act-first's exact, think-first's the middle of its
    bracket from `config.probe.thoughts` thoughts, sampled and scored at each temperature tried (with the
    same seed). start: the last match, tried first. Raises ActreError if the exact probabilities are far from what is
    sampled.
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
                f"the temperature cannot be matched: the exact probabilities disagree with what is sampled "
                f"({'; '.join(wrong)}). `actre diagnose` shows more; or choose an arm without matched temperatures"
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
    """The temperature at which a rising function meets the target, within `tries` evaluations.

    known: temperatures already evaluated, at least one. start: tried first. The function may be noisy; the best of all
    temperatures tried is returned.

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
    """The next temperature to try: linear interpolation over log temperature between the two around the target."""
    below = max((t for t in seen if seen[t] < target), default=None)
    above = min((t for t in seen if seen[t] >= target), default=None)
    if below is None:
        return max(LOWEST, min(seen) / STRIDE)
    if above is None:
        return min(HIGHEST, max(seen) * STRIDE)
    # kept away from the ends, so that the range always shrinks
    share = min(0.8, max(0.2, (target - seen[below]) / (seen[above] - seen[below])))
    return float(below ** (1 - share) * above**share)
