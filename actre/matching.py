"""The sampling temperature at which one order's action entropy is another's, on the probe states.

Knows diagnoses and a search; trains nothing. The arm think_first_hot is sampled at it: the entropy of act-first,
without acting first.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

from actre.config import RunConfig, derive_seed
from actre.diagnose import diagnose
from actre.policies import Policy
from actre.probes import Probe, probes_for
from actre.types import ActreError, Order

RANGE = (0.4, 2.5)
"""Temperatures tried: outside, a policy that was trained at 1 is hardly itself."""
CLOSE_NATS = 0.02
TRIES = 7
"""Measurements at most; each halves the range, on a logarithmic scale."""


class Match(NamedTuple):
    """The temperature found, the entropy wanted and the one reached, in nats. Apart where the range ends before."""

    temperature: float
    wanted_nats: float
    reached_nats: float


def matched(policy: Policy, probes: Sequence[Probe], config: RunConfig, *, seed: int) -> Match:
    """Think-first's temperature at which its marginal action entropy is act-first's at the run's temperature.

    Act-first's is exact; think-first's is the middle of its bracket from `probe.thoughts` thoughts a state, sampled
    with the same seed at every temperature tried. The bracket's middle is an estimate: it matches as well as K allows.
    """
    wanted = _measured(policy, probes, config, config.sampling.temperature, seed)[0]
    return search(lambda t: _measured(policy, probes, config, t, seed)[1], wanted)


def search(entropy_at: Callable[[float], float], wanted: float) -> Match:
    """Bisection for an entropy that grows with temperature; the nearest end of RANGE where it lies outside.

    >>> search(lambda t: t, 1.0).temperature
    1.0
    """
    low, high = RANGE
    best = Match(float("nan"), wanted, float("inf"))
    for _ in range(TRIES):
        middle = (low * high) ** 0.5
        reached = entropy_at(middle)
        if abs(reached - wanted) < abs(best.reached_nats - wanted):
            best = Match(middle, wanted, reached)
        if abs(reached - wanted) <= CLOSE_NATS:
            break
        low, high = (middle, high) if reached < wanted else (low, middle)
    return best


def training_match(config: RunConfig) -> Callable[[Policy, int], Match]:
    """(policy, iteration about to begin) -> the temperature for it. Raises ActreError for another pair of orders."""
    for stage in config.stages:
        pair: tuple[Order, Order | None] = (stage.order, stage.match)
        if stage.match is not None and pair != ("think_first", "act_first"):
            raise ActreError(f"a {pair[0]} stage matched to {pair[1]}: only think_first to act_first is there")
    probes = probes_for(config)

    def match(policy: Policy, iteration: int) -> Match:
        return matched(policy, probes, config, seed=derive_seed(config.seed, "match", iteration))

    return match


def _measured(
    policy: Policy, probes: Sequence[Probe], config: RunConfig, temperature: float, seed: int
) -> tuple[float, float]:
    """Mean action entropy in nats: act-first, and the middle of think-first's bracket."""
    at = replace(config, sampling=replace(config.sampling, temperature=temperature))
    summary = diagnose(policy, probes, at, thoughts=config.probe.thoughts, seed=seed).summary
    act, low, high = (summary[name].value for name in ("act_first", "think_first_lower", "think_first_upper"))
    return act, (low + high) / 2
