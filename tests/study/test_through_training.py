"""What a condition's runs went through, as points to draw."""

from typing import Any

import pytest

from actre.study import through_training as through


def _record(steps: int, successes: list[float], alike: list[float | None], measured: list[Any]) -> dict[str, Any]:
    """A record with these iterations; measured: (iteration, act-first's and think-first's success on the panel)."""
    curve = [[i + 1, steps * (i + 1), 10 * (i + 1), "act_first", one, 0.1] for i, one in enumerate(successes)]
    lines = [
        {
            "iteration": i,
            "env_steps": steps * i,
            "orders": {"act_first": [act, 1.0, 1.0], "think_first": [think, 1.0, 1.0]},
        }
        for i, act, think in measured
    ]
    return {"curve": curve, "entropy": [], "signs": {"groups": [[one, 5.0] for one in alike], "measured": lines}}


ONE = _record(100, [0.0, 0.3, 0.6, 0.9], [1.0, 0.7, 0.4, 0.1], [(0, 0.1, 0.2), (2, 0.3, 0.4), (4, 0.5, 0.6)])
TWO = _record(200, [0.3, 0.3, 0.3], [0.9, 0.9, 0.9], [(0, 0.3, 0.2), (2, 0.5, 0.4), (3, 0.7, 0.6)])


def test_a_curve_is_the_mean_over_seeds_of_the_last_iterations_as_far_as_the_shortest_run() -> None:
    assert through.success([ONE, TWO]) == [pytest.approx((450.0, 0.3, 0.3, 0.3))]
    assert through.success([ONE]) == [pytest.approx((300.0, 0.3, 0.3, 0.3)), pytest.approx((400.0, 0.6, 0.6, 0.6))]
    assert through.success([ONE], "generated_tokens")[0][0] == 30


def test_groups_without_variance_are_drawn_for_the_runs_that_kept_them() -> None:
    assert through.without_variance([ONE, TWO]) == [pytest.approx((450.0, 0.8, 0.7, 0.9))]
    assert len(through.without_variance([ONE], first=3)) == 1
    partly = _record(100, [0.0, 0.3, 0.6], [None, 0.7, 0.4], [])  # resumed from an earlier version's run
    older = {name: value for name, value in ONE.items() if name != "signs"}
    assert through.without_variance([partly, older]) == []


def test_every_orders_success_is_drawn_where_all_seeds_measured_it_and_at_the_end() -> None:
    found = through.every_order([ONE, TWO])
    assert list(found) == ["think_first", "act_first"]
    assert found["act_first"] == [
        pytest.approx((0.0, 0.2, 0.1, 0.3)),
        pytest.approx((300.0, 0.4, 0.3, 0.5)),
        pytest.approx((500.0, 0.6, 0.5, 0.7)),  # their ends: after 4 and 3 iterations
    ]
    assert through.every_order([ONE])["think_first"][-1] == pytest.approx((400.0, 0.6, 0.6, 0.6))
    assert through.every_order([_record(100, [0.0], [1.0], [])]) == {}


def test_entropy_is_drawn_where_all_seeds_measured_it() -> None:
    def measured(*lines: tuple[int, float, float, float]) -> dict[str, Any]:
        entropy = [
            {
                "iteration": i,
                "env_steps": 100 * i,
                "act_first": {"value": act},
                "think_first_lower": {"value": low},
                "think_first_upper": {"value": high},
            }
            for i, act, low, high in lines
        ]
        return {"entropy": entropy}

    records = [measured((0, 1.0, 0.2, 0.4), (8, 0.8, 0.1, 0.3)), measured((0, 0.6, 0.6, 0.8), (7, 9.0, 9.0, 9.0))]
    assert through.entropy(records, "act_first") == [pytest.approx((0.0, 0.8, 0.6, 1.0))]
    assert through.entropy(records, "think_first") == [pytest.approx((0.0, 0.5, 0.3, 0.7))]


def test_seeds_that_were_measured_at_different_iterations_meet_at_their_ends() -> None:
    late = _record(100, [0.0], [1.0], [(3, 0.5, 0.5)])
    assert through.every_order([ONE, late])["act_first"] == [pytest.approx((350.0, 0.5, 0.5, 0.5))]
