"""Two baseline shoppers without a model: random clicks, and the rule. A policy that has learned anything beats both.

Like a policy, they see observations and admissible commands only.
"""

import random
import re
from collections.abc import Callable
from typing import Any

_BUY = "click[buy now]"
_NAVIGATION = frozenset(
    f"click[{what}]"
    for what in ("back to search", "< prev", "next >", "description", "features", "reviews", "attributes", "buy now")
)

Shopper = Callable[[str, dict[str, Any]], str]
"""(observation, info) -> action. Each episode has its own."""


def random_clicks(rng: random.Random) -> Shopper:
    """Clicks a random link, all equally likely; searches for the instruction where only a search is possible."""

    def act(_: str, info: dict[str, Any]) -> str:
        clicks = [command for command in info["admissible_commands"] if command.startswith("click[")]
        return rng.choice(clicks) if clicks else f"search[{info['task']}]"

    return act


def rule() -> Shopper:
    """Searches for the instruction, opens the first hit, clicks each option that the instruction names, and buys."""
    clicked: set[str] = set()

    def act(_: str, info: dict[str, Any]) -> str:
        commands: list[str] = info["admissible_commands"]
        if _BUY in commands:
            wanted = (c for c in commands if c not in _NAVIGATION and c not in clicked and names(info["task"], c[6:-1]))
            action = next(wanted, _BUY)
            clicked.add(action)
            return action
        hits = [command for command in commands if command.startswith("click[") and command not in _NAVIGATION]
        return hits[0] if hits else f"search[{info['task']}]"

    return act


def names(instruction: str, value: str) -> bool:
    """Whether an instruction contains an option's value as whole words.

    >>> names("Find me socks with color: black, and size: x-large, and price lower than 20.00 dollars", "x-large")
    True
    >>> names("Find me socks with color: black, and size: x-large, and price lower than 20.00 dollars", "large")
    False
    """
    return re.search(rf"(?<![\w-]){re.escape(value)}(?![\w-])", instruction.lower()) is not None
