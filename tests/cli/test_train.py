"""`actre train` says what is wrong with its arguments before anything heavy is loaded, and hands on what was asked."""

import argparse
from dataclasses import replace
from pathlib import Path

import pytest

from actre import cli
from actre.cli import train as train_command
from actre.config import RunConfig, StageConfig, save_config
from actre.config.arms import ARMS
from actre.config.estimators import ESTIMATORS
from actre.config.presets import preset
from actre.rollout.evaluate import EpisodeResult, load_evaluation, save_evaluation
from actre.runtime.estimate import gpu
from actre.types import ActreError


def parsed(*arguments: str) -> RunConfig:
    return train_command._config(cli.build_parser("train").parse_args(["train", *arguments]))


def test_without_arguments_the_presets_settings_are_trained() -> None:
    assert parsed() == preset("tiny")


def test_arguments_change_what_they_name_and_nothing_else() -> None:
    config = parsed(
        "--seed", "3", "--stages", "no_think:4,think_first:2", "--env-steps", "900", "--games", "full/train"
    )
    assert (config.seed, config.env_steps, config.env.train) == (3, 900, "full/train")
    assert config.stages == (StageConfig("no_think", 4), StageConfig("think_first", 2))
    assert config.optim == preset("tiny").optim
    assert config.env.unseen == preset("tiny").env.unseen


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("act_frist:3", "unknown order 'act_frist'; the orders are: think_first"),
        ("act_first", "the number of iterations is missing, as in act_first:10"),
        ("act_first:0", "number of iterations is missing"),
        ("act_first:-1", "number of iterations is missing"),
        ("", "unknown order ''"),
    ],
)
def test_stages_that_cannot_be_read_are_explained(text: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(argparse.ArgumentTypeError) as error:
        train_command.stages(text)
    assert said in str(error.value)
    with pytest.raises(SystemExit) as stop:
        cli.main(["train", "--stages", text])
    assert stop.value.code == 2
    assert said in capsys.readouterr().err


def test_an_arm_shares_out_the_iterations_that_the_stages_have() -> None:
    config = parsed("--arm", "tfpi", "--stages", "act_first:3,think_first:4")
    assert config.stages == (StageConfig("no_think", 3), StageConfig("think_first", 4))
    assert parsed("--arm", "actre") == preset("tiny")


def test_any_setting_can_be_given_and_one_there_is_not_is_told() -> None:
    config = parsed("--set", "optim.advantage=gigpo", "--set", "optim.kl_beta=0.01", "--report-to", "tensorboard,wandb")
    assert (config.optim.advantage, config.optim.kl_beta) == ("gigpo", 0.01)
    assert config.report_to == ("tensorboard", "wandb")
    assert parsed("--set", "prompt.history_thoughts=false", "--set", "env_steps=none").env_steps is None
    for wrong, said in {
        "optim.advantag=gigpo": "did you mean advantage",
        "optim.advantage=ppo": "one of grpo, grpo_published",
        "optim.groups=many": "a whole number",
        "optim=3": "a group of settings: write GROUP.NAME",
        "seed.x=3": "a single setting",
        "stages=3": "--stages",
        "seed": "NAME=VALUE",
    }.items():
        with pytest.raises(ActreError, match=said):
            parsed("--set", wrong)


def test_the_settings_of_another_run_are_taken_over(tmp_path: Path) -> None:
    config = replace(preset("smollm2"), seed=4)
    save_config(config, tmp_path / "config.json")
    assert parsed("--config", str(tmp_path / "config.json")) == config
    assert parsed("--config", str(tmp_path / "config.json"), "--seed", "0") == replace(config, seed=0)


def test_a_stages_own_settings_stand_behind_it_and_an_arm_keeps_them() -> None:
    config = parsed("--stages", "act_first:10:until=plateau:plateau_window=3,think_first:5:temperature=0.8")
    assert config.stages[0] == StageConfig("act_first", 10, until="plateau", plateau_window=3)
    assert parsed(
        "--arm", "tfpi", "--stages", "act_first:10:until=plateau:plateau_window=3,think_first:5:temperature=0.8"
    ).stages == (
        StageConfig("no_think", 10, until="plateau", plateau_window=3),
        StageConfig("think_first", 5, temperature=0.8),
    )


def test_a_run_goes_on_with_the_settings_it_began_with(tmp_path: Path) -> None:
    config = replace(preset("tiny"), seed=7)
    save_config(config, tmp_path / "config.json")
    assert parsed("--resume", str(tmp_path)) == config
    with pytest.raises(ActreError, match="leave out --seed"):
        parsed("--resume", str(tmp_path), "--seed", "3")
    with pytest.raises(ActreError, match=r"config\.json does not exist"):
        parsed("--resume", str(tmp_path / "nothing"))


@pytest.mark.parametrize("began", ["logs", "think_first/metrics.jsonl", "actre/metrics.jsonl"])
def test_a_folder_of_runs_is_not_resumed_as_if_it_were_one(tmp_path: Path, began: str) -> None:
    """Its settings were trained from the beginning, over the report of the quickstart."""
    save_config(preset("tiny"), tmp_path / "config.json")
    run = tmp_path / began
    run.parent.mkdir(exist_ok=True)
    if began == "logs":
        run.mkdir()
    else:
        save_config(preset("tiny"), run.parent / "config.json")
        run.touch()
    held = sorted(tmp_path.rglob("*"))
    with pytest.raises(ActreError, match="holds runs and is none itself") as error:
        parsed("--resume", str(tmp_path))
    assert "`actre quickstart`" in str(error.value)
    if began != "logs":
        assert f"--resume {run.parent}" in str(error.value)
        assert parsed("--resume", str(run.parent)) == preset("tiny")
    assert sorted(tmp_path.rglob("*")) == held


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--preset", "tyni"], "unknown preset 'tyni'; did you mean 'tiny'?"),
        (["--preset", "qwen-1.5b-24g"], "did you mean 'qwen-1.5b-24gb'?"),
        (["--preset", "huge"], "unknown preset 'huge'; the presets are: tiny,"),
        (["--env-steps", "0"], "at least 1 "),
    ],
)
def test_settings_that_cannot_be_are_one_message(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["train", *arguments]) == 2
    assert said in capsys.readouterr().err


