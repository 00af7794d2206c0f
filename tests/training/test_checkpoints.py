"""Nothing is lost: an interrupted run that goes on ends as an uninterrupted one, bit for bit; what cannot go on says
why.
"""

import errno
import json
import multiprocessing
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
import toy_training as toy

from actre.config import CheckpointConfig, RunConfig, StageConfig, load_config
from actre.config.presets import preset
from actre.training import StagedTrainer, checkpoints, collect, train
from actre.training import run as conduct
from actre.training.run import run
from actre.training.runlog import RunLog
from actre.training.stages import Plan
from actre.types import ActreError, read_jsonl

TIMES = {"seconds", "rollout_s", "update_s", "measure_s", "tokens_per_s", "peak_memory_gb"}
CONFIG = replace(
    toy.config(
        updates_per_batch=2,
        schedule="linear",
        warmup_iterations=1,
        schedule_at_switch="restart",
        optimizer_at_switch="reset",
        advantage="gigpo",
    ),
    stages=(StageConfig("act_first", 3), StageConfig("think_first", 3)),
    checkpoint=CheckpointConfig(every=1, keep=2),
)


def make(out: Path, config: RunConfig = CONFIG, *, resume: bool = False, games: Any = toy.TARGET) -> StagedTrainer:
    model = toy.model()

    def measure(done: int, stage: int) -> dict[str, Any]:
        weights = sum(p.double().abs().sum().item() for p in model.parameters() if p.requires_grad)
        return {"weights": weights, "stream": random.random()}

    return toy.trainer(out, config, policy=model, games=games, resume=resume, measure=measure)


def go_on(out: Path, config: RunConfig = CONFIG) -> None:
    run(make(out, config, resume=True))


