"""A study's runs: which are made, in which order, what an interruption and a failure leave."""

import json
import re
import subprocess
import sys
from collections.abc import Mapping
from html import escape
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from study_records import fake_record

from actre import adapters
from actre.cli import main
from actre.cli.study import SHIPPED
from actre.runtime.locks import locked
from actre.study import job, runner
from actre.study.file import load_study
from actre.study.findings import find
from actre.study.pages.words import in_short
from actre.study.plan import Study
from actre.study.record import finished, load_records, numbers, results_file, save_record
from actre.study.runner import Progress, Workplace, make_runs, table
from actre.training import NotFiniteError
from actre.types import ActreError

TEXT = """
name = "s"
[[part]]
name = "p"
seeds = [3, 4]
exploratory = [["actre-grpo", "think_first-grpo"]]
[[part.runs]]
arms = ["think_first", "actre"]
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "s.toml"
    path.write_text(TEXT)
    return path


@pytest.fixture
def study(file: Path) -> Study:
    return load_study(file)


@pytest.fixture
def place(file: Path, tmp_path: Path) -> Workplace:
    return Workplace(file, tmp_path / "out", tmp_path / "results", "actre study s.toml", ({}, {}))


@pytest.fixture
def started(study: Study, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Runs that were started, in order. Each leaves its record at once; those in a file "fail" beside it end badly."""
    keys: list[str] = []
    runs = {run.key: run for run in study.runs}

    def start(arguments: list[str], log: Path, env: Mapping[str, str]) -> subprocess.Popen[bytes]:
        _, key, folder, _ = arguments
        keys.append(key)
        log.write_text("first line\nlast words\n")
        if (log.parent / "fail").exists() and "seed-3" in key:
            return subprocess.Popen([sys.executable, "-c", "raise SystemExit(1)"])
        (Path(folder) / "record.json").write_text(json.dumps(fake_record(runs[key], 0.5)) + "\n")
        return subprocess.Popen([sys.executable, "-c", ""])

    monkeypatch.setattr(runner, "_start", start)
    monkeypatch.setattr(runner, "_POLL_S", 0.02)
    return keys


def test_every_run_is_made_once_in_the_files_order(study: Study, place: Workplace, started: list[str]) -> None:
    outcome = make_runs(study, study.runs, place)
    assert started == [run.key for run in study.runs]
    assert sorted(outcome.made) == sorted(started)
    assert finished(study, place.results).keys() == set(started)
    assert make_runs(study, study.runs, place).made == ()
    assert len(started) == len(study.runs)


