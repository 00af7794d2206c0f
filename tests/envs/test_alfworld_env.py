"""The ALFWorld environment: the contract of every environment, and what is ALFWorld's own."""

import json
import pickle
from pathlib import Path
from typing import Any

import gymnasium
import pytest
from env_contract import EnvContract

import actre.envs
from actre.envs.alfworld import AlfworldEnv, list_games, read_game
from actre.envs.alfworld.engine import NOTHING
from actre.types import ActreError

GAMES = list_games("small/train")


def game_of(task_type: str) -> str:
    return next(game for game in GAMES if read_game(game).task_type == task_type)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACTRE_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


@pytest.fixture
def env() -> AlfworldEnv:
    env = AlfworldEnv(GAMES[:2])
    env.reset(options={"game": GAMES[0]})
    return env


class TestAlfworldEnv(EnvContract):
    def make(self, max_steps: int = 50) -> AlfworldEnv:
        return AlfworldEnv(GAMES[:3], max_steps=max_steps)

    def start(self) -> dict[str, Any]:
        return {"game": GAMES[0]}

    def foreign(self) -> dict[str, Any]:
        return {"game": "no/such/game.tw-pddl"}


def test_gymnasium_makes_it_by_name() -> None:
    assert actre.envs.__doc__
    env = gymnasium.make("actre/Alfworld-v0", games=GAMES[:1], max_steps=2)
    text, info = env.reset(seed=0)
    assert text.startswith("-= Welcome to TextWorld, ALFRED! =-\n\nYou are in the middle of a room.")
    assert info["game"] == GAMES[0]
    assert info["task_type"] == read_game(GAMES[0]).task_type


def test_the_task_is_the_sentence_that_the_first_observation_ends_with(env: AlfworldEnv) -> None:
    text, info = env.reset()
    assert text.endswith(f"\n\nYour task is to: {info['task']}")


def test_admissible_commands_are_sorted_and_anything_else_does_nothing(env: AlfworldEnv) -> None:
    info = env.reset()[1]
    commands = info["admissible_commands"]
    assert commands == sorted(commands)
    assert {"help", "inventory", "look"} <= set(commands)
    for action in ("Look", "go to nowhere 1", "", "look\nlook"):
        text, reward, terminated, truncated, info = env.step(action)
        assert (text, reward, terminated, truncated) == (NOTHING, 0.0, False, False)
        assert info["admissible_commands"] == commands


def test_blanks_around_an_action_do_not_matter(env: AlfworldEnv) -> None:
    moment = env.snapshot()
    plain = env.step("inventory")
    env.restore(moment)
    assert env.step(" \tinventory\n") == plain


def test_a_game_can_be_won_and_a_win_ends_it_with_reward_one() -> None:
    """Played by hand, from the admissible commands alone: look at something under a lamp."""
    env = AlfworldEnv()
    game = game_of("look_at_obj_in_light")
    _, info = env.reset(options={"game": game})
    words = info["task"].rstrip(".").split()
    lamp = words[-1]
    thing = next(w for w in words[1:] if w not in ("at", "the"))
    carrying, lamp_at, answer = False, "", None
    for place in [c for c in info["admissible_commands"] if c.startswith("go to")]:
        for action in (place, place.replace("go to", "open")):
            answer = env.step(action)
            commands = answer[4]["admissible_commands"]
            if any(c.startswith(f"use {lamp}") for c in commands):
                lamp_at = place
            take = [c for c in commands if c.startswith(f"take {thing} ")]
            if take and not carrying:
                env.step(take[0])
                carrying = True
    assert carrying
    assert lamp_at
    env.step(lamp_at)
    env.step(lamp_at.replace("go to", "open"))
    use = next(c for c in env.restore(env.snapshot())[1]["admissible_commands"] if c.startswith(f"use {lamp}"))
    text, reward, terminated, truncated, info = env.step(use)
    assert text.startswith("You turn on the")
    assert (reward, terminated, truncated, info["won"]) == (1.0, True, False, True)
    with pytest.raises(ActreError, match="over"):
        env.step("look")


