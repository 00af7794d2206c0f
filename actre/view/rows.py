"""Row charts: labelled rows of dots with whiskers and of bars, on one x axis."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import plotly.graph_objects as go

from actre.stats import Interval
from actre.view.palette import GREY, clear, interval, laid_out, plain

_WIDTHS = {"bar": 10, "line": 2}


class Mark(NamedTuple):
    """A dot at the band's value with whiskers to its ends, or a bar or line from its low to its high end.

    kind: plotly's symbol of a dot, "bar" or "line". name: the mark's entry in the legend. words: stand at its right
    end. shift: in rows, downwards.
    """

    band: Interval
    color: str
    kind: str = "circle"
    name: str = ""
    words: str = ""
    shift: float = 0.0


class Row(NamedTuple):
    """A labelled row; one without marks is a heading."""

    label: str
    marks: Sequence[Mark] = ()


def bar(low: float, high: float, color: str, **more: Any) -> Mark:
    """A bar from low to high; not drawn where an end is not finite."""
    return Mark(Interval(math.nan, low, high), color, kind="bar", **more)


def row_chart(
    rows: Sequence[Row],
    title: str,
    x: str,
    *,
    low: float | None = None,
    high: float | None = None,
    percent: bool = False,
    zero: bool = False,
    row_height: float = 26.0,
) -> go.Figure:
    """The rows from the top down. low, high: ends that the x axis must reach; zero: a line at 0."""
    figure = go.Figure()
    placed = [(at + mark.shift, mark) for at, row in enumerate(rows) for mark in row.marks]
    for look in dict.fromkeys((mark.kind, mark.color, mark.name) for _, mark in placed):
        alike = [(at, mark.band) for at, mark in placed if (mark.kind, mark.color, mark.name) == look]
        figure.add_trace(_trace(alike, *look))
    if zero:
        figure.add_vline(x=0, line={"color": GREY, "width": 1.2})
    ends = [v for _, mark in placed for v in mark.band if math.isfinite(v)]
    ends += [v for v in (low, high) if v is not None]
    least, most = min(ends, default=0.0), max(ends, default=1.0)
    room = 0.03 * ((most - least) or 1.0)
    words = plain(row.label for row in rows)
    labels = [word if row.marks else f"<b>{word}</b>" for row, word in zip(rows, words, strict=True)]
    notes = [_note(at, mark) for at, mark in placed if mark.words]
    figure.update_layout(annotations=notes, showlegend=any(mark.name for _, mark in placed))
    figure.update_xaxes(range=[least - (0.0 if least == low == 0 else room), most + room])
    if percent:
        figure.update_xaxes(tickformat=".0%")
    figure.update_yaxes(tickvals=list(range(len(rows))), ticktext=labels, range=[len(rows) - 0.4, -0.6], showgrid=False)
    laid_out(figure, title, x, "", height=int(140 + row_height * len(rows)))
    return figure.update_layout(margin={"r": 24 + 7 * max((len(mark.words) for _, mark in placed), default=0)})


def _note(at: float, mark: Mark) -> dict[str, Any]:
    """The mark's words, at the right of its whisker."""
    end = mark.band.high if math.isfinite(mark.band.high) else mark.band.value
    place = {"x": end, "y": at, "xanchor": "left", "xshift": 8, "showarrow": False}
    return {**place, "text": plain([mark.words])[0]}


def _trace(marks: Sequence[tuple[float, Interval]], kind: str, color: str, name: str) -> go.Scatter:
    """The marks that look alike, as one trace."""
    shown = {"name": plain([name])[0] if name else None, "showlegend": bool(name)}
    if kind not in _WIDTHS:
        return go.Scatter(
            x=[band.value for _, band in marks],
            y=[at for at, _ in marks],
            mode="markers",
            marker={"color": color, "size": 9, "symbol": kind},
            error_x={**interval([band for _, band in marks]), "color": color},
            **shown,
        )
    known = [(at, band) for at, band in marks if math.isfinite(band.low) and math.isfinite(band.high)]
    return go.Scatter(
        x=[v for _, band in known for v in (band.low, band.high, None)],
        y=[v for at, _ in known for v in (at, at, None)],
        # the markers keep a bar of no length visible
        mode="lines" if kind == "line" else "lines+markers",
        marker={"color": color, "size": 2},
        line={"color": color if kind == "line" else clear(color, 0.4), "width": _WIDTHS[kind]},
        **shown,
    )
