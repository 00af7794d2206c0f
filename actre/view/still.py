"""A plotly figure as one static SVG, for saved notebooks, GitHub, and while a figure is still growing.

Knows what `plots` draws with and nothing more: Scatter and horizontal or vertical Bar traces with error bars, one pair
of axes, lines across, words at a place. No script, transparent ground, mid-grey words: it reads in light and dark.
"""

import html
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import plotly.graph_objects as go

from actre.view._layout import GREY, GRID
from actre.view.svg import number, ticks

_WIDTH, _FONT, _CHAR = 760.0, 12, 6.6
_DASHES = {"dot": "2 4", "dash": "7 5", "dashdot": "7 4 2 4"}
_HALF = {"square": "M-1-1H1V1H-1Z", "diamond": "M0-1.3 1.3 0 0 1.3-1.3 0Z", "x": "M-1-1 1 1M-1 1 1-1"}
_HALF |= {"triangle-up": "M0-1.2 1.1 1H-1.1Z", "triangle-down": "M0 1.2 1.1-1H-1.1Z"}


@dataclass
class _Axis:
    """One axis: data to px. `start` and `end` are the px of its low and its high end."""

    log: bool = False
    names: list[str] = field(default_factory=list)
    low: float = 0.0
    high: float = 1.0
    start: float = 0.0
    end: float = 1.0
    marks: list[tuple[float, str]] = field(default_factory=list)

    def value(self, raw: Any) -> float:
        """A datum as a number on this axis; NaN for what cannot be drawn."""
        if isinstance(raw, str):
            return float(self.names.index(raw))
        if raw is None or not math.isfinite(raw):
            return math.nan
        return math.log10(raw) if self.log else float(raw)

    def at(self, raw: Any) -> float:
        return self.px(self.value(raw))

    def px(self, value: float) -> float:
        return self.start + (value - self.low) / ((self.high - self.low) or 1.0) * (self.end - self.start)


def svg(figure: go.Figure, width: float = _WIDTH) -> str:
    """The figure as SVG text, `width` px wide and as high as its layout says.

    Raises ValueError for a kind of trace that the house's figures do not have.
    """
    unknown = {trace.type for trace in figure.data} - {"scatter", "bar"}
    if unknown:
        raise ValueError(f"no static drawing of {', '.join(sorted(unknown))}: Scatter and Bar are known")
    height = float(figure.layout.height or 380)
    legend = _legend(figure, width)
    title = figure.layout.title.text or ""
    top = 36.0 + 18.0 * len(legend)
    y = _axis(figure, "y")
    left = 58.0
    if y.names or figure.layout.yaxis.ticktext:
        left = 18.0 + _CHAR * max((len(line) for _, name in y.marks for line in _lines(name)), default=4)
    x = _axis(figure, "x")
    x.start, x.end = left, width - 18.0
    y.start, y.end = height - 46.0, top + 8.0
    parts = [f'<text x="10" y="20" font-size="15">{_plain(title)}</text>', *_drawn_legend(legend)]
    parts += _grid(figure, x, y)
    parts += _shapes(figure, x, y)
    bars = [trace for trace in figure.data if trace.type == "bar"]
    parts += _bars(bars, figure.layout.barmode == "stack", x, y)
    before: Any = None
    for trace in figure.data:
        if trace.type == "scatter":
            parts += _scatter(trace, before, x, y)
            before = trace
    parts += _notes(figure, x, y)
    body = "".join(parts)
    style = f'font-family="sans-serif" font-size="{_FONT}" fill="{GREY}"'
    box = f'viewBox="0 0 {width:g} {height:g}" width="{width:g}" height="{height:g}"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {box} role="img" aria-label="{_plain(title)}" {style}>{body}</svg>'


# --- axes ---


