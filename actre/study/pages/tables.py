"""A study's successes as tables without markup, computed from its records."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from actre.stats import Interval, curve
from actre.study.findings import Comparison, Found, by_task_type, of_condition, rates
from actre.study.pages.words import contrast_name, games, name_of, p_value, points, seed_range, signed
from actre.study.plan import PRIMARY, Part
from actre.study.record import CURVE

GRID_PARTS = 6
"""Points along the budget at which training success is shown."""
_MOST_TYPES = 12
"""A part with more types has instructions, not types: it gets no table of them."""
_JACKKNIFED = "over seeds alone: the wider of the jackknife's t and a bootstrap within each task type"


class Table(NamedTuple):
    """A table with its title and a note on how to read it. long: collapsed if the page can."""

    title: str
    note: str
    names: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    long: bool = False


def tables(found: Found) -> list[Table]:
    """The tables of a part's successes that have rows; `entropy_tables` makes the others."""
    if not found.places:
        return []
    part, exploratory = found.part, [c for c in found.compared if not c.contrast.confirmatory]
    confirmatory = [c for c in found.compared if c.contrast.confirmatory]
    made = (
        _contrasts("Confirmatory contrasts", confirmatory, part, found.beside),
        _arms(found),
        _contrasts("Exploratory contrasts", exploratory, part, 0),
        _scores(found),
        _panels(found),
        _task_types(found),
        _efficiency(found, "env_steps", "environment steps"),
        _efficiency(found, "generated_tokens", "generated tokens"),
        _every_place(found),
        _runs(found),
    )
    return [table for table in made if table.rows]


def endpoint(part: Part) -> str:
    """The panel and order of the contrasts, in words; only a confirmatory part has the primary endpoint."""
    where = f"{PRIMARY[0]} {games(part)}, {PRIMARY[1].replace('_', '-')}"
    return f"{where}, the primary endpoint" if part.evidence == "confirmatory" else where


def over(part: Part) -> str:
    """What an interval covers, in words."""
    return f"seeds and {games(part)} (one seed has no interval over seeds: over {games(part)} alone)"


def seeds_of(one: Comparison) -> str:
    """The number of a comparison's seeds, and which they are if some planned ones are missing."""
    whole = f"{len(one.seeds)} of {one.planned}"
    return whole if one.complete else f"{whole}: {', '.join(map(str, one.seeds))}"


def _contrasts(title: str, compared: Sequence[Comparison], part: Part, beside: int) -> Table:
    """beside: the tests outside the part that Holm's correction covers too."""
    planned = sum(c.confirmatory == one.contrast.confirmatory for one in compared[:1] for c in part.contrasts)
    covered = f"this table's {planned} planned contrast{'' if planned == 1 else 's'}"
    if beside:
        covered += ", and the interaction between parts,"
    note = (
        f"Success on {endpoint(part)}, in points. Intervals are 95 %: the wider of Student's t over seeds "
        f"and a bootstrap over {over(part)}, and t's alone. "
        f"p: paired t over seeds; Holm's correction is over {covered} and is "
        "given once all seeds are finished; the findings equivalent and no worthwhile help are not corrected for "
        "multiple contrasts. g: Hedges' g over seeds, not given against untrained, whose seeds differ only in "
        "sampling. Improvement: the probability that a run of the first arm scores above one of the second, mean over "
        f"task types; its interval is {_JACKKNIFED}. Tokens: generated in training, first arm divided by second."
    )
    names = (
        "contrast",
        "seeds",
        f"difference [seeds and {games(part)}]",
        "[t]",
        "p",
        "Holm's p",
        "g",
        "improvement",
        "tokens",
        "finding",
    )
    rows = tuple(
        (
            contrast_name(one.contrast),
            seeds_of(one),
            points(one.both),
            f"[{signed(100 * one.test.low)}, {signed(100 * one.test.high)}]" if one.test.seeds > 1 else "–",
            p_value(one.test.p),
            p_value(one.p_holm),
            "–" if math.isnan(one.g) else signed(one.g, ".2f"),
            f"{one.improvement.value:.2f} [{one.improvement.low:.2f}, {one.improvement.high:.2f}]"
            if len(one.seeds) > 1
            else "–",
            f"{one.tokens[0] / one.tokens[1]:.2f}" if one.tokens[1] else "–",
            one.finding,
        )
        for one in compared
    )
    return Table(title, note, names, rows)


def _arms(found: Found) -> Table:
    rows = []
    for one in found.summaries.get(PRIMARY, {}).values():
        middle = f"{100 * one.middle.value:.1f}"
        if len(one.seeds) > 1:
            middle += f" [{100 * one.middle.low:.1f}, {100 * one.middle.high:.1f}]"
        rows.append(
            (
                name_of(one.condition),
                f"{len(one.seeds)}: {', '.join(map(str, one.seeds))}",
                _percent(one.success),
                middle,
                f"{one.steps:.1f}",
                *([_score(one.score, ".3f")] if one.score else []),
                f"{one.env_steps:,.0f}",
                f"{one.tokens:,.0f}",
            )
        )
    score, scored = (("score",), "Score: 0 to 1. ") if found.part.shop else ((), "")
    note = (
        f"Success in % on {endpoint(found.part)}, with the 95 % interval over {over(found.part)}: the wider of "
        f"Student's t over seeds and a bootstrap over both. Seeds: how many, and which. Interquartile mean: "
        f"over runs and task types; its interval is {_JACKKNIFED}. Steps: per evaluated episode. {scored}Environment "
        "steps and generated tokens: in training, mean per run."
    )
    names = ("arm", "seeds", "success", "interquartile mean", "steps", *score, "environment steps", "generated tokens")
    return Table("Every arm", note, names, tuple(rows))


