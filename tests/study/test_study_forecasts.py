"""What was expected of a contrast is read, shown from the start, and scored when its seeds are finished."""

from pathlib import Path

import pytest
from study_records import fake_records

from actre.study.file import load_study
from actre.study.findings import Found, find
from actre.study.pages.forecasts import said, scored, table
from actre.study.pages.page import page
from actre.study.pages.printing import as_markdown
from actre.study.plan import Part
from actre.types import ActreError

STUDY = """
name = "s"
[[part]]
name = "p"
seeds = [3, 4]
exploratory = [["actre-grpo", "think_first-grpo"], ["tfpi-grpo", "think_first-grpo"]]
[[part.runs]]
arms = ["think_first", "actre", "tfpi"]
[[part.forecasts]]
contrast = ["actre-grpo", "think_first-grpo"]
points = [-4, 8]
above = 0.7
because = "acting first learns"
[[part.forecasts]]
contrast = ["tfpi-grpo", "think_first-grpo"]
points = [-2.5, 2.5]
above = 0.5
"""


def part_of(tmp_path: Path, text: str = STUDY) -> Part:
    path = tmp_path / "s.toml"
    path.write_text(text)
    return load_study(path).parts[0]


def found_with(part: Part, gains: dict[str, float], seeds: tuple[int, ...] = (3, 4)) -> Found:
    lines = fake_records(part.runs, lambda run: 0.5 + gains.get(run.arm, 0.0))
    return find(part, {key: line for key, line in lines.items() if line["seed"] in seeds})


def test_a_forecast_is_scored_by_its_range_and_its_probability(tmp_path: Path) -> None:
    found = found_with(part_of(tmp_path), {"actre": 0.05, "tfpi": -0.10})
    ours, theirs = scored(found)
    assert (ours.held, ours.brier) == (True, pytest.approx(0.09))
    assert (theirs.held, theirs.brier) == (False, pytest.approx(0.25))
    assert "1 of 2 differences came out within their 80 % ranges; Brier score 0.17" in said(found)[0]
    rows = table(found).rows
    assert [row[4] for row in rows] == ["within", "outside"]
    assert rows[0][1:3] == ("-4 to +8", "70 %")


def test_the_edge_of_a_range_belongs_to_it_and_no_difference_is_not_above_0(tmp_path: Path) -> None:
    found = found_with(part_of(tmp_path), {"tfpi": -0.025})
    ours, theirs = scored(found)
    assert (ours.held, ours.brier) == (True, pytest.approx(0.49))
    assert theirs.held


def test_nothing_is_scored_before_the_planned_seeds_are_finished(tmp_path: Path) -> None:
    found = found_with(part_of(tmp_path), {"actre": 0.05}, seeds=(3,))
    assert [(one.held, one.brier) for one in scored(found)] == [(None, None)] * 2
    assert said(found) == ["Forecasts: 2 were fixed beforehand; none can be scored yet."]
    assert [row[3:6] for row in table(found).rows] == [("–", "–", "–")] * 2


def test_forecasts_stand_on_the_page_before_any_run_and_not_where_there_are_none(tmp_path: Path) -> None:
    def text(study: str) -> str:
        part_of(tmp_path, study)
        study_file = load_study(tmp_path / "s.toml")
        return as_markdown(page([study_file], [{}], None), tmp_path / "page.md")

    assert "| actre − think_first, GRPO | -4 to +8 | 70 % | – | – | – | acting first learns |" in text(STUDY)
    assert "orecast" not in text(STUDY.split("[[part.forecasts]]")[0])


@pytest.mark.parametrize(
    ("old", "new", "match"),
    [
        ("points = [-4, 8]", "points = [8, -4]", "expected a range in points"),
        ("points = [-4, 8]", 'points = "few"', "expected a range in points"),
        ("points = [-4, 8]", "points = [-4, inf]", "expected a range in points"),
        ("above = 0.7", "above = 70", "expected a probability"),
        ("above = 0.7", "above = true", "expected a probability"),
        ('"actre-grpo", "think_first-grpo"]\npoints', '"actre-grpo", "untrained"]\npoints', "no contrast of this part"),
        ("above = 0.7", "abov = 0.7", "'abov', which is unknown"),
        ("[[part.forecasts]]", "[part.forecasts]", r"write each as \[\[part.forecasts\]\]"),
    ],
)
def test_a_forecast_that_cannot_be_scored_is_refused(tmp_path: Path, old: str, new: str, match: str) -> None:
    text = STUDY.replace(old, new, 1)
    if new == "[part.forecasts]":
        text = text.rpartition("[[part.forecasts]]")[0].replace("[[part.forecasts]]", new)
    with pytest.raises(ActreError, match=match):
        part_of(tmp_path, text)
