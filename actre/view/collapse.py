"""The report's section on collapse: what training measures to see it while it happens, and how to read each number."""

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import plotly.graph_objects as go

from actre.types import ORDERS
from actre.view.blocks import capital, missing, numbers, table
from actre.view.html import Html, join, tag
from actre.view.names import order_name
from actre.view.palette import ARMS, GREY, clear, laid_out, plain
from actre.view.records import EntropyPoint, RunRecord
from actre.view.still import chart

READINGS = (
    (
        "zero-variance groups",
        "the share of groups whose episodes all have the same return: they give GRPO no gradient. Near 1 there is "
        "nothing left to learn from, because all is won, or all is lost",
    ),
    (
        "distinct trajectories a group",
        "different sequences of actions among the episodes of one game. Near 1 the policy plays the same episode again "
        "and again, and its groups teach nothing",
    ),
    (
        "I(thought; state)",
        "mutual information of thought and state, in nats, at most log N for N states. If it falls towards 0 while "
        "token entropy stays, the thoughts still vary but no longer respond to the state: template collapse (RAGEN-2)",
    ),
    (
        "retrieval accuracy",
        "the share of thoughts that are likeliest in the state they were written in; by chance 1/N",
    ),
    (
        "I(thought; action)",
        "mutual information of thought and action, in nats: what the thought decides. Near 0 the action no longer "
        "depends on which thought was written (the plug-in, an underestimate)",
    ),
    (
        "admissible, success by order",
        "in every order, not only the stage's: an order that is not trained may be lost. Admissible is exact on the "
        "probe states; success needs games played at each measurement (probe.panel_games)",
    ),
    (
        "pass@k",
        "the probability that at least one of k episodes of a game is won. If pass@1 rises and pass@k does not, the "
        "policy has become surer, not abler",
    ),
)
"""Each measure, and in one line how to read it."""
_SMOOTH = 5
_NONE = "–"


class Measure(NamedTuple):
    """A row of the table: its name and its value in one measurement, None where it was not taken."""

    name: str
    value: Callable[[EntropyPoint], str | None]


def collapse(runs: Sequence[RunRecord]) -> Html:
    """Curves of the groups, the measurements at the beginning and the end, and how to read them."""
    trained = [run for run in runs if zero_variance(run)]
    parts: list[Html] = []
    for run in trained:
        parts.append(tag("h3", capital(run.name)))
        parts.append(chart(curve(run)))
    rows = [row for run in runs for row in _rows(run)]
    if not parts and not rows:
        return missing("Nothing was recorded that would show a collapse", "metrics.jsonl and entropy.jsonl are missing")
    readings = tag("ul", [tag("li", tag("strong", f"{name}: "), f"{words}.") for name, words in READINGS])
    shown: list[Html] = [tag("p", "Signs of a collapse, while training goes on:"), readings]
    if parts:
        caption = (
            "Shares over environment steps: groups without variance, and distinct trajectories a group as a share of "
            f"its episodes (thick: mean of the last {_SMOOTH} iterations); dots: retrieval accuracy, with chance "
            "dotted."
        )
        shown.append(tag("figure", parts, tag("figcaption", caption)))
    if rows:
        shown.append(table(["run", "measure", "before training", "at the end"], rows))
    every = [row for run in runs for row in _by_measurement(run)]
    if every:
        names = ["run", "iteration", "order", "success", "admissible", "distinct trajectories", "pass@k"]
        shown.append(numbers(names, every))
    return join(shown)


def curve(run: RunRecord) -> go.Figure:
    """The shares that fall or rise in a collapse, over environment steps, from 0 to 1."""
    figure = go.Figure()
    for trace in shares(run):
        figure.add_trace(trace)
    found = [(p.env_steps, p.others["retrieval_accuracy"].value) for p in run.entropy if _has(p, "retrieval_accuracy")]
    if found:
        marks = {"color": ARMS[3], "size": 8, "symbol": "diamond"}
        x, y = zip(*found, strict=True)
        figure.add_trace(go.Scatter(x=x, y=y, mode="markers", marker=marks, name="retrieval accuracy"))
        chance = next(p.retrieval_chance for p in run.entropy if _has(p, "retrieval_accuracy"))
        figure.add_hline(y=chance, line={"color": ARMS[3], "width": 1, "dash": "dot"})
    figure.update_yaxes(range=[0, 1.02], tickformat=".0%")
    return laid_out(figure, plain([f"Signs of collapse in training of {run.name}"])[0], "environment steps", "share")


