"""Finds ALFWorld's game files below a folder, through symbolic links too, and says which are left out and why.

Knows where games lie and what marks one that is not played; reads no game beyond that mark. Everything that counts or
plays games asks here, so that all of them find the same ones.

What is left out follows alfworld 0.4.2 (AlfredTWEnv.collect_game_files), which passes over a game whose path holds
"movable" or "Sliced", whose task is none of the six types, or which is not marked `"solvable": true`.
Differs: the words count only where ALFRED writes them, in a task folder's name
(`pick_and_place_with_movable_recep-...`, `...-LettuceSliced-...`) or as traj_data.json's task type, so that a folder
called removable_disk loses no game. A game without the mark, without traj_data.json or of another type may be one's own
and is played. The official games come out the same.
"""

import json
import os
import re
from collections import Counter
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from stat import S_ISREG
from typing import Any, NamedTuple

GAME, DATA = "game.tw-pddl", "traj_data.json"
"""A game, and what ALFRED says of its task, which lies beside it in the official data."""
MOVABLE_TYPE = "pick_and_place_with_movable_recep"
MOVABLE, SLICED, UNSOLVABLE = "movable", "sliced", "marked unsolvable"
UNREADABLE, LOST = "unreadable folder", "broken link"
"""Why something is left out. The last two are places where games may lie that cannot be seen."""

_SLICED = re.compile(r"-(?:Apple|Bread|Lettuce|Potato|Tomato)Sliced(?:-|$)")
_SOLVABLE = rb'"solvable"\s*:\s*(true|false)'
_TYPE = rb'"task_type"\s*:\s*"(\w*)"'
_TAIL = 1 << 14
"""Bytes at a file's end that mostly hold a mark: both stand behind the long texts."""


class Found(NamedTuple):
    """What lies below a folder: the games to play, in a fixed order, and how many are left out for which reason."""

    games: tuple[Path, ...]
    left_out: dict[str, int]


def find_games(folder: Path) -> Found:
    """The games below a folder. Each is found once, however many links lead to it, without a link where it can be."""
    left_out: Counter[str] = Counter()
    once: dict[str, str] = {}  # where a game really lies -> as it is reached
    linked: dict[str, str] = {}
    for place, real, names in _folders(folder, left_out):
        links = [name for name in names if os.path.islink(os.path.join(place, name))]
        left_out[LOST] += sum(1 for name in links if name != GAME and not os.path.exists(os.path.join(place, name)))
        path = os.path.join(place, GAME)
        if GAME in links:
            linked.setdefault(os.path.realpath(path), path)
        elif GAME in names:
            once[os.path.join(real, GAME)] = path
    games = []
    for real, path in (linked | once).items():
        why = left_out_because(path, real)
        if why is None:
            games.append(Path(path))
        else:
            left_out[why] += 1
    return Found(tuple(sorted(games)), dict(+left_out))


def described(number: int, left_out: dict[str, int]) -> str:
    """How many games there are, and what is left out.

    >>> described(12, {"movable": 2, "marked unsolvable": 1})
    '12 games, 3 left out: 2 movable, 1 marked unsolvable'
    """
    games = f"{number:,} game{'' if number == 1 else 's'}"
    return f"{games}, {reasons(left_out)}" if left_out else games


def reasons(left_out: dict[str, int]) -> str:
    """What is left out, most first, as in "3 left out: 2 movable, 1 marked unsolvable"."""
    ordered = sorted(left_out.items(), key=lambda item: (-item[1], item[0]))
    parts = ", ".join(f"{number:,} {why}" for why, number in ordered)
    return f"{sum(left_out.values()):,} left out: {parts}"


