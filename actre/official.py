"""Whether the benchmarks' official data are here: which files, where, how many; for `actre doctor`. Reads no game.

Nothing of theirs is shipped; both are optional. Loads no heavy library.
"""

import os
from pathlib import Path
from typing import NamedTuple

ALFWORLD_SPLITS = {"train": 3553, "valid_seen": 140, "valid_unseen": 134}
"""Split -> solvable games of the six task types in it, as published; a download cut short holds fewer."""
SHOPS = (("items_shuffle_1000.json", "items_ins_v2_1000.json"), ("items_shuffle.json", "items_ins_v2.json"))
"""The small and the whole shop: products, instructions; each with or without .gz."""
GET_GAMES = "alfworld-download (2 GB, optional)"
GET_SHOP = "docs/webshop.md says where the files are; then export WEBSHOP_DATA=FOLDER (optional)"


def is_listed(path: Path) -> bool:
    """Whether an ALFWorld game file's place says one of the six task types: movable receptacles and slices are
    outside them, as in alfworld itself. Reads no file.
    """
    task = path.parent.parent.name
    return not any(mark in task for mark in ("movable", "Sliced"))


class Found(NamedTuple):
    """What is to be said of one benchmark's data. there: "all", "part" or "none"; asked: a variable names a place."""

    there: str
    asked: bool
    words: str
    mend: str


def games() -> Found:
    """The official ALFWorld games in $ALFWORLD_DATA, else where alfworld-download puts them.

    Differs: games that are there and marked unsolvable are counted (their files are not read), and are not played.
    """
    named = os.environ.get("ALFWORLD_DATA")
    root = Path(named or "~/.cache/alfworld").expanduser() / "json_2.1.1"
    counts = {s: sum(map(is_listed, (root / s).glob("*/*/game.tw-pddl"))) for s in ALFWORLD_SPLITS}
    whole = {split for split, number in counts.items() if number >= ALFWORLD_SPLITS[split]}
    words = ", ".join(
        f"{split} {number:,}" if split in whole else f"{split} {number:,} of {ALFWORLD_SPLITS[split]:,}"
        for split, number in counts.items()
    )
    if len(whole) == len(counts):
        return Found("all", bool(named), f"{words} in {root}", "")
    if any(counts.values()):
        return Found("part", bool(named), f"{words} in {root}", GET_GAMES)
    return Found(
        "none", bool(named), f"no games in {root}", f"{GET_GAMES}, or unset ALFWORLD_DATA" if named else GET_GAMES
    )


def shop() -> Found:
    """The official WebShop files in $WEBSHOP_DATA."""
    named = os.environ.get("WEBSHOP_DATA")
    if not named:
        return Found("none", False, "WEBSHOP_DATA is not set", GET_SHOP)
    root = Path(named).expanduser()
    have = [
        [name for name in names if any((root / f"{name}{end}").is_file() for end in ("", ".gz"))] for names in SHOPS
    ]
    whole = [found for found, names in zip(have, SHOPS, strict=True) if len(found) == len(names)]
    if whole:
        files = ", ".join(name for found in whole for name in found)
        return Found("all", True, f"{files} in {root}; `actre webshop check {root}` reads them", "")
    part = [name for found in have for name in found]
    words = f"only {', '.join(part)} in {root}" if part else f"no shop in {root}"
    return Found("part" if part else "none", True, words, GET_SHOP)
