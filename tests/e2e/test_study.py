"""A small study from the command line: interrupted, taken up again, and one of its runs made a second time."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

# two CPU-minutes; the limit leaves room for a machine with other work
pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]

SMALL = """
name = "small"
about = "A study of a minute"
[[part]]
name = "p"
about = "The neutral tiny policy, hardly trained"
seeds = [100]
exploratory = [["think_first_hot-gigpo", "untrained"]]
[part.settings]
env_steps = 300
iterations = 4
switch = 2
"optim.groups" = 2
"optim.group_size" = 4
"evaluation.limit" = 6
"probe.states" = 4
"probe.thoughts" = 2
[[part.runs]]
arms = ["untrained", "think_first_hot", "actre"]
estimator = "gigpo"
"""


def study(file: Path, *more: str) -> list[str]:
    return [sys.executable, "-m", "actre", "study", str(file), "--out", str(file.parent / "out"), "--jobs", "2", *more]


def test_an_interrupted_study_goes_on_and_a_run_made_again_has_the_same_numbers(tmp_path: Path) -> None:
    file = tmp_path / "small.toml"
    file.write_text(SMALL)
    log = tmp_path / "out" / "small" / "p" / "actre-gigpo-seed-100" / "metrics.jsonl"
    first = subprocess.Popen(study(file), start_new_session=True)
    until = time.monotonic() + 900
    while not log.exists() and first.poll() is None and time.monotonic() < until:
        time.sleep(0.2)
    first.send_signal(signal.SIGINT)
    assert first.wait(timeout=120) == 130, "interrupted in the middle of a run"

    done = subprocess.run(study(file), capture_output=True, text=True, check=True, timeout=1500)
    assert "3 of 3 runs finished" in done.stdout
    lines = [json.loads(line) for line in (tmp_path / "out" / "small.jsonl").read_text().splitlines()]
    by_arm = {line["arm"]: line for line in lines}
    assert by_arm["untrained"]["env_steps"] == 0 < 300 <= by_arm["actre"]["env_steps"]
    assert [row[0] for row in by_arm["actre"]["curve"]] == list(range(1, by_arm["actre"]["iterations"] + 1))
    assert {(one["panel"], one["order"]) for one in by_arm["actre"]["evaluation"]} == {
        (panel, order) for panel in ("seen", "unseen") for order in ("think_first", "act_first", "no_think")
    }
    assert (tmp_path / "out" / "small" / "study.html").stat().st_size < 8e6

    # interrupted and resumed above, in one go here
    again = subprocess.run(
        study(file, "--rerun", "p/actre-gigpo-seed-100"),
        capture_output=True,
        text=True,
        timeout=1500,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        check=False,
    )
    assert "p/actre-gigpo-seed-100: the same numbers" in again.stdout
    assert again.returncode == 0
