"""Probe states are repeatable, hold no thoughts, are reached again by replaying, and survive their file."""

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actre.config import EnvConfig, ProbeConfig, RunConfig, data_folder
from actre.config.presets import preset
from actre.entropy import probes as pr
from actre.types import ActreError, Observation, Step, Trajectory


class Corridor:
    """Rooms in a row; won at the end of it."""

    def __init__(self, length: int = 9) -> None:
        self.length = length
        self.resets: list[str] = []

    def reset(self, *, seed: int | None = None, options: dict[str, str]) -> tuple[str, dict[str, Any]]:
        self.at = 0
        self.game = options["game"]
        self.resets.append(self.game)
        return self._text(), self._info()

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        assert self.at < self.length, "a step after the end"
        assert action in self._info()["admissible_commands"]
        assert action != "help"
        self.at += action == "on"
        won = self.at == self.length
        return self._text(), float(won), won, False, self._info()

    def _text(self) -> str:
        return f"{self.game}, room {self.at}"

    def _info(self) -> dict[str, Any]:
        return {
            "task": "go",
            "task_type": "walk",
            "won": self.at == self.length,
            "admissible_commands": ["help", "on", "stay"],
        }


GAMES = [f"game {i}" for i in range(10)]


def replay(env: Any, probe: pr.Probe) -> dict[str, Any]:
    """Bring an environment to a probe's state, comparing every observation on the way; returns its info there."""
    text, info = env.reset(options={"game": probe.game})
    for t, expected in enumerate(probe.observations):
        assert (text, tuple(info["admissible_commands"])) == (expected.text, expected.admissible), t
        if t < len(probe.actions):
            text, _, _, _, info = env.step(probe.actions[t])
    return info


@settings(max_examples=25)
@given(st.integers(1, 30), st.integers(0, 100), st.integers(1, 12))
def test_states_are_reached_again_by_replaying_their_actions(n: int, seed: int, steps: int) -> None:
    made = pr.make_probes(GAMES, Corridor(), n, seed, sources=("random",), max_steps=steps)
    assert len(made) == n
    for probe in made:
        assert len(probe.observations) == len(probe.actions) + 1 <= steps
        env = Corridor()
        assert replay(env, probe)["won"] is False
        assert env._text() == probe.state.text


def test_the_same_arguments_give_the_same_probes_and_another_seed_others() -> None:
    one, two, other = (pr.make_probes(GAMES, Corridor(), 8, s, sources=("random",)) for s in (0, 0, 1))
    assert one == two
    assert pr.digest(one) == pr.digest(two)
    assert pr.digest(one) != pr.digest(other)
    assert {p.game for p in one} != {p.game for p in other} or one != other


def test_games_are_distinct_while_they_last_and_early_and_late_take_turns() -> None:
    made = pr.make_probes(GAMES, Corridor(), 10, 0, sources=("random",))
    assert len({p.game for p in made}) == 10
    assert [p.position for p in made] == ["early", "late"] * 5
    assert {p.source for p in made} == {"random"}
    assert len({p.game for p in pr.make_probes(GAMES, Corridor(), 14, 0, sources=("random",))}) == 10
    long = pr.make_probes(GAMES, Corridor(1000), 10, 0, sources=("random",), max_steps=30)
    assert max(len(p.actions) for p in long if p.position == "early") < 10
    assert min(len(p.actions) for p in long if p.position == "late") >= 10


def test_probes_come_back_from_their_file(tmp_path: Path) -> None:
    made = pr.make_probes(GAMES, Corridor(), 5, 0, sources=("random",))
    for name in ("p.jsonl", "deep/p.jsonl.gz"):
        pr.save_probes(tmp_path / name, made)
        assert pr.load_probes(tmp_path / name) == made
    (tmp_path / "p.jsonl").write_text('{"game": "g"}\n')
    with pytest.raises(ActreError, match="holds no probes"):
        pr.load_probes(tmp_path / "p.jsonl")
    pr.save_probes(tmp_path / "short.jsonl", [replace(made[0], observations=made[0].observations[:-1])])
    with pytest.raises(ActreError, match="lacks an observation"):
        pr.load_probes(tmp_path / "short.jsonl")


def test_a_policys_episodes_give_probes_without_thoughts_or_steps_that_sent_nothing() -> None:
    seen = [Observation(f"room {i}", "go", ("on",)) for i in range(9)]
    actions = [None if i % 3 == 2 else f"on {i}" for i in range(8)]
    steps = tuple(
        Step(o, (1,), (2,), (0.0,), "", "a thought", action, (), 0.0) for o, action in zip(seen, actions, strict=False)
    )
    episode = Trajectory("e", "game 0", "walk", "think_first", 0, steps, seen[8], False, True)

    def play(games: list[str]) -> list[Trajectory]:
        return [replace(episode, game=game) for game in games]

    made = pr.make_probes(GAMES, Corridor(), 6, 0, sources=("policy",), play=play)
    assert len({p.game for p in made}) == 6
    for probe in made:
        assert probe.source == "policy"
        assert len(probe.observations) == len(probe.actions) + 1
        assert [o.text.removeprefix("room ") for o in probe.observations[:-1]] == [
            a.removeprefix("on ") for a in probe.actions
        ]


