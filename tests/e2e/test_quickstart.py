"""The main job for real, only shorter: every job as its own process, the report, the adapters, and the same again."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from actre.config import EnvName, RunConfig, StageConfig
from actre.config.presets import preset
from actre.study.quickstart import ARMS, quickstart
from actre.types import read_jsonl, read_trajectories

pytestmark = pytest.mark.slow

CLOCKED = {"seconds", "rollout_s", "update_s", "tokens_per_s", "measure_s", "peak_memory_gb"}


def small(env: EnvName = "alfworld") -> RunConfig:
    config = replace(preset("tiny", env), env_steps=300 if env == "alfworld" else 60)
    return replace(
        config,
        stages=(StageConfig("act_first", 1), StageConfig("think_first", 1)),
        # a penalty, so that the few episodes differ in their return whoever wins: an adapter has to change
        optim=replace(config.optim, groups=2, group_size=4, inadmissible_penalty=0.1),
        probe=replace(config.probe, states=8, thoughts=4),
        evaluation=replace(config.evaluation, limit=8),
    )


def unclocked(path: Path) -> list[dict[str, Any]]:
    return [{key: value for key, value in line.items() if key not in CLOCKED} for line in read_jsonl(path)]


def test_one_command_leaves_a_report_and_two_working_adapters_and_repeats_itself(tmp_path: Path) -> None:
    report = quickstart(small(), tmp_path / "one", at_once=2)
    assert "</html>" in report.read_text()
    for arm in ARMS:
        folder = tmp_path / "one" / arm
        check = json.loads((folder / "adapter_check.json").read_text())
        assert check["from_trained"] <= check["tolerance"] < check["from_base"]
        played = {(line["when"], line["panel"], line["order"]) for line in read_jsonl(folder / "evaluation.jsonl")}
        assert len(played) == 6
        assert len(read_trajectories(folder / "trajectories" / "eval_after.jsonl.gz")) == 24
        shown = read_trajectories(folder / "trajectories" / "scored.jsonl.gz")
        assert shown
        assert all(one["act_first"] and one["think_first"] for t in shown for one in t.meta["orders"])
    assert "was not measured" not in report.read_text()
    assert [line["order"] for line in read_jsonl(tmp_path / "one" / "actre" / "metrics.jsonl")] == [
        "act_first",
        "think_first",
    ]
    quickstart(small(), tmp_path / "two", at_once=1)
    for arm in ARMS:
        for name in ("metrics", "entropy", "evaluation"):
            first, second = (unclocked(tmp_path / run / arm / f"{name}.jsonl") for run in ("one", "two"))
            assert first == second, (arm, name)


def test_the_same_command_in_the_shop_trains_the_tiny_shopper(tmp_path: Path) -> None:
    report = quickstart(small("webshop"), tmp_path / "shop", at_once=2)
    assert "</html>" in report.read_text()
    for arm in ARMS:
        folder = tmp_path / "shop" / arm
        check = json.loads((folder / "adapter_check.json").read_text())
        assert check["from_trained"] <= check["tolerance"] < check["from_base"]
        played = list(read_jsonl(folder / "evaluation.jsonl"))
        assert {line["panel"] for line in played} == {"seen", "unseen"}
        assert all(0 <= line["env_return"] <= 1 and line["steps"] <= 8 for line in played)
    diagnosis = json.loads((tmp_path / "shop" / "diagnosis.json").read_text())
    assert diagnosis["settings"]["model"] == "tiny/shopper"
