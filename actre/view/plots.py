"""Plotly figures for notebooks: from diagnoses and run records to go.Figure.

Knows plotly's common ground of 5.24 (Colab) and 7: Scatter and Bar traces and plain layout dicts, no FigureWidget.
The shared look is in `_layout`, the figures of the naive looks and the calibration in `calibration_plots`; import them
from here. No file is read here.
"""

import json
import sys
from collections.abc import Sequence

import plotly.graph_objects as go

from actre.entropy.diagnose import Diagnosis, StateDiagnosis
from actre.rollout.evaluate import Summary
from actre.view._layout import ARMS, CONFIG, GREY, ORDERS, clear, interval, known, laid_out, plain
from actre.view.calibration_plots import (
    calibration_bias,
    calibration_verdicts,
    calibration_width,
    naive_by_thoughts,
    naive_mistake,
)
from actre.view.names import arm_name, order_name, task_name
from actre.view.records import EntropyPoint, RunRecord
from actre.view.still import svg

__all__ = [
    "CONFIG",
    "action_distributions",
    "calibration_bias",
    "calibration_verdicts",
    "calibration_width",
    "decomposition",
    "difference_by_state",
    "entropy_by_state",
    "entropy_through_training",
    "learning_curve",
    "naive_by_thoughts",
    "naive_mistake",
    "show",
    "success",
]


_HATCHES = {"act_first": "", "think_first": "/", "no_think": "."}


def show(figure: go.Figure) -> None:
    """Show a figure in a notebook: live with `CONFIG` where the viewer draws plotly, as a static SVG where it does not.

    A saved notebook holds both and no library: it reads on GitHub, in nbconvert and offline. Colab draws plotly its own
    way.
    """
    if "google.colab" in sys.modules:
        figure.show(config=CONFIG)
        return
    from IPython.display import display

    live = {**json.loads(figure.to_json()), "config": CONFIG}
    display({"application/vnd.plotly.v1+json": live, "image/svg+xml": svg(figure)}, raw=True)


def action_distributions(state: StateDiagnosis, most: int = 12) -> go.Figure:
    """The exact action distribution of one state in the orders side by side, the likeliest actions of any first.

    The actions left out are one more bar; "anything else" is what lies outside the admissible ones. No-think is there
    where it was measured. Hatching tells the orders apart without colour.
    """
    orders = {"act_first": state.act_first_p, "think_first": state.think_first_p}
    if state.no_think_p is not None:
        orders["no_think"] = state.no_think_p
    ranked = sorted(range(len(state.actions)), key=lambda i: -max(p[i] for p in orders.values()))
    kept, left = ranked[:most], ranked[most:]
    names = [state.actions[i] for i in kept]
    names += [f"{len(left)} other admissible actions"] if left else []
    names.append("anything else")
    figure = go.Figure()
    for order, p in orders.items():
        values = [p[i] for i in kept] + ([sum(p[i] for i in left)] if left else []) + [p[-1]]
        marker = {"color": ORDERS[order], "pattern": {"shape": _HATCHES[order]}}
        figure.add_trace(go.Bar(y=plain(names), x=values, name=order_name(order), orientation="h", marker=marker))
    title = f"H = {state.act_first:.2f} nats act-first, {state.lower:.2f} to {state.upper:.2f} think-first"
    figure.update_yaxes(autorange="reversed")
    return laid_out(figure, title, "probability", "", height=120 + 34 * len(names))


