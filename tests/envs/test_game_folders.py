"""Folders of games: found through links, left out with the reason, and one bad game costs no other."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from game_files import OFFICIAL_NAME, write

from actre import cli
from actre.cli import doctor
from actre.envs.alfworld import games
from actre.envs.worlds import readable
from actre.runtime import game_files as gamefiles
from actre.runtime import official
from actre.types import ActreError

# --- links ---


def _same_everywhere(root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> list[str]:
    """The games of official/valid_unseen as listed; doctor and `games list` must count as many."""
    monkeypatch.setenv("ALFWORLD_DATA", str(root))
    found = games.list_games("official/valid_unseen")
    assert f"valid_unseen {len(found)} of 134" in official.games().words
    assert cli.main(["games", "list", "official/valid_unseen"]) == 0
    assert capsys.readouterr().out.splitlines() == found
    assert all(games.read_game(path).path == path for path in found)
    return found


def _linked(kind: str, root: Path, big: Path) -> None:
    split = root / "json_2.1.1" / "valid_unseen"
    if kind == "data":
        write(big / "json_2.1.1" / "valid_unseen" / "kind" / "trial")
        root.symlink_to(big)
    elif kind == "split":
        write(big / "kind" / "trial")
        split.parent.mkdir(parents=True)
        split.symlink_to(big)
    elif kind == "task":
        write(big / "kind" / "trial")
        split.mkdir(parents=True)
        (split / "kind").symlink_to(big / "kind")
    elif kind == "trial":
        write(big / "kind" / "trial")
        (split / "kind").mkdir(parents=True)
        (split / "kind" / "trial").symlink_to(big / "kind" / "trial")
    elif kind == "game":
        (split / "kind" / "trial").mkdir(parents=True)
        (split / "kind" / "trial" / "game.tw-pddl").symlink_to(write(big / "kind" / "trial"))
    else:  # a link to a link, relative
        write(big / "kind" / "trial")
        split.mkdir(parents=True)
        (root / "half").symlink_to(big / "kind")
        (split / "kind").symlink_to("../../half")


@pytest.mark.parametrize("kind", ["data", "split", "task", "trial", "game", "chain"])
def test_whatever_is_a_link_the_game_is_found_by_every_reader(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _linked(kind, tmp_path / "alf", tmp_path / "big")
    assert len(_same_everywhere(tmp_path / "alf", monkeypatch, capsys)) == 1


@pytest.mark.timeout(20)
def test_links_in_a_circle_end_and_bring_nothing_from_outside(tmp_path: Path) -> None:
    write(tmp_path / "outside" / "trial")
    file = write(tmp_path / "root" / "kind" / "trial")
    (tmp_path / "root" / "self").symlink_to(".")
    (tmp_path / "root" / "kind" / "up").symlink_to("..")
    (tmp_path / "root" / "above").symlink_to(tmp_path)
    (tmp_path / "root" / "ping").symlink_to("pong")
    (tmp_path / "root" / "pong").symlink_to("ping")
    assert games.list_games(tmp_path / "root") == [str(file)]


@pytest.mark.timeout(20)
def test_folders_that_link_to_each_other_are_each_read_once(tmp_path: Path) -> None:
    here, there = write(tmp_path / "a" / "trial"), write(tmp_path / "b" / "trial")
    (tmp_path / "a" / "b").symlink_to(tmp_path / "b")
    (tmp_path / "b" / "a").symlink_to(tmp_path / "a")
    assert games.list_games(tmp_path) == [str(here), str(there)]
    assert games.list_games(tmp_path / "a") == [str(tmp_path / "a" / "b" / "trial" / "game.tw-pddl"), str(here)]


def test_a_game_that_several_links_reach_counts_once_and_goes_by_its_own_name(tmp_path: Path) -> None:
    file = write(tmp_path / "kind" / "trial")
    (tmp_path / "a-link").symlink_to("kind")
    (tmp_path / "z-link").symlink_to("kind")
    (tmp_path / "again").mkdir()
    (tmp_path / "again" / "game.tw-pddl").symlink_to(file)
    assert games.listing(tmp_path) == games.Listing([str(file)], {})


def test_the_order_of_games_is_that_of_their_paths_parts(tmp_path: Path) -> None:
    names = ("b/t", "a-b/t", "a/t", "a/s", "a b/t")
    made = [write(tmp_path / name) for name in names]
    assert games.list_games(tmp_path) == [str(path) for path in sorted(made)]


def test_a_linked_data_folder_of_ours_is_found_by_doctor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = doctor.data_folder()
    (tmp_path / "alfworld").mkdir()
    (tmp_path / "alfworld" / "small").symlink_to(real / "alfworld" / "small")
    (tmp_path / "tiny").symlink_to(real / "tiny")
    monkeypatch.setenv("ACTRE_DATA", str(tmp_path))
    checks = {check.name: check for check in doctor._data()}
    assert checks["games"].found.startswith("4 files")
    assert checks["tiny policy"].status == "ok"
    assert len(games.list_games("small/unseen")) == 120


def test_a_linked_game_is_named_and_typed_by_the_folders_it_lies_in(tmp_path: Path) -> None:
    write(tmp_path / "big" / OFFICIAL_NAME / "trial", "take the mug to the shelf please")
    (tmp_path / "mine").symlink_to(tmp_path / "big" / OFFICIAL_NAME)
    game = games.read_game(tmp_path / "mine" / "trial")
    assert game.task_type == "pick_and_place_simple"


# --- left out ---

_MOVABLE = "pick_and_place_with_movable_recep-Pen-Mug-Desk-301"


@pytest.mark.parametrize(
    ("name", "why"),
    [
        (f"{_MOVABLE}/trial", "movable"),
        ("pick_and_place_with_movable_recep/trial", "movable"),
        ("pick_cool_then_place_in_recep-LettuceSliced-None-DiningTable-17/trial", "sliced"),
        ("pick_two_obj_and_place-AppleSliced-None-Fridge-1/trial", "sliced"),
        (OFFICIAL_NAME + "/trial", None),
        ("removable_disk/game1", None),
        ("immovable/g", None),
        ("UnSlicedBread/g", None),
        ("Sliced/g", None),
        ("movable/g", None),
    ],
)
def test_folders_are_left_out_by_alfreds_names_and_no_others(name: str, why: str | None, tmp_path: Path) -> None:
    file, other = write(tmp_path / name), write(tmp_path / "zzz" / "trial")
    found = games.listing(tmp_path)
    assert found.games == ([str(file)] if why is None else []) + [str(other)]
    assert found.left_out == ({} if why is None else {why: 1})
    assert games.list_games(file) == [str(file)], "a game that is named itself is played"


@pytest.mark.parametrize("above", ["removable_disk", "immovable", "mySliced", _MOVABLE])
def test_folders_far_above_a_game_leave_nothing_out(above: str, tmp_path: Path) -> None:
    file = write(tmp_path / above / "json_2.1.1" / "valid_seen" / OFFICIAL_NAME / "trial")
    assert games.listing(tmp_path) == games.Listing([str(file)], {})


@pytest.mark.parametrize(
    ("text", "marked"),
    [
        ('"solvable": false', True),
        ('"solvable":false', True),
        ('"solvable" :\n false', True),
        ('"solvable": true', False),
        ('"solvable": false, "solvable": true', False),
        ('"other": "\\"solvable\\": false"', False),
        ('"solvable": null', False),
    ],
)
@pytest.mark.parametrize("padding", [0, 100_000])
def test_what_a_game_is_marked_is_read_as_json_reads_it(text: str, marked: bool, padding: int, tmp_path: Path) -> None:
    file = write(tmp_path / "kind" / "trial")
    raw = json.loads(file.read_text())
    del raw["solvable"]
    padded = json.dumps({**raw, "walkthrough": "x" * padding})
    file.write_text(f"{{{text}, {padded[1:]}")
    assert gamefiles.left_out_because(file) == ("marked unsolvable" if marked else None)
    assert (json.loads(file.read_text()).get("solvable") is False) == marked


def test_a_game_whose_own_data_say_movable_is_left_out_whatever_its_folder(tmp_path: Path) -> None:
    write(tmp_path / "mine" / "t", data={"images": "x" * 50_000, "task_type": "pick_and_place_with_movable_recep"})
    write(tmp_path / "yours" / "t", data={"task_type": "pick_and_place_simple", "images": "x" * 50_000})
    found = games.listing(tmp_path)
    assert (len(found.games), found.left_out) == (1, {"movable": 1})


def test_a_linked_game_has_the_data_that_lie_beside_what_it_links_to(tmp_path: Path) -> None:
    real = write(tmp_path / "big" / "t", data={"task_type": "pick_and_place_with_movable_recep"})
    other = write(tmp_path / "big" / "u", data={"task_type": "look_at_obj_in_light"})
    for name, file in (("a", real), ("b", other)):
        (tmp_path / "mine" / name).mkdir(parents=True)
        (tmp_path / "mine" / name / "game.tw-pddl").symlink_to(file)
    found = games.listing(tmp_path / "mine")
    assert found.left_out == {"movable": 1}
    assert [games.read_game(path).task_type for path in found.games] == ["look_at_obj_in_light"]


def _mixed(root: Path) -> None:
    for trial in range(3):
        write(root / OFFICIAL_NAME / f"trial_{trial}")
    for trial in range(2):
        write(root / _MOVABLE / f"trial_{trial}")
    write(root / OFFICIAL_NAME / "trial_9", solvable=False)


def test_every_reader_counts_what_is_left_out_with_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _mixed(tmp_path / "json_2.1.1" / "valid_unseen")
    monkeypatch.setenv("ALFWORLD_DATA", str(tmp_path))
    says = "3 left out: 2 movable, 1 marked unsolvable"
    assert f"valid_unseen 3 of 134 in {tmp_path / 'json_2.1.1'}; {says}" in official.games().words
    assert cli.main(["games", "list"]) == 0
    line = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("official/valid_unseen"))
    assert line.endswith(f"3 games, {says}")
    assert cli.main(["games", "list", "official/valid_unseen"]) == 0
    listed = capsys.readouterr()
    assert len(listed.out.splitlines()) == 3
    assert f"3 games, {says}" in listed.err
    assert cli.main(["games", "check", "official/valid_unseen", "--limit", "1"]) == 0
    assert f"3 games, {says}" in capsys.readouterr().out


def test_a_folder_from_which_all_is_left_out_says_so_and_is_not_called_empty(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path / "json_2.1.1" / "valid_seen" / _MOVABLE / "trial")
    monkeypatch.setenv("ALFWORLD_DATA", str(tmp_path))
    with pytest.raises(ActreError, match="no game to play: 0 games, 1 left out: 1 movable") as error:
        games.list_games("official/valid_seen")
    assert "holds no game.tw-pddl" not in str(error.value)
    assert cli.main(["games", "list"]) == 0
    assert "1 left out: 1 movable" in capsys.readouterr().out
    assert official.games().there == "part"
    assert "1 left out: 1 movable" in official.games().words


def test_a_link_that_leads_nowhere_and_a_folder_that_cannot_be_read_are_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "kind" / "trial")
    (tmp_path / "shut").mkdir()
    (tmp_path / "gone").symlink_to(tmp_path / "not mounted")
    scandir = os.scandir

    def refusing(path: str) -> object:
        if str(path).endswith("shut"):
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)
    found = games.listing(tmp_path)
    assert (len(found.games), found.left_out) == (1, {"broken link": 1, "unreadable folder": 1})


# --- bad games ---


def _cut(file: Path) -> None:
    file.write_text(file.read_text()[:500])


def _without(field: str) -> Callable[[Path], object]:
    return lambda file: file.write_text(
        json.dumps({k: v for k, v in json.loads(file.read_text()).items() if k != field})
    )


def _with(field: str, value: object) -> Callable[[Path], object]:
    return lambda file: file.write_text(json.dumps({**json.loads(file.read_text()), field: value}))


def _lost(file: Path) -> None:
    file.unlink()
    file.symlink_to("nothing")


UNREADABLE: dict[str, Callable[[Path], object]] = {
    "empty": lambda file: file.write_bytes(b""),
    "binary": lambda file: file.write_bytes(bytes(range(256)) * 40),
    "zeros": lambda file: file.write_bytes(b"\0" * 1000),
    "cut short": _cut,
    "a list": lambda file: file.write_text("[1, 2]"),
    "deep": lambda file: file.write_text("[" * 200_000),
    "long number": lambda file: file.write_text("1" * 10_000),
    "other encoding": lambda file: file.write_bytes(file.read_text().encode("utf-16")),
    "no grammar": _without("grammar"),
    "no problem": _without("pddl_problem"),
    "null domain": _with("pddl_domain", None),
    "broken link": _lost,
}
"""What makes a file none that can be read."""
UNPLAYABLE: dict[str, Callable[[Path], object]] = {
    "grammar cut": lambda file: _with("grammar", json.loads(file.read_text())["grammar"][:900])(file),
    "grammar of conflicting types": lambda file: _with(
        "grammar",
        json.loads(file.read_text())["grammar"].replace("{o}", "{obje0ct}", 1).replace("- object", "- obje0ct", 1),
    )(file),
    "grammar empty": _with("grammar", ""),
    "grammar of another kind": _with("grammar", 'grammar :: """\n{ "intro": [ { "rhs": "#nothing#" } ] }\n""";'),
    "problem empty": _with("pddl_problem", ""),
    "problem cut": lambda file: _with("pddl_problem", json.loads(file.read_text())["pddl_problem"][:700])(file),
    "domain of another kind": _with("pddl_domain", "(define (domain other))"),
    "goal unreachable": lambda file: _with(
        "pddl_problem", json.loads(file.read_text())["pddl_problem"].replace("inReceptacle ?o ?r", "isToggled ?o")
    )(file),
}
"""What can be read and not played: seen when it is loaded."""


@pytest.mark.parametrize("kind", [*UNREADABLE, *UNPLAYABLE])
def test_a_bad_game_is_named_with_the_reason_and_ends_no_command_for_the_others(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path / "a" / "trial")
    bad = write(tmp_path / "b" / "trial")
    write(tmp_path / "c" / "trial")
    (UNREADABLE | UNPLAYABLE)[kind](bad)
    assert cli.main(["games", "check", str(tmp_path), "--attempts", "1"]) == 1
    said = capsys.readouterr().out
    assert f"cannot be played: {bad}" in said
    assert "2 of 2" in said
    assert "1 cannot be played" in said
    for options in ([], ["--tasks"]):
        assert cli.main(["games", "list", str(tmp_path), *options]) == 0
        listed = capsys.readouterr()
        assert len(listed.out.splitlines()) == (2 if kind in UNREADABLE else 3)
        if kind in UNREADABLE:
            assert f"cannot be played: {bad}" in listed.err
            assert "3 games; 1 of them cannot be played" in listed.err


def test_a_file_that_may_not_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Patched, for a test may run as one who may read everything."""
    write(tmp_path / "a" / "trial")
    shut = write(tmp_path / "b" / "trial")
    open_ = Path.open

    def refusing(self: Path, *args: object, **settings: object) -> object:
        if self == shut:
            raise PermissionError(13, "Permission denied", str(self))
        return open_(self, *args, **settings)  # type: ignore[arg-type, call-overload]

    monkeypatch.setattr(Path, "open", refusing)
    assert len(games.list_games(tmp_path)) == 2
    with pytest.raises(ActreError, match=r"b/trial/game.tw-pddl cannot be read \(Permission denied\)"):
        games.read_game(shut)


@pytest.mark.timeout(20)
def test_what_is_no_file_is_not_waited_for(tmp_path: Path) -> None:
    write(tmp_path / "a" / "trial")
    (tmp_path / "b").mkdir()
    os.mkfifo(tmp_path / "b" / "game.tw-pddl")
    (tmp_path / "c" / "game.tw-pddl").mkdir(parents=True)
    found = games.list_games(tmp_path)
    assert list(games.unreadable(found)) == [str(tmp_path / "b" / "game.tw-pddl")]


def test_what_is_trained_on_is_what_can_be_read(tmp_path: Path) -> None:
    good, bad = write(tmp_path / "a" / "trial"), write(tmp_path / "b" / "trial")
    bad.write_text("{")
    with pytest.warns(UserWarning, match=rf"1 of the 2 games of .* are left out:\s+{bad} is damaged"):
        assert readable("alfworld", str(tmp_path)) == [str(good)]
    good.write_text("{")
    with pytest.raises(ActreError, match="none of the 2 games"):
        readable("alfworld", str(tmp_path))
    assert readable("alfworld", "small/train") == games.list_games("small/train")