def _axis(figure: go.Figure, which: str) -> _Axis:
    layout = figure.layout[f"{which}axis"]
    axis = _Axis(log=layout.type == "log")
    raw = [value for trace in figure.data for value in (_along(trace, which))]
    axis.names = list(dict.fromkeys(value for value in raw if isinstance(value, str)))
    values = [v for v in map(axis.value, _with_errors(figure, which, axis)) if math.isfinite(v)]
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    if axis.names:
        low, high = -0.6, len(axis.names) - 0.4
    else:
        room = 0.05 * ((high - low) or 1.0)
        low, high = low - room, high + room
    if layout.rangemode == "tozero":
        low = 0.0
    if any(trace.type == "bar" and (trace.orientation == "h") == (which == "x") for trace in figure.data):
        low = min(low, 0.0) if min(values, default=0.0) < 0 else 0.0
    if layout.range:
        low, high = (float(end) for end in layout.range)
    axis.low, axis.high = (high, low) if layout.autorange == "reversed" else (low, high)
    axis.marks = _marks(layout, axis)
    return axis


def _marks(layout: Any, axis: _Axis) -> list[tuple[float, str]]:
    if layout.tickvals is not None:
        words = layout.ticktext or [number(float(v)) for v in layout.tickvals]
        return [(axis.value(v), str(word)) for v, word in zip(layout.tickvals, words, strict=True)]
    if axis.names:
        return [(float(i), name) for i, name in enumerate(axis.names)]
    low, high = sorted((axis.low, axis.high))
    if axis.log:
        powers = [2.0**i for i in range(-10, 40) if low <= math.log10(2.0**i) <= high]
        return [(math.log10(value), number(value)) for value in powers]
    percent = str(layout.tickformat or "").endswith("%")
    return [(value, number(value, percent)) for value in ticks(low, high) if low <= value <= high]


def _along(trace: Any, which: str) -> Sequence[Any]:
    values = trace[which]
    return [] if values is None else list(values)


def _with_errors(figure: go.Figure, which: str, axis: _Axis) -> Iterable[Any]:
    """Every value that must find room: the data, their error bars' ends, stacked bars' sums."""
    sums: dict[Any, float] = {}
    for trace in figure.data:
        values = _along(trace, which)
        yield from (value for value in values if not isinstance(value, str))
        below, above = _error(trace, which, len(values))
        for value, less, more in zip(values, below, above, strict=True):
            if not isinstance(value, str) and value is not None and not axis.log:
                yield value - less
                yield value + more
        if trace.type == "bar" and (trace.orientation == "h") == (which == "x"):
            for place, value in zip(_along(trace, "y" if which == "x" else "x"), values, strict=True):
                sums[place] = sums.get(place, 0.0) + (value or 0.0)
    if figure.layout.barmode == "stack":
        yield from sums.values()


def _error(trace: Any, which: str, n: int) -> tuple[list[float], list[float]]:
    error = trace[f"error_{which}"]
    if error.array is None:
        return [0.0] * n, [0.0] * n
    above = [float(v or 0.0) for v in error.array]
    below = above if error.arrayminus is None else [float(v or 0.0) for v in error.arrayminus]
    return below, above


# --- what is drawn ---


def _grid(figure: go.Figure, x: _Axis, y: _Axis) -> list[str]:
    parts = []
    for value, name in x.marks:
        if figure.layout.xaxis.showgrid is not False:
            parts.append(_line(x.px(value), y.start, x.px(value), y.end, GRID, 1))
        parts.append(_words(x.px(value), y.start + 16, name, "middle"))
    for value, name in y.marks:
        if figure.layout.yaxis.showgrid is not False:
            parts.append(_line(x.start, y.px(value), x.end, y.px(value), GRID, 1))
        lines = _lines(name)
        first = y.px(value) + 4 - 7 * (len(lines) - 1)
        parts += [_words(x.start - 8, first + 14 * i, line, "end") for i, line in enumerate(lines)]
    parts.append(_words((x.start + x.end) / 2, y.start + 36, figure.layout.xaxis.title.text or "", "middle"))
    name = figure.layout.yaxis.title.text
    if name:
        parts.append(
            f'<text transform="translate(14,{(y.start + y.end) / 2:.1f}) rotate(-90)" text-anchor="middle">'
            f"{_plain(name)}</text>"
        )
    return parts