def difference_by_state(diagnosis: Diagnosis) -> go.Figure:
    """Act-first minus think-first H(A|s): the mean with its 95 % interval first, then each state's bracket.

    Above 0, thinking first narrows. The bars are brackets, the mean's thin bar the interval over games of both ends.
    """
    found = diagnosis.contraction
    both = sorted(zip(diagnosis.states, found.per_state, strict=True), key=lambda pair: -sum(pair[1]))
    words = plain(f"{task_name(s.task_type)}, step {s.step}, {len(s.actions)} actions" for s, _ in both)
    middle = [(b.lower + b.upper) / 2 for _, b in both]
    half = [(b.upper - b.lower) / 2 for _, b in both]
    bracket = {"type": "data", "array": half, "color": GREY, "thickness": 6, "width": 0}
    figure = go.Figure()
    figure.add_trace(
        go.Scatter(
            x=[0],
            y=[found.interval.value],
            mode="markers",
            marker={"color": ARMS[0], "size": 10, "symbol": "diamond"},
            error_y={**interval([found.interval]), "color": ARMS[0]},
            name="mean, interval over games",
        )
    )
    figure.add_trace(
        go.Scatter(
            x=list(range(1, len(both) + 1)),
            y=known(middle),
            mode="markers",
            marker={"color": GREY, "size": 3},
            error_y=bracket,
            name="each state, bracket",
            text=words,
        )
    )
    figure.add_hline(y=0, line={"color": GREY, "width": 1.5})
    title = "Act-first minus think-first action entropy: above 0, thinking narrows"
    return laid_out(figure, title, "probe state", "nats")


def entropy_by_state(diagnosis: Diagnosis) -> go.Figure:
    """Each probe state's H(A|s): act-first's dot, think-first's bracket; the most open states first."""
    ordered = sorted(diagnosis.states, key=lambda state: -state.act_first)
    numbers = list(range(1, len(ordered) + 1))
    words = plain(f"{task_name(s.task_type)}, step {s.step}, {len(s.actions)} actions" for s in ordered)
    figure = go.Figure()
    middle = [(s.lower + s.upper) / 2 for s in ordered]
    half = [(s.upper - s.lower) / 2 for s in ordered]
    bracket = {"type": "data", "array": half, "color": ORDERS["think_first"], "thickness": 7, "width": 0}
    figure.add_trace(
        go.Scatter(
            x=numbers,
            y=middle,
            mode="markers",
            marker={"color": ORDERS["think_first"], "size": 3},
            error_y=bracket,
            name="think-first, bracket",
            text=words,
        )
    )
    figure.add_trace(
        go.Scatter(
            x=numbers,
            y=[s.act_first for s in ordered],
            mode="markers",
            marker={"color": ORDERS["act_first"], "size": 9},
            name="act-first, exact",
            text=words,
        )
    )
    return laid_out(figure, "Action entropy, state by state", "probe state", "nats")


def decomposition(diagnosis: Diagnosis) -> go.Figure:
    """The means: act-first's H(A|s) beside think-first's two terms, with the bracket's upper end and the trap named."""
    mean = diagnosis.summary
    rows = ["act-first", "think-first"]
    hatch = {"shape": "/"}
    figure = go.Figure()
    figure.add_trace(
        go.Bar(
            y=rows,
            x=[mean["act_first"].value, 0.0],
            orientation="h",
            name="H(A|s), exact",
            marker={"color": ORDERS["act_first"]},
            error_x={**interval([mean["act_first"], None]), "color": GREY},
        )
    )
    color = {"color": ORDERS["think_first"]}
    figure.add_trace(
        go.Bar(
            y=rows,
            x=[0.0, mean["conditional"].value],
            orientation="h",
            name="E[H(A|s,T)]: left after a thought (not comparable with act-first)",
            marker={**color, "opacity": 0.55},
        )
    )
    figure.add_trace(
        go.Bar(
            y=rows,
            x=[0.0, mean["information"].value],
            orientation="h",
            name="I(A;T|s): what the thought decides",
            marker={**color, "opacity": 0.95, "pattern": hatch},
        )
    )
    upper = mean.get("think_first_upper")
    if upper is not None:
        rest = max(upper.value - mean["think_first_lower"].value, 0.0)
        figure.add_trace(
            go.Bar(
                y=rows,
                x=[0.0, rest],
                orientation="h",
                name="up to the upper bound",
                marker={"color": "rgba(0,0,0,0)", "line": {"color": ORDERS["think_first"], "width": 1.5}},
            )
        )
    none = mean.get("no_think")
    if none is not None:
        figure.add_trace(
            go.Bar(
                y=["no-think"],
                x=[none.value],
                orientation="h",
                name="H(A|s), exact, in a prompt that asks for no thought",
                marker={"color": ORDERS["no_think"]},
                error_x={**interval([none]), "color": GREY},
            )
        )
    figure.update_layout(barmode="stack")
    return laid_out(figure, "Where the choice lies, mean over the probe states", "nats", "", height=300)


