"""The calibration: its scripted truth is true, its fast arithmetic is the instrument's, its tallies can fail."""

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actre.entropy import calibration, diagnose
from actre.entropy import estimators as e
from actre.entropy import known_truth as truth

RNG = np.random.default_rng(0)
COUNTS = ("plugin", "miller_madow", "chao_shen")


# --- the scripted truth ---


@settings(max_examples=40, deadline=None)
@given(st.integers(2, 40), st.floats(0.02, 0.98), st.sampled_from(["geometric", "favourite"]))
def test_a_shaped_distribution_has_exactly_the_wanted_entropy(outcomes: int, share: float, shape: truth.Shape) -> None:
    wanted = share * math.log(outcomes)
    p = truth.shaped(outcomes, wanted, shape)
    assert e.entropy(p) == pytest.approx(wanted, abs=1e-10)
    assert (np.diff(p) <= 1e-15).all()


@pytest.mark.parametrize("wanted", [0.0, math.log(4), -1.0, 2.0])
def test_an_entropy_that_no_distribution_has_is_refused(wanted: float) -> None:
    with pytest.raises(ValueError, match="between 0 and"):
        truth.shaped(4, wanted, "geometric")


@pytest.mark.parametrize("kind", truth.KINDS)
def test_the_thoughts_summed_out_leave_the_marginal_whatever_their_kind(kind: truth.Kind) -> None:
    marginal = truth.shaped(31, 2.0, "geometric")
    table = truth.table_of(marginal, kind)
    assert table.weights.sum() == pytest.approx(1, abs=1e-12)
    assert table.rows.sum(axis=1) == pytest.approx(1, abs=1e-12)
    assert table.marginal == pytest.approx(marginal, abs=1e-12)
    assert table.entropy == pytest.approx(2.0, abs=1e-10)
    by_hand = sum(w * e.entropy(row) for w, row in zip(table.weights, table.rows, strict=True))
    assert table.conditional == pytest.approx(by_hand, abs=1e-12)
    assert table.information > 0


def test_decisive_thoughts_tell_more_than_diffuse_ones_and_rare_ones_least_often() -> None:
    marginal = truth.shaped(31, 2.4, "geometric")
    tables = {kind: truth.table_of(marginal, kind) for kind in truth.KINDS}
    assert tables["decisive"].information > 3 * tables["diffuse"].information
    assert 0.9 <= tables["rare"].weights[0] < 1  # the usual thought


@pytest.mark.parametrize("actions", calibration.ACTIONS)
@pytest.mark.parametrize("each", [1, 2])
def test_every_scenario_differs_on_average_by_exactly_what_it_says(actions: int, each: int) -> None:
    population = truth.Population(actions, "diffuse", each)
    think = [table.entropy for table in population.tables]
    assert think == pytest.approx(population.entropies.ravel(), abs=1e-9)
    for scenario in truth.SCENARIOS:
        if actions < scenario.least_actions:
            continue
        act = [e.entropy(p) for p in population.act_first(scenario)]
        assert np.mean(act) - np.mean(think) == pytest.approx(scenario.difference, abs=1e-9)


def test_the_nulls_are_of_several_kinds() -> None:
    nulls = [s for s in truth.SCENARIOS if s.difference == 0]
    assert all(s.name.startswith("null") for s in nulls)
    population = truth.Population(30, "decisive")
    same, shape, varied = (population.act_first(s) for s in nulls[:3])
    marginals = np.stack([table.marginal for table in population.tables])
    assert same == pytest.approx(marginals, abs=1e-9)
    assert np.abs(shape - marginals).max() > 0.05
    assert np.std([e.entropy(p) for p in varied] - population.entropies.ravel()) > 0.1


# --- the fast arithmetic is the instrument's ---


def per_thought(shape: Sequence[int]) -> np.ndarray:
    return RNG.dirichlet(np.full(shape[-1], 0.4), size=tuple(shape[:-1]))


@pytest.mark.parametrize("pseudo_thoughts", [0.1, 1.0])
def test_brackets_of_many_states_equal_those_of_one_at_a_time(pseudo_thoughts: float) -> None:
    rows = per_thought((3, 4, 5, 7))
    rows[0, 0, 0] = np.eye(7)[2]
    many = calibration.brackets(rows, pseudo_thoughts)
    for i in range(3):
        for j in range(4):
            one = e.marginal_entropy(rows[i, j], pseudo_thoughts=pseudo_thoughts)
            found = [x[i, j] for x in (*many, many.information)]
            assert found == pytest.approx([one.lower, one.upper, one.conditional, one.information], abs=1e-12)


def test_one_thought_gives_the_plugin_and_no_upper_bound() -> None:
    rows = per_thought((4, 1, 6))
    found = calibration.brackets(rows)
    assert found.lower == pytest.approx([e.entropy(row[0]) for row in rows])
    assert found.lower == pytest.approx(found.conditional)
    assert (found.upper == math.inf).all()


@pytest.mark.parametrize("method", COUNTS)
def test_count_estimators_of_many_states_equal_those_of_one_at_a_time(method: e.CountMethod) -> None:
    counts = RNG.multinomial(9, [0.5, 0.2, 0.2, 0.05, 0.05], size=50)
    counts = np.vstack([counts, np.eye(5, dtype=int), [[9, 0, 0, 0, 0]], [[1, 1, 1, 1, 1]]])
    one_at_a_time = [e.entropy_from_counts(row, method) for row in counts]
    assert calibration.count_entropies(counts, method) == pytest.approx(one_at_a_time, abs=1e-12)


