"""Numbers that no option and no setting can use: each is refused at once, with a sentence, wherever it is given."""

import argparse
import dataclasses
import json
import re
import typing
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actre import cli
from actre.config import ENV_NAMES, RunConfig, StageConfig, config_from_dict, load_config
from actre.config import checks as values
from actre.config import overrides as settings
from actre.config.presets import PRESETS, preset
from actre.organisms.fine_tune import WarmConfig
from actre.types import ActreError

HUGE = str(10**30)
NEVER = ("nan", "inf", "-inf", "1e400", "-1e400", HUGE, f"-{HUGE}", "9" * 5000, "x", "", "0x10", "²", "1,5")
"""What no option and no setting takes for a number."""
SAID_BY_HAND = {
    ("diagnose", "--thoughts"): ["0", "1", "-1", "1.5"],
    ("study", "--seeds"): ["-1", "1.5", "0,-1", "3,x", ","],
    ("train", "--stages"): ["0", "-1", "1.5", "3:temperature=0", "3:temperature=nan", "3:match_every=-1"],
}
"""Options that hold a number in words of their own, and what they refuse beside."""


class Option(NamedTuple):
    """One option of one command that takes a number. start: what has to stand before it."""

    command: tuple[str, ...]
    name: str
    takes: values.Range | None

    @property
    def case(self) -> str:
        return " ".join((*self.command, self.name))