def test_what_does_not_fit_on_one_device_is_refused_unless_the_launch_cuts_the_weights(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(train_command, "here", lambda: gpu("NVIDIA A100", 40.0))
    with pytest.raises(ActreError, match="--force"):
        train_command._must_fit(preset("qwen-7b"))
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    train_command._must_fit(preset("qwen-7b"))


def test_what_was_asked_for_and_would_be_dropped_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ActreError, match=r"--arm think_first_bonus sets optim\.entropy_coef itself"):
        parsed("--arm", "think_first_bonus", "--set", "optim.entropy_coef=0.05")
    assert parsed("--arm", "actre", "--set", "optim.kl_beta=0.1").optim.kl_beta == 0.1
    save_config(preset("tiny"), tmp_path / "config.json")
    with pytest.raises(ActreError, match="--config already sets"):
        parsed("--config", str(tmp_path / "config.json"), "--env", "webshop")


def test_a_panel_is_played_before_and_after_and_changes_nothing_in_training(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    small = ["optim.groups=1", "optim.group_size=2", "env.max_steps=3", "probe.every=0"]
    command = ["train", "--stages", "think_first:1", "--no-entropy", *(x for s in small for x in ("--set", s))]
    for games in ("3", "0"):
        assert cli.main([*command, "--evaluate", games, "--out", str(tmp_path / games)]) == 0
    said = capsys.readouterr().out
    assert "of the unseen games before training" in said
    played = load_evaluation(tmp_path / "3" / "evaluation.jsonl")
    assert len(played) == 6
    assert not (tmp_path / "0" / "evaluation.jsonl").exists()
    one, other = ((tmp_path / games / "adapter" / "adapter_model.safetensors").read_bytes() for games in ("3", "0"))
    assert one == other
    # a resumed run plays nothing twice
    assert cli.main(["train", "--resume", str(tmp_path / "3")]) == 0
    assert load_evaluation(tmp_path / "3" / "evaluation.jsonl") == played


@pytest.mark.parametrize(("asked", "expected"), [((), 2), (("--evaluate", "5"), 5), (("--evaluate", "0"), 0)])
def test_a_resumed_run_plays_as_many_games_after_training_as_before(
    tmp_path: Path, asked: tuple[str, ...], expected: int
) -> None:
    def games(*arguments: str) -> int:
        return train_command._games(cli.build_parser("train").parse_args(["train", *arguments]), tmp_path)

    assert games() == train_command._GAMES
    assert games("--resume", str(tmp_path)) == train_command._GAMES  # nothing is recorded yet
    before = [EpisodeResult("unseen", "think_first", f"game-{number}", "put", False, 3, 0.0) for number in range(2)]
    save_evaluation(tmp_path / "evaluation.jsonl", before, "before")
    assert games("--resume", str(tmp_path), *asked) == expected
    (tmp_path / "evaluation.jsonl").unlink()
    save_config(preset("tiny"), tmp_path / "config.json")
    (tmp_path / "metrics.jsonl").touch()
    assert games("--resume", str(tmp_path)) == 0  # it began with --evaluate 0


def test_help_and_docs_name_every_arm_and_estimator_with_its_equation_and_source(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit):
        cli.main(["train", "--help"])
    shown = " ".join(capsys.readouterr().out.split())
    rows = (Path(__file__).parents[2] / "docs" / "training.md").read_text().splitlines()
    for name, estimator in ESTIMATORS.items():
        assert f"{name} {estimator.about} [{estimator.source}]" in shown
        assert sum(row.startswith(f"| `{name}` |") for row in rows) == 1
    for name, one in ARMS.items():
        assert f"{name} {one.about}" in shown
        assert any(row.startswith("| ") and name in row.split("|")[1].replace(",", " ").split() for row in rows)


def test_an_estimator_brings_the_settings_of_its_recipe() -> None:
    made = parsed("--estimator", "gspo", "--set", "optim.groups=4")
    assert (made.optim.advantage, made.optim.importance_sampling_level, made.optim.groups) == ("gspo", "sequence", 4)
    assert made == parsed("--set", "optim.advantage=gspo", "--set", "optim.groups=4")
    with pytest.raises(ActreError, match=r"optim.advantage=gspo is a whole recipe, which has clip_low=0.0003"):
        parsed("--estimator", "gspo", "--set", "optim.clip_low=0.2")
