"""The play widget without a browser: what is clicked is what is sent and recorded; a policy is asked for that state."""

from typing import Any

import pytest
from fake_env import CorridorEnv
from small_world import CONFIG, HOSTILE, policy

from actre.types import ActreError, trajectory_from_json, trajectory_to_json
from actre.view import Inspector, Play


def game(**more: Any) -> Play:
    return Play(["2", "3"], env=CorridorEnv(limit=4), config=CONFIG, **more)


def ask(widget: Play, kind: str, **more: Any) -> Any:
    answer = widget.answer({"id": 1, "kind": kind, **more})
    assert "error" not in answer, answer
    return answer["ok"]


def test_a_game_is_played_to_its_end_and_recorded() -> None:
    widget = game()
    state = ask(widget, "state")
    assert state["admissible"] == ["go left", "go right", "look"]
    for step in range(2):
        state = ask(widget, "act", action="go right", step=step)
    assert state["won"]
    assert state["over"]
    (one,) = widget.trajectories
    assert one == widget.trajectory
    assert one.won
    assert [s.action for s in one.steps] == ["go right", "go right"]
    assert one.meta["player"] == "by hand"
    assert one.env_return == 1
    assert trajectory_from_json(trajectory_to_json(one)) == one
    assert "won" in Inspector(widget.trajectories).static()


def test_a_click_that_was_meant_for_another_step_is_not_taken() -> None:
    widget = game()
    ask(widget, "act", action="look", step=0)
    assert len(ask(widget, "act", action="look", step=0)["episode"]["steps"]) == 1


def test_a_step_taken_back_leaves_the_game_as_it_was() -> None:
    widget = game()
    before = ask(widget, "act", action="go right", step=0)
    ask(widget, "act", action="go right", step=1)
    assert widget.trajectories
    assert ask(widget, "back") == before
    assert widget.trajectories == []


def test_an_inadmissible_action_is_sent_recorded_and_flagged() -> None:
    widget = game()
    ask(widget, "act", action="fly", step=0)
    assert widget.trajectory.steps[0].flags == ("inadmissible",)


def test_a_game_that_is_over_takes_no_action_and_another_begins() -> None:
    widget = game()
    for step in range(4):
        ask(widget, "act", action="look", step=step)
    assert "over" in widget.answer({"id": 1, "kind": "act", "action": "look", "step": 4})["error"]
    assert widget.trajectories[0].truncated
    assert ask(widget, "start", game=1)["game"] == 1
    assert "no game" in widget.answer({"id": 1, "kind": "start", "game": 2})["error"]


def test_the_policys_choices_are_those_of_its_tables_in_this_state() -> None:
    widget = game(policy=policy(), thoughts=2)
    ask(widget, "act", action="look", step=0)
    scores = ask(widget, "scores", checkpoint="policy")
    assert scores["act_first"]["p"] == pytest.approx([0.2, 0.4, 0.2])
    assert scores["after"] is None
    assert "no policy" in game().answer({"id": 1, "kind": "scores"})["error"]


def test_no_game_is_refused_and_hostile_actions_are_text() -> None:
    with pytest.raises(ActreError, match="no game to play"):
        Play([], env=CorridorEnv(), config=CONFIG)
    widget = Play(["2"], env=CorridorEnv(extra_actions=(HOSTILE,)), config=CONFIG)
    ask(widget, "act", action=HOSTILE, step=0)
    assert "<script" not in widget.static()
