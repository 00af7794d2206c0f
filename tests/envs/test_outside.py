"""An environment from outside the package is played, evaluated and trained on through the settings alone."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from actre.cli.app import main
from actre.config import EnvConfig, RunConfig, StageConfig, load_config, save_config
from actre.config.presets import preset
from actre.entropy.probes import probes_for
from actre.envs import worlds
from actre.envs.outside import BrokenContractError
from actre.policies.scripted import ScriptedPolicy, Table
from actre.rollout import make_envs, rollout
from actre.rollout.evaluate import play, play_baseline
from actre.training import train
from actre.types import ActreError, Trajectory, read_jsonl

NAMES = ("outside_world:make", "outside_world:DoorEnv", "outside_world:Outside/Door-v0")
GAMES = {"train": ["1", "2"], "seen": ["2", "3"], "unseen": ["1", "2", "3"]}


def settings(folder: Path, name: str) -> RunConfig:
    """What a saved config.json gives back: the smallest run in that environment."""
    tiny = preset("tiny", name)
    small = replace(
        tiny,
        env=replace(tiny.env, max_steps=3),
        sampling=replace(tiny.sampling, max_reply_tokens=16),
        stages=(StageConfig("act_first", 1),),
        optim=replace(tiny.optim, groups=2, group_size=2),
        probe=replace(tiny.probe, states=2, thoughts=2),
    )
    save_config(small, folder / "config.json")
    return load_config(folder / "config.json")


def walker() -> ScriptedPolicy:
    return ScriptedPolicy(lambda text: Table({"on": 1.0}, {"on": {"go right": 1.0}}))


def played(config: RunConfig, games: list[str]) -> list[Trajectory]:
    policy = walker()
    return rollout(
        policy,
        make_envs(config.env, len(games)),
        games,
        renderer=policy.renderer(config.prompt, "think_first"),
        sampling=replace(config.sampling, max_reply_tokens=40),
        temperature=1.0,
        max_steps=config.env.max_steps,
        seed=0,
    )


@pytest.mark.parametrize("name", NAMES)
def test_episodes_are_played_by_the_name_in_the_settings(name: str, tmp_path: Path) -> None:
    config = settings(tmp_path, name)
    assert worlds.list_games(name, config.env.unseen) == GAMES["unseen"]
    episodes = played(config, GAMES["unseen"])
    assert [(one.game, one.won, len(one.steps)) for one in episodes] == [("1", True, 1), ("2", True, 2), ("3", True, 3)]
    assert {one.env for one in episodes} == {name.partition(":")[2] if "/" in name else "DoorEnv"}
    assert {one.task_type for one in episodes} == {""}


def test_the_settings_alone_limit_the_steps(tmp_path: Path) -> None:
    """The registered environment has a limit of 2, and the settings say 3."""
    config = settings(tmp_path, NAMES[2])
    (far,) = played(config, ["9"])
    assert (len(far.steps), far.truncated, far.won) == (3, True, False)


@pytest.mark.parametrize("name", NAMES)
def test_a_panel_is_evaluated_and_played_at_random(name: str, tmp_path: Path) -> None:
    config = settings(tmp_path, name)
    config = replace(config, sampling=replace(config.sampling, max_reply_tokens=40))
    done = play(walker(), make_envs(config.env, 2), "seen", order="think_first", config=config, seed=0)
    assert [(one.game, one.won) for one in done.results] == [("2", True), ("3", True)]
    chance = play_baseline("random", "unseen", config=config, seed=0)
    assert [one.game for one in chance] == GAMES["unseen"]
    assert max(one.steps for one in chance) == 3


def test_no_expert_is_asked_for_where_there_is_none(tmp_path: Path) -> None:
    config = settings(tmp_path, NAMES[0])
    assert [probe.source for probe in probes_for(config)] == ["random", "random"]
    with pytest.raises(ActreError, match="outside_world:make has no scripted expert"):
        play_baseline("rule", "unseen", config=config, seed=0)


def test_states_shipped_for_alfworld_are_no_other_environments(tmp_path: Path) -> None:
    config = settings(tmp_path, NAMES[0])
    config = replace(config, env=replace(config.env, name="outside_world:AnySource", unseen="small/unseen"))
    assert {probe.task_type for probe in probes_for(config)} == {""}


def test_training_and_evaluation_run_from_a_saved_config(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings(tmp_path, NAMES[2])
    run, evaluation = tmp_path / "run", tmp_path / "evaluation"
    assert main(["train", "--config", str(tmp_path / "config.json"), "--out", str(run)]) == 0
    assert [line["iteration"] for line in read_jsonl(run / "metrics.jsonl")] == [1]
    assert len(list(read_jsonl(run / "entropy.jsonl"))) == 2  # before and after
    assert main(["evaluate", "--adapter", str(run / "adapter"), "--out", str(evaluation)]) == 0
    results = list(read_jsonl(evaluation / "evaluation.jsonl"))
    assert [(one["panel"], one["game"]) for one in results] == [
        (panel, game) for panel in ("seen", "unseen") for game in GAMES[panel]
    ]
    assert capsys.readouterr().err.count("Error") == 0


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("no_such_package:make", "cannot be imported: No module named 'no_such_package'.*PYTHONPATH"),
        ("no_such_package:My/Env-v0", "cannot be imported: No module named 'no_such_package'.*PYTHONPATH"),
        ("outside_world:nothing_there", "outside_world has no nothing_there; set env.name to MODULE:FACTORY"),
        ("outside_world:Outside/Window-v0", "Window.*Set env.name to PACKAGE:ID"),
        ("Nobody/Registered-v0", "Nobody.*Set env.name to PACKAGE:ID"),
        (".relative:make", "'.relative' is not a module name"),
        ("outside_world:WORD", "'a word', which cannot be called"),
        ("outside_world:needing", r"without arguments \(missing a required argument: 'size'\)"),
        ("outside_world:nothing", "made None, which is not a gymnasium.Env"),
        ("outside_world:Unseeded", r"reset\(\) of outside_world:Unseeded has to take seed and options"),
        ("outside_world:Gameless", r"give Gameless a method games\(source: str\) -> list\[str\]"),
        ("CartPole-v1", r"give CartPoleEnv a method games\(source: str\) -> list\[str\]"),
        ("outside_world:Numbered", r"games\('train'\) has to return a list of strings, not \[1, 2\]"),
        ("outside_world:Empty", "has no games in 'train': choose other games in the settings"),
    ],
)
def test_a_name_that_leads_to_no_such_environment_is_refused(name: str, says: str) -> None:
    with pytest.raises(ActreError, match=says):
        worlds.list_games(name, "train")


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("outside_world:Bent", r"step\(\) has to return info with 'won'"),
        ("outside_world:Untold", r"reset\(\) has to return info with 'admissible_commands'"),
        ("outside_world:Old", r"step\(\) has to return \(text, reward, terminated, truncated, info\)"),
        ("outside_world:Vague", r"reset\(\) has to have a bool in info\['won'\], not 'not yet'"),
        ("outside_world:Mute", r"reset\(\) has to return a str as the observation, not None"),
    ],
)
def test_an_environment_that_breaks_the_contract_ends_the_run_and_not_an_episode(
    name: str, says: str, tmp_path: Path
) -> None:
    config = settings(tmp_path, name)
    wanted = f"the environment {name} breaks the contract: {says}"
    for tries in (
        lambda: played(config, ["1", "2"]),
        lambda: play_baseline("random", "unseen", config=config, seed=0),
        lambda: probes_for(config),
        lambda: train(config, tmp_path / "run", progress=False),
    ):
        with pytest.raises(BrokenContractError, match=wanted):
            tries()


@pytest.mark.parametrize("name", ["alfwordl", "", "Webshop", "my_module:", ":make", "a b:c", 3, None, ["alfworld"]])
def test_what_can_be_no_name_is_refused_with_the_names_there_are(name: Any, tmp_path: Path) -> None:
    says = r"which is no environment; there are: alfworld, webshop, and any other by its gymnasium id .*import path"
    with pytest.raises(ActreError, match=says):
        EnvConfig(name)
    with pytest.raises(ActreError, match=says):
        preset("tiny", name)
    settings(tmp_path, NAMES[0])
    path = tmp_path / "config.json"
    raw = json.loads(path.read_text())
    raw["config"]["env"]["name"] = name
    path.write_text(json.dumps(raw))
    with pytest.raises(ActreError, match=says):
        load_config(path)


def test_the_command_line_takes_such_a_name_and_refuses_a_wrong_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    where = ["--n", "2", "--panel", "seen", "--out", str(tmp_path / "states.jsonl")]
    assert main(["probes", "--env", NAMES[1], *where]) == 0
    assert main(["probes", "--env", "alfwordl", *where]) != 0
    assert "there are: alfworld, webshop, and any other" in capsys.readouterr().err
