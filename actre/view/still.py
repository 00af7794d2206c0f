"""A plotly figure as one static SVG, for reports, saved notebooks, GitHub, and while a run is still growing.

Draws what the figures of this package consist of: Scatter and Bar traces with error bars on one pair of axes, straight
lines, annotations. The SVG has no script and a transparent ground; its mid-tone colours read in light and dark.
"""

import html
import math
from collections.abc import Iterable, Sequence
from typing import Any

import plotly.graph_objects as go

from actre.view.axes import Axis, along, axis, error, wrapped
from actre.view.html import Html, tag, visible
from actre.view.palette import GREY, GRID

_WIDE, _NARROW = 736.0, 358.0
"""Widths in px in which a page holds each figure: for wide and for narrow screens, with text of the same size."""
_WIDTH, _FONT, _CHAR = 760.0, 12, 6.6
_BAR = 5
"""From this width in px on, a line is a bar; its markers are left out."""
_NAMESPACE = ' xmlns="http://www.w3.org/2000/svg"'
_DASHES = {"dot": "2 4", "dash": "7 5", "dashdot": "7 4 2 4"}
_HALF = {"square": "M-1-1H1V1H-1Z", "diamond": "M0-1.3 1.3 0 0 1.3-1.3 0Z", "x": "M-1-1 1 1M-1 1 1-1"}
_HALF |= {"triangle-up": "M0-1.2 1.1 1H-1.1Z", "triangle-down": "M0 1.2 1.1-1H-1.1Z"}
_HATCHED = {"/": 0.25, ".": 0.0}
"""A hatched bar is drawn lighter, with its outline."""
_INK = "text{fill:#1d1f23}@media(prefers-color-scheme:dark){text{fill:#e6e6e3}}"

_Legend = list[list[tuple[float, list[str], Any]]]


def chart(figure: go.Figure) -> Html:
    """The figure for a page: drawn for wide and for narrow screens; the style sheet shows the one that fits."""
    drawn = (Html(svg(figure, width, titled=False).replace(_NAMESPACE, "", 1)) for width in (_WIDE, _NARROW))
    wide, narrow = (tag("div", one, class_=name) for one, name in zip(drawn, ("wide", "narrow"), strict=True))
    return tag("div", wide, narrow, class_="chart")


def svg_file(figure: go.Figure) -> str:
    """The figure as the text of an SVG file; its words are dark in light and light in dark documents."""
    opening, _, inner = svg(figure, _WIDE).partition(">")
    return f"{opening}><style>{_INK}</style>{inner}\n"


def svg(figure: go.Figure, width: float = _WIDTH, titled: bool = True) -> str:
    """The figure as SVG text, `width` px wide; its plot is as high as in the layout.

    titled: False leaves the title to the accessible name (aria-label). Raises ValueError for a trace that is neither
    Scatter nor Bar.
    """
    unknown = {trace.type for trace in figure.data} - {"scatter", "bar"}
    if unknown:
        raise ValueError(f"no static drawing of {', '.join(sorted(unknown))}: only Scatter and Bar can be drawn")
    layout = figure.layout
    name = layout.title.text or ""
    title = wrapped(name, (width - 20) / 8) if titled else []
    legend = _legend(figure, width)
    top = 16.0 + 22.0 * len(title) + 16.0 * sum(max(len(lines) for _, lines, _ in row) for row in legend)
    bottom = top + float(layout.height or 380) - (layout.margin.t or 90) - (layout.margin.b or 50)
    y = axis(figure, "y", bottom, top)
    labels = [_tick_label(label, 0.45 * width) for _, label in y.marks]
    left = 58.0
    if y.names or layout.yaxis.ticktext:
        y.start = bottom = max(bottom, top + (13 * max(map(len, labels), default=0) + 3) * len(labels))
        left = 18.0 + _CHAR * max((len(line) for lines in labels for line in lines), default=4)
    x = axis(figure, "x", left, width - (layout.margin.r or 18.0))
    parts = [_words(10, 20 + 18 * i, line, "start", size=15) for i, line in enumerate(title)]
    parts += _drawn_legend(legend, 12.0 + 22.0 * len(title))
    below = wrapped(layout.xaxis.title.text or "", (width - 20) / _CHAR)
    parts += [*_grid(figure, x, y, labels, below), *_shapes(figure, x, y)]
    parts += _bars([trace for trace in figure.data if trace.type == "bar"], layout.barmode == "stack", x, y)
    before: Any = None
    for trace in figure.data:
        if trace.type == "scatter":
            parts += _scatter(trace, before, x, y)
            before = trace
    parts += _notes(figure, x, y)
    style = f'font-family="sans-serif" font-size="{_FONT}" fill="{GREY}"'
    height = bottom + 44.0 + 14.0 * max(len(below) - 1, 0)
    box = f'viewBox="0 0 {width:g} {height:g}" width="{width:g}" height="{height:g}"'
    called = html.escape(visible(" ".join(wrapped(name, 999))))
    return f'<svg{_NAMESPACE} {box} role="img" aria-label="{called}" {style}>{"".join(parts)}</svg>'


