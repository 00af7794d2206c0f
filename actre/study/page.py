"""The study's HTML page: findings in words, charts and tables, in one file that loads nothing.

The comparisons are made in `findings` and `tables`.
"""

import math
import os
from collections.abc import Callable, Mapping
from pathlib import Path

from actre.stats import Interval
from actre.study.entropy_tables import entropy_tables
from actre.study.findings import Found, find, of_condition, rates
from actre.study.mediation import entropy_at
from actre.study.plan import Study
from actre.study.record import CURVE, Record
from actre.study.results import TINY
from actre.study.runner import PRIMARY
from actre.study.tables import Table, endpoint, over, tables
from actre.study.words import contrast_name, name_of, sentences, signed
from actre.view import blocks
from actre.view.html import Html, join, tag
from actre.view.page import document
from actre.view.palette import ARMS, GREY
from actre.view.rows import Mark, Row, row_chart
from actre.view.run_plots import Course, courses
from actre.view.still import chart

NAME = "study.html"
_WINDOW = 3
"""Iterations over which a training curve is smoothed."""
_DRAWN = 4
"""Arms in one chart at most."""
Point = tuple[float, float, float, float]
"""x, y, and the lowest and highest seed."""


def write_page(study: Study, lines: Mapping[str, Record], folder: Path) -> Path:
    """Write FOLDER/study.html; returns its path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / NAME
    part = path.with_name(path.name + ".part")
    part.write_text(page(study, lines), encoding="utf-8")
    os.replace(part, path)
    return path


def page(study: Study, lines: Mapping[str, Record]) -> str:
    """The page's text."""
    every = [find(part, lines) for part in study.parts]
    summary = tag(
        "div",
        [
            [tag("h2", f"{f.part.name} ({f.part.evidence})"), tag("ul", [tag("li", one) for one in sentences(f)])]
            for f in every
        ],
        class_="lead",
    )
    goes = (
        TINY
        if all(part.tiny for part in study.parts)
        else "What is said holds for this policy, budget and environment."
    )
    caution = tag("div", tag("p", tag("strong", "Limits. "), goes), class_="caution", role="note")
    done = sum(run.key in lines for run in study.runs)
    kicker = f"ActRe Lab · study {study.name} · {done} of {len(study.runs)} runs finished"
    parts = [(one.part.name, one.part.about, _part(one)) for one in every]
    parts.append(("made", "How it was made", _made(study, lines)))
    return document(f"{study.name}: study", kicker, study.about or study.name, join([summary, caution]), parts)


def _made(study: Study, lines: Mapping[str, Record]) -> Html:
    """Where each part's numbers come from, so that they can be made again."""
    commands = sorted({lines[run.key]["command"] for run in study.runs if run.key in lines})
    rows = [("command", command) for command in commands]
    if study.protocol is not None:
        rows.append(("judged by, fixed beforehand", os.path.normpath(study.protocol)))
    for part in study.parts:
        there = [lines[run.key] for run in part.runs if run.key in lines]
        config = part.runs[0].config
        rows.append((f"{part.name}: policy, environment", f"{config.model.name}, {config.env.name}"))
        rows.append((f"{part.name}: untrained weights", ", ".join(sorted({one["model"][:16] for one in there})) or "–"))
        rows.append(
            (f"{part.name}: environment steps of a run", f"{config.env_steps:,}" if config.env_steps else "not limited")
        )
        rows.append((f"{part.name}: seeds", ", ".join(map(str, part.seeds))))
        commits = sorted({one["versions"].get("commit", "–")[:10] for one in there})
        rows.append((f"{part.name}: commits of the kit", ", ".join(commits) or "–"))
    return blocks.table(("what", "which"), rows)


def _part(found: Found) -> Html:
    made = [*tables(found), *entropy_tables(found)]
    if not made:
        return blocks.missing("No results yet", "no run of this part is finished")
    charts = [
        _success(found),
        _contrasts(found),
        *(_training(found, axis) for axis in _AXES),
        *(_entropy(found, name) for name in _ENTROPIES),
    ]
    return join([*(chart for chart in charts if chart is not None), *map(_table, made)])


def _table(table: Table) -> Html:
    content = join([tag("p", table.note, class_="soft"), blocks.table(table.names, table.rows)])
    return blocks.folded(table.title, content) if table.long else join([tag("h3", table.title), content])


def _success(found: Found) -> Html | None:
    """Each arm's success on the primary endpoint: its seeds as open dots, their mean with its interval."""
    rows = []
    for one in found.summaries.get(PRIMARY, {}).values():
        of_seeds = rates(found.part, found.lines, one.condition, *PRIMARY).values()
        seeds = [Mark(Interval(rate, rate, rate), GREY, kind="circle-open", shift=0.3) for rate in of_seeds]
        mean = Mark(Interval(*one.success[:3]), ARMS[0], words=f"{100 * one.success.value:.0f}%")
        rows.append(Row(name_of(one.condition), (*seeds, mean)))
    if not rows:
        return None
    title, x = f"Success by arm, {endpoint(found.part)}", f"success, {endpoint(found.part)}"
    drawn = chart(row_chart(rows, title, x, low=0.0, high=1.0, percent=True, row_height=30.0))
    return blocks.figure(drawn, f"Means over seeds with the 95 % interval over {over(found.part)}; open: each seed.")


