"""Reads games: a game.tw-pddl file, or one game of a panel; and lists the games of a panel or a folder.

Knows the file formats and where shipped and official games lie; does not play and imports neither alfworld
nor textworld. A panel is a JSONL file (gzipped or not), one room a line; `panel.jsonl.gz#id` names one game.
"""

import difflib
import json
import os
import re
import warnings
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

from actre.envs.alfworld import wheel
from actre.envs.alfworld.rooms import Room, problem
from actre.envs.alfworld.tasks import parse_task
from actre.official import is_listed
from actre.types import ActreError, read_jsonl

SHIPPED = tuple(f"{size}/{split}" for size in ("small", "full") for split in ("train", "seen", "unseen"))
OFFICIAL = tuple(f"official/{split}" for split in ("train", "valid_seen", "valid_unseen"))
_FILE = "game.tw-pddl"
_OLD = "put {o} in/on {r}"
"""A command as only format 2.1.1 words it; today it is `move {o} to {r}`."""


@dataclass(frozen=True)
class Game:
    """One game as the engine needs it.

    id: a short name for records. path: what `read_game` was given. task_type: see tasks.TASK_TYPES. converted: the
    file is in the older format 2.1.1, whose objects and task are played by today's rules and words.
    """

    id: str
    path: str
    task_type: str
    pddl_domain: str
    grammar: str
    pddl_problem: str
    converted: bool = False


def data_folder() -> Path:
    """Where shipped panels lie: `$ACTRE_DATA/alfworld`, or data/alfworld of the checkout."""
    root = os.environ.get("ACTRE_DATA")
    return (Path(root) if root else Path(__file__).resolve().parents[3] / "data") / "alfworld"


def shipped_panel(name: str) -> Path:
    """The file of a shipped panel such as "small/train". Raises ActreError, with a hint, on another name."""
    if name not in SHIPPED:
        raise ActreError(f"no panel is called {name!r}{_hint(name)}; there are {', '.join(SHIPPED + OFFICIAL)}")
    path = data_folder() / f"{name}.jsonl.gz"
    if not path.exists():
        raise ActreError(
            f"the shipped panel {name} is not at {path}: set ACTRE_DATA to the checkout's data folder, "
            f"or make the panels: actre games generate --shipped"
        )
    return path


def _hint(name: str) -> str:
    close = difflib.get_close_matches(name, SHIPPED + OFFICIAL, n=1, cutoff=0.5)
    return f" (did you mean {close[0]!r}?)" if close else ""


def list_games(source: str | Path) -> list[str]:
    """The paths that `read_game` takes, in a fixed order.

    source: a panel file; a folder, searched for game.tw-pddl files; a game; the name of a shipped panel
    ("small/train"), or "official/train", "official/valid_seen", "official/valid_unseen" (found in
    `$ALFWORLD_DATA/json_2.1.1`). Raises ActreError where there is no such thing, or nothing in it.
    """
    name = str(source)
    if name in SHIPPED:
        # by the panel's name, not its place: records then say the same on every machine
        return [f"{name}#{game}" for game in _panel(shipped_panel(name))]
    if name in OFFICIAL:
        return _in_folder(_official(name.partition("/")[2]))
    path = Path(name)
    if path.is_dir():
        return _in_folder(path)
    if path.is_file() and _is_panel(path):
        return [f"{name}#{game}" for game in _panel(path)]
    if path.is_file() or "#" in name:
        read_game(name)
        return [name]
    if len(path.parts) == 2 and not path.parent.exists():
        shipped_panel(name)  # no such file and two words: a panel's name, misspelt
    raise ActreError(
        f"{name} is no file, folder or panel{_hint(name)}: `actre games list` shows the panels that are here"
    )


def _official(split: str) -> Path:
    root = os.environ.get("ALFWORLD_DATA") or os.path.expanduser("~/.cache/alfworld")
    folder = Path(root) / "json_2.1.1" / split
    if not folder.is_dir():
        raise ActreError(
            f"the official games are not at {folder}: fetch them with `alfworld-download`, "
            "or set ALFWORLD_DATA to the folder that holds json_2.1.1"
        )
    return folder


def _in_folder(folder: Path) -> list[str]:
    # games marked unsolvable are left out, as in alfworld itself; it leaves out unmarked ones, too, which here may be
    # one's own
    found = sorted(p for p in folder.rglob(_FILE) if is_listed(p) and not _unsolvable(p, p.stat().st_mtime_ns))
    if not found:
        raise ActreError(f"{folder} holds no {_FILE}: give a folder of games, a panel file, or a panel's name")
    return [str(p) for p in found]


