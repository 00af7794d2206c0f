"""Two processes train as one does: the same episodes, the same advantages, the same update."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
import toy_training as toy
import trl
from launched import config, forks, make, together, weights

import actre.training
from actre.cli import main
from actre.runtime import ranks
from actre.training import StagedTrainer
from actre.training.run import run
from actre.training.stages import Plan
from actre.types import ActreError, Trajectory, read_jsonl, read_trajectories

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("alone") / "run"
    run(make(out, config()))
    return out


@forks
def test_two_processes_train_as_one_and_go_on_as_one(tmp_path: Path, alone: Path) -> None:
    out = tmp_path / "run"

    def work(rank: int) -> None:
        trainer = make(out, config())
        play, batch = trainer._play, trainer._batch

        def playing(wanted: Plan) -> list[Trajectory]:
            assert wanted.games == trainer_games(trainer)[2 * rank : 2 + 3 * rank], "two games here, three there"
            if wanted.iteration == 3:
                trainer.stop_asked = rank == 1  # one is told; both stop after the iteration
            return play(wanted)

        def rows(played: Any, *given: Any) -> Any:
            assert len(played) == 40, "each has all episodes"
            made = batch(played, *given)
            assert 0 < int(made["tool_mask"].sum()) < int(made["num_items_in_batch"]), "and trains on a part"
            return made

        trainer._play, trainer._batch = playing, rows  # type: ignore[method-assign]
        without_rows_gathered(trainer)
        with pytest.raises(KeyboardInterrupt):
            run(trainer)

    assert together(work) == [0, 0]
    assert sorted(path.name for path in (out / "checkpoints").iterdir()) == ["iter-1", "iter-2", "iter-3"]
    assert together(lambda rank: run(make(out, config(), resume=True))) == [0, 0]
    ours, theirs = (list(read_jsonl(folder / "metrics.jsonl")) for folder in (out, alone))
    assert len(ours) == len(theirs) == 4
    for our, their in zip(ours, theirs, strict=True):
        for name in ("success", "return", "env_steps", "generated_tokens", "groups_without_signal"):
            assert our[name] == their[name], name
        for name in ("loss", "grad_norm", "kl_nats", "clip_rate"):
            assert our[name] == pytest.approx(their[name], rel=1e-3, abs=1e-5), name
    ours_w, theirs_w = weights(out), weights(alone)
    gap = max(float((ours_w[name] - theirs_w[name]).abs().max()) for name in theirs_w)
    moved = max(float((theirs_w[name] - value).abs().max()) for name, value in fresh().items())
    assert gap < 1e-4 < 1e-2 < moved
    played = [list(read_trajectories(folder / "trajectories" / "train_0001.jsonl.gz")) for folder in (out, alone)]
    assert [(t.game, t.group, t.won) for t in played[0]] == [(t.game, t.group, t.won) for t in played[1]]


def without_rows_gathered(trainer: StagedTrainer) -> None:
    """Fail where the loss gathers a number for each row: processes may have slices of different numbers of rows, and
    gloo aborts, and NCCL hangs, where a collective's sizes differ.
    """
    gather, compute = torch.distributed.all_gather, trainer._compute_loss
    shapes: list[tuple[int, ...]] = []

    def gathering(found: Any, tensor: torch.Tensor, *given: Any, **named: Any) -> Any:
        shapes.append(tuple(tensor.shape))
        return gather(found, tensor, *given, **named)

    def computing(model: Any, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
        shapes.clear()
        loss = compute(model, inputs)
        assert not [shape for shape in shapes if len(inputs["prompt_ids"]) in shape]
        return loss

    torch.distributed.all_gather = gathering
    trainer._compute_loss = computing  # type: ignore[method-assign]


def trainer_games(trainer: StagedTrainer) -> tuple[str, ...]:
    return trainer._plan.games


def fresh() -> dict[str, torch.Tensor]:
    from peft import get_peft_model_state_dict

    return get_peft_model_state_dict(toy.model())


@forks
def test_what_fails_in_one_process_ends_all_of_them(tmp_path: Path) -> None:
    def work(rank: int) -> None:
        trainer = make(tmp_path / "run", config())

        def failing(wanted: Plan) -> list[Trajectory]:
            if rank == 1:
                raise ActreError("no game could be opened")
            return []

        trainer._play = failing
        with pytest.raises(ActreError, match="no game could be opened"):
            run(trainer)

    assert together(work) == [0, 0]


@forks
def test_a_process_that_is_killed_ends_the_others_and_the_run_goes_on_without_it(tmp_path: Path, alone: Path) -> None:
    out, settings = tmp_path / "run", config()

    def work(rank: int) -> None:
        trainer = make(out, settings)
        play = trainer._play

        def playing(wanted: Plan) -> list[Trajectory]:
            if wanted.iteration == 3 and rank == 1:
                os.kill(os.getpid(), signal.SIGKILL)
            return play(wanted)

        trainer._play = playing
        with pytest.raises(ActreError, match=r"another of the 2 processes has ended.*--resume"):
            run(trainer)
        os._exit(0)  # there is no one left to take leave of

    started = time.monotonic()
    assert together(work) == [0, -signal.SIGKILL]
    assert time.monotonic() - started < 120, "it does not wait for who does not come"
    assert len(list(read_jsonl(out / "metrics.jsonl"))) == 2
    run(make(out, settings, resume=True))
    ours, theirs = weights(out), weights(alone)
    assert max(float((ours[name] - theirs[name]).abs().max()) for name in theirs) < 1e-4


@forks
def test_a_process_has_left_the_group_before_it_ends(tmp_path: Path) -> None:
    """Else gloo's threads may abort it while Python shuts down; CI has seen that once."""
    out = tmp_path / "run"

    def work(rank: int) -> None:
        actre.training.train = lambda *given, **named: run(make(out, config()))
        assert main(["train", "--no-entropy", "--evaluate", "0", "--out", str(out)]) == 0
        assert not torch.distributed.is_initialized()
        ranks.leave()  # a second time is harmless

    assert together(work) == [0, 0]
    assert (out / "report.html").exists()


