"""A map: the gain in each of several policies, at its measured contraction and transfer."""

from collections.abc import Sequence
from typing import NamedTuple

import plotly.graph_objects as go

from actre.stats import Interval
from actre.view.palette import interval, laid_out, plain

GAINED, LOST, OPEN = "#3f82d0", "#d07a22", "#808080"
_FULL = 0.10
"""A difference from which on a marker has its full size."""


class Place(NamedTuple):
    """One policy. contraction: both ends of the bracket, nats; transfer: a ratio; gain: in success (of 1), or None."""

    name: str
    contraction: Interval
    transfer: Interval
    gain: Interval | None
    words: str


def gain_map(places: Sequence[Place], title: str) -> go.Figure:
    """Markers: blue where the gain is above 0, orange below; full where its interval excludes 0; larger, the larger.
    Grey: policies in which the arms have not been compared.
    """
    figure = go.Figure()
    for one in places:
        color, symbol, size = OPEN, "circle-open", 9.0
        if one.gain is not None:
            color = GAINED if one.gain.value > 0 else LOST
            symbol = "circle" if one.gain.low > 0 or one.gain.high < 0 else "circle-open"
            size += 13 * min(1.0, abs(one.gain.value) / _FULL)
        figure.add_trace(
            go.Scatter(
                x=[one.contraction.value],
                y=[one.transfer.value],
                error_x=interval([one.contraction]),
                error_y=interval([one.transfer]),
                mode="markers",
                marker={"color": color, "size": size, "symbol": symbol},
                name=one.name,
                showlegend=False,
            )
        )
        figure.add_annotation(
            x=one.contraction.value,
            y=one.transfer.value,
            text=plain([f"{one.name}: {one.words}"])[0],
            xanchor="left",
            xshift=12,
            yshift=12,
            showarrow=False,
        )
    figure.add_vline(x=0, line={"dash": "dot"})
    x = "<- thinking widens | action entropy, act-first minus think-first, nats | thinking narrows ->"
    return laid_out(figure, title, x, "transfer, act-first to think-first", height=460)
