"""gpu-check: whatever happens in a check is a row that says so, finished ones are kept, and the page is the records."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from test_results import benchmark

from actre import cli
from actre.cli import gpu_check as command
from actre.config import ModelConfig
from actre.policies.hf import HFPolicy
from actre.runtime.estimate import gpu
from actre.runtime.locks import locked
from actre.study import gpu_check
from actre.study.gpu_check import CHECKS, Row, loading, row, runner, training
from actre.study.gpu_check.row import Check, Done, Place
from actre.types import ActreError

RUN = "import json, pathlib, sys; folder = pathlib.Path({folder!r})\n{body}"
GOOD = (
    'folder.joinpath("row.json").write_text(json.dumps({"name": "a", "status": "ok", "words": "fine", "numbers": {}}))'
)
BODIES = {
    "good": GOOD,
    "crash": "import os; os.kill(os.getpid(), 11)",
    "error": 'print("actre: error: two numbers differ"); sys.exit(2)',
    "hang": "import time; time.sleep(60)",
    "silent": "",
}


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The checks are the bodies above, each as a process of its own; which were started."""
    names: list[str] = []

    def start(module: str, arguments: list[str], log: Path, env: dict[str, str]) -> "subprocess.Popen[bytes]":
        name, folder, _ = arguments
        names.append(name)
        with log.open("wb") as file:
            script = RUN.format(folder=folder, body=BODIES[name])
            return subprocess.Popen([sys.executable, "-c", script], stdout=file, stderr=file, start_new_session=True)

    def never(place: Place) -> Done:
        raise AssertionError("it runs in a child")

    made = {name: Check("", row.always, never, 2.0 if name == "hang" else 30.0) for name in BODIES}
    made["absent"] = Check("", lambda gpu: "no such thing here", never)
    monkeypatch.setattr(runner, "CHECKS", made)
    monkeypatch.setattr(runner, "start", start)
    return names


def test_a_crash_an_error_a_hang_and_an_absent_package_are_rows_that_say_so(tmp_path: Path, started: list[str]) -> None:
    rows = {one.name: one for one in runner.run(tmp_path / "out", gpu=False, patience=0.5)}
    assert {name: one.status for name, one in rows.items()} == {
        "good": "ok",
        "crash": "failed",
        "error": "failed",
        "hang": "failed",
        "silent": "failed",
        "absent": "skipped",
    }
    assert f"code -{signal.SIGSEGV.value}" in rows["crash"].words
    assert "two numbers differ" in rows["error"].words
    assert "not finished after 1 s" in rows["hang"].words
    assert rows["absent"].words == "no such thing here"
    assert "absent" not in started
    table = gpu_check.table(list(rows.values()))
    assert "1 ok, 4 failed, 1 skipped" in table


def test_the_same_command_keeps_what_succeeded_and_repeats_what_did_not(tmp_path: Path, started: list[str]) -> None:
    out = tmp_path / "out"
    rows = runner.run(out, gpu=False, only=["good"])
    assert [(one.name, one.status) for one in rows if one.status != "not run"] == [("good", "ok")]
    runner.run(out, gpu=False, only=["good", "error"])
    assert started == ["good", "error"]
    runner.run(out, gpu=False, only=["error"])
    assert started == ["good", "error", "error"]
    record = json.loads((out / gpu_check.RECORD).read_text())
    assert {one["name"]: one["status"] for one in record["rows"]} == {
        **dict.fromkeys(("crash", "hang", "silent", "absent"), "not run"),
        "good": "ok",
        "error": "failed",
    }


def test_out_of_time_the_rest_is_not_run_and_comes_with_the_next_call(tmp_path: Path, started: list[str]) -> None:
    asked = ["good", "error"]
    rows = {one.name: one for one in runner.run(tmp_path / "out", gpu=False, only=asked, stop=lambda: bool(started))}
    assert (rows["good"].status, rows["error"].status, rows["error"].words) == ("ok", "not run", "out of time")
    runner.run(tmp_path / "out", gpu=False, only=asked)
    assert started == ["good", "error"]


