"""Plotly figures of runs: action entropy before and through training, learning curves, success and its differences.

`actre.view.plots` offers the public ones.
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import plotly.graph_objects as go

from actre.rollout.evaluate import Summary
from actre.stats import Interval
from actre.view.episodes import compared
from actre.view.names import order_name, task_name
from actre.view.palette import ARMS, GREY, ORDERS, arm_line, band, clear, interval, known, laid_out, plain
from actre.view.records import EntropyPoint, RunRecord
from actre.view.rows import Mark, Row, bar, row_chart
from actre.view.success import Group, difference, groups, pick, same_start, task_types
from actre.view.success import success as share_won
from actre.view.words import signed

_STEPS = "environment steps"
_METRICS = {"success": "share of episodes won", "return": "mean return, penalties included"}


def entropy_at_start(point: EntropyPoint) -> go.Figure:
    """Before training: act-first's exact value, think-first's bracket with its intervals, what a thought leaves."""
    act, think = ORDERS["act_first"], ORDERS["think_first"]
    low, high = point.think_first_lower, point.think_first_upper
    bounded = math.isfinite(high.value)
    words = f"{low.value:.2f} – {high.value:.2f}" if bounded else f"above {low.value:.2f}"
    end = high.value if bounded else low.high
    whisker = Interval(math.nan, low.low, high.high if math.isfinite(high.high) else end)
    rows = [
        Row("act-first (exact)", [_dot(point.act_first, act)]),
        Row("think-first (between)", [bar(low.value, end, think), Mark(whisker, think, kind="line", words=words)]),
    ]
    if "no_think" in point.others:
        rows.append(Row("no-think (exact)", [_dot(point.others["no_think"], GREY, hollow=True)]))
    if math.isfinite(point.conditional.value):
        rows.append(Row("after a given thought", [_dot(point.conditional, GREY)]))
    title = f"Does thinking first narrow the choice? Act-first {point.act_first.value:.2f} nats, think-first {words}"
    return row_chart(rows, title, "action entropy, nats", low=0.0)


def entropy_through_training(
    points: Sequence[EntropyPoint],
    title: str = "How broad is the choice through training?",
    switches: Sequence[tuple[float, str, str]] = (),
    top: float | None = None,
) -> go.Figure:
    """Act-first's line and think-first's bracket over environment steps, of one run.

    switches: `RunRecord.switches`, each drawn as a dotted line. top: the y axis' upper end.
    """
    steps = [p.env_steps for p in points]
    figure = go.Figure()
    _bracket(figure, points, name="think-first, between its bounds", line={"color": ORDERS["think_first"]})
    figure.add_trace(
        go.Scatter(
            x=steps,
            y=known(p.act_first.value for p in points),
            mode="lines+markers",
            line={"color": ORDERS["act_first"], "width": 2.5},
            name="act-first, exact",
            error_y=interval([p.act_first for p in points]),
        )
    )
    _mark_switches(figure, switches, GREY)
    return _from_zero(laid_out(figure, title, _STEPS, "action entropy, nats"), top)


def entropy_overlaid(runs: Sequence[RunRecord], order: str, top: float) -> go.Figure:
    """One order's entropy of every run over environment steps: act-first as lines, think-first's brackets as areas."""
    figure = go.Figure()
    for index, run in enumerate(runs):
        steps, name, look = [p.env_steps for p in run.entropy], plain([run.name])[0], arm_line(index)
        if order == "act_first":
            values = known(p.act_first.value for p in run.entropy)
            figure.add_trace(go.Scatter(x=steps, y=values, mode="lines+markers", name=name, **look))
        else:
            _bracket(figure, run.entropy, name=name, line=look["line"])
    title = f"How broad is the choice through training? {order_name(order).capitalize()}, {len(runs)} runs"
    return _from_zero(laid_out(figure, title, _STEPS, f"{order_name(order)}, nats"), top)


def entropy_top(runs: Sequence[RunRecord]) -> float:
    """The highest entropy in any run, for one scale."""
    points = [p for run in runs for p in run.entropy]
    ends = [v for p in points for v in (*p.act_first, p.think_first_lower.value, p.think_first_upper.value)]
    return max((v for v in ends if math.isfinite(v)), default=1.0)


def learning_curve(runs: Sequence[RunRecord], metric: str = "success", smooth: int = 5) -> go.Figure:
    """A metric of each run over environment steps: thin as recorded, thick as the mean of the last `smooth` iterations.

    A dotted line marks each change of order, of at most two runs.
    """
    figure = go.Figure()
    for index, run in enumerate(runs):
        curve, look = run.curve(metric), arm_line(index)
        mode = "lines" if len(runs) <= 4 and len(curve) > 1 else "lines+markers"  # a line of one point is nothing
        steps, values = [x for x, _ in curve], [y for _, y in curve]
        means = [sum(part) / len(part) for part in (values[max(0, i + 1 - smooth) : i + 1] for i in range(len(values)))]
        thin = {"color": clear(look["line"]["color"], 0.4), "width": 1}
        figure.add_trace(go.Scatter(x=steps, y=values, mode="lines", line=thin, showlegend=False, hoverinfo="skip"))
        figure.add_trace(go.Scatter(x=steps, y=means, mode=mode, **look, name=plain([run.name])[0]))
        if len(runs) <= 2:
            who = f"{run.name}: " if len(runs) > 1 else ""
            _mark_switches(figure, run.switches, look["line"]["color"], who, height=1 - 0.07 * index)
    figure.update_yaxes(rangemode="tozero", tickformat=".0%" if metric == "success" else None)
    return laid_out(figure, f"Does it learn? {metric.capitalize()} in training", _STEPS, _METRICS.get(metric, metric))


class Course(NamedTuple):
    """One series: x, y, and the low and high ends of its band. order: whose colour it has, if it shows an order."""

    name: str
    points: Sequence[tuple[float, float, float, float]]
    order: str | None = None


def courses(series: Sequence[Course], title: str, x: str, y: str, *, share: bool = False) -> go.Figure:
    """Lines with bands, from 0 up; share: y in per cent, to 100."""
    figure = go.Figure()
    for index, (name, points, order) in enumerate(series):
        xs, ys, low, high = ([point[i] for point in points] for i in range(4))
        line = arm_line(index)["line"] | ({"color": ORDERS[order]} if order else {})
        band(figure, xs, low, high, line=line)
        figure.add_trace(go.Scatter(x=xs, y=ys, mode="lines", line=line, name=plain([name])[0]))
    if share:
        figure.update_yaxes(tickformat=".0%")
    return _from_zero(laid_out(figure, title, x, y), 1.0 if share else None)


def success(summaries: dict[str, Sequence[Summary]]) -> go.Figure:
    """Success with 95 % intervals: name (a run, before or after) -> `evaluate.summarise` of its results.

    Only the lines over all task types are drawn.
    """
    whole = {name: [row for row in rows if row.task_type is None] for name, rows in summaries.items()}
    places = list(dict.fromkeys((row.panel, row.order) for rows in whole.values() for row in rows))
    rows = []
    for panel, order in places:
        rows.append(Row(f"{panel}, {order_name(order)}"))
        for index, (name, found) in enumerate(whole.items()):
            here = [
                _dot(one.success, ARMS[index % 4], share=True)
                for one in found
                if (one.panel, one.order) == (panel, order)
            ]
            rows += [Row(name, here)] if here else []
    return _won(rows, "How many games are won? With 95 % intervals")


def success_by_group(runs: Sequence[RunRecord]) -> go.Figure:
    """Success before (open) and after training (filled) of each run, by panel and order."""
    rows = []
    for group in groups(runs):
        rows += [Row(f"{group.panel} games, {order_name(group.order)}"), *_before_after(runs, group)]
    return _won(rows, "Are more games won after training? By panel and order, with 95 % intervals")


def success_by_task(runs: Sequence[RunRecord], group: Group) -> go.Figure:
    """The same by task type, for one panel and order."""
    rows = []
    for task_type in task_types(runs):
        rows += [Row(task_name(task_type)), *_before_after(runs, group, task_type)]
    return _won(rows, f"Which tasks are won? {group.panel.capitalize()} games, with 95 % intervals")


def success_differences(runs: Sequence[RunRecord], order: str) -> go.Figure | None:
    """Paired differences per panel: each run's after minus before, and those of compared runs. None without any."""
    rows = []
    for group in groups(runs):
        found = _differences(runs, group) if group.order == order else []
        rows += [Row(f"{group.panel} games"), *found] if found else []
    title = "Who wins more of the same games? Paired differences, with 95 % intervals"
    return row_chart(rows, title, "difference in success", percent=True, zero=True) if rows else None