@cache
def _unsolvable(path: Path, stamp: int) -> bool:
    """Whether a game is marked as such; `stamp` makes a changed file a new one."""
    return re.search(rb'"solvable": *false', path.read_bytes()) is not None


def _is_panel(path: Path) -> bool:
    return path.name.endswith((".jsonl", ".jsonl.gz"))


def read_game(path: str | Path) -> Game:
    """One game: a game.tw-pddl file, a folder holding one, or `panel.jsonl.gz#id` (panel: a file or a name).

    A game in the older format 2.1.1 ("put X in/on Y", "You arrive at loc 5.") is converted: it keeps its problem and
    its task, and gets the rules and words of the installed alfworld, as all games of today have; `Game.converted` and a
    warning say so. Raises ActreError on a missing or damaged file, or an unknown id.
    """
    name = str(path)
    panel, mark, game = name.partition("#")
    if mark and (panel in SHIPPED or _is_panel(Path(panel))):
        return _from_panel(name, shipped_panel(panel) if panel in SHIPPED else Path(panel), game)
    file = Path(name)
    if _is_panel(file):
        raise ActreError(
            f"{name} is a panel of many games: name one as {name}#ID; `actre games list {name}` shows them"
        )
    file = file / _FILE if file.is_dir() else file
    try:
        raw = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ActreError(f"{file} does not exist: `actre games list FOLDER` shows the games in a folder") from None
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ActreError(f"{file} is damaged, not JSON ({error}): fetch or generate it again") from error
    return _from_file(name, file, raw)


def _from_file(name: str, file: Path, raw: Any) -> Game:
    fields = ("pddl_domain", "grammar", "pddl_problem")
    if not isinstance(raw, dict) or not all(isinstance(raw.get(k), str) for k in fields):
        raise ActreError(f"{file} is no ALFWorld game: it needs the texts {', '.join(fields)}")
    domain, grammar, pddl = (raw[k] for k in fields)
    sentence = grammar.partition("Your task is to: ")[2].partition('"')[0]
    task = parse_task(sentence)
    if task is None:
        raise ActreError(f"{file}: the task {sentence!r} is none of the six ALFWorld task types")
    parts = file.resolve().parent.parts
    short = "/".join(parts[-2:])
    if _OLD not in grammar:
        return Game(short, name, task.task_type, domain, grammar, pddl)
    warnings.warn(
        "games in the older format 2.1.1 are converted as they are read: their rooms and tasks by today's rules and "
        "words. Figures on them are not those of the old games; `alfworld-download` fetches today's",
        stacklevel=2,
    )
    return Game(
        short, name, task.task_type, wheel.domain(), wheel.grammar(sentence.strip().rstrip(".")), pddl, converted=True
    )


@lru_cache(maxsize=16)
def _records(path: Path, stamp: tuple[int, int]) -> dict[str, dict[str, Any]]:
    """A panel's records by id; `stamp` (time and size of the file) makes a changed file a new one."""
    try:
        return {record["id"]: record for record in read_jsonl(path)}
    except (KeyError, TypeError, AttributeError, OSError, EOFError, UnicodeDecodeError) as error:
        raise ActreError(
            f"{path} is no panel of games, or damaged ({error!r}): make it again with `actre games generate`"
        ) from error


def _panel(path: Path) -> dict[str, dict[str, Any]]:
    if not path.is_file():
        raise ActreError(f"{path} does not exist: make a panel with `actre games generate --out {path}`")
    stat = path.stat()
    return _records(path, (stat.st_mtime_ns, stat.st_size))


def read_rooms(path: str | Path) -> list[Room]:
    """The rooms of a panel file or a shipped panel, in its order; each is checked against its digest."""
    file = shipped_panel(str(path)) if str(path) in SHIPPED else Path(path)
    return [Room.from_json(record) for record in _panel(file).values()]


def _from_panel(name: str, file: Path, game: str) -> Game:
    records = _panel(file)
    if game not in records:
        close = difflib.get_close_matches(game, list(records), n=1)
        hint = f" (did you mean {close[0]!r}?)" if close else ""
        raise ActreError(f"{file} has no game {game!r}{hint}: `actre games list {file}` shows its {len(records)} games")
    return game_of(Room.from_json(records[game]), name)


def game_of(room: Room, path: str = "") -> Game:
    """The game that a room stands for."""
    return Game(room.id, path, room.task_type, wheel.domain(), wheel.grammar(room.task), problem(room))