# --- axes, lines, annotations ---


def _tick_label(label: str, room: float) -> list[str]:
    """A y tick's lines; of a heading, written <b> … </b>, the one line with its mark."""
    return [label] if label.startswith("<b>") else wrapped(label, room / _CHAR)


def _grid(figure: go.Figure, x: Axis, y: Axis, labels: Sequence[Sequence[str]], below: Sequence[str]) -> list[str]:
    """Grid lines, tick labels, and the axes' titles; below: the lines of the x axis's."""
    layout = figure.layout
    shown = {which: layout[f"{which}axis"].showgrid is not False for which in "xy"}
    across = [(x.px(value), y.start, x.px(value), y.end) for value, _ in x.marks if shown["x"]]
    along_ = [(x.start, y.px(value), x.end, y.px(value)) for value, _ in y.marks if shown["y"]]
    parts = [_lines([*across, *along_], GRID, 1)]
    parts += [_words(x.px(value), y.start + 16, label, "middle") for value, label in x.marks]
    for (value, _), lines in zip(y.marks, labels, strict=True):
        first = y.px(value) + 4 - 7 * (len(lines) - 1)
        for i, line in enumerate(lines):
            if line.startswith("<b>"):
                name = html.unescape(line.removeprefix("<b>").removesuffix("</b>"))
                parts.append(_words(4, first, name, "start", bold=True))
            else:
                parts.append(_words(x.start - 8, first + 14 * i, line, "end"))
    for i, line in enumerate(below):
        half, width = _CHAR * len(line) / 2, x.end + (layout.margin.r or 18.0)
        middle = min(max((x.start + x.end) / 2, half + 10), width - half - 10)
        parts.append(_words(middle, y.start + 36 + 14 * i, line, "middle"))
    name = layout.yaxis.title.text
    if name:
        place = f'transform="translate(14,{(y.start + y.end) / 2:.1f}) rotate(-90)"'
        parts.append(f'<text {place} text-anchor="middle">{html.escape(visible(name))}</text>')
    return parts


def _shapes(figure: go.Figure, x: Axis, y: Axis) -> list[str]:
    parts = []
    for shape in figure.layout.shapes or ():
        across = "domain" in str(shape.xref)
        x0, x1 = (x.start, x.end) if across else (x.at(shape.x0), x.at(shape.x1))
        y0, y1 = (y.start, y.end) if "domain" in str(shape.yref) else (y.at(shape.y0), y.at(shape.y1))
        parts.append(_lines([(x0, y0, x1, y1)], shape.line.color or GREY, shape.line.width or 1, shape.line.dash))
    return parts


def _notes(figure: go.Figure, x: Axis, y: Axis) -> list[str]:
    parts = []
    edge = x.end + (figure.layout.margin.r or 18)
    for note in figure.layout.annotations or ():
        down = y.end + (1 - note.y) * (y.start - y.end) + 10 if note.yref == "paper" else y.at(note.y) + 4
        down -= note.yshift or 0
        at, text = x.at(note.x), " ".join(wrapped(note.text or "", 999))
        right = at + (note.xshift or 4)
        fits = right + 0.9 * _CHAR * len(text) < edge
        parts.append(_words(right if fits else at - 4, down, text, "start" if fits else "end"))
    return parts


# --- traces ---


