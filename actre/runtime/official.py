"""Which of the benchmarks' official data are on this machine, for `actre doctor`.

They are optional and not shipped. Games are counted by the rules of actre.runtime.game_files.
"""

import os
from collections import Counter
from pathlib import Path
from typing import NamedTuple

from actre.config.paths import variable
from actre.runtime.game_files import find_games, reasons
from actre.types import ActreError

ALFWORLD_SPLITS = {"train": 3553, "valid_seen": 140, "valid_unseen": 134}
"""Published number of solvable games of the six task types per split; an incomplete download has fewer."""
SHOPS = (("items_shuffle_1000.json", "items_ins_v2_1000.json"), ("items_shuffle.json", "items_ins_v2.json"))
"""Products and instructions of the small and the full shop; each file may end in .gz."""
GET_GAMES = "alfworld-download (2 GB, optional)"
GET_SHOP = "get the files as in docs/webshop.md, then export WEBSHOP_DATA=FOLDER (optional)"


def alfworld_root() -> Path:
    """The folder of the official splits: `$ALFWORLD_DATA/json_2.1.1`, else that of alfworld-download."""
    return (variable("ALFWORLD_DATA") or Path.home() / ".cache" / "alfworld") / "json_2.1.1"


class Found(NamedTuple):
    """The state of one benchmark's data. there: "all", "part" or "none". asked: a variable names the folder."""

    there: str
    asked: bool
    words: str
    fix: str


def games() -> Found:
    """The official ALFWorld games in $ALFWORLD_DATA, else in alfworld-download's folder."""
    named = bool(os.environ.get("ALFWORLD_DATA"))
    try:
        root = alfworld_root()
    except ActreError as error:
        return Found("none", named, str(error), "export ALFWORLD_DATA=FOLDER, or unset it")
    found = {s: find_games(root / s) for s in ALFWORLD_SPLITS}
    counts = {split: len(one.games) for split, one in found.items()}
    left_out = sum((Counter(one.left_out) for one in found.values()), Counter[str]())
    whole = {split for split, number in counts.items() if number >= ALFWORLD_SPLITS[split]}
    words = ", ".join(
        f"{split} {number:,}" if split in whole else f"{split} {number:,} of {ALFWORLD_SPLITS[split]:,}"
        for split, number in counts.items()
    )
    words = f"{words} in {root}" + (f"; {reasons(left_out)}" if left_out else "")
    if len(whole) == len(counts):
        return Found("all", named, words, "")
    if any(counts.values()) or left_out:
        return Found("part", named, words, GET_GAMES)
    return Found("none", named, f"no games in {root}", f"{GET_GAMES}, or unset ALFWORLD_DATA" if named else GET_GAMES)


def shop() -> Found:
    """The official WebShop files in $WEBSHOP_DATA."""
    try:
        root = variable("WEBSHOP_DATA")
    except ActreError as error:
        return Found("none", True, str(error), "export WEBSHOP_DATA=FOLDER, or unset it")
    if root is None:
        return Found("none", False, "WEBSHOP_DATA is not set", GET_SHOP)
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
