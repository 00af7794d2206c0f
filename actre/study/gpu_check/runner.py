"""Runs the checks, each in a process of its own, and writes the record.

A crash, a hang or an error is a row of the table. A check that succeeded with these versions is not run again; failed
and skipped ones are.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from actre.config import versions
from actre.runtime import limits, outputs
from actre.runtime.locks import locked
from actre.runtime.processes import start
from actre.study.gpu_check.checks import CHECKS
from actre.study.gpu_check.command import tail
from actre.study.gpu_check.row import Place, Row
from actre.types import ActreError

RECORD = "gpu_check.json"
SCHEMA = 1
_ROW = "row.json"
_BEGUN = "begun.json"
"""What the checks in a folder are of: the device and the versions."""
_GRACE_S = 15.0
_POLL_S = 0.1


def run(
    out: Path,
    *,
    gpu: bool,
    only: Collection[str] = (),
    patience: float = 1.0,
    stop: Callable[[], bool] = lambda: False,
    say: Callable[[Row], None] = lambda row: None,
) -> list[Row]:
    """Do the checks (all, or those named) in `out`, and write the record of everything there. Returns all rows.

    patience: factor on the time after which a check counts as failed. stop: asked before each check; once it is true
    the rest is "not run", and the same call continues. say: receives each row. Raises ActreError for an unknown name,
    for a folder that holds anything else, and while another process works in it.
    """
    unknown = [name for name in only if name not in CHECKS]
    if unknown:
        raise ActreError(f"no check {unknown[0]!r}; there are: {', '.join(CHECKS)}")
    outputs.growing(out, lambda folder: (folder / _BEGUN).exists(), what="a gpu-check")
    with locked(out, "is working in"):
        _prepare(out, gpu)
        rows = _all(out, gpu, only, patience, stop, say)
        outputs.write_whole(out / RECORD, (json.dumps(record(rows, gpu), indent=1) + "\n").encode())
    return rows


def _all(
    out: Path,
    gpu: bool,
    only: Collection[str],
    patience: float,
    stop: Callable[[], bool],
    say: Callable[[Row], None],
) -> list[Row]:
    rows = []
    for name in CHECKS:
        row = _kept(out, name)
        wanted = not only or name in only
        if wanted and (row is None or row.status != "ok"):
            row = Row(name, "not run", "out of time") if stop() else _checked(name, out, gpu, patience)
            _write(_folder(out, name), row)
        rows.append(row or Row(name, "not run", "not asked for"))
        if wanted:
            say(rows[-1])
    return rows


def record(rows: Sequence[Row], gpu: bool) -> dict[str, Any]:
    """Everything a person would send in; it names no folder and no user of the machine."""
    devices = [{"name": d.name, "memory_gb": round(d.memory_gb, 1), "bf16": d.bf16} for d in limits.gpus() if gpu]
    return {
        "kind": "gpu_check",
        "schema": SCHEMA,
        "device": "gpu" if gpu else "cpu",
        "gpus": devices,
        "processor": limits.processor(),
        "cores": limits.cores(),
        "load": round(os.getloadavg()[0], 1),
        "versions": versions(),
        "rows": [asdict(row) for row in rows],
    }


def table(rows: Sequence[Row]) -> str:
    """The rows for a terminal: status, seconds, what was found, and what was measured beside its estimate."""
    width = max(map(len, CHECKS))
    lines = []
    for row in rows:
        lines.append(f"{row.status:8} {row.name:{width}} {row.seconds:6.0f} s  {row.words}")
        if measured := beside(row):
            lines.append(f"{'':{width + 20}}{measured}")
    counts = {status: sum(row.status == status for row in rows) for status in ("ok", "failed", "skipped", "not run")}
    return "\n".join([*lines, ", ".join(f"{number} {status}" for status, number in counts.items() if number)])


def beside(row: Row) -> str:
    """Measured beside estimated, in words; "" if the check measures neither memory nor seconds."""
    pairs = (
        ("episodes", "rollout_s", "rollout_estimated_s", "s"),
        ("updates", "update_s", "update_estimated_s", "s"),
        ("memory", "memory_gb", "memory_estimated_gb", "GB"),
        ("weights", "weights_gb", "weights_estimated_gb", "GB"),
    )
    found = [
        f"{what} {row.numbers[a]} {unit} (estimated {row.numbers[b]})"
        for what, a, b, unit in pairs
        if row.numbers.get(a) is not None and b in row.numbers
    ]
    return ", ".join(found)


# --- one check ---


def _checked(name: str, out: Path, gpu: bool, patience: float) -> Row:
    why = CHECKS[name].condition(gpu)
    if why:
        return Row(name, "skipped", why)
    folder = _folder(out, name)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    began = time.monotonic()
    log = folder / "child.log"
    arguments = [name, str(folder), "gpu" if gpu else "cpu"]
    child = start("actre.study.gpu_check.runner", arguments, log, _seen(gpu))
    limit_s = patience * CHECKS[name].limit_s
    code = _waited(child, limit_s)
    seconds = round(time.monotonic() - began, 1)
    row = _kept(out, name)
    if code == 0 and row is not None:
        return Row(name, row.status, row.words, seconds, row.numbers)
    if code is None:
        return Row(name, "failed", f"not finished after {limit_s:.0f} s: {_clean(tail(log), out)}", seconds)
    return Row(name, "failed", f"ended with code {code}: {_clean(tail(log), out)}", seconds)


def _seen(gpu: bool) -> dict[str, str]:
    """What a child's environment adds, so that on a CPU it sees no GPU."""
    return {"HF_HUB_OFFLINE": "1", **({} if gpu else {"CUDA_VISIBLE_DEVICES": ""})}


