"""The study's statistics against hand-computed numbers and simulated truth."""

import math

import numpy as np
import pytest
from scipy import stats

from actre.stats import curve, hedges_g, holm, improvement, iqm, paired_t, rank_correlation, stratified_bootstrap


def test_the_interquartile_mean_drops_a_quarter_at_either_end_over_runs_and_tasks() -> None:
    scores = np.array([[0.0, 10.0], [1.0, 2.0], [3.0, 4.0], [5.0, 100.0]])
    assert iqm(scores) == pytest.approx((2 + 3 + 4 + 5) / 4)
    rng = np.random.default_rng(0)
    for _ in range(50):
        some = rng.random((rng.integers(1, 8), rng.integers(1, 8)))
        assert iqm(some) == pytest.approx(stats.trim_mean(some, 0.25, axis=None))


def test_the_stratified_bootstrap_never_mixes_tasks() -> None:
    """Two tasks of constant but far apart scores: resampling runs within tasks leaves no spread at all."""
    band = stratified_bootstrap([[0.0, 1.0]] * 5, lambda s: s.mean(axis=(1, 2)), n=200)
    assert (band.value, band.low, band.high) == (0.5, 0.5, 0.5)


def test_the_stratified_bootstrap_draws_each_tasks_runs_apart() -> None:
    """Runs whose two tasks cancel out: drawn whole they would leave no spread, drawn apart they leave two tasks'."""
    scores = [[0.0, 1.0], [1.0, 0.0]] * 50
    band = stratified_bootstrap(scores, lambda s: s.mean(axis=(1, 2)), n=2000)
    assert band.value == 0.5
    assert (band.high - band.low) / 2 == pytest.approx(1.96 * 0.5 / math.sqrt(100 * 2), rel=0.1)


def test_the_stratified_bootstrap_is_about_the_standard_error_of_the_mean() -> None:
    scores = np.random.default_rng(1).normal(size=(400, 1))
    band = stratified_bootstrap(scores, lambda s: s.mean(axis=(1, 2)), n=2000)
    assert (band.high - band.low) / 2 == pytest.approx(1.96 * scores.std() / 20, rel=0.06)


def test_improvement_is_the_share_of_pairs_above_ties_counted_half_and_averaged_over_tasks() -> None:
    then, first = [[1.0, 0.0], [3.0, 0.0]], [[2.0, 0.0], [0.0, 0.0]]
    assert improvement(then, first).value == pytest.approx((3 / 4 + 1 / 2) / 2)
    with pytest.raises(ValueError, match="the same tasks"):
        improvement([[1.0]], [[1.0, 2.0]])


@pytest.mark.parametrize(
    ("seed", "shape", "middle", "above"),
    [
        (0, (5, 5, 6), 0.571875, 0.5766666666666667),
        (1, (3, 4, 6), 0.51, 0.5555555555555556),
        (2, (5, 3, 1), 0.3166666666666667, 0.43333333333333335),
    ],
)
def test_estimates_are_rliables(seed: int, shape: tuple[int, int, int], middle: float, above: float) -> None:
    """Recorded from rliable 1.2.0, aggregate_iqm and probability_of_improvement, on the same scores, ties included."""
    rng = np.random.default_rng(seed)
    runs, others, tasks = shape
    x, y = rng.integers(0, 21, (runs, tasks)) / 20, rng.integers(0, 21, (others, tasks)) / 20
    assert float(iqm(x[None])[0]) == pytest.approx(middle)
    assert improvement(x, y, n=2).value == pytest.approx(above)


def test_the_paired_test_is_scipys_and_knows_what_it_cannot_tell() -> None:
    x, y = [0.7, 0.6, 0.65, 0.71, 0.6], [0.68, 0.61, 0.6, 0.66, 0.59]
    differences = np.subtract(x, y)
    mine, theirs = paired_t(differences), stats.ttest_rel(x, y)
    band = theirs.confidence_interval(0.95)
    assert (mine.p, mine.low, mine.high) == pytest.approx((theirs.pvalue, band.low, band.high))
    assert math.isnan(paired_t([0.3]).p)
    assert paired_t([0.0, 0.0]).p == 1.0
    assert math.isnan(paired_t([0.4, 0.4]).p), "two seeds that agree are no evidence of a spread of none"
    assert math.isnan(paired_t([0.1, 0.1, 0.1]).p), "also if their mean is rounded"
    with pytest.raises(ValueError, match="seed in common"):
        paired_t([])


def test_the_paired_test_rejects_a_true_null_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(2)
    rejected = np.mean([paired_t(rng.normal(size=5)).p < 0.05 for _ in range(2000)])
    assert 0.035 < rejected < 0.065


def test_holms_correction_counts_tests_that_could_not_be_made() -> None:
    assert holm([0.01, 0.04]) == pytest.approx([0.02, 0.04])
    corrected = holm([0.03, math.nan, 0.02])
    assert corrected[0] == pytest.approx(0.06)
    assert corrected[2] == pytest.approx(0.06)
    assert math.isnan(corrected[1])
    assert holm([0.9, 0.8]) == [1.0, 1.0]


def test_effect_sizes_and_correlations_are_not_numbers_where_nothing_varies() -> None:
    assert math.isnan(hedges_g([1.0, 1.0], [1.0, 1.0]))
    assert math.isnan(hedges_g([1.0], [2.0, 3.0]))
    assert math.isnan(rank_correlation([1.0, 2.0], [1.0, 2.0]))
    assert math.isnan(rank_correlation([1.0, 1.0, 1.0], [1.0, 2.0, 3.0]))
    assert rank_correlation([1.0, 2.0, 9.0], [0.3, 0.2, 0.1]) == pytest.approx(-1.0)


def test_a_curve_is_not_carried_on_past_a_runs_end() -> None:
    values = curve([[(10.0, 0.2), (20.0, 0.4)], [(10.0, 1.0)]], [10.0, 20.0, 30.0], window=10.0)
    assert values[0].tolist()[:2] == [0.2, 0.4]
    assert np.isnan(values).tolist() == [[False, False, True], [False, True, True]]
