"""A diagnosis's SVG charts: the difference by state, where the choice lies, parts, one state's distributions.

Knows diagnoses and `actre.view.svg`; no page. `svg_file` makes a chart a file of its own, for documents.
"""

import math
from collections.abc import Sequence
from pathlib import Path

from actre.entropy.diagnose import PARTS, Diagnosis, Part, StateDiagnosis, parts
from actre.view.html import Html
from actre.view.names import task_name
from actre.view.svg import Cell, Row, row_chart

_STYLE = Path(__file__).with_name("report.css")
_POSITIONS = {"early": "early in the episode", "late": "late in the episode"}
_SOURCES = {"expert": "where an expert played", "random": "after random play", "policy": "where a policy played"}


def difference_by_state(found: Diagnosis, width: float) -> Html:
    """Act-first minus think-first: the mean with its interval on top, then a bar a state, largest first."""
    c = found.contraction
    words = f"{c.lower.value:.2f} to {c.upper.value:.2f}"
    ends = Cell("dot", "arm-0", math.nan, c.interval.low, c.interval.high, text=words)
    rows = [
        Row("mean of all states", [ends, Cell("bar", "arm-0", c.difference.upper, *c.difference)]),
        Row("each state", heading=True),
    ]
    both = zip(found.states, c.per_state, strict=True)
    for state, bracket in sorted(both, key=lambda pair: -sum(pair[1])):
        label = f"{task_name(state.task_type)}; step {state.step}"
        rows.append(Row(label, [Cell("bar", "neutral", bracket.upper, bracket.lower, bracket.upper)]))
    title = f"Act-first minus think-first action entropy of {len(found.states)} states"
    return _differences(rows, width, title, row_height=19.0)


def difference_by_part(found: Diagnosis, width: float) -> Html:
    """The same means by position, source and task type, each with its interval."""
    rows: list[Row] = []
    for by, heading in zip(PARTS, ("by position", "by who played before", "by task type"), strict=True):
        rows.append(Row(heading, heading=True))
        rows += [_part_row(part, by) for part in parts(found.states, by, found.settings.seed)]
    return _differences(rows, width, "Act-first minus think-first action entropy by parts", row_height=26.0)


def listed_by_state(found: Diagnosis, width: float) -> Html | None:
    """Each state among its listed actions only: act-first's dot on think-first's bracket; None if not measured."""
    if found.listed is None:
        return None
    states = [(state, state.listed) for state in found.states if state.listed is not None]
    rows = [
        Row(
            f"{task_name(state.task_type)}; step {state.step}",
            [Cell("bar", "think", one.upper, one.lower, one.upper), Cell("dot", "act", one.act_first)],
        )
        for state, one in sorted(states, key=lambda pair: -pair[1].act_first)
    ]
    return row_chart(
        rows,
        width=width,
        title=f"Action entropy among the listed actions of {len(rows)} states",
        x_label="nats among the listed actions: dot act-first, bar think-first's bracket",
        low=0.0,
        high=max(cell.high if cell.kind == "bar" else cell.value for row in rows for cell in row.cells),
        label_width=190.0,
        row_height=19.0,
        stacked=width < 500,
        right=20.0,
    )


def part_name(name: str, by: str) -> str:
    """A part in words."""
    known = {"position": _POSITIONS, "source": _SOURCES}.get(by)
    return task_name(name) if known is None else known.get(name, name)


def decomposition(found: Diagnosis, width: float) -> Html:
    """Where the choice lies: act-first whole; think-first's two terms one after the other, then up to the bound."""
    mean = found.summary
    ends = {name: band.value for name, band in mean.items()}
    rows = [
        Row("act-first, whole", [_bar("act", 0.0, ends["act_first"])]),
        Row("think-first: left after a thought", [_bar("think", 0.0, ends["conditional"])]),
        Row("+ what the thought decides", [_bar("think", ends["conditional"], ends["think_first_lower"])]),
    ]
    if "think_first_upper" in ends:
        rows.append(
            Row("+ up to the upper bound", [_bar("neutral", ends["think_first_lower"], ends["think_first_upper"])])
        )
    return row_chart(
        rows,
        width=width,
        title="Where the choice lies, mean over the states",
        x_label="nats",
        low=0.0,
        high=max(v for name, v in ends.items() if name in ("act_first", "think_first_lower", "think_first_upper")),
        label_width=210.0,
        stacked=width < 500,
        right=64.0,
    )