def _shapes(figure: go.Figure, x: _Axis, y: _Axis) -> list[str]:
    parts = []
    for shape in figure.layout.shapes or ():
        across = "domain" in str(shape.xref)
        x0, x1 = (x.start, x.end) if across else (x.at(shape.x0), x.at(shape.x1))
        y0, y1 = (y.start, y.end) if "domain" in str(shape.yref) else (y.at(shape.y0), y.at(shape.y1))
        parts.append(_line(x0, y0, x1, y1, shape.line.color or GREY, shape.line.width or 1, shape.line.dash))
    return parts


def _notes(figure: go.Figure, x: _Axis, y: _Axis) -> list[str]:
    parts = []
    for note in figure.layout.annotations or ():
        down = y.end + 10 if note.yref == "paper" else y.at(note.y)
        parts.append(_words(x.at(note.x) + 4, down, note.text or "", "start"))
    return parts


def _bars(bars: Sequence[Any], stacked: bool, x: _Axis, y: _Axis) -> list[str]:
    parts: list[str] = []
    reached: dict[Any, float] = {}
    for index, trace in enumerate(bars):
        lying = trace.orientation == "h"
        across, along = (y, x) if lying else (x, y)
        places, values = _along(trace, "y" if lying else "x"), _along(trace, "x" if lying else "y")
        thick = 0.7 if stacked else 0.8 / len(bars)
        shift = 0.0 if stacked else 0.8 * ((index + 0.5) / len(bars) - 0.5)
        below, above = _error(trace, "x" if lying else "y", len(values))
        for place, value, less, more in zip(places, values, below, above, strict=True):
            begin = reached.get(place, 0.0) if stacked else 0.0
            end = begin + (value or 0.0)
            reached[place] = end
            middle = across.value(place) + shift
            edges = [across.px(middle - thick / 2), across.px(middle + thick / 2)], [along.px(begin), along.px(end)]
            parts.append(_box(*(edges[::-1] if lying else edges), trace.marker))
            if less or more:
                ends = along.px(end - less), along.px(end + more)
                at = across.px(middle)
                parts.append(_line(*((ends[0], at, ends[1], at) if lying else (at, ends[0], at, ends[1])), GREY, 1.5))
    return parts


def _box(xs: Sequence[float], ys: Sequence[float], marker: Any) -> str:
    edge = f' stroke="{marker.line.color}" stroke-width="{marker.line.width or 1}"' if marker.line.color else ""
    place = f'x="{min(xs):.1f}" y="{min(ys):.1f}" width="{abs(xs[1] - xs[0]):.1f}" height="{abs(ys[1] - ys[0]):.1f}"'
    faint = 1.0 if marker.opacity is None else marker.opacity
    return f'<rect {place} fill="{marker.color}" fill-opacity="{faint:g}"{edge}/>'


def _scatter(trace: Any, before: Any, x: _Axis, y: _Axis) -> list[str]:
    points = [(x.at(a), y.at(b)) for a, b in zip(_along(trace, "x"), _along(trace, "y"), strict=True)]
    parts = []
    color = trace.line.color or trace.marker.color or GREY
    if trace.fill == "tonexty" and before is not None:
        under = [(x.at(a), y.at(b)) for a, b in zip(_along(before, "x"), _along(before, "y"), strict=True)]
        around = [p for p in (*points, *reversed(under)) if all(map(math.isfinite, p))]
        parts.append(f'<path d="M{_joined(around)}Z" fill="{trace.fillcolor or GRID}"/>')
    for which in ("x", "y"):
        parts += _whiskers(trace, which, x, y)
    if "lines" in (trace.mode or "lines"):
        for run in _unbroken(points):
            width, dash = trace.line.width or 2, _DASHES.get(trace.line.dash or "", "")
            broken = f' stroke-dasharray="{dash}"' if dash else ""
            parts.append(f'<path d="M{_joined(run)}" fill="none" stroke="{color}" stroke-width="{width}"{broken}/>')
    if "markers" in (trace.mode or "lines"):
        size = float(trace.marker.size or 6) / 2
        parts += [_dot(*point, size, trace.marker.symbol, trace.marker.color or color) for point in _whole(points)]
    return parts


