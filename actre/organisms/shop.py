"""Pretraining on WebShop: episodes in new shops, the vocabulary, possible names on a page, and new goals."""

import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from actre.config.presets import preset
from actre.envs.demo import Demo, DemoStep
from actre.envs.webshop import demos
from actre.envs.webshop.panels import list_goals, shop_catalogue
from actre.envs.webshop.shopper import Habits, Wish
from actre.envs.webshop.wares import KINDS
from actre.organisms.world import World
from actre.policies.tiny_shop import make_shop_tokenizer, shop_name_ids
from actre.types import ActreError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

SHOPS = 8
"""New shops from which pretraining's goals are drawn."""
START = "start"
_ASIN = re.compile(r"b[0-9a-z]{9}")
_VALUES = frozenset(value for kind in KINDS for values in kind.options.values() for value in values)


def play(games: int, habits: Habits, seed: int, max_steps: int, *, episodes: int, work: Path) -> Iterable[Demo]:
    """Episodes of one scripted shopper in new shops, which are kept in `work`."""
    return demos.demonstrations(work, SHOPS, games, habits, seed, max_steps, episodes=episodes)


def tokenizer(played: Sequence[Demo]) -> "PreTrainedTokenizerFast":
    """A tokenizer with the shipped products' names and all words of the shipped shop and of the episodes."""
    shipped = shop_catalogue("shop").products
    texts = [" ".join([p.name, p.description, *p.bullets, p.price_tag]) for p in shipped]
    pages = {step.observation for demo in played for step in demo.steps}
    said = {step.thought for demo in played for step in demo.steps}
    return make_shop_tokenizer([p.asin for p in shipped], sorted({*texts, *pages, *said}))


def names(known: "PreTrainedTokenizerFast") -> list[int]:
    """The ids of names that are copied."""
    return shop_name_ids(known, demos.shipped_names())


class Shelf:
    """Names on the page that can be clicked, and names in the instruction (`rows.Possible`)."""

    def __init__(self, demo: Demo, encode: Callable[[str], list[int]]) -> None:
        self._encode = encode
        wish = Wish(demo.task)
        self._wanted = {encode(name)[0] for name in (wish.ware, *wish.traits, *wish.values)}
        self._shown: set[int] = set()

    def options(self, token: int) -> tuple[int, ...]:
        """All names on the page if the token is one of them, else all in the instruction if it is one of those."""
        here = self._shown if token in self._shown else self._wanted if token in self._wanted else ()
        return tuple(sorted(here))

    def after(self, said: DemoStep, accepted: bool) -> None:
        """Update with the new page."""
        parts = said.observation.lower().split(" [sep] ")
        self._shown = {self._encode(part)[0] for part in parts if part in _VALUES or _ASIN.fullmatch(part)}


def start_games(n: int, work: Path, *, seed: int, games: int) -> list[str]:
    """`n` goals of a new shop that no pretraining uses."""
    found = list_goals(f"{demos.fresh_shop(work, START)}/train")[:n]
    if len(found) < n:
        raise ActreError(f"a new shop has {len(found)} goals instead of {n}: use fewer --episodes")
    return found


SHOP = World(
    config=preset("tiny", "webshop"),
    play=play,
    tokenizer=tokenizer,
    names=names,
    reader=Shelf,
    start_games=start_games,
    one_token='a product\'s name, a ware ("trail mixes"), a trait or an option\'s value ("pack of 2")',
    games=f"{{n}} goals of {SHOPS} fresh shops: other products than the shipped shop's, under the same names",
    start="Goals of one more fresh shop",
)
