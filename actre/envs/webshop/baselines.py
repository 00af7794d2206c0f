"""Two shoppers without a model: random clicks, and the rule. What a policy must beat to have learned anything.

Know observations and admissible commands, as a policy does; not goals, products or rewards.
"""

import random
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Literal, NamedTuple, get_args

from actre.config import derive_seed

Baseline = Literal["random", "rule"]
BASELINES: tuple[Baseline, ...] = get_args(Baseline)

_BUY = "click[buy now]"
_NAVIGATION = frozenset(
    f"click[{what}]"
    for what in ("back to search", "< prev", "next >", "description", "features", "reviews", "attributes", "buy now")
)

Shopper = Callable[[str, dict[str, Any]], str]
"""(observation, info) -> action. One is made for each episode."""


class Shopped(NamedTuple):
    """One episode of a baseline. reward: of the purchase, 0 if there was none."""

    game: str
    task_type: str
    won: bool
    steps: int
    reward: float


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


def shop(which: Baseline, env: Any, games: Iterable[str], seed: int = 0) -> Iterator[Shopped]:
    """Play each game once, in order. env: a `PanelEnv`. The same seed gives the same episodes, game by game."""
    for game in games:
        rng = random.Random(derive_seed(seed, "baseline", which, game))
        shopper = random_clicks(rng) if which == "random" else rule()
        obs, info = env.reset(options={"game": game})
        steps, over, reward = 0, False, 0.0
        while not over:
            obs, reward, terminated, truncated, info = env.step(shopper(obs, info))
            steps += 1
            over = terminated or truncated
        yield Shopped(game, info["task_type"], info["won"], steps, reward)