def _contrasts(found: Found) -> Html | None:
    compared = [one for one in found.compared if math.isfinite(one.both.low)]
    if not compared:
        return None
    rows, kind = [], None
    for one in compared:
        if one.contrast.confirmatory != kind:
            kind = one.contrast.confirmatory
            rows.append(Row("confirmatory" if kind else "exploratory"))
        dot = "circle" if one.complete else "circle-open"
        text = signed(100 * one.both.value) + ("" if one.complete else f" ({len(one.seeds)} of {one.planned})")
        mark = Mark(Interval(*one.both[:3]), ARMS[0] if kind else GREY, kind=dot, words=text)
        rows.append(Row(contrast_name(one.contrast), (mark,)))
    x = "difference in success, points of 100"
    drawn = chart(row_chart(rows, "Differences in success", x, low=-0.1, high=0.1, zero=True, percent=True))
    return blocks.figure(
        drawn,
        f"Differences in success on {endpoint(found.part)}, paired by seed, with the 95 % interval over "
        f"{over(found.part)}, not corrected for their number; open: interim, with so many of its seeds, from which "
        "nothing is concluded.",
    )


# --- through training ---

_AXES = {"env_steps": "environment steps", "generated_tokens": "generated tokens"}
_ENTROPIES = {"act_first": "act-first, exact", "think_first": "think-first, the middle of its bracket"}


def _training(found: Found, axis: str) -> Html | None:
    """Training success: each arm's mean over seeds, smoothed."""
    return _lines(
        found,
        "curve",
        lambda records: _mean_curve(records, axis),
        title=f"Success in training by {_AXES[axis]}",
        y_label="success",
        x_label=_AXES[axis],
        said=f"Training success by {_AXES[axis]}, {_WINDOW} iterations smoothed, at temperature 1 (or the one that is "
        "matched), in the order of the stage then.",
        share=True,
    )


def _entropy(found: Found, name: str) -> Html | None:
    """Action entropy on the probe states: each arm's mean over seeds."""
    return _lines(
        found,
        "entropy",
        lambda records: _entropy_course(records, name),
        title=f"Action entropy through training: {_ENTROPIES[name]}",
        y_label="nats",
        x_label="environment steps",
        said=f"Action entropy on the fixed probe states, {_ENTROPIES[name]}, at temperature 1.",
        share=False,
    )


def _lines(
    found: Found,
    needs: str,
    course: Callable[[list[Record]], list[Point]],
    *,
    title: str,
    y_label: str,
    x_label: str,
    said: str,
    share: bool,
) -> Html | None:
    """The confirmatory arms, or the first ones: mean over seeds, the band from their lowest to their highest."""
    part = found.part
    there = {c: list(of_condition(part, found.lines, c).values()) for c in part.conditions}
    able = [c for c in part.conditions if any(line[needs] for line in there[c])]
    named = {name for c in part.contrasts if c.confirmatory for name in c[:2]}
    drawn = [c for c in able if c in named or not named][:_DRAWN]
    series = [Course(name_of(c), course(there[c])) for c in drawn]
    if not any(one.points for one in series):
        return None
    figure = chart(courses(series, title, x_label, y_label, share=share))
    others = f" Drawn: {len(drawn)} of {len(able)} arms; the tables hold all." if len(drawn) < len(able) else ""
    return blocks.figure(
        figure,
        f"{said} Mean over seeds; band: their lowest and highest; ending where the first of its runs does.{others}",
    )


def _mean_curve(records: list[Record], axis: str) -> list[Point]:
    x_at, y_at = CURVE.index(axis), CURVE.index("success")
    length = min(len(line["curve"]) for line in records)
    points = []
    for i in range(_WINDOW - 1, length):
        window = range(i - _WINDOW + 1, i + 1)
        seeds = [math.fsum(line["curve"][j][y_at] for j in window) / _WINDOW for line in records]
        points.append(_point([line["curve"][i][x_at] for line in records], seeds))
    return points


def _entropy_course(records: list[Record], name: str) -> list[Point]:
    measured = [line for line in records if line["entropy"]]
    common = set.intersection(*({one["iteration"] for one in line["entropy"]} for line in measured))
    points = []
    for iteration in sorted(common):
        at = [next(one for one in line["entropy"] if one["iteration"] == iteration) for line in measured]
        seeds = [entropy_at(line, iteration, name) for line in measured]
        points.append(_point([one["env_steps"] for one in at], seeds))
    return points


def _point(xs: list[float], ys: list[float]) -> Point:
    return (math.fsum(xs) / len(xs), math.fsum(ys) / len(ys), min(ys), max(ys))
