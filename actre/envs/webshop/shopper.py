"""A scripted shopper for demonstrations: it searches, opens a hit, chooses options and buys, well or badly.

It reads the generated shop's instructions (wares.py) and pages, and sees neither goal nor reward. Before each action it
writes one short thought, from a small closed vocabulary, that names what the action needs.
"""

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from actre.envs.demo import Decision
from actre.envs.webshop.wares import KINDS

_PAGE = re.compile(r"b[0-9a-z]{9}")
_OPTIONS = re.compile(r"(?:with|, and) ([a-z ]+): (.+?)(?=, and |$)")
_BUY, _BACK = "click[buy now]", "click[< prev]"
_NAVIGATION = frozenset(
    (_BUY, _BACK, "click[back to search]", "click[next >]", "click[description]", "click[features]", "click[reviews]")
)
_NAMES = {kind.query: kind.name.lower() for kind in KINDS}
_TRAITS = {kind.query: (*kind.is_, *kind.with_, *kind.for_) for kind in KINDS}


@dataclass(frozen=True)
class Habits:
    """How the shopper searches, and how well it shops."""

    terms: float = 1.0
    """Probability that a wanted trait or option is among the search words; the ware always is."""
    hit: Literal["first", "match", "random"] = "match"
    """The hit to open: the first, the one whose title has most of the wanted traits, or a random one of the page."""
    careful: float = 1.0
    """Probability, drawn once a product, of going back to another hit if a wanted option is missing."""
    forget: float = 0.0
    """Probability, drawn once for each wanted option, of not choosing it."""
    hasty: float = 0.0
    """Probability, drawn once an episode, of buying without choosing any option."""


class Wish:
    """What an instruction asks for. ware: its query; traits and values: in the instruction's order."""

    def __init__(self, instruction: str) -> None:
        text = instruction.lower()
        self.ware = max((query for query in _NAMES if query in text), key=len, default="")
        rest = text.partition(self.ware)[2]
        self.values = tuple(value for _, value in _OPTIONS.findall(rest) if not value.startswith("price"))
        named = [(text.find(trait), trait) for trait in _TRAITS.get(self.ware, ())]
        self.traits = tuple(trait for at, trait in sorted(named) if at >= 0)

    @property
    def name(self) -> str:
        """The ware's name in titles."""
        return _NAMES.get(self.ware, self.ware)


class Shopper:
    """Plays one episode at a time: call `reset` with the instruction, then `act` on every page. Seeded."""

    def __init__(self, habits: Habits, seed: int | str) -> None:
        self.habits, self._rng = habits, random.Random(f"actre shopper {seed}")

    def reset(self, instruction: str) -> None:
        """Begin an episode."""
        rng, habits = self._rng, self.habits
        self._wish = Wish(instruction)
        hasty = rng.random() < habits.hasty
        self._chosen = [v for v in self._wish.values if not hasty and rng.random() >= habits.forget]
        self._tried: set[str] = set()
        self._clicked: set[str] = set()
        self._stays = False

    def act(self, page: str, commands: Sequence[str]) -> Decision:
        """The next thought and action on a page with these admissible commands."""
        if _BUY in commands:
            return self._item(commands)
        hits = [command[6:-1] for command in commands if _PAGE.fullmatch(command[6:-1])]
        return self._open(page.lower(), hits) if hits else self._search()

    def _search(self) -> Decision:
        wish, habits = self._wish, self.habits
        words = [w for w in (*wish.traits, *wish.values) if self._rng.random() < habits.terms]
        return Decision(f"need {wish.ware}", f"search[{' '.join([wish.ware, *words])}]")

    def _open(self, page: str, hits: list[str]) -> Decision:
        left = [hit for hit in hits if hit not in self._tried] or hits
        hit = self._rng.choice(left) if self.habits.hit == "random" else left[0]
        if self.habits.hit == "match":
            hit = max(left, key=lambda one: self._merit(page, one))
        self._tried.add(hit)
        self._clicked, self._stays = set(), self._rng.random() >= self.habits.careful
        return Decision(f"try {hit}", f"click[{hit}]")

    def _merit(self, page: str, hit: str) -> int:
        """The number of wanted traits in a hit's title, plus 10 if it is the wanted ware."""
        title = page.partition(f"{hit} [sep] ")[2].partition(" [sep] ")[0]
        return sum(trait in title for trait in self._wish.traits) + 10 * (self._wish.name in title)

    def _item(self, commands: Sequence[str]) -> Decision:
        offered = {command[6:-1] for command in commands if command not in _NAVIGATION}
        missing = next((value for value in self._chosen if value not in offered), None)
        # with more than three products the steps would run out
        if missing is not None and not self._stays and len(self._tried) < 3:
            return Decision(f"no {missing} here", _BACK)
        for value in self._chosen:
            if value in offered and value not in self._clicked:
                self._clicked.add(value)
                return Decision(f"want {value}", f"click[{value}]")
        return Decision("all is chosen", _BUY)