def left_out_because(path: str | Path, real: str | None = None) -> str | None:
    """Why a game file is not among those to play; None if it is. One that cannot be read is: reading it says why.

    real: where it lies without links, if that is known.
    """
    names = task_folders(path, real)
    if any(name.partition("-")[0] == MOVABLE_TYPE for name in names):
        return MOVABLE
    if any(_SLICED.search(name) for name in names):
        return SLICED
    said = (_mark(os.path.join(place, DATA), _TYPE) for place in _places(path, real))
    if next((kind for kind in said if kind is not None), None) == MOVABLE_TYPE.encode():
        return MOVABLE
    return UNSOLVABLE if _mark(os.fspath(path), _SOLVABLE) == b"false" else None


def task_folders(path: str | Path, real: str | None = None) -> tuple[str, ...]:
    """The names of the folders that may name a game's task: the two above the file, as reached and as they are."""
    return tuple(name for place in _places(path, real) for name in place.split(os.sep)[-2:])


def _places(path: str | Path, real: str | None = None) -> list[str]:
    """The folders in which a game file lies: as reached, and without links where that is another."""
    return list(dict.fromkeys(os.path.dirname(place) for place in (os.fspath(path), real or os.path.realpath(path))))


def task_data(path: Path) -> dict[str, Any]:
    """What traj_data.json beside a game file, or beside what that links to, says of the task: task_type, pddl_params.

    {} where it says nothing readable.
    """
    for place in _places(path):
        file = os.path.join(place, DATA)
        try:
            stat = os.stat(file)
            found = _told(file, stat.st_mtime_ns, stat.st_size) if S_ISREG(stat.st_mode) else None
        except (OSError, ValueError, RecursionError):
            continue
        if found is not None:
            return found
    return {}


@lru_cache(maxsize=1 << 13)
def _told(file: str, stamp: int, size: int) -> dict[str, Any] | None:
    """Kept, for a game is read before each episode, and the rest of the official files is long."""
    found = json.loads(Path(file).read_bytes())
    names = ("task_type", "pddl_params")
    return {name: found[name] for name in names if name in found} if isinstance(found, dict) else None


def walk(folder: Path) -> Iterator[Path]:
    """Every file below a folder, through links too, each folder once."""
    for place, _, names in _folders(folder, Counter()):
        yield from (Path(place, name) for name in names)


def _folders(folder: Path, trouble: Counter[str]) -> Iterator[tuple[str, str, list[str]]]:
    """Every folder below one, itself too: as reached, where it really lies, and its files' names; each folder once.

    Folders that need no link come first, the others in the order of their paths. A link to a folder above it leads
    nowhere new and is not followed.
    """
    seen: set[str] = set()
    waiting = [str(folder)]

    def refused(error: OSError) -> None:
        trouble[UNREADABLE] += not isinstance(error, FileNotFoundError | NotADirectoryError)

    for start in waiting:  # grows as links are found
        start_real = os.path.realpath(start)
        for place, below, names in os.walk(start, onerror=refused):
            real = start_real + place[len(start) :]  # no link below: os.walk itself follows none
            if real in seen:
                below.clear()
                continue
            seen.add(real)
            below.sort()
            links = [path for name in below if os.path.islink(path := os.path.join(place, name))]
            waiting += [path for path in links if not _is_above(os.path.realpath(path), real)]
            yield place, real, names


def _is_above(folder: str, other: str) -> bool:
    return os.path.commonpath([folder, other]) == folder


def _mark(path: str, pattern: bytes) -> bytes | None:
    """What a mark in a JSON file says; None where it has none, or cannot be read: whoever reads the file says why."""
    try:
        stat = os.stat(path)
        return _last(path, pattern, stat.st_mtime_ns, stat.st_size) if S_ISREG(stat.st_mode) else None
    except OSError:
        return None


@lru_cache(maxsize=1 << 15)
def _last(path: str, pattern: bytes, stamp: int, size: int) -> bytes | None:
    """A mark that stands twice says what it says last, as in JSON; `stamp` and size make a changed file a new one."""
    with open(path, "rb") as file:
        file.seek(max(0, size - _TAIL))
        marks: list[bytes] = re.findall(pattern, file.read())
        if not marks and size > _TAIL:
            file.seek(0)
            marks = re.findall(pattern, file.read())
    return marks[-1] if marks else None