def left(out: Path) -> dict[str, Any]:
    """All that a run leaves, times and library versions apart."""
    lines = {
        name: json.dumps([{k: v for k, v in m.items() if k not in TIMES} for m in read_jsonl(out / name)])
        for name in ("metrics.jsonl", "entropy.jsonl")
    }
    files = [out / "adapter" / "adapter_model.safetensors"]
    files += sorted((out / "trajectories").iterdir()) + sorted((out / "checkpoints").glob("*/*.safetensors"))
    return {**lines, **{str(path.relative_to(out)): path.read_bytes() for path in files}}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An uninterrupted run."""
    out = tmp_path_factory.mktemp("whole") / "run"
    run(make(out))
    return out


def assert_same(out: Path, whole: Path) -> None:
    ours, theirs = left(out), left(whole)
    assert ours.keys() == theirs.keys()
    for name, value in theirs.items():
        assert ours[name] == value, f"{name} differs"


# --- killed ---


def in_child(work: Callable[[], object]) -> "multiprocessing.context.ForkProcess":
    """Start work in a copy of this process: what has been imported need not be imported again."""
    child = multiprocessing.get_context("fork").Process(target=work)
    child.start()
    return child


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def dying_at(trainer: StagedTrainer, moment: str) -> None:
    """Make the process of this trainer be killed at the named moment of iteration 5."""
    play, step, replaced = trainer._play, trainer.training_step, checkpoints.os.replace
    updates: list[int] = []

    def playing(wanted: Plan) -> Any:
        if wanted.iteration == 5 and moment == "rollout":
            die()
        return play(wanted)

    def training(*arguments: Any) -> Any:
        updates.append(1)
        if len(updates) == 10 and moment == "between updates":
            die()
        return step(*arguments)

    def replacing(old: Any, new: Any) -> None:
        if str(new).endswith("iter-5") and moment == "checkpoint written, not named":
            die()
        replaced(old, new)
        if str(new).endswith("iter-5") and moment == "checkpoint named, older ones there":
            die()

    def metrics(record: dict[str, Any]) -> None:
        if record["iteration"] == 5 and moment == "half a line":
            with trainer.run_log.metrics_path.open("a") as file:
                file.write('{"iteration": 5, "sta')
            die()
        write(record)

    write = trainer.run_log.metrics
    trainer._play, trainer.training_step = playing, training  # type: ignore[method-assign]
    trainer.run_log.metrics = metrics  # type: ignore[method-assign]
    checkpoints.os.replace = replacing  # type: ignore[assignment]


MOMENTS = (
    *("rollout", "between updates", "half a line"),
    *("checkpoint written, not named", "checkpoint named, older ones there"),
)
forks = pytest.mark.skipif(sys.platform != "linux", reason="forks this process")


def test_a_run_with_products_in_bfloat16_goes_on_bit_for_bit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny = preset("tiny")
    config = replace(
        tiny,
        env=replace(tiny.env, max_steps=3),
        stages=(StageConfig("act_first", 1), StageConfig("think_first", 1)),
        optim=replace(tiny.optim, groups=2, group_size=4, products="bfloat16"),
        sampling=replace(tiny.sampling, max_reply_tokens=20, products="bfloat16"),
        probe=replace(tiny.probe, every=0),
    )
    go = partial(train, config, measure=lambda *_: {}, progress=False)
    go(tmp_path / "whole")
    first = next(iter(read_jsonl(tmp_path / "whole" / "metrics.jsonl")))
    assert 0 < first["engine_gap_nats"] < 0.05  # rounded otherwise, but the same policy
    played, calls = collect.rollout, []

    def interrupted(*arguments: Any, **named: Any) -> Any:
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return played(*arguments, **named)

    monkeypatch.setattr(collect, "rollout", interrupted)
    with pytest.raises(KeyboardInterrupt):
        go(tmp_path / "run")
    go(tmp_path / "run", resume=True)
    assert_same(tmp_path / "run", tmp_path / "whole")


@forks
@pytest.mark.parametrize("moment", MOMENTS)
def test_a_killed_run_that_goes_on_ends_as_an_uninterrupted_one(tmp_path: Path, whole: Path, moment: str) -> None:
    out = tmp_path / "run"

    def work() -> None:
        trainer = make(out)
        dying_at(trainer, moment)
        run(trainer)

    child = in_child(work)
    child.join(120)
    assert child.exitcode == -signal.SIGKILL
    assert not (out / "adapter").exists()
    go_on(out)
    assert_same(out, whole)


@forks
@pytest.mark.slow
def test_killed_at_ten_random_moments_it_still_ends_the_same(tmp_path: Path, whole: Path) -> None:
    out, draw, kills = tmp_path / "run", random.Random(7), 0
    begun = time.monotonic()
    shutil.rmtree(tmp_path / "timing", ignore_errors=True)
    child = in_child(lambda: run(make(tmp_path / "timing")))
    child.join()
    takes = time.monotonic() - begun
    make(out)  # the folder is there, and nothing in it yet
    for _ in range(40):
        child = in_child(lambda: go_on(out))
        child.join(draw.uniform(0.0, 0.8) * takes)
        if child.exitcode is None:
            child.kill()
            kills += 1
        child.join()
        if kills == 10:
            break
        if (out / "adapter").exists():  # finished: another run has to serve
            assert_same(out, whole)
            shutil.rmtree(out)
            make(out)
    assert kills == 10
    go_on(out)
    assert_same(out, whole)


# --- asked to stop ---


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("when", ["rollout", "update"])
def test_a_signal_ends_the_run_with_a_checkpoint_of_its_last_whole_iteration(
    tmp_path: Path, whole: Path, number: signal.Signals, when: str
) -> None:
    config = replace(CONFIG, checkpoint=CheckpointConfig(every=0))
    trainer = make(tmp_path / "run", config)
    play, finish, updates = trainer._play, trainer.finish_update, []

    def playing(wanted: Plan) -> Any:
        if wanted.iteration == 3 and when == "rollout":
            os.kill(os.getpid(), number)
        return play(wanted)

    def finishing(logs: dict[str, float]) -> bool:
        updates.append(1)
        if len(updates) == 5 and when == "update":  # the first of the two updates of iteration 3
            os.kill(os.getpid(), number)
        return finish(logs)

    trainer._play, trainer.finish_update = playing, finishing  # type: ignore[method-assign]
    before = signal.getsignal(number)
    done = {"rollout": 2, "update": 3}[when]  # an update that has begun is finished first
    with pytest.raises(
        KeyboardInterrupt, match=rf"stopped after {done} iterations.*iter-{done}\. To resume: .*--resume"
    ):
        run(trainer)
    assert signal.getsignal(number) is before
    assert [p.name for p in (tmp_path / "run" / "checkpoints").iterdir()] == [f"iter-{done}"]
    go_on(tmp_path / "run", config)
    ours, theirs = left(tmp_path / "run"), left(whole)
    shared = [name for name in theirs if not name.startswith("checkpoints")]
    assert all(ours[name] == theirs[name] for name in shared)


def test_a_run_stopped_before_its_first_iteration_begins_again(tmp_path: Path, whole: Path) -> None:
    with pytest.raises(KeyboardInterrupt, match="after 0 iterations"):
        run(toy.stop_at(make(tmp_path / "run"), 1))
    assert len(list(read_jsonl(tmp_path / "run" / "entropy.jsonl"))) == 1
    go_on(tmp_path / "run")
    assert_same(tmp_path / "run", whole)


def test_a_finished_run_is_left_as_it_is_and_its_weights_are_loaded(tmp_path: Path, whole: Path) -> None:
    out = shutil.copytree(whole, tmp_path / "run")
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file()}
    trainer = make(out, resume=True)
    result = run(trainer)
    assert (result.iterations, result.env_steps) == (6, 6 * 32)
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file()} == before
    assert trainer._play.plans == []  # type: ignore[attr-defined]
    fresh = dict(toy.model().named_parameters())
    assert any(not torch.equal(p, fresh[name]) for name, p in trainer.policy_model.named_parameters())


@forks
def test_a_run_that_another_process_trains_is_left_to_it(tmp_path: Path) -> None:
    out = tmp_path / "run"
    make(out)
    context = multiprocessing.get_context("fork")
    began, ends = context.Event(), context.Event()

    def holding() -> None:
        with make(out, resume=True).run_log.held():
            began.set()
            ends.wait(60)

    child = context.Process(target=holding)
    child.start()
    assert began.wait(60)
    before = snapshot(out)
    with pytest.raises(ActreError, match="another process is training in"):
        make(out, resume=True)
    assert snapshot(out) == before
    ends.set()
    child.join(60)
    make(out, resume=True)


def test_a_second_process_makes_no_engine_in_the_folder_of_the_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Path] = []
    monkeypatch.setattr(conduct, "engine_for", lambda *args: made.append(args[3]))
    out = tmp_path / "run"
    with make(out).run_log.held(), pytest.raises(ActreError, match="another process is training in"):
        train(CONFIG, out, model=toy.model(), tokenizer=toy.tokenizer(), resume=True, progress=False)
    assert made == []


# --- what is kept ---


def test_the_last_ones_are_kept_and_each_stages_last_without_a_pickle(whole: Path) -> None:
    folders = list((whole / "checkpoints").iterdir())
    assert sorted(folder.name for folder in folders) == ["iter-3", "iter-5", "iter-6"]
    for folder in folders:
        assert {path.suffix for path in folder.iterdir()} == {".safetensors", ".json", ".md"}
        assert (folder / "adapter_config.json").exists(), "a checkpoint is an adapter like any other"


# --- what cannot go on ---


@pytest.fixture
def stopped(tmp_path: Path) -> Path:
    """A run interrupted in its fifth iteration, with checkpoints iter-3 and iter-4."""
    with pytest.raises(KeyboardInterrupt):
        run(toy.stop_at(make(tmp_path / "run"), 5))
    return tmp_path / "run"


def snapshot(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    at = data.index(b'"iteration": 4') + 13 if path.suffix == ".json" else len(data) // 2
    data[at] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("harm", [truncate, flip, Path.unlink], ids=lambda f: f.__name__)
@pytest.mark.parametrize("name", ["state.json", "training.safetensors", "adapter_model.safetensors"])
def test_a_damaged_checkpoint_is_told_and_nothing_is_touched(
    stopped: Path, name: str, harm: Callable[[Path], None]
) -> None:
    harm(stopped / "checkpoints" / "iter-4" / name)
    before = snapshot(stopped)
    with pytest.raises(ActreError, match=rf"iter-4 is damaged: {name}.*rm -r .*iter-4"):
        make(stopped, resume=True)
    assert snapshot(stopped) == before


def test_without_the_damaged_one_the_run_goes_on_from_the_one_before(stopped: Path, whole: Path) -> None:
    truncate(stopped / "checkpoints" / "iter-4" / "training.safetensors")
    shutil.rmtree(stopped / "checkpoints" / "iter-4")
    trainer = make(stopped, resume=True)
    assert trainer.run_state.iteration == 3
    run(trainer)
    assert_same(stopped, whole)


def test_changed_settings_are_named_and_nothing_is_touched(stopped: Path) -> None:
    before = snapshot(stopped)
    changed = replace(CONFIG, optim=replace(CONFIG.optim, learning_rate=5e-3))
    with pytest.raises(ActreError, match=r"other settings \(optim.learning_rate: 0.01 became 0.005\)"):
        make(stopped, changed, resume=True)
    text = (stopped / "config.json").read_text().replace('"learning_rate": 0.01', '"learning_rate": 0.005')
    (stopped / "config.json").write_text(text)
    with pytest.raises(ActreError, match=r"iter-4 belongs to a run with other settings \(optim.learning_rate"):
        make(stopped, changed, resume=True)
    (stopped / "config.json").write_bytes(before[stopped / "config.json"])
    with pytest.raises(ActreError, match=r"has other games.*1 now, 2 then"):
        make(stopped, resume=True, games=["one"])
    assert snapshot(stopped) == before


def test_lines_that_are_missing_are_noticed(stopped: Path) -> None:
    (stopped / "metrics.jsonl").write_text("")
    with pytest.raises(ActreError, match=r"metrics.jsonl has 0 bytes.*lines are missing"):
        make(stopped, resume=True)


def test_a_folder_without_a_run_cannot_go_on(tmp_path: Path) -> None:
    with pytest.raises(ActreError, match="does not exist"):
        make(tmp_path, resume=True)


def no_space(*_: Any) -> None:
    raise OSError(28, "No space left on device")


def test_a_full_disk_leaves_the_earlier_checkpoints_and_the_run_goes_on_later(
    tmp_path: Path, whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = make(tmp_path / "run")
    save = checkpoints.save

    def filling(folder: Path, progress: Any, *arguments: Any, **named: Any) -> Path:
        if progress.iteration == 4:
            monkeypatch.setattr(checkpoints, "_to_disk", no_space)
        return save(folder, progress, *arguments, **named)

    monkeypatch.setattr(checkpoints, "save", filling)
    with pytest.raises(
        ActreError, match=r"disk is full.* after 4 iterations; the last checkpoint, .*iter-3, .*--resume"
    ):
        run(trainer)
    monkeypatch.undo()
    assert {p.name for p in (tmp_path / "run" / "checkpoints").iterdir()} == {"iter-2", "iter-3"}
    go_on(tmp_path / "run")
    assert_same(tmp_path / "run", whole)


def test_a_disk_that_is_really_full_leaves_the_earlier_checkpoints(tmp_path: Path) -> None:
    small = tmp_path / "run" / "checkpoints"
    small.mkdir(parents=True)
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=600k", "none", str(small)], capture_output=True)
    if mounted.returncode != 0:
        pytest.skip("a small file system cannot be mounted here")
    try:
        first = make(tmp_path / "other", replace(CONFIG, checkpoint=CheckpointConfig(every=1, keep=99)))
        first.run_log.checkpoints = small
        with pytest.raises(ActreError, match="disk is full"):
            run(first)
        there = list(small.iterdir())
        assert there
        assert all(path.name.startswith("iter-") for path in there), "nothing unfinished is left behind"
        for path in there:
            checkpoints.read(path, first.config)
    finally:
        subprocess.run(["umount", str(small)], check=True)


@pytest.mark.parametrize("what", ["loss", "gradient"])
def test_no_number_stops_the_run_at_the_last_good_checkpoint(tmp_path: Path, what: str) -> None:
    config = replace(CONFIG, checkpoint=CheckpointConfig(every=0))
    trainer = make(tmp_path / "run", config)
    compute = trainer.compute_loss

    def broken(*arguments: Any, **named: Any) -> Any:
        loss = compute(*arguments, **named)
        if trainer._plan.iteration < 3:
            return loss
        if what == "gradient":
            loss.register_hook(lambda gradient: gradient * torch.inf)
            return loss
        return loss * torch.nan

    trainer.compute_loss = broken  # type: ignore[method-assign]
    with pytest.raises(ActreError, match=rf"the {what} of iteration 3 is .*last checkpoint is .*iter-2"):
        run(trainer)
    saved = checkpoints.read(tmp_path / "run" / "checkpoints" / "iter-2", config)
    assert all(torch.isfinite(value).all() for value in saved.adapter.values())
    assert [m["iteration"] for m in read_jsonl(tmp_path / "run" / "metrics.jsonl")] == [1, 2]


# --- the parts ---


def test_random_streams_come_back_through_json() -> None:
    kept = checkpoints.random_streams()
    kept = kept._replace(plain=json.loads(json.dumps(kept.plain)))
    import numpy as np

    def draw() -> tuple[Any, ...]:
        return random.random(), np.random.rand(), torch.rand(3).tolist()

    first = draw()
    assert draw() != first
    checkpoints.restore_streams(kept)
    assert draw() == first


def test_a_presets_checkpoints_are_on() -> None:
    assert preset("qwen-7b").checkpoint.every > 0 < preset("qwen-7b").checkpoint.keep


def test_a_match_that_was_not_written_whole_does_not_block_a_resume(tmp_path: Path) -> None:
    log = RunLog(tmp_path, CONFIG)
    log.matches_path.write_text('{"iteration": 3}\n{"iteration": 5}\n{"itera')
    log.rewind(5, 0, 0)
    assert log.matches_path.read_text() == '{"iteration": 3}\n'


@forks
def test_a_run_that_was_killed_before_its_last_export_exports_its_end_when_it_goes_on(
    stopped: Path, whole: Path, tmp_path: Path
) -> None:
    early = shutil.copytree(stopped / "adapter", tmp_path / "early")

    def killed() -> None:
        trainer = make(stopped, resume=True)
        trainer.save_adapter = lambda folder: die()  # type: ignore[method-assign]
        run(trainer)

    child = in_child(killed)
    child.join(120)
    assert child.exitcode == -signal.SIGKILL
    assert not (stopped / "adapter").exists(), "an earlier stop's would pass for the end's"
    shutil.copytree(early, stopped / "adapter")  # as earlier versions left it
    go_on(stopped)
    assert_same(stopped, whole)


def test_an_interrupted_runs_card_counts_what_it_was_trained_on(tmp_path: Path) -> None:
    trainer = make(tmp_path / "run")

    def interrupted(*_: Any, **__: Any) -> Any:
        raise KeyboardInterrupt

    play = trainer._play

    def playing(wanted: Plan) -> Any:
        if wanted.iteration == 2:
            trainer.compute_loss = interrupted  # type: ignore[method-assign]
        return play(wanted)

    trainer._play = playing
    with pytest.raises(KeyboardInterrupt, match="after 1 iterations"):
        run(trainer)
    (line,) = read_jsonl(tmp_path / "run" / "metrics.jsonl")
    steps = f"1 iterations ({line['env_steps']} environment steps)"
    assert steps in (tmp_path / "run" / "adapter" / "README.md").read_text()


def test_a_second_run_begun_in_a_folder_that_has_recorded_nothing_yet_leaves_its_settings(tmp_path: Path) -> None:
    out = tmp_path / "run"
    with make(out).run_log.held(), pytest.raises(ActreError, match="another process is training in"):
        make(out, replace(CONFIG, seed=7))
    assert load_config(out / "config.json").seed == CONFIG.seed


def test_a_folder_that_can_no_longer_be_written_is_told_with_what_was_saved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = toy.stop_at(make(tmp_path / "run"), 3, OSError(errno.EIO, "Input/output error", "games.json"))
    with pytest.raises(ActreError, match=r"games.json: Input/output error; .*iter-2\. To resume"):
        run(trainer)
