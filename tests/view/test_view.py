"""Figures: what they show is what was recorded, and text stays text."""

import functools
import itertools
import math
import re
import xml.etree.ElementTree as ET
from dataclasses import replace
from typing import Any

import plotly.graph_objects as go
import pytest
from fake_run import build_quickstart, fake_diagnosis

from actre.entropy import calibration, naive
from actre.entropy.diagnose import PARTS, entropy_record, parts
from actre.rollout.evaluate import EpisodeResult, summarise
from actre.stats import Interval
from actre.view import plots, run_plots
from actre.view.diagnosis_plots import figures as diagnosis_figures
from actre.view.palette import ARMS, ORDERS
from actre.view.records import EntropyPoint, RunRecord, entropy_point, read_runs
from actre.view.rows import Row, bar, row_chart
from actre.view.still import svg
from actre.view.success import groups, pick
from actre.view.success import success as share_won

HOSTILE = "</style><script>alert(1)</script><img src=x onerror=alert(1)>"
DIAGNOSIS = fake_diagnosis()
SVG = "{http://www.w3.org/2000/svg}"


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


def report_figures(runs: list[RunRecord]) -> list[go.Figure]:
    differences = run_plots.success_differences(runs, "think_first")
    assert differences is not None
    return [
        *diagnosis_figures(DIAGNOSIS).values(),
        plots.entropy_at_start(read_start()),
        plots.entropy_through_training(runs[0].entropy, "One run", runs[0].switches, 2.0),
        *(run_plots.entropy_overlaid(runs, order, 2.0) for order in ("act_first", "think_first")),
        plots.learning_curve(runs, "return"),
        run_plots.success_by_group(runs),
        run_plots.success_by_task(runs, groups(runs)[0]),
        differences,
    ]


def read_start() -> EntropyPoint:
    """The means of the diagnosis, as a run's first measurement."""
    return entropy_point(entropy_record(DIAGNOSIS))


def calibration_figures() -> list[go.Figure]:
    return [
        plots.naive_mistake(naive.diagnosis_comparisons(DIAGNOSIS)),
        plots.naive_mistake(naive.scripted_comparisons(k=8)),
        plots.naive_by_thoughts([naive.scripted_comparisons(k=k) for k in (4, 2)]),
        plots.calibration_bias(small_record()),
        plots.calibration_width(small_record()),
        plots.calibration_verdicts(small_record(), k=4),
    ]


def test_every_figure_is_fit_for_light_and_dark_and_any_width(runs: list[RunRecord]) -> None:
    for figure in [*figures(runs), *report_figures(runs)]:
        assert type(figure) is go.Figure
        assert figure.layout.paper_bgcolor == figure.layout.plot_bgcolor == "rgba(0,0,0,0)"
        assert figure.layout.autosize
        assert figure.layout.width is None
        assert figure.layout.title.text


def test_no_figure_uses_what_plotly_5_24_lacks(runs: list[RunRecord]) -> None:
    for figure in [*figures(runs), *report_figures(runs)]:
        assert {trace.type for trace in figure.data} <= {"scatter", "bar"}


def test_the_naive_looks_and_the_bracket_are_drawn_with_what_was_found() -> None:
    compared = naive.scripted_comparisons(k=8)
    figure = plots.naive_mistake(compared)
    after, plugin, whole, bracket = figure.data
    assert after.x == (compared.conditional.value,)
    assert plugin.x == (compared.plugin.value,)
    assert whole.x == (compared.fair.interval.low, compared.fair.interval.high)
    assert bracket.x == (compared.fair.lower.value, compared.fair.upper.value)
    assert [line.x0 for line in figure.layout.shapes] == [0, 0]  # the axis, and the truth
    assert len(plots.naive_mistake(naive.diagnosis_comparisons(DIAGNOSIS)).layout.shapes) == 1  # truth unknown
    by_k = plots.naive_by_thoughts([naive.scripted_comparisons(k=k) for k in (8, 2)])
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


