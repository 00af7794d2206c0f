"""What is said of contraction follows from what was measured, and of a matched arm from its temperatures."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from study_records import fake_record, fake_records

from actre.study.file import load_study
from actre.study.findings import comparisons, find
from actre.study.mediation import ALL, LEAST_RUNS, associations, closed_share, end_of_stage_1, entropy_at, start_of
from actre.study.pages.entropy_tables import entropy_tables
from actre.study.pages.words import sentences
from actre.study.plan import Study

TEXT = """
name = "s"
[[part]]
name = "p"
evidence = "confirmatory"
seeds = [3, 4, 5, 6, 7]
confirmatory = [["actre-grpo", "think_first-grpo"], ["actre-grpo", "tfpi-grpo"]]
[[part.runs]]
arms = ["think_first", "actre", "tfpi", "think_first_hot", "untrained"]
"""
LOW, HIGH = [0.5, 0.55, 0.5, 0.525, 0.55], [0.8, 0.8, 0.85, 0.8, 0.875]


@pytest.fixture
def study(tmp_path: Path) -> Study:
    path = tmp_path / "s.toml"
    path.write_text(TEXT)
    return load_study(path)


def records(study: Study, **rates: Sequence[float]) -> dict[str, dict[str, Any]]:
    """Each arm's success by seed; LOW where none is given."""
    return fake_records(study.runs, lambda run: rates.get(run.arm, LOW)[run.seed - 3])


def measured(iteration: int, act_first: float, lower: float, upper: float) -> dict[str, Any]:
    values = {"act_first": act_first, "think_first_lower": lower, "think_first_upper": upper}
    return {"iteration": iteration, **{name: {"value": v, "low": v, "high": v} for name, v in values.items()}}


def test_entropy_is_taken_at_the_nearest_measurement_and_a_bracket_at_its_middle(study: Study) -> None:
    line = fake_record(study.runs[0], 0.5)
    line["entropy"] = [measured(0, 1.5, 1.0, 2.0), measured(10, 1.2, 0.8, 1.4), measured(20, 0.9, 0.2, 0.4)]
    assert [entropy_at(line, at, "act_first") for at in (0, 4, 6, 14, 16, 99)] == [1.5, 1.5, 1.2, 1.2, 0.9, 0.9]
    assert entropy_at(line, 20, "think_first") == pytest.approx(0.3)
    assert math.isnan(entropy_at({**line, "entropy": []}, 10, "act_first"))


def test_an_association_is_of_the_end_of_stage_1_with_the_primary_endpoint(study: Study) -> None:
    """Entropy rises with success in one arm and falls with it in the other, at the end of stage 1 and only there."""
    part = study.parts[0]
    lines = records(study, actre=[0.5, 0.55, 0.6, 0.65, 0.7], tfpi=[0.3, 0.35, 0.4, 0.45, 0.5])
    for run in study.runs:
        if run.trained:
            end = run.config.stages[0].iterations if len(run.config.stages) == 2 else 10
            rising = (run.seed if run.arm == "actre" else -run.seed) / 10
            elsewhere = (measured(0, 1.0, -rising, -rising), measured(end + 10, -rising, 1.0, 1.0))
            lines[run.key]["entropy"] = [elsewhere[0], measured(end, rising, -rising, -rising), elsewhere[1]]
        for place in lines[run.key]["evaluation"]:
            if (place["panel"], place["order"]) != ("unseen", "think_first"):
                place["won"] = place["won"][::-1].translate(str.maketrans("01", "10"))
    found = {(one.runs, one.name): (one.rho, one.n) for one in associations(part, lines)}
    assert found["actre-grpo", "act_first"] == (pytest.approx(1.0), 5)
    assert found["actre-grpo", "think_first"] == (pytest.approx(-1.0), 5)
    assert found["tfpi-grpo", "act_first"] == (pytest.approx(-1.0), 5)
    assert found[ALL, "act_first"][1] == 20
    assert not any("think_first-grpo" in runs or "untrained" in runs for runs, _ in found)
    few = {key: line for key, line in lines.items() if not key.endswith("7")}
    assert LEAST_RUNS == 5
    assert all(math.isnan(one.rho) for one in associations(part, few) if not one.runs.startswith("all"))
    nothing = {key: {**line, "entropy": []} for key, line in lines.items()}
    assert all(one.n == 0 and math.isnan(one.rho) for one in associations(part, nothing))


def test_a_difference_between_arms_is_not_taken_for_a_relation_within_them(study: Study) -> None:
    """Arms of more entropy win more; within each arm more entropy wins less."""
    lines = records(study, actre=[0.9, 0.875, 0.85, 0.825, 0.8], think_first=[0.5, 0.475, 0.45, 0.425, 0.4])
    kept = {}
    for run in study.runs:
        if run.arm in ("actre", "think_first"):
            level = (2.0 if run.arm == "actre" else 1.0) + run.seed / 100
            kept[run.key] = {**lines[run.key], "entropy": [measured(10, level, level, level)]}
    found = {(one.runs, one.name): one.rho for one in associations(study.parts[0], kept)}
    assert found[ALL, "act_first"] > 0.4
    assert found[f"{ALL}, within arms", "act_first"] < -0.9


