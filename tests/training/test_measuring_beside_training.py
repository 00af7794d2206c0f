"""Training is the same whatever is measured beside it, and goes on from a checkpoint with it."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from actre.config import RunConfig, StageConfig, data_folder
from actre.config.presets import preset
from actre.types import read_jsonl

TIMES = {"rollout_s", "tokens_per_s", "seconds", "update_s", "peak_memory_gb", "measure_s"}
needs_tiny = pytest.mark.skipif(
    not (data_folder() / "tiny" / "neutral" / "config.json").exists(), reason="the tiny policy is not here"
)


def config(**probe: int) -> RunConfig:
    base = preset("tiny")
    return replace(
        base,
        stages=(StageConfig("act_first", 1), StageConfig("think_first", 1)),
        env=replace(base.env, max_steps=5),
        optim=replace(base.optim, groups=2, group_size=3),
        probe=replace(base.probe, states=2, thoughts=2, every=1, **probe),
        checkpoint=replace(base.checkpoint, every=1),
    )


def lines_of(path: Path) -> list[dict[str, Any]]:
    return [{name: value for name, value in line.items() if name not in TIMES} for line in read_jsonl(path)]


@pytest.mark.slow
@needs_tiny
def test_training_and_its_entropies_are_the_same_whatever_is_measured_beside_them(tmp_path: Path) -> None:
    from actre.entropy.diagnose import training_measure
    from actre.training import train

    alone = config(retrieval_states=0, panel_games=0)
    more = config(retrieval_states=2, retrieval_thoughts=2, panel_games=2, panel_episodes=2)
    for name, one in (("alone", alone), ("more", more)):
        train(one, tmp_path / name, measure=training_measure(one), progress=False)
    assert lines_of(tmp_path / "alone" / "metrics.jsonl") == lines_of(tmp_path / "more" / "metrics.jsonl")
    without, with_all = (lines_of(tmp_path / name / "entropy.jsonl") for name in ("alone", "more"))
    assert len(without) == 3
    assert [{name: line[name] for name in one} for one, line in zip(without, with_all, strict=True)] == without
    assert all(len(line["orders"]) == 3 and line["retrieval_chance"] == 0.5 for line in with_all)
    for line in lines_of(tmp_path / "more" / "metrics.jsonl"):
        assert 0 <= line["zero_variance_groups"] <= 1 <= line["distinct_trajectories"] <= 3