def test_thoughts_and_actions_are_drawn_from_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calibration, "_BLOCK", 3000)  # in many blocks
    tables = [truth.table_of(truth.shaped(6, h, "geometric"), "decisive") for h in (0.8, 1.5)]
    which = np.tile([0, 1], (2000, 1))
    drawn = calibration.draw(tables, which, 5, np.random.default_rng(1))
    assert drawn.counts.shape == (2000, 2, 6)
    assert (drawn.counts.sum(axis=-1) == 5).all()
    for i, table in enumerate(tables):
        assert drawn.counts[:, i].mean(axis=0) / 5 == pytest.approx(table.marginal, abs=0.02)
        assert drawn.brackets.conditional[:, i].mean() == pytest.approx(table.conditional, abs=0.02)
    # an action follows its thought: where all thoughts agree (a low entropy after none), so do the actions
    assert np.corrcoef(drawn.brackets.lower[:, 0], (drawn.counts[:, 0] > 0).sum(axis=-1))[0, 1] > 0.5


def test_what_is_calibrated_is_what_diagnose_reports() -> None:
    assert calibration.PSEUDO_THOUGHTS == diagnose.PSEUDO_THOUGHTS


# --- the tables ---


def test_a_verdict_is_right_where_the_truth_is_as_it_says() -> None:
    assert [calibration.right(v, 0.0) for v in ("narrowed", "widened", "equivalent")] == [False, False, True]
    assert calibration.right("widened", -0.3) is True
    assert calibration.right("equivalent", -0.3) is False
    assert calibration.right("inconclusive", 5.0) is None


def test_the_cells_cover_what_was_asked_for() -> None:
    cells = calibration.cells()
    states = {(c["kind"], c["actions"], c["k"]) for c in cells if c["part"] == "estimators"}
    sets = {(c["kind"], c["actions"], c["k"]) for c in cells if c["part"] == "sets"}
    for kind in ("diffuse", "decisive"):
        for actions in (5, 30, 100):
            assert {k for x, a, k in states if (x, a) == (kind, actions)} == {1, 2, 4, 8, 16, 32, 64}
            assert {k for x, a, k in sets if (x, a) == (kind, actions)} == {2, 4, 8, 16, 32, 64}
    assert len({repr(cell) for cell in cells}) == len(cells)


def test_a_row_of_estimators_is_repeatable_and_knows_the_biases_signs() -> None:
    row = calibration.estimators("decisive", 0.8, 30, 8, repetitions=200, seed=3)
    assert row == calibration.estimators("decisive", 0.8, 30, 8, repetitions=200, seed=3)
    assert row != calibration.estimators("decisive", 0.8, 30, 8, repetitions=200, seed=4)
    found = row["estimators"]
    assert found["lower"]["bias"] < -0.5
    assert found["upper"]["bias"] > 0.5
    assert abs(found["conditional"]["bias"]) < 0.01
    assert found["plugin"]["bias"] < found["miller_madow"]["bias"] < 0
    assert all(abs(x["bias"]) <= x["rmse"] + 1e-9 for x in found.values())
    assert row["width"] == pytest.approx(found["upper"]["bias"] - found["lower"]["bias"], abs=2e-4)
    assert row["holds_in_expectation"]
    diffuse = calibration.estimators("diffuse", 0.8, 30, 8, repetitions=200, seed=3)
    assert diffuse["width"] < row["width"] / 4


def test_one_thought_has_its_plugin_row() -> None:
    row = calibration.estimators("decisive", 0.4, 5, 1, repetitions=50, seed=0)
    assert "width" not in row
    assert "upper" not in row["estimators"]
    # with one thought the plug-in is the conditional entropy: the whole of I(A;T|s) too low
    assert row["estimators"]["lower"]["bias"] == pytest.approx(-row["truth"]["information"], abs=0.1)


def test_sets_of_a_small_size_tell_nulls_from_differences() -> None:
    wanted = [s for s in truth.SCENARIOS if s.name in ("null: the same distribution", "difference +0.40")]
    null, far = calibration.sets("diffuse", 5, 16, 12, 2, repetitions=20, seed=0, scenarios=wanted)
    assert sum(null["verdicts"].values()) == pytest.approx(1, abs=1e-3)
    assert null["null"]
    assert not far["null"]
    assert (null["right"], null["wrong"]) == (null["verdicts"]["equivalent"], 0.0)
    assert null["interval_holds"] >= 0.9
    assert far["verdicts"]["narrowed"] >= 0.9
    assert far["right"] == far["verdicts"]["narrowed"]
    assert far["difference_lower"] <= 0.4 <= far["difference_upper"] + 0.1


def test_a_broken_estimator_would_show(monkeypatch: pytest.MonkeyPatch) -> None:
    """The trap itself, put in the bracket's place: exact nulls are then called narrowed, and the table says so."""
    real = calibration.brackets

    def trap(rows: np.ndarray, pseudo_thoughts: float = 0.1) -> calibration.Brackets:
        found = real(rows, pseudo_thoughts)
        return calibration.Brackets(found.conditional, found.conditional, found.conditional)

    monkeypatch.setattr(calibration, "brackets", trap)
    monkeypatch.setattr(calibration, "count_entropies", lambda counts, method: -counts[..., 0] * 1.0)
    (row,) = calibration.sets("decisive", 5, 8, 12, 1, repetitions=10, seed=0, scenarios=truth.SCENARIOS[:1])
    assert row["interval_holds"] == 0
    assert row["bracket_holds"] == 0
