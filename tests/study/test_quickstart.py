"""The quickstart's order of work: what runs, what is not run again, and what a failure leaves."""

import json
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Literal

import pytest

from actre.config import RunConfig, StageConfig, data_folder, save_config
from actre.config.overrides import in_proportion
from actre.config.presets import preset
from actre.study import onerun, quickstart
from actre.types import ActreError

needs_tiny = pytest.mark.skipif(
    not (data_folder() / "tiny" / "neutral" / "config.json").exists(),
    reason="the tiny policy is not in data/tiny/neutral: actre pretrain-tiny makes it",
)


@pytest.fixture
def config() -> RunConfig:
    return replace(preset("tiny"), env_steps=1000)


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Jobs that were started; each marks itself done at once. "report" stands for the report."""
    started: list[str] = []

    def start(job: str, out: Path) -> subprocess.Popen[bytes]:
        started.append(job)
        (out / "logs" / f"{job}.log").write_text("first line\nlast words\n")
        mark = f"import pathlib; pathlib.Path({str(out / 'logs' / (job + '.done'))!r}).touch()"
        return subprocess.Popen([sys.executable, "-c", mark])

    monkeypatch.setattr(quickstart, "_start", start)
    monkeypatch.setattr(quickstart, "_POLL_S", 0.02)
    monkeypatch.setattr("actre.view.report.write", lambda folder: started.append("report") or folder / "report.html")
    return started


def test_think_first_alone_has_the_same_budget_and_only_its_own_order(config: RunConfig) -> None:
    alone = quickstart.arm_config(config, "think_first")
    both = quickstart.arm_config(config, "actre")
    assert [stage.order for stage in alone.stages] == ["think_first"]
    assert [stage.order for stage in both.stages] == ["act_first", "think_first"]
    assert replace(alone, stages=both.stages) == both
    assert alone.iterations == both.iterations


def test_the_arms_start_when_the_policy_before_training_is_measured(
    config: RunConfig, tmp_path: Path, ran: list[str]
) -> None:
    quickstart.quickstart(config, tmp_path / "q", at_once=2)
    assert sorted(ran[:2]) == ["before", "diagnosis"]
    assert ran[2:] == ["think_first", "actre", "episodes", "report"]


def test_what_is_done_is_not_done_again(config: RunConfig, tmp_path: Path, ran: list[str]) -> None:
    quickstart.quickstart(config, tmp_path / "q", at_once=1)
    ran.clear()
    quickstart.quickstart(config, tmp_path / "q", at_once=1)
    assert ran == ["report"]


def test_settings_of_which_nothing_came_may_be_corrected_in_the_same_folder(
    config: RunConfig, tmp_path: Path, ran: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A model that cannot be loaded, for instance."""
    start = quickstart._start

    def fail(job: str, out: Path) -> subprocess.Popen[bytes]:
        (out / "logs" / f"{job}.log").write_text("no such model\n")
        return subprocess.Popen([sys.executable, "-c", "raise SystemExit(2)"])

    wrong = replace(config, model=replace(config.model, name="owner/misspelt"))
    monkeypatch.setattr(quickstart, "_start", fail)
    with pytest.raises(ActreError, match="no such model"):
        quickstart.quickstart(wrong, tmp_path / "q", at_once=1)
    monkeypatch.setattr(quickstart, "_start", start)
    quickstart.quickstart(config, tmp_path / "q", at_once=1)
    assert ran[-1] == "report"
    monkeypatch.setattr(quickstart, "_start", fail)
    (tmp_path / "q" / "logs" / "actre.done").unlink()
    with pytest.raises(ActreError, match="no such model"):
        quickstart.quickstart(config, tmp_path / "q", at_once=1)
    with pytest.raises(ActreError, match="other settings"):  # a later failure leaves what is done
        quickstart.quickstart(wrong, tmp_path / "q", at_once=1)


def test_a_folder_with_other_settings_is_left_alone(config: RunConfig, tmp_path: Path, ran: list[str]) -> None:
    quickstart.quickstart(config, tmp_path / "q", at_once=1)
    with pytest.raises(ActreError, match=r"other settings.*rm -r"):
        quickstart.quickstart(replace(config, seed=1), tmp_path / "q", at_once=1)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("precious")
    with pytest.raises(ActreError, match="not empty"):
        quickstart.quickstart(config, tmp_path / "mine", at_once=1)
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "precious"


