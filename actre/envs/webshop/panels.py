"""Panels of goals: two ways to split a shop's goals, the overlap of their parts, and which goals can be reached.

A panel is named `SHOP/PART`, one of its goals `SHOP/PART#NUMBER`.

SHOP: "shop" (the shipped one), "official" ($WEBSHOP_DATA), or a folder. PART, by product (the default): "train",
"seen" (other goals of train's products), "unseen" (products that train does not have); the paper's: "paper-train",
"paper-dev", "paper-test" (by the goals' order after the shuffle with seed 233). The prefix "human-" selects human
instructions. By-product panels leave out goals that cannot reach 1.0 (reward.ceiling) unless the part ends in "+all".
The paper's panels keep all goals, as published success rates do.

Differs: the split by product is this project's own. In the published split by number, nearly every test goal's product
is also in train (`overlap`).
"""

import difflib
import hashlib
from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Literal, NamedTuple, get_args

from actre.config import data_folder
from actre.config.paths import place, variable
from actre.envs.webshop.catalogue import Catalogue
from actre.envs.webshop.goals import Goal, Goals, Kind, goals_of
from actre.envs.webshop.importer import open_catalogue
from actre.envs.webshop.reward import attainable, ceiling
from actre.types import ActreError

Part = Literal["train", "seen", "unseen", "paper-train", "paper-dev", "paper-test"]
PARTS: tuple[Part, ...] = get_args(Part)
BY_PRODUCT: tuple[Part, ...] = PARTS[:3]
PAPER: tuple[Part, ...] = PARTS[3:]
SHIPPED = tuple(f"shop/{part}" for part in BY_PRODUCT)
PAPER_TEST, PAPER_DEV = 500, 1500
"""The paper's split: goals below the first number are test, those below the second dev, the others train."""

_UNSEEN_SHARE = 0.25
_SEEN_SHARE = 0.15


class PanelName(NamedTuple):
    """The parts of a panel's name."""

    shop: str
    kind: Kind
    part: Part
    keep_all: bool

    def __str__(self) -> str:
        return f"{self.shop}/{'human-' if self.kind == 'human' else ''}{self.part}{'+all' if self.keep_all else ''}"


class Overlap(NamedTuple):
    """The overlap of two panels. goals: the size of the second; the others: how many of its goals have their product,
    their query, or exactly their wish (product and options) in the first.
    """

    goals: int
    product: int
    query: int
    wish: int

    @property
    def product_share(self) -> float:
        return self.product / self.goals


class PartReport(NamedTuple):
    """One part of a split. attainable: goals that can reach 1.0; ceiling: the mean of the highest reachable rewards.

    overlap: with the train part of the split; None for train itself.
    """

    name: str
    goals: int
    products: int
    attainable: int
    ceiling: float
    overlap: Overlap | None


def parse_panel(name: str) -> PanelName:
    """The parts of a panel's name. Raises ActreError, with the possible parts, for an invalid name."""
    shop, _, rest = str(name).rpartition("/")
    bare = rest.removesuffix("+all")
    kind: Kind = "human" if bare.startswith("human-") else "synthetic"
    bare = bare.removeprefix("human-")
    for part in PARTS:
        if bare == part and shop:
            return PanelName(shop, kind, part, rest.endswith("+all"))
    close = difflib.get_close_matches(str(name), SHIPPED, n=1, cutoff=0.5)
    hint = f" (did you mean {close[0]!r}?)" if close else ""
    raise ActreError(
        f"{name!r} is not a panel of a shop{hint}: write SHOP/PART, as in shop/unseen, "
        f"official/paper-test or my/folder/human-train; parts are {', '.join(PARTS)}"
    )


def shop_folder(shop: str) -> Path:
    """The folder of a shop's files. Raises ActreError for "official" without $WEBSHOP_DATA."""
    if shop == "shop":
        return data_folder() / "webshop"
    if shop != "official":
        return place(shop)
    root = variable("WEBSHOP_DATA")
    if root is None:
        raise ActreError("set WEBSHOP_DATA to the folder of the official files (docs/webshop.md says where they are)")
    return root


def shop_catalogue(shop: str) -> Catalogue:
    """The catalogue of a shop, cached and shared."""
    return _catalogue(str(shop_folder(shop).resolve()))


def list_goals(source: str) -> list[str]:
    """The games of a panel, as the environment's `reset(options={"game": ...})` takes them, in the goals' order.

    Raises ActreError if there is no such panel or it is empty.
    """
    name = parse_panel(source)
    return [f"{name}#{number}" for number in numbers(name)]


