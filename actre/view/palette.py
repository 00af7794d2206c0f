"""What all plotly figures here share: colours, line styles, layout, error bars.

Grounds are transparent, words mid-grey and colours mid-tone, for light and dark pages alike.
"""

import math
from collections.abc import Iterable, Sequence
from typing import Any

import plotly.graph_objects as go

CONFIG = {"displaylogo": False, "modeBarButtonsToRemove": ["sendChartToCloud"], "responsive": True}
"""For `figure.show(config=CONFIG)`: no logo, and no button that would send the figure to a cloud service."""

GREY, GRID = "#7d828b", "rgba(128,128,128,0.22)"
ARMS = ("#3f82d0", "#d07a22", "#6d9a34", "#8c6fd0")
ORDERS = {"act_first": "#189484", "think_first": "#cc4f92", "no_think": GREY}

_DASHES = ("solid", "dash", "dot", "dashdot")
_SYMBOLS = ("circle", "square", "diamond", "triangle-up")


def arm_line(index: int, width: float = 2.5) -> dict[str, Any]:
    """Line and marker of the nth series; the first sixteen differ in dash and symbol, without their colour too."""
    color = ARMS[index % 4]
    return {
        "line": {"color": color, "width": width, "dash": _DASHES[(index + index // 4) % 4]},
        "marker": {"color": color, "size": 6, "symbol": _SYMBOLS[index % 4]},
    }


def laid_out(figure: go.Figure, title: str, x: str, y: str, height: int = 380) -> go.Figure:
    """The figure with title and axes: transparent, of any width, its legend above."""
    nothing = "rgba(0,0,0,0)"
    figure.update_layout(
        title={"text": title, "font": {"size": 15}},
        font={"color": GREY, "size": 12},
        paper_bgcolor=nothing,
        plot_bgcolor=nothing,
        autosize=True,
        height=height,
        margin={"l": 60, "r": 20, "t": 90, "b": 50},
        legend={"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom", "traceorder": "normal"},
        modebar={"bgcolor": nothing, "color": GREY},
        hoverlabel={"namelength": -1},
    )
    line = {"gridcolor": GRID, "zerolinecolor": GRID, "linecolor": GRID, "automargin": True}
    figure.update_xaxes(title={"text": x}, **line)
    figure.update_yaxes(title={"text": y}, **line)
    return figure


def plain(words: Iterable[str]) -> list[str]:
    """Words escaped for plotly, whose labels interpret a few HTML tags and entities."""
    return [w.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;") for w in words]


def interval(values: Sequence[Any]) -> dict[str, Any]:
    """Error bars from Intervals; none where an interval is missing or unknown."""
    above = [v.high - v.value if v is not None and math.isfinite(v.high) else 0.0 for v in values]
    below = [v.value - v.low if v is not None and math.isfinite(v.low) else 0.0 for v in values]
    return {"type": "data", "array": above, "arrayminus": below, "symmetric": False, "thickness": 1.4, "width": 4}


def known(values: Iterable[float]) -> list[float | None]:
    """Values that plotly can draw: None, a gap, for infinite or NaN."""
    return [value if math.isfinite(value) else None for value in values]


def band(
    figure: go.Figure,
    x: Sequence[float],
    low: Sequence[float],
    high: Sequence[float],
    *,
    line: dict[str, Any],
    name: str | None = None,
) -> None:
    """Add the region between two lines; only a named one has visible edges and an entry in the legend."""
    edge = {**line, "width": 0 if name is None else 1}
    for values, fill in ((low, None), (high, "tonexty")):
        look = {"line": edge, "fill": fill, "fillcolor": clear(line["color"], 0.2)}
        shown = {"name": name, "showlegend": name is not None and fill is not None}
        figure.add_trace(go.Scatter(x=x, y=known(values), mode="lines", **look, **shown))


def clear(color: str, opacity: float) -> str:
    """A #rrggbb colour, see-through."""
    red, green, blue = (int(color[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},{opacity})"