def test_a_study_goes_on_where_it_was_stopped(study: Study, place: Workplace, started: list[str]) -> None:
    def interrupt(text: str) -> None:
        if text.endswith(": done"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make_runs(study, study.runs, place, say=interrupt)
    saved = set(finished(study, place.results))
    assert len(saved) >= 1
    started.clear()
    make_runs(study, study.runs, place)
    assert set(started) == {run.key for run in study.runs} - saved


def test_a_study_stops_after_its_budget_and_keeps_what_is_done(
    study: Study, place: Workplace, started: list[str]
) -> None:
    """The runs that are still going are interrupted as by Ctrl-C, so that each saves its state."""
    ended: list[str] = []

    def say(text: str) -> None:
        if text.endswith(": done"):
            ended.append(text)

    outcome = make_runs(study, study.runs, place, say=say, stop_now=lambda: len(ended) >= 2)
    assert 2 <= len(outcome.made) < len(study.runs)
    assert finished(study, place.results).keys() == set(outcome.made)
    with locked(place.out, "is working in"):
        pass
    assert set(outcome.made) | set(make_runs(study, study.runs, place).made) == {run.key for run in study.runs}


def test_the_command_stops_after_the_minutes_allowed_and_says_so(
    file: Path, place: Workplace, started: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["study", str(file), "--out", str(place.out), "--jobs", "1"]
    assert main([*command, "--budget", "0.000001"]) == 0
    assert started == []
    assert "stopped after the 1e-06 minutes allowed; the same command continues" in capsys.readouterr().out
    assert main([*command, "--budget", "60"]) == 0
    assert len(started) == 4
    assert "stopped" not in capsys.readouterr().out


def test_a_run_of_another_study_that_is_the_same_is_not_made_again(
    study: Study, place: Workplace, started: list[str]
) -> None:
    save_record(results_file(place.results, "other"), fake_record(study.runs[0], 0.7))
    place.file.write_text(TEXT.replace('name = "s"', 'name = "s"\nshares = ["other"]', 1))
    make_runs(load_study(place.file), study.runs, place)
    assert started == [run.key for run in study.runs[1:]]


def test_a_failed_run_is_named_with_its_last_words_and_the_others_are_made(
    study: Study, place: Workplace, started: list[str]
) -> None:
    folder = place.out / "p"
    folder.mkdir(parents=True)
    (folder / "fail").touch()
    outcome = make_runs(study, study.runs, place)
    assert sorted(outcome.made) == ["p/actre-grpo-seed-4", "p/think_first-grpo-seed-4"]
    assert len(outcome.failed) == 2
    assert "last words" in str(outcome.failed[0])
    (folder / "fail").unlink()
    assert len(make_runs(study, study.runs, place).made) == 2


def test_two_programs_do_not_make_the_same_study_at_once(study: Study, place: Workplace, started: list[str]) -> None:
    with locked(place.out, "is working in"), pytest.raises(ActreError, match=r"another process is working in"):
        make_runs(study, study.runs, place)
    assert not started
    (place.out / "running.pid").write_text("1")  # an earlier version's lock
    assert len(make_runs(study, study.runs, place).made) == 4


def test_the_live_table_shows_what_is_finished_running_and_waiting(study: Study) -> None:
    done = {study.runs[0].key: fake_record(study.runs[0], 0.5)}
    text = table(study, done, {study.runs[1].key: Progress(6_000, 24_000)})
    assert [line.split() for line in text.splitlines()] == [
        ["p", "seed", "3", "seed", "4"],
        ["think_first-grpo", "50.0", "%", "."],
        ["actre-grpo", "(25", "%)", "."],
        ["1", "of", "4", "runs", "finished"],
    ]


def test_runs_are_spread_over_the_gpus_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,2")
    assert [slot["CUDA_VISIBLE_DEVICES"] for slot in runner.slots(None)] == ["0", "2"]
    assert [slot["CUDA_VISIBLE_DEVICES"] for slot in runner.slots(3)] == ["0", "2", "0"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert runner.slots(2) == ({}, {})
    with pytest.raises(ActreError, match="at least 1"):
        runner.slots(0)


def test_the_command_shows_the_plan_runs_a_part_and_writes_the_pages(
    file: Path, tmp_path: Path, started: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    common = ["study", str(file), "--out", str(tmp_path / "o")]
    assert main([*common, "--plan"]) == 0
    assert started == []
    assert main([*common, "--only", "actre", "--seeds", "4", "--jobs", "1"]) == 0
    assert started == ["p/actre-grpo-seed-4"]
    assert main([*common, "--write", str(tmp_path / "r.md")]) == 0
    said = capsys.readouterr().out
    assert "0 of 4 runs finished" in said
    assert "1 of 4 runs finished" in said
    assert "Seed 4: actre, GRPO." in (tmp_path / "r.md").read_text()
    assert (tmp_path / "o" / "s" / "study.html").exists()
    assert main([*common, "--only", "nothing"]) == 2


def test_a_study_ends_with_what_came_out_in_the_pages_own_words_the_paths_and_the_next_command(
    file: Path, tmp_path: Path, started: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "o"
    common = ["study", str(file), "--out", str(out), "--jobs", "1"]
    assert main([*common, "--only", "actre"]) == 0
    first = capsys.readouterr().out.partition("what came out")[2]
    assert "waiting for seeds: 1 of 1 contrasts" in first
    assert f"next: actre study {file} --out {out} (makes the 2 missing runs; finished ones are kept)" in first
    assert main(common) == 0
    _, _, said = capsys.readouterr().out.partition("what came out")
    told, paths = said.split("\n\n")
    page = (out / "s" / "study.html").read_text()
    (part,) = load_study(file).parts
    found = find(part, finished(load_study(file), out))
    assert in_short(found)
    for sentence in in_short(found):
        assert f"p: {sentence}" in " ".join(told.split())
        assert escape(sentence, quote=False) in page
    lines = paths.strip().splitlines()
    assert lines[0] == f"page: {out / 's' / 'study.html'}"
    assert lines[1] == f"records: {out / 's.jsonl'}; runs: {out / 's'}"
    assert lines[2].endswith(f"actre study {file} --out {out} --write PAGE.md")
    assert main([*common[:-2], "--write", str(tmp_path / "PAGE.md")]) == 0, "the command it names works"


def test_a_run_made_again_is_compared_number_by_number(
    file: Path, tmp_path: Path, started: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    common = ["study", str(file), "--out", str(tmp_path / "o"), "--only", "actre", "--seeds", "4", "--jobs", "1"]
    main(common)
    assert main([*common, "--rerun", "p/actre-grpo-seed-4"]) == 0
    path = tmp_path / "o" / "s.jsonl"
    (line,) = load_records(path)
    save_record(path, {**line, "generated_tokens": 7})
    assert main([*common, "--rerun", "p/actre-grpo-seed-4"]) == 1
    assert "generated_tokens: 7 became 1000" in capsys.readouterr().out
    assert load_records(path)[0]["generated_tokens"] == 7
    assert main([*common, "--rerun", "p/actre-grpo-seed-3"]) == 2


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--results", "{file}"], "--results .* is a file, but a folder is needed"),
        (["--out", "{file}"], "--out .* is a file, but a folder is needed"),
        (["--write", "{none}/r.md"], "give a file in an existing folder"),
        (["--write", "{page}"], "has no finished run of s, so .* was not written"),
        (["--write", "{page}", "--only", "actre"], "leave out --only and --seeds"),
        (["--only", "nothing", "--seeds", "3,9"], "no run with 'nothing' in its name and with seed 3 or 9"),
        (["--seeds", "9"], "no run with seed 9; `actre study .* --plan`"),
        (["--rerun", "p/x"], "holds no finished run 'p/x'"),
    ],
)
def test_what_cannot_be_done_is_said_before_anything_runs(
    file: Path, tmp_path: Path, started: list[str], capsys: pytest.CaptureFixture[str], options: list[str], said: str
) -> None:
    page = tmp_path / "page.md"
    page.write_text("as it was")
    names = {"file": file, "none": tmp_path / "none", "page": page}
    filled = [option.format(**names) for option in options]
    assert main(["study", str(file), *filled]) == 2
    assert re.search(said, capsys.readouterr().err)
    assert started == []
    assert page.read_text() == "as it was"


def test_the_plan_shows_what_was_asked_for_and_says_where_finished_runs_lie(
    file: Path, study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    common = ["study", str(file), "--plan"]
    assert main([*common, "--only", "actre", "--seeds", "4"]) == 0
    said = capsys.readouterr().out
    assert "0 of 1 runs finished" in said
    assert "think_first" not in said
    save_record(results_file(SHIPPED, "s"), fake_record(study.runs[0], 0.5))
    assert main(common) == 0
    assert f"`--results {SHIPPED}` includes them" in capsys.readouterr().out
    assert main([*common, "--results", str(SHIPPED)]) == 0
    assert "includes them" not in capsys.readouterr().out


def test_a_stopped_study_still_shows_what_is_finished(
    file: Path, tmp_path: Path, started: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    real = runner._end
    ended: list[str] = []

    def end_once(run: Any, *rest: Any) -> Any:
        if ended:
            raise KeyboardInterrupt
        ended.append(run.key)
        return real(run, *rest)

    monkeypatch.setattr(runner, "_end", end_once)
    assert main(["study", str(file), "--out", str(tmp_path / "o"), "--jobs", "1"]) == 130
    assert "1 of 4 runs finished" in capsys.readouterr().out
    assert (tmp_path / "o" / "s" / "study.html").exists()


def test_runs_from_other_weights_than_the_file_fixes_do_not_count_and_are_not_made(
    file: Path, study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_record(results_file(tmp_path, "s"), fake_record(study.runs[0], 0.5, model="m"))
    assert list(finished(study, tmp_path)) == [study.runs[0].key]
    file.write_text(TEXT.replace("seeds =", 'fingerprint = "m"\nseeds =', 1))
    assert list(finished(load_study(file), tmp_path)) == [study.runs[0].key]
    file.write_text(TEXT.replace("seeds =", 'fingerprint = "n"\nseeds =', 1))
    assert finished(load_study(file), tmp_path) == {}
    monkeypatch.setattr(job, "base_policy", lambda config: SimpleNamespace(model=None))
    monkeypatch.setattr(adapters, "fingerprint", lambda model: "m")
    with pytest.raises(ActreError, match=r"not the policy this study was fixed on.* is m, and the study file names n"):
        job.run_job(file, study.runs[0].key, tmp_path / "run", "c")


@pytest.mark.parametrize("checkpoints", [True, False])
def test_a_run_whose_numbers_are_none_counts_as_its_last_checkpoint(
    study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, checkpoints: bool
) -> None:
    last = tmp_path / "checkpoints" / "iteration-2" if checkpoints else None
    loaded: list[Path | None] = []
    lines: list[dict[str, Any]] = []

    def broken(config: Any, folder: Path) -> Any:
        raise NotFiniteError("iteration 3: the loss is nan")

    monkeypatch.setattr(job, "base_policy", lambda config: SimpleNamespace(model=None))
    monkeypatch.setattr(adapters, "fingerprint", lambda model: "m")
    monkeypatch.setattr(job, "trained_policy", broken)
    monkeypatch.setattr("actre.training.checkpoints.latest", lambda folder: last)
    monkeypatch.setattr("actre.adapters.load_policy", lambda config, folder: loaded.append(folder) or "policy")
    monkeypatch.setattr(job, "evaluate_into", lambda policy, *rest, resume: lines.append({"policy": policy}))
    monkeypatch.setattr(job, "record", lambda *rest, trouble, **more: lines.append({"trouble": trouble}) or {})
    job.make(study.runs[1], "s", tmp_path, "c")
    assert loaded == [last]
    played = (
        "its last checkpoint counts" if checkpoints else "it has no checkpoint, and so counts as the untrained policy"
    )
    assert lines == [{"policy": "policy"}, {"trouble": f"iteration 3: the loss is nan; {played}"}]


def test_two_programs_save_into_one_file_without_losing_a_line(study: Study, tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from actre.study.record import SCHEMA, save_record\n"
        "for i in range(40): save_record(Path(sys.argv[1]), {'schema': SCHEMA, 'key': f'{sys.argv[2]}-{i}'})"
    )
    path = tmp_path / "r" / "s.jsonl"
    both = [subprocess.Popen([sys.executable, "-c", program, str(path), name]) for name in "ab"]
    assert [one.wait(timeout=120) for one in both] == [0, 0]
    assert len(load_records(path)) == 80


def test_what_is_compared_leaves_out_where_and_when_and_nothing_else(study: Study) -> None:
    line = fake_record(study.runs[0], 0.5)
    assert numbers(line) == numbers({**line, "seconds": 99.0, "machine": {}, "command": "x", "versions": {}})
    older = {**line["config"], "model": {k: v for k, v in line["config"]["model"].items() if k != "weight_sync"}}
    assert numbers(line) == numbers({**line, "config": older}), "a setting that came later was at its default"
    assert numbers(line) != numbers(fake_record(study.runs[0], 0.525))
    assert numbers(line) != numbers({**line, "curve": []})
