"""What training one order alone gives both orders, for several policies."""

from collections.abc import Mapping

import plotly.graph_objects as go

from actre.entropy.preconditions import Preconditions
from actre.stats import Interval
from actre.types import Order
from actre.view.palette import ORDERS, interval, laid_out, plain

_SHOWN: tuple[tuple[Order, Order, str], ...] = (
    ("act_first", "act_first", "acting first, to itself"),
    ("act_first", "think_first", "acting first, to thinking"),
    ("think_first", "think_first", "thinking, to itself"),
)
"""The order trained, the order measured, and the words of the legend."""
_APART = 0.22
"""Distance between a policy's marks, of the distance between policies."""


def passed_on(policies: Mapping[str, Preconditions]) -> go.Figure:
    """A row a policy: success gained by reinforcement of one order alone, in that order and in thinking first.

    Raises ValueError if the record of no policy has trainings by reinforcement.
    """
    found = {name: {pair[:2]: _gain(one, *pair[:2]) for pair in _SHOWN} for name, one in policies.items()}
    if not any(gain for gains in found.values() for gain in gains.values()):
        raise ValueError("no policy was trained by reinforcement: give records with learnability")
    figure = go.Figure()
    for number, (trained, measured, words) in enumerate(_SHOWN):
        rows = [(at, gains[trained, measured]) for at, gains in enumerate(found.values())]
        known = [(at, gain) for at, gain in rows if gain is not None]
        figure.add_trace(
            go.Scatter(
                x=[gain.value for _, gain in known],
                y=[-at - _APART * (number - 1) for at, _ in known],
                error_x=interval([gain for _, gain in known]),
                mode="markers",
                marker={
                    "color": ORDERS[trained],
                    "size": 10,
                    "symbol": "circle" if trained == measured else "circle-open",
                },
                name=words,
            )
        )
    figure.add_vline(x=0, line={"dash": "dot"})
    figure.update_yaxes(tickvals=[-at for at in range(len(found))], ticktext=plain(found))
    figure.update_xaxes(tickformat="+.0%")
    title = "What does training one order give it, and what does it give thinking?"
    return laid_out(figure, title, "success gained by reinforcement", "", height=180 + 70 * len(found))


def _gain(one: Preconditions, trained: Order, measured: Order) -> Interval | None:
    """The success that reinforcement of one order gave an order."""
    if trained == measured:
        learned = one.learned.get(trained)
        return None if learned is None else learned.gain
    found = one.gains(trained, "rl", "success")
    return None if found is None else found.untrained
