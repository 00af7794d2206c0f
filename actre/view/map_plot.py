"""A heat map without a grid: the gain in each of several policies, at its measured contraction and transfer."""

from collections.abc import Sequence
from typing import NamedTuple

import plotly.graph_objects as go

from actre.stats import Interval
from actre.view.palette import GREY, interval, laid_out, plain

_LOST, _EVEN, _GAINED = (208, 122, 34), (185, 188, 194), (63, 130, 208)
_FULL = 0.10
"""The difference at which a colour is at its full strength."""
_KEY = ((-_FULL, "10 points lost, or more"), (0.0, "equal"), (_FULL, "10 points gained, or more"))


class Place(NamedTuple):
    """One policy. contraction: both ends of the bracket, nats; transfer: a ratio; gain: in success (of 1), or None."""

    name: str
    contraction: Interval
    transfer: Interval
    gain: Interval | None
    words: str


def gain_map(places: Sequence[Place], title: str) -> go.Figure:
    """A marker for each policy, its colour from orange (a loss of 10 points and more) to blue (a gain of as much).

    A diamond where the gain's interval excludes 0, else a circle; an open one where arms have not been compared.
    """
    figure = go.Figure()
    for one in places:
        marker = {"color": GREY, "size": 13, "symbol": "circle-open"}
        if one.gain is not None:
            certain = one.gain.low > 0 or one.gain.high < 0
            symbol = "diamond" if certain else "circle"
            marker = {"color": _color(one.gain.value), "size": 20, "symbol": symbol}
        figure.add_trace(
            go.Scatter(
                x=[one.contraction.value],
                y=[one.transfer.value],
                error_x=interval([one.contraction]) | {"color": GREY},
                error_y=interval([one.transfer]) | {"color": GREY},
                mode="markers",
                marker=marker,
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
    for gain, words in _KEY:
        marker = {"color": _color(gain), "size": 12, "symbol": "circle"}
        figure.add_trace(go.Scatter(x=[None], y=[None], mode="markers", marker=marker, name=words))
    x = "<- thinking widens | action entropy, act-first minus think-first, nats | thinking narrows ->"
    return laid_out(figure, title, x, "transfer, act-first to think-first", height=460)


def _color(gain: float) -> str:
    end = _GAINED if gain > 0 else _LOST
    share = min(1.0, abs(gain) / _FULL)
    mixed = (round(at + share * (to - at)) for at, to in zip(_EVEN, end, strict=True))
    return "#" + "".join(f"{one:02x}" for one in mixed)
