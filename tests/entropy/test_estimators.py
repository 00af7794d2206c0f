"""Action entropy: hand-computed numbers, bounds on open input, brackets against known truth, verdicts."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actre.entropy import estimators as e
from actre.entropy import verdict as _contraction
from actre.entropy.verdict import MIN_GAMES
from actre.stats import Interval, bootstrap, percentiles


@st.composite
def distributions(draw: st.DrawFn, size: int | None = None) -> np.ndarray:
    size = size or draw(st.integers(1, 12))
    weights = draw(st.lists(st.floats(0, 1), min_size=size, max_size=size).filter(lambda w: sum(w) > 1e-6))
    return np.array(weights) / np.sum(weights)


@st.composite
def thought_matrices(draw: st.DrawFn) -> np.ndarray:
    size = draw(st.integers(1, 8))
    return np.stack([draw(distributions(size)) for _ in range(draw(st.integers(2, 6)))])


def states(values: list[float], k: int = 8, width: float = 0.0) -> list[e.Decomposition]:
    return [e.Decomposition(v, v + width, v, 0.0, k) for v in values]


def names(count: int) -> list[str]:
    return [f"game {i}" for i in range(count)]


# --- distributions ---


def test_entropies_equal_hand_computed_ones() -> None:
    assert e.entropy([0.5, 0.5]) == pytest.approx(math.log(2), abs=1e-15)
    assert e.entropy([1.0, 0.0]) == 0.0
    assert e.entropy([0.7, 0.2, 0.1]) == pytest.approx(0.8018185525433373, abs=1e-12)


@given(distributions())
def test_entropy_lies_between_zero_and_the_log_of_the_outcomes(p: np.ndarray) -> None:
    assert 0 <= e.entropy(p) <= math.log(p.size)
    assert 1 <= e.effective_actions(p) <= p.size + 1e-9
    assert 0 <= e.normalised(p) <= 1


@given(st.integers(1, 8).flatmap(lambda n: st.tuples(distributions(n), distributions(n))))
def test_divergences_are_zero_only_on_themselves_and_js_is_symmetric(
    pair: tuple[np.ndarray, np.ndarray],
) -> None:
    p, q = pair
    assert e.kl(p, p) == pytest.approx(0, abs=1e-12)
    assert e.js(p, q) == pytest.approx(e.js(q, p), abs=1e-12)
    assert 0 <= e.js(p, q) <= math.log(2)
    # Pinsker: KL >= 2 TV^2
    assert e.kl(p, q) >= np.abs(p - q).sum() ** 2 / 2 - 1e-9


def test_kl_is_infinite_where_the_second_forbids_what_the_first_does() -> None:
    assert e.kl([0.5, 0.5], [1.0, 0.0]) == math.inf
    assert e.kl([1.0, 0.0], [0.5, 0.5]) == pytest.approx(math.log(2))


@pytest.mark.parametrize(
    ("p", "says"),
    [
        ([], "non-empty"),
        ([[0.5, 0.5]], "flat"),
        ([0.5, math.nan], "NaN"),
        ([1.5, -0.5], "negative"),
        ([0.5, 0.4], "sums to 0.9"),
        ([math.inf, 0.0], "sums to inf"),
    ],
)
def test_what_is_no_distribution_is_refused_with_its_reason(p: list, says: str) -> None:
    for function in (e.entropy, e.effective_actions, e.normalised):
        with pytest.raises(ValueError, match=says):
            function(p)


def test_divergence_over_different_outcomes_is_refused() -> None:
    with pytest.raises(ValueError, match="same"):
        e.kl([1.0], [0.5, 0.5])


# --- the outcome "other" ---


@given(distributions())
def test_with_other_keeps_listed_probabilities_and_sums_to_one(p: np.ndarray) -> None:
    with np.errstate(divide="ignore"):
        full = np.exp(e.with_other(np.log(p * 0.9)))
    assert full[:-1] == pytest.approx(p * 0.9, abs=1e-12)
    assert full[-1] == pytest.approx(0.1)
    e.entropy(full)


def test_a_sum_above_one_is_scaled_when_rounding_and_refused_when_not() -> None:
    full = np.exp(e.with_other(np.log([0.6, 0.40001])))
    assert full.sum() == pytest.approx(1, abs=1e-12)
    assert full[-1] == 0
    with pytest.raises(ValueError, match="listed twice"):
        e.with_other(np.log([0.6, 0.6]))
    with pytest.raises(ValueError, match="above 0"):
        e.with_other([0.5])
    with pytest.raises(ValueError, match="NaN"):
        e.with_other([math.nan, -1.0])
    with pytest.raises(ValueError, match="at least one"):
        e.with_other([])


def test_all_other_is_one_certain_outcome() -> None:
    assert e.entropy(e.all_other(30)) == 0.0
    assert e.all_other(30).shape == (31,)
    for none in (0, -1):
        with pytest.raises(ValueError, match="at least one"):
            e.all_other(none)


# --- the bracket ---


def test_the_bracket_equals_one_computed_by_hand() -> None:
    d = e.marginal_entropy([[0.8, 0.2], [0.4, 0.6]])
    assert d.lower == pytest.approx(-(0.6 * math.log(0.6) + 0.4 * math.log(0.4)), abs=1e-12)
    upper = -0.5 * (0.8 * math.log(0.4) + 0.2 * math.log(0.6) + 0.4 * math.log(0.8) + 0.6 * math.log(0.2))
    assert d.upper == pytest.approx(upper, abs=1e-12)
    assert d.k == 2


@given(thought_matrices())
def test_plugin_entropy_is_conditional_plus_information(rows: np.ndarray) -> None:
    d = e.marginal_entropy(rows)
    assert d.lower == pytest.approx(d.conditional + d.information, abs=1e-12)
    assert 0 <= d.conditional <= d.lower <= math.log(rows.shape[1])
    assert 0 <= d.information <= math.log(len(rows)) + 1e-12
    assert d.upper >= d.lower - 1e-9
    assert d.width == d.upper - d.lower
    smoothed = e.marginal_entropy(rows, pseudo_thoughts=0.1)
    assert (smoothed.lower, smoothed.conditional, smoothed.information) == (d.lower, d.conditional, d.information)
    # the addition loosens by at most log(1 + m/(K-1)); it may also tighten, even from infinity
    assert d.lower - 1e-9 <= smoothed.upper <= d.upper + math.log1p(0.1 / (len(rows) - 1)) + 1e-9


@given(distributions(5), st.integers(2, 9))
def test_thoughts_that_change_nothing_close_the_bracket(p: np.ndarray, k: int) -> None:
    d = e.marginal_entropy(np.tile(p, (k, 1)))
    assert d.upper == pytest.approx(d.lower, abs=1e-9)
    assert d.information == pytest.approx(0, abs=1e-12)


def test_an_action_seen_after_one_thought_alone_has_no_upper_bound_unless_smoothed() -> None:
    rows = np.eye(4)
    assert e.marginal_entropy(rows).upper == math.inf
    smoothed = e.marginal_entropy(rows, pseudo_thoughts=0.1)
    assert math.log(4) < smoothed.upper < 10


@pytest.mark.parametrize("pseudo_thoughts", [0.0, 0.1])
@pytest.mark.parametrize(("actions", "concentration"), [(5, 0.3), (30, 0.1), (30, 2.0)])
def test_the_bracket_holds_the_true_marginal_in_expectation(
    actions: int, concentration: float, pseudo_thoughts: float
) -> None:
    """Thoughts drawn from a known finite set of distributions: H(A|s) and E[H(A|s,T)] in closed form."""
    rng = np.random.default_rng(1)
    bank = rng.dirichlet(np.full(actions, concentration), size=64) + 1e-9
    bank /= bank.sum(axis=1, keepdims=True)
    truth = e.entropy(bank.mean(axis=0))
    conditional = np.mean([e.entropy(row) for row in bank])
    found = [e.marginal_entropy(bank[rng.integers(64, size=8)], pseudo_thoughts=pseudo_thoughts) for _ in range(400)]
    assert np.mean([d.lower for d in found]) < truth < np.mean([d.upper for d in found])
    error = 4 * np.std([d.conditional for d in found]) / 20
    assert np.mean([d.conditional for d in found]) == pytest.approx(conditional, abs=error)


def test_more_thoughts_close_the_bracket() -> None:
    rng = np.random.default_rng(0)
    width = {
        k: np.mean([e.marginal_entropy(rng.dirichlet(np.ones(10), size=k)).width for _ in range(50)])
        for k in (4, 16, 64)
    }
    assert width[4] > 2 * width[16] > 4 * width[64]


def test_one_thought_or_a_broken_row_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 2"):
        e.marginal_entropy([[0.5, 0.5]])
    with pytest.raises(ValueError, match="thought 1 sums to"):
        e.marginal_entropy([[0.5, 0.5], [0.5, 0.4]])
    with pytest.raises(ValueError, match="one row per thought"):
        e.marginal_entropy([0.5, 0.5])
    for wrong in (-1, math.nan, math.inf):
        with pytest.raises(ValueError, match="pseudo_thoughts"):
            e.marginal_entropy([[0.5, 0.5], [0.5, 0.5]], pseudo_thoughts=wrong)
    with pytest.raises(ValueError, match="at least 2"):
        e.marginal_entropy([])
    with pytest.raises(ValueError, match="thought 0 has shape"):
        e.marginal_entropy([[], []])
    with pytest.raises(ValueError, match="thought 0 holds NaN"):
        e.marginal_entropy([[math.nan, 1.0], [0.5, 0.5]])
    with pytest.raises(ValueError, match="thought 1 holds a negative"):
        e.marginal_entropy([[0.5, 0.5], [1.5, -0.5]])


# --- counts ---


def test_count_estimators_equal_hand_computed_ones() -> None:
    assert e.entropy_from_counts([4, 4], "plugin") == pytest.approx(math.log(2))
    assert e.entropy_from_counts([4, 4], "miller_madow") == pytest.approx(math.log(2) + 1 / 16)
    assert e.entropy_from_counts([8], "chao_shen") == 0.0
    # coverage 1 - 2/4; Horvitz-Thompson weights 1 - (1 - p)^4
    terms = [-p * math.log(p) / (1 - (1 - p) ** 4) for p in (0.25, 0.125, 0.125)]
    assert e.entropy_from_counts([2, 1, 1], "chao_shen") == pytest.approx(sum(terms))


@given(st.lists(st.integers(0, 20), min_size=1, max_size=20).filter(any))
def test_outcomes_never_seen_change_no_count_estimate(counts: list[int]) -> None:
    for method in ("plugin", "miller_madow", "chao_shen"):
        value = e.entropy_from_counts(counts, method)
        assert value == e.entropy_from_counts([*counts, 0], method)
        assert value >= e.entropy_from_counts(counts, "plugin") - 1e-9 >= -1e-9


@given(st.lists(st.integers(0, 20), min_size=1, max_size=20).filter(any))
def test_the_plugin_of_counts_lies_between_zero_and_the_log_of_the_outcomes(counts: list[int]) -> None:
    assert 0 <= e.entropy_from_counts(counts, "plugin") <= math.log(len(counts)) + 1e-12
    assert e.entropy_from_counts(counts, "plugin") == pytest.approx(e.entropy(np.array(counts) / sum(counts)))


def test_plugin_of_eight_samples_never_exceeds_log_eight() -> None:
    assert e.entropy_from_counts([1] * 8, "plugin") == pytest.approx(math.log(8))
    assert math.isfinite(e.entropy_from_counts([1] * 8, "chao_shen"))


def test_corrections_lessen_the_plugin_bias() -> None:
    rng = np.random.default_rng(0)
    p = rng.dirichlet(np.ones(20))
    truth = e.entropy(p)
    samples = rng.multinomial(24, p, size=400)
    bias = {
        method: abs(np.mean([e.entropy_from_counts(row, method) for row in samples]) - truth)
        for method in ("plugin", "miller_madow", "chao_shen")
    }
    assert bias["miller_madow"] < bias["plugin"] / 1.5
    assert bias["chao_shen"] < bias["plugin"] / 1.5


@pytest.mark.parametrize("counts", [[], [0, 0], [-1, 2], [1.5], [math.nan, 1], [[1, 2]]])
def test_what_is_no_count_is_refused(counts: list) -> None:
    with pytest.raises(ValueError):
        e.entropy_from_counts(counts)
    with pytest.raises(ValueError, match="unknown method"):
        e.entropy_from_counts([1, 2], "jackknife")  # type: ignore[arg-type]


# --- intervals ---


def test_bootstrap_resamples_games_and_not_states() -> None:
    # two games of ten equal states: resampling states would give a narrow interval
    values = [0.0] * 10 + [1.0] * 10
    interval = bootstrap(values, ["a"] * 10 + ["b"] * 10)
    assert interval == (0.5, 0.0, 1.0)


def test_the_fast_mean_and_a_given_statistic_agree() -> None:
    rng = np.random.default_rng(3)
    values, other = rng.normal(size=30), rng.normal(size=30)
    groups = [f"g{i // 3}" for i in range(30)]
    fast = bootstrap(values, groups, paired_with=other, seed=5)
    general = bootstrap(values, groups, statistic=np.mean, paired_with=other, seed=5)
    assert fast == pytest.approx(general, abs=1e-12)
    median = bootstrap(values, groups, statistic=np.median)
    assert median.low <= median.value <= median.high


def test_pairing_removes_what_games_share() -> None:
    rng = np.random.default_rng(0)
    games = rng.normal(0, 5, size=20)
    after, before = games + 1 + rng.normal(0, 0.1, 20), games
    paired = bootstrap(after, names(20), paired_with=before)
    assert paired.low > 0.9
    assert paired.high < 1.1


def test_bootstrap_is_repeatable_and_covers_a_known_mean() -> None:
    rng = np.random.default_rng(0)
    assert bootstrap([1, 2, 4], names(3), seed=1) == bootstrap([1, 2, 4], names(3), seed=1)
    held = 0
    for trial in range(200):
        # 30 games of 2 correlated states each, mean 0
        values = np.repeat(rng.normal(size=30), 2) + rng.normal(size=60)
        interval = bootstrap(values, [i // 2 for i in range(60)], n=400, seed=trial)
        held += interval.low <= 0 <= interval.high
    assert held >= 180


def test_bootstrap_refuses_what_it_cannot_resample() -> None:
    with pytest.raises(ValueError, match="at least 2"):
        bootstrap([1, 2], ["a", "a"])
    with pytest.raises(ValueError, match=r"one entry|the same length"):
        bootstrap([1, 2], ["a"])
    with pytest.raises(ValueError, match="NaN"):
        bootstrap([1, math.nan], ["a", "b"])
    with pytest.raises(ValueError, match="non-empty"):
        bootstrap([], [])
    with pytest.raises(ValueError, match="resample"):
        bootstrap([1, 2], ["a", "b"], n=0)
    with pytest.raises(ValueError, match=r"one entry|the same length"):
        bootstrap([1, 2], ["a", "b"], paired_with=[1])
    # a correlation of one value with itself: undefined on resamples that draw one game only
    with np.errstate(all="ignore"), pytest.raises(ValueError, match="no interval"):
        bootstrap([1, 2, 3], ["a", "b", "c"], statistic=lambda x: float(np.std(x) / np.std(x)))


def test_percentiles_refuse_what_has_no_interval() -> None:
    with pytest.raises(ValueError, match="at least 2"):
        percentiles(0.0, [0.0, 1.0], groups=1)
    with pytest.raises(ValueError, match="non-empty"):
        percentiles(0.0, [], groups=3)
    with pytest.raises(ValueError, match="NaN"):
        percentiles(0.0, [math.nan], groups=3)


def test_games_of_unequal_size_weigh_by_their_states() -> None:
    rng = np.random.default_rng(4)
    values = rng.normal(size=9)
    groups = ["a"] * 5 + ["b"] * 3 + ["c"]
    fast = bootstrap(values, groups, seed=2)
    general = bootstrap(values, groups, statistic=np.mean, seed=2)
    assert fast == pytest.approx(general, abs=1e-12)
    assert fast.value == pytest.approx(values.mean())


# --- the verdict ---


def test_a_clear_difference_is_narrowed_or_widened() -> None:
    low, high = [1.0] * 8, [2.0] * 8
    narrowed = e.contraction(high, states(low, width=0.2), names(8), equal_n=(high, low))
    assert narrowed.verdict == "narrowed"
    assert narrowed.difference == pytest.approx((0.8, 1.0))
    assert narrowed.interval == pytest.approx((0.9, 0.8, 1.0))
    assert narrowed.per_state[0] == pytest.approx((0.8, 1.0))
    widened = e.contraction(low, states(high, width=0.2), names(8), equal_n=(low, high))
    assert widened.verdict == "widened"
    assert "widens" in widened.words


NARROW, NEAR, WIDE = Interval(0.3, 0.2, 0.4), Interval(0.0, -0.1, 0.1), Interval(-0.3, -0.4, -0.2)


@pytest.mark.parametrize(
    ("lower", "upper", "equal_n", "games", "verdict"),
    [
        (NEAR, NEAR, None, 6, "equivalent"),
        (Interval(-0.05, -0.11, 0.0), NEAR, None, 6, "inconclusive"),  # an end within the margin, its interval not
        (NEAR, Interval(0.05, 0.0, 0.11), None, 6, "inconclusive"),
        (NARROW, NARROW, NARROW, 6, "narrowed"),
        (Interval(0.3, -0.01, 0.4), NARROW, NARROW, 6, "inconclusive"),
        (NARROW, NARROW, Interval(0.3, -0.01, 0.4), 6, "inconclusive"),
        (NARROW, NARROW, None, 6, "inconclusive"),
        (WIDE, WIDE, WIDE, 6, "widened"),
        (WIDE, Interval(-0.3, -0.4, 0.01), WIDE, 6, "inconclusive"),
        (WIDE, WIDE, Interval(-0.3, -0.4, 0.01), 6, "inconclusive"),
        (WIDE, WIDE, None, 6, "inconclusive"),
        (NARROW, NARROW, NARROW, 5, "inconclusive"),
        (NEAR, NEAR, None, 5, "inconclusive"),
    ],
)
def test_the_verdict_keeps_to_its_rules_at_their_edges(
    lower: Interval, upper: Interval, equal_n: Interval | None, games: int, verdict: str
) -> None:
    assert _contraction._verdict(lower, upper, equal_n, games, margin=0.1) == verdict


def test_inside_the_bracket_nothing_is_called() -> None:
    values = [2.0] * 8
    found = e.contraction(values, states([1.0] * 8, k=8, width=1.5), names(8), equal_n=([2] * 8, [1] * 8))
    assert found.verdict == "inconclusive"
    assert found.thoughts_needed is not None
    assert found.thoughts_needed > 8
    assert f"about {found.thoughts_needed} thoughts" in found.words


def test_the_naive_comparison_would_call_what_the_bracket_does_not() -> None:
    """Decisive thoughts, equal marginals: conditional against marginal "finds" a full contraction."""
    rng = np.random.default_rng(0)
    actions, k = 5, 64
    rows = [np.eye(actions)[rng.integers(actions, size=k)] * 0.98 + 0.004 for _ in range(12)]
    found = [e.marginal_entropy(row) for row in rows]
    exact = [math.log(actions)] * 12
    naive = np.mean(exact) - np.mean([d.conditional for d in found])
    assert naive > 1
    sampled = [e.entropy_from_counts(rng.multinomial(k, [1 / actions] * actions)) for _ in range(24)]
    fair = e.contraction(exact, found, names(12), equal_n=(sampled[:12], sampled[12:]))
    assert fair.verdict == "equivalent"


def test_without_or_against_the_equal_n_comparison_no_direction_is_called() -> None:
    high, low = [2.0] * 8, states([1.0] * 8)
    alone = e.contraction(high, low, names(8))
    assert alone.verdict == "inconclusive"
    assert "equal-N" in alone.words
    assert e.contraction(high, low, names(8), equal_n=([1.0] * 8, [2.0] * 8)).verdict == "inconclusive"


def test_a_difference_too_small_to_matter_is_equivalent_however_certain() -> None:
    found = e.contraction([1.05] * 8, states([1.0] * 8), names(8), equal_n=([1.05] * 8, [1.0] * 8))
    assert found.verdict == "equivalent"
    strict = e.contraction([1.05] * 8, states([1.0] * 8), names(8), equal_n=([1.05] * 8, [1.0] * 8), margin=0.01)
    assert strict.verdict == "narrowed"


def test_few_games_are_inconclusive_and_noise_asks_for_more() -> None:
    few = e.contraction([2.0] * 5, states([1.0] * 5), names(5), equal_n=([2.0] * 5, [1.0] * 5))
    assert few.verdict == "inconclusive"
    assert few.games_needed == MIN_GAMES
    rng = np.random.default_rng(0)
    noisy = e.contraction(rng.normal(4.1, 1, 12), states([4.0] * 12), names(12), equal_n=([1.0] * 12, [1.0] * 12))
    assert noisy.verdict == "inconclusive"
    assert noisy.games_needed is not None
    assert noisy.games_needed > 12


def test_one_unbounded_state_leaves_the_whole_set_unbounded_on_that_side_alone() -> None:
    brackets = [*states([1.0] * 7), *states([1.0], width=math.inf)]
    found = e.contraction([3.0] * 8, brackets, names(8), equal_n=([3.0] * 8, [1.0] * 8))
    assert found.lower == (-math.inf,) * 3
    assert found.upper.value == pytest.approx(2.0)
    assert [one.lower for one in found.per_state] == [2.0] * 7 + [-math.inf]
    assert found.verdict == "inconclusive"


def test_an_unbounded_state_is_never_narrowed() -> None:
    found = e.contraction([3.0] * 8, states([1.0] * 8, width=math.inf), names(8), equal_n=([3] * 8, [1] * 8))
    assert found.verdict == "inconclusive"
    assert found.lower.value == -math.inf
    assert found.thoughts_needed == 16


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000))
def test_the_two_directions_mirror_each_other(seed: int) -> None:
    rng = np.random.default_rng(seed)
    act, think = rng.normal(1, 0.3, 10), rng.normal(1.2, 0.3, 10)
    one = e.contraction(act, states(list(think)), names(10), equal_n=(act, think), n=300)
    two = e.contraction(think, states(list(act)), names(10), equal_n=(think, act), n=300)
    mirrored = {"narrowed": "widened", "widened": "narrowed"}
    assert two.verdict == mirrored.get(one.verdict, one.verdict)


def test_exact_nulls_are_rarely_called() -> None:
    """Equal marginals, thoughts of mixed decisiveness, 12 games: a direction in at most 5 % of 200 sets."""
    rng = np.random.default_rng(7)
    called = 0
    for _ in range(200):
        exact, brackets, equal = [], [], ([], [])
        for _ in range(12):
            bank = rng.dirichlet(np.full(8, 0.3), size=16) * 0.99 + 0.01 / 8
            mean, rows = bank.mean(axis=0), bank[rng.integers(16, size=8)]
            exact.append(e.entropy(mean))
            brackets.append(e.marginal_entropy(rows))
            drawn = [rng.choice(8, p=row / row.sum()) for row in rows]
            equal[0].append(e.entropy_from_counts(rng.multinomial(8, mean / mean.sum())))
            equal[1].append(e.entropy_from_counts(np.bincount(drawn)))
        verdict = e.contraction(exact, brackets, names(12), equal_n=equal, n=200).verdict
        called += verdict in ("narrowed", "widened")
    assert called <= 10


def test_contraction_refuses_unequal_and_empty_input() -> None:
    with pytest.raises(ValueError, match="the same length"):
        e.contraction([1.0], states([1.0, 2.0]), names(2))
    with pytest.raises(ValueError, match="the same length"):
        e.contraction([], [], [])
    with pytest.raises(ValueError, match="NaN"):
        e.contraction([math.nan] * 8, states([1.0] * 8), names(8))
    with pytest.raises(ValueError, match="margin"):
        e.contraction([1.0] * 8, states([1.0] * 8), names(8), margin=0)
    with pytest.raises(ValueError, match="negative entropy"):
        e.contraction([-0.1] * 8, states([1.0] * 8), names(8))
    with pytest.raises(ValueError, match="1 game"):
        e.contraction([1.0] * 2, states([1.0] * 2), ["a", "a"])
    with pytest.raises(ValueError, match="paired_with holds NaN"):
        e.contraction([1.0] * 8, states([math.nan] * 8), names(8))
    with pytest.raises(ValueError, match="the same length"):
        e.contraction([1.0] * 8, states([1.0] * 8), names(8), equal_n=([1.0] * 7, [1.0] * 8))
