"""Each rival on the tiny policy for 10 iterations: it runs, resumes bit for bit, and changes what it names."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from actre.config import RunConfig, StageConfig
from actre.config.arms import arm
from actre.config.presets import preset
from actre.config.recipes import with_estimator
from actre.training import StagedTrainer, train
from actre.training import run as conduct
from actre.training.stages import Plan
from actre.types import Trajectory, read_trajectories

TIMES = {"seconds", "rollout_s", "update_s", "tokens_per_s", "peak_memory_gb"}
WHOLE, STOPPED = 10, 6
ESTIMATORS = ("dr_grpo", "gspo", "hgpo", "epo", "kl_cov", "clip_cov", "actfocus")
ARMS = ("mixed_orders", "actre_shuffled")


def settings() -> RunConfig:
    """Short episodes whose returns differ by what is badly tagged or inadmissible, for a signal at once."""
    tiny = preset("tiny")
    small = replace(tiny.optim, groups=2, group_size=3, updates_per_batch=2, normalise="token")
    small = replace(small, inadmissible_penalty=0.5, format_penalty=0.3)
    return replace(
        tiny,
        env=replace(tiny.env, max_steps=2),
        sampling=replace(tiny.sampling, temperature=1.6, max_reply_tokens=24),
        stages=(StageConfig("act_first", 5), StageConfig("think_first", 5)),
        optim=small,
        env_steps=None,
    )


def plain_of(name: str) -> RunConfig:
    return arm("actre" if name in ARMS else "think_first", settings())


def config_of(name: str) -> RunConfig:
    return arm(name, settings()) if name in ARMS else with_estimator(plain_of(name), name)


@contextmanager
def signal(name: str) -> Iterator[None]:
    """For arms, advantages that do not depend on how good the policy is: its act-first seldom errs in two steps."""
    with pytest.MonkeyPatch.context() as patched:
        if name in ARMS:
            alternating = torch.tensor([1.0, -1.0, 0.5]).repeat(2)[:, None]
            patched.setattr(StagedTrainer, "advantages", lambda self, played, groups: alternating)
        yield


def kept(out: Path) -> tuple[bytes, list[dict[str, Any]]]:
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    return (out / "adapter" / "adapter_model.safetensors").read_bytes(), [
        {name: value for name, value in line.items() if name not in TIMES} for line in lines
    ]


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    made: dict[str, Path] = {}

    def of(name: str) -> Path:
        which = "actre" if name in ARMS else "think_first"
        if which not in made:
            made[which] = tmp_path_factory.mktemp(which)
            with signal(name):
                train(plain_of(name), made[which], progress=False)
        return made[which]

    return of


@pytest.mark.slow
@pytest.mark.parametrize("name", [*ESTIMATORS, *ARMS])
def test_a_rival_runs_resumes_bit_for_bit_and_differs_in_what_it_names(
    tmp_path: Path, name: str, plain: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    config = config_of(name)
    with signal(name):
        train(config, tmp_path / "whole", progress=False)
    adapter, lines = kept(tmp_path / "whole")
    assert len(lines) == WHOLE
    assert all(line["env_errors"] == 0 for line in lines)

    play_of = conduct.player

    def stopping(*arguments: Any) -> Callable[[Plan], list[Trajectory]]:
        play = play_of(*arguments)

        def playing(plan: Plan) -> list[Trajectory]:
            if plan.iteration == STOPPED:
                raise KeyboardInterrupt
            return play(plan)

        return playing

    with monkeypatch.context() as patched:
        patched.setattr(conduct, "player", stopping)
        with signal(name), pytest.raises(KeyboardInterrupt):
            train(config, tmp_path / "parts", progress=False)
    with signal(name):
        train(config, tmp_path / "parts", progress=False, resume=True)
    assert kept(tmp_path / "parts") == (adapter, lines)

    base, base_lines = kept(plain(name))
    assert adapter != base, "the rival is the plain run"
    assert [line["order"] for line in lines] == [line["order"] for line in base_lines]
    first, base_first = (
        read_trajectories(out / "trajectories" / "train_0001.jsonl.gz") for out in (tmp_path / "whole", plain(name))
    )
    assert [one.game for one in first] == [one.game for one in base_first], "the same games"
    if name in ESTIMATORS:  # before any update, the same episodes: an estimator changes the update alone
        assert [[step.reply_ids for step in one.steps] for one in first] == [
            [step.reply_ids for step in one.steps] for one in base_first
        ]


@pytest.mark.slow
def test_mixed_orders_and_shuffled_rationales_are_in_the_records(tmp_path: Path) -> None:
    mixed, shuffled = (replace(config_of(name), stages=config_of(name).stages) for name in ARMS)
    half = tuple(replace(stage, iterations=1, other_share=0.5) for stage in mixed.stages)
    train(replace(mixed, stages=half), tmp_path / "mixed", progress=False)
    for number, order in ((1, "act_first"), (2, "think_first")):
        played = read_trajectories(tmp_path / "mixed" / "trajectories" / f"train_{number:04d}.jsonl.gz")
        assert [one.group for one in played] == [0, 0, 0, 1, 1, 1]
        assert {one.meta["order"] for one in played} == {order}, "the stage's"
        assert [one.order == order for one in played] == [True] * 3 + [False] * 3, "every other group"

    stages = tuple(replace(stage, iterations=1) for stage in shuffled.stages)
    own = tuple(replace(stage, rationale="own") for stage in stages)
    for name, some in (("shuffled", stages), ("own", own)):
        train(replace(shuffled, stages=some), tmp_path / name, progress=False)
    moved, true = (
        read_trajectories(tmp_path / name / "trajectories" / "train_0001.jsonl.gz") for name in ("shuffled", "own")
    )
    pairs = [(a.steps[0], b.steps[0]) for a, b in zip(moved, true, strict=True)]
    assert all(a.action == b.action for a, b in pairs), "each keeps its action"
    complete = [(a.thought, b.thought) for a, b in pairs if not b.flags]
    assert any(a != b for a, b in complete)
    thoughts = sorted(str(b.thought) for _, b in pairs)
    assert sorted(str(a.thought) for a, _ in pairs) == thoughts, "thoughts are exchanged, none is lost or made up"
