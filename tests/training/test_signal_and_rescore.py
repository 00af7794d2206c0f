"""What a group has to teach, and stored episodes scored anew: numbers by hand, nothing overwritten."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from actre import cli
from actre.config import OptimConfig, RunConfig, save_config
from actre.training.advantages import grpo
from actre.training.rescore import iterations, rescore
from actre.training.signal import group_metrics
from actre.types import (
    ActreError,
    Flag,
    Observation,
    Step,
    Trajectory,
    read_jsonl,
    read_trajectories,
    write_trajectories,
)

SEEN = Observation("a shop", "buy it", ("a", "b"))


def episode(
    group: int | None, actions: str, rewards: tuple[float, ...], won: bool, flags: tuple[Flag, ...] = (), **meta: Any
) -> Trajectory:
    steps = tuple(
        Step(SEEN, (1,), (2,), (-0.1,), a, None, a, flags, r, advantage=0.25)
        for a, r in zip(actions, rewards, strict=True)
    )
    meta = {"iteration": 1, "stage": 0, **meta}
    return Trajectory("toy", f"g{group}", "buy", "act_first", 0, steps, SEEN, won, not won, group=group, meta=meta)


PLAYED = [
    episode(0, "ab", (0.0, 1.0), True),
    episode(0, "ab", (0.0, 0.5), False),
    episode(0, "b", (0.25,), False),
    episode(1, "a", (0.5,), False),
    episode(1, "a", (0.75,), False),
    episode(1, "a", (0.75,), False, env_error="it broke"),
]


def test_groups_are_counted_by_equal_returns_and_by_distinct_sequences_of_actions() -> None:
    whole = PLAYED[:5]
    found = group_metrics(whole, OptimConfig(format_penalty=0.0))
    assert found == {"zero_variance_groups": 0.5, "distinct_trajectories": 1.5}
    assert group_metrics(whole, OptimConfig(outcome="return"))["zero_variance_groups"] == 0.0
    assert group_metrics([], OptimConfig()) == {"zero_variance_groups": 0.0, "distinct_trajectories": 0.0}
    assert group_metrics([replace(one, group=None) for one in whole], OptimConfig())["distinct_trajectories"] == 0.0


def run_of(folder: Path, played: list[list[Trajectory]]) -> Path:
    folder.mkdir()
    save_config(replace(RunConfig(), optim=OptimConfig(format_penalty=0.0)), folder / "config.json")
    for number, episodes in enumerate(played, start=1):
        placed = [replace(one, meta={**one.meta, "iteration": number}) for one in episodes]
        write_trajectories(folder / "trajectories" / f"train_{number:04d}.jsonl.gz", placed)
    return folder


def test_stored_episodes_get_other_returns_and_advantages_beside_those_of_training(tmp_path: Path) -> None:
    run = run_of(tmp_path / "run", [PLAYED, PLAYED[::-1]])
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    out = rescore(run, ["optim.outcome=return"])
    assert out == run / "rescored" / "outcome-return"
    assert {path: path.read_bytes() for path in before} == before, "what training stored is untouched"
    lines = list(read_jsonl(out / "iter_0001.jsonl.gz"))
    assert [line["return"] for line in lines] == [1.0, 0.5, 0.25, 0.5, 0.75, None]
    assert [line["return_then"] for line in lines] == [1.0, 0.0, 0.0, 0.0, 0.0, None]
    wanted = grpo(torch.tensor([1.0, 0.5, 0.25, 0.5, 0.75]), torch.tensor([0, 0, 0, 1, 1])).tolist()
    for line, advantage, one in zip(lines, wanted, PLAYED, strict=False):
        assert line["advantages"] == pytest.approx([advantage] * len(one.steps))
        assert line["advantages_then"] == [0.25] * len(one.steps)
    assert lines[5]["advantages"] is None
    first, second = iterations(out)
    assert (first["iteration"], second["iteration"], first["episodes"]) == (1, 2, 5)
    assert (first["return"], first["return_then"]) == pytest.approx((0.6, 0.2))
    assert (first["zero_variance_groups"], first["zero_variance_groups_then"]) == (0.0, 0.5)
    assert first["correlation"] is None, "the stored advantages do not vary"
    assert json.loads((out / "rescored.json").read_text())["changed"] == ["outcome: success became return"]


def test_an_estimator_over_steps_gives_each_step_its_own_advantage(tmp_path: Path) -> None:
    out = rescore(run_of(tmp_path / "run", [PLAYED]), ["optim.advantage=gigpo", "optim.outcome=return"])
    first = next(read_jsonl(out / "iter_0001.jsonl.gz"))
    assert len(first["advantages"]) == 2
    assert first["advantages"][0] != first["advantages"][1]


def test_with_the_advantages_of_training_the_correlation_is_1(tmp_path: Path) -> None:
    returns = torch.tensor([1.0, 0.0, 0.0])
    given = grpo(returns, torch.zeros(3, dtype=torch.int64)).tolist()
    played = [
        replace(one, steps=tuple(replace(step, advantage=a) for step in one.steps))
        for one, a in zip(PLAYED[:3], given, strict=True)
    ]
    out = rescore(run_of(tmp_path / "run", [played]), ["optim.success_reward=3"])
    assert next(iterations(out))["correlation"] == pytest.approx(1.0, abs=1e-3)


def test_nothing_is_overwritten_and_an_interrupted_call_leaves_no_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = run_of(tmp_path / "run", [PLAYED])
    with monkeypatch.context() as broken:
        broken.setattr("actre.training.rescore.rescored", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            rescore(run, ["optim.outcome=return"], name="mine")
    assert not (run / "rescored" / "mine").exists()
    out = rescore(run, ["optim.outcome=return"], name="mine")
    kept = (out / "rescored.json").read_bytes()
    with pytest.raises(ActreError, match="not overwritten"):
        rescore(run, ["optim.format_penalty=1"], name="mine")
    assert (out / "rescored.json").read_bytes() == kept
    assert sorted(path.name for path in (run / "rescored").iterdir()) == ["mine"]


def test_one_iteration_at_a_time_is_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = run_of(tmp_path / "run", [PLAYED] * 3)
    events: list[str] = []

    def reading(path: Path) -> list[Trajectory]:
        events.append("read")
        return read_trajectories(path)

    monkeypatch.setattr("actre.training.rescore.read_trajectories", reading)
    rescore(run, ["optim.outcome=return"], progress=lambda _: events.append("written"))
    assert events == ["read", "written"] * 3


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        (["seed=3"], "does not score episodes"),
        (["optim.outcome=success"], "nothing would change"),
        (["optim.advantage=ppo"], "advantage"),
    ],
)
def test_what_cannot_be_scored_is_said(tmp_path: Path, settings: list[str], says: str) -> None:
    with pytest.raises(ActreError, match=says):
        rescore(run_of(tmp_path / "run", [PLAYED]), settings)


def test_the_command_prints_each_iteration_and_where_it_wrote(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = run_of(tmp_path / "run", [PLAYED])
    assert cli.main(["rescore", str(run), "--outcome", "return", "--set", "optim.format_penalty=0.5"]) == 0
    said = capsys.readouterr().out
    assert "0.600  (0.200)" in said
    assert str(run / "rescored" / "outcome-return_format_penalty-0.5") in said
    assert cli.main(["rescore", str(tmp_path / "run"), "--outcome", "return", "--name", "x"]) == 0
    save_config(RunConfig(), tmp_path / "config.json")
    assert cli.main(["rescore", str(tmp_path), "--outcome", "return"]) == 2
    assert "holds no training episodes" in capsys.readouterr().err
