"""Makes panels of generated games: the shipped set, and fresh games that are in no shipped panel."""

from collections.abc import Callable, Iterable
from itertools import islice
from pathlib import Path

from actre.envs.alfworld.games import SHIPPED, data_folder, read_rooms
from actre.envs.alfworld.generate import SIZES, SPLITS, Size, Split, rooms
from actre.envs.alfworld.rooms import Room, content_key
from actre.runtime import outputs
from actre.types import jsonl_bytes, write_jsonl

COUNTS: dict[Split, int] = {"train": 240, "seen": 60, "unseen": 120}
SHIPPED_SEED = "v1"
SECOND, SECOND_SEED = "small/unseen-2", "v2"
"""A second panel on the unseen floor plans, for what is looked at only once."""


def shipped_keys() -> set[str]:
    """The `content_key`s of all games in those shipped panels that exist (none before the set is first made)."""
    here = [name for name in SHIPPED if (data_folder() / f"{name}.jsonl.gz").exists()]
    return {content_key(room) for name in here for room in read_rooms(name)}


def generate(
    size: Size, split: Split, n: int, seed: int | str, exclude: Iterable[str] = (), avoid_shipped: bool = True
) -> list[Room]:
    """`n` fresh rooms, the task types in turn, none of them in a shipped panel.

    exclude: further `content_key`s to avoid. The result depends only on the arguments and the shipped set.
    """
    avoid = set(exclude) | (shipped_keys() if avoid_shipped else set())
    return list(islice(rooms(size, split, seed, avoid), n))


def write_panel(path: str | Path, games: Iterable[Room], own: Callable[[bytes], bool] | None = None) -> list[str]:
    """Write a panel; returns the paths that `games.read_game` takes. The same rooms give the same bytes.

    own: whether an existing file with this content may be replaced; None: only one with the same games. Raises
    ActreError if it may not, since the records of runs refer to games by panel and id.
    """
    games = list(games)
    outputs.put(path, jsonl_bytes(path, (room.to_json() for room in games)), own)
    return [f"{path}#{room.id}" for room in games]


def make_shipped(folder: str | Path, keep: Callable[[Room], bool]) -> dict[str, list[str]]:
    """Write the seven shipped panels under `folder`; returns the ids of the rooms that `keep` rejected, by panel.

    `keep` says whether an expert solves a room. No two panels share a room's content.
    """
    known: set[str] = set()
    refused: dict[str, list[str]] = {}

    def write(name: str, size: Size, split: Split, seed: str, plans: set[int] | None = None) -> list[Room]:
        chosen, refused[name] = _chosen(size, split, seed, known, keep, plans)
        known.update(content_key(room) for room in chosen)
        write_jsonl(Path(folder) / f"{name}.jsonl.gz", [room.to_json() for room in chosen])
        return chosen

    for size in SIZES:
        train_plans: set[int] = set()
        for split in SPLITS:
            made = write(f"{size}/{split}", size, split, SHIPPED_SEED, train_plans if split == "seen" else None)
            if split == "train":
                train_plans = {room.plan for room in made}
    write(SECOND, "small", "unseen", SECOND_SEED)
    return refused


def _chosen(
    size: Size, split: Split, seed: str, known: set[str], keep: Callable[[Room], bool], plans: set[int] | None
) -> tuple[list[Room], list[str]]:
    """A panel's rooms, each task type as often, and the ids of those rejected. plans: floor plans to use; None: all."""
    chosen: list[Room] = []
    dropped: list[str] = []
    # counted by task type, so that a rejected room is replaced by one of the same type
    per_type: dict[str, int] = {}
    for room in rooms(size, split, seed, known):
        if per_type.get(room.task_type, 0) >= COUNTS[split] // 6 or (plans is not None and room.plan not in plans):
            continue
        if not keep(room):
            dropped.append(room.id)
            continue
        per_type[room.task_type] = per_type.get(room.task_type, 0) + 1
        chosen.append(room)
        if len(chosen) == COUNTS[split]:
            break
    return chosen, dropped
