"""What WebShop's environments share: the shop, its goals as the original's dicts, and the goal of each session."""

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

from actre.config import data_folder
from actre.config.paths import place
from actre.envs.webshop import Catalogue, open_catalogue, read_catalogue
from actre.envs.webshop.goals import Goal, draw, goals_of
from actre.types import ActreError


def catalogue_of(file_path: str | Path | None, num_products: int | None = None) -> Catalogue:
    """A shop: a folder of official files, a products file in one, or None for the shipped shop."""
    path = data_folder() / "webshop" if file_path is None else place(file_path)
    folder = path.parent if path.is_file() else path
    shop = open_catalogue(folder)
    if num_products is None or num_products >= len(shop):
        return shop
    return Catalogue(read_catalogue(folder).products[:num_products], shop.nouns)


class Server:
    """What environments share: the shop, its goals as dicts in the original's order, and the goal of each session."""

    def __init__(
        self, shop: Catalogue, human_goals: bool = False, seed: int = 0, keep: Callable[[int, Any], bool] | None = None
    ) -> None:
        self.shop, self.seed = shop, seed
        self.all = goals_of(shop, "human" if human_goals else "synthetic", seed)
        made = [_as_dict(goal, human_goals) for goal in self.all.goals]
        self.numbers = [number for number, goal in enumerate(made) if keep is None or keep(number, goal)]
        self._drawn_from = [self.all[number] for number in self.numbers]
        self.goals = [made[number] for number in self.numbers]
        self.user_sessions: dict[str, dict[str, Any]] = {}

    def goal_of(self, session: str, number: int | None, rng: random.Random) -> int:
        """The number of a session's goal in the whole list. Raises ActreError for a number that there is not."""
        held = self.user_sessions.get(session)
        if held is None:
            at = draw(self._drawn_from, rng) if number is None else number
            if not -len(self.goals) <= at < len(self.goals):
                raise ActreError(f"there is no goal {number}: the sessions with a goal are 0 to {len(self.goals) - 1}")
            held = self.user_sessions[session] = {"goal": self.goals[at], "number": self.numbers[at], "done": False}
        return int(held["number"])


def _as_dict(goal: Goal, human: bool) -> dict[str, Any]:
    options: Any = goal.options
    return {
        "asin": goal.asin,
        "name": goal.name,
        "category": goal.category,
        "query": goal.query,
        "product_category": goal.product_category,
        "instruction_text": goal.instruction,
        "attributes": list(goal.attributes),
        "price_upper": goal.price_upper,
        "goal_options": list(options) if human else dict(options),
        "weight": goal.weight,
    }