def _bars(bars: Sequence[Any], stacked: bool, x: Axis, y: Axis) -> list[str]:
    parts: list[str] = []
    reached: dict[Any, float] = {}
    for index, trace in enumerate(bars):
        lying = trace.orientation == "h"
        across, length = (y, x) if lying else (x, y)
        places, values = along(trace, "y" if lying else "x"), along(trace, "x" if lying else "y")
        thick = 0.7 if stacked else 0.8 / len(bars)
        shift = 0.0 if stacked else 0.8 * ((index + 0.5) / len(bars) - 0.5)
        below, above = error(trace, "x" if lying else "y", len(values))
        for place, value, less, more in zip(places, values, below, above, strict=True):
            begin = reached.get(place, 0.0) if stacked else 0.0
            end = begin + (value or 0.0)
            reached[place] = end
            middle = across.value(place) + shift
            edges = [across.px(middle - thick / 2), across.px(middle + thick / 2)], [length.px(begin), length.px(end)]
            parts.append(_box(*(edges[::-1] if lying else edges), trace.marker))
            if less or more:
                ends, at = (length.px(end - less), length.px(end + more)), across.px(middle)
                whisker = (ends[0], at, ends[1], at) if lying else (at, ends[0], at, ends[1])
                parts.append(_lines([whisker], GREY, 1.5))
    return parts


def _box(xs: Sequence[float], ys: Sequence[float], marker: Any) -> str:
    opacity = 1.0 if marker.opacity is None else marker.opacity
    edge, width = marker.line.color, marker.line.width or 1
    if marker.pattern.shape:
        opacity, edge = opacity * _HATCHED[marker.pattern.shape], edge or marker.color
    outline = f' stroke="{edge}" stroke-width="{width}"' if edge else ""
    place = f'x="{min(xs):.1f}" y="{min(ys):.1f}" width="{abs(xs[1] - xs[0]):.1f}" height="{abs(ys[1] - ys[0]):.1f}"'
    return f'<rect {place} fill="{marker.color}" fill-opacity="{opacity:g}"{outline}/>'


def _scatter(trace: Any, before: Any, x: Axis, y: Axis) -> list[str]:
    points = [(x.at(a), y.at(b)) for a, b in zip(along(trace, "x"), along(trace, "y"), strict=True)]
    parts = []
    color = trace.line.color or trace.marker.color or GREY
    if trace.fill == "tonexty" and before is not None:
        under = [(x.at(a), y.at(b)) for a, b in zip(along(before, "x"), along(before, "y"), strict=True)]
        around = _whole((*points, *reversed(under)))
        parts.append(f'<path d="M{_joined(around)}Z" fill="{trace.fillcolor or GRID}"/>' if around else "")
    whiskers = [one for which in ("x", "y") for one in _whiskers(trace, which, x, y)]
    bars = trace.error_x if trace.error_x.array is not None else trace.error_y
    parts.append(_lines(whiskers, bars.color or color, bars.thickness or 1.4))
    mode, width = trace.mode or "lines", trace.line.width
    thick = "lines" in mode and (width or 2) >= _BAR
    if "lines" in mode and width != 0:
        runs = "".join(f"M{_joined(_long_enough(run) if thick else run)}" for run in _unbroken(points))
        parts.append(_path(runs, color, width or 2, trace.line.dash))
    if "markers" in mode and not thick:
        size, symbol, ink = float(trace.marker.size or 6) / 2, trace.marker.symbol, trace.marker.color or color
        parts += [_dot(*point, size, symbol, ink) for point in _whole(points)]
    return parts


def _long_enough(run: Sequence[tuple[float, float]]) -> Sequence[tuple[float, float]]:
    """A bar's ends, at least 1.5 px apart."""
    (x, y), (to, _) = run[0], run[-1]
    return run if abs(to - x) > 1.5 else [(x - 0.75, y), (x + 0.75, y)]


def _whiskers(trace: Any, which: str, x: Axis, y: Axis) -> Iterable[tuple[float, float, float, float]]:
    """The error bars along one axis, as lines."""
    below, above = error(trace, which, len(along(trace, which)))
    for a, b, less, more in zip(along(trace, "x"), along(trace, "y"), below, above, strict=True):
        if not (less or more) or a is None or b is None:
            continue
        if which == "x":
            yield x.at(a - less), y.at(b), x.at(a + more), y.at(b)
        else:
            yield x.at(a), y.at(b - less), x.at(a), y.at(b + more)


