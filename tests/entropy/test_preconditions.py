"""The verdict on numbers: each thing that is missing is named, and what was not measured is never called missing."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from actre.entropy import precondition_files as files
from actre.entropy.preconditions import (
    Learned,
    Narrowing,
    Preconditions,
    Start,
    Transfer,
    checks,
    contracted,
    learns,
    verdict,
)
from actre.entropy.transfer import Gains
from actre.stats import Interval
from actre.types import ActreError


def band(value: float, half: float = 0.05) -> Interval:
    return Interval(value, value - half, value + half)


def moved(ratio: float | None, half: float = 0.1, *, way: Any = "sft", measure: Any = "logp") -> Transfer:
    return Transfer("act_first", way, measure, Gains(band(1), band(1), None if ratio is None else band(ratio, half)))


NARROWED = Narrowing("narrowed", band(0.6), band(0.9))
ALIKE = Narrowing("equivalent", band(-0.02), band(0.03))
WHOLE = Preconditions(
    model="tiny/middle",
    fingerprint="abc",
    env="alfworld",
    contraction=NARROWED,
    start={"act_first": Start(band(0.3), band(0.97)), "think_first": Start(band(0.3), band(0.96))},
    apart=band(0.0),
    learned={"act_first": Learned(band(0.2), 3), "think_first": Learned(band(0.2), 3)},
    transfers=(moved(0.9), Transfer("think_first", "sft", "logp", moved(0.9).gains)),
    budget={"iterations": 20},
)


def learned(gain: Interval) -> Preconditions:
    return replace(WHOLE, learned={**WHOLE.learned, "act_first": Learned(gain, 3)})


def test_a_policy_with_every_precondition_is_told_that_a_comparison_can_come_out_either_way() -> None:
    assert verdict(WHOLE).startswith("Stage 1 can help here")
    assert "either way" in verdict(WHOLE)


@pytest.mark.parametrize(
    ("without", "words"),
    [
        (learned(Interval(0.03, -0.02, 0.08)), "it learns nothing (+3.0 points"),
        (learned(Interval(0.08, 0.04, 0.12)), "it learns too little (+8.0 points"),
        (replace(WHOLE, transfers=(moved(0.05),)), "what it learns does not reach thinking (transfer 0.05"),
        (replace(WHOLE, contraction=ALIKE), "nothing is contracted"),
        (
            replace(WHOLE, contraction=Narrowing("narrowed", Interval(0.15, 0.1, 0.2), Interval(0.18, 0.12, 0.25))),
            "too little is contracted, less than 0.3 nats (act-first minus think-first entropy 0.15",
        ),
        (
            replace(WHOLE, contraction=Narrowing("widened", band(-0.3), band(-0.2))),
            "nothing is contracted (thinking widens the choice",
        ),
    ],
)
def test_what_is_missing_is_named_and_nothing_else(without: Preconditions, words: str) -> None:
    said = verdict(without)
    assert said.startswith(f"By the claim's mechanism stage 1 cannot help here: {words}")
    assert ", and " not in said
    assert "Not settled" not in said


def test_everything_that_is_missing_is_named() -> None:
    bare = replace(learned(band(0.0)), contraction=ALIKE, transfers=(moved(0.0),))
    said = verdict(bare)
    assert all(words in said for words in ("learns nothing", "does not reach thinking", "nothing is contracted"))


@pytest.mark.parametrize(
    ("unsure", "words"),
    [
        (learned(Interval(0.12, -0.05, 0.3)), "whether acting first learns (+12.0 points"),
        (replace(WHOLE, transfers=(moved(None),)), "transfer undetermined, as the trained order"),
        (replace(WHOLE, contraction=Narrowing("inconclusive", band(0.1, 0.4), band(0.4, 0.4))), "whether thinking is"),
        (replace(WHOLE, contraction=Narrowing("withheld", band(0.6), band(0.9))), "whether thinking is contracted"),
        (replace(WHOLE, transfers=()), "whether what it learns reaches thinking (not measured)"),
        (replace(WHOLE, transfers=(moved(0.34),)), "whether what it learns reaches thinking (transfer 0.34"),
        (replace(WHOLE, contraction=None), "whether thinking is contracted (not measured)"),
        (replace(WHOLE, learned={}), "whether acting first learns (not measured)"),
    ],
)
def test_what_is_unsure_or_unmeasured_is_not_called_missing(unsure: Preconditions, words: str) -> None:
    said = verdict(unsure)
    assert said.startswith("Whether stage 1 can help here is not settled")
    assert words in said


@pytest.mark.parametrize(
    ("gain", "answer"),
    [
        (Interval(0.15, 0.06, 0.24), "yes"),
        (Interval(0.15, 0.05, 0.25), "open"),
        (Interval(0.14, 0.1, 0.18), "open"),
        (Interval(0.10, 0.06, 0.14), "no"),
        (Interval(0.0, -0.05, 0.05), "no"),
    ],
)
def test_learning_needs_fifteen_points_and_an_interval_above_five(gain: Interval, answer: str) -> None:
    assert learns(Learned(gain, 3)) == answer
    assert learns(Learned(gain, 2)) == "open"  # what differs between trainings is not known from two


def test_a_training_that_ended_early_is_said_beside_its_gain() -> None:
    early = replace(WHOLE, learned={**WHOLE.learned, "act_first": Learned(band(0.0), 3, ended_early=2)})
    assert "of success, act-first (2 of 3 ended early: not finite)" in verdict(early)
    value = next(one.value for one in checks(early) if "reinforcement act-first" in one.what)
    assert value.endswith("3 seeds (2 of 3 ended early: not finite)")
    assert files.from_json(json.loads(json.dumps(files.to_json(early)))) == early


@pytest.mark.parametrize(
    ("found", "answer"),
    [
        (NARROWED, "yes"),
        (Narrowing("narrowed", band(0.2, 0.1), band(0.5, 0.1)), "open"),
        (Narrowing("narrowed", band(0.1), band(0.2)), "no"),
        (ALIKE, "no"),
    ],
)
def test_contraction_needs_a_third_of_a_nat_at_the_lower_end(found: Narrowing, answer: str) -> None:
    assert contracted(found) == answer


def test_the_sharpest_determined_measure_decides() -> None:
    unsure, sure = moved(None), moved(0.9, measure="success")
    assert replace(WHOLE, transfers=(sure, unsure)).transfer("act_first") is sure
    sharper = moved(0.1, measure="logp")
    assert replace(WHOLE, transfers=(sure, sharper)).transfer("act_first") is sharper
    assert replace(WHOLE, transfers=(moved(0.9, measure="p"), sharper)).transfer("act_first") is sharper


def test_every_value_stands_beside_a_threshold_and_what_lacks_is_said() -> None:
    table = checks(replace(WHOLE, transfers=(), learned={}))
    assert all(one.threshold for one in table)
    assert sum(one.met == "not measured" for one in table) == 4
    shaky = replace(WHOLE, start={"act_first": Start(band(0.5), band(0.8))}, apart=band(0.2))
    assert sum(one.met == "no" for one in checks(shaky)) == 3


def test_a_transfer_is_called_what_it_is_since_either_may_be_meant() -> None:
    every = tuple(moved(ratio) for ratio in (0.9, 0.34, 0.1, None))
    assert [one.met for one in checks(replace(WHOLE, transfers=every)) if "act-first to" in one.what] == [
        *("high", "some", "low", "undetermined")
    ]


# --- files ---


def test_a_record_comes_back_as_it_was_and_is_found_by_name_weights_and_environment(tmp_path: Path) -> None:
    path = files.save(tmp_path / "tiny.json", WHOLE, command="actre preconditions")
    assert files.load(path) == WHOLE
    assert files.find("tiny/middle", "abc", "alfworld", [tmp_path]) == WHOLE
    assert files.find("tiny/middle", None, "alfworld", [tmp_path]) == WHOLE
    for other in (
        ("tiny/narrow", "abc", "alfworld"),
        ("tiny/middle", "abd", "alfworld"),
        ("tiny/middle", "abc", "webshop"),
    ):
        assert files.find(*other, [tmp_path]) is None


def test_parts_measured_apart_complete_a_record_of_the_same_weights_and_budget(tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    learned, rest = (replace(WHOLE, budget={"steps": 5, "cpu_minutes": n}) for n in (30.0, 13.5))
    learned = replace(learned, contraction=None, start={}, apart=None, transfers=WHOLE.transfers[:1])
    rest = replace(rest, learned={}, transfers=WHOLE.transfers[1:], budget={**rest.budget, "diagnosis": 24})
    assert files.completed(rest, {"command": "first"}, path) == (rest, {"command": "first"})
    files.save(path, rest, command="first")
    whole, about = files.completed(learned, {"command": "second"}, path)
    assert replace(whole, transfers=(), budget={}) == replace(WHOLE, transfers=(), budget={})
    assert sorted(whole.transfers) == sorted(WHOLE.transfers)
    assert whole.budget == {"steps": 5, "cpu_minutes": 43.5, "diagnosis": 24}
    assert about == {"command": "second", "before": [{"command": "first"}]}
    files.save(path, whole, **about)
    assert files.load(path) == whole
    # the same command again changes nothing
    assert files.completed(learned, {"command": "second"}, path) == (whole, about)
    # a part that is measured again replaces itself alone
    again = replace(learned, learned={order: Learned(band(0.3), 3) for order in learned.learned})
    newer, about = files.completed(again, {"command": "third"}, path)
    assert {one.gain for one in newer.learned.values()} == {band(0.3)}
    assert (newer.contraction, newer.start) == (WHOLE.contraction, WHOLE.start)
    assert [one["command"] for one in about["before"]] == ["first", "second"]
    for other in (replace(learned, fingerprint="other"), replace(learned, budget={"steps": 6, "cpu_minutes": 1.0})):
        assert files.completed(other, {}, path) == (other, {})


def test_a_record_of_another_model_is_not_overwritten(tmp_path: Path) -> None:
    files.save(tmp_path / "one.json", WHOLE)
    with pytest.raises(ActreError, match="--write"):
        files.save(tmp_path / "one.json", replace(WHOLE, model="other"))
    files.save(tmp_path / "one.json", replace(WHOLE, budget={}))


@pytest.mark.parametrize("text", ["{}", "[]", "no json", '{"schema": 1}', '{"schema": 1, "measured": {}}'])
def test_a_file_that_is_no_record_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(ActreError, match=r"x\.json|schema"):
        files.load(tmp_path / "x.json")
    assert files.find("tiny/middle", None, "alfworld", [tmp_path]) is None


def test_beside_a_comparison_stands_the_verdict_or_the_command_that_measures_it() -> None:
    assert files.said(WHOLE, "tiny/middle") == f"Preconditions: {verdict(WHOLE)}"
    assert "run `actre preconditions --model tiny/shopper --env webshop`" in files.said(None, "tiny/shopper", "webshop")