def parsers(parser: argparse.ArgumentParser, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every command's parser, with its words."""
    below = [a for a in parser._actions if isinstance(a, argparse._SubParsersAction)]
    if not below:
        yield path, parser
    for action in below:
        for name, one in action.choices.items():
            yield from parsers(one, (*path, name))


def options() -> Iterator[Option]:
    for command, parser in parsers(cli.build_parser()):
        for action in parser._actions:
            name = (action.option_strings or [action.dest])[-1]
            if isinstance(action.type, values.Range) or (command[0], name) in SAID_BY_HAND:
                yield Option(command, name, action.type if isinstance(action.type, values.Range) else None)


OPTIONS = list(options())


def bad_for(takes: values.Range) -> list[str]:
    """What an option or setting of that range refuses."""
    beyond = ["-1", "-0.5"] if takes.least >= 0 else []
    return [
        *(text for text in NEVER if text != HUGE or not takes.holds(int(text))),
        *beyond,
        *(["0"] if not takes.holds(0) else []),
        *(["1.5", "1e3", "2.0"] if takes.whole else []),
        str(int(takes.most * 2) + 1),
        "1" * 40,
    ]


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a command that is wrongly begun would leave behind."""
    monkeypatch.chdir(tmp_path)


def refused(arguments: list[str], capsys: Any) -> str:
    """What the command says; it ends with 2, at once and in a sentence."""
    try:
        code: object = cli.main(arguments)
    except SystemExit as stop:
        code = stop.code
    said = capsys.readouterr()
    assert code == 2, (arguments, said)
    assert "Traceback" not in said.err
    assert said.out == ""
    return said.err


def test_every_option_that_takes_a_number_says_which_ones() -> None:
    for command, parser in parsers(cli.build_parser()):
        for action in parser._actions:
            assert action.type not in (int, float), f"{' '.join(command)} {action.option_strings}: values.of(...)"
            assert not isinstance(action.default, int | float) or isinstance(action.default, bool) or action.type
    assert len(OPTIONS) > 35
    assert {option.command[0] for option in OPTIONS} >= {"quickstart", "games", "webshop", "pretrain-tiny", "doctor"}


@pytest.mark.parametrize("option", OPTIONS, ids=lambda option: option.case)
def test_an_option_refuses_numbers_out_of_its_range_before_anything_is_done(option: Option, capsys: Any) -> None:
    by_hand = SAID_BY_HAND.get((option.command[0], option.name), [])
    for text in bad_for(option.takes) if option.takes else [*(n for n in NEVER if n != "1,5"), *by_hand]:
        if option.name == "--stages":
            text = f"act_first:{text}"
        said = refused([*option.command, f"{option.name}={text}"], capsys)
        assert f"{option.name} " in said
        if option.takes is not None:
            assert f": it must be {option.takes.words}" in said
        assert len(said) < 3000


@pytest.mark.parametrize("option", [o for o in OPTIONS if o.takes is not None], ids=lambda option: option.case)
def test_an_option_takes_the_ends_of_its_range_and_its_default(option: Option) -> None:
    assert option.takes is not None
    parser = dict(parsers(cli.build_parser()))[option.command]
    default = next(a.default for a in parser._actions if option.name in a.option_strings)
    assert default is None or option.takes.holds(default)
    for end in (option.takes.least, option.takes.most):
        text = str(int(end)) if option.takes.whole else str(end)
        if option.takes.holds(end):
            assert option.takes(text) == end


# --- settings ---------------------------------------------------------------------------------------------------------

PARTS = {
    name: kind
    for name, kind in typing.get_type_hints(RunConfig).items()
    if dataclasses.is_dataclass(kind) and isinstance(kind, type)
}
CLASSES: dict[str, Any] = {"": RunConfig, **PARTS, "stage": StageConfig, "warm": WarmConfig}


def is_number(kind: Any) -> bool:
    return kind in (int, float) or bool({int, float} & set(typing.get_args(kind)))


FIELDS = [
    (part, name)
    for part, kind in CLASSES.items()
    for name, hint in typing.get_type_hints(kind).items()
    if is_number(hint)
]
MADE: dict[str, Any] = {"stage": StageConfig("act_first", 3), "warm": WarmConfig(), "": RunConfig()}


def made(part: str) -> Any:
    return MADE[part] if part in MADE else getattr(RunConfig(), part)


def test_every_number_among_the_settings_has_a_range() -> None:
    assert len(FIELDS) > 45
    for part, name in FIELDS:
        assert name in values._ranges(CLASSES[part]), f"{part}.{name}: annotate it with a kind of actre.config.checks"
        assert values._ranges(CLASSES[part])[name].holds(getattr(made(part), name) or 1)


@pytest.mark.parametrize(("part", "name"), FIELDS, ids=lambda one: one or "run")
def test_a_setting_refuses_numbers_out_of_its_range(part: str, name: str) -> None:
    takes = values._ranges(CLASSES[part])[name]
    wrong: list[Any] = [float("nan"), float("inf"), -float("inf"), 10**40, -(10**40), 10**5000]
    wrong += [takes.most * 2 + 1, takes.least - 1]
    wrong += [1.5, 2.0] if takes.whole else []
    wrong += [0] if not takes.holds(0) else []
    for value in wrong:
        with pytest.raises(ActreError, match=rf"\.{name} is .*: it must be {re.escape(takes.words)}"):
            replace(made(part), **{name: value})
    for text in [] if part == "warm" else filter(None, bad_for(takes)):
        with pytest.raises(ActreError, match=None if part == "stage" else name) as said:
            assigned(part, name, text)
        assert len(str(said.value)) < 300


def assigned(part: str, name: str, text: str) -> Any:
    """The settings with this one as a command line gives it."""
    if part == "stage":
        return settings.stages(f"act_first:{text}" if name == "iterations" else f"act_first:3:{name}={text}")
    return settings.changed(RunConfig(), [f"{part}.{name}={text}".removeprefix(".")])


@pytest.mark.parametrize("text", ["model.lora_rank=0", "optim.clip_low=nan", f"env_steps={HUGE}", "seed=1.5"])
def test_the_command_says_so_before_it_makes_a_folder(text: str, capsys: Any, tmp_path: Path) -> None:
    assert text.partition("=")[0].rpartition(".")[2] in refused(["train", "--set", text, "--out", "r"], capsys)
    assert not (tmp_path / "r").exists()


@pytest.mark.parametrize(("part", "name"), [f for f in FIELDS if f[0] != "warm"], ids=lambda one: one or "run")
@pytest.mark.parametrize("text", ["NaN", "1e400", "-1e400", "1" * 40, "-1000000001", "9" * 5000], ids=lambda t: t[:9])
def test_a_file_of_settings_with_such_a_number_is_refused(part: str, name: str, text: str, tmp_path: Any) -> None:
    raw = json.loads(json.dumps({"config": asdict(RunConfig())}))
    path = tmp_path / "config.json"
    where = raw["config"]["stages"][0] if part == "stage" else raw["config"][part] if part else raw["config"]
    where[name] = "HERE"
    path.write_text(json.dumps(raw).replace('"HERE"', text))
    with pytest.raises(ActreError):
        load_config(path)


@pytest.mark.parametrize("name", sorted(PRESETS))
@pytest.mark.parametrize("env", ENV_NAMES)
def test_the_presets_are_within_the_ranges_and_come_back_from_a_file(name: str, env: Any) -> None:
    one = preset(name, env)
    assert config_from_dict(json.loads(json.dumps(asdict(one)))) == one


@given(
    st.one_of(st.integers(), st.floats()),
    st.sampled_from([r for c in CLASSES.values() for r in values._ranges(c).values()]),
)
def test_a_range_holds_a_number_only_between_its_ends(value: float, takes: values.Range) -> None:
    if takes.holds(value):
        assert takes.least <= value <= takes.most or value == takes.also
        assert takes(repr(value)) == value
    else:
        with pytest.raises(ActreError, match="must be"):
            takes(repr(value))


def test_a_batch_that_is_no_multiple_of_its_parts_is_refused_at_once() -> None:
    with pytest.raises(ActreError, match=r"a batch of 8 rows is not a multiple of the micro-batch of 3"):
        WarmConfig(batch=8, micro_batch=3)


def test_numbers_of_numpy_are_numbers() -> None:
    import numpy as np

    assert replace(RunConfig(), seed=np.int64(3)).seed == 3
    with pytest.raises(ActreError, match=r"RunConfig.seed is -1"):
        replace(RunConfig(), seed=np.int64(-1))