def test_sources_take_turns_and_a_policy_plays_its_games_at_once() -> None:
    asked: list[list[str]] = []

    def play(games: list[str]) -> list[Trajectory]:
        asked.append(games)
        made = []
        for game in games:
            env = Corridor()
            text, info = env.reset(options={"game": game})
            steps = []
            for action in ("on", None, "stay", "on", "on"):
                seen = Observation(text, "go", tuple(info["admissible_commands"]))
                steps.append(Step(seen, (1,), (2,), (0.0,), "", "a thought", action, (), 0.0))
                if action is not None:
                    text, _, _, _, info = env.step(action)
            end = Observation(text, "go", tuple(info["admissible_commands"]))
            made.append(Trajectory("e", game, "walk", "think_first", 0, tuple(steps), end, False, True))
        return made

    made = pr.make_probes(GAMES, Corridor(), 8, 0, sources=("random", "policy"), play=play)
    assert [p.source for p in made] == ["random", "policy"] * 4
    assert [p.position for p in made if p.source == "policy"] == ["early", "late"] * 2
    assert asked == [[p.game for p in made if p.source == "policy"]]
    assert len({p.game for p in made}) == 8
    for probe in made:
        assert replay(Corridor(), probe)["won"] is False
    # where the policy plays nothing, the states are those of any other set
    alone = pr.make_probes(GAMES, Corridor(), 8, 0, sources=("random", "random"))
    assert [p.game for p in made] == [p.game for p in alone]


def test_a_policy_that_never_acts_leaves_the_first_state_and_one_that_could_not_start_is_named() -> None:
    seen = Observation("room 0", "go", ("on",))
    mute = Trajectory(
        "e",
        "g",
        "walk",
        "act_first",
        0,
        (Step(seen, (1,), (2,), (0.0,), "", None, None, (), 0.0),) * 3,
        seen,
        False,
        True,
    )
    (probe,) = pr.make_probes(["g"], Corridor(), 1, 0, sources=("policy",), play=lambda games: [mute])
    assert (probe.observations, probe.actions, probe.source) == ((seen,), (), "policy")
    with pytest.raises(ActreError, match="no step in g"):
        pr.make_probes(["g"], Corridor(), 1, 0, sources=("policy",), play=lambda games: [replace(mute, steps=())])


def test_what_cannot_be_made_is_refused() -> None:
    for arguments in (([], 3, ("random",)), (GAMES, 0, ("random",)), (GAMES, 3, ()), (GAMES, 3, ("policy",))):
        games, n, sources = arguments
        with pytest.raises(ActreError):
            pr.make_probes(games, Corridor(), n, 0, sources=sources)  # type: ignore[arg-type]


# --- the shipped sets ---


@pytest.mark.parametrize(("name", "panel"), [("tiny", "small/unseen"), ("smollm2", "full/unseen")])
def test_shipped_probes_are_many_kinds_of_states_on_distinct_games(name: str, panel: str) -> None:
    config = preset(name)
    assert config.env.unseen == panel
    probes = pr.shipped_probes(replace(config, probe=ProbeConfig(states=48)))
    assert len({p.game for p in probes}) == 48
    assert all(p.game.startswith(f"{panel}#") for p in probes)
    assert len({p.task_type for p in probes}) == 6
    for half in (probes, probes[: config.probe.states]):
        kinds = {(p.source, p.position): 0 for p in half}
        assert len(kinds) == 4
    assert all(len(set(p.state.admissible)) == len(p.state.admissible) >= 4 for p in probes)


def test_shipped_probes_are_states_of_the_shipped_games() -> None:
    from actre.envs.alfworld import AlfworldEnv

    env = AlfworldEnv(max_steps=50)
    for probe in pr.shipped_probes(preset("tiny"))[:6]:
        assert replay(env, probe)["won"] is False


def test_the_shipped_set_with_a_policys_episodes_is_reached_exactly_and_returned_to() -> None:
    from actre.envs.alfworld import AlfworldEnv

    made = pr.load_probes(data_folder() / "probes" / "small_unseen_policy.jsonl.gz")
    kinds = Counter((p.source, p.position) for p in made)
    assert kinds == {(s, p): 8 for s in ("expert", "random", "policy") for p in ("early", "late")}
    assert len({p.game for p in made}) == len(made) == 48
    assert not any("think" in action for p in made for action in p.actions)
    env, other = AlfworldEnv(max_steps=50), AlfworldEnv(max_steps=50)
    for probe in [p for p in made if p.source == "policy"]:
        assert replay(env, probe)["won"] is False
        there = env.snapshot()
        for _ in range(3):
            if env.step(probe.state.admissible[-1])[2]:
                break  # that won the game
        for one in (env, other):  # the same environment, and one that never was there
            text, info = one.restore(there)
            assert text == probe.state.text
            assert tuple(info["admissible_commands"]) == probe.state.admissible


def test_the_shipped_set_is_what_its_command_makes() -> None:
    shipped = pr.shipped_probes(replace(preset("tiny"), probe=ProbeConfig(states=3)))
    assert pr.panel_probes("small/unseen", 3, 0) == shipped


def test_a_panel_without_shipped_probes_says_how_to_make_some() -> None:
    config = RunConfig(env=EnvConfig(unseen="small/train"), probe=ProbeConfig(states=2))
    with pytest.raises(ActreError, match="actre probes --panel small/train"):
        pr.shipped_probes(config)
    assert [p.game.split("#")[0] for p in pr.probes_for(config)] == ["small/train"] * 2
    with pytest.raises(ActreError, match="48 probe states instead of 1000"):
        pr.shipped_probes(replace(preset("tiny"), probe=ProbeConfig(states=1000)))