def test_a_job_that_fails_shows_the_end_of_its_log(
    config: RunConfig, tmp_path: Path, ran: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(job: str, out: Path) -> subprocess.Popen[bytes]:
        (out / "logs" / f"{job}.log").write_text("first line\nno space left\n")
        return subprocess.Popen([sys.executable, "-c", "raise SystemExit(3)"])

    monkeypatch.setattr(quickstart, "_start", fails)
    with pytest.raises(ActreError, match=r"code 3[\s\S]*no space left"):
        quickstart.quickstart(config, tmp_path / "q", at_once=1)


@pytest.mark.parametrize("interrupted", [False, True])
def test_an_interrupted_arm_goes_on_instead_of_beginning_again(
    config: RunConfig, tmp_path: Path, interrupted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "actre"
    if interrupted:
        folder.mkdir()
        save_config(config, folder / "config.json")
    asked: list[bool] = []

    def train(*_: object, resume: bool, **__: object) -> None:
        asked.append(resume)
        raise ActreError("far enough")

    monkeypatch.setattr("actre.training.train", train)
    monkeypatch.setattr("actre.policies.models.load", lambda model: (None, None))
    monkeypatch.setattr("actre.policies.models.add_lora", lambda *_: None)
    monkeypatch.setattr("actre.entropy.diagnose.training_measure", lambda _: None)
    with pytest.raises(ActreError, match="far enough"):
        quickstart._arm(config, folder, tmp_path)
    assert asked == [interrupted]


def test_shortened_stages_keep_their_proportion() -> None:
    stages = (StageConfig("act_first", 10), StageConfig("think_first", 20))
    assert [stage.iterations for stage in in_proportion(stages, 6)] == [2, 4]
    assert [stage.iterations for stage in in_proportion(stages, 2)] == [1, 1]
    with pytest.raises(ActreError, match="at least one each"):
        in_proportion(stages, 1)
    uneven = (StageConfig("act_first", 5), StageConfig("think_first", 5), StageConfig("act_first", 1))
    for total in range(3, 12):
        lengths = [stage.iterations for stage in in_proportion(uneven, total)]
        assert sum(lengths) == total
        assert min(lengths) >= 1


def test_without_a_budget_of_steps_there_is_no_fair_comparison() -> None:
    with pytest.raises(ActreError, match="add --env-steps N"):
        quickstart.arm_config(replace(preset("tiny"), env_steps=None), "actre")


def test_a_preset_without_a_number_of_steps_is_refused_before_anything_is_done(tmp_path: Path) -> None:
    with pytest.raises(ActreError, match="add --env-steps N"):
        quickstart.quickstart(preset("smollm2"), tmp_path / "out", at_once=1)
    assert not (tmp_path / "out").exists()


def test_a_line_that_was_not_written_whole_is_not_counted(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"iteration": 1, "env_steps": 480}\n{"iterat')
    assert onerun.env_steps_so_far(tmp_path) == 480
    path.write_text('{"iterat')
    assert onerun.env_steps_so_far(tmp_path) == 0


@needs_tiny
@pytest.mark.parametrize("dtype", ["auto", "bfloat16"])
def test_a_run_that_learned_nothing_is_a_result_like_any_other(
    tmp_path: Path, dtype: Literal["auto", "bfloat16"]
) -> None:
    """Its adapter changes nothing, which is no reason to leave its seed out; it is checked in its own type."""
    usual = preset("tiny")
    config = replace(
        usual,
        model=replace(usual.model, dtype=dtype),
        stages=(StageConfig("think_first", 1),),
        env=replace(usual.env, max_steps=2),
        optim=replace(usual.optim, groups=1, group_size=2, success_reward=0.0),
        probe=replace(usual.probe, states=2, thoughts=2),
    )
    for _ in range(2):
        onerun.trained_policy(config, tmp_path / "run")
    found = json.loads((tmp_path / "run" / "adapter_check.json").read_text())
    assert found["from_trained"] == found["from_base"] == 0.0


def test_a_job_started_where_ctrl_c_is_ignored_can_be_stopped_all_the_same() -> None:
    """As in a shell script's background: children inherit that it is ignored, and the quickstart stops them by it."""
    code = (
        "import signal, sys, time; from actre.study import quickstart; "
        "quickstart.run_job = lambda job, out: (print('runs', flush=True), time.sleep(60)); "
        "sys.argv[1:] = ['a', 'b']; sys.exit(quickstart._main())"
    )
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        job = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    finally:
        signal.signal(signal.SIGINT, before)
    assert job.stdout is not None
    assert job.stdout.readline() == "runs\n"
    job.send_signal(signal.SIGINT)
    assert job.wait(30) == 130
