"""`actre calibrate` at a small size: what it writes, and that an interrupted one goes on to the same record."""

import json
from pathlib import Path
from typing import Any

import pytest

from actre import cli
from actre.entropy import calibration
from actre.entropy.thoughts import load_calibration, load_curves


def command(out: Path, repetitions: int = 3) -> list[str]:
    return ["calibrate", "--repetitions", str(repetitions), "--out", str(out)]


def tables(path: Path) -> dict[str, Any]:
    return {name: load_calibration(path)[name] for name in ("estimators", "sets", "settings", "seed", "command")}


@pytest.fixture
def few_cells(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    every = calibration.cells()
    some = [c for c in every if c["actions"] == 5 and c["k"] in (1, 4, 8) and c["kind"] == "decisive"]
    monkeypatch.setattr(calibration, "cells", lambda: some)
    return some


def test_a_whole_calibration_of_a_small_size_has_every_row(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "c.json"
    assert cli.main(command(out, 2)) == 0
    record = load_calibration(out)
    assert record["command"] == "actre calibrate --repetitions 2 --seed 0"
    assert {"python", "numpy"} <= set(record["versions"])
    assert record["settings"]["pseudo_thoughts"] == 0.1
    assert len(record["estimators"]) == 3 * 2 * 3 * 7
    assert {row["scenario"] for row in record["sets"]} >= {"null: the same distribution", "difference +0.12"}
    assert all(row["repetitions"] == 2 for row in record["estimators"] + record["sets"])
    assert len(load_curves(out)) == 2 * 2 * 3
    assert "2 repetitions" in capsys.readouterr().out
    assert not list(tmp_path.glob("*.part"))


def test_an_interrupted_calibration_goes_on_to_the_same_record(
    tmp_path: Path, few_cells: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert cli.main(command(tmp_path / "whole.json")) == 0
    real, calls = calibration.measure, []

    def failing(*args: Any) -> Any:
        calls.append(args)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return real(*args)

    monkeypatch.setattr(calibration, "measure", failing)
    assert cli.main(command(tmp_path / "c.json")) == 130
    part = tmp_path / "c.json.part"
    part.write_text(part.read_text() + '{"part": "sets", "ro')  # a torn line
    assert cli.main(command(tmp_path / "c.json")) == 0
    assert len(calls) == len(few_cells) + 1  # the three finished ones are not measured again
    assert tables(tmp_path / "c.json") == tables(tmp_path / "whole.json")


def test_a_part_of_other_settings_is_not_continued(
    tmp_path: Path, few_cells: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "c.json.part").write_text(json.dumps({"schema": 1, "seed": 7}) + "\n")
    assert cli.main(command(tmp_path / "c.json")) == 2
    assert "other settings" in capsys.readouterr().err
    assert cli.main(command(tmp_path / "d.json", 1)) == 2
    assert "at least 2" in capsys.readouterr().err
