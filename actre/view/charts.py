"""Which numbers of a run become which SVG chart. Knows run records and `actre.view.svg`; no page, no
plain words.
"""

import math
import string
from collections.abc import Callable, Sequence

from actre.entropy.diagnose import StateDiagnosis
from actre.stats import Interval
from actre.view.episodes import compared
from actre.view.html import Html, tag
from actre.view.names import arm_css, order_name, task_name
from actre.view.records import EntropyPoint, RunRecord
from actre.view.success import Group, difference, groups, pick, same_start, success, task_types
from actre.view.svg import Area, Cell, Line, Mark, Point, Row, line_chart, row_chart

WIDE, NARROW = 736.0, 358.0


def both(draw: Callable[[float], Html]) -> Html:
    """A chart drawn twice; the style sheet shows the one that fits the screen."""
    wide = tag("div", draw(WIDE), class_="wide")
    return tag("div", wide, tag("div", draw(NARROW), class_="narrow"), class_="chart")


def entropy_at_start(point: EntropyPoint, width: float) -> Html:
    """Rows: act-first exact, think-first's bracket, what is left after a thought."""
    low, high = point.think_first_lower, point.think_first_upper
    known = high.value if math.isfinite(high.value) else low.high
    words = f"{low.value:.2f} – {high.value:.2f}" if math.isfinite(high.value) else f"above {low.value:.2f}"
    rows = [
        Row("act-first (exact)", [_dot("act", point.act_first, f"{point.act_first.value:.2f}")]),
        Row(
            "think-first (between)",
            [
                Cell("dot", "think", math.nan, low.low, _finite(high.high, known), text=words),
                Cell("bar", "think", known, low.value, known),
            ],
        ),
    ]
    none = point.others.get("no_think")
    if none is not None:
        rows.append(Row("no-think (exact)", [_dot("neutral", none, f"{none.value:.2f}", hollow=True)]))
    if math.isfinite(point.conditional.value):
        css, value = "neutral", point.conditional
        rows.append(Row("after a given thought", [_dot(css, value, f"{value.value:.2f}")]))
    ends = [c for row in rows for cell in row.cells for c in (cell.value, cell.high) if math.isfinite(c)]
    return row_chart(
        rows,
        width=width,
        title=f"Action entropy before training, nats: act-first {point.act_first.value:.2f}, think-first {words}",
        x_label="action entropy, nats",
        low=0.0,
        high=max(ends, default=1.0),
        label_width=160.0,
        stacked=width < 500,
        right=84.0,
    )


def entropy_by_state(states: Sequence[StateDiagnosis], width: float) -> Html:
    """A row per probe state, the most open first: act-first's dot on think-first's bracket."""
    ordered = sorted(states, key=lambda state: -state.act_first)
    rows = [
        Row(
            f"{task_name(state.task_type)}; step {state.step}",
            [
                Cell("bar", "think", state.upper, state.lower, _finite(state.upper, state.lower)),
                Cell("dot", "act", state.act_first),
            ],
        )
        for state in ordered
    ]
    ends = [v for state in states for v in (state.act_first, state.upper) if math.isfinite(v)]
    return row_chart(
        rows,
        width=width,
        title=f"Action entropy of {len(states)} probe states in both orders",
        x_label="action entropy, nats",
        low=0.0,
        high=max(ends, default=1.0),
        label_width=170.0,
        row_height=19.0,
        stacked=width < 500,
        right=20.0,
    )


def entropy_through_training(run: RunRecord, width: float, *, top: float) -> Html:
    """Act-first's line with its interval, think-first's bracket as an area, over environment steps."""
    act = [
        Point(
            p.env_steps,
            p.act_first.value,
            _finite(p.act_first.low, p.act_first.value),
            _finite(p.act_first.high, p.act_first.value),
        )
        for p in run.entropy
    ]
    think = [Point(p.env_steps, math.nan, p.think_first_lower.value, p.think_first_upper.value) for p in run.entropy]
    return line_chart(
        [Area("think-first", "think", think), Line("act-first", "act", act, dots=True)],
        width=width,
        height=250.0,
        title=f"Action entropy through training of {run.name}",
        y_label="action entropy, nats",
        x_label="environment steps",
        marks=_marks(run),
        y_top=top,
    )