def test_a_snapshot_is_restored_in_an_environment_that_plays_another_game(env: AlfworldEnv) -> None:
    answer = env.step("look")
    moment = pickle.loads(pickle.dumps(env.snapshot()))
    other = AlfworldEnv()
    other.reset(options={"game": GAMES[1]})
    assert other.restore(moment) == (answer[0], answer[4])
    assert other.step("inventory")[0] == env.step("inventory")[0]


def test_games_are_drawn_from_the_list_by_the_seed() -> None:
    env = AlfworldEnv(GAMES[:20])
    env.reset(seed=3)
    drawn = [env.reset()[1]["game"] for _ in range(12)]
    env.reset(seed=3)
    assert [env.reset()[1]["game"] for _ in range(12)] == drawn
    assert len(set(drawn)) > 4
    assert set(drawn) <= set(GAMES[:20])


def test_an_environment_without_games_or_with_one_path_for_a_list_says_what_to_do() -> None:
    with pytest.raises(ActreError, match="options="):
        AlfworldEnv().reset()
    with pytest.raises(ActreError, match="list"):
        AlfworldEnv(GAMES[0])
    with pytest.raises(ActreError, match="max_steps"):
        AlfworldEnv(GAMES, max_steps=0)


def damaged(name: str) -> dict[str, Any]:
    """A game file with one thing wrong."""
    game = read_game(GAMES[0])
    raw: dict[str, Any] = {
        "pddl_domain": game.pddl_domain,
        "grammar": game.grammar,
        "pddl_problem": game.pddl_problem,
        "solvable": True,
    }
    task = "Your task is to: "
    change: dict[str, tuple[str, Any]] = {
        "problem cut short": ("pddl_problem", game.pddl_problem[: len(game.pddl_problem) // 2]),
        "problem empty": ("pddl_problem", ""),
        "problem of another domain": ("pddl_problem", "(define (problem p) (:domain d) (:init) (:goal (and)))"),
        "unknown object": ("pddl_problem", game.pddl_problem.replace("(:init", "(:init (holds agent1 ghost)", 1)),
        "domain empty": ("pddl_domain", ""),
        "no domain": ("pddl_domain", None),
        "grammar cut short": ("grammar", game.grammar[: game.grammar.index("action help")] + "action help {"),
        "grammar without an action": ("grammar", game.grammar.replace("action OpenObject", "action Other")),
        "grammar without a rule": ("grammar", game.grammar.replace('"list_appliances"', '"list_other"')),
        "grammar that asks about nothing known": (
            "grammar",
            game.grammar.replace("receptacleatlocation(r:receptacle", "receptacleatlocation(r:thing"),
        ),
        "grammar that would run code": (
            "grammar",
            game.grammar.replace(task, "{__import__('os').getcwd()} " + task, 1),
        ),
    }
    key, value = change[name]
    assert raw[key] != value
    return {**raw, key: value}


@pytest.mark.parametrize(
    "name",
    [
        "problem cut short",
        "problem empty",
        "problem of another domain",
        "unknown object",
        "domain empty",
        "no domain",
        "grammar cut short",
        "grammar without an action",
        "grammar without a rule",
        "grammar that asks about nothing known",
        "grammar that would run code",
    ],
)
def test_a_damaged_or_foreign_game_is_an_error_of_ours_and_the_environment_goes_on(
    env: AlfworldEnv, tmp_path: Path, name: str
) -> None:
    before = env.restore(env.snapshot())
    file = tmp_path / "game.tw-pddl"
    file.write_text(json.dumps(damaged(name)))
    with pytest.raises(ActreError) as caught:
        env.reset(options={"game": file})
    assert str(file) in str(caught.value)
    assert env.restore(env.snapshot()) == before
    env.step("look")
    assert env.reset(options={"game": GAMES[0]})[0] == before[0]


def test_rendering_gives_the_last_observation() -> None:
    env = AlfworldEnv(GAMES[:1], render_mode="ansi")
    assert env.render() is None
    text, _ = env.reset()
    assert env.render() == text
    assert AlfworldEnv(GAMES[:1]).render() is None
