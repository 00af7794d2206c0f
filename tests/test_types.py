"""Records survive JSONL, and a damaged file is named with its line."""

from pathlib import Path

import pytest

from actre.types import (
    ActreError,
    Observation,
    Step,
    Trajectory,
    read_jsonl,
    read_trajectories,
    trajectory_from_json,
    trajectory_to_json,
    write_jsonl,
    write_trajectories,
)

HOSTILE = 'a </script><b onload="x">\u2028 "quote" \\n \U0001f600 lone \ud800'


def episode() -> Trajectory:
    seen = Observation(HOSTILE, "find it", ("go", "look"))
    one = Step(seen, (1, 2), (3, 4), (-0.5, -0.25), "x", HOSTILE, "go", (), 0.0)
    two = Step(seen, (1, 2, 3, 4, 5), (6,), (-1.0,), "y", None, None, ("no_action",), 0.0)
    other = Step(seen, (9,), (6,), (-1.0,), "y", None, "fly", ("inadmissible",), 1.0)
    return Trajectory("alfworld", "g", "t", "think_first", 3, (one, two, other), seen, True, False, 0, {"stage": 1})


@pytest.mark.parametrize("name", ["t.jsonl", "t.jsonl.gz"])
def test_trajectories_come_back_equal(tmp_path: Path, name: str) -> None:
    write_trajectories(tmp_path / name, [episode(), episode()])
    assert read_trajectories(tmp_path / name) == [episode(), episode()]


def test_a_prompt_that_extends_the_last_one_is_stored_as_its_new_ids() -> None:
    stored = trajectory_to_json(episode())["steps"]
    assert [step["prompt_ids"] for step in stored] == [[1, 2], [5], [9]]


def test_another_schema_is_refused() -> None:
    with pytest.raises(ActreError, match="schema 99"):
        trajectory_from_json({**trajectory_to_json(episode()), "schema": 99})


def test_a_record_with_a_missing_field_is_refused() -> None:
    record = trajectory_to_json(episode())
    del record["won"]
    with pytest.raises(ActreError, match="won"):
        trajectory_from_json(record)


def test_a_damaged_line_is_named_with_its_number(tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").write_text('{"a": 1}\n{"a": \n')
    with pytest.raises(ActreError, match="line 2"):
        list(read_jsonl(tmp_path / "x.jsonl"))


def test_a_truncated_gzip_file_is_an_error_of_ours(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "x.jsonl.gz", [{"a": i} for i in range(1000)])
    whole = (tmp_path / "x.jsonl.gz").read_bytes()
    (tmp_path / "x.jsonl.gz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ActreError, match="damaged"):
        list(read_jsonl(tmp_path / "x.jsonl.gz"))


def test_the_old_file_stays_whole_when_writing_fails(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "x.jsonl", [{"a": 1}])

    def broken() -> object:
        yield {"a": 2}
        raise RuntimeError("interrupted")

    with pytest.raises(RuntimeError):
        write_jsonl(tmp_path / "x.jsonl", broken())  # type: ignore[arg-type]
    assert list(read_jsonl(tmp_path / "x.jsonl")) == [{"a": 1}]