def launched(arguments: list[str], config_file: str = "multi_gpu.yaml") -> list[str]:
    """The command that starts two processes as one of TRL's configs says; without a GPU they are on the CPU.

    `accelerate launch --cpu --num_processes 2` would start one (accelerate 1.15).
    """
    settings = Path(trl.__file__).parent / "accelerate_configs" / config_file
    launch = [*("-m", "accelerate.commands.launch", "--config_file", str(settings)), "--num_processes", "2"]
    return [sys.executable, *launch, "--main_process_port", "0", "-m", "actre", "train", *arguments]


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}


@pytest.mark.slow
@forks
def test_a_launch_of_which_a_process_is_killed_ends_and_goes_on_with_resume(tmp_path: Path) -> None:
    out = tmp_path / "run"
    command = ["--preset", "tiny", "--stages", "think_first:3", "--no-entropy", "--out", str(out)]
    few = ["--set", "optim.groups=3", "--set", "optim.group_size=4", "--set", "env.max_steps=6"]
    every = [*few, "--set", "checkpoint.every=1"]
    with subprocess.Popen(
        launched([*command, *every]),
        cwd=ROOT,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as running:
        while not (out / "checkpoints" / "iter-1").exists():
            assert running.poll() is None
            time.sleep(0.1)
        started = psutil.Process(running.pid).children(recursive=True)
        (second,) = [one for one in started if one.environ().get("RANK") == "1"]
        second.kill()
        said = running.communicate(timeout=120)[0]
    assert running.returncode != 0
    assert "SIGKILL" in said, said[-2000:]
    done = subprocess.run(
        launched(["--resume", str(out)]), cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=500
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.count("3 iterations, ") == 1, "one of them speaks"
    lines = list(read_jsonl(out / "metrics.jsonl"))
    assert [line["iteration"] for line in lines] == [1, 2, 3]
    played = list(read_trajectories(out / "trajectories" / "train_0001.jsonl.gz"))
    assert [t.group for t in played] == [0] * 4 + [1] * 4 + [2] * 4, "one game here, two there"
    assert lines[0]["env_steps"] == sum(len(t.steps) for t in played)


@pytest.mark.slow
def test_a_launch_that_asks_a_cpu_for_fsdp_says_why_not(tmp_path: Path) -> None:
    arguments = ["--preset", "tiny", "--stages", "think_first:1", "--no-entropy", "--out", str(tmp_path / "run")]
    done = subprocess.run(
        launched(arguments, "fsdp2.yaml"), cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=500
    )
    assert done.returncode != 0
    assert "accelerate shards over several GPUs only" in done.stderr
    assert "multi_gpu.yaml" in done.stderr
