"""Paths as people write them: ~ and $VARIABLE mean what a shell means by them, everywhere, and make no folder."""

import argparse
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actre import cli
from actre.config import data_folder, paths
from actre.config.presets import preset
from actre.envs.alfworld import cache, games
from actre.envs.webshop import panels as shops
from actre.lessons.presets import folder
from actre.policies import models, smollm2
from actre.runtime import official
from actre.runtime.shapes import shape_of
from actre.study.file import load_study
from actre.types import ActreError

WRITTEN = ("~/x", "$HOME/x", "${HOME}/x", "$OUTER/x", "$INNER/x")


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A home folder; where the test runs, no folder with ~ or $ in its name may be left behind."""
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("INNER", "~")
    monkeypatch.setenv("OUTER", "$INNER")
    monkeypatch.delenv("UNSET", raising=False)
    monkeypatch.setenv("EMPTY", "")
    (tmp_path / "home").mkdir()
    yield tmp_path / "home"
    assert not [path for path in here.rglob("*") if path.name.startswith(("~", "$"))]


@pytest.mark.parametrize("text", WRITTEN)
def test_every_way_to_write_the_home_folder_is_the_home_folder(text: str, home: Path) -> None:
    assert paths.place(text) == home / "x"
    assert paths.place(Path(text)) == home / "x"


@given(st.text(st.characters(blacklist_characters="$\0", blacklist_categories=["Cs"])).filter(lambda t: t[:1] != "~"))
def test_a_text_without_either_sign_is_left_as_it_is(text: str) -> None:
    assert paths.expand(text) == text


@pytest.mark.parametrize("text", ["runs/cost_5$", "a~b", "./~", "small/train", "Qwen/Qwen2.5-1.5B-Instruct", "$", "$5"])
def test_signs_that_name_nothing_are_part_of_the_name(text: str) -> None:
    assert paths.expand(text) == text


@pytest.mark.parametrize("text", ["$UNSET/x", "runs/$UNSET", "${UNSET}x", "$EMPTY/x", "~/$UNSET"])
def test_a_variable_that_is_not_set_is_named(text: str) -> None:
    with pytest.raises(ActreError, match=r"uses the variable (UNSET|EMPTY), which is not set"):
        paths.place(text)


def test_variables_that_name_each_other_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INNER", "$OUTER")
    with pytest.raises(ActreError, match="refer to each other"):
        paths.place("$INNER/x")


def test_a_user_that_there_is_not_is_named() -> None:
    with pytest.raises(ActreError, match="no user 'surely-nobody'"):
        paths.place("~surely-nobody/x")


def test_what_lies_under_the_very_name_is_taken(tmp_path: Path) -> None:
    (tmp_path / "cost_$UNSET").mkdir()
    assert paths.place(tmp_path / "cost_$UNSET") == tmp_path / "cost_$UNSET"


# --- environment variables ---


@pytest.mark.parametrize("text", WRITTEN)
def test_every_path_variable_is_read_the_same(text: str, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / "x" / "json_2.1.1").mkdir(parents=True)
    for name in ("ALFWORLD_DATA", "WEBSHOP_DATA", "ACTRE_DATA", "ACTRE_CACHE"):
        monkeypatch.setenv(name, text)
    assert official.alfworld_root() == home / "x" / "json_2.1.1"
    assert shops.shop_folder("official") == home / "x"
    assert data_folder() == home / "x"
    assert games.data_folder() == home / "x" / "alfworld"
    assert cache.folder() == home / "x" / "alfworld"
    assert smollm2.smollm2_folder() == home / "x" / "models" / "smollm2"
    assert str(home / "x") in official.games().words
    assert str(home / "x") in official.shop().words
    monkeypatch.delenv("ACTRE_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", text)
    assert cache.folder() == home / "x" / "actre" / "alfworld"


def test_a_path_variable_that_names_an_unset_one_is_refused_by_both_names(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = {
        "ALFWORLD_DATA": official.alfworld_root,
        "WEBSHOP_DATA": lambda: shops.shop_folder("official"),
        "ACTRE_DATA": data_folder,
        "ACTRE_CACHE": cache.folder,
    }
    for name, ask in asked.items():
        monkeypatch.setenv(name, "$UNSET/x")
        with pytest.raises(ActreError, match=f"{name}: .*UNSET"):
            ask()
    assert "UNSET" in official.games().words
    assert "UNSET" in official.shop().words


# --- arguments ---

PATHS = {
    "calibrate": {"--out": "runs/c.json"},
    "diagnose": {"--probes": "p", "--out": "d", "--adapter": "a"},
    "doctor": {"--run": "r"},
    "evaluate": {"--out": "e", "--adapter": "a"},
    "export": {"folder": "r", "--out": "e", "--merge": "m"},
    "games generate": {"--out": "g.jsonl"},
    "gpu-check": {"--out": "g"},
    "notebooks": {"--out": "n"},
    "preconditions": {"--out": "p", "--write": "p.md"},
    "pretrain-tiny": {"--out": "t", "--work-dir": "w", "--check": "c"},
    "probes": {"--out": "p.jsonl", "--adapter": "a"},
    "quickstart": {"--out": "q"},
    "report": {"folders": "r", "--out": "r.html"},
    "rescore": {"run_folder": "r"},
    "study": {"files": "s.toml", "--out": "s", "--results": "s", "--write": "p.md"},
    "train": {"--config": "c.json", "--out": "t", "--resume": "r"},
    "warmstart": {"--out": "w", "--begin": "a"},
    "webshop check": {"folder": "f"},
    "webshop generate": {"--out": "w"},
    "webshop import": {"folder": "f"},
}
"""Command -> its path arguments."""
NAMES = {"source", "shop", "games", "panel", "panels", "model"}
"""Arguments that are the name of something, or a path: read where the name is (see the tests below)."""


def _leaves(parser: argparse.ArgumentParser, name: str = "") -> Iterator[tuple[str, argparse.ArgumentParser]]:
    below = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    if not below:
        yield name, parser
    for action in below:
        for word, inner in action.choices.items():
            yield from _leaves(inner, f"{name} {word}".strip())


def _arguments() -> Iterator[tuple[str, argparse.Action]]:
    for name, parser in _leaves(cli.build_parser()):
        yield from ((name, action) for action in parser._actions)


def test_every_path_argument_is_read_by_the_one_function() -> None:
    found: dict[str, set[str]] = {}
    for name, action in _arguments():
        assert action.type is not Path, (name, action.dest)
        if action.type is paths.place:
            found.setdefault(name, set()).add((action.option_strings or [action.dest])[0])
    assert found == {name: set(arguments) for name, arguments in PATHS.items()}


def test_every_argument_whose_help_speaks_of_a_file_or_folder_is_a_path_or_a_name() -> None:
    for name, action in _arguments():
        words = set((action.help or "").lower().replace(",", " ").split())
        if action.nargs != 0 and action.type is None and words & {"folder", "file", "panel", "panel's", "games"}:
            assert action.dest in NAMES, (name, action.dest)


@pytest.mark.parametrize("text", [*WRITTEN, "$UNSET/x"])
def test_what_a_command_writes_lies_where_the_path_means(text: str, home: Path, capsys: pytest.CaptureFixture) -> None:
    code = cli.main(["games", "generate", "--n", "1", "--out", f"{text}.jsonl"])
    if "UNSET" in text:
        assert code == 2
        assert "uses the variable UNSET" in capsys.readouterr().err
    else:
        assert code == 0
        assert (home / "x.jsonl").is_file()


# --- names that may be paths ---


@pytest.mark.parametrize("text", WRITTEN)
def test_a_panel_a_shop_and_a_model_are_found_behind_such_a_path(text: str, home: Path) -> None:
    game = games.read_game(games.list_games("small/unseen")[0])
    (home / "x").mkdir()
    raw = {"pddl_domain": game.pddl_domain, "grammar": game.grammar, "pddl_problem": game.pddl_problem}
    (home / "x" / "game.tw-pddl").write_text(json.dumps(raw))
    assert games.list_games(text) == [str(home / "x" / "game.tw-pddl")]
    assert games.read_game(text).pddl_problem == game.pddl_problem
    assert shops.shop_folder(shops.parse_panel(f"{text}/train").shop) == home / "x"
    tiny = data_folder() / "tiny" / "neutral"
    (home / "x" / "config.json").write_bytes((tiny / "config.json").read_bytes())
    assert models.find(text) == str(home / "x")
    assert shape_of(text) == shape_of("tiny")
    assert folder(text, preset("tiny")) == home / "x" / "tiny-0"


def test_a_game_found_in_a_folder_with_such_signs_is_played_from_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    game = games.read_game(games.list_games("small/unseen")[0])
    place = tmp_path / "a$UNSET" / "~b"
    place.mkdir(parents=True)
    raw = {"pddl_domain": game.pddl_domain, "grammar": game.grammar, "pddl_problem": game.pddl_problem}
    (place / "game.tw-pddl").write_text(json.dumps(raw))
    monkeypatch.chdir(tmp_path / "a$UNSET")
    for source in (tmp_path, ".", place.parent, place / "game.tw-pddl"):
        (found,) = games.list_games(source)
        assert games.read_game(found).pddl_problem == game.pddl_problem


@pytest.mark.parametrize("where", ["env.train", "env.unseen"])
def test_a_setting_is_read_so_on_a_command_line_and_in_a_study(where: str, home: Path, tmp_path: Path) -> None:
    from actre.config.overrides import changed
    from actre.rollout.evaluate import panel_games

    assert cli.main(["games", "generate", "--n", "2", "--out", "~/mine.jsonl"]) == 0
    config = changed(preset("tiny"), [f"{where}=$HOME/mine.jsonl"])
    study = tmp_path / "s.toml"
    study.write_text(
        'name = "s"\n[[part]]\nname = "p"\nseeds = [0]\n'
        f'settings = {{"{where}" = "~/mine.jsonl"}}\n[[part.runs]]\narms = ["actre"]\n'
    )
    for settings in (config, load_study(study).runs[0].config):
        found = panel_games(settings, where.partition(".")[2])
        assert [game.partition("#")[0] for game in found] == [str(home / "mine.jsonl")] * 2
    with pytest.raises(ActreError, match="UNSET"):
        panel_games(changed(preset("tiny"), [f"{where}=$UNSET/x"]), where.partition(".")[2])


def test_the_shared_folder_of_the_tests_is_read_so() -> None:
    assert "~" not in os.environ["ACTRE_SHARED"]