def find_goal(game: str) -> tuple[PanelName, int]:
    """The panel and the goal's number of a game. Raises ActreError for an invalid name."""
    source, mark, number = str(game).rpartition("#")
    if not mark or not number.isdecimal():
        raise ActreError(f"{game!r} does not name a goal: write SHOP/PART#NUMBER, as in shop/unseen#12")
    return parse_panel(source), int(number)


def numbers(name: PanelName) -> tuple[int, ...]:
    """The numbers of a panel's goals. Raises ActreError if it has none."""
    goals = goals_of(shop_catalogue(name.shop), name.kind)
    found = _parts(goals)[name.part]
    if not found:
        why = f"its {len(goals)} goals are too few" if name.part in PAPER else "its products are too few"
        raise ActreError(f"the panel {name} is empty ({why}): choose another part or a larger shop")
    if name.keep_all or name.part in PAPER:
        return found
    can = frozenset(attainable(goals))
    kept = tuple(number for number in found if number in can)
    if not kept:
        raise ActreError(f"no goal of {name} can reach a reward of 1.0: use {name}+all to keep them anyway")
    return kept


def split_by_product(goals: Sequence[Goal]) -> dict[Part, tuple[int, ...]]:
    """train, seen and unseen: a quarter of the products is unseen; 15 % of the other products' goals are seen.

    A goal's part depends only on its product's asin and its options, not on other products. At least one goal of each
    product with seen goals stays in train.
    """
    parts: dict[Part, list[int]] = {part: [] for part in BY_PRODUCT}
    left: dict[str, list[int]] = {}
    for number, goal in enumerate(goals):
        if _share("product", goal.asin) < _UNSEEN_SHARE:
            parts["unseen"].append(number)
        else:
            left.setdefault(goal.asin, []).append(number)
    for theirs in left.values():
        held = [n for n in theirs if _share("goal", goals[n].asin, goals[n].options) < _SEEN_SHARE]
        held = held[1:] if len(held) == len(theirs) else held
        parts["seen"] += held
        parts["train"] += sorted(set(theirs) - set(held))
    return {part: tuple(sorted(found)) for part, found in parts.items()}


def split_by_number(goals: Sequence[Goal]) -> dict[Part, tuple[int, ...]]:
    """The paper's split: [0, 500) test, [500, 1500) dev, the rest train."""
    n = len(goals)
    return {
        "paper-train": tuple(range(min(PAPER_DEV, n), n)),
        "paper-dev": tuple(range(min(PAPER_TEST, n), min(PAPER_DEV, n))),
        "paper-test": tuple(range(min(PAPER_TEST, n))),
    }


def overlap(goals: Sequence[Goal], first: Iterable[int], second: Iterable[int]) -> Overlap:
    """How many of `second`'s goals overlap with `first`; both are numbers of goals."""
    theirs = [goals[n] for n in first]
    products, queries = {g.asin for g in theirs}, {g.query for g in theirs}
    wishes = {(g.asin, g.options) for g in theirs}
    ours = [goals[n] for n in second]
    return Overlap(
        len(ours),
        sum(g.asin in products for g in ours),
        sum(g.query in queries for g in ours),
        sum((g.asin, g.options) in wishes for g in ours),
    )


def report(shop: str, kind: Kind = "synthetic") -> list[PartReport]:
    """Every part of both splits of a shop, unattainable goals included."""
    goals = goals_of(shop_catalogue(shop), kind)
    parts, can = _parts(goals), frozenset(attainable(goals))
    rows = []
    for part in (part for part in PARTS if parts[part]):
        found = parts[part]
        train = parts["paper-train" if part in PAPER else "train"]
        rows.append(
            PartReport(
                str(PanelName(shop, kind, part, False)),
                len(found),
                len({goals[n].asin for n in found}),
                sum(n in can for n in found),
                sum(ceiling(goals, goals[n]) for n in found) / len(found),
                None if part in ("train", "paper-train") else overlap(goals.goals, train, found),
            )
        )
    return rows


@lru_cache(maxsize=2)
def _catalogue(folder: str) -> Catalogue:
    return open_catalogue(folder)


@lru_cache(maxsize=4)
def _parts(goals: Goals) -> dict[Part, tuple[int, ...]]:
    return {**split_by_product(goals.goals), **split_by_number(goals.goals)}


def _share(*what: object) -> float:
    """A number in [0, 1) determined by `what` alone."""
    return int.from_bytes(hashlib.sha256(repr(what).encode()).digest()[:8], "big") / 2**64
