"""Plotly figures of a diagnosis: its states, its parts, the two terms of think-first, one state's distributions.

`actre.view.plots` offers the public ones.
"""

import math

import plotly.graph_objects as go

from actre.entropy.diagnose import PARTS, Diagnosis, Part, StateDiagnosis, parts
from actre.stats import Interval
from actre.view.names import DIFFERENCE, order_name, task_name
from actre.view.palette import ARMS, GREY, ORDERS, interval, laid_out, plain
from actre.view.rows import Mark, Row, bar, row_chart

_HATCHES = {"act_first": "", "think_first": "/", "no_think": "."}
_STATE_HEIGHT = 19.0
_PARTS = {
    "early": "early in the episode",
    "late": "late in the episode",
    "expert": "where an expert played",
    "random": "after random play",
    "policy": "where a policy played",
}


def figures(found: Diagnosis) -> dict[str, go.Figure]:
    """The figures that become files beside a diagnosis, by name."""
    listed = {} if found.listed is None else {"listed_by_state": entropy_by_state(found, listed=True)}
    return {
        **listed,
        "difference_by_state": difference_by_state(found),
        "difference_by_part": difference_by_part(found),
        "decomposition": decomposition(found),
        "distributions": action_distributions(most_different(found)),
    }


def most_different(found: Diagnosis) -> StateDiagnosis:
    """The state whose distributions in the two orders have the largest Jensen-Shannon divergence."""
    return max(found.states, key=lambda state: state.js)


def part_name(name: str) -> str:
    """A position, source or task type in words."""
    return _PARTS.get(name) or task_name(name)


def action_distributions(state: StateDiagnosis, most: int = 12) -> go.Figure:
    """One state's exact action distribution in each order, most probable actions first.

    The actions beyond `most` share one row; "anything else" is the probability outside the admissible actions. No-think
    is shown where it was measured. Hatching distinguishes the orders without colour.
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
    return laid_out(figure, title, "probability", "", height=140 + 34 * len(names))


def difference_by_state(diagnosis: Diagnosis) -> go.Figure:
    """Act-first minus think-first H(A|s): the mean with its 95 % interval first, then each state's bracket.

    Right of 0, thinking first narrows. The bars are brackets; the mean's whisker is the interval over games of both
    ends.
    """
    found = diagnosis.contraction
    mean = [
        bar(*found.difference, ARMS[0], name="mean, bracket"),
        Mark(
            Interval(math.nan, *found.interval[1:]),
            ARMS[0],
            kind="line",
            name="mean, 95 % interval over games",
            words=" to ".join(f"{end:.2f}" for end in found.difference),
        ),
    ]
    rows = [Row("mean of all states", mean), Row("each state")]
    both = zip(diagnosis.states, found.per_state, strict=True)
    for state, bracket in sorted(both, key=lambda pair: -sum(pair[1])):
        rows.append(Row(_state(state), [bar(*bracket, GREY, name="each state, bracket")]))
    title = f"Does thinking first narrow the choice? {len(diagnosis.states)} states"
    return row_chart(rows, title, DIFFERENCE, zero=True, row_height=_STATE_HEIGHT)


def difference_by_part(diagnosis: Diagnosis) -> go.Figure:
    """The mean differences by position, source and task type: brackets, with the interval over games of both ends."""
    rows: list[Row] = []
    for by, heading in zip(PARTS, ("by position", "by who played before", "by task type"), strict=True):
        rows.append(Row(heading))
        rows += [_part(part) for part in parts(diagnosis.states, by, diagnosis.settings.seed)]
    return row_chart(rows, "Where does thinking first narrow the choice?", DIFFERENCE, zero=True)


def entropy_by_state(diagnosis: Diagnosis, listed: bool = False) -> go.Figure:
    """Each probe state's H(A|s), the highest act-first first: act-first as a dot, think-first's bracket as a bar.

    listed: among the listed actions only, of the states in which that was measured.
    """
    found = [(state, state.listed if listed else state) for state in diagnosis.states]
    there = [(state, one) for state, one in found if one is not None]
    rows = [
        Row(
            _state(state),
            [
                bar(one.lower, one.upper, ORDERS["think_first"], name="think-first, bracket"),
                Mark(_exactly(one.act_first), ORDERS["act_first"], name="act-first, exact"),
            ],
        )
        for state, one in sorted(there, key=lambda pair: -pair[1].act_first)
    ]
    among = " among the listed actions" if listed else ""
    title = f"Where is the choice broad? Action entropy{among}, state by state"
    return row_chart(rows, title, f"action entropy{among}, nats", low=0.0, row_height=_STATE_HEIGHT)


def decomposition(diagnosis: Diagnosis) -> go.Figure:
    """The means: act-first's H(A|s) beside think-first's two terms and what its upper bound adds to them."""
    mean = diagnosis.summary
    color = ORDERS["think_first"]
    conditional = "E[H(A|s,T)]: left after a thought (not comparable with act-first)"
    bars = [
        ("act-first", mean["act_first"], "H(A|s), exact", {"color": ORDERS["act_first"]}, True),
        ("think-first", mean["conditional"], conditional, {"color": color, "opacity": 0.55}, False),
        (
            "think-first",
            mean["information"],
            "I(A;T|s): what the thought decides",
            {"color": color, "opacity": 0.95, "pattern": {"shape": "/"}},
            False,
        ),
    ]
    upper, none = mean.get("think_first_upper"), mean.get("no_think")
    if upper is not None:
        rest = _exactly(max(upper.value - mean["think_first_lower"].value, 0.0))
        empty = {"color": "rgba(0,0,0,0)", "line": {"color": color, "width": 1.5}}
        bars.append(("think-first", rest, "up to the upper bound", empty, False))
    if none is not None:
        name = "H(A|s), exact, in a prompt that asks for no thought"
        bars.append(("no-think", none, name, {"color": ORDERS["no_think"]}, True))
    figure = go.Figure()
    for row, found, name, marker, whiskers in bars:
        error = {**interval([found]), "color": GREY} if whiskers else None
        figure.add_trace(go.Bar(y=[row], x=[found.value], orientation="h", name=name, marker=marker, error_x=error))
    figure.update_layout(barmode="stack")
    figure.update_yaxes(autorange="reversed")
    title = "Is the action chosen before or in the thought? Mean over the probe states"
    return laid_out(figure, title, "nats", "", height=270)


def _state(state: StateDiagnosis) -> str:
    return f"{task_name(state.task_type)}; step {state.step}"


def _part(part: Part) -> Row:
    low, high = part.difference_lower, part.difference_upper
    ends = Interval(math.nan, low.low, high.high)
    marks = [Mark(ends, ARMS[0], kind="line"), bar(low.value, high.value, ARMS[0])]
    return Row(f"{part_name(part.name)} ({part.states})", marks)


def _exactly(value: float) -> Interval:
    return Interval(value, value, value)
