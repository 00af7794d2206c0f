"""What the make targets say where something they need is missing; nothing is installed here."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
BASE = ("bash", "make", "grep", "sed", "awk", "rm", "touch", "cat")


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    """A copy of what make reads, beside a folder bin/ with nothing but a shell's basics."""
    if shutil.which("make") is None:
        pytest.skip("make is not installed here")
    for name in ("Makefile", "pyproject.toml", "setup.py", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path)
    (tmp_path / "bin").mkdir()
    for name in BASE:
        found = shutil.which(name)
        assert found, name
        (tmp_path / "bin" / name).symlink_to(found)
    return tmp_path


def put(folder: Path, name: str, script: str = "exit 0") -> None:
    tool = folder / "bin" / name
    tool.write_text(f"#!{shutil.which('bash')}\n{script}\n")
    tool.chmod(0o755)


def make(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": str(folder / "bin"), "HOME": str(folder), "LANG": os.environ.get("LANG", "C")}
    return subprocess.run(
        ["make", *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


def test_without_cmake_the_command_that_brings_it_is_named_and_nothing_is_made(bare: Path) -> None:
    done = make(bare, "quickstart")
    assert done.returncode != 0
    assert "cmake is missing" in done.stderr
    assert "apt-get install cmake" in done.stderr
    assert not (bare / ".venv").exists()


def test_without_a_compiler_the_command_that_brings_one_is_named(bare: Path) -> None:
    put(bare, "cmake")
    done = make(bare, "test")
    assert done.returncode != 0
    assert "no C++ compiler" in done.stderr
    assert "apt-get install g++" in done.stderr


def test_without_a_fitting_python_the_ways_out_are_named(bare: Path) -> None:
    put(bare, "cmake")
    put(bare, "c++")
    put(bare, "python3", "exit 1")  # stands for one that is too old, or has no venv
    done = make(bare, "test")
    assert done.returncode != 0
    assert "no Python 3.11-3.13" in done.stderr
    assert "PYTHON=" in done.stderr
    assert (
        "no Python 3.11-3.13 with its venv module was found at /no/such" in make(bare, "test", "PYTHON=/no/such").stderr
    )


def test_a_venv_of_another_python_is_not_touched_but_named(bare: Path) -> None:
    (bare / ".venv" / "bin").mkdir(parents=True)
    put(bare, "python", '[ "$1" = --version ] && echo "Python 3.9.1" && exit 0; exit 1')
    (bare / "bin" / "python").rename(bare / ".venv" / "bin" / "python")
    done = make(bare, "test")
    assert done.returncode != 0
    assert ".venv holds Python 3.9.1" in done.stderr
    assert "make clean-venv" in done.stderr


def test_an_installation_that_fails_leaves_no_stamp_and_one_that_is_there_is_reused(bare: Path) -> None:
    (bare / ".venv" / "bin").mkdir(parents=True)
    log = bare / "log"
    put(bare, "python", f'echo "$@" >>{log}; case "$*" in *constraints*) exit "$(cat {bare}/code)";; esac')
    (bare / "bin" / "python").rename(bare / ".venv" / "bin" / "python")
    (bare / "code").write_text("1")
    assert make(bare, "quickstart").returncode != 0
    assert not (bare / ".venv" / ".core").exists()
    (bare / "code").write_text("0")
    assert make(bare, "quickstart").returncode == 0
    installs = log.read_text().count("install")
    assert make(bare, "quickstart", "ARGS=--seed 1").returncode == 0
    assert log.read_text().count("install") == installs
    assert log.read_text().splitlines()[-1] == "-m actre quickstart --seed 1"


def test_what_is_compiled_finds_a_python_of_that_name(bare: Path) -> None:
    (bare / ".venv" / "bin").mkdir(parents=True)
    put(bare, "python", f'[ "$3" = install ] && command -v python >>{bare}/log; exit 0')
    (bare / "bin" / "python").rename(bare / ".venv" / "bin" / "python")
    assert make(bare, "quickstart").returncode == 0
    assert set((bare / "log").read_text().split()) == {str(bare / ".venv" / "bin" / "python")}


def test_help_lists_every_target_with_what_it_does(bare: Path) -> None:
    lines = make(bare, "help").stdout.splitlines()
    targets = {line.split()[1] for line in lines}
    assert {"quickstart", "test", "lab", "check", "clean", "test-slow"} <= targets
    assert all(len(line.split()) > 3 for line in lines)
