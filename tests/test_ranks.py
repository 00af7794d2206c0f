"""Two processes train as one does: the same episodes, the same advantages, the same update."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import toy_training as toy
from launched import config, forks, make, together, weights

from actre.stages import Plan
from actre.trainer import StagedTrainer, run
from actre.types import ActreError, Trajectory, read_jsonl, read_trajectories


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

        def rows(played: Any) -> Any:
            assert len(played) == 40, "each knows all episodes"
            made = batch(played)
            assert 0 < int(made["tool_mask"].sum()) < int(made["num_items_in_batch"]), "and trains on a part"
            return made

        trainer._play, trainer._batch = playing, rows  # type: ignore[method-assign]
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


@pytest.mark.slow
def test_accelerate_launches_the_command_itself(tmp_path: Path) -> None:
    root = Path(__file__).parent.parent
    launch = [
        sys.executable,
        "-m",
        "accelerate.commands.launch",
        "--cpu",
        "--num_processes",
        "2",
        "--num_machines",
        "1",
    ]
    command = ["--preset", "tiny", "--stages", "think_first:1", "--no-entropy", "--out", str(tmp_path / "run")]
    few = ["--set", "optim.groups=3", "--set", "optim.group_size=4", "--set", "env.max_steps=6"]
    done = subprocess.run(
        [*launch, "--mixed_precision", "no", "--dynamo_backend", "no", "-m", "actre", "train", *command, *few],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=500,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.count("1 iterations, ") == 1, "one of them speaks"
    (line,) = read_jsonl(tmp_path / "run" / "metrics.jsonl")
    played = list(read_trajectories(tmp_path / "run" / "trajectories" / "train_0001.jsonl.gz"))
    assert [t.group for t in played] == [0] * 4 + [1] * 4 + [2] * 4
    assert line["env_steps"] == sum(len(t.steps) for t in played)