def _whiskers(trace: Any, which: str, x: _Axis, y: _Axis) -> list[str]:
    error = trace[f"error_{which}"]
    if error.array is None:
        return []
    below, above = _error(trace, which, len(_along(trace, which)))
    color, width = error.color or trace.line.color or trace.marker.color or GREY, error.thickness or 1.4
    parts = []
    for a, b, less, more in zip(_along(trace, "x"), _along(trace, "y"), below, above, strict=True):
        if not (less or more) or a is None or b is None:
            continue
        if which == "x":
            parts.append(_line(x.at(a - less), y.at(b), x.at(a + more), y.at(b), color, width))
        else:
            parts.append(_line(x.at(a), y.at(b - less), x.at(a), y.at(b + more), color, width))
    return parts


def _dot(x: float, y: float, size: float, symbol: str | None, color: str) -> str:
    name = str(symbol or "circle")
    hollow = name.endswith("-open") or name == "x"
    path = _HALF.get(name.removesuffix("-open"))
    ink = f'fill="none" stroke="{color}"' if hollow else f'fill="{color}"'
    if path is None:
        return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{size:g}" {ink}/>'
    thin = f' stroke-width="{2 / size:.2f}"' if hollow else ""
    return f'<path d="{path}" transform="translate({x:.1f},{y:.1f}) scale({size:g})" {ink}{thin}/>'


def _legend(figure: go.Figure, width: float) -> list[list[tuple[float, Any]]]:
    """Lines of (x, trace) that fit the width; none where the layout shows no legend."""
    shown = [t for t in figure.data if t.name and t.showlegend is not False]
    if figure.layout.showlegend is False or len(shown) < 2:
        return []
    lines: list[list[tuple[float, Any]]] = [[]]
    at = 10.0
    for trace in shown:
        wide = 26 + _CHAR * len(trace.name) + 14
        if at > 10.0 and at + wide > width:
            lines.append([])
            at = 10.0
        lines[-1].append((at, trace))
        at += wide
    return lines


def _drawn_legend(lines: Sequence[Sequence[tuple[float, Any]]]) -> list[str]:
    parts = []
    for row, line in enumerate(lines):
        down = 40.0 + 18.0 * row
        for at, trace in line:
            if trace.type == "bar":
                parts.append(_box((at, at + 16), (down - 9, down + 1), trace.marker))
            elif "lines" in (trace.mode or "lines"):
                color, width = trace.line.color or GREY, trace.line.width or 2
                parts.append(_line(at, down - 4, at + 18, down - 4, color, width, trace.line.dash))
            else:
                parts.append(_dot(at + 8, down - 4, 4, trace.marker.symbol, trace.marker.color or GREY))
            parts.append(_words(at + 24, down, trace.name, "start"))
    return parts


# --- small ---


def _line(x0: float, y0: float, x1: float, y1: float, color: str, width: float, dash: str | None = None) -> str:
    broken = f' stroke-dasharray="{_DASHES[dash]}"' if dash in _DASHES else ""
    ends = f'x1="{x0:.1f}" y1="{y0:.1f}" x2="{x1:.1f}" y2="{y1:.1f}"'
    return f'<line {ends} stroke="{color}" stroke-width="{width:g}"{broken}/>'


def _words(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{_plain(text)}</text>' if text else ""


def _plain(label: str) -> str:
    """Plotly's label, which reads entities and <br>, as SVG text."""
    return html.escape(" ".join(_lines(label)))


def _lines(label: str) -> list[str]:
    return [html.unescape(line) for line in label.split("<br>")]


def _whole(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    return [point for point in points if all(map(math.isfinite, point))]


def _unbroken(points: Sequence[tuple[float, float]]) -> list[list[tuple[float, float]]]:
    runs: list[list[tuple[float, float]]] = [[]]
    for point in points:
        if all(map(math.isfinite, point)):
            runs[-1].append(point)
        elif runs[-1]:
            runs.append([])
    return [run for run in runs if run]


def _joined(points: Sequence[tuple[float, float]]) -> str:
    return "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