def _waited(child: "subprocess.Popen[bytes]", limit_s: float) -> int | None:
    """The exit code, or None if it took too long; then it is ended, and its own children with it."""
    until = time.monotonic() + limit_s
    try:
        while child.poll() is None and time.monotonic() < until:
            time.sleep(_POLL_S)
        code = child.poll()
    finally:
        if child.poll() is None:
            for number in (signal.SIGTERM, signal.SIGKILL):  # the first lets it end a server that it started
                with suppress(ProcessLookupError):  # the whole group has ended
                    os.killpg(child.pid, number)
                _give_time(child)
            child.wait()
    return code


def _give_time(child: "subprocess.Popen[bytes]") -> None:
    until = time.monotonic() + _GRACE_S
    while child.poll() is None and time.monotonic() < until:
        time.sleep(_POLL_S)


def _work(name: str, folder: Path, gpu: bool) -> None:
    """Do one check in this process, and leave its row."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    done = CHECKS[name].run(Place(folder, gpu))
    _write(folder, Row(name, "ok", _clean(done.words, folder), 0.0, done.numbers))


# --- files ---


def _prepare(out: Path, gpu: bool) -> None:
    path, now = out / _BEGUN, {"device": "gpu" if gpu else "cpu", "versions": versions()}
    before = json.loads(path.read_text()) if path.exists() else now
    if before["device"] != now["device"]:
        raise ActreError(f"{out} holds the checks of a {before['device']}: choose another --out")
    if before != now:
        shutil.rmtree(out / "checks", ignore_errors=True)  # what other versions did proves nothing
    (out / "checks").mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(now) + "\n", encoding="utf-8")


def _folder(out: Path, name: str) -> Path:
    return out / "checks" / name.replace(" ", "-")


def _kept(out: Path, name: str) -> Row | None:
    path = _folder(out, name) / _ROW
    return Row(**json.loads(path.read_text())) if path.exists() else None


def _write(folder: Path, row: Row) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / _ROW).write_text(json.dumps(asdict(row)) + "\n", encoding="utf-8")


def _clean(text: str, out: Path) -> str:
    """The text without the folders of this machine."""
    text = text.replace(str(out), "OUT").replace(str(Path.home()), "~")
    return re.sub(r"(?:/[\w.+-]+){2,}/(?=[\w.+-])", ".../", text)


def _main() -> int:
    from actre.study.onerun import as_process

    name, folder, device = sys.argv[1:4]
    return as_process(lambda: _work(name, Path(folder), device == "gpu"))


if __name__ == "__main__":
    sys.exit(_main())
