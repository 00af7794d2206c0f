"""Whether contraction explains a gain, as docs/protocol.md asks; always exploratory."""

import math
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from actre.stats import rank_correlation
from actre.study.findings import Comparison, Lines, rates, success_of
from actre.study.plan import PRIMARY, Part, Run
from actre.study.record import Record, results_of

LEAST_RUNS = 5
"""The fewest runs for a rank correlation: of 3 runs it can only be 1, 0.5, -0.5 or -1."""
QUANTITIES = ("act_first", "think_first")
ALL = "all trained runs but variants"


class Association(NamedTuple):
    """A rank correlation over runs: the quantity, the runs, rho, the number of runs."""

    name: str
    runs: str
    rho: float
    n: int


class Start(NamedTuple):
    """The verdicts on the untrained policy, one per seed, and the size of a measurement: states and thoughts."""

    verdicts: Counter[str]
    states: int
    thoughts: int


def start_of(part: Part, lines: Lines) -> Start | None:
    """The measurements before the first iteration, counted once per seed; None if there are none."""
    first: dict[int, Record] = {}
    for run in part.runs:
        for one in lines[run.key]["entropy"] if run.key in lines else ():
            if one["iteration"] == 0 and "verdict" in one:
                first.setdefault(run.seed, one)
    if not first:
        return None
    one = next(iter(first.values()))
    return Start(Counter(each["verdict"] for each in first.values()), one["states"], one["k"])


def closed_share(part: Part, lines: Lines, gap: Comparison, matched: str) -> float | None:
    """The share of a gap that the matched arm closes; None if there is no gap, or until all seeds are finished."""
    of = [rates(part, lines, name, *PRIMARY) for name in (gap.contrast.then, gap.contrast.first, matched)]
    if gap.finding != "support" or not set(gap.seeds) <= of[2].keys():
        return None
    then, first, middle = (sum(one[seed] for seed in gap.seeds) / len(gap.seeds) for one in of)
    return (middle - first) / (then - first)


def no_gain(gap: Comparison) -> bool:
    """Whether a gain that matters is ruled out, so that there is nothing to mediate."""
    return gap.finding in ("harm", "equivalent", "no worthwhile help")


def associations(part: Part, lines: Lines) -> list[Association]:
    """Rank correlations over runs of action entropy with final success; association only.

    Entropy at the end of stage 1 within each arm of two stages, and at the measurement nearest to it over all trained
    runs together: act-first's exact entropy, and the middle of think-first's bracket. "within arms": each arm's own
    mean is subtracted from both sides, so that a difference between arms is not read as a relation. Variants are left
    out, because their settings differ.
    """
    trained = [run for run in part.runs if run.trained and run.key in lines and run.variant == ""]
    ends = {run.key: end_of_stage_1(lines[run.key], run) for run in trained if len(run.config.stages) == 2}
    when = min(ends.values(), default=10)
    groups = {c: [r for r in trained if r.condition == c and r.key in ends] for c in part.conditions}
    found = []
    for runs, name in [*((runs, name) for name, runs in groups.items() if runs), (trained, ALL)]:
        for quantity in QUANTITIES:
            pairs = _pairs(runs, lines, ends, when, quantity)
            found.append(_association(quantity, name, [pair for _, *pair in pairs]))
            if name == ALL:
                found.append(_association(quantity, f"{ALL}, within arms", _centred(pairs)))
    return found


def end_of_stage_1(line: Record, run: Run) -> int:
    """The last measured iteration of stage 1, which may have ended before it was planned to; else the planned one."""
    measured = [one["iteration"] for one in line["entropy"] if one.get("stage") == 0]
    return max(measured, default=run.config.stages[0].iterations)


def entropy_at(line: Record, iteration: int, quantity: str) -> float:
    """Action entropy, nats, at the measurement nearest to an iteration: act-first exact, or the middle of think-first's
    bracket. NaN if nothing was measured.
    """
    if not line["entropy"]:
        return float("nan")
    nearest = min(line["entropy"], key=lambda e: abs(e["iteration"] - iteration))
    if quantity == "act_first":
        return float(nearest["act_first"]["value"])
    return float(nearest["think_first_lower"]["value"] + nearest["think_first_upper"]["value"]) / 2


def _pairs(
    runs: Sequence[Run], lines: Lines, ends: dict[str, int], when: int, quantity: str
) -> list[tuple[str, float, float]]:
    """(condition, entropy, success) of each measured run."""
    found = []
    for run in runs:
        value = entropy_at(lines[run.key], ends.get(run.key, when), quantity)
        if not math.isnan(value):
            found.append((run.condition, value, success_of(results_of(lines[run.key], *PRIMARY))))
    return found


def _centred(pairs: Sequence[tuple[str, float, float]]) -> list[list[float]]:
    """Each pair minus its condition's mean; conditions with one run are left out."""
    by_arm: dict[str, list[list[float]]] = {}
    for condition, *pair in pairs:
        by_arm.setdefault(condition, []).append(pair)
    several = [np.array(rows) for rows in by_arm.values() if len(rows) > 1]
    return [row for rows in several for row in (rows - rows.mean(axis=0)).tolist()]


def _association(quantity: str, runs: str, pairs: Sequence[Sequence[float]]) -> Association:
    few = len(pairs) < LEAST_RUNS
    rho = float("nan") if few else rank_correlation([v for v, _ in pairs], [s for _, s in pairs])
    return Association(quantity, runs, rho, len(pairs))