def spans(trace: go.Scatter) -> list[tuple[float, float]]:
    """The bars of a row chart's trace."""
    return list(zip(trace.x[::3], trace.x[1::3], strict=True))


def test_the_difference_is_drawn_state_by_state_with_the_means_interval() -> None:
    mean, whole, states = plots.difference_by_state(DIAGNOSIS).data
    found = DIAGNOSIS.contraction
    assert spans(mean) == [tuple(found.difference)]
    assert spans(whole) == [(found.interval.low, found.interval.high)]
    assert sorted(spans(states)) == sorted((b.lower, b.upper) for b in found.per_state)


def test_each_states_entropies_are_drawn_in_both_orders_highest_on_top() -> None:
    bracket, act = plots.entropy_by_state(DIAGNOSIS).data
    ordered = sorted(DIAGNOSIS.states, key=lambda s: -s.act_first)
    assert spans(bracket) == [(s.lower, s.upper) for s in ordered]
    assert list(act.x) == [s.act_first for s in ordered]
    assert list(act.y) == list(range(len(ordered)))


def test_the_parts_are_drawn_as_they_are_computed() -> None:
    whiskers, brackets = plots.difference_by_part(DIAGNOSIS).data
    found = [part for by in PARTS for part in parts(DIAGNOSIS.states, by, DIAGNOSIS.settings.seed)]
    assert spans(brackets) == [(p.difference_lower.value, p.difference_upper.value) for p in found]
    known = [(p.difference_lower.low, p.difference_upper.high) for p in found if p.games > 1]
    assert spans(whiskers) == known


def test_success_before_and_after_is_drawn_per_run_and_shared_where_runs_begin_alike(runs: list[RunRecord]) -> None:
    figure = run_plots.success_by_group(runs)
    labels = figure.layout.yaxis.ticktext
    assert labels.count("before training") == len(groups(runs))
    drawn = {(labels[int(at)], round(x, 9)) for t in figure.data for x, at in zip(t.x, t.y, strict=True)}
    for run in runs:
        for group in groups(runs):
            won = share_won(pick(run, "after", group))
            assert won is not None
            assert (f"{run.name}, after", round(won.value, 9)) in drawn
    apart = [runs[0], replace(runs[1], results={**runs[1].results, "before": runs[1].results["after"]})]
    assert "before training" not in run_plots.success_by_group(apart).layout.yaxis.ticktext


def test_no_think_is_a_bar_of_its_own_where_it_was_measured() -> None:
    p = tuple(reversed(DIAGNOSIS.states[0].act_first_p))
    measured = replace(DIAGNOSIS.states[0], no_think_p=p, no_think=DIAGNOSIS.states[0].act_first)
    bars = plots.action_distributions(measured).data
    assert [one.name for one in bars] == ["act-first", "think-first", "no-think"]
    assert len({one.marker.pattern.shape for one in bars}) == 3  # apart in black and white too
    assert math.isclose(sum(bars[2].x), 1.0, abs_tol=1e-9)


@pytest.mark.parametrize("most", [3, 12])
def test_shown_probabilities_sum_to_one_in_both_orders(most: int) -> None:
    figure = plots.action_distributions(DIAGNOSIS.states[0], most=most)
    assert [one.name for one in figure.data] == ["act-first", "think-first"]
    for one in figure.data:
        assert math.isclose(sum(one.x), 1.0, abs_tol=1e-9)


def test_the_two_terms_add_up_to_the_lower_bound() -> None:
    bars = plots.decomposition(DIAGNOSIS).data
    shown = sum(one.x[0] for one in bars[1:3])
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


@pytest.mark.parametrize("y", [[], [0.5], [None], [0.5, None, 0.7]])
def test_a_line_without_points_or_with_gaps_is_still_drawn(y: list[float | None]) -> None:
    for which in ("x", "y"):
        figure = go.Figure(go.Scatter(x=list(range(len(y))), y=y, mode="lines+markers", name="a"))
        figure.data[0][f"error_{which}"] = {"array": [0.1] * len(y)}
        drawn = ET.fromstring(svg(figure, 358))
        assert len(list(drawn.iter(f"{SVG}circle"))) == sum(v is not None for v in y)
        assert "nan" not in ET.tostring(drawn, encoding="unicode")


