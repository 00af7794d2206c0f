"""Plotly figures of the measurement's limits: naive estimates, and the calibration.

Every line and mark differs in shape as well as colour, so that the figures can be read in black and white.
`actre.view.plots` offers these functions.
"""

from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go

from actre.entropy.naive import Comparisons
from actre.view.names import DIFFERENCE
from actre.view.palette import ARMS, GREY, ORDERS, interval, laid_out

_KINDS = {"diffuse": ("circle", "dot"), "decisive": ("square", "solid"), "rare": ("diamond", "dash")}
_VERDICTS = {
    "narrowed": (ARMS[0], "triangle-down", "solid"),
    "widened": (ARMS[1], "triangle-up", "dash"),
    "equivalent": (ARMS[2], "circle", "dot"),
    "inconclusive": (GREY, "x", "dashdot"),
}


def naive_mistake(compared: Comparisons, title: str | None = None) -> go.Figure:
    """The apparent contraction in nats by three estimates from the same states: two misleading ones, and the bracket.

    Right of 0 an estimate says that thinking narrows. A dashed line marks the truth where it is known.
    """
    figure = go.Figure()
    shown = (
        ("after the sampled thought,<br>against the whole", compared.conditional, "triangle-up"),
        (f"average of {compared.k} thoughts,<br>against the exact value", compared.plugin, "diamond-open"),
    )
    for name, found, symbol in shown:
        mark = {"color": ARMS[1], "size": 11, "symbol": symbol}
        bars = {**interval([found]), "color": ARMS[1]}
        figure.add_trace(go.Scatter(x=[found.value], y=[name], mode="markers", marker=mark, error_x=bars, name=name))
    fair, whole = compared.fair, compared.fair.interval
    row = "the bracket,<br>with its interval"
    color = ORDERS["think_first"]
    figure.add_trace(
        go.Scatter(x=[whole.low, whole.high], y=[row] * 2, mode="lines", line={"color": color, "width": 2}, name=row)
    )
    ends = {"x": [fair.lower.value, fair.upper.value], "y": [row] * 2, "mode": "lines"}
    figure.add_trace(go.Scatter(**ends, line={"color": color, "width": 10}, name="the bracket alone"))
    figure.add_vline(x=0.0, line={"color": GREY, "width": 1})
    if compared.truth is not None:
        figure.add_vline(x=compared.truth, line={"color": GREY, "width": 2, "dash": "dash"})
    verdict = f"What each comparison calls contraction; the fair verdict: {fair.verdict}"
    figure.update_yaxes(range=[2.6, -0.6])  # the first estimate on top
    laid_out(figure, title or verdict, DIFFERENCE, "", height=320)
    return figure.update_layout(showlegend=False)


def naive_by_thoughts(compared: Sequence[Comparisons]) -> go.Figure:
    """The same three estimates as K grows: one error stays, one fades, the bracket closes on the truth."""
    ordered = sorted(compared, key=lambda one: one.k)
    k = [one.k for one in ordered]
    figure = go.Figure()
    edge = {"color": ORDERS["think_first"], "width": 2}
    for name, values, fill in (
        ("the bracket, lower end", [one.fair.lower.value for one in ordered], None),
        ("the bracket, upper end: average of K thoughts", [one.fair.upper.value for one in ordered], "tonexty"),
    ):
        shade = "rgba(204,79,146,0.2)"
        figure.add_trace(go.Scatter(x=k, y=values, mode="lines", line=edge, name=name, fill=fill, fillcolor=shade))
    figure.add_trace(
        go.Scatter(
            x=k,
            y=[one.conditional.value for one in ordered],
            mode="lines+markers",
            line={"color": ARMS[1], "width": 2, "dash": "dash"},
            marker={"symbol": "triangle-up", "size": 9},
            name="after the sampled thought, against the whole",
        )
    )
    truth = ordered[0].truth
    if truth is not None:
        figure.add_hline(y=truth, line={"color": GREY, "width": 2, "dash": "dash"})
    figure.update_xaxes(type="log", tickvals=k, ticktext=[str(one) for one in k])
    title = "How much contraction does each comparison find, by the number of thoughts?"
    return _legend_below(laid_out(figure, title, "K, thoughts per state", "nats", height=420))


