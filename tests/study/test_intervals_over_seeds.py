"""Intervals over seeds: never narrower than Student's t, and they hold the truth as often as they say."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from actre.stats import Interval, improvement, iqm, jackknife_t, over_seeds, paired_t, pigeonhole, wider
from actre.study import coverage, findings

ROOT = Path(__file__).resolve().parents[2]
SEEDS = json.loads((ROOT / "data" / "results" / "calibration_seeds.json").read_text())


@given(st.integers(2, 6), st.integers(2, 8), st.integers(0, 1000))
def test_what_is_shown_holds_both_ts_interval_and_the_bootstraps(seeds: int, games: int, seed: int) -> None:
    values = np.random.default_rng(seed).random((seeds, games))
    shown, t, boot = over_seeds(values, n=50), paired_t(values.mean(axis=1)), pigeonhole(values, n=50)
    assert shown.value == pytest.approx(values.mean())
    assert (shown.low, shown.high) == (min(t.low, boot.low), max(t.high, boot.high))


def test_one_seed_has_no_interval_over_seeds() -> None:
    band = jackknife_t(lambda kept: float(kept.sum()), 1)
    assert band.value == 0.0
    assert np.isnan(band[1:]).all()
    assert np.isnan(findings._middle(np.array([[0.5, 0.25]]))[1:]).all()


def test_the_jackknife_of_a_mean_is_students_t() -> None:
    """By hand: 1, 2, 6 have mean 3 and standard error sqrt(7 / 3); t of 2 degrees of freedom is 4.3027."""
    x = np.array([1.0, 2.0, 6.0])
    band = jackknife_t(lambda kept: float(x[kept].mean()), 3)
    half = 4.302652729911275 * (7 / 3) ** 0.5
    assert tuple(band) == pytest.approx((3.0, 3.0 - half, 3.0 + half))


def test_the_jackknife_of_a_probability_has_its_published_error() -> None:
    """Efron & Tibshirani, eq. 11.5: se^2 = (n - 1) / n sum (theta_(i) - mean)^2, on improvement over paired seeds."""
    rng = np.random.default_rng(3)
    x, y = rng.random((5, 2)), rng.random((5, 2))
    value = lambda kept: improvement(x[kept], y[kept], n=1).value  # noqa: E731
    left = np.array([value(np.delete(np.arange(5), i)) for i in range(5)])
    error = (4 / 5 * ((left - left.mean()) ** 2).sum()) ** 0.5
    band = jackknife_t(value, 5)
    assert (band.high - band.low) / 2 == pytest.approx(stats.t.ppf(0.975, 4) * error)


def test_a_wider_interval_keeps_its_value_and_stays_where_values_can_be() -> None:
    nan = float("nan")
    assert wider(Interval(0.9, 0.8, 0.95), Interval(0.1, nan, nan)) == (0.9, 0.8, 0.95)
    assert wider(Interval(0.9, 0.8, 0.95), Interval(0.1, 0.6, 1.3), within=(0.0, 1.0)) == (0.9, 0.6, 1.0)


def test_an_arms_interquartile_mean_has_an_interval_no_narrower_than_ts() -> None:
    tasks = np.array([[0.2, 0.4, 0.6], [0.5, 0.6, 0.9], [0.3, 0.3, 0.4]])
    by_t = jackknife_t(lambda kept: float(iqm(tasks[kept][None])[0]), 3)
    band = findings._middle(tasks)
    assert band.value == pytest.approx(float(iqm(tasks[None])[0]))
    assert band.low <= max(0.0, by_t.low)
    assert band.high >= min(1.0, by_t.high)


@pytest.mark.parametrize("games", ["nested", "shared"])
def test_simulated_studies_hold_the_truth_in_95_percent_where_the_percentile_bootstrap_does_not(games: Any) -> None:
    row = coverage.coverage(3, games, 0.5, repetitions=200, seed=1)
    assert row["held"]["wider"] >= 0.95 - 3 * (0.95 * 0.05 / 200) ** 0.5
    assert row["held"]["bootstrap"] < 0.85
    assert row["held"]["wider"] >= row["held"]["t"]


def test_the_recorded_simulation_covers_95_percent_for_3_5_and_10_seeds() -> None:
    """Up to what its repetitions tell (3 standard errors), with games nested in seeds and with shared ones."""
    rows, noise = SEEDS["differences"], 3 * (0.95 * 0.05 / SEEDS["repetitions"]) ** 0.5
    assert {(row["seeds"], row["games"]) for row in rows} == {(s, g) for s in (3, 5, 10) for g in ("nested", "shared")}
    assert min(row["held"]["wider"] for row in rows) >= 0.95 - noise
    assert max(row["held"]["bootstrap"] for row in rows if row["seeds"] == 3) < 0.85
    for row in SEEDS["tasks"]:
        for name in ("middle", "improvement"):
            assert row[name]["held"]["wider"] > row[name]["held"]["bootstrap"]


def test_no_page_shows_an_interval_over_seeds_narrower_than_ts() -> None:
    """Each contrast of docs/results-first.md has t's own interval beside the one that is shown."""
    page = (ROOT / "docs" / "results-first.md").read_text()
    number = r"([-+]?\d+\.\d)"
    pairs = re.findall(rf"points \[{number}, {number}\] \| \[{number}, {number}\]", page)
    assert len(pairs) > 20
    for low, high, t_low, t_high in (map(float, pair) for pair in pairs):
        assert low <= t_low
        assert t_high <= high
