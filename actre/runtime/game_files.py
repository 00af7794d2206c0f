"""Finds ALFWorld's game files below a folder, symbolic links included, and reports which are left out and why.

Everything that counts or plays games uses this module, so that all find the same games.

The rule follows alfworld 0.4.2 (AlfredTWEnv.collect_game_files), which skips a game whose path contains "movable" or
"Sliced", whose task is none of the six types, or which is not marked `"solvable": true`. Differs: the words count only
where ALFRED writes them: in a task folder's name (`pick_and_place_with_movable_recep-...`, `...-LettuceSliced-...`) or
as the task type in traj_data.json. A folder called removable_disk then loses no games. A game without the mark, without
traj_data.json or of another type may be the user's own and is played. For the official games the result is the same.
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
"""A game, and ALFRED's description of its task, which the official data have next to it."""
MOVABLE_TYPE = "pick_and_place_with_movable_recep"
MOVABLE, SLICED, UNSOLVABLE = "movable", "sliced", "marked unsolvable"
UNREADABLE, LOST = "unreadable folder", "broken link"
"""Reasons to leave something out. UNREADABLE and LOST are places that may hold games that cannot be seen."""

_SLICED = re.compile(r"-(?:Apple|Bread|Lettuce|Potato|Tomato)Sliced(?:-|$)")
_SOLVABLE = rb'"solvable"\s*:\s*(true|false)'
_TYPE = rb'"task_type"\s*:\s*"(\w*)"'
_TAIL = 1 << 14
"""Bytes at the end of a file that usually contain a mark, since both marks follow the long texts."""


class Found(NamedTuple):
    """The games below a folder, in a fixed order, and the number left out for each reason."""

    games: tuple[Path, ...]
    left_out: dict[str, int]


def find_games(folder: Path) -> Found:
    """The games below a folder. Each is found once, even if several links lead to it, without a link if possible."""
    left_out: Counter[str] = Counter()
    once: dict[str, str] = {}  # real path of a game -> the path by which it was reached
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
    """The number of games, and what is left out.

    >>> described(12, {"movable": 2, "marked unsolvable": 1})
    '12 games, 3 left out: 2 movable, 1 marked unsolvable'
    """
    games = f"{number:,} game{'' if number == 1 else 's'}"
    return f"{games}, {reasons(left_out)}" if left_out else games


def reasons(left_out: dict[str, int]) -> str:
    """What is left out, most frequent first: "3 left out: 2 movable, 1 marked unsolvable"."""
    ordered = sorted(left_out.items(), key=lambda item: (-item[1], item[0]))
    parts = ", ".join(f"{number:,} {why}" for why, number in ordered)
    return f"{sum(left_out.values()):,} left out: {parts}"


def left_out_because(path: str | Path, real: str | None = None) -> str | None:
    """Why a game file is not played; None if it is. An unreadable one is not left out: reading it raises the error.

    real: its path without links, if known.
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
    """Names of the folders that may name a game's task: the two above the file, with and without links."""
    return tuple(name for place in _places(path, real) for name in place.split(os.sep)[-2:])


def _places(path: str | Path, real: str | None = None) -> list[str]:
    """The folders that hold a game file: as reached and, if different, without links."""
    return list(dict.fromkeys(os.path.dirname(place) for place in (os.fspath(path), real or os.path.realpath(path))))


def task_data(path: Path) -> dict[str, Any]:
    """task_type and pddl_params from the traj_data.json next to a game file, or next to the file it links to.

    {} if there is nothing readable.
    """
    for place in _places(path):
        file = os.path.join(place, DATA)
        try:
            stat = os.stat(file)
            found = _read_task(file, stat.st_mtime_ns, stat.st_size) if S_ISREG(stat.st_mode) else None
        except (OSError, ValueError, RecursionError):
            continue
        if found is not None:
            return found
    return {}


@lru_cache(maxsize=1 << 13)
def _read_task(file: str, stamp: int, size: int) -> dict[str, Any] | None:
    """Cached, because a game is read before each episode and the official files are long."""
    found = json.loads(Path(file).read_bytes())
    names = ("task_type", "pddl_params")
    return {name: found[name] for name in names if name in found} if isinstance(found, dict) else None


def walk(folder: Path) -> Iterator[Path]:
    """Every file below a folder, links included, each folder once."""
    for place, _, names in _folders(folder, Counter()):
        yield from (Path(place, name) for name in names)


def _folders(folder: Path, trouble: Counter[str]) -> Iterator[tuple[str, str, list[str]]]:
    """A folder and all below it: path as reached, real path, and file names; each folder once.

    Folders reached without a link come first, the others in the order of their paths. A link to a folder above itself
    is not followed.
    """
    seen: set[str] = set()
    waiting = [str(folder)]

    def refused(error: OSError) -> None:
        trouble[UNREADABLE] += not isinstance(error, FileNotFoundError | NotADirectoryError)

    for start in waiting:  # the list grows as links are found
        start_real = os.path.realpath(start)
        for place, below, names in os.walk(start, onerror=refused):
            real = start_real + place[len(start) :]  # os.walk follows no links
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
    """The value of a mark in a JSON file; None if it is missing or the file is unreadable."""
    try:
        stat = os.stat(path)
        return _last(path, pattern, stat.st_mtime_ns, stat.st_size) if S_ISREG(stat.st_mode) else None
    except OSError:
        return None


@lru_cache(maxsize=1 << 15)
def _last(path: str, pattern: bytes, stamp: int, size: int) -> bytes | None:
    """The last value of a mark, as in JSON; `stamp` and `size` invalidate the cache when the file changes."""
    with open(path, "rb") as file:
        file.seek(max(0, size - _TAIL))
        marks: list[bytes] = re.findall(pattern, file.read())
        if not marks and size > _TAIL:
            file.seek(0)
            marks = re.findall(pattern, file.read())
    return marks[-1] if marks else None