def entropy_overlaid(runs: Sequence[RunRecord], order: str, width: float, *, top: float) -> Html:
    """One order's entropy of every run over environment steps: act-first as lines, think-first's brackets as areas."""
    lines: list[Line | Area] = []
    for index, run in enumerate(runs):
        css = arm_css(index)
        if order == "act_first":
            exact = [Point(p.env_steps, p.act_first.value, p.act_first.value, p.act_first.value) for p in run.entropy]
            lines.append(Line(mark_of(runs, index), css, exact, dots=True))
        else:
            points = [
                Point(p.env_steps, math.nan, p.think_first_lower.value, p.think_first_upper.value) for p in run.entropy
            ]
            lines.append(Area(mark_of(runs, index), css, points))
    return line_chart(
        lines,
        width=width,
        height=250.0,
        title=f"Action entropy through training, {order_name(order)}, of {len(runs)} runs",
        y_label=f"{order_name(order)} action entropy, nats",
        x_label="environment steps",
        y_top=top,
    )


def entropy_top(runs: Sequence[RunRecord]) -> float:
    """The highest entropy in any run, so that all are drawn on one scale."""
    values = [
        v
        for run in runs
        for p in run.entropy
        for v in (*p.act_first, p.think_first_lower.value, p.think_first_upper.value)
    ]
    return max((v for v in values if math.isfinite(v)), default=1.0)


def mark_of(runs: Sequence[RunRecord], index: int) -> str:
    """What stands at the end of a run's line: its name, or a letter where several names would need the room."""
    return runs[index].name if len(runs) <= 2 else string.ascii_uppercase[index % 26]


def learning_curves(runs: Sequence[RunRecord], metric: str, label: str, width: float) -> Html:
    """A metric of every run over environment steps: each iteration faint, the mean of the last five
    strong.
    """
    lines = []
    for index, run in enumerate(runs):
        curve = run.curve(metric)
        raw = [Point(x, y, y, y) for x, y in curve]
        smooth = [Point(x, y, y, y) for x, y in trailing_mean(curve, 5)]
        css = arm_css(index)
        lines += [Line("", css, raw, faint=True), Line(mark_of(runs, index), css, smooth)]
    # of more than two runs the words of the marks would lie on each other
    marks = [mark for run in runs for mark in _marks(run, name=len(runs) > 1)] if len(runs) <= 2 else []
    return line_chart(
        lines,
        width=width,
        height=270.0,
        title=f"{label} of {' and '.join(run.name for run in runs)} over environment steps",
        y_label=label,
        x_label="environment steps",
        marks=marks,
        y_from_zero=metric == "success",
        y_top=1.0 if metric == "success" and _top(runs, metric) > 0.75 else None,
        percent=metric == "success",
    )


def trailing_mean(curve: Sequence[tuple[float, float]], n: int) -> list[tuple[float, float]]:
    """The mean of each point and the up to n-1 before it.

    >>> trailing_mean([(1, 0.0), (2, 1.0), (3, 1.0)], 2)
    [(1, 0.0), (2, 0.5), (3, 1.0)]
    """
    out = []
    for i, (x, _) in enumerate(curve):
        last = [y for _, y in curve[max(0, i - n + 1) : i + 1]]
        out.append((x, sum(last) / len(last)))
    return out


def success_rows(runs: Sequence[RunRecord], width: float) -> Html:
    """Success with intervals before (open) and after (filled), a row per panel, order and run."""
    rows = []
    for group in groups(runs):
        rows.append(Row(f"{group.panel} games, {order_name(group.order)}", heading=True))
        rows += _before_after(runs, group)
    return _success_chart(rows, width, "Success before and after training, by panel and order")


def task_rows(runs: Sequence[RunRecord], group: Group, width: float) -> Html:
    """The same by task type, for one panel and order."""
    rows = []
    for task_type in task_types(runs):
        rows.append(Row(task_name(task_type), heading=True))
        rows += _before_after(runs, group, task_type)
    return _success_chart(rows, width, f"Success by task type on {group.panel} games")