def calibration_bias(record: dict[str, Any], actions: int = 30, openness: float = 0.8) -> go.Figure:
    """Both ends of the bracket minus the truth, over K, for each kind of thoughts; 0 lies between them."""
    figure = go.Figure()
    for index, (kind, (symbol, dash)) in enumerate(_KINDS.items()):
        rows = _rows(record["estimators"], kind=kind, actions=actions, openness=openness)
        rows = [row for row in rows if row["k"] > 1]
        for end in ("lower", "upper"):
            figure.add_trace(
                go.Scatter(
                    x=[row["k"] for row in rows],
                    y=[row["estimators"][end]["bias"] for row in rows],
                    mode="lines+markers",
                    line={"color": ARMS[index], "width": 2, "dash": dash},
                    marker={"symbol": symbol if end == "lower" else f"{symbol}-open", "size": 9},
                    name=f"{kind} thoughts, {end} end",
                )
            )
    figure.add_hline(y=0.0, line={"color": GREY, "width": 1})
    _over_thoughts(figure, record)
    title = f"The bracket's ends minus the truth, {actions} actions"
    return _legend_below(laid_out(figure, title, "K, thoughts per state", "bias, nats", height=460))


def calibration_width(record: dict[str, Any], openness: float = 0.8) -> go.Figure:
    """The bracket's mean width over K, one line per kind of thoughts and number of actions; both axes logarithmic."""
    figure = go.Figure()
    for index, actions in enumerate(sorted({row["actions"] for row in record["estimators"]})):
        for kind, (symbol, dash) in _KINDS.items():
            rows = _rows(record["estimators"], kind=kind, actions=actions, openness=openness)
            rows = [row for row in rows if row["k"] > 1]
            figure.add_trace(
                go.Scatter(
                    x=[row["k"] for row in rows],
                    y=[row["width"] for row in rows],
                    mode="lines+markers",
                    line={"color": ARMS[index], "width": 1 + index, "dash": dash},
                    marker={"symbol": symbol, "size": 8},
                    name=f"{kind}, {actions} actions",
                )
            )
    figure.update_yaxes(type="log")
    _over_thoughts(figure, record)
    return _legend_below(laid_out(figure, "How the bracket closes", "K, thoughts per state", "width, nats", height=480))


def calibration_verdicts(record: dict[str, Any], kind: str = "diffuse", actions: int = 30, k: int = 16) -> go.Figure:
    """How often each verdict is given, over the true difference, for sets of a diagnosis's default design.

    At 0 it shows the null whose games vary as those of the other differences do.
    """
    rows = _rows(record["sets"], kind=kind, actions=actions, k=k, **_first_design(record))
    rows = [row for row in rows if not row["null"] or row["scenario"].endswith("games differ")]
    rows.sort(key=lambda row: row["difference"])
    figure = go.Figure()
    for verdict, (color, symbol, dash) in _VERDICTS.items():
        figure.add_trace(
            go.Scatter(
                x=[row["difference"] for row in rows],
                y=[row["verdicts"][verdict] for row in rows],
                mode="lines+markers",
                line={"color": color, "width": 2, "dash": dash},
                marker={"symbol": symbol, "size": 9},
                name=verdict,
            )
        )
    for edge in (-1, 1):
        figure.add_vline(x=edge * record["settings"]["margin"], line={"color": GREY, "width": 1, "dash": "dot"})
    figure.update_yaxes(range=[0, 1.03], tickformat=".0%")
    title = f"Verdicts, {kind} thoughts, {actions} actions, K = {k}"
    return laid_out(figure, title, "true difference, act-first minus think-first, nats", "share of sets", height=420)


def _legend_below(figure: go.Figure) -> go.Figure:
    """Put a long legend below the plot, where it does not cover the title."""
    legend = {"orientation": "h", "x": 0, "y": -0.2, "yanchor": "top"}
    return figure.update_layout(legend=legend, margin={"l": 60, "r": 20, "t": 60, "b": 120})


def _over_thoughts(figure: go.Figure, record: dict[str, Any]) -> None:
    k = sorted({row["k"] for row in record["estimators"] if row["k"] > 1})
    figure.update_xaxes(type="log", tickvals=k, ticktext=[str(one) for one in k])


def _first_design(record: dict[str, Any]) -> dict[str, Any]:
    return {name: record["sets"][0][name] for name in ("games", "each")}


def _rows(rows: Sequence[dict[str, Any]], **wanted: Any) -> list[dict[str, Any]]:
    return [row for row in rows if all(row[name] == value for name, value in wanted.items())]
