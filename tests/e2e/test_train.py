"""`actre train` as a user runs it: interrupted and gone on with, it leaves what an uninterrupted run leaves."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from actre.types import read_jsonl

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
TIMES = {"seconds", "rollout_s", "update_s", "measure_s", "tokens_per_s", "peak_memory_gb"}
SMALL = {"optim.groups": 2, "optim.group_size": 4, "env.max_steps": 6, "probe.every": 2, "probe.thoughts": 2}


def start(*arguments: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "actre", "train", *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def begin(out: Path) -> "subprocess.Popen[str]":
    settings = [word for name, value in SMALL.items() for word in ("--set", f"{name}={value}")]
    return start("--stages", "act_first:2,think_first:3", *settings, "--out", str(out))


def left(out: Path) -> dict[str, Any]:
    lines = {
        name: json.dumps([{k: v for k, v in line.items() if k not in TIMES} for line in read_jsonl(out / name)])
        for name in ("metrics.jsonl", "entropy.jsonl")
    }
    return {**lines, "adapter": (out / "adapter" / "adapter_model.safetensors").read_bytes()}


def test_a_run_that_was_told_to_stop_and_then_killed_ends_as_an_uninterrupted_one(tmp_path: Path) -> None:
    whole, out = tmp_path / "whole", tmp_path / "run"
    one = begin(whole)
    assert one.wait(500) == 0, one.communicate()[1][-2000:]
    for number, code in ((signal.SIGTERM, 130), (signal.SIGKILL, -signal.SIGKILL)):
        there = out / "metrics.jsonl"
        before = there.read_text().count("\n") if there.exists() else 0
        one = start("--resume", str(out)) if before else begin(out)
        waited = time.monotonic()
        while not (there.exists() and there.read_text().count("\n") > before) and time.monotonic() - waited < 300:
            time.sleep(0.02)
            assert one.poll() is None, one.communicate()[1][-2000:]
        one.send_signal(number)
        _, said = one.communicate(timeout=300)
        assert one.returncode == code, said[-2000:]
        if number == signal.SIGTERM:
            assert f"To resume: actre train --resume {out}" in said
    last = start("--resume", str(out))
    assert last.wait(500) == 0, last.communicate()[1][-2000:]
    assert left(out) == left(whole)
