"""doctor names what is missing and what mends it, quickly, and imports nothing that it asks about."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from actre.cli import doctor
from actre.cli.doctor import Check
from actre.runtime import limits, official


def by_name(checks: list[Check]) -> dict[str, Check]:
    return {check.name: check for check in checks}


def test_a_missing_package_is_named_with_the_command_that_mends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_CORE", ("numpy", "surely-not-a-package"))
    checks = doctor.examine()
    lost = by_name(checks)["surely-not-a-package"]
    assert lost.status == "missing"
    assert "pip install" in lost.fix
    assert not doctor.can_run(checks)
    text = doctor.as_text(checks)
    assert "MISSING surely-not-a-package" in text
    assert "cannot run" in text


def test_another_version_than_tested_is_shown_but_stops_nothing() -> None:
    (check,) = doctor._packages("g", ("numpy",), {"numpy": "0.1"}, needed=True, fix="pip install it")
    assert check.status == "other"
    assert "tested with 0.1" in check.found
    assert check.fix == "pip install it"
    assert doctor.can_run([check])


def test_a_cpu_build_of_the_tested_version_counts_as_tested(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor.metadata, "version", lambda name: "2.13.0+cpu")
    (check,) = doctor._packages("g", ("torch",), {"torch": "2.13.0"}, needed=True, fix="x")
    assert check == Check("g", "torch", "ok", "2.13.0+cpu")


def test_missing_compilers_are_a_fault_only_before_the_engine_is_installed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(doctor.shutil, "which", lambda command: None)
    assert {check.status for check in doctor._build_tools()} == {"absent"}
    monkeypatch.setattr(doctor, "_installed", lambda name: False)
    checks = list(doctor._build_tools())
    assert {check.status for check in checks} == {"missing"}
    assert by_name(checks)["cmake"].fix == "sudo apt-get install cmake"


def test_missing_data_are_a_fault_with_the_command_that_mends_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("ACTRE_DATA", str(tmp_path))
    checks = by_name(list(doctor._data()))
    assert checks["games"].status == checks["tiny policy"].status == "missing"
    assert checks["games"].fix == "git checkout -- data"
    monkeypatch.setenv("ACTRE_DATA", str(tmp_path / "nowhere"))
    assert [check.status for check in doctor._data()] == ["missing"]


def test_official_data_are_optional_counted_and_shown_where_they_are_wrong_or_in_part(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def found(name: str) -> Check:
        return by_name(list(doctor._data()))[name]

    monkeypatch.delenv("WEBSHOP_DATA", raising=False)
    monkeypatch.delenv("ALFWORLD_DATA", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert found("official games").status == found("official shop").status == "absent"
    monkeypatch.setenv("ALFWORLD_DATA", str(tmp_path / "nowhere"))
    assert found("official games").status == "other"
    assert "alfworld-download" in found("official games").fix

    monkeypatch.setenv("ALFWORLD_DATA", str(tmp_path))
    monkeypatch.setattr(official, "ALFWORLD_SPLITS", {"train": 1, "valid_seen": 2, "valid_unseen": 3})
    games = [(split, trial) for split, number in official.ALFWORLD_SPLITS.items() for trial in range(number)]
    for split, trial in games:
        assert found("official games").status == "other"
        for task in ("a task", "pick_and_place_with_movable_recep"):  # the second kind is not played
            game = tmp_path / "json_2.1.1" / split / task / f"trial_{trial}" / "game.tw-pddl"
            game.parent.mkdir(parents=True)
            game.touch()
        if (split, trial) == ("valid_seen", 0):
            assert "train 1, valid_seen 1 of 2, valid_unseen 0 of 3" in found("official games").found
    assert found("official games").status == "ok"
    assert "train 1, valid_seen 2, valid_unseen 3 in" in found("official games").found

    monkeypatch.setenv("WEBSHOP_DATA", str(tmp_path))
    assert found("official shop").status == "other"
    (tmp_path / "items_shuffle_1000.json.gz").touch()
    assert "only items_shuffle_1000.json" in found("official shop").found
    (tmp_path / "items_ins_v2_1000.json").touch()
    assert found("official shop").status == "ok"


def test_the_shops_files_are_those_that_the_import_reads() -> None:
    from actre.envs.webshop.files import _NAMES
    from actre.runtime.official import SHOPS

    assert SHOPS == _NAMES


def test_a_full_disk_is_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "MIN_DISK_GB", 1e9)
    assert by_name(list(doctor._machine()))["disk"].status == "missing"


@pytest.mark.parametrize(
    ("flags", "found"),
    [("fpu avx2 avx512f", False), ("fpu avx512_bf16", True), ("amx_tile amx_bf16", True), (None, None)],
)
def test_a_processor_for_products_in_bfloat16_is_known_by_its_flags(flags, found, tmp_path, monkeypatch):
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text("model name\t: X\n" + (f"flags\t\t: {flags}\n" if flags else ""))
    assert limits.multiplies_bfloat16(cpuinfo) is found
    monkeypatch.setattr(doctor, "multiplies_bfloat16", lambda: found)
    check = by_name(list(doctor._machine())).get("bfloat16")
    assert (check is not None, check and check.status) == (found is not None, {True: "ok", False: "absent"}.get(found))


def fake_nvidia_smi(folder: Path, script: str) -> None:
    tool = folder / "nvidia-smi"
    tool.write_text(f"#!/bin/sh\n{script}\n")
    tool.chmod(0o755)


@pytest.mark.parametrize(
    ("script", "status", "found"),
    [
        ("echo 'Tesla T4, 15360, 7.5'", "ok", "Tesla T4, 15 GiB, no bf16 (float16 is used)"),
        ("echo 'NVIDIA A100, 81920, 8.0'", "ok", "NVIDIA A100, 80 GiB, bf16"),
        ("echo 'Odd, [N/A], [N/A]'", "ok", "Odd, [N/A], [N/A]"),
        ("echo 'driver mismatch' >&2; exit 9", "other", "nvidia-smi fails: driver mismatch"),
    ],
)
def test_the_gpu_is_described_by_its_own_tool(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, script: str, status: str, found: str
) -> None:
    fake_nvidia_smi(tmp_path, script)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setattr(doctor.metadata, "version", lambda name: "2.13.0")
    check = doctor._gpu()
    assert (check.status, check.found) == (status, found)


def test_a_cpu_build_of_torch_beside_a_gpu_is_pointed_out(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    fake_nvidia_smi(tmp_path, "echo 'NVIDIA A100, 81920, 8.0'")
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setattr(doctor.metadata, "version", lambda name: "2.13.0+cpu")
    assert "torch is a CPU build" in doctor._gpu().found


def test_the_command_is_quick_imports_nothing_heavy_and_its_exit_code_is_its_verdict() -> None:
    code = (
        "import sys; from actre.cli import main; code = main(['doctor', '--json']);"
        "heavy = {'torch', 'transformers', 'trl', 'alfworld', 'textworld', 'numpy'} & set(sys.modules);"
        "print(sorted(heavy), file=sys.stderr); sys.exit(code)"
    )
    start = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    # It takes 0.2 s; the issue allows 2, and a busy machine gets some more here.
    assert time.perf_counter() - start < 6
    assert done.stderr == "[]\n"
    report = json.loads(done.stdout)
    assert done.returncode == (0 if report["can_run"] else 1)
    assert {"Python", "cmake", "GPU", "torch", "games"} <= {check["name"] for check in report["checks"]}


def test_here_the_quickstart_can_run() -> None:
    missing = [check for check in doctor.examine() if check.status == "missing"]
    assert not missing