def _dot(x: float, y: float, size: float, symbol: str | None, color: str) -> str:
    name = str(symbol or "circle")
    hollow = name.endswith("-open") or name == "x"
    path = _HALF.get(name.removesuffix("-open"))
    ink = f'fill="none" stroke="{color}"' if hollow else f'fill="{color}"'
    if path is None:
        return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{size:g}" {ink}/>'
    thin = f' stroke-width="{2 / size:.2f}"' if hollow else ""
    return f'<path d="{path}" transform="translate({x:.1f},{y:.1f}) scale({size:g})" {ink}{thin}/>'


# --- the legend ---


def _legend(figure: go.Figure, width: float) -> _Legend:
    """Rows of (x, lines of the name, trace) that fit the width; none where the layout shows no legend."""
    shown = [t for t in figure.data if t.name and t.showlegend is not False]
    if figure.layout.showlegend is False or len(shown) < 2:
        return []
    rows: _Legend = [[]]
    at = 10.0
    for trace in shown:
        lines = wrapped(trace.name, (width - 44) / _CHAR)
        room = 26 + _CHAR * max(map(len, lines)) + 14
        if at > 10.0 and at + room > width:
            rows.append([])
            at = 10.0
        rows[-1].append((at, lines, trace))
        at += room
    return rows


def _drawn_legend(rows: _Legend, down: float) -> list[str]:
    parts = []
    for row in rows:
        for at, lines, trace in row:
            parts += [_words(at + 24, down + 16 * i, line, "start") for i, line in enumerate(lines)]
            if trace.type == "bar":
                parts.append(_box((at, at + 16), (down - 9, down + 1), trace.marker))
                continue
            if trace.fill:
                parts.append(f'<path d="M{at:.1f} {down - 9:.1f}h18v10h-18Z" fill="{trace.fillcolor or GRID}"/>')
            if "lines" in (trace.mode or "lines"):
                color, width = trace.line.color or GREY, trace.line.width or 2
                parts.append(_lines([(at, down - 4, at + 18, down - 4)], color, width, trace.line.dash))
            if "markers" in (trace.mode or "lines") and (trace.line.width or 2) < _BAR:
                color = trace.marker.color or trace.line.color or GREY
                parts.append(_dot(at + 9, down - 4, min(4, (trace.marker.size or 6) / 2), trace.marker.symbol, color))
        down += 16.0 * max(len(lines) for _, lines, _ in row)
    return parts


# --- elements ---


def _lines(ends: Iterable[tuple[float, float, float, float]], color: str, width: float, dash: str | None = None) -> str:
    """Straight lines in one path; nothing without a line."""
    return _path("".join(f"M{a:.1f} {b:.1f}L{c:.1f} {d:.1f}" for a, b, c, d in ends), color, width, dash)


def _path(d: str, color: str, width: float, dash: str | None) -> str:
    broken = f' stroke-dasharray="{_DASHES[dash]}"' if dash in _DASHES else ""
    return f'<path d="{d}" fill="none" stroke="{color}" stroke-width="{width:g}"{broken}/>' if d else ""


def _words(x: float, y: float, text: str, anchor: str, *, size: int | None = None, bold: bool = False) -> str:
    if not text:
        return ""
    look = (f' font-size="{size}"' if size else "") + (' font-weight="600"' if bold else "")
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{look}>{html.escape(visible(text))}</text>'


def _whole(points: Iterable[tuple[float, float]]) -> list[tuple[float, float]]:
    return [point for point in points if all(map(math.isfinite, point))]


def _unbroken(points: Sequence[tuple[float, float]]) -> list[list[tuple[float, float]]]:
    """The stretches of points without a gap."""
    runs: list[list[tuple[float, float]]] = [[]]
    for point in points:
        if all(map(math.isfinite, point)):
            runs[-1].append(point)
        elif runs[-1]:
            runs.append([])
    return [run for run in runs if run]


def _joined(points: Sequence[tuple[float, float]]) -> str:
    return "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