def _scores(found: Found) -> Table:
    rows = tuple((contrast_name(c.contrast), seeds_of(c), _score(c.score)) for c in found.compared if c.score)
    note = f"WebShop's score, 0 to 1, on {endpoint(found.part)}; 95 % intervals over {over(found.part)}, not corrected."
    return Table("Contrasts of score", note, ("contrast", "seeds", "difference [seeds and goals]"), rows)


def _panels(found: Found) -> Table:
    places, of = found.places, found.summaries
    rows = tuple(
        (
            name_of(c),
            str(max(len(here[c].seeds) for here in of.values() if c in here)),
            *(_percent(of[place][c].success) if c in of[place] else "–" for place in places),
        )
        for c in found.part.conditions
        if any(c in here for here in of.values())
    )
    names = ("arm", "seeds", *(f"{panel}, {order.replace('_', '-')}" for panel, order in places))
    note = (
        f"Success in % by panel and order of evaluation, with 95 % intervals over {over(found.part)}. Seen and unseen "
        "are never pooled."
    )
    return Table("Every panel and order", note, names, rows)


def _task_types(found: Found) -> Table:
    of = by_task_type(found.part, found.lines, *PRIMARY)
    types = sorted({task for here in of.values() for task in here})
    if len(types) > _MOST_TYPES:
        return Table("", "", (), ())
    number = {task: one.games for here in of.values() for task, one in here.items()}
    rows = tuple((name_of(c), *(_seeds(here[t].rates) if t in here else "–" for t in types)) for c, here in of.items())
    names = ("arm", *(f"{task} ({number[task]})" for task in types))
    note = (
        f"Success in % on {endpoint(found.part)}: mean over seeds, in brackets the lowest and highest seed; after a "
        f"type's name, its number of {games(found.part)}."
    )
    return Table("By task type", note, names, rows)


def _every_place(found: Found) -> Table:
    """Every arm, panel, order and task type."""
    rows = []
    every = {place: by_task_type(found.part, found.lines, *place) for place in found.places}
    types = sorted({task for of in every.values() for here in of.values() for task in here})
    if len(types) > _MOST_TYPES:
        return Table("", "", (), ())
    for condition in found.part.conditions:
        for (panel, order), of in every.items():
            if condition in of:
                cells = [_seeds(of[condition][t].rates) if t in of[condition] else "–" for t in types]
                rows.append((name_of(condition), panel, order.replace("_", "-"), *cells))
    note = "Success in %: mean over seeds, in brackets the lowest and highest seed."
    return Table(
        "By task type, in every panel and order", note, ("arm", "panel", "order", *types), tuple(rows), long=True
    )


def _efficiency(found: Found, axis: str, words: str) -> Table:
    """Success in training at points along the budget."""
    part, lines = found.part, found.lines
    trained = [c for c in part.conditions if any(line["curve"] for line in of_condition(part, lines, c).values())]
    column = CURVE.index(axis)
    runs = {
        c: [[(float(p[column]), float(p[CURVE.index("success")])) for p in line["curve"]] for line in of.values()]
        for c in trained
        if (of := of_condition(part, lines, c))
    }
    end = max((run[-1][0] for several in runs.values() for run in several if run), default=0.0)
    grid = [end * (i + 1) / GRID_PARTS for i in range(GRID_PARTS)]
    rows = []
    for condition, several in runs.items():
        values = curve(several, grid, window=end / GRID_PARTS)
        cells = []
        for g in range(GRID_PARTS):
            there = values[~np.isnan(values[:, g]), g]
            cells.append(_seeds(there) if there.size == len(several) else "–")
        rows.append((name_of(condition), *cells))
    note = (
        "Success in training in %: mean over seeds, in brackets the lowest and highest seed. Each column covers the "
        f"{end / GRID_PARTS:,.0f} {words} before it. Temperature is 1 (or the matched one) and the order is the "
        "current stage's, so success is not comparable across orders; – if a run had ended."
    )
    return Table(f"In training, by {words}", note, ("arm", *(f"{x:,.0f}" for x in grid)), tuple(rows))


def _runs(found: Found) -> Table:
    part, lines = found.part, found.lines
    won = {c: rates(part, lines, c, *PRIMARY) for c in part.conditions}
    rows = []
    for run in part.runs:
        if run.key not in lines:
            continue
        line = lines[run.key]
        commit = line["versions"].get("commit", "–")[:10]
        rows.append(
            (
                name_of(run.condition),
                str(run.seed),
                f"{100 * won[run.condition][run.seed]:.1f}" if run.seed in won[run.condition] else "–",
                str(line["iterations"]),
                f"{line['env_steps']:,}",
                f"{line['generated_tokens']:,}",
                f"{line['seconds']:,.0f}",
                commit,
            )
        )
    names = ("arm", "seed", "success", "iterations", "environment steps", "generated tokens", "seconds", "commit")
    note = f"Every finished run; success on {endpoint(part)}, in %; seconds: wall-clock time of training."
    return Table("The runs", note, names, tuple(rows), long=True)


def _percent(band: Interval) -> str:
    return f"{100 * band.value:.1f} [{100 * band.low:.1f}, {100 * band.high:.1f}]"


def _score(band: Interval, form: str = "+.3f") -> str:
    return f"{band.value:{form}} [{band.low:{form}}, {band.high:{form}}]"


def _seeds(shares: Sequence[float] | np.ndarray) -> str:
    """Shares of several seeds in %: their mean, lowest and highest."""
    values = [100 * float(share) for share in shares]
    mean = f"{math.fsum(values) / len(values):.0f}"
    return f"{mean} ({seed_range(values, '.0f')})" if len(values) > 1 else mean