def distributions(state: StateDiagnosis, width: float, most: int = 12) -> Html:
    """One state's action distribution in every order, the likeliest actions of any first."""
    orders = [("act", state.act_first_p, False), ("think", state.think_first_p, False)]
    if state.no_think_p is not None:
        orders.append(("neutral", state.no_think_p, True))
    ranked = sorted(range(len(state.actions)), key=lambda i: -max(p[i] for _, p, _ in orders))
    kept, left = ranked[:most], ranked[most:]
    groups: list[tuple[str, tuple[int, ...]]] = [(state.actions[i], (i,)) for i in kept]
    if left:
        groups.append((f"{len(left)} other listed actions", tuple(left)))
    groups.append(("anything else", (len(state.actions),)))
    rows = [
        Row(
            label,
            [
                Cell("dot", css, sum(p[i] for i in members), open=hollow, lane=5.0 * (lane - (len(orders) - 1) / 2))
                for lane, (css, p, hollow) in enumerate(orders)
            ],
        )
        for label, members in groups
    ]
    return row_chart(
        rows,
        width=width,
        title="One state's action distributions",
        x_label="probability",
        low=0.0,
        high=max(cell.value for row in rows for cell in row.cells),
        label_width=250.0,
        row_height=26.0,
        stacked=width < 500,
        right=20.0,
    )


def figures(found: Diagnosis, width: float) -> dict[str, Html]:
    """The charts that make files of their own, by name."""
    listed = listed_by_state(found, width)
    return {
        **({} if listed is None else {"listed_by_state": listed}),
        "difference_by_state": difference_by_state(found, width),
        "difference_by_part": difference_by_part(found, width),
        "decomposition": decomposition(found, width),
        "distributions": distributions(most_different(found), width),
    }


def most_different(found: Diagnosis) -> StateDiagnosis:
    """The state in which the two orders' distributions lie farthest apart (Jensen-Shannon)."""
    return max(found.states, key=lambda state: state.js)


def svg_file(chart: Html) -> str:
    """A chart as the text of an SVG file, with the report's colours, light and dark."""
    colours, _, rest = _STYLE.read_text(encoding="utf-8").partition("* { box-sizing")
    colours = colours.partition("*/")[2]
    lines = [line for line in rest.splitlines() if line.startswith(("svg ", ".arm-", ".act "))]
    style = "<style>" + colours + "\n".join(lines) + "</style>"
    opening, _, inner = str(chart).partition(">")
    return opening.replace("<svg", '<svg xmlns="http://www.w3.org/2000/svg"', 1) + ">" + style + inner + "\n"


def _part_row(part: Part, by: str) -> Row:
    low, high = part.difference_lower, part.difference_upper
    cells = [Cell("bar", "arm-0", high.value, low.value, high.value)]
    if math.isfinite(low.low) and math.isfinite(high.high):
        cells.insert(0, Cell("dot", "arm-0", math.nan, low.low, high.high))
    return Row(f"{part_name(part.name, by)} ({part.states})", cells)


def _bar(css: str, low: float, high: float) -> Cell:
    return Cell("bar", css, high, low, high, text=f"{high - low:.2f}")


def _differences(rows: Sequence[Row], width: float, title: str, *, row_height: float) -> Html:
    ends = [v for row in rows for cell in row.cells for v in (cell.low, cell.high) if math.isfinite(v)]
    return row_chart(
        rows,
        width=width,
        title=title,
        x_label="nats; right of zero: thinking first narrows",
        low=min([*ends, 0.0]),
        high=max([*ends, 0.0]),
        label_width=190.0,
        zero=True,
        row_height=row_height,
        stacked=width < 500,
        right=96.0,
    )
