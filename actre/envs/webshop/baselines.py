"""Two shoppers without a model: random clicks, and the rule. What a policy must beat to have learned anything.

Know observations and admissible commands, as a policy does; not goals, products or rewards.
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
"""(observation, info) -> action. One is made for each episode."""


def random_clicks(rng: random.Random) -> Shopper:
    """Clicks anything the page offers, each alike; where it can only search, it searches for the instruction."""

    def act(_: str, info: dict[str, Any]) -> str:
        clicks = [command for command in info["admissible_commands"] if command.startswith("click[")]
        return rng.choice(clicks) if clicks else f"search[{info['task']}]"

    return act


def rule() -> Shopper:
    """Searches the instruction, opens the first hit, clicks each option the instruction names, and buys."""
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
    """Whether an instruction names an option's value, as whole words.

    >>> names("Find me socks with color: black, and size: x-large, and price lower than 20.00 dollars", "x-large")
    True
    >>> names("Find me socks with color: black, and size: x-large, and price lower than 20.00 dollars", "large")
    False
    """
    return re.search(rf"(?<![\w-]){re.escape(value)}(?![\w-])", instruction.lower()) is not None
