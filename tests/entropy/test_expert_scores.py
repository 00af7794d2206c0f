"""The expert's action scored in both orders, on policies whose probabilities are written down."""

import math
from dataclasses import replace

import numpy as np
import pytest
from scripted_orders import ScriptedOrders, probes

from actre.config.presets import preset
from actre.entropy.expert_scores import FLOOR_LOGP, ExpertState, expert_scores, log_mean

ACTIONS = ("left", "right")
STATES = [ExpertState(probe, "left") for probe in probes(ACTIONS)]


def scored(act_left: float, after_left: dict[str, float], thoughts: int = 64):
    each = 1 / len(after_left)
    policy = ScriptedOrders(
        ACTIONS,
        (act_left, 1 - act_left),
        dict.fromkeys(after_left, each),
        {name: (p, 1 - p) for name, p in after_left.items()},
    )
    return expert_scores(policy, STATES, preset("tiny"), thoughts=thoughts, seed=0)


def test_act_first_is_exact_and_think_first_is_the_mean_over_thoughts() -> None:
    found = scored(0.3, {"a": 0.2, "b": 0.6})
    assert found.act_logp == pytest.approx([math.log(0.3)] * len(STATES))
    assert found.act_p == pytest.approx([0.3] * len(STATES))
    assert np.mean(found.think_p) == pytest.approx(0.4, abs=0.02)
    assert np.mean(found.think_lower) == pytest.approx(math.log(0.4), abs=0.03)
    assert np.mean(found.think_upper) == pytest.approx(math.log(0.4), abs=0.03)


def test_one_thought_that_decides_nothing_closes_the_bracket() -> None:
    found = scored(0.3, {"a": 0.25})
    assert found.think_lower == found.think_upper == pytest.approx([math.log(0.25)] * len(STATES))


def test_the_bracket_holds_the_truth_that_few_thoughts_miss() -> None:
    rng = np.random.default_rng(0)
    ends = np.array([log_mean(rng.choice([0.05, 0.9], size=4)) for _ in range(4000)]).mean(axis=0)
    truth = math.log(0.475)
    assert ends[0] < truth - 0.05
    assert abs(ends[1] - truth) < abs(ends[0] - truth)


def test_an_action_that_is_never_taken_counts_as_the_floor_in_both_orders() -> None:
    found = scored(0.0, {"a": 0.0})
    assert set(found.act_p) == set(found.think_p) == {0.0}
    for scores in found[2:]:
        assert scores == pytest.approx([FLOOR_LOGP] * len(STATES))


def test_a_thought_that_never_acts_gives_the_action_no_probability() -> None:
    policy = ScriptedOrders(ACTIONS, (0.5, 0.5), {"a": 0.5, "...": 0.5}, {"a": (0.8, 0.2)})
    found = expert_scores(policy, STATES, preset("tiny"), thoughts=64, seed=0)
    assert np.mean(found.think_lower) == pytest.approx(math.log(0.4), abs=0.05)


def test_the_temperature_of_sampling_is_that_of_scoring() -> None:
    config = preset("tiny")
    config = replace(config, sampling=replace(config.sampling, temperature=0.7))
    policy = ScriptedOrders(ACTIONS, (0.5, 0.5), {"a": 1.0}, {"a": (0.5, 0.5)})
    expert_scores(policy, STATES, config, thoughts=2, seed=0)
    assert policy.temperatures == {0.7}


def test_training_that_doubles_a_rare_thought_doubles_the_probability_and_moves_the_logarithm_too_far() -> None:
    """Why the probability stands beside the logarithm: with few thoughts that of a rare action rises too much."""
    rng = np.random.default_rng(0)
    before, after = (rng.binomial(4, p, size=4000)[:, None] > np.arange(4) for p in (0.15, 0.3))
    rise = np.array([log_mean(row)[0] for row in after]).mean() - np.array([log_mean(row)[0] for row in before]).mean()
    assert rise > math.log(2) + 0.1
    assert after.mean() / before.mean() == pytest.approx(2, abs=0.1)


def test_one_thought_is_too_few_for_a_bracket() -> None:
    with pytest.raises(ValueError, match="at least 2"):
        scored(0.5, {"a": 0.5}, thoughts=1)
