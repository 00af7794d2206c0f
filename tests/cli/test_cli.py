"""The command line: exit codes, hints, and one clear message for each kind of error."""

import argparse
import errno
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import actre
from actre import cli
from actre.cli.old_flags import OLD_FLAGS, in_todays_names
from actre.types import ActreError


@pytest.mark.parametrize(
    ("command", "old", "new"), [(c, o, n) for c, each in OLD_FLAGS.items() for o, n in each.items()]
)
def test_an_option_of_the_version_before_still_works_with_a_warning(command, old, new, capsys):
    assert in_todays_names([command, f"{old}=1", "x"]) == [command, f"{new}=1", "x"]
    assert f"{old} is now {new}" in capsys.readouterr().err
    assert in_todays_names([command, old, "1"]) == [command, new, "1"]
    known = cli.build_parser().parse_args
    with pytest.raises(SystemExit):  # the new name is an option of the command or of one of its subcommands
        known([command, "check", "--help"] if command == "webshop" else [command, "--help"])
    assert new in capsys.readouterr().out


def raise_in_doctor(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    def run(args: argparse.Namespace) -> int:
        raise error

    def add_parser(subparsers: Any) -> None:
        subparsers.add_parser("doctor").set_defaults(run=run)

    monkeypatch.setattr("actre.cli.doctor.add_parser", add_parser)


def test_an_error_of_ours_is_one_message_on_stderr_and_exit_code_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    raise_in_doctor(monkeypatch, ActreError("no games here; make some: actre games generate"))
    assert cli.main(["doctor"]) == 2
    out, err = capsys.readouterr()
    assert (out, err) == ("", "actre: error: no games here; make some: actre games generate\n")


def test_ctrl_c_says_interrupted_and_exits_130(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    raise_in_doctor(monkeypatch, KeyboardInterrupt())
    assert cli.main(["doctor"]) == 130
    assert capsys.readouterr().err == "interrupted\n"


def test_a_full_disk_is_named_with_the_file_and_what_to_do(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    raise_in_doctor(monkeypatch, OSError(errno.ENOSPC, "No space left on device", "runs/x/metrics.jsonl"))
    assert cli.main(["doctor"]) == 2
    err = capsys.readouterr().err
    assert "disk is full" in err
    assert "runs/x/metrics.jsonl" in err
    assert "df -h" in err


def test_a_folder_that_cannot_be_used_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "taken").write_text("a file")
    assert cli.main(["train", "--out", str(tmp_path / "taken")]) == 2
    assert capsys.readouterr().err.startswith(f"actre: error: {tmp_path / 'taken'}: File exists; choose another")


def test_other_errors_are_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    raise_in_doctor(monkeypatch, PermissionError(errno.EACCES, "denied"))
    with pytest.raises(PermissionError):
        cli.main(["doctor"])


@pytest.mark.parametrize(
    ("argv", "hint"),
    [
        (["docto"], "did you mean 'doctor'?"),
        (["zzz"], "the choices are: doctor, "),
        (["games", "lst"], "did you mean 'list'?"),
    ],
)
def test_an_unknown_command_gets_a_hint_and_exit_code_2(
    argv: list[str], hint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        cli.main(argv)
    assert stop.value.code == 2
    assert hint in capsys.readouterr().err


def test_version_is_the_packages(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        cli.main(["--version"])
    assert stop.value.code == 0
    assert capsys.readouterr().out == f"actre {actre.__version__}\n"


def test_without_a_command_the_help_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([]) == 0
    assert "actre doctor" in capsys.readouterr().out


def test_a_package_that_is_not_there_is_named_with_the_command_that_tells_more(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    raise_in_doctor(monkeypatch, ModuleNotFoundError("No module named 'trl'", name="trl"))
    assert cli.main(["doctor"]) == 2
    said = capsys.readouterr().err
    assert "actre doctor needs actre[train], and trl is not installed: pip install" in said
    raise_in_doctor(monkeypatch, ModuleNotFoundError("No module named 'else'", name="else.where"))
    assert cli.main(["doctor"]) == 2
    assert "else.where is not installed; `actre doctor` shows" in capsys.readouterr().err


def test_doctor_answers_where_the_other_rooms_cannot_be_loaded() -> None:
    code = (
        "import sys; sys.modules['numpy'] = sys.modules['gymnasium'] = None;"
        "from actre.cli import main; sys.exit(main(['doctor']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.startswith("machine\n")
    assert done.stderr == ""


def test_every_command_answers_help_and_runs_a_function(capsys: pytest.CaptureFixture[str]) -> None:
    actions = [action for action in cli.build_parser()._actions if action.choices]
    commands = actions[0].choices
    assert isinstance(commands, dict)
    for name, parser in commands.items():
        # Subcommands of subcommands (games list) set their own function.
        nested = any(isinstance(action, argparse._SubParsersAction) for action in parser._actions)
        assert nested or callable(parser.get_default("run")), name
        with pytest.raises(SystemExit) as stop:
            cli.main([name, "--help"])
        assert stop.value.code == 0
        assert capsys.readouterr().out.startswith(f"usage: actre {name}")


def test_a_reader_that_stops_early_is_no_error() -> None:
    done = subprocess.run(
        [
            "bash",
            "-c",
            '"$0" -m actre games list small/train | head -n 1; echo ${PIPESTATUS[0]}',
            sys.executable,
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    assert done.stdout.endswith("\n0\n")


def test_the_script_is_on_the_path_and_is_the_same_program() -> None:
    script = Path(sys.executable).with_name("actre")
    assert script.exists(), "install the package: pip install -e ."
    by_script = subprocess.run([script, "--version"], capture_output=True, text=True, check=True)
    by_module = subprocess.run([sys.executable, "-m", "actre", "--version"], capture_output=True, text=True, check=True)
    assert by_script.stdout == by_module.stdout
