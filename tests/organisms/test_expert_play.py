"""The experts on a panel: well played, the same each time, in the model's own kind of thought."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from actre.config.presets import preset
from actre.envs.alfworld.expert import Habits
from actre.envs.worlds import list_games
from actre.organisms.expert_play import demonstrations, expert_for, expert_states, play
from actre.types import ActreError

HOUSE, SHOP = preset("tiny").env, preset("tiny", "webshop").env
GAMES = list_games("alfworld", "small/train")[:4]


def test_the_expert_wins_nearly_every_game_and_plays_the_same_again() -> None:
    played = list(play(HOUSE, GAMES, seed=0))
    assert sum(one.won for one in played) >= 3
    assert played == list(play(HOUSE, GAMES, seed=0))
    assert [one.game for one in played] == GAMES


def test_every_episode_has_as_many_steps_as_were_taken_and_each_action_was_possible() -> None:
    for one in play(HOUSE, GAMES, seed=1):
        assert 0 < len(one.steps) <= HOUSE.max_steps
        assert all(step.action in step.observation.admissible for step in one.steps)


def test_more_episodes_than_games_play_some_games_again() -> None:
    demos = demonstrations(HOUSE, GAMES[:2], 5, seed=0)
    assert len(demos.episodes) == 5
    assert len({one[0].observation.task for one in demos.episodes}) <= 2


def test_a_state_is_where_the_expert_was_and_its_action_is_what_it_did() -> None:
    for state in expert_states(HOUSE, GAMES, 2, seed=0):
        assert len(state.probe.observations) == len(state.probe.actions) + 1
        assert state.action in state.probe.state.admissible
    found = expert_states(HOUSE, GAMES, 2, seed=0)
    assert len(found) == 2 * len(GAMES)
    assert len({(one.probe.game, len(one.probe.actions)) for one in found}) == len(found)
    assert found == expert_states(HOUSE, GAMES, 2, seed=0)


def test_the_shopper_plays_its_panel() -> None:
    played = list(play(SHOP, list_games("webshop", "shop/train")[:4], seed=0))
    assert all(one.steps[0].action.startswith("search[") and one.steps[0].thought for one in played)


def test_an_environment_without_such_an_expert_is_told_what_can_be_left_out() -> None:
    with pytest.raises(ActreError, match="--parts contraction start learnability"):
        list(play(replace(HOUSE, name="outside_world:make"), ["1"], 0))


def test_a_model_is_shown_the_kind_of_thought_it_was_taught(tmp_path: Path) -> None:
    assert [expert_for(name).thoughts for name in ("tiny", "tiny/neutral", "owner/model")] == [
        *("said", "marked", "marked")
    ]
    (tmp_path / "config.json").write_text("{}")
    habits = {"search": "random", "thoughts": "said", "random_moves": 0.3}
    warm = {"about": {"expert": {**habits, "thoughts": "plain", "paraphrase": True}}}
    (tmp_path / "warmstart.json").write_text(json.dumps(warm))
    assert expert_for(str(tmp_path)) == Habits(search="likely", thoughts="plain", paraphrase=True), "at its best"
    (tmp_path / "made.json").write_text(json.dumps({"recipe": {"parts": [{"habits": [{}]}, {"habits": [habits]}]}}))
    assert expert_for(str(tmp_path)) == Habits(search="likely", thoughts="said")
    said = demonstrations(HOUSE, GAMES[:1], 1, 0, expert_for(str(tmp_path))).episodes[0]
    assert all(step.thought.startswith(step.action) for step in said)
