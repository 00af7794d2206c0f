"""The reward of a purchase, with all the original's parts, and the highest reward that a goal allows.

Nouns come from the catalogue's table, fuzzy scores from thefuzz (its cleaning and rounding change some results of bare
rapidfuzz).

reward = r_type * (matched attributes + matched options + r_price) / (attributes + options + 1)

Source: Yao et al., "WebShop" (NeurIPS 2022), section 3.2 and appendix. Where the code (princeton-nlp/WebShop@64fa2a5,
goal.py) disagrees, the code is followed: options of a synthetic goal are compared as (name, value) pairs; a colour is
always reduced to a base colour in the purchase, but in the goal only if it is one. Some goals are therefore out of
reach.
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

from thefuzz import fuzz

from actre.envs.webshop.catalogue import Product
from actre.envs.webshop.clicks import can_be_opened, choosable
from actre.envs.webshop.goals import Goal, Goals

MATCH = 85  # a fuzzy score above this is a match

# The original's COLOR_SET (normalize.py). A text is replaced by the first of these that it contains.
_COLOR_SET = """alabaster apricot aqua ash asphalt azure banana beige black blue blush bordeaux bronze brown burgundy
camel camo caramel champagne charcoal cheetah chestnut chocolate christmas coffee cognac copper coral cranberry cream
crystal dark denim eggplant elephant espresso fuchsia gold granite grape graphite grass gray green grey heather indigo
ivory ivy khaki lavender lemon leopard light lilac lime magenta maroon mauve merlot midnight mint mocha multicolor
mushroom mustard natural navy nude olive orange peach pewter pink plum purple rainbow red rose royal rust sand sapphire
seashell silver skull slate steel stone stonewash sunflower tan taupe teal tiger turquoise violet walnut wheat white
wine yellow"""
COLORS = tuple(_COLOR_SET.split())


class Score(NamedTuple):
    """A reward and its parts. r_option and w_option are None for a goal without options."""

    reward: float
    r_type: float
    r_att: float
    w_att: float
    query_match: bool
    category_match: bool
    title_score: float
    r_option: float | None
    w_option: float | None
    r_price: bool
    w_price: float
    num_attr_matches: int
    num_option_matches: int


def score(
    product: Product,
    goal: Goal,
    price: float,
    options: Mapping[str, str],
    nouns: Sequence[str],
    goal_nouns: Sequence[str],
) -> Score:
    """Score the purchase of `product`.

    price: dollars. options: the chosen values by name. nouns, goal_nouns: `Catalogue.nouns_of` of the product and of
    the goal's product.
    """
    query_match = product.query == goal.query
    category_match = len(_categories(product.product_category) & _categories(goal.product_category)) >= 2
    title_score = len(set(nouns) & set(goal_nouns)) / len(goal_nouns) if goal_nouns else 0.2
    r_type = 1.0 if query_match or category_match or title_score > 0.2 else 0.5
    if title_score < 0.1:
        r_type = 0.1 if title_score else 0.0

    attributes = _matched_attributes(product, goal.attributes)
    matched = _matched_options(options.values(), goal.options)
    r_price = price <= goal.price_upper
    parts = len(goal.attributes) + len(goal.options) + 1
    return Score(
        reward=(attributes + matched + r_price) / parts * r_type,
        r_type=r_type,
        r_att=attributes / len(goal.attributes),
        w_att=len(goal.attributes) / parts,
        query_match=query_match,
        category_match=category_match,
        title_score=title_score,
        r_option=matched / len(goal.options) if goal.options else None,
        w_option=len(goal.options) / parts if goal.options else None,
        r_price=r_price,
        w_price=1 / parts,
        num_attr_matches=attributes,
        num_option_matches=matched,
    )


@lru_cache(maxsize=1 << 14)
def normalize_color(text: str) -> str:
    """The base colour that a text contains; without one, the text itself.

    >>> [normalize_color(text) for text in ("navy blue", "standard", "xl")]
    ['blue', 'tan', 'xl']
    """
    return next((color for color in COLORS if color in text), text)


def ceiling(goals: Goals, goal: Goal, *, as_original: bool = False) -> float:
    """The highest reward that the goal's own product can reach with any clicks; 0.0 if no click opens its page.

    as_original: in a shop with the original's exploits and crashes, where fewer texts can be clicked (pages.Shop).
    """
    catalogue = goals.catalogue
    product, nouns = catalogue.by_asin[goal.asin], catalogue.nouns_of(goal.asin)
    if not can_be_opened(product, as_original=as_original):
        return 0.0
    bought = score(product, goal, goals.prices[goal.asin], {}, nouns, nouns)
    wanted = [_goal_text(option) for option in goal.options]
    # One bit mask of the matched goal options for each way to choose so far.
    reached = {0}
    for values in choosable(product, as_original=as_original).values():
        covers = {sum(_close(normalize_color(v), text) << bit for bit, text in enumerate(wanted)) for v in values}
        reached |= {a | b for a in reached for b in covers}
    matched = max(mask.bit_count() for mask in reached)
    parts = len(goal.attributes) + len(goal.options) + 1
    return (bought.num_attr_matches + matched + bought.r_price) / parts * bought.r_type


def attainable(goals: Goals, *, as_original: bool = False) -> tuple[int, ...]:
    """The numbers of the goals whose own product can reach 1.0; cached."""
    return _attainable(goals, as_original)


@lru_cache(maxsize=4)
def _attainable(goals: Goals, as_original: bool) -> tuple[int, ...]:
    found = enumerate(goals.goals)
    return tuple(number for number, goal in found if ceiling(goals, goal, as_original=as_original) == 1.0)


def _matched_attributes(product: Product, wanted: Sequence[str]) -> int:
    return sum(_has_attribute(product, attribute) for attribute in wanted)


@lru_cache(maxsize=1 << 14)
def _has_attribute(product: Product, attribute: str) -> bool:
    return (
        any(_close(own, attribute) for own in product.attributes)
        or attribute in product.name.lower()
        or attribute in " ".join(product.bullets).lower()
        or attribute in product.description.lower()
    )


def _matched_options(chosen: Iterable[str], wanted: Sequence[tuple[str, str] | str]) -> int:
    colors = [normalize_color(value) for value in chosen]
    return sum(any(_close(color, text) for color in colors) for text in map(_goal_text, wanted))


@lru_cache(maxsize=1 << 14)
def _goal_text(option: tuple[str, str] | str) -> str:
    """A goal's option as it is compared. A pair "contains" a colour only if its name or value equals it."""
    if isinstance(option, str):
        return normalize_color(option)
    return next((color for color in COLORS if color in option), str(option))


@lru_cache(maxsize=1 << 14)
def _close(a: str, b: str) -> bool:
    return fuzz.token_set_ratio(a, b) > MATCH


@lru_cache(maxsize=1 << 12)
def _categories(path: str) -> frozenset[str]:
    return frozenset(name.strip() for name in path.split("›"))
