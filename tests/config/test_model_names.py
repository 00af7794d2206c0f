"""A base model in a local folder: found again from everywhere, shown by name, and never asked of a hub."""

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from environments import asks_no_hub
from saved_things import build_model, build_run

from actre import adapters, cli
from actre.cli import diagnose as diagnose_command
from actre.cli import train as train_command
from actre.config import ModelConfig, load_config, model_names, save_config
from actre.config.model_names import is_local, is_on_hub, settled, shown
from actre.config.presets import preset
from actre.policies import models
from actre.training import checkpoints, runlog
from actre.types import ActreError

SPELLED = (
    *("my-model", "./my-model", "my-model/", "my-model/../my-model", "link", "owner/model", "./owner/model"),
    *("~/my-model", "$PLACE/my-model", "{home}/my-model", "{home}/other/../my-model/."),
)
"""Ways to name a model that is here. owner/model looks like a hub's name."""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(build_model(tmp_path_factory.mktemp("made") / "m").name)


@pytest.fixture
def home(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home with models in it, which is the current folder."""
    home = tmp_path / "home"
    for name in ("my-model", "owner/model"):
        shutil.copytree(made, home / name)
    (home / "other").mkdir()
    (home / "link").symlink_to("my-model")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("PLACE", str(home))
    monkeypatch.chdir(home)
    return home


def named(home: Path, name: str) -> tuple[str, str]:
    """A name as it is typed, and the folder it means."""
    return name.format(home=home), str(home / ("owner/model" if "owner" in name else "my-model"))


@pytest.mark.parametrize("name", SPELLED)
def test_a_local_model_is_kept_by_its_absolute_path_however_it_is_named(home: Path, name: str) -> None:
    typed, folder = named(home, name)
    assert settled(typed) == settled(settled(typed)) == folder
    assert models.find(typed) is not None
    assert (is_local(typed), is_on_hub(typed)) == (True, False)
    assert shown(folder) == Path(folder).name
    for words in (["train", "--model", typed], ["train", "--set", f"model.name={typed}"]):
        assert train_command._config(cli.build_parser("train").parse_args(words)).model.name == folder
    for command in ("evaluate", "diagnose"):
        args = cli.build_parser(command).parse_args([command, "--model", typed])
        assert diagnose_command.policy_config(args).model.name == folder


@pytest.mark.parametrize("name", ["tiny", "tiny/narrow", "smollm2", "nobody/no-such-model", "Qwen/Qwen2.5-0.5B"])
def test_a_name_that_is_no_folder_here_stays(home: Path, name: str) -> None:
    assert settled(name) == shown(name) == name
    assert not is_local(name)
    assert is_on_hub(name) == ("/" in name and not name.startswith("tiny/"))


@pytest.mark.parametrize("name", ["my-model/../my-model", "./my-model", "owner/model", "link"])
def test_training_from_python_keeps_the_absolute_path_too(
    home: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from actre.training import run as conduct

    monkeypatch.setattr(conduct, "readable", _interrupted)
    config = preset("tiny")
    with pytest.raises(KeyboardInterrupt):
        conduct.train(replace(config, model=replace(config.model, name=name)), home / "run")
    assert load_config(home / "run" / "config.json").model.name == named(home, name)[1].replace("link", "my-model")


def test_a_run_that_was_begun_by_a_relative_name_goes_on_by_the_absolute_one(home: Path) -> None:
    relative = replace(preset("tiny"), model=ModelConfig(name="my-model/../my-model"))
    save_config(relative, home / "config.json")
    runlog.RunLog(home, model_names.settle(relative), resume=True)
    other = replace(relative, model=ModelConfig(name="owner/model"))
    with pytest.raises(ActreError, match=r"model\.name"):
        runlog.RunLog(home, model_names.settle(other), resume=True)


def _interrupted(*given: object, **named: object) -> None:
    raise KeyboardInterrupt


def _old_run(home: Path, name: str) -> Path:
    """A run as an earlier version left it: its model's name is what was typed."""
    run = build_run(home / "run", ModelConfig(name=name, lora_rank=4))
    for path in ("adapter/adapter_config.json", "adapter/actre.json"):
        (run / path).write_text((run / path).read_text().replace(str(home / "my-model"), name))
    return run


@pytest.mark.parametrize("name", ["my-model/../my-model", "./my-model", "sub/my-model"])
@pytest.mark.parametrize("command", ["export", "evaluate", "resume"])
def test_an_old_run_whose_model_is_not_found_says_where_it_looked_and_takes_a_path(
    home: Path, name: str, command: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (home / "sub").mkdir()
    shutil.copytree(home / "my-model", home / "sub" / "my-model")
    run = _old_run(home, name)
    monkeypatch.chdir(home / "other")
    words = {
        "export": ["export", str(run)],
        "evaluate": ["evaluate", "--adapter", str(run / "adapter"), "--limit", "1", "--panels", "unseen", "--out", "e"],
        "resume": ["train", "--resume", str(run), "--no-entropy"],
    }[command]
    assert cli.main(words) == 2
    said = capsys.readouterr().err
    assert f"there is no folder {os.path.abspath(home / 'other' / name)}" in said
    assert "config.json ('name' under 'model')" in said
    settings = run / "config.json"
    settings.write_text(settings.read_text().replace(f'"name": "{name}"', f'"name": "{home / "my-model"}"'))
    if command == "resume":  # the model is loaded by then; going on is tried elsewhere
        monkeypatch.setattr(checkpoints, "latest", _interrupted)
    assert cli.main(words) == (130 if command == "resume" else 0)


def test_a_checkpoint_is_of_the_run_wherever_its_model_is_now(tmp_path: Path) -> None:
    import toy_training as toy

    from actre.training.run import run

    config = toy.config()
    with pytest.raises(KeyboardInterrupt):
        run(toy.stop_at(toy.trainer(tmp_path, config), 2))
    moved = replace(config, model=replace(config.model, name="/somewhere/else"))
    settings = json.loads((tmp_path / "config.json").read_text())
    settings["config"]["model"]["name"] = "/somewhere/else"
    (tmp_path / "config.json").write_text(json.dumps(settings))
    run(toy.trainer(tmp_path, moved, resume=True))
    others = toy.model(seed=7)
    with pytest.raises(ActreError, match="does not fit the weights"):
        toy.trainer(tmp_path, moved, policy=others, resume=True)


def test_an_adapter_of_a_local_model_loads_from_everywhere(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = build_run(home / "run", ModelConfig(name="./my-model", lora_rank=4))
    monkeypatch.chdir("/")
    assert adapters.load(run / "adapter").model is not None


def test_the_card_names_a_local_model_by_its_name_and_fingerprint(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = build_run(home / "run", ModelConfig(name="my-model/../my-model", lora_rank=4))
    assert cli.main(["export", str(run), "--merge", "merged"]) == 0
    assert f"its base model is the local folder {home / 'my-model'}" in capsys.readouterr().out
    digest = json.loads((run / "export" / "actre.json").read_text())["fingerprint"]
    for card in ((run / "export" / "README.md").read_text(), (home / "merged" / "README.md").read_text()):
        assert (
            f"Base model: my-model, a local folder on the training machine; fingerprint of its weights: {digest}"
            in card
        )
        assert "base_model:" not in card, "a hub would look it up"
        assert str(home) not in card


def test_the_card_names_a_hubs_model_for_the_hub(home: Path) -> None:
    run = build_run(home / "run", ModelConfig(name="nobody/no-such-model", lora_rank=4))
    assert "base_model: nobody/no-such-model\n" in (run / "adapter" / "README.md").read_text()


@pytest.mark.slow
def test_an_export_asks_no_hub_for_a_model_that_is_not_from_one(home: Path) -> None:
    run = build_run(home / "run", ModelConfig(name="owner/model", lora_rank=4))
    assert "Could not find" not in asks_no_hub("export", str(run), "--merge", str(home / "merged"))


@pytest.mark.parametrize("name", ["tiny", "smollm2", "my-model", "nobody/no-such-model"])
def test_peft_asks_a_hub_for_a_hubs_model_alone(home: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    where = "peft.utils.save_and_load.check_file_exists_on_hf_hub"
    monkeypatch.setattr(where, lambda model, file: asked.append(model))
    run = build_run(home / "run", ModelConfig(name=str(home / "my-model"), lora_rank=4))
    model, _ = adapters.load(run / "adapter")
    for config in model.peft_config.values():
        config.base_model_name_or_path = name  # as an adapter that was loaded names it
    adapters.export(model, home / "out", ModelConfig(name=name))
    assert set(asked) == ({name} if "/" in name else set())
    assert all(config.base_model_name_or_path == name for config in model.peft_config.values())


@pytest.mark.slow
def test_a_run_on_a_relative_model_is_exported_and_resumed_from_another_folder(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from actre.config import data_folder

    shutil.copytree(data_folder() / "tiny" / "neutral", home / "tiny-one")
    small = ["--set", "optim.groups=2", "--set", "optim.group_size=2", "--set", "env.max_steps=2"]
    words = ["train", "--model", "./tiny-one", "--stages", "act_first:1", "--no-entropy", *small]
    assert cli.main([*words, "--out", "r"]) == 0
    monkeypatch.chdir("/")
    assert cli.main(["export", str(home / "r")]) == 1, "one iteration without a win changes nothing"
    assert cli.main(["train", "--resume", str(home / "r")]) == 0