def _differences(runs: Sequence[RunRecord], group: Group) -> list[Row]:
    found: list[tuple[str, str, Interval | None]] = []
    for index, run in enumerate(runs):
        gap = difference(pick(run, "before", group), pick(run, "after", group))
        found.append((f"{run.name}: after − before", ARMS[index % 4], gap))
    for one, other in compared(runs):
        gap = difference(pick(other, "after", group), pick(one, "after", group))
        found.append((f"{one.name} − {other.name}", GREY, gap))
    return [Row(label, [Mark(gap, color, words=signed(gap.value))]) for label, color, gap in found if gap is not None]


def _before_after(runs: Sequence[RunRecord], group: Group, task_type: str | None = None) -> list[Row]:
    """A row for each run and time; one for all before training where all began alike."""
    shared = len(runs) > 1 and same_start(runs, group)
    found = [("before training", GREY, share_won(pick(runs[0], "before", group, task_type)), True)] if shared else []
    for index, run in enumerate(runs):
        color = ARMS[index % 4]
        if not shared:
            found.append((f"{run.name}, before", color, share_won(pick(run, "before", group, task_type)), True))
        found.append((f"{run.name}, after", color, share_won(pick(run, "after", group, task_type)), False))
    return [
        Row(label, [_dot(won, color, hollow=hollow, share=True)])
        for label, color, won, hollow in found
        if won is not None
    ]