def shares(run: RunRecord, line: dict[str, Any] | None = None) -> list[go.Scatter]:
    """Lines of the zero-variance groups and of the distinct trajectories, smoothed. line: for both, else coloured."""
    made = []
    for name, points, look in (
        ("zero-variance groups", zero_variance(run), {"color": ARMS[1], "width": 2.5}),
        ("distinct trajectories", distinct(run), {"color": ARMS[2], "width": 2.5, "dash": "dash"}),
    ):
        if points:
            x, y = [at for at, _ in points], [value for _, value in points]
            means = [math.fsum(w) / len(w) for w in (y[max(0, i + 1 - _SMOOTH) : i + 1] for i in range(len(y)))]
            made.append(go.Scatter(x=x, y=means, mode="lines", line={**look, **(line or {})}, name=name))
    return made


def zero_variance(run: RunRecord) -> list[tuple[float, float]]:
    """(environment steps, share of zero-variance groups); of older runs, of those without an advantage."""
    found = run.curve("zero_variance_groups")
    if found or run.config is None:
        return found
    return [(x, count / run.config.optim.groups) for x, count in run.curve("groups_without_signal")]


def distinct(run: RunRecord) -> list[tuple[float, float]]:
    """(environment steps, distinct trajectories a group as a share of its episodes); empty for older runs."""
    if run.config is None:
        return []
    return [(x, count / run.config.optim.group_size) for x, count in run.curve("distinct_trajectories")]


def with_signs(figure: go.Figure, runs: Sequence[RunRecord]) -> go.Figure:
    """A learning curve of success with the shares of the last run drawn thin over it."""
    for trace in shares(runs[-1], {"width": 1.2, "color": clear(GREY, 0.9)}) if runs else ():
        figure.add_trace(trace)
    return figure


# --- the table ---


def _rows(run: RunRecord) -> list[list[str]]:
    rows = []
    for name, points in (
        ("zero-variance groups", zero_variance(run)),
        ("distinct trajectories a group", distinct(run)),
    ):
        if points:
            ends = [math.fsum(y for _, y in part) / len(part) for part in (points[:_SMOOTH], points[-_SMOOTH:])]
            rows.append(
                [run.name, f"{name}, first and last {_SMOOTH} iterations", *(f"{100 * end:.0f}%" for end in ends)]
            )
    if not run.entropy:
        return rows
    for measure in _measures(run):
        first, last = (measure.value(point) for point in (run.entropy[0], run.entropy[-1]))
        if first is not None or last is not None:
            rows.append([run.name, measure.name, first or _NONE, last or _NONE])
    return rows


def _measures(run: RunRecord) -> list[Measure]:
    point = run.entropy[-1]
    chance = f", by chance {point.retrieval_chance:.2f}" if point.retrieval_chance else ""
    most = f", at most {-math.log(point.retrieval_chance):.2f} nats" if point.retrieval_chance else ""
    made = [
        Measure(f"I(thought; state){most}", lambda p: _other(p, "thought_state_information")),
        Measure(f"retrieval accuracy{chance}", lambda p: _other(p, "retrieval_accuracy")),
        Measure("I(thought; action)", lambda p: f"{p.information.value:.2f}" if _finite(p.information.value) else None),
    ]
    for order in ORDERS:
        name = order_name(order)
        made.append(Measure(f"admissible on the probe states, {name}", partial(_admissible, order)))
        made.append(Measure(f"success on the panel, {name}", partial(_played, order)))
    return made


def _by_measurement(run: RunRecord) -> list[list[str]]:
    return [
        [
            run.name,
            str(point.iteration),
            order_name(one["order"]),
            f"{100 * one['success']['value']:.0f}%",
            f"{100 * one['admissible']:.0f}%",
            f"{one['distinct_trajectories']:.1f} of {one['episodes']}",
            ", ".join(f"{k}: {100 * band['value']:.0f}%" for k, band in one["pass_at"].items()),
        ]
        for point in run.entropy
        for one in point.orders
    ]


def _other(point: EntropyPoint, name: str) -> str | None:
    if not _has(point, name):
        return None
    band = point.others[name]
    return f"{band.value:.2f} [{band.low:.2f}, {band.high:.2f}]"


def _admissible(order: str, point: EntropyPoint) -> str | None:
    band = point.others.get(f"other_{order}")
    return None if band is None or not _finite(band.value) else f"{100 * (1 - band.value):.0f}%"


def _played(order: str, point: EntropyPoint) -> str | None:
    return next((f"{100 * one['success']['value']:.0f}%" for one in point.orders if one["order"] == order), None)


def _has(point: EntropyPoint, name: str) -> bool:
    return name in point.others and _finite(point.others[name].value)


def _finite(value: float) -> bool:
    return math.isfinite(value)
