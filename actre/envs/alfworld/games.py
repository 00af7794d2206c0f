"""Reads games (a game.tw-pddl file, or one game of a panel) and lists the games of a panel or a folder.

Imports neither alfworld nor textworld. A panel is a JSONL file (gzipped or not) with one room a line;
`panel.jsonl.gz#id` names one game.
"""

import difflib
import json
import os
import re
import warnings
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from actre.config import paths
from actre.envs.alfworld import wheel
from actre.envs.alfworld.rooms import Room, problem
from actre.envs.alfworld.tasks import NoPlanError, Task, goal_of, parse_task, sentence_of, task_type_of
from actre.runtime.game_files import GAME, described, find_games, task_data, task_folders
from actre.runtime.official import alfworld_root
from actre.types import ActreError, read_jsonl

SHIPPED = (
    *(f"{size}/{split}" for size in ("small", "full") for split in ("train", "seen", "unseen")),
    "small/unseen-2",
)
OFFICIAL = tuple(f"official/{split}" for split in ("train", "valid_seen", "valid_unseen"))
_OLD = "put {o} in/on {r}"
"""A command that only format 2.1.1 has; the current one is `move {o} to {r}`."""
_SENTENCE = re.compile(r'Your task is to: ((?:[^"\\]|\\.)*)')


@dataclass(frozen=True)
class Game:
    """One game as the engine needs it.

    id: a short name for records. path: the argument of `read_game`. task_type: one of tasks.TASK_TYPES, another one
    named in the game's data, or tasks.OTHER. goal: the scripted expert's goal; None if it has no plan for this game,
    which a policy can still play. converted: the file is in the older format 2.1.1 and is played with the current rules
    and text.
    """

    id: str
    path: str
    task_type: str
    pddl_domain: str
    grammar: str
    pddl_problem: str
    converted: bool = False
    goal: Task | None = None

    @property
    def task(self) -> str:
        """The task sentence without its full stop; "" if there is none."""
        found = _SENTENCE.search(self.grammar)
        return found[1].strip().rstrip(".") if found else ""

    def plan(self) -> str:
        """The goal as a sentence that the scripted expert reads. Raises NoPlanError if it has no plan."""
        if self.goal is None:
            raise NoPlanError(
                f"the scripted expert has no plan for the task {self.task!r} ({self.task_type}): the sentence matches "
                "no template of alfworld and traj_data.json does not say what to bring where, or the task needs slices "
                "or movable receptacles, which the expert cannot handle. A policy can play the game"
            )
        return sentence_of(self.goal)


class NotHereError(ActreError):
    """The data of a named panel are not on this machine."""


class Listing(NamedTuple):
    """The games of a source, and how many are left out, by reason."""

    games: list[str]
    left_out: dict[str, int]

    def __str__(self) -> str:
        return described(len(self.games), self.left_out)


def data_folder() -> Path:
    """The folder of the shipped panels: `alfworld/` in the folder of shipped data (`paths.data_root`)."""
    return paths.data_root() / "alfworld"


def shipped_panel(name: str) -> Path:
    """The file of a shipped panel such as "small/train". Raises ActreError, with a hint, for another name."""
    if name not in SHIPPED:
        raise ActreError(f"no panel is called {name!r}{_hint(name)}; there are {', '.join(SHIPPED + OFFICIAL)}")
    path = data_folder() / f"{name}.jsonl.gz"
    if not path.exists():
        raise NotHereError(
            f"the shipped panel {name} is not at {path}: set ACTRE_DATA to the checkout's data folder, "
            f"or make the panels: actre games generate --shipped"
        )
    return path


def _hint(name: str) -> str:
    close = difflib.get_close_matches(name, SHIPPED + OFFICIAL, n=1, cutoff=0.5)
    return f" (did you mean {close[0]!r}?)" if close else ""


def list_games(source: str | Path) -> list[str]:
    """The games of `listing`: paths for `read_game`, in a fixed order."""
    return listing(source).games


def listing(source: str | Path) -> Listing:
    """The games of a source, and what is left out of it.

    source: a panel file; a folder, searched for game.tw-pddl files (see runtime/game_files.py); a single game, which is
    never left out; the name of a shipped panel ("small/train"); or "official/train", "official/valid_seen" or
    "official/valid_unseen" (in `$ALFWORLD_DATA/json_2.1.1`). Raises ActreError if the source does not exist or has no
    game to play.
    """
    name = str(source)
    if name in SHIPPED:
        # named by the panel, not by its path, so that records are the same on every machine
        return Listing([f"{name}#{game}" for game in _panel(shipped_panel(name))], {})
    if name in OFFICIAL:
        return _in_folder(_official(name.partition("/")[2]))
    name = paths.expand(name)
    path = Path(name)
    if path.is_dir():
        return _in_folder(path)
    if path.is_file() and _is_panel(path):
        return Listing([f"{name}#{game}" for game in _panel(path)], {})
    if path.is_file() or "#" in name:
        read_game(name)
        return Listing([name], {})
    if len(path.parts) == 2 and not path.parent.exists():
        shipped_panel(name)  # probably a misspelt panel name: raises with a hint
    raise ActreError(
        f"{name} is not a file, folder or panel{_hint(name)}: `actre games list` lists the panels that are here"
    )


def _official(split: str) -> Path:
    folder = alfworld_root() / split
    if not folder.is_dir():
        raise NotHereError(
            f"the official games are not at {folder}: fetch them with `alfworld-download`, "
            "or set ALFWORLD_DATA to the folder that holds json_2.1.1"
        )
    return folder