def _won(rows: Sequence[Row], title: str) -> go.Figure:
    return row_chart(rows, title, "share of games won", low=0.0, high=1.0, percent=True, row_height=24.0)


def _dot(found: Interval, color: str, *, hollow: bool = False, share: bool = False) -> Mark:
    words = f"{found.value * 100:.0f}%" if share else f"{found.value:.2f}"
    return Mark(found, color, kind="circle-open" if hollow else "circle", words=words)


def _bracket(figure: go.Figure, points: Sequence[EntropyPoint], *, name: str, line: dict[str, Any]) -> None:
    steps = [p.env_steps for p in points]
    low, high = [p.think_first_lower.value for p in points], [p.think_first_upper.value for p in points]
    band(figure, steps, low, high, name=name, line=line)


def _from_zero(figure: go.Figure, top: float | None) -> go.Figure:
    return figure.update_yaxes(**({"rangemode": "tozero"} if top is None else {"range": [0, 1.05 * top]}))


def _mark_switches(
    figure: go.Figure, switches: Sequence[tuple[float, str, str]], color: str, who: str = "", height: float = 1.0
) -> None:
    for at, _, after in switches:
        figure.add_vline(x=at, line={"color": color, "width": 1, "dash": "dot"})
        note = {"x": at, "y": height, "yref": "paper", "yanchor": "top", "xanchor": "left", "showarrow": False}
        text = plain([f"{who}{order_name(after)} from here"])[0]
        figure.add_annotation({**note, "text": text, "font": {"size": 11}})
