"""What can be clicked on a page of results and on an item page, and what of it an action reaches.

Knows products and texts; not where a click leads (pages.py). as_original: by the original's rules to the letter, which
hide some texts from clicks (pages.Shop).
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
    """By value, the name of the option it belongs to: the last one where several have it, as for the original."""
    return {value: name for name, values in product.options.items() for value in values}


@lru_cache(maxsize=2048)
def item_clickables(product: Product) -> dict[str, None]:
    """The texts that a product's page offers for a click, in the original's order, as a dict's keys."""
    return dict.fromkeys([BACK, PREVIOUS, *SUB_PAGES, BUY, *choices(product)])


@lru_cache(maxsize=2048)
def item_commands(product: Product, as_original: bool) -> tuple[str, ...]:
    """The admissible actions of a product's page."""
    return tuple(commands(item_clickables(product), as_original))


def commands(clickables: Iterable[str], as_original: bool) -> list[str]:
    """The actions that click these texts, each once, without those that no action reaches."""
    return [f"click[{what}]" for what in dict.fromkeys(clickables) if what and (not as_original or _is_reached(what))]


def _is_reached(what: str) -> bool:
    """Whether by the original's rules an action reaches a text that a page of results or an item page offers."""
    return what != "search" and parse_action(f"click[{what}]") == ("click", what)


def can_be_opened(product: Product, *, as_original: bool = False) -> bool:
    """Whether a click on a page of results that lists a product leads to it, and to no other page."""
    what = product.asin.lower()
    return what not in (BACK, NEXT) and bool(commands([what], as_original))


def choosable(product: Product, *, as_original: bool = False) -> dict[str, list[str]]:
    """By option, the values that a click chooses.

    Left out are values that a click takes for a button, and those that no action reaches. A value of several options
    is the last one's alone. Each option can be left unchosen, and what is chosen of one changes nothing for the others.
    """
    buttons = {BACK, PREVIOUS, BUY, *(SUB_PAGES_AS_ORIGINAL if as_original else SUB_PAGES)}
    found: dict[str, list[str]] = {name: [] for name in product.options}
    for value, name in choices(product).items():
        if value not in buttons and commands([value], as_original):
            found[name].append(value)
    return found