def entropy_through_training(
    points: Sequence[EntropyPoint], title: str = "Action entropy through training"
) -> go.Figure:
    """Act-first's line and think-first's bracket over environment steps, of one run."""
    steps = [p.env_steps for p in points]
    color = ORDERS["think_first"]
    figure = go.Figure()
    line = {"color": color, "width": 1}
    edges = (
        ("think-first, lower bound", [p.think_first_lower.value for p in points], None),
        (
            "think-first, upper bound",
            [p.think_first_upper.value for p in points],
            "tonexty",
        ),
    )
    for name, values, fill in edges:
        figure.add_trace(
            go.Scatter(
                x=steps, y=known(values), mode="lines", line=line, name=name, fill=fill, fillcolor=clear(color, 0.2)
            )
        )
    figure.add_trace(
        go.Scatter(
            x=steps,
            y=known(p.act_first.value for p in points),
            mode="lines+markers",
            line={"color": ORDERS["act_first"], "width": 2.5},
            name="act-first, exact",
            error_y=interval([p.act_first for p in points]),
        )
    )
    figure.update_yaxes(rangemode="tozero")
    return laid_out(figure, title, "environment steps", "nats")


def learning_curve(runs: Sequence[RunRecord], metric: str = "success", smooth: int = 5) -> go.Figure:
    """A metric of each run over environment steps: thin as it is, thick as the mean of the last `smooth` iterations.

    A dashed line marks each change of order.
    """
    figure = go.Figure()
    for index, run in enumerate(runs):
        curve, color = run.curve(metric), ARMS[index % len(ARMS)]
        steps, values = [x for x, _ in curve], [y for _, y in curve]
        means = [sum(part) / len(part) for part in (values[max(0, i + 1 - smooth) : i + 1] for i in range(len(values)))]
        thin, thick = {"color": clear(color, 0.4), "width": 1}, {"color": color, "width": 2.5}
        name = plain([arm_name(run.arm)])[0]
        figure.add_trace(go.Scatter(x=steps, y=values, mode="lines", line=thin, showlegend=False, hoverinfo="skip"))
        figure.add_trace(go.Scatter(x=steps, y=means, mode="lines+markers", line=thick, name=name))
        for at, _, after in run.switches:
            figure.add_vline(x=at, line={"color": color, "width": 1, "dash": "dot"})
            note = {"x": at, "y": 1.0, "yref": "paper", "yanchor": "top", "xanchor": "left", "showarrow": False}
            figure.add_annotation({**note, "text": f"{order_name(after)} from here", "font": {"size": 11}})
    if metric == "success":
        figure.update_yaxes(rangemode="tozero", tickformat=".0%")
    return laid_out(figure, f"{metric.capitalize()} in training", "environment steps", metric)


def success(summaries: dict[str, Sequence[Summary]]) -> go.Figure:
    """Success with 95 % intervals: name (a run, before or after) -> `evaluate.summarise` of its results.

    Only the lines over all task types are drawn.
    """
    whole = {name: [row for row in rows if row.task_type is None] for name, rows in summaries.items()}
    places = list(dict.fromkeys((row.panel, row.order) for rows in whole.values() for row in rows))
    figure = go.Figure()
    for index, (name, rows) in enumerate(whole.items()):
        # numbers instead of categories, so that the groups of one row lie below each other
        shift = 0.6 * ((index + 0.5) / len(whole) - 0.5)
        color = ARMS[index % len(ARMS)]
        figure.add_trace(
            go.Scatter(
                x=[row.success.value for row in rows],
                y=[places.index((row.panel, row.order)) + shift for row in rows],
                mode="markers",
                marker={"color": color, "size": 9},
                error_x={**interval([row.success for row in rows]), "color": color},
                name=plain([name])[0],
            )
        )
    words = plain(f"{panel}, {order_name(order)} " for panel, order in places)
    figure.update_yaxes(tickvals=list(range(len(places))), ticktext=words, autorange="reversed", showgrid=False)
    figure.update_xaxes(range=[0, 1], tickformat=".0%")
    return laid_out(figure, "Games won", "share of games won", "", height=150 + 26 * len(whole) * max(len(places), 1))