def drawn(figure: go.Figure, width: float) -> list[tuple[str, float, float, float]]:
    """The picture's words: text, its left and right end (by an average width of letters), and its height."""
    found = []
    for e in ET.fromstring(svg(figure, width)).iter(f"{SVG}text"):
        if "transform" in e.attrib:
            continue
        x, words = float(e.attrib["x"]), e.text or ""
        size = float(e.attrib.get("font-size", 12)) / 2
        left = x - size * len(words) * {"start": 0.0, "middle": 0.5, "end": 1.0}[e.attrib["text-anchor"]]
        found.append((words, left, left + size * len(words), float(e.attrib["y"])))
    return found


@pytest.mark.parametrize("width", [358, 736])
def test_no_words_of_a_picture_lie_on_others_or_outside_it(runs: list[RunRecord], width: float) -> None:
    long = [replace(run, label=f"{run.name}, a folder with a long name {i}") for i, run in enumerate(runs * 2)]
    shown = [*figures(runs), *report_figures(long)]
    for figure in shown:
        words = drawn(figure, width)
        outside = [text for text, left, right, _ in words if left < 0 or right > width]
        assert outside == []
        for one, other in itertools.combinations(words, 2):
            apart = abs(one[3] - other[3]) >= 10 or one[2] <= other[1] or other[2] <= one[1]
            assert apart, f"{figure.layout.title.text}: {one} lies on {other}"


def test_every_series_of_a_chart_of_many_runs_is_told_apart_without_colour(runs: list[RunRecord]) -> None:
    many = [replace(runs[0], label=f"run {i}") for i in range(8)]
    for figure in (plots.learning_curve(many), run_plots.entropy_overlaid(many, "act_first", 2.0)):
        named = [t for t in figure.data if t.showlegend is not False]
        assert len({(t.line.dash, t.marker.symbol) for t in named}) == len(many)


def test_a_bracket_of_no_length_is_still_seen() -> None:
    figure = row_chart([Row("one", [bar(0.5, 0.5, "#000000")]), Row("two", [bar(0.0, 1.0, "#000000")])], "t", "x")
    (path,) = [e for e in ET.fromstring(svg(figure)).iter(f"{SVG}path") if e.attrib["stroke-width"] == "10"]
    first, second = (list(map(float, re.findall(r"[\d.]+", run)))[::2] for run in path.attrib["d"].split("M")[1:])
    assert first[1] - first[0] == pytest.approx(1.5)
    assert second[1] - second[0] > 100


def test_a_bound_that_is_not_finite_leaves_its_end_open() -> None:
    nan, inf = math.nan, math.inf
    band = Interval(1.0, 0.9, 1.1)
    unbounded = replace(read_start(), think_first_lower=band, think_first_upper=Interval(inf, nan, nan))
    figure = plots.entropy_at_start(unbounded)
    assert "above 1.00" in figure.layout.title.text
    picture = svg(figure)
    assert "nan" not in picture
    assert "inf" not in picture


def test_a_run_of_one_iteration_is_a_point_that_can_be_seen(runs: list[RunRecord]) -> None:
    short = replace(runs[0], metrics=runs[0].metrics[:1])
    drawn = [trace for trace in plots.learning_curve([short]).data if trace.name]
    assert [(len(trace.x), trace.mode) for trace in drawn] == [(1, "lines+markers")]


def test_a_course_of_an_order_has_the_orders_colour() -> None:
    points = [(0.0, 0.1, 0.0, 0.2), (1.0, 0.3, 0.2, 0.4)]
    drawn = run_plots.courses(
        [run_plots.Course("a", points, "act_first"), run_plots.Course("b", points)], "?", "x", "y"
    )
    lines = {trace.name: trace.line.color for trace in drawn.data if trace.name}
    assert (lines["a"], lines["b"]) == (ORDERS["act_first"], ARMS[1])
