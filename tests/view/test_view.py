"""Figures: what they show is what was recorded, and text stays text."""

import functools
import itertools
import math
from dataclasses import replace
from typing import Any

import plotly.graph_objects as go
import pytest
from fake_run import build_quickstart, fake_diagnosis

from actre.entropy import calibration, naive
from actre.rollout.evaluate import EpisodeResult, summarise
from actre.view import plots, svg
from actre.view.records import RunRecord, read_runs

HOSTILE = "</style><script>alert(1)</script><img src=x onerror=alert(1)>"
DIAGNOSIS = fake_diagnosis()


@functools.cache
def small_record() -> dict[str, Any]:
    cells = [c for c in calibration.cells() if c["actions"] == 30 and c["k"] in (1, 2, 4) and c.get("games", 24) == 24]
    tables: dict[str, list[Any]] = {"estimators": [], "sets": []}
    for cell in cells:
        tables[cell["part"]] += calibration.measure(cell, 2, 0)
    return {**tables, "settings": calibration.settings()}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[RunRecord]:
    return read_runs(build_quickstart(tmp_path_factory.mktemp("runs")))


def figures(runs: list[RunRecord]) -> list[go.Figure]:
    return [
        plots.action_distributions(DIAGNOSIS.states[0]),
        plots.entropy_by_state(DIAGNOSIS),
        plots.difference_by_state(DIAGNOSIS),
        plots.decomposition(DIAGNOSIS),
        plots.entropy_through_training(runs[0].entropy),
        plots.learning_curve(runs),
        plots.success({"after": summarise(runs[0].results["after"])}),
        *calibration_figures(),
    ]


def calibration_figures() -> list[go.Figure]:
    return [
        plots.naive_mistake(naive.looks_at(DIAGNOSIS)),
        plots.naive_mistake(naive.scripted_looks(k=8)),
        plots.naive_by_thoughts([naive.scripted_looks(k=k) for k in (4, 2)]),
        plots.calibration_bias(small_record()),
        plots.calibration_width(small_record()),
        plots.calibration_verdicts(small_record(), k=4),
    ]


def test_every_figure_is_fit_for_light_and_dark_and_any_width(runs: list[RunRecord]) -> None:
    for figure in figures(runs):
        assert type(figure) is go.Figure
        assert figure.layout.paper_bgcolor == figure.layout.plot_bgcolor == "rgba(0,0,0,0)"
        assert figure.layout.autosize
        assert figure.layout.width is None
        assert figure.layout.title.text


def test_no_figure_uses_what_plotly_5_24_lacks(runs: list[RunRecord]) -> None:
    for figure in figures(runs):
        assert {trace.type for trace in figure.data} <= {"scatter", "bar"}


def test_the_naive_looks_and_the_bracket_are_drawn_with_what_was_found() -> None:
    looks = naive.scripted_looks(k=8)
    figure = plots.naive_mistake(looks)
    after, plugin, whole, bracket = figure.data
    assert after.x == (looks.conditional.value,)
    assert plugin.x == (looks.plugin.value,)
    assert whole.x == (looks.fair.interval.low, looks.fair.interval.high)
    assert bracket.x == (looks.fair.lower.value, looks.fair.upper.value)
    assert [line.x0 for line in figure.layout.shapes] == [0, 0]  # the axis, and the truth
    assert len(plots.naive_mistake(naive.looks_at(DIAGNOSIS)).layout.shapes) == 1  # truth unknown
    by_k = plots.naive_by_thoughts([naive.scripted_looks(k=k) for k in (8, 2)])
    assert all(tuple(trace.x) == (2, 8) for trace in by_k.data)


def test_without_colour_every_line_and_mark_of_the_calibration_is_still_told_apart() -> None:
    for figure in calibration_figures():
        looks_like = [
            (t.y[0] if t.mode == "markers" else None, t.line.dash, t.marker.symbol, t.line.width, t.fill)
            for t in figure.data
        ]
        assert len(set(looks_like)) == len(looks_like)


def test_the_verdicts_shown_at_a_difference_add_up_to_one() -> None:
    traces = plots.calibration_verdicts(small_record(), k=4).data
    assert [t.name for t in traces] == ["narrowed", "widened", "equivalent", "inconclusive"]
    assert list(traces[0].x) == sorted(traces[0].x)
    for shares in zip(*(t.y for t in traces), strict=True):
        assert math.isclose(sum(shares), 1, abs_tol=1e-3)


