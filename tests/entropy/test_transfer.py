"""What reaches the untrained order: known ratios are found, and nothing is said where nothing was learned."""

import math

import numpy as np
import pytest

from actre.entropy.transfer import Gains, gains, union
from actre.stats import Interval


def drawn(ratio: float, *, seed: int, runs: int = 1, games: int = 120, mean: float = 0.5, noise: float = 0.4):
    """Gains whose true ratio is known; both orders' noise is partly shared, as games are."""
    rng = np.random.default_rng(seed)
    shared = rng.normal(0, noise, (1, games))
    own = mean + shared + rng.normal(0, noise, (runs, games))
    other = ratio * (mean + shared) + rng.normal(0, noise, (runs, games))
    return own, other


@pytest.mark.parametrize("ratio", [0.0, 0.5, 1.0])
def test_the_interval_holds_the_true_ratio_about_as_often_as_it_says(ratio: float) -> None:
    found = [gains(*drawn(ratio, seed=seed)).ratio for seed in range(400)]
    held = np.mean([band is not None and band.low <= ratio <= band.high for band in found])
    assert 0.92 <= held <= 0.98


def test_a_policy_that_shares_everything_transfers_all_and_one_that_shares_nothing_none() -> None:
    own, _ = drawn(1.0, seed=0)
    assert gains(own, own).ratio == pytest.approx((1.0, 1.0, 1.0))
    assert gains(own, own).level == "high"
    assert gains(own, np.zeros_like(own)).ratio == pytest.approx((0.0, 0.0, 0.0))
    assert gains(own, np.zeros_like(own)).level == "low"


@pytest.mark.parametrize("mean", [0.0, 0.02, -0.5])
def test_nothing_learned_leaves_the_ratio_undetermined(mean: float) -> None:
    own, other = drawn(1.0, seed=1, mean=mean)
    found = gains(own, other)
    assert found.trained.low <= 0
    assert found.ratio is None
    assert found.level == "undetermined"


def test_a_barely_learned_gain_gives_a_long_interval_and_no_level() -> None:
    rng = np.random.default_rng(5)
    noise = rng.normal(0, 1, 100)
    own = (noise - noise.mean()) / noise.std(ddof=1) + 0.21  # just significant: t = 2.1
    other = rng.permutation(own)
    found = gains([own], [other])
    assert found.ratio is not None
    assert found.ratio.high - found.ratio.low > 2
    assert found.level == "some"


def test_fiellers_interval_is_the_set_of_ratios_that_a_t_test_does_not_reject() -> None:
    own, other = drawn(0.6, seed=2, games=30)
    found = gains(own, other).ratio
    assert found is not None
    for end in (found.low, found.high):
        difference = (other - end * own)[0]
        t = difference.mean() / (difference.std(ddof=1) / math.sqrt(30))
        assert abs(t) == pytest.approx(2.0452, abs=1e-3)  # t quantile, 29 degrees of freedom


def test_trainings_that_differ_widen_the_interval_beyond_that_of_games() -> None:
    own, other = drawn(0.5, seed=3, runs=3)
    spread = np.array([[0.0], [0.4], [-0.4]])
    alike, apart = gains(own, other), gains(own + spread, other)
    assert apart.trained.high - apart.trained.low > 2 * (alike.trained.high - alike.trained.low)
    assert apart.trained.value == pytest.approx(alike.trained.value)


def test_one_undetermined_end_of_a_bracket_leaves_the_whole_undetermined() -> None:
    one = Interval(1.0, 0.5, 1.5)
    assert union(Gains(one, one, one), Gains(one, one, None)).ratio is None


@pytest.mark.parametrize("wrong", [[0.1, 0.2], [[0.1]], [[0.1, math.nan]]])
def test_gains_without_games_or_with_a_hole_are_refused(wrong: list) -> None:
    with pytest.raises(ValueError, match="gains"):
        gains(wrong, wrong)


def test_a_narrow_choice_hides_in_probability_what_reaches_it_in_log_probability() -> None:
    """Why the log-probability decides: the same is added to the right action's logit in both orders, so all of it
    reaches the other one, which prefers a wrong action strongly.
    """
    rng = np.random.default_rng(0)
    right = rng.normal(0.0, 0.3, size=60)  # logit against the other actions, by game
    open_choice, narrow = (1 / (1 + np.exp(-(right[:, None] - against + [0.0, 0.5]))) for against in (1.5, 4.0))

    def gain(p: np.ndarray) -> np.ndarray:
        return p[:, 1] - p[:, 0]

    assert gains([gain(open_choice)], [gain(narrow)]).level == "low"
    found = gains([gain(np.log(open_choice))], [gain(np.log(narrow))])
    assert found.level == "high"
    assert found.ratio is not None
    assert found.ratio.value == pytest.approx(1.0, abs=0.3)
