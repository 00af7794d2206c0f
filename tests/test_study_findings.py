"""What a study says follows from its records by the protocol's rules, whichever way they came out."""

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from study_records import fake_record, fake_records

from actre.entropy import Interval
from actre.study import page, results
from actre.study.estimators import PairedTest
from actre.study.findings import Comparison, associations, comparisons, entropy_at, find, summaries
from actre.study.plan import Contrast, Run, Study, load_study
from actre.study.record import finished, results_file, save_record
from actre.study.tables import sentences, tables
from actre.types import ActreError

TEXT = """
name = "s"
about = "<b>whether</b> it helps"
[[part]]
name = "p"
about = "A policy"
evidence = "confirmatory"
seeds = [3, 4, 5, 6, 7]
confirmatory = [["actre-grpo", "think_first-grpo"], ["actre-grpo", "tfpi-grpo"]]
exploratory = [["tfpi-grpo", "untrained"]]
[[part.runs]]
arms = ["think_first", "actre", "tfpi", "untrained"]
"""


@pytest.fixture
def study(tmp_path: Path) -> Study:
    path = tmp_path / "s.toml"
    path.write_text(TEXT)
    return load_study(path)


def by_arm(actre: list[float], think_first: list[float], tfpi: list[float]) -> Callable[[Run], float]:
    rates = {"actre": actre, "think_first": think_first, "tfpi": tfpi, "untrained": [0.25] * 5}
    return lambda run: rates[run.arm][run.seed - 3]


LOW, HIGH = [0.5, 0.55, 0.5, 0.525, 0.55], [0.8, 0.8, 0.85, 0.8, 0.875]


@pytest.mark.parametrize(
    ("actre", "think_first", "found", "said"),
    [
        (HIGH, LOW, "support", "ActRe helps, and beyond leaving thoughts out"),
        (LOW, HIGH, "harm", "not supported (harm)"),
        (LOW, LOW, "equivalent", "not supported (equivalent)"),
        ([0.4, 0.5, 0.45, 0.5, 0.4], [0.5, 0.475, 0.5, 0.475, 0.5], "no worthwhile help", "no worthwhile help"),
        ([0.4, 0.9, 0.3, 0.9, 0.4], [0.5, 0.5, 0.5, 0.5, 0.5], "inconclusive", "not supported (inconclusive)"),
    ],
)
def test_a_finding_follows_from_the_records(
    study: Study, actre: list[float], think_first: list[float], found: str, said: str
) -> None:
    part = study.parts[0]
    lines = fake_records(study.runs, by_arm(actre, think_first, LOW))
    assert comparisons(part, lines)[0].finding == found
    assert said in " ".join(sentences(find(part, lines)))


@pytest.mark.parametrize(
    ("both", "test", "p_holm", "found"),
    [
        ((1, 20), (2, 22), 0.04, "support"),
        ((1, 20), (2, 22), 0.06, "inconclusive"),  # clear of 0, but not after the correction
        ((1, 20), (-1, 22), 0.04, "inconclusive"),  # both intervals count, not either
        ((-1, 20), (2, 22), 0.04, "inconclusive"),
        ((-20, -1), (-22, -2), 0.04, "harm"),
        ((-20, -1), (-22, 1), 0.04, "no worthwhile help"),
        ((-20, -1), (-22, -2), 0.06, "no worthwhile help"),
        ((-5, 5), (-5, 5), 0.9, "equivalent"),
        ((-6, 4), (-4, 4), 0.9, "no worthwhile help"),
        ((-4, 4), (-6, 4), 0.9, "no worthwhile help"),
        ((-9, 4), (-9, 6), 0.9, "inconclusive"),
        ((-9, 6), (-9, 4), 0.9, "inconclusive"),
    ],
)
def test_a_finding_keeps_to_the_protocol_at_its_edges(
    both: tuple[float, float], test: tuple[float, float], p_holm: float, found: str
) -> None:
    """docs/protocol.md, "What counts"; intervals in points."""
    wide = Interval(0.0, both[0] / 100, both[1] / 100)
    one = Comparison(
        *(Contrast("actre-grpo", "think_first-grpo", confirmatory=True), "unseen", "think_first"),
        seeds=(3, 4, 5, 6, 7),
        planned=5,
        games=40,
        both=wide,
        test=PairedTest(0.0, test[0] / 100, test[1] / 100, p_holm / 2, 5),
        p_holm=p_holm,
        g=0.0,
        improvement=wide,
        tokens=(1.0, 1.0),
    )
    assert one.finding == found
    assert replace(one, seeds=(3, 4, 5, 6)).finding == "interim"
    assert replace(one, seeds=(3,), planned=1, test=one.test._replace(seeds=1)).finding == "inconclusive"


def test_help_without_an_edge_over_leaving_thoughts_out_is_not_called_more(study: Study) -> None:
    lines = fake_records(study.runs, by_arm(HIGH, LOW, HIGH))
    said = " ".join(sentences(find(study.parts[0], lines)))
    assert "ActRe helps, but not shown to do so beyond leaving thoughts out" in said


