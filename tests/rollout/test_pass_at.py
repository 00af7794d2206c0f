"""Several episodes of each game: pass@k by brute force, distinct trajectories by hand."""

from dataclasses import replace
from itertools import combinations
from math import comb
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actre.config import RunConfig
from actre.rollout.pass_at import Attempts, attempts, load, pass_at, play_often, save, summarised
from actre.types import ActreError, Flag, Observation, Step, Trajectory


@given(st.integers(1, 7), st.data())
def test_pass_at_k_is_the_share_of_all_choices_of_k_episodes_that_hold_a_win(n: int, data: Any) -> None:
    c, k = data.draw(st.integers(0, n)), data.draw(st.integers(1, n))
    won = [True] * c + [False] * (n - c)
    choices = list(combinations(won, k))
    assert pass_at(n, c, k) == pytest.approx(sum(map(any, choices)) / len(choices))


@pytest.mark.parametrize("p", [0.05, 0.2, 0.5])
@pytest.mark.parametrize("k", [1, 4, 16])
def test_pass_at_k_is_unbiased_where_the_plug_in_is_not(p: float, k: int) -> None:
    """Its expectation over 16 tosses is 1 - (1 - p)^k."""
    weights = [comb(16, c) * p**c * (1 - p) ** (16 - c) for c in range(17)]
    truth = 1 - (1 - p) ** k
    assert sum(w * pass_at(16, c, k) for c, w in enumerate(weights)) == pytest.approx(truth)
    plug_in = sum(w * (1 - (1 - c / 16) ** k) for c, w in enumerate(weights))
    assert k == 1 or plug_in < truth - 1e-7


@pytest.mark.parametrize(("n", "c", "k"), [(4, 1, 5), (4, 5, 1), (4, 1, 0), (4, -1, 1)])
def test_pass_at_k_refuses_what_has_no_meaning(n: int, c: int, k: int) -> None:
    with pytest.raises(ValueError, match=f"pass@{k}"):
        pass_at(n, c, k)


def episode(game: str, actions: str, won: bool, flags: tuple[Flag, ...] = (), **meta: Any) -> Trajectory:
    seen = Observation("a room", "find it", ("a", "b"))
    steps = tuple(Step(seen, (1,), (2,), (-0.1,), a, None, None if a == "-" else a, flags, 0.0) for a in actions)
    return Trajectory("toy", game, "put", "act_first", 0, steps, seen, won, not won, group=0, meta=meta)


def test_episodes_of_one_game_become_one_record_and_a_failed_game_none() -> None:
    played = [
        episode("g", "ab", True),
        episode("g", "ab", False, ("inadmissible",)),
        episode("g", "a-", True),
        episode("h", "b", True),
        episode("h", "b", True, env_error="it broke"),
    ]
    (only,) = attempts(played, "unseen")
    assert (only.game, only.episodes, only.won, only.distinct, only.steps) == ("g", 3, 2, 2, 6)
    assert only.admissible == 3, "of six steps two were inadmissible and one sent nothing"


def test_a_panel_is_the_mean_over_its_games_with_an_interval_over_them() -> None:
    one = Attempts("unseen", "no_think", "g0", "put", 4, 0, 1, 8, 4)
    rows = [one, replace(one, game="g1", won=2, distinct=3), replace(one, game="g2", won=4, distinct=2)]
    (found,) = summarised(rows, (2, 1))
    assert list(found.pass_at) == [1, 2]
    assert found.pass_at[1].value == pytest.approx(0.5)
    assert found.pass_at[2].value == pytest.approx((0 + (1 - 1 / 6) + 1) / 3)
    assert found.pass_at[1].low < 0.5 < found.pass_at[1].high
    assert (found.games, found.episodes, found.distinct, found.admissible, found.steps) == (3, 4, 2.0, 0.5, 2.0)
    with pytest.raises(ActreError, match="pass@8 needs 8 episodes a game"):
        summarised(rows, (8,))


def test_records_replace_those_of_the_same_moment_panel_and_order_only(tmp_path: Path) -> None:
    path = tmp_path / "pass_at.jsonl"
    one = Attempts("unseen", "no_think", "g0", "put", 2, 0, 1, 8, 4)
    other = replace(one, order="act_first")
    save(path, [one, other], "after")
    save(path, [one], "before")
    save(path, [replace(one, episodes=4)], "after")
    assert load(path, "before") == [one]
    assert sorted(load(path, "after"), key=lambda x: x.episodes) == [other, replace(one, episodes=4)]
    path.write_text('{"when": "after"}\n')
    with pytest.raises(ActreError, match="not a record"):
        load(path, "after")


def test_at_temperature_0_there_is_nothing_to_play_again() -> None:
    ask: dict[str, Any] = {"panel": "unseen", "renderer": None, "config": RunConfig(), "episodes": 4, "seed": 0}
    with pytest.raises(ActreError, match="temperature 0"):
        play_often(None, [], ["g"], temperature=0.0, **ask)  # type: ignore[arg-type]
