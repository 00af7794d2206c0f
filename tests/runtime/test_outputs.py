"""What was saved by something else stays as it is, whatever a command is told to write, and where."""

import errno
import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from saved_things import build_model, build_run, snapshot

from actre import cli
from actre.entropy import calibration
from actre.envs.webshop import importer
from actre.lessons import form
from actre.policies import models, smollm2
from actre.runtime import outputs
from actre.runtime.outputs import Made
from actre.types import ActreError

STUDY = """
name = "s"
[[part]]
name = "p"
seeds = [3]
[[part.runs]]
arms = ["actre"]
"""


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("built")
    base = build_model(home / "base")
    build_run(home / "a", base)
    build_run(home / "b", base, seed=1)
    (home / "mine" / "deep").mkdir(parents=True)
    (home / "mine" / "thesis.txt").write_text("words")
    (home / "mine" / "deep" / "config.json").write_text('{"mine": 1}')
    (home / "file").write_text("a file")
    (home / "s.toml").write_text(STUDY)
    for name, target in (("to_run", "b"), ("to_mine", "mine"), ("to_file", "file")):
        (home / name).symlink_to(target)
    return home


@pytest.fixture
def saved(built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with two runs of one model, the model, somebody's files; beside it is nothing. The current folder."""
    home = tmp_path / "home"
    shutil.copytree(built, home, symlinks=True)
    for path in home.rglob("*.json"):
        path.write_text(path.read_text().replace(str(built), str(home)))
    monkeypatch.chdir(home)
    return home


_REFUSED = re.compile("nothing was written|nothing is overwritten|not overwritten|File exists|is a file, but a folder")
FOLDERS = (
    *("file", "mine", "mine/deep", "b", "b/adapter", "b/checkpoints", "b/checkpoints/iter-1", "b/checkpoints/iter-9"),
    *("b/adapter/new", "base", "base/new", "to_run", "to_run/adapter", "to_mine", "to_file", ".", "..", "a/../b"),
)
"""Where something else is, as seen from `saved`."""
OTHER = ("--adapter", "a/adapter", "--model", "base", "--preset", "tiny")
FOLDER_COMMANDS: dict[str, list[str]] = {
    "train": ["train", "--stages", "think_first:1", "--no-entropy", "--out"],
    "evaluate": ["evaluate", *OTHER, "--limit", "1", "--panels", "unseen", "--out"],
    "evaluate --baselines": ["evaluate", "--baselines", "rule", "--limit", "1", "--panels", "seen", "--out"],
    "diagnose": ["diagnose", *OTHER, "--states", "2", "--thoughts", "2", "--out"],
    "quickstart": ["quickstart", "--out"],
    "warmstart": ["warmstart", "--preset", "tiny", "--out"],
    "export": ["export", "a", "--out"],
    "export --merge": ["export", "a", "--merge"],
    "pretrain-tiny": ["pretrain-tiny", "--out"],
    "webshop generate": ["webshop", "generate", "--n", "2", "--out"],
    "webshop generate --shipped": ["webshop", "generate", "--shipped", "--out"],
    "games generate --shipped": ["games", "generate", "--shipped", "--out"],
    "notebooks": ["notebooks", "00", "--check", "--budget", "small", "--out"],
}


@pytest.mark.parametrize("place", FOLDERS)
@pytest.mark.parametrize("command", FOLDER_COMMANDS)
def test_a_command_that_writes_a_folder_leaves_what_something_else_saved(
    saved: Path, command: str, place: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = snapshot(saved.parent)
    assert cli.main([*FOLDER_COMMANDS[command], place]) == 2
    assert snapshot(saved.parent) == before
    assert _REFUSED.search(capsys.readouterr().err)


@pytest.mark.parametrize("place", ["a", "a/adapter", "a/checkpoints", "a/trajectories/new", "a/config.json"])
@pytest.mark.parametrize("option", ["--out", "--merge"])
def test_an_export_leaves_its_own_run(saved: Path, option: str, place: str) -> None:
    before = snapshot(saved.parent)
    assert cli.main(["export", "a", option, place]) == 2
    assert snapshot(saved.parent) == before


@pytest.mark.parametrize("command", ["export", "export --merge", "pretrain-tiny"])
def test_the_current_folder_is_not_pulled_from_under_the_shell(
    saved: Path, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (saved / "empty" / "in").mkdir(parents=True)
    monkeypatch.chdir(saved / "empty" / "in")
    command_line = [str(saved / word) if word == "a" else word for word in FOLDER_COMMANDS[command]]
    for place in (".", ".."):
        assert cli.main([*command_line, place]) == 2
    assert (saved / "empty" / "in").is_dir()


FILES = (
    *("file", "mine", "mine/thesis.txt", "b/config.json", "b/metrics.jsonl", "b/adapter/x", "b/checkpoints/x"),
    *("b/trajectories/train_0001.jsonl.gz", "base/config.json", "base/x", "to_file", "to_mine"),
)
FILE_COMMANDS: dict[str, list[str]] = {
    "report": ["report", "a", "--out"],
    "calibrate": ["calibrate", "--repetitions", "2", "--out"],
    "probes": ["probes", "--panel", "small/seen", "--n", "1", "--out"],
    "games generate": ["games", "generate", "--n", "1", "--out"],
}


@pytest.mark.parametrize("place", FILES)
@pytest.mark.parametrize("command", FILE_COMMANDS)
def test_a_command_that_writes_a_file_leaves_what_something_else_saved(
    saved: Path, command: str, place: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if command == "games generate":  # takes such names alone
        for path in [path for path in (saved / place).parent.iterdir() if path.name == Path(place).name]:
            path.rename(path.with_name(f"{path.name}.jsonl"))
        place = f"{place}.jsonl"
    monkeypatch.setattr(calibration, "cells", list)
    before = snapshot(saved.parent)
    assert cli.main([*FILE_COMMANDS[command], place]) == 2
    assert snapshot(saved.parent) == before
    assert _REFUSED.search(capsys.readouterr().err)


def test_games_are_not_written_over_a_panel_that_runs_may_name(tmp_path: Path) -> None:
    out = tmp_path / "mine.jsonl.gz"
    command = ["games", "generate", "--seed", "7", "--out", str(out)]
    assert cli.main([*command, "--n", "3"]) == 0
    before = out.read_bytes()
    assert cli.main([*command, "--n", "3"]) == 0, "the same games are no other ones"
    assert cli.main([*command, "--n", "4"]) == 2
    assert out.read_bytes() == before


def test_probes_are_not_written_over_other_probes(tmp_path: Path) -> None:
    out = tmp_path / "p.jsonl"
    command = ["probes", "--panel", "small/seen", "--out", str(out)]
    assert cli.main([*command, "--n", "2"]) == 0
    before = out.read_bytes()
    assert cli.main([*command, "--n", "2"]) == 0
    assert cli.main([*command, "--n", "2", "--seed", "1"]) == 2
    assert out.read_bytes() == before


def test_a_shop_is_not_written_over_another_nor_beside_the_official_files(tmp_path: Path) -> None:
    out = tmp_path / "shop"
    command = ["webshop", "generate", "--out", str(out), "--n"]
    assert cli.main([*command, "3"]) == 0
    (out / "actre-cache").mkdir()
    before = snapshot(tmp_path)
    assert cli.main([*command, "3"]) == 0
    assert cli.main([*command, "4"]) == 2
    (out / "items_shuffle_1000.json").write_text("[]")
    assert cli.main([*command, "3"]) == 2
    (out / "items_shuffle_1000.json").unlink()
    assert snapshot(tmp_path) == before


def test_an_import_keeps_what_was_not_imported(tmp_path: Path) -> None:
    assert cli.main(["webshop", "generate", "--n", "3", "--out", str(tmp_path)]) == 0
    cache = importer._cache(importer.find_files(tmp_path), False)
    cache.mkdir(parents=True)
    (cache / "products.jsonl").write_text("somebody's products")
    before = snapshot(tmp_path)
    assert cli.main(["webshop", "import", str(tmp_path), "--no-nouns"]) == 2
    assert snapshot(tmp_path) == before
    (cache / "products.jsonl").unlink()
    for _ in range(2):  # and its own import is made anew
        assert cli.main(["webshop", "import", str(tmp_path), "--no-nouns"]) == 0


def test_smollm2_is_not_put_where_something_else_lies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACTRE_CACHE", str(tmp_path))
    monkeypatch.setattr(smollm2, "_from_hub", lambda folder: pytest.fail("asked before it looked"))
    (smollm2.smollm2_folder()).mkdir(parents=True)
    (smollm2.smollm2_folder() / "notes.txt").write_text("mine")
    before = snapshot(tmp_path)
    assert cli.main(["models", "get", "smollm2"]) == 2
    assert snapshot(tmp_path) == before


def test_a_calibration_is_not_written_over_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calibration, "cells", list)
    out = tmp_path / "c.json"
    command = ["calibrate", "--out", str(out), "--repetitions"]
    assert cli.main([*command, "2"]) == 0
    before = out.read_bytes()
    assert cli.main([*command, "3"]) == 2
    assert out.read_bytes() == before
    assert cli.main([*command, "2"]) == 0
    (tmp_path / "d.json.part").write_text("somebody's, without an end of line")
    assert cli.main(["calibrate", "--repetitions", "2", "--out", str(tmp_path / "d.json")]) == 2
    assert (tmp_path / "d.json.part").read_text() == "somebody's, without an end of line"


def test_a_report_is_replaced_by_one_of_the_same_runs_alone(saved: Path) -> None:
    assert cli.main(["report", "a", "--out", "r.html"]) == 0
    assert cli.main(["report", "a", "--out", "r.html"]) == 0
    before = (saved / "r.html").read_bytes()
    assert cli.main(["report", "b", "--out", "r.html"]) == 2
    assert (saved / "r.html").read_bytes() == before
    assert cli.main(["report", "a"]) == cli.main(["report", "a"]) == 0
    (saved / "a" / "report.html").write_text("<p>mine</p>")
    assert cli.main(["report", "a"]) == 2
    assert (saved / "a" / "report.html").read_text() == "<p>mine</p>"
    old = before.rsplit(b"<!-- report of", 1)[0]  # as an earlier version wrote it
    (saved / "a" / "report.html").write_bytes(old)
    assert cli.main(["report", "a"]) == 0


def test_notebooks_are_saved_whole_or_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "n.ipynb"
    form.write(path, {"cells": []})
    before = snapshot(tmp_path)
    monkeypatch.setattr(outputs.os, "replace", _full)
    with pytest.raises(OSError, match="No space"):
        form.write(path, {"cells": [{"cell_type": "markdown", "source": "more"}]})
    assert snapshot(tmp_path) == before


# --- folders that grow ---


def test_a_run_begins_where_the_untrained_policy_was_measured_and_nowhere_else(saved: Path) -> None:
    from actre.config import load_config, save_config
    from actre.config.presets import preset
    from actre.training.runlog import RunLog

    config = preset("tiny")
    for name, line in {"before": {"when": "before"}, "after": {"when": "after"}}.items():
        (saved / name).mkdir()
        save_config(config, saved / name / "config.json")
        (saved / name / "evaluation.jsonl").write_text(json.dumps(line) + "\n")
    RunLog(saved / "before", config)
    with pytest.raises(ActreError, match="not what a run may start in"):
        RunLog(saved / "after", config)  # its evaluation would pass for the trained policy's
    (saved / "settings").mkdir()
    save_config(config, saved / "settings" / "config.json")
    with pytest.raises(ActreError, match="not what a run may start in"):
        RunLog(saved / "settings", preset("smollm2"))  # somebody keeps settings there
    assert load_config(saved / "settings" / "config.json") == config
    RunLog(saved / "new", preset("smollm2"))  # ends before its first iteration, for a word misspelt, say
    RunLog(saved / "new", config)
    assert load_config(saved / "new" / "config.json") == config


def test_a_quickstart_does_not_go_on_in_a_run_of_the_same_settings(saved: Path) -> None:
    from actre.config import save_config
    from actre.config.presets import preset

    save_config(preset("tiny"), saved / "b" / "config.json")
    before = snapshot(saved)
    assert cli.main(["quickstart", "--out", "b"]) == 2
    assert snapshot(saved) == before


@pytest.mark.parametrize("command", ["evaluate", "diagnose", "train"])
def test_nothing_is_measured_or_trained_into_a_quickstart(saved: Path, command: str) -> None:
    from actre.config import save_config
    from actre.config.presets import preset

    (saved / "q" / "logs").mkdir(parents=True)
    save_config(preset("tiny"), saved / "q" / "config.json")
    before = snapshot(saved)
    words = [word for word in FOLDER_COMMANDS[command] if word not in OTHER]
    assert cli.main([*words, "q"]) == 2
    assert snapshot(saved) == before


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_runs_evaluation_before_training_is_the_untrained_policys_and_after_it_its_adapters(
    saved: Path, when: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = snapshot(saved)
    policy = ["--adapter", "b/adapter"] if when == "before" else []
    command = ["evaluate", *policy, "--model", "base", "--limit", "1", "--panels", "unseen", "--when", when]
    assert cli.main([*command, "--out", "b"]) == 2
    assert "--when before" in capsys.readouterr().err
    assert snapshot(saved) == before


def test_an_evaluation_is_not_replaced_by_one_of_fewer_games(saved: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["evaluate", "--model", "base", "--panels", "unseen", "--orders", "no_think", "--out", "e", "--limit"]
    assert cli.main([*command, "2"]) == 0
    before = snapshot(saved)
    assert cli.main([*command, "1"]) == 2
    assert "an evaluation of 2 games of unseen" in capsys.readouterr().err
    assert snapshot(saved) == before


def test_baselines_of_another_panel_stay(tmp_path: Path) -> None:
    command = ["evaluate", "--baselines", "rule", "--limit", "2", "--out", str(tmp_path), "--panels"]
    for panel in ("seen", "unseen", "seen"):
        assert cli.main([*command, panel]) == 0
    lines = [json.loads(line) for line in (tmp_path / "baselines.jsonl").read_text().splitlines()]
    assert sorted(line["panel"] for line in lines) == ["seen"] * 2 + ["unseen"] * 2


@pytest.mark.parametrize("place", ["o", "o/s", "o/s/p/actre-grpo-seed-3", "o/s/p/actre-grpo-seed-3/adapter"])
def test_a_study_leaves_what_something_else_saved(saved: Path, place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from actre.study import runner

    monkeypatch.setattr(runner, "_start", lambda *given: pytest.fail("started before it looked"))
    (saved / place).parent.mkdir(parents=True, exist_ok=True)
    for found in ("file", "mine", "base"):
        if place == "o" and found != "file":  # a study's own folder lies in it, beside other things
            continue
        (saved / place).symlink_to(saved / found)
        before = snapshot(saved.parent)
        assert cli.main(["study", "s.toml", "--out", "o", "--jobs", "1"]) == 2, found
        assert snapshot(saved.parent) == before
        (saved / place).unlink()


def test_lines_of_other_settings_and_weights_stay_in_a_results_file(saved: Path) -> None:
    from study_records import fake_record

    from actre.study.file import load_study
    from actre.study.record import finished, load_records, save_record

    path = saved / "results" / "s.jsonl"
    study = load_study(saved / "s.toml")
    (run,) = study.runs
    other = fake_record(run, 0.25)
    other["config"]["optim"]["learning_rate"] = 7.0
    for line in (other, fake_record(run, 0.5, model="old"), fake_record(run, 0.5), fake_record(run, 0.75)):
        save_record(path, line)
    assert len(load_records(path)) == 3, "the last is the same run's, made again"
    assert finished(study, path.parent)[run.key] == json.loads(json.dumps(fake_record(run, 0.75)))


def test_a_page_of_results_replaces_that_of_the_same_studies_alone(saved: Path) -> None:
    from study_records import fake_record

    from actre.study.file import load_study
    from actre.study.record import save_record

    shutil.copy("s.toml", "t.toml")
    save_record(saved / "o" / "s.jsonl", fake_record(load_study(saved / "s.toml").runs[0], 0.5))
    command = ["--out", "o", "--write", "page.md"]
    assert cli.main(["study", "s.toml", *command]) == cli.main(["study", str(saved / "s.toml"), *command]) == 0
    before = (saved / "page.md").read_bytes()
    assert cli.main(["study", "t.toml", *command]) == 2
    assert cli.main(["study", "s.toml", "t.toml", *command]) == 2
    assert (saved / "page.md").read_bytes() == before
    for place in ("file", "to_file", "b/metrics.jsonl", "b/adapter/x.md", "base/config.json"):
        before_all = snapshot(saved)
        assert cli.main(["study", "s.toml", "--out", "o", "--write", place]) == 2
        assert snapshot(saved) == before_all


# --- folders made as a whole ---


def test_an_export_is_made_again_by_the_same_run_alone_wherever_the_run_lies(saved: Path) -> None:
    command = ["--out", "given", "--merge", "whole"]
    assert cli.main(["export", "a", *command]) == cli.main(["export", "a", *command]) == 0
    before = snapshot(saved)
    assert cli.main(["export", "b", "--out", "given"]) == 2
    assert cli.main(["export", "b", "--merge", "whole"]) == 2
    assert cli.main(["export", "a", "--out", "whole"]) == 2, "made by another command"
    assert snapshot(saved) == before
    (saved / "a").rename(saved / "moved")
    assert cli.main(["export", "moved", *command]) == 0
    build_run(saved / "a", models.ModelConfig(name=str(saved / "base"), lora_rank=4))
    assert cli.main(["export", "a", "--out", "given"]) == 2, "another run, of the same settings, in the old one's place"


@pytest.mark.parametrize("harm", ["changed", "added", "added folder", "hidden"])
def test_an_export_in_which_something_was_changed_stays(
    saved: Path, harm: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["export", "a", "--out", "given"]) == 0
    name = {"changed": "README.md", "added": "notes.txt", "added folder": "more", "hidden": ".git"}[harm]
    (saved / "given" / name).mkdir() if harm == "added folder" else (saved / "given" / name).write_text("mine")
    before = snapshot(saved)
    assert cli.main(["export", "a", "--out", "given"]) == 2
    assert f"holds {name}, changed or added since" in capsys.readouterr().err
    assert snapshot(saved) == before


def test_a_link_to_an_export_stays_a_link(saved: Path) -> None:
    assert cli.main(["export", "a", "--out", "given"]) == 0
    (saved / "link").symlink_to("given")
    assert cli.main(["export", "a", "--out", "link"]) == 0
    assert (saved / "link").is_symlink()
    assert (saved / "given" / "adapter_config.json").exists()


@pytest.mark.parametrize(("out", "merge"), [("x", "x"), ("x", "x/y"), ("x/y", "x"), ("./x/", "y/../x")])
def test_the_adapter_and_the_merged_model_do_not_lie_in_each_other(saved: Path, out: str, merge: str) -> None:
    before = snapshot(saved)
    assert cli.main(["export", "a", "--out", out, "--merge", merge]) == 2
    assert snapshot(saved) == before


def _full(*given: Any) -> None:
    raise OSError(errno.ENOSPC, "No space left on device", "somewhere")


def _interrupted(*given: Any) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize("stop", [_full, _interrupted])
@pytest.mark.parametrize("moment", ["writing", "first renaming", "second renaming"])
def test_a_replacement_that_is_stopped_leaves_the_old_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str, stop: Callable[..., None]
) -> None:
    folder, made = tmp_path / "f", Made("c", "r")
    with outputs.replacing(folder, made) as part:
        (part / "old").write_text("old")
    before, rename = snapshot(tmp_path), os.replace

    def renaming(one: Path, other: Path) -> None:
        if one.name == "new" if moment == "second renaming" else one == folder and moment == "first renaming":
            stop()
        rename(one, other)

    def replace() -> None:
        with outputs.replacing(folder, made) as part:
            (part / "new").write_text("new")
            if moment == "writing":
                stop()

    monkeypatch.setattr(outputs.os, "replace", renaming)
    with pytest.raises((OSError, KeyboardInterrupt)):
        replace()
    assert snapshot(tmp_path) == before


def test_one_that_was_killed_between_the_renamings_is_put_back_by_the_next(tmp_path: Path) -> None:
    folder, made = tmp_path / "f", Made("c", "r")
    with outputs.replacing(folder, made) as part:
        (part / "old").write_text("old")
    before = snapshot(folder)
    beside = tmp_path / ".f-abcd1234"
    (beside / "new").mkdir(parents=True)
    folder.rename(beside / "old")
    (tmp_path / ".f-somebody").mkdir()  # not ours
    with pytest.raises(ActreError, match="for another run"), outputs.replacing(folder, Made("c", "other")):
        pass
    assert snapshot(folder) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == [".f-somebody", "f"]


def test_a_full_disk_in_a_merge_leaves_the_merged_model(
    saved: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from safetensors import SafetensorError
    from transformers import PreTrainedModel

    def full(*given: Any, **named: Any) -> None:
        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    assert cli.main(["export", "a", "--merge", "whole"]) == 0
    before = snapshot(saved / "whole")
    with monkeypatch.context() as patched:
        patched.setattr(PreTrainedModel, "save_pretrained", full)
        assert cli.main(["export", "a", "--merge", "whole"]) == 2
    assert "the disk is full" in capsys.readouterr().err
    assert snapshot(saved / "whole") == before


def test_a_merge_in_python_replaces_what_was_merged_of_the_same_adapter_alone(saved: Path) -> None:
    from actre import adapters

    for _ in range(2):
        adapters.merge("a/adapter", "whole")
    before = snapshot(saved)
    for out in ("whole", "base", "a/adapter", "mine"):
        with pytest.raises(ActreError, match="nothing was written"):
            adapters.merge("b/adapter", out)
    assert snapshot(saved) == before


def test_a_tiny_policy_is_replaced_by_one_of_the_same_recipe_alone(tmp_path: Path) -> None:
    import dataclasses

    from actre.organisms import command
    from actre.organisms.recipes import RECIPES

    recipe = RECIPES["neutral"]
    (tmp_path / "made.json").write_text(json.dumps({"recipe": dataclasses.asdict(recipe)}))
    command._must_be_replaceable(tmp_path, recipe)
    with pytest.raises(ActreError, match="not just a policy made by this recipe"):
        command._must_be_replaceable(tmp_path, dataclasses.replace(recipe, seed=5))
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(ActreError, match="not just a policy made by this recipe"):
        command._must_be_replaceable(tmp_path, recipe)


def test_a_check_of_a_policy_leaves_a_card_that_somebody_wrote(tmp_path: Path) -> None:
    (tmp_path / "made.json").write_text("{}")
    (tmp_path / "README.md").write_text("my own words")
    before = snapshot(tmp_path)
    assert cli.main(["pretrain-tiny", "--check", str(tmp_path)]) == 2
    assert snapshot(tmp_path) == before


@given(st.binary(max_size=40), st.binary(max_size=40))
def test_a_file_with_other_content_is_never_replaced_unasked(
    tmp_path_factory: pytest.TempPathFactory, old: bytes, new: bytes
) -> None:
    path = tmp_path_factory.mktemp("put") / "file"
    path.write_bytes(old)
    if not old or outputs.same(old, new):
        assert outputs.put(path, new).read_bytes() == new
    else:
        with pytest.raises(ActreError, match="nothing was written"):
            outputs.put(path, new)
        assert path.read_bytes() == old
    assert [one.name for one in path.parent.iterdir()] == ["file"]