def test_a_folder_of_another_device_or_of_something_else_is_left_alone(tmp_path: Path, started: list[str]) -> None:
    runner.run(tmp_path / "out", gpu=False, only=["good"])
    with pytest.raises(ActreError, match="holds the checks of a cpu"):
        runner.run(tmp_path / "out", gpu=True, only=["good"])
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("precious")
    with pytest.raises(ActreError, match="not empty"):
        runner.run(tmp_path / "mine", gpu=False)
    with pytest.raises(ActreError, match="no check 'goood'"):
        runner.run(tmp_path / "new", gpu=False, only=["goood"])


def test_two_commands_do_not_work_in_one_folder(tmp_path: Path, started: list[str]) -> None:
    runner.run(tmp_path / "out", gpu=False, only=["good"])
    started.clear()
    with locked(tmp_path / "out", "is working in"), pytest.raises(ActreError, match="another process is working in"):
        runner.run(tmp_path / "out", gpu=False, only=["error"])
    assert not started


def test_an_interrupt_ends_the_check_that_is_running(
    tmp_path: Path, started: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    children: list[subprocess.Popen[bytes]] = []
    start = runner.start

    def interrupted(*given: Any, **named: Any) -> "subprocess.Popen[bytes]":
        children.append(start(*given, **named))
        raise_soon = f"import os, signal, time; time.sleep(0.5); os.kill({os.getpid()}, signal.SIGINT)"
        subprocess.Popen([sys.executable, "-c", raise_soon])
        return children[0]

    monkeypatch.setattr(runner, "start", interrupted)
    with pytest.raises(KeyboardInterrupt):
        runner.run(tmp_path / "out", gpu=False, only=["hang"])
    assert children[0].poll() is not None
    with locked(tmp_path / "out", "is working in"):
        pass


def test_what_other_versions_did_is_not_kept(
    tmp_path: Path, started: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    runner.run(tmp_path / "out", gpu=False, only=["good"])
    monkeypatch.setattr(runner, "versions", lambda: {"torch": "another"})
    runner.run(tmp_path / "out", gpu=False, only=["good"])
    assert started == ["good", "good"]


def test_a_record_names_no_folder_of_the_machine(tmp_path: Path) -> None:
    text = f"/usr/lib/python3/site-packages/torch/x.py: {Path.home()}/secret/a and {tmp_path}/out/checks/b"
    clean = runner._clean(text, tmp_path / "out")
    assert str(Path.home()) not in clean
    assert "/usr/lib" not in clean
    assert str(tmp_path) not in clean
    assert "x.py" in clean


def test_a_broken_torch_is_a_row_because_nothing_but_the_children_imports_it() -> None:
    code = (
        "import sys, actre.study.gpu_check, actre.cli.gpu_check; print({'torch', 'transformers'} & sys.modules.keys())"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"


# --- conditions ---


@pytest.mark.parametrize("name", CHECKS)
@pytest.mark.parametrize("gpu", [True, False])
def test_a_check_that_cannot_run_says_why(
    name: str, gpu: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """On a machine with nothing but what every install has."""
    monkeypatch.setattr(row, "is_installed", lambda name: False)
    monkeypatch.setattr(row.limits, "gpus", lambda: [])
    monkeypatch.setenv("ACTRE_CACHE", str(tmp_path))
    monkeypatch.delenv("ACTRE_VLLM_PYTHON", raising=False)
    why = CHECKS[name].condition(gpu)
    needs = [word for word in ("unsloth", "vllm", "4 bits", "smollm2") if word in name]
    two = ["two"] if name == "two processes" and gpu else []
    number_type = ["float32"] if name == "train float32" else []
    assert bool(why) == bool(needs or two or number_type)


def test_with_everything_there_nothing_is_skipped_on_two_gpus(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(row, "is_installed", lambda name: True)
    monkeypatch.setattr(row, "has_smollm2", lambda: True)
    monkeypatch.setattr(row.limits, "gpus", lambda: [gpu("A100", 80.0)] * 2)
    assert {name: why for name, check in CHECKS.items() if (why := check.condition(True))} == {}


# --- checks that must be able to fail ---


def test_a_sampler_whose_numbers_are_not_the_models_fails(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    model, place = ModelConfig(name="tiny", dtype="float32"), Place(tmp_path, gpu=False)
    found = loading.load_in(model, place).numbers
    assert found["weights_gb"] == pytest.approx(found["weights_estimated_gb"], rel=0.05)
    assert isinstance(found["sampler_gap_nats"], float)
    assert found["sampler_gap_nats"] < 1e-3
    plain = HFPolicy.generate

    def off(self: Any, *given: Any, **named: Any) -> Any:
        replies = plain(self, *given, **named)
        return [
            type(one)(one.token_ids, tuple(x - 0.01 for x in one.logps), one.text, one.truncated) for one in replies
        ]

    monkeypatch.setattr(HFPolicy, "generate", off)
    with pytest.raises(ActreError, match="nats a token apart"):
        loading.load_in(model, place)


def test_a_model_that_is_not_on_the_gpu_that_is_tested_fails(tmp_path: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(ActreError, match="not on the GPU"):
        loading.load_in(ModelConfig(name="tiny"), Place(tmp_path, gpu=True))
    with pytest.raises(ActreError, match="sees no GPU"):
        loading.installed(Place(tmp_path, gpu=True))


def test_a_run_whose_adapter_did_not_change_or_that_lacks_an_iteration_proves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = Place(tmp_path, gpu=False)
    gaps = {"engine_gap_nats": 1e-6, "engine_gap_max_nats": 1e-5}

    def ran(shift: float, iterations: int) -> None:
        (tmp_path / "run").mkdir(exist_ok=True)
        lines = [{"iteration": i + 1, "adapter_shift_nats": shift, **gaps} for i in range(iterations)]
        (tmp_path / "run" / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))

    monkeypatch.setattr(training, "_beside_estimate", lambda place: {})
    for shift, iterations, said in ((0.0, 3, "the adapter did not change"), (0.1, 2, "3 iterations were asked for")):
        monkeypatch.setattr(training, "actre", lambda *_, given=(shift, iterations), **__: ran(*given))
        with pytest.raises(ActreError, match=said):
            training.each_order(place)


# --- the command, the record and the page ---


def test_without_a_gpu_the_command_names_the_one_for_a_cpu(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "gpus", lambda: [])
    assert cli.main(["gpu-check"]) == 2
    assert "actre gpu-check --device cpu" in capsys.readouterr().err


def test_the_page_is_made_from_the_records() -> None:
    made = benchmark("gpu_check")
    assert made.PAGE.read_text() == made.page()
    on_gpus = [one for one in made.records().values() if one["device"] == "gpu"]
    assert ("**No GPU has run it yet.**" in made.page()) == (not on_gpus)


def test_the_shipped_record_of_a_cpu_has_every_check_and_no_failure() -> None:
    record = benchmark("gpu_check").records()["cpu"]
    rows = [Row(**one) for one in record["rows"]]
    assert [one.name for one in rows] == list(CHECKS)
    assert {one.status for one in rows} <= {"ok", "skipped"}
    assert all(one.words for one in rows)
    by_name = {one.name: one for one in rows}
    for name in ("installed", "train transformers", "warm start", "out of memory", "kill and resume", "two processes"):
        assert by_name[name].status == "ok", name
    assert by_name["kill and resume"].numbers["same_bits"] is True
    assert by_name["out of memory"].numbers["limit"] == "simulated: a CPU has no such error"
    assert (record["device"], record["gpus"]) == ("cpu", [])
