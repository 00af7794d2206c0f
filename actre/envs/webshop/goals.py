"""The goals of a shop, synthetic and human, with their price limits and the products' hidden prices.

Rules and order are the original's (princeton-nlp/WebShop@64fa2a5, goal.py and engine.py). reward.py scores a purchase.
Differs: the original draws prices and limits from Python's global generator, unseeded; here each list of goals has its
own seeded generator. Seed 0 gives the original's values after random.seed(0).
"""

import functools
import itertools
import operator
import random
from bisect import bisect
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from actre.envs.webshop.catalogue import DEFAULT_PRICE, Catalogue, Product
from actre.types import ActreError

Kind = Literal["synthetic", "human"]
SHUFFLE_SEED = 233
NO_LIMIT = 1_000_000
_LIMITS = [10.0 * step for step in range(1, 100)]


@dataclass(frozen=True, eq=False, slots=True)
class Goal:
    """One task: a product, what is wanted of it, and the instruction.

    options: (name, value) pairs for a synthetic goal, values for a human one; the two are scored differently.
    price_upper: dollars; NO_LIMIT if the instruction names no limit. weight: the rarity of its attributes (1 if human).
    """

    asin: str
    name: str
    category: str
    query: str
    product_category: str
    instruction: str
    attributes: tuple[str, ...]
    price_upper: float
    options: tuple[tuple[str, str], ...] | tuple[str, ...]
    weight: float


class Goals:
    """A catalogue's goals of one kind, in the order of the paper's split; immutable.

    prices: by asin, dollars. If a product's tag shows a range, the price within it is hidden and only affects the
    reward.
    """

    def __init__(self, catalogue: Catalogue, kind: Kind = "synthetic", seed: int = 0) -> None:
        if kind not in ("synthetic", "human"):
            raise ActreError(f"goals are 'synthetic' or 'human', not {kind!r}")
        self.catalogue, self.kind, self.seed = catalogue, kind, seed
        rng = random.Random(seed)
        self.prices = {product.asin: _price(product, rng) for product in catalogue.products}
        make = _synthetic if kind == "synthetic" else _human
        goals = make(catalogue.products, self.prices, rng)
        if not goals:
            raise ActreError(
                f"{catalogue.source}: no product has {'an' if kind == 'synthetic' else 'a human'} instruction: "
                "give the instructions file that belongs to the products"
            )
        random.Random(SHUFFLE_SEED).shuffle(goals)
        self.goals: tuple[Goal, ...] = tuple(goals)

    def __len__(self) -> int:
        return len(self.goals)

    def __getitem__(self, number: int) -> Goal:
        return self.goals[number]


@lru_cache(maxsize=4)
def goals_of(catalogue: Catalogue, kind: Kind = "synthetic", seed: int = 0) -> Goals:
    """The goals of a catalogue, shared; the last four lists are cached."""
    return Goals(catalogue, kind, seed)


def draw(goals: Sequence[Goal], rng: random.Random) -> int:
    """The number of a goal drawn by weight, as the original does for a session without a number."""
    ends = list(itertools.accumulate((goal.weight for goal in goals), initial=0.0))
    return min(bisect(ends, rng.uniform(0, ends[-1])), len(goals) - 1)


def _price(product: Product, rng: random.Random) -> float:
    if not product.pricing:
        return DEFAULT_PRICE
    return product.pricing[0] if len(product.pricing) == 1 else rng.uniform(*product.pricing)


def _limit(price: float, rng: random.Random) -> tuple[float, str]:
    """The price limit of a goal, and its text in the instruction."""
    above = [limit for limit in _LIMITS if limit > price][:4]
    if len(above) < 2:
        return NO_LIMIT, ""
    upper = max(rng.sample(above, 2))
    return upper, f", and price lower than {upper:.2f} dollars"


def _synthetic(products: Sequence[Product], prices: dict[str, float], rng: random.Random) -> list[Goal]:
    made = []
    counts: Counter[str] = Counter()
    for product in products:
        if product.instruction is None:
            continue
        upper, said = _limit(prices[product.asin], rng)
        names = sorted(product.options)
        for values in itertools.product(*(product.options[name] for name in names)):
            options = tuple(zip(names, values, strict=True))
            wish = ", and ".join(f"{name}: {value}" for name, value in options)
            text = f"{product.instruction}{' with ' if wish else ''}{wish}{said}"
            made.append((product, text, upper, options))
            counts.update(product.instruction_attributes)
    rarity = {
        product.asin: _added(1.0 / counts[a] for a in product.instruction_attributes)
        / len(product.instruction_attributes)
        for product, *_ in made
    }
    return [
        _goal(product, text, product.instruction_attributes, upper, options, rarity[product.asin])
        for product, text, upper, options in made
    ]


def _added(numbers: Iterable[float]) -> float:
    """The sum, added one by one as in the original's Python; from 3.12 on, `sum` compensates rounding errors."""
    return functools.reduce(operator.add, numbers, 0.0)


def _human(products: Sequence[Product], prices: dict[str, float], rng: random.Random) -> list[Goal]:
    goals = []
    for product in products:
        for wish in product.human:
            if wish.attributes:
                upper, said = _limit(prices[product.asin], rng)
                goals.append(_goal(product, wish.text.strip(".") + said, wish.attributes, upper, wish.options, 1))
    return goals


def _goal(
    product: Product,
    text: str,
    attributes: tuple[str, ...],
    upper: float,
    options: tuple[tuple[str, str], ...] | tuple[str, ...],
    weight: float,
) -> Goal:
    return Goal(
        asin=product.asin,
        name=product.name,
        category=product.category,
        query=product.query,
        product_category=product.product_category,
        instruction=text,
        attributes=attributes,
        price_upper=upper,
        options=options,
        weight=weight,
    )