def test_the_untrained_policys_verdicts_are_counted_once_a_seed(study: Study) -> None:
    lines = records(study)
    assert start_of(study.parts[0], lines) is None
    for run in study.runs:
        for one in lines[run.key]["entropy"]:
            one.update(verdict="narrowed" if run.seed == 3 else "inconclusive", states=24, k=8)
            if one["iteration"]:
                one["verdict"] = "widened"
    start = start_of(study.parts[0], lines)
    assert start is not None
    assert (dict(start.verdicts), start.states, start.thoughts) == ({"narrowed": 1, "inconclusive": 4}, 24, 8)
    text = " ".join(sentences(find(study.parts[0], lines)))
    assert "of 5 coarse measurements before training (one per seed; 24" in text
    assert "1 found that thinking narrows the policy's actions, 0 that it widens them, " in text
    assert "0 that the orders are equivalent, and 4 were inconclusive; " in text
    assert "a gain of actre that matters is ruled out" in text


def said(study: Study, lines: dict[str, dict[str, Any]]) -> str:
    """The page's sentences, of records whose first measurement has a verdict."""
    for line in lines.values():
        for one in line["entropy"][:1]:
            one.update(verdict="inconclusive", states=24, k=8)
    return " ".join(sentences(find(study.parts[0], lines)))


def test_runs_with_settings_of_their_own_are_not_mixed_in(tmp_path: Path) -> None:
    path = tmp_path / "s.toml"
    variant = '[[part.runs]]\nvariant = "v"\nsettings = { "optim.group_size" = 4 }\narms = ["actre"]\n'
    path.write_text(TEXT + variant)
    study = load_study(path)
    lines = fake_records(study.runs, lambda run: run.seed / 10)
    counted = {one.runs: one.n for one in associations(study.parts[0], lines)}
    assert counted[ALL] == 20
    assert not any("-v" in runs for runs in counted)


def test_an_arm_of_one_run_says_nothing_within_arms(study: Study) -> None:
    lines = records(study, actre=[0.5, 0.6, 0.7, 0.8, 0.9])
    kept = {key: line for key, line in lines.items() if "/actre" in key or key == "p/tfpi-grpo-seed-3"}
    found = {one.runs: one.n for one in associations(study.parts[0], kept) if one.name == "act_first"}
    assert (found[ALL], found[f"{ALL}, within arms"]) == (6, 5)


def test_the_share_of_a_gap_that_the_matched_arm_has_too(study: Study) -> None:
    part = study.parts[0]
    half = [0.65, 0.675, 0.675, 0.675, 0.7]
    lines = records(study, actre=HIGH, think_first_hot=half)
    gap = comparisons(part, lines)[0]
    assert closed_share(part, lines, gap, "think_first_hot-grpo") == pytest.approx(0.5, abs=0.05)
    assert closed_share(part, lines, gap, "nothing") is None
    assert "think_first_hot has 50 % of actre's gain" in said(study, lines)
    waiting = {key: line for key, line in lines.items() if key != "p/think_first_hot-grpo-seed-7"}
    assert closed_share(part, waiting, gap, "think_first_hot-grpo") is None
    assert "it is open how much of actre's gain think_first_hot shares" in said(study, waiting)
    noisy = records(study, actre=[0.4, 0.9, 0.3, 0.9, 0.4])
    assert "it is open whether actre has a gain to explain" in said(study, noisy)
    flat = records(study)
    assert closed_share(part, flat, comparisons(part, flat)[0], "think_first_hot-grpo") is None


def test_a_matched_arms_temperatures_are_shown(study: Study) -> None:
    lines = records(study)
    for run in study.runs:
        if run.arm == "think_first_hot":
            lines[run.key]["matched"] = [[0, 0.5 + run.seed / 10, 1.1, 1.0], [5, 1.5, 0.9, 0.8]]
    found = find(study.parts[0], lines)
    assert (
        "at temperature 1.00 (0.80–1.20) at the start and 1.50 (1.50) at the end (mean, lowest to highest of 5"
        in " ".join(sentences(found))
    )
    (table,) = (one for one in entropy_tables(found) if one.title == "The matched temperature")
    assert [row[1:4] for row in table.rows] == [("1", "5", "1.00 (0.80–1.20)"), ("6", "5", "1.50 (1.50)")]


def test_stage_1_ends_where_it_was_last_measured_and_else_where_it_was_planned_to(study: Study) -> None:
    run = next(run for run in study.runs if run.arm == "actre")
    planned = run.config.stages[0].iterations
    measures = [
        {"iteration": 0, "stage": 0},
        {"iteration": planned - 1, "stage": 0},
        {"iteration": planned, "stage": 1},
    ]
    assert end_of_stage_1({"entropy": measures}, run) == planned - 1
    assert end_of_stage_1({"entropy": [{"iteration": 0}]}, run) == planned
