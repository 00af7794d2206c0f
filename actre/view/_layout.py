"""What every plotly figure here shares: colours, layout, error bars. Knows no data.

Transparent grounds, mid-grey words and mid-tone colours, for light and dark notebooks alike.
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


def laid_out(figure: go.Figure, title: str, x: str, y: str, height: int = 380) -> go.Figure:
    """The figure with title, axes and the house's look: transparent, any width, legend above."""
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
    """Words that plotly shows as they are: its labels read a few HTML tags and entities."""
    return [w.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;") for w in words]


def interval(values: Sequence[Any]) -> dict[str, Any]:
    """Error bars from Intervals; none where an interval is missing or unknown."""
    above = [v.high - v.value if v is not None and math.isfinite(v.high) else 0.0 for v in values]
    below = [v.value - v.low if v is not None and math.isfinite(v.low) else 0.0 for v in values]
    return {"type": "data", "array": above, "arrayminus": below, "symmetric": False, "thickness": 1.4, "width": 4}


def known(values: Iterable[float]) -> list[float | None]:
    """Values plotly can draw: None, a gap, for what is infinite or NaN."""
    return [value if math.isfinite(value) else None for value in values]


def clear(color: str, opacity: float) -> str:
    """A #rrggbb colour, see-through."""
    red, green, blue = (int(color[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},{opacity})"