def test_no_button_sends_a_figure_anywhere() -> None:
    assert "sendChartToCloud" in plots.CONFIG["modeBarButtonsToRemove"]
    assert plots.CONFIG["displaylogo"] is False


def test_the_difference_is_drawn_state_by_state_with_the_means_interval() -> None:
    mean, states = plots.difference_by_state(DIAGNOSIS).data
    whole = DIAGNOSIS.contraction.interval
    assert mean.y == (whole.value,)
    assert math.isclose(mean.y[0] + mean.error_y.array[0], whole.high)
    assert math.isclose(mean.y[0] - mean.error_y.arrayminus[0], whole.low)
    drawn = {(round(y - half, 9), round(y + half, 9)) for y, half in zip(states.y, states.error_y.array, strict=True)}
    assert drawn == {(round(b.lower, 9), round(b.upper, 9)) for b in DIAGNOSIS.contraction.per_state}


def test_no_think_is_a_bar_of_its_own_where_it_was_measured() -> None:
    p = tuple(reversed(DIAGNOSIS.states[0].act_first_p))
    measured = replace(DIAGNOSIS.states[0], no_think_p=p, no_think=DIAGNOSIS.states[0].act_first)
    bars = plots.action_distributions(measured).data
    assert [bar.name for bar in bars] == ["act-first", "think-first", "no-think"]
    assert len({bar.marker.pattern.shape for bar in bars}) == 3  # apart in black and white too
    assert math.isclose(sum(bars[2].x), 1.0, abs_tol=1e-9)


@pytest.mark.parametrize("most", [3, 12])
def test_shown_probabilities_sum_to_one_in_both_orders(most: int) -> None:
    figure = plots.action_distributions(DIAGNOSIS.states[0], most=most)
    assert [bar.name for bar in figure.data] == ["act-first", "think-first"]
    for bar in figure.data:
        assert math.isclose(sum(bar.x), 1.0, abs_tol=1e-9)


def test_the_two_terms_add_up_to_the_lower_bound() -> None:
    bars = plots.decomposition(DIAGNOSIS).data
    shown = sum(bar.x[1] for bar in bars[1:3])
    assert math.isclose(shown, DIAGNOSIS.summary["think_first_lower"].value, abs_tol=1e-9)


def test_success_is_drawn_with_its_interval() -> None:
    results = [EpisodeResult("unseen", "think_first", f"g{i}", "t", i < 9, 5, 0.0) for i in range(10)]
    (trace,) = plots.success({"after": summarise(results)}).data
    assert trace.x == (0.9,)
    assert math.isclose(0.9 - trace.error_x.arrayminus[0], 0.596, abs_tol=1e-3)


def test_the_switch_is_marked_in_a_learning_curve(runs: list[RunRecord]) -> None:
    figure = plots.learning_curve(runs[:1])
    (line,) = figure.layout.shapes
    assert line.x0 == runs[0].switches[0][0]


def test_a_hostile_action_is_no_markup_in_a_figure() -> None:
    state = DIAGNOSIS.states[0]
    spoiled = type(state)(**{**state.__dict__, "actions": tuple(HOSTILE + a for a in state.actions)})
    assert "<script" not in plots.action_distributions(spoiled).to_json().replace("\\u003c", "<")


def test_a_chart_with_one_point_or_none_is_still_a_chart() -> None:
    one = svg.Point(10.0, 0.5, 0.4, 0.6)
    for points in ([], [one], [one._replace(y=math.nan, low=math.nan, high=math.nan)]):
        drawn = svg.line_chart(
            [svg.Line("a", "arm-0", points), svg.Area("b", "think", points)],
            width=358,
            height=200,
            title="t",
            y_label="y",
            x_label="x",
        )
        assert drawn.startswith("<svg")
        assert "nan" not in drawn


def test_labels_at_the_lines_ends_do_not_touch() -> None:
    points = [svg.Point(0, 0.5, 0.5, 0.5), svg.Point(9, 0.5, 0.5, 0.5)]
    lines = [svg.Line(f"line {i}", "arm-0", points) for i in range(4)]
    drawn = svg.line_chart(lines, width=600, height=200, title="t", y_label="y", x_label="x")
    labels = [part for part in drawn.split("<text")[1:] if "label arm" in part]
    heights = sorted(float(part.split('y="')[1].split('"')[0]) for part in labels)
    assert len(heights) == 4
    assert all(b - a >= 14.9 for a, b in itertools.pairwise(heights))
