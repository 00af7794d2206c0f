"""The charts of a study's HTML page."""

import math
from collections.abc import Callable
from functools import partial

from actre.study.findings import Found, of_condition, rates
from actre.study.mediation import entropy_at
from actre.study.plan import PRIMARY
from actre.study.record import CURVE, Record
from actre.study.tables import endpoint, over
from actre.study.words import contrast_name, name_of, signed
from actre.view import blocks, svg
from actre.view.html import Html
from actre.view.names import arm_css

_WIDTH = 736.0
_WINDOW = 3
"""Iterations over which a training curve is smoothed."""
_DRAWN = 4
"""The most arms in one chart."""


def figures(found: Found) -> list[Callable[[], Html | None]]:
    """The charts of a part, each drawn when called; None if nothing was recorded for it."""
    return [
        partial(_success, found),
        partial(_contrasts, found),
        *(partial(_training, found, axis) for axis in _AXES),
        *(partial(_entropy, found, name) for name in _ENTROPIES),
    ]


def _success(found: Found) -> Html | None:
    """Each arm's success on the primary endpoint: seeds as open dots, the mean with its interval."""
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
        title=f"Success by arm, {endpoint(found.part)}",
        x_label=f"success, {endpoint(found.part)}",
        low=0.0,
        high=1.0,
        label_width=20.0 + svg.CHAR * max(len(row.label) for row in rows),
        percent=True,
    )
    return blocks.figure(chart, f"Mean with its 95 % interval over {over(found.part)}; open dots: single seeds.")


def _contrasts(found: Found) -> Html | None:
    compared = [one for one in found.compared if math.isfinite(one.both.low)]
    if not compared:
        return None
    rows, kind = [], None
    for one in compared:
        if one.contrast.confirmatory != kind:
            kind = one.contrast.confirmatory
            rows.append(svg.Row("confirmatory" if kind else "exploratory", heading=True))
        cell = svg.Cell(
            "dot",
            "arm-0" if kind else "neutral",
            *one.both[:3],
            open=not one.complete,
            text=signed(100 * one.both.value) + ("" if one.complete else f" ({len(one.seeds)} of {one.planned})"),
        )
        rows.append(svg.Row(contrast_name(one.contrast), (cell,)))
    edge = max(0.1, *(abs(v) for one in compared for v in one.both[:3]))
    chart = svg.row_chart(
        rows,
        width=_WIDTH,
        title="Differences in success",
        x_label="difference in success, points of 100",
        low=-edge,
        high=edge,
        label_width=20.0 + svg.CHAR * max(len(contrast_name(one.contrast)) for one in compared),
        right=96.0,
        zero=True,
        percent=True,
    )
    return blocks.figure(
        chart,
        f"Differences in success on {endpoint(found.part)}, paired by seed, with the 95 % interval over "
        f"{over(found.part)}, not corrected for multiple contrasts; open dots: interim, some planned seeds are missing "
        "and nothing is concluded.",
    )


# --- through training ---

_AXES = {"env_steps": "environment steps", "generated_tokens": "generated tokens"}
_ENTROPIES = {"act_first": "act-first, exact", "think_first": "think-first, the middle of its bracket"}


def _training(found: Found, axis: str) -> Html | None:
    """Success in training: each arm's smoothed mean over seeds."""
    return _lines(
        found,
        "curve",
        lambda records: _mean_curve(records, axis),
        title=f"Success in training by {_AXES[axis]}",
        y_label="success",
        x_label=_AXES[axis],
        said=f"Success in training by {_AXES[axis]}, smoothed over {_WINDOW} iterations, at temperature 1 (or the "
        "matched one), in the order of the current stage.",
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
    course: Callable[[list[Record]], list[svg.Point]],
    *,
    title: str,
    y_label: str,
    x_label: str,
    said: str,
    share: bool,
) -> Html | None:
    """The arms of confirmatory contrasts, else the first arms: mean over seeds, band from lowest to highest seed."""
    part = found.part
    there = {c: list(of_condition(part, found.lines, c).values()) for c in part.conditions}
    able = [c for c in part.conditions if any(line[needs] for line in there[c])]
    named = {name for c in part.contrasts if c.confirmatory for name in c[:2]}
    drawn = [c for c in able if c in named or not named][:_DRAWN]
    series = [svg.Line(name_of(c), arm_css(i), course(there[c])) for i, c in enumerate(drawn)]
    if not any(line.points for line in series):
        return None
    chart = svg.line_chart(
        series,
        width=_WIDTH,
        height=300.0,
        title=title,
        y_label=y_label,
        x_label=x_label,
        y_top=1.0 if share else None,
        percent=share,
    )
    others = f" Shown: {len(drawn)} of {len(able)} arms; the tables have all." if len(drawn) < len(able) else ""
    return blocks.figure(
        chart,
        f"{said} Mean over seeds; band: lowest to highest seed; a line ends where its shortest run ends.{others}",
    )


def _mean_curve(records: list[Record], axis: str) -> list[svg.Point]:
    x_at, y_at = CURVE.index(axis), CURVE.index("success")
    length = min(len(line["curve"]) for line in records)
    points = []
    for i in range(_WINDOW - 1, length):
        window = range(i - _WINDOW + 1, i + 1)
        seeds = [math.fsum(line["curve"][j][y_at] for j in window) / _WINDOW for line in records]
        points.append(_point([line["curve"][i][x_at] for line in records], seeds))
    return points


def _entropy_course(records: list[Record], name: str) -> list[svg.Point]:
    measured = [line for line in records if line["entropy"]]
    common = set.intersection(*({one["iteration"] for one in line["entropy"]} for line in measured))
    points = []
    for iteration in sorted(common):
        at = [next(one for one in line["entropy"] if one["iteration"] == iteration) for line in measured]
        seeds = [entropy_at(line, iteration, name) for line in measured]
        points.append(_point([one["env_steps"] for one in at], seeds))
    return points


def _point(xs: list[float], ys: list[float]) -> svg.Point:
    return svg.Point(math.fsum(xs) / len(xs), math.fsum(ys) / len(ys), min(ys), max(ys))