def test_nothing_is_concluded_before_the_last_planned_seed(study: Study) -> None:
    lines = fake_records(study.runs, by_arm(HIGH, LOW, LOW))
    del lines["p/actre-grpo-seed-7"]
    said = " ".join(sentences(find(study.parts[0], lines)))
    assert {one.finding for one in comparisons(study.parts[0], lines) if one.contrast.confirmatory} == {"interim"}
    assert "4 of 5 seeds, so nothing is concluded" in said
    assert "open until all seeds are there" in said
    assert "helps" not in said


def test_the_correction_counts_the_planned_contrasts_even_where_one_has_no_runs(study: Study) -> None:
    lines = fake_records(study.runs, by_arm(HIGH, LOW, LOW))
    lines = {key: line for key, line in lines.items() if "/tfpi" not in key}
    (one,) = (c for c in comparisons(study.parts[0], lines) if c.contrast.confirmatory)
    assert one.p_holm == pytest.approx(2 * one.test.p)


def test_success_is_over_seeds_and_the_interval_holds_it(study: Study) -> None:
    lines = fake_records(study.runs, by_arm(HIGH, LOW, LOW))
    of = {one.condition: one for one in summaries(study.parts[0], lines, "unseen", "think_first")}
    assert of["think_first-grpo"].success.value == pytest.approx(sum(LOW) / 5)
    assert of["think_first-grpo"].success.low < sum(LOW) / 5 < of["think_first-grpo"].success.high
    assert of["untrained"].env_steps == 0


def test_runs_from_two_different_untrained_policies_are_never_compared(study: Study) -> None:
    lines = fake_records(study.runs, by_arm(HIGH, LOW, LOW))
    run = study.runs[0]
    lines[run.key] = fake_record(run, 0.5, model="another")
    with pytest.raises(ActreError, match="2 different policies"):
        comparisons(study.parts[0], lines)


def test_every_table_is_as_wide_as_its_head_and_names_every_finished_run(study: Study) -> None:
    lines = fake_records(study.runs, by_arm(HIGH, LOW, LOW))
    made = tables(find(study.parts[0], lines))
    assert all(len(row) == len(table.names) for table in made for row in table.rows)
    assert len(made[-1].rows) == len(study.runs)
    assert tables(find(study.parts[0], {})) == []


def test_a_line_of_other_settings_does_not_count_as_finished(study: Study, tmp_path: Path) -> None:
    run = study.runs[0]
    path = results_file(tmp_path, study.name)
    line = fake_record(run, 0.5)
    save_record(path, {**line, "config": {**line["config"], "env_steps": 7}})
    assert finished(study, tmp_path) == {}
    save_record(path, fake_record(run, 0.5))
    assert list(finished(study, tmp_path)) == [run.key]
    assert len(path.read_text().splitlines()) == 1
    older = {**line, "config": {k: v for k, v in line["config"].items() if k != "checkpoint"}}
    older["config"]["optim"] = {k: v for k, v in line["config"]["optim"].items() if k != "gigpo_discount"}
    save_record(path, older)
    assert list(finished(study, tmp_path)) == [run.key], "a setting that has come since leaves runs as they were"


def test_both_pages_can_be_made_at_any_time_and_hold_no_markup_from_the_file(study: Study) -> None:
    whole = fake_records(study.runs, by_arm(HIGH, LOW, LOW))
    for lines in ({}, {study.runs[0].key: whole[study.runs[0].key]}, whole):
        html = page.page(study, lines)
        assert "<b>whether" not in html
        assert "<script" not in html
        text = results.page([study], [lines], "actre study s.toml")
        assert f"{len(lines)} of {len(study.runs)} runs" in text or not lines
        assert "nan" not in text


def test_a_contrast_waits_for_the_seeds_that_both_are_to_have_whichever_stands_first(tmp_path: Path) -> None:
    path = tmp_path / "s.toml"
    path.write_text(
        'name = "s"\n[[part]]\nname = "p"\nseeds = [3, 4, 5]\n'
        'exploratory = [["actre-grpo", "tfpi-grpo"], ["tfpi-grpo", "actre-grpo"]]\n'
        '[[part.runs]]\narms = ["actre"]\n[[part.runs]]\narms = ["tfpi"]\nseeds = [3, 4]\n'
    )
    part = load_study(path).parts[0]
    found = comparisons(part, fake_records(part.runs, lambda run: 0.5))
    assert [(one.planned, one.complete) for one in found] == [(2, True), (2, True)]


def test_a_panel_of_ones_own_stands_behind_the_usual_ones(study: Study) -> None:
    lines = fake_records(study.runs, by_arm(HIGH, LOW, LOW))
    for line in lines.values():
        line["evaluation"] = [{**line["evaluation"][0], "panel": "train"}, *line["evaluation"]]
        line["panels"]["train"] = line["panels"]["seen"]
    assert find(study.parts[0], lines).places[0] == ("unseen", "think_first")
    assert find(study.parts[0], lines).places[-1] == ("train", "think_first")


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
    lines = fake_records(study.runs, by_arm([0.5, 0.55, 0.6, 0.65, 0.7], LOW, [0.3, 0.35, 0.4, 0.45, 0.5]))
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
    assert found["all trained runs", "act_first"][1] == 15
    assert not any("think_first-grpo" in runs or "untrained" in runs for runs, _ in found)
    nothing = {key: {**line, "entropy": []} for key, line in lines.items()}
    assert all(one.n == 0 and math.isnan(one.rho) for one in associations(part, nothing))