def _in_folder(folder: Path) -> Listing:
    found = find_games(folder)
    if found.games:
        return Listing([str(path) for path in found.games], found.left_out)
    if found.left_out:
        raise ActreError(
            f"{folder} holds no game to play: {described(0, found.left_out)}. To play one anyway, give its own path"
        )
    raise ActreError(f"{folder} holds no {GAME}: give a folder of games, a panel file, or a panel's name")


def _is_panel(path: Path) -> bool:
    return path.name.endswith((".jsonl", ".jsonl.gz"))


def read_game(path: str | Path) -> Game:
    """One game: a game.tw-pddl file, a folder holding one, or `panel.jsonl.gz#id` (panel: a file or a name).

    A game in the older format 2.1.1 ("put X in/on Y", "You arrive at loc 5.") is converted: it keeps its problem and
    task, and gets the rules and text of the installed alfworld. `Game.converted` is then set and a warning is issued.
    Raises ActreError for a missing or damaged file, or an unknown id.
    """
    name = str(path)
    panel, mark, game = name.partition("#")
    if mark and (panel in SHIPPED or _is_panel(Path(panel))):
        return _from_panel(name, shipped_panel(panel) if panel in SHIPPED else _there(panel), game)
    file = _there(name)
    if _is_panel(file):
        raise ActreError(
            f"{name} is a panel of several games: name one as {name}#ID; `actre games list {name}` lists them"
        )
    return _from_file(name, *_read(file))


def _there(name: str) -> Path:
    """The path as written if it exists (paths from a directory listing do), else with ~ and variables expanded."""
    return Path(name) if os.path.lexists(name) else paths.place(name)


def _read(file: Path) -> tuple[Path, Any]:
    """A game's file (`file` may be its folder) and the JSON in it. Raises ActreError if it cannot be read."""
    try:
        file = file / GAME if file.is_dir() else file
        if file.exists() and not file.is_file():
            raise ActreError(f"{file} is not a file: `actre games list FOLDER` lists the games in a folder")
        return file, json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        lost = "is a broken link" if file.is_symlink() else "does not exist"
        raise ActreError(f"{file} {lost}: `actre games list FOLDER` lists the games in a folder") from None
    except OSError as error:
        raise ActreError(f"{file} cannot be read ({error.strerror}): make it readable, or fetch it again") from error
    except (ValueError, RecursionError) as error:  # invalid JSON, invalid UTF-8, or nested too deeply
        raise ActreError(f"{file} is damaged, not JSON ({error}): fetch or generate it again") from error


def unreadable(games: Iterable[str]) -> dict[str, str]:
    """The unreadable ones among these game files, with the reasons. Games of panels are not checked."""
    found = {}
    for name in games:
        if not _is_panel(Path(name.partition("#")[0])) and name.partition("#")[0] not in SHIPPED:
            try:
                read_game(name)
            except ActreError as error:
                found[name] = str(error)
    return found


def _from_file(name: str, file: Path, raw: Any) -> Game:
    fields = ("pddl_domain", "grammar", "pddl_problem")
    if not isinstance(raw, dict) or not all(isinstance(raw.get(k), str) for k in fields):
        raise ActreError(f"{file} is not an ALFWorld game: it lacks one of the texts {', '.join(fields)}")
    domain, grammar, pddl = (raw[k] for k in fields)
    short = "/".join(file.resolve().parent.parts[-2:])
    game = Game(short, name, "", domain, grammar, pddl)
    data, parsed = task_data(file), parse_task(game.task)
    task_type = task_type_of(data, task_folders(file), parsed)
    game = replace(game, task_type=task_type, goal=goal_of(task_type, data, parsed))
    if _OLD not in grammar:
        return game
    warnings.warn(
        "games in the older format 2.1.1 are converted when they are read: the same rooms and tasks, with the current "
        "rules and text. Results on them are not those of the old games; `alfworld-download` fetches current games",
        stacklevel=2,
    )
    return replace(game, pddl_domain=wheel.domain(), grammar=wheel.grammar(game.task), converted=True)


@lru_cache(maxsize=16)
def _records(path: Path, stamp: tuple[int, int]) -> dict[str, dict[str, Any]]:
    """A panel's records by id. `stamp`, the file's time and size, makes the cache reread a changed file."""
    try:
        return {record["id"]: record for record in read_jsonl(path)}
    except (KeyError, TypeError, AttributeError, OSError, EOFError, UnicodeDecodeError) as error:
        raise ActreError(
            f"{path} is not a panel of games, or is damaged ({error!r}): make it again with `actre games generate`"
        ) from error


def _panel(path: Path) -> dict[str, dict[str, Any]]:
    if not path.is_file():
        raise ActreError(f"{path} does not exist: make a panel with `actre games generate --out {path}`")
    stat = path.stat()
    return _records(path, (stat.st_mtime_ns, stat.st_size))


def read_rooms(path: str | Path) -> list[Room]:
    """The rooms of a panel file or a shipped panel, in order; each is checked against its digest."""
    file = shipped_panel(str(path)) if str(path) in SHIPPED else _there(str(path))
    return [Room.from_json(record) for record in _panel(file).values()]


def _from_panel(name: str, file: Path, game: str) -> Game:
    records = _panel(file)
    if game not in records:
        close = difflib.get_close_matches(game, list(records), n=1)
        hint = f" (did you mean {close[0]!r}?)" if close else ""
        raise ActreError(f"{file} has no game {game!r}{hint}: `actre games list {file}` lists its {len(records)} games")
    return game_of(Room.from_json(records[game]), name)


def game_of(room: Room, path: str = "") -> Game:
    """The game of a room."""
    goal = parse_task(room.task)
    return Game(room.id, path, room.task_type, wheel.domain(), wheel.grammar(room.task), problem(room), goal=goal)
