"""The report's section on collapse: what is measured is shown, and older runs are shown without it."""

from dataclasses import replace
from pathlib import Path

import pytest
from fake_run import build_run, interval, trajectory

from actre.types import read_jsonl, write_jsonl
from actre.view import plots
from actre.view.collapse import READINGS, collapse, curve, distinct, zero_variance
from actre.view.inspector import data
from actre.view.inspector.static import transcript
from actre.view.records import read_run


def with_signs(folder: Path) -> Path:
    """A run whose training measured the signs of a collapse."""
    run = build_run(folder)
    lines = [
        {**line, "groups_without_signal": 3, "zero_variance_groups": 0.5, "distinct_trajectories": 6.0}
        for line in read_jsonl(run / "metrics.jsonl")
    ]
    write_jsonl(run / "metrics.jsonl", lines)
    order = {"games": 4, "episodes": 4, "admissible": 0.9, "distinct_trajectories": 2.5, "steps": 9.0}
    share = {"success": interval(0.25), "pass_at": {"1": interval(0.25), "4": interval(0.625)}}
    entropy = [
        {
            **line,
            "thought_state_information": interval(2.0 - 0.05 * line["iteration"]),
            "retrieval_accuracy": interval(0.75),
            "retrieval_chance": 0.125,
            "other_no_think": interval(0.03),
            "orders": [{"order": name, **order, **share} for name in ("think_first", "act_first", "no_think")],
        }
        for line in read_jsonl(run / "entropy.jsonl")
    ]
    write_jsonl(run / "entropy.jsonl", entropy)
    return run


def test_every_sign_is_shown_with_a_line_on_how_to_read_it(tmp_path: Path) -> None:
    page = str(collapse([read_run(with_signs(tmp_path))]))
    for name, words in READINGS:
        assert name in page
        assert words.split(",")[0].split(":")[0] in page.replace("&#x27;", "'")
    assert "2.00 [1.85, 2.15]" in page
    assert "at most 2.08 nats" in page
    assert "by chance 0.12" in page
    assert "50%" in page
    assert "75%" in page, "6 distinct trajectories of 8"
    assert "97%" in page, "admissible on the probe states, no-think: 1 - 0.03"
    assert "1: 25%, 4: 62%" in page
    assert "2.5 of 4" in page


def test_the_curve_holds_the_shares_and_the_retrieval_accuracy(tmp_path: Path) -> None:
    figure = curve(read_run(with_signs(tmp_path)))
    assert [trace.name for trace in figure.data] == [
        "zero-variance groups",
        "distinct trajectories",
        "retrieval accuracy",
    ]
    assert set(figure.data[0].y) == {0.5}
    assert set(figure.data[1].y) == {0.75}
    assert set(figure.data[2].y) == {0.75}


def test_an_older_run_is_shown_by_its_groups_without_signal(tmp_path: Path) -> None:
    run = read_run(build_run(tmp_path))
    assert run.config is not None
    old = replace(run, metrics=tuple({**line, "groups_without_signal": 3} for line in run.metrics))
    assert {share for _, share in zero_variance(old)} == {3 / run.config.optim.groups}
    assert distinct(old) == []
    page = str(collapse([old]))
    assert "zero-variance groups, first and last" in page
    assert "retrieval accuracy, by chance" not in page


def test_without_records_the_section_says_so(tmp_path: Path) -> None:
    run = replace(read_run(build_run(tmp_path)), metrics=(), entropy=())
    assert "Nothing was recorded" in str(collapse([run]))


def test_the_live_curve_has_the_signs_beside_success(tmp_path: Path) -> None:
    runs = [read_run(with_signs(tmp_path))]
    before = len(plots.learning_curve(runs).data)
    drawn = plots.with_signs(plots.learning_curve(runs), runs)
    assert [trace.name for trace in drawn.data[before:]] == ["zero-variance groups", "distinct trajectories"]
    assert len(plots.with_signs(plots.learning_curve([]), []).data) == 0


@pytest.mark.parametrize(("advantage", "flat"), [(0.0, True), (0.5, False)])
def test_the_inspector_tells_a_groups_distinct_trajectories_and_its_variance(advantage: float, flat: bool) -> None:
    one = trajectory("small/unseen/a", "pick_and_place_simple", "act_first", False, 0)
    other = trajectory("small/unseen/a", "pick_and_place_simple", "act_first", True, 1)
    group = [
        replace(
            t,
            group=2,
            meta={"iteration": 7},
            steps=tuple(replace(step, advantage=advantage) for step in t.steps),
        )
        for t in (one, one, other)
    ]
    elsewhere = replace(one, group=2, meta={"iteration": 8})
    found = data.entries([*group, elsewhere, one])
    words = "group 2: 2 distinct trajectories of 3" + (", zero variance: no gradient" if flat else "")
    assert [entry.of_group for entry in found] == [words] * 3 + ["", ""]
    assert words in str(transcript(data.episode(0, found[0])))
    assert data.index(found)[0]["of_group"] == words
