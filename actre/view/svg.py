"""Static charts as inline SVG: line charts with bands, and row charts with intervals.

Knows numbers, labels and the CSS classes of `report.css`; no records, no files. Each chart is drawn for a
given width in px, so that a page can hold one for wide and one for narrow screens with text of the same size.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from actre.view.html import Html, tag

CHAR = 6.3  # average advance of the 12 px label font, in px: only used to leave room
_BOLD_CHAR = 7.3


class Point(NamedTuple):
    """One point of a line; low and high bound its band (equal to y where there is none)."""

    x: float
    y: float
    low: float
    high: float


@dataclass(frozen=True)
class Line:
    """A line with an optional band. `css` is a colour class; faint: drawn thin, without label (raw
    values).
    """

    label: str
    css: str
    points: Sequence[Point]
    faint: bool = False
    dots: bool = False


@dataclass(frozen=True)
class Area:
    """The region between two lines: a bracket. low and high of a point are its edges, y is not drawn."""

    label: str
    css: str
    points: Sequence[Point]


class Mark(NamedTuple):
    """A vertical line with words at its top."""

    x: float
    label: str


@dataclass(frozen=True)
class Cell:
    """One mark in a row: a dot (value) with whiskers, or a bar from low to high without a dot.

    open: a hollow dot. text: what stands at the right of the whiskers.
    """

    kind: Literal["dot", "bar", "tick"]
    css: str
    value: float
    low: float = math.nan
    high: float = math.nan
    open: bool = False
    text: str = ""
    lane: float = 0.0


@dataclass(frozen=True)
class Row:
    """One labelled row of a row chart; heading: a group's name without cells."""

    label: str
    cells: Sequence[Cell] = field(default_factory=tuple)
    heading: bool = False


def line_chart(
    lines: Sequence[Line | Area],
    *,
    width: float,
    height: float,
    title: str,
    y_label: str,
    x_label: str,
    marks: Sequence[Mark] = (),
    y_from_zero: bool = True,
    y_top: float | None = None,
    percent: bool = False,
) -> Html:
    """A chart of lines and areas over one x axis, each labelled at its right end."""
    drawn = [s for s in lines if s.points]
    xs = [p.x for s in drawn for p in s.points]
    ys = [v for s in drawn for p in s.points for v in (p.y, p.low, p.high) if math.isfinite(v)]
    labels = [s for s in drawn if s.label]
    right = 14 + max((len(s.label) for s in labels), default=0) * _BOLD_CHAR
    left, top, bottom = 40.0, 34.0, 40.0
    y_ticks = ticks(0.0 if y_from_zero else min(ys, default=0.0), y_top if y_top is not None else max(ys, default=1.0))
    x_low = min(0.0, *xs) if xs else 0.0
    x_ticks = ticks(x_low, max(xs, default=1.0), most=max(3, int((width - left - right) / 80)))
    if len(x_ticks) > 1 and x_ticks[-1] > max(xs, default=1.0):
        x_ticks = x_ticks[:-1]
    x_at = _scale(x_low, max(xs, default=1.0), left, width - right)
    y_at = _scale(y_ticks[0], y_ticks[-1], height - bottom, top)
    parts = [
        _y_grid(y_ticks, y_at, left, width - right, percent),
        _x_axis(x_ticks, x_at, height - bottom, x_label, left, width - right),
        tag("text", y_label, x=0, y=12, class_="axis-name"),
    ]
    parts += [_mark(mark, x_at, top, height - bottom, width - right) for mark in marks]
    parts += [_area(s, x_at, y_at) for s in drawn if isinstance(s, Area)]
    parts += [_line(s, x_at, y_at) for s in drawn if isinstance(s, Line)]
    parts.append(_end_labels(labels, y_at, width - right + 8, top, height - bottom))
    return _svg(parts, width, height, title)


