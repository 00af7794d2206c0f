"""The texts that can be clicked on a results page and an item page, and those an action can reach.

as_original: by the original's exact rules, under which some texts cannot be clicked (pages.Shop). Where a click leads
is in pages.py.
"""

from collections.abc import Iterable, Mapping
from functools import lru_cache

from actre.envs.webshop.catalogue import Product
from actre.types import parse_action

BUY, BACK, NEXT, PREVIOUS = "buy now", "back to search", "next >", "< prev"
SUB_PAGES = {"description": "Description", "features": "Features", "reviews": "Reviews"}
SUB_PAGES_AS_ORIGINAL = {**SUB_PAGES, "attributes": "Attributes"}


@lru_cache(maxsize=2048)
def choices(product: Product) -> Mapping[str, str]:
    """Value -> name of its option; if several options have the value, the last one, as in the original."""
    return {value: name for name, values in product.options.items() for value in values}


@lru_cache(maxsize=2048)
def item_clickables(product: Product) -> dict[str, None]:
    """The clickable texts of a product's page, in the original's order, as a dict's keys."""
    return dict.fromkeys([BACK, PREVIOUS, *SUB_PAGES, BUY, *choices(product)])


@lru_cache(maxsize=2048)
def item_commands(product: Product, as_original: bool) -> tuple[str, ...]:
    """The admissible actions of a product's page."""
    return tuple(commands(item_clickables(product), as_original))


def commands(clickables: Iterable[str], as_original: bool) -> list[str]:
    """The actions that click these texts, without repetitions and without texts that no action reaches."""
    return [f"click[{what}]" for what in dict.fromkeys(clickables) if what and (not as_original or _is_reached(what))]


def _is_reached(what: str) -> bool:
    """Whether, by the original's rules, an action reaches a clickable text of a results or item page."""
    return what != "search" and parse_action(f"click[{what}]") == ("click", what)


def can_be_opened(product: Product, *, as_original: bool = False) -> bool:
    """Whether a click on a results page that lists the product opens the product's page."""
    what = product.asin.lower()
    return what not in (BACK, NEXT) and bool(commands([what], as_original))


def choosable(product: Product, *, as_original: bool = False) -> dict[str, list[str]]:
    """Option -> the values that a click can choose.

    Values with the text of a button and values that no action reaches are left out. A value of several options belongs
    to the last one only. Options are independent of one another, and each can be left unchosen.
    """
    buttons = {BACK, PREVIOUS, BUY, *(SUB_PAGES_AS_ORIGINAL if as_original else SUB_PAGES)}
    found: dict[str, list[str]] = {name: [] for name in product.options}
    for value, name in choices(product).items():
        if value not in buttons and commands([value], as_original):
            found[name].append(value)
    return found
