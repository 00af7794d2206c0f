"""A contrast between parts: the interaction follows from the seeds' differences, and shares Holm's correction."""

import math
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import stats as scipy_stats
from study_records import fake_records

from actre.entropy import precondition_files
from actre.entropy.preconditions import Narrowing, Preconditions, Transfer
from actre.entropy.transfer import Gains
from actre.stats import Interval, combined_means, holm
from actre.study.across import beside, between
from actre.study.file import load_study
from actre.study.findings import find
from actre.study.pages import results
from actre.study.plan import Run, Study
from actre.types import ActreError

PART = """
[[part]]
name = "{name}"
evidence = "{evidence}"
seeds = [3, 4, 5]
{confirmatory}
[[part.runs]]
arms = ["think_first", "actre"]
"""
ACROSS = """
name = "s"
[across]
contrast = ["actre-grpo", "think_first-grpo"]
largest_in = "corner"
"""
CORNER = PART.format(
    name="corner", evidence="confirmatory", confirmatory='confirmatory = [["actre-grpo", "think_first-grpo"]]'
)
OTHERS = "".join(PART.format(name=name, evidence="exploratory", confirmatory="") for name in ("even", "middle"))
GAINS = {"corner": [0.2, 0.25, 0.225], "even": [0.0, 0.025, -0.025], "middle": [0.05, 0.0, 0.1]}


def study_of(tmp_path: Path, text: str = ACROSS + CORNER + OTHERS) -> Study:
    path = tmp_path / "s.toml"
    path.write_text(text)
    return load_study(path)


def gained(gains: dict[str, list[float]] = GAINS) -> Callable[[Run], float]:
    return lambda run: 0.5 + (gains[run.part][run.seed - 3] if run.arm == "actre" else 0.0)


def test_the_interaction_is_the_difference_minus_the_mean_of_the_others(tmp_path: Path) -> None:
    study = study_of(tmp_path)
    found = between(study, fake_records(study.runs, gained()))
    assert found is not None
    assert found.interaction is not None
    assert found.interaction.test is not None
    own, *others = (np.array(GAINS[name]) for name in ("corner", "even", "middle"))
    assert found.interaction.test.mean == pytest.approx(own.mean() - np.mean([o.mean() for o in others]))
    assert found.interaction.finding == "support"
    assert [side.part.name for side in found.sides] == ["corner", "even", "middle"]


def test_others_leaves_a_part_to_the_map_alone(tmp_path: Path) -> None:
    study = study_of(tmp_path, ACROSS + 'others = ["even"]\n' + CORNER + OTHERS)
    found = between(study, fake_records(study.runs, gained()))
    assert found is not None
    assert found.interaction is not None
    assert found.interaction.test is not None
    assert found.interaction.test.mean == pytest.approx(np.mean(GAINS["corner"]) - np.mean(GAINS["even"]))
    assert [side.part.name for side in found.sides] == ["corner", "even", "middle"]


def test_of_two_groups_the_test_is_welchs() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(1, 1, 7), rng.normal(0, 3, 12)
    ours, theirs = combined_means([x, y], [1, -1]), scipy_stats.ttest_ind(x, y, equal_var=False)
    band = theirs.confidence_interval(0.95)
    assert ours.p == pytest.approx(theirs.pvalue)
    assert (ours.low, ours.high) == pytest.approx((band.low, band.high))


@pytest.mark.parametrize("groups", [[[1.0], [1.0, 2.0]], [[1.0, math.nan], [1.0, 2.0]]])
def test_groups_without_spread_are_refused(groups: list[list[float]]) -> None:
    with pytest.raises(ValueError, match=r"at least 2|NaN"):
        combined_means(groups, [1, -1])


def test_equal_groups_have_no_difference_for_certain() -> None:
    assert combined_means([[1.0, 1.0], [1.0, 1.0]], [1, -1])[:4] == (0, 0, 0, 1)


def test_the_corners_contrast_and_the_interaction_share_one_correction(tmp_path: Path) -> None:
    study = study_of(tmp_path)
    lines = fake_records(study.runs, gained({**GAINS, "corner": [0.1, 0.25, 0.3]}))
    found = between(study, lines)
    assert found is not None
    assert found.interaction is not None
    assert found.interaction.test is not None
    corner = find(study.parts[0], lines, beside(found, study.parts[0])).compared[0]
    assert [corner.p_holm, found.interaction.p_holm] == pytest.approx(holm([corner.test.p, found.interaction.test.p]))
    assert corner.p_holm > corner.test.p
    assert beside(found, study.parts[1]) == ()
    page = results.markdown([study], [lines], "actre study s.toml", tmp_path / "page.md")
    assert "over this table's 1 planned contrast, and the interaction between parts, and is given" in page