def difference_rows(runs: Sequence[RunRecord], order: str, width: float) -> Html:
    """Paired differences: after minus before of each run, and between the runs that are compared, per panel."""
    rows = []
    for group in groups(runs):
        if group.order != order:
            continue
        found = [Row(label, [_dot(css, band, words)]) for label, css, band, words in differences(runs, group)]
        if found:
            rows += [Row(f"{group.panel} games", heading=True), *found]
    bands = [cell for row in rows for cell in row.cells]
    low = min([c.low for c in bands if math.isfinite(c.low)] + [0.0])
    high = max([c.high for c in bands if math.isfinite(c.high)] + [0.0])
    return row_chart(
        rows,
        width=width,
        title="Paired differences in success, with 95 % intervals",
        x_label="difference in success",
        low=low,
        high=high,
        label_width=_label_width(rows, width, 210.0),
        zero=True,
        percent=True,
        stacked=width < 500,
        right=52.0,
    )


def differences(runs: Sequence[RunRecord], group: Group) -> list[tuple[str, str, Interval, str]]:
    """(label, colour class, difference, its value in words) of each paired comparison on one panel and
    order.
    """
    found = []
    for index, run in enumerate(runs):
        band = difference(pick(run, "before", group), pick(run, "after", group))
        if band is not None:
            found.append((f"{mark_of(runs, index)}: after − before", arm_css(index), band, _points(band)))
    for one, other in compared(runs):
        band = difference(pick(other, "after", group), pick(one, "after", group))
        if band is not None:
            label = " − ".join(mark_of(runs, runs.index(run)) for run in (one, other))
            found.append((label, "neutral", band, _points(band)))
    return found


def _before_after(runs: Sequence[RunRecord], group: Group, task_type: str | None = None) -> list[Row]:
    rows = []
    shared = len(runs) > 1 and same_start(runs, group)
    if shared:
        start = success(pick(runs[0], "before", group, task_type))
        if start is not None:
            rows.append(Row("before training", [_dot("neutral", start, _percent(start), hollow=True)]))
    for index, run in enumerate(runs):
        css = arm_css(index)
        before = None if shared else success(pick(run, "before", group, task_type))
        after = success(pick(run, "after", group, task_type))
        if before is not None:
            label = f"{run.name}, before"
            rows.append(Row(label, [_dot(css, before, _percent(before), hollow=True)]))
        if after is not None:
            rows.append(Row(f"{run.name}, after", [_dot(css, after, _percent(after))]))
    return rows


def _success_chart(rows: Sequence[Row], width: float, title: str) -> Html:
    return row_chart(
        rows,
        width=width,
        title=f"{title}, with 95 % intervals",
        x_label="share of games won",
        low=0.0,
        high=1.0,
        label_width=_label_width(rows, width, 170.0),
        percent=True,
        row_height=24.0,
        stacked=width < 500,
        right=44.0,
    )


def _label_width(rows: Sequence[Row], width: float, least: float) -> float:
    """Room for the longest label, at most half the chart."""
    return min(max(least, max((len(row.label) for row in rows if not row.heading), default=0) * 6.3 + 12), width / 2)


def _marks(run: RunRecord, name: bool = False) -> list[Mark]:
    who = f"{run.name}: " if name else ""
    return [Mark(x, f"{who}{order_name(after)} from here") for x, _, after in run.switches]


def _dot(css: str, band: Interval, words: str, hollow: bool = False) -> Cell:
    return Cell("dot", css, band.value, band.low, band.high, open=hollow, text=words)


def _percent(band: Interval) -> str:
    return f"{band.value * 100:.0f}%"


def _points(band: Interval) -> str:
    rounded = round(band.value * 100)
    return "0" if rounded == 0 else f"{rounded:+d}".replace("-", "−")


def _top(runs: Sequence[RunRecord], metric: str) -> float:
    return max((y for run in runs for _, y in run.curve(metric)), default=0.0)


def _finite(value: float, otherwise: float) -> float:
    return value if math.isfinite(value) else otherwise
