"""How many thoughts: the rule picks off known curves what it should, and says so."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actre.entropy import thoughts
from actre.entropy.thoughts import Curve, Pilot, thoughts_for
from actre.types import ActreError

K = (2, 4, 8, 16, 32, 64)
FAST = Curve(30, K, tuple(1.0 * 2 / k for k in K))  # closes as 1/K
SLOW = Curve(30, K, tuple(4.0 * (2 / k) ** 0.5 for k in K))  # as 1/sqrt(K)


def test_the_known_curve_gives_the_known_number() -> None:
    assert thoughts_for(0.1, 30, Pilot(8, 0.25), [FAST]).thoughts == 20
    assert thoughts_for(0.5, 30, Pilot(8, 1.0), [SLOW]).thoughts == 32


def test_between_two_curves_the_slower_decides() -> None:
    # FAST has 0.25 at 8 thoughts, SLOW 2.0: a pilot between them
    assert thoughts_for(0.5, 30, Pilot(8, 1.0), [FAST, SLOW]).thoughts == 32
    # beyond an end the end decides
    assert thoughts_for(0.1, 30, Pilot(8, 0.2), [FAST, SLOW]).thoughts == 16


def test_curves_of_the_nearest_numbers_of_actions_count_alone() -> None:
    many = Curve(100, K, SLOW.widths)
    few = Curve(5, K, SLOW.widths)
    for actions, used in ((30, [FAST, many]), (20, [few, FAST]), (2, [few]), (500, [many])):
        together = thoughts_for(0.1, actions, Pilot(8, 0.3), [few, FAST, many], at_most=4000)
        assert together == thoughts_for(0.1, 30, Pilot(8, 0.3), [c._replace(actions=30) for c in used], at_most=4000)


def test_beyond_the_table_its_last_slope_goes_on() -> None:
    assert thoughts_for(0.01, 30, Pilot(8, 0.25), [FAST], at_most=1000).thoughts == 200


def test_what_is_too_dear_is_said_and_capped() -> None:
    choice = thoughts_for(0.01, 30, Pilot(8, 0.25), [FAST], at_most=64)
    assert choice.thoughts == 64
    assert "about 200" in choice.words
    assert choice.width == pytest.approx(0.25 / 8, abs=1e-4)
    flat = Curve(30, K, (1.0,) * 6)
    assert "thousands" in thoughts_for(0.5, 30, Pilot(8, 1.0), [flat]).words


def test_a_pilot_that_is_narrow_enough_stays_at_the_least() -> None:
    assert thoughts_for(0.1, 30, Pilot(8, 0.05), [FAST]).thoughts == 8
    assert thoughts_for(0.1, 30, Pilot(8, 0.0), [FAST]).thoughts == 8


@given(st.floats(0.01, 1.0), st.floats(0.01, 3.0), st.integers(2, 200))
def test_a_narrower_bracket_never_takes_fewer_thoughts(width: float, pilot: float, actions: int) -> None:
    curves = [FAST, SLOW, Curve(5, K, FAST.widths)]
    wide = thoughts_for(width, actions, Pilot(8, pilot), curves, at_most=500)
    narrow = thoughts_for(width / 2, actions, Pilot(8, pilot), curves, at_most=500)
    assert 8 <= wide.thoughts <= narrow.thoughts <= 500
    assert wide.width <= width * 1.001 or wide.thoughts == 500


def test_what_makes_no_sense_is_refused() -> None:
    for width, pilot in ((0.0, Pilot(8, 0.2)), (-1.0, Pilot(8, 0.2)), (0.1, Pilot(8, -0.2)), (0.1, Pilot(1, 0.2))):
        with pytest.raises(ValueError, match="positive"):
            thoughts_for(width, 30, pilot, [FAST])
    with pytest.raises(ValueError, match="at_least"):
        thoughts_for(0.1, 30, Pilot(8, 0.2), [FAST], at_least=8, at_most=4)
    with pytest.raises(ValueError, match="no curves"):
        thoughts_for(0.1, 30, Pilot(8, 0.2), [])


def test_a_missing_damaged_or_foreign_table_names_the_command(tmp_path: Path) -> None:
    file = tmp_path / "c.json"
    for text, says in (
        (None, "does not exist"),
        ("{", "damaged"),
        ("{}", "not a calibration"),
        ("[]", "not a calibration"),
    ):
        if text is not None:
            file.write_text(text)
        with pytest.raises(ActreError, match=f"{says}.*actre calibrate"):
            thoughts.load_calibration(file)


def test_curves_are_read_in_order_and_without_rare_thoughts(tmp_path: Path) -> None:
    row = {"kind": "decisive", "openness": 0.8, "actions": 30}
    rows = [{**row, "k": 1}, {**row, "k": 4, "width": 1.0}, {**row, "k": 2, "width": 2.0}]
    rows += [{**row, "kind": "rare", "k": 2, "width": 9.0}, {**row, "actions": 5, "k": 2, "width": 0.5}]
    (tmp_path / "c.json").write_text(json.dumps({"schema": 1, "estimators": rows}))
    found = thoughts.load_curves(tmp_path / "c.json")
    assert found == [Curve(30, (2, 4), (2.0, 1.0)), Curve(5, (2,), (0.5,))]
