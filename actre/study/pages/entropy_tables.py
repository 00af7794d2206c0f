"""A study's tables of action entropy: through training, at a matched temperature, and against success. No markup."""

import math
from collections.abc import Sequence

import numpy as np

from actre.study.findings import Found, of_condition
from actre.study.mediation import LEAST_RUNS, associations, end_of_stage_1, no_gain
from actre.study.pages.tables import Table
from actre.study.pages.words import name_of, seed_range
from actre.study.record import QUERIES, Record

_TIMES = ("at the start", "after stage 1", "at the end")


def entropy_tables(found: Found) -> list[Table]:
    """The tables that have rows."""
    made = (_through_training(found), _queries(found), _matched(found), _mediation(found))
    return [table for table in made if table.rows]


def _through_training(found: Found) -> Table:
    rows = []
    for condition, times in _measured(found):
        cells: list[str] = []
        for at in times:
            if not at:
                cells += ["–", "–"]
                continue
            low, high = ([one[f"think_first_{side}"]["value"] for one in at] for side in ("lower", "upper"))
            act = [one["act_first"]["value"] for one in at]
            bracket = f"{np.mean(low):.2f} to {np.mean(high):.2f}"
            cells += [_seeds(act), f"{bracket} ({seed_range([*low, *high], '.2f')})" if len(at) > 1 else bracket]
        rows.append((name_of(condition), *cells))
    names = ("arm", *(f"{order}, {when}" for when in _TIMES for order in ("act-first", "think-first")))
    note = (
        "Action entropy in nats on the fixed probe states at temperature 1, also for arms that sample at another: mean "
        "over seeds, in brackets the lowest and highest seed. Act-first's is exact, think-first's is the bracket of "
        "the marginal entropy. A bracket around act-first's value leaves the difference undecided; it does not show "
        "that there is none. A bracket beside it is no verdict, because these are means."
    )
    return Table("Action entropy through training", note, names, tuple(rows))


def _queries(found: Found) -> Table:
    rows = []
    for condition, times in _measured(found):
        cells = []
        for at in times:
            for name in QUERIES:
                values = [one[name]["value"] for one in at if name in one]
                cells.append(_seeds(values) if values else "–")
        rows.append((name_of(condition), *cells))
    rows = [row for row in rows if set(row[1:]) != {"–"}]
    names = ("arm", *(f"{order}, {when}" for when in _TIMES for order in ("act-first", "think-first")))
    note = (
        "Sampled entropy of the search query in nats, given that the policy searches. It is estimated from as many "
        "replies as thoughts, not exact: compare it between orders, not with other entropies. Mean over seeds, in "
        "brackets the lowest and highest seed."
    )
    return Table("Search queries", note, names, tuple(rows))


def _matched(found: Found) -> Table:
    rows = []
    for condition in found.part.conditions:
        lines = [
            line["matched"] for line in of_condition(found.part, found.lines, condition).values() if line.get("matched")
        ]
        for iteration in sorted({one[0] for line in lines for one in line}):
            at = [one for line in lines for one in line if one[0] == iteration]
            cells = (_seeds([one[place] for one in at]) for place in (1, 2, 3))
            rows.append((name_of(condition), f"{iteration + 1:.0f}", str(len(at)), *cells))
    note = (
        "The temperature at which think-first's action entropy (the middle of its bracket) equals act-first's at "
        "temperature 1; the arm samples at it from that iteration on. Entropies in nats; mean over seeds, in brackets "
        "the lowest and highest seed. Below 1 the arm's actions vary less than think_first's, above 1 more."
    )
    names = ("arm", "from iteration", "seeds", "temperature", "act-first's entropy", "reached")
    return Table("The matched temperature", note, names, tuple(rows))


def _mediation(found: Found) -> Table:
    part, lines = found.part, found.lines
    rows = tuple(
        (
            name_of(one.runs) if one.runs in part.conditions else one.runs,
            one.name.replace("_", "-"),
            str(one.n),
            f"{one.rho:+.2f}",
        )
        for one in associations(part, lines)
        if math.isfinite(one.rho)
    )
    note = (
        "Exploratory: Spearman's rank correlation, over runs, of final success with action entropy at the end of stage "
        "1 (for runs with one stage: at the nearest measurement); think-first's entropy is the middle of its bracket. "
        f"This is association only; runs are few, so no p is given, and no value for fewer than {LEAST_RUNS} runs. All "
        "trained runs together mix arms; within arms, each arm's mean is subtracted from both sides. Variants are left "
        "out."
    )
    first = next((one for one in found.compared if one.contrast.confirmatory), None)
    if first is not None and no_gain(first):
        note += " The first confirmatory contrast rules out a gain that matters, so there is nothing to mediate."
    return Table("Mediation", note, ("runs", "entropy", "runs counted", "correlation"), rows)


def _measured(found: Found) -> list[tuple[str, tuple[list[Record], ...]]]:
    """(condition, what its runs measured at each of `_TIMES`; nothing after stage 1 unless there are two stages)."""
    rows: list[tuple[str, tuple[list[Record], ...]]] = []
    for condition in found.part.conditions:
        measured = [line for line in of_condition(found.part, found.lines, condition).values() if line["entropy"]]
        if measured:
            run = next(run for run in found.part.runs if run.condition == condition)
            ends = [end_of_stage_1(line, run) for line in measured] if len(run.config.stages) == 2 else []
            first, last = ([line["entropy"][place] for line in measured] for place in (0, -1))
            middle = [_at(line, end) for line, end in zip(measured, ends, strict=False)]
            rows.append((condition, (first, middle, last)))
    return rows


def _at(line: Record, iteration: int) -> Record:
    """The measurement nearest to an iteration."""
    return dict(min(line["entropy"], key=lambda one: abs(one["iteration"] - iteration)))


def _seeds(values: Sequence[float]) -> str:
    mean = f"{math.fsum(values) / len(values):.2f}"
    return f"{mean} ({seed_range(values, '.2f')})" if len(values) > 1 else mean
