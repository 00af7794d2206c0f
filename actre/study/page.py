"""The study's HTML page: findings in words, charts and tables, in one file that loads nothing.

Knows charts and the house's page; what is compared, and how, is `findings`' and `tables`'.
"""

import math
import os
from collections.abc import Mapping
from pathlib import Path

from actre.study.findings import Found, find, of_condition, rates
from actre.study.plan import Study
from actre.study.record import CURVE, Record
from actre.study.runner import PRIMARY
from actre.study.tables import Table, name_of, sentences, tables
from actre.view import blocks, svg
from actre.view.html import Html, join, tag
from actre.view.names import arm_css
from actre.view.page import document

NAME = "study.html"
_WIDTH = 736.0
_WINDOW = 3
"""Iterations over which a training curve is smoothed."""


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
    caution = tag(
        "div",
        tag("p", tag("strong", "How far this goes. "), "What a tiny policy does is evidence about itself alone."),
        class_="caution",
        role="note",
    )
    done = sum(run.key in lines for run in study.runs)
    kicker = f"ActRe Lab · study {study.name} · {done} of {len(study.runs)} runs finished"
    parts = [(one.part.name, one.part.about, _part(one)) for one in every]
    return document(f"{study.name}: study", kicker, study.about or study.name, join([summary, caution]), parts)


def _part(found: Found) -> Html:
    made = tables(found)
    if not made:
        return blocks.missing("No results yet", "no run of this part is finished")
    charts = [_success(found), _contrasts(found), *(_curves(found, axis) for axis in _AXES)]
    return join([*(chart for chart in charts if chart is not None), *map(_table, made)])


def _table(table: Table) -> Html:
    note = tag("p", table.note, class_="soft")
    return join([tag("h3", table.title), note, blocks.table(table.names, table.rows)])


def _success(found: Found) -> Html | None:
    """Each arm's success on the primary endpoint: its seeds as open dots, their mean with its interval."""
    rows = []
    for one in found.summaries.get(PRIMARY, {}).values():
        of_seeds = rates(found.part, found.lines, one.condition, *PRIMARY).values()
        seeds = [svg.Cell("dot", "neutral", rate, open=True, lane=8.0) for rate in of_seeds]
        text = f"{100 * one.success.value:.0f}%"
        mean = svg.Cell("dot", "arm-0", *one.success[:3], text=text)
        rows.append(svg.Row(name_of(one.condition), (*seeds, mean)))
    if not rows:
        return None
    chart = svg.row_chart(
        rows,
        width=_WIDTH,
        title="Success on unseen games by arm",
        x_label="success, think-first, unseen games",
        low=0.0,
        high=1.0,
        label_width=230.0,
        percent=True,
    )
    return blocks.figure(chart, "Means over seeds with the 95 % interval over seeds and games; open: each seed.")


def _contrasts(found: Found) -> Html | None:
    compared = [one for one in found.compared if math.isfinite(one.both.low)]
    if not compared:
        return None
    rows, kind = [], None
    for one in compared:
        if one.contrast.confirmatory != kind:
            kind = one.contrast.confirmatory
            rows.append(svg.Row("confirmatory" if kind else "exploratory", heading=True))
        label = f"{name_of(one.contrast.then)} − {name_of(one.contrast.first)}"
        cell = svg.Cell("dot", "arm-0" if kind else "neutral", *one.both[:3], text=f"{100 * one.both.value:+.0f}")
        rows.append(svg.Row(label, (cell,)))
    edge = max(0.1, *(abs(v) for one in compared for v in one.both[:3]))
    chart = svg.row_chart(
        rows,
        width=_WIDTH,
        title="Differences in success",
        x_label="difference in success, points of 100",
        low=-edge,
        high=edge,
        label_width=330.0,
        zero=True,
        percent=True,
    )
    return blocks.figure(chart, "Differences paired by seed, with the 95 % interval over seeds and games.")


_AXES = {"env_steps": "environment steps", "generated_tokens": "generated tokens"}


def _curves(found: Found, axis: str) -> Html | None:
    """Training success of the confirmatory arms, or the first four: each the mean over seeds, smoothed."""
    part, lines = found.part, found.lines
    named = [name for c in part.contrasts if c.confirmatory for name in c[:2]] or list(part.conditions)
    drawn = [
        c for c in part.conditions if c in named and any(x["curve"] for x in of_condition(part, lines, c).values())
    ]
    series = [
        svg.Line(c.partition("-")[0], arm_css(i), _mean_curve(list(of_condition(part, lines, c).values()), axis))
        for i, c in enumerate(drawn[:4])
    ]
    if not series:
        return None
    chart = svg.line_chart(
        series,
        width=_WIDTH,
        height=300.0,
        title=f"Success in training by {_AXES[axis]}",
        y_label="success",
        x_label=_AXES[axis],
        y_top=1.0,
        percent=True,
    )
    return blocks.figure(
        chart,
        f"Training success by {_AXES[axis]}: mean over seeds of {_WINDOW} iterations each, at temperature 1, in the "
        "order of the stage then. A line ends where the first of its runs does.",
    )


def _mean_curve(records: list[Record], axis: str) -> list[svg.Point]:
    x_at, y_at = CURVE.index(axis), CURVE.index("success")
    length = min(len(line["curve"]) for line in records)
    points = []
    for i in range(_WINDOW - 1, length):
        x = math.fsum(line["curve"][i][x_at] for line in records) / len(records)
        window = [line["curve"][j][y_at] for line in records for j in range(i - _WINDOW + 1, i + 1)]
        y = math.fsum(window) / len(window)
        points.append(svg.Point(x, y, y, y))
    return points