def test_until_every_planned_seed_is_there_nothing_is_concluded(tmp_path: Path) -> None:
    study = study_of(tmp_path)
    lines = fake_records(study.runs, gained())
    missing = next(run for run in study.runs if run.part == "middle" and run.seed == 5 and run.arm == "actre")
    del lines[missing.key]
    found = between(study, lines)
    assert found is not None
    assert found.interaction is not None
    assert found.interaction.finding == "interim"
    assert math.isnan(found.interaction.p_holm)
    assert all(math.isnan(p) for p in beside(found, study.parts[0]))
    # the corner's own finding waits for its own seeds only, and is corrected for both tests
    corner = find(study.parts[0], lines, beside(found, study.parts[0])).compared[0]
    assert corner.p_holm == pytest.approx(min(1.0, 2 * corner.test.p))


def test_the_page_says_the_interaction_and_draws_the_map_from_measured_places(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = study_of(tmp_path)
    one = Interval(0.9, 0.8, 1.0)
    known = Preconditions(
        "tiny", "f", "alfworld",
        contraction=Narrowing("narrowed", Interval(0.31, 0.2, 0.4), Interval(0.77, 0.7, 0.8)),
        transfers=(Transfer("act_first", "sft", "p", Gains(one, one, Interval(0.83, 0.7, 1.0))),),
    )  # fmt: skip
    monkeypatch.setattr(precondition_files, "find", lambda *_: known)
    lines = fake_records(study.runs, gained())
    text = results.markdown([study], [lines], "actre study s.toml", tmp_path / "page.md")
    assert re.search(r"corner minus its mean in even, middle: \+20\.0 points \[.*\].*: higher\.", text)
    assert "| corner | 0.54 [0.31, 0.77] | 0.83 [0.70, 1.00] | +22.5 points [" in text
    page = results.html(study, lines, tmp_path / "page.html")
    assert "When does it help?" in page
    assert "middle: +5.0 (3 seeds)" in page
    some = {key: line for key, line in lines.items() if "middle" not in key}
    page = results.html(study, some, tmp_path / "page.html")
    assert "middle: not compared yet" in page
    assert "corner: +22.5 (3 seeds)" in page


def test_without_recorded_preconditions_the_map_has_no_place_for_a_policy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = study_of(tmp_path)
    monkeypatch.setattr(precondition_files, "find", lambda *_: None)
    page = results.html(study, fake_records(study.runs, gained()), tmp_path / "page.html")
    assert "When does it help?" not in page
    assert "By policy" in page


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (('largest_in = "corner"', 'largest_in = "nowhere"'), "'nowhere'; the parts that run both are: corner"),
        (('"actre-grpo", "think_first-grpo"]\nlargest', '"actre-grpo", "tfpi-grpo"]\nlargest'), "0 part runs both"),
        (("[across]\n", '[across]\nothers = ["even", "corner"]\n'), "others = ['corner']; the other parts"),
        (("[across]\n", "[across]\nothers = []\n"), "others = []; expected a list"),
        (('largest_in = "corner"', 'others = ["even"]'), "others is for largest_in, which is missing"),
        (("[across]\n", "[across]\nodd = 1\n"), "'odd', which is unknown"),
        (('contrast = ["actre-grpo", ', 'contrast = ["actre-grpo", "x", '), "is not a contrast"),
    ],
)
def test_what_is_wrong_in_the_file_is_named(tmp_path: Path, change: tuple[str, str], said: str) -> None:
    with pytest.raises(ActreError, match=re.escape(said)):
        study_of(tmp_path, (ACROSS + CORNER + OTHERS).replace(*change, 1))


def test_a_contrast_without_a_common_seed_is_refused(tmp_path: Path) -> None:
    apart = CORNER.replace(
        'arms = ["think_first", "actre"]',
        'arms = ["think_first"]\n[[part.runs]]\narms = ["actre"]\nseeds = [9]',
    )
    with pytest.raises(ActreError, match="compares actre-grpo and think_first-grpo, which have no seed in common"):
        study_of(tmp_path, 'name = "s"\n' + apart)


def test_a_study_without_it_is_as_before(tmp_path: Path) -> None:
    study = study_of(tmp_path, 'name = "s"\n' + CORNER)
    lines = fake_records(study.runs, gained())
    assert between(study, lines) is None
    assert replace(study, across=None) == study
    assert find(study.parts[0], lines).compared[0].p_holm == find(study.parts[0], lines).compared[0].test.p