def row_chart(
    rows: Sequence[Row],
    *,
    width: float,
    title: str,
    x_label: str,
    low: float,
    high: float,
    label_width: float,
    zero: bool = False,
    percent: bool = False,
    row_height: float = 30.0,
    stacked: bool = False,
    right: float = 56.0,
) -> Html:
    """Rows of dots with whiskers, or bars, on one x axis.

    stacked: each row's label stands above its marks instead of at their left (narrow screens). zero: a
    strong line at 0.
    """
    left = 10.0 if stacked else label_width
    per_row = row_height + (18.0 if stacked else 0.0)
    heights = [24.0 if row.heading else per_row for row in rows]
    bottom = 40.0
    height = sum(heights) + bottom + 6
    x_ticks = ticks(low, high, most=max(4, int((width - left - right) / 70)))
    # The axis covers the ticks and the given range, so that a mark at the edge is never cut.
    x_at = _scale(min(low, x_ticks[0]), max(high, x_ticks[-1]), left + 4, width - right)
    base = height - bottom
    parts = [
        tag("line", x1=x_at(t), x2=x_at(t), y1=2, y2=base, class_="zero" if zero and t == 0 else "grid")
        for t in x_ticks
    ]
    y = 2.0
    for row, tall in zip(rows, heights, strict=True):
        if row.heading:
            parts.append(tag("text", row.label, x=0, y=y + 17, class_="row-heading"))
        else:
            middle = y + tall / 2 + (9 if stacked else 0)
            label_y = y + 13 if stacked else middle + 4
            parts.append(tag("text", row.label, x=0, y=label_y, class_="row-label"))
            parts += [_cell(cell, x_at, middle) for cell in row.cells]
        y += tall
    parts.append(_x_axis(x_ticks, x_at, base, x_label, left, width - right, percent=percent))
    return _svg(parts, width, height, title)


def ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Round numbers (1, 2, 2.5 or 5 times a power of ten) that cover [low, high], at most about `most`.

    >>> ticks(0, 0.87)
    [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
    >>> ticks(2.0, 2.0)
    [2.0, 2.2, 2.4, 2.6, 2.8, 3.0]
    """
    if not high > low:
        high = low + 1.0
    rough = (high - low) / max(most - 1, 1)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(m * power for m in (1, 2, 2.5, 5, 10) if m * power >= rough * (1 - 1e-9))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    if last == first:
        last += 1
    return [round(i * step, 10) for i in range(first, last + 1)]


def number(value: float, percent: bool = False) -> str:
    """A tick's words.

    >>> number(0.25, percent=True), number(12000.0), number(-0.5), number(2.0)
    ('25%', '12,000', '−0.5', '2')
    """
    if percent:
        return f"{value * 100:.0f}%".replace("-", "−")
    written = f"{value:,.0f}" if abs(value) >= 1000 or value == int(value) else f"{value:g}"
    return written.replace("-", "−")


def _scale(low: float, high: float, start: float, end: float) -> Callable[[float], float]:
    span = (high - low) or 1.0
    return lambda value: start + (value - low) / span * (end - start)


def _svg(parts: Sequence[Html], width: float, height: float, title: str) -> Html:
    return tag(
        "svg",
        tag("title", title),
        parts,
        viewBox=f"0 0 {width:g} {height:g}",
        width=width,
        height=height,
        role="img",
        aria_label=title,
    )


def _y_grid(values: Sequence[float], y_at: Callable[[float], float], left: float, right: float, percent: bool) -> Html:
    parts = []
    for value in values:
        y = y_at(value)
        parts.append(tag("line", x1=left, x2=right, y1=y, y2=y, class_="grid"))
        parts.append(tag("text", number(value, percent), x=left - 7, y=y + 4, class_="tick end"))
    return tag("g", parts)


def _x_axis(
    values: Sequence[float],
    x_at: Callable[[float], float],
    y: float,
    label: str,
    left: float,
    right: float,
    percent: bool = False,
) -> Html:
    parts = [tag("line", x1=left, x2=right, y1=y, y2=y, class_="axis")]
    for value in values:
        parts.append(tag("line", x1=x_at(value), x2=x_at(value), y1=y, y2=y + 4, class_="axis"))
        parts.append(tag("text", number(value, percent), x=x_at(value), y=y + 17, class_="tick middle"))
    parts.append(tag("text", label, x=(left + right) / 2, y=y + 34, class_="axis-name middle"))
    return tag("g", parts)


def _mark(mark: Mark, x_at: Callable[[float], float], top: float, base: float, right: float) -> Html:
    x = x_at(mark.x)
    ends_right = x + len(mark.label) * CHAR < right
    return tag(
        "g",
        tag("line", x1=x, x2=x, y1=top - 8, y2=base, class_="mark"),
        tag(
            "text",
            mark.label,
            x=x + 5 if ends_right else x - 5,
            y=top - 4,
            class_="mark-label" if ends_right else "mark-label end",
        ),
    )


def _runs(points: Sequence[Point], bounds: bool) -> list[list[Point]]:
    """The stretches of points without a gap (nan)."""
    stretches: list[list[Point]] = [[]]
    for point in points:
        values = (point.low, point.high) if bounds else (point.y,)
        if all(math.isfinite(v) for v in values):
            stretches[-1].append(point)
        elif stretches[-1]:
            stretches.append([])
    return [s for s in stretches if s]


def _path(pairs: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in pairs)


def _band_polygon(
    points: Sequence[Point], x_at: Callable[[float], float], y_at: Callable[[float], float], css: str
) -> Html | None:
    if all(p.low == p.high for p in points):
        return None
    edge = [(x_at(p.x), y_at(p.low)) for p in points]
    edge += [(x_at(p.x), y_at(p.high)) for p in reversed(points)]
    return tag("polygon", points=_path(edge), class_=css)


def _area(area: Area, x_at: Callable[[float], float], y_at: Callable[[float], float]) -> Html:
    parts: list[Html | None] = []
    for stretch in _runs(area.points, bounds=True):
        parts.append(_band_polygon(stretch, x_at, y_at, "bracket"))
        for edge in ("low", "high"):
            pairs = [(x_at(p.x), y_at(getattr(p, edge))) for p in stretch]
            parts.append(tag("polyline", points=_path(pairs), class_="edge"))
            parts += [tag("circle", cx=x, cy=y, r=2.0, class_="dot") for x, y in pairs]
    return tag("g", parts, class_=area.css)


def _line(line: Line, x_at: Callable[[float], float], y_at: Callable[[float], float]) -> Html:
    parts: list[Html | None] = [
        _band_polygon(stretch, x_at, y_at, "band") for stretch in _runs(line.points, bounds=True)
    ]
    for stretch in _runs(line.points, bounds=False):
        pairs = [(x_at(p.x), y_at(p.y)) for p in stretch]
        parts.append(tag("polyline", points=_path(pairs), class_="line"))
        if line.dots or len(pairs) == 1:
            parts += [tag("circle", cx=x, cy=y, r=2.6, class_="dot") for x, y in pairs]
    return tag("g", parts, class_=f"{line.css} faint" if line.faint else line.css)


def _end_labels(
    series: Sequence[Line | Area], y_at: Callable[[float], float], x: float, top: float, base: float
) -> Html:
    """Labels at the right end, pushed apart where they would touch."""
    wanted = []
    for one in series:
        last = one.points[-1]
        y = (last.low + last.high) / 2 if isinstance(one, Area) else last.y
        wanted.append((y_at(y) if math.isfinite(y) else base, one))
    wanted.sort(key=lambda pair: pair[0])
    placed: list[float] = []
    for y, _ in wanted:
        placed.append(max(y, placed[-1] + 15 if placed else top))
    overflow = max(0.0, placed[-1] - base) if placed else 0.0
    parts = [
        tag("text", one.label, x=x, y=y - overflow + 4, class_=f"label {one.css}")
        for y, (_, one) in zip(placed, wanted, strict=True)
    ]
    return tag("g", parts)


def _cell(cell: Cell, x_at: Callable[[float], float], middle: float) -> Html:
    y = middle + cell.lane
    parts: list[Html] = []
    bounded = math.isfinite(cell.low) and math.isfinite(cell.high)
    end = x_at(cell.high if bounded else cell.value) if bounded or math.isfinite(cell.value) else None
    if cell.kind == "bar" and bounded:
        x, wide = x_at(cell.low), x_at(cell.high) - x_at(cell.low)
        parts.append(tag("rect", x=x, y=y - 6, width=max(wide, 1.0), height=12, rx=2, class_="bar"))
    elif bounded:
        parts.append(tag("line", x1=x_at(cell.low), x2=x_at(cell.high), y1=y, y2=y, class_="whisker"))
    if cell.kind == "dot" and math.isfinite(cell.value):
        css = "dot open" if cell.open else "dot"
        parts.append(tag("circle", cx=x_at(cell.value), cy=y, r=4.2, class_=css))
    if cell.kind == "tick" and math.isfinite(cell.value):
        x = x_at(cell.value)
        parts.append(tag("line", x1=x, x2=x, y1=y - 7, y2=y + 7, class_="whisker"))
    if cell.text and end is not None:
        parts.append(tag("text", cell.text, x=end + 9, y=y + 4, class_="value"))
    return tag("g", parts, class_=cell.css)
