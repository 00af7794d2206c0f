"""The shop's pages: what each shows, what can be clicked on it, and where a click leads.

Texts are those of princeton-nlp/WebShop@64fa2a5: its templates, its SimServer, and the visible text that BeautifulSoup
extracts. A state is an immutable value. Goals, rewards and episodes are in env.py.
"""

import json
import random
from collections.abc import Iterable
from functools import lru_cache
from typing import Literal, NamedTuple

from actre.envs.webshop.catalogue import Catalogue, Product
from actre.envs.webshop.clicks import (
    BACK,
    BUY,
    NEXT,
    PREVIOUS,
    SUB_PAGES,
    SUB_PAGES_AS_ORIGINAL,
    choices,
    commands,
    item_clickables,
    item_commands,
)
from actre.types import ActreError, parse_action, parse_click

Mode = Literal["text", "text_rich", "url"]
MODES: tuple[Mode, ...] = ("text", "text_rich", "url")
BASE_URL = "http://127.0.0.1:3000"
HITS = 50
PER_PAGE = 10
_SEPARATOR = " [SEP] "
_BLANKS = " \n\t\f\r"
_PAGE_NAMES: dict[str, "Page"] = {
    "search_results": "results",
    "item_page": "item",
    "item_sub_page": "sub",
    "done": "done",
}

Page = Literal["search", "results", "item", "sub", "done"]
Kind = Literal["text", "button", "label", "link"]


class State(NamedTuple):
    """The page a shopper is on, and what led there."""

    page: Page = "search"
    query: str = ""  # of the results, lower-cased
    found: tuple[int, ...] = ()  # its hits: positions in the catalogue
    number: int = 1  # of the page of results
    asin: str = ""  # the product shown
    sub: str = ""  # the sub page shown
    options: tuple[tuple[str, str], ...] = ()  # chosen (name, value), in the order first chosen
    seen: frozenset[str] = frozenset()  # asins opened since the search page was last shown
    reward: float = 0.0  # of the purchase


class Node(NamedTuple):
    """A visible string of a page and its kind of element."""

    kind: Kind
    text: str


class Shop:
    """The pages of one catalogue.

    as_original: reproduce the original's exploits and crashes. A query that starts with <r>, <q> or <c> lists random
    products, those of a query field, or those of a category; what crashes the original (<a>, or <c> alone) raises
    ActreError; a query that contains the name of a page confuses `< Prev`; an option named "attributes" opens the page
    of that name; an option's text with brackets cannot be clicked. False: queries are plain words, and every text can
    be clicked.
    """

    def __init__(self, catalogue: Catalogue, *, as_original: bool = False) -> None:
        self.catalogue, self.as_original = catalogue, as_original
        self._sub_pages = SUB_PAGES_AS_ORIGINAL if as_original else SUB_PAGES

    def target(self, state: State, action: str) -> tuple[str, str] | None:
        """The effect of an action here: ("search", query), ("click", what), or None if it has none."""
        verb, argument = parse_action(action)
        if verb == "search" and argument is not None:
            return "search", argument.lower()
        what = parse_click(action, lambda text: self._leads_on(state, text), whole=not self.as_original)
        return None if what is None else ("click", what)

    def clickables(self, state: State) -> list[str]:
        """The clickable texts of the page, in lower case and the original's order."""
        if state.page == "search":
            return ["search"]
        if state.page == "results":
            return [*_results_buttons(state), *[product.asin.lower() for product in self._listed(state)]]
        if state.page == "item":
            return list(item_clickables(self._product(state)))
        return [BACK, PREVIOUS] if state.page == "sub" else []

    def commands(self, state: State) -> list[str]:
        """The admissible actions in page order; "search[<query>]" stands for any search.

        `search[...]` works on every page but is listed only where the page has a search bar. Clickable texts that no
        action reaches are left out: the button beside the bar, and texts that cannot be written as an action.
        """
        if state.page == "search":
            return ["search[<query>]"]
        if state.page == "item":
            return list(item_commands(self._product(state), self.as_original))
        return commands(self.clickables(state), self.as_original)

    def search(self, state: State, query: str, rng: random.Random, number: int = 1) -> State:
        """Results page `number` for a query; chosen options are reset."""
        found = self._prefixed(query, rng) if self.as_original else None
        if found is None:
            found = tuple(self.catalogue.index.search(query, HITS))
        return State("results", query, found, number, seen=state.seen)

    def click(self, state: State, what: str, rng: random.Random) -> State:
        """The state after a click on one of the clickables. `Buy Now` leads to the page "done", without its reward."""
        if state.page == "results" and what not in _results_buttons(state):
            asin = next(product.asin for product in self._listed(state) if product.asin.lower() == what)
            return state._replace(page="item", asin=asin, seen=state.seen | {asin})
        page = self._page_by_address(state) if self.as_original else state.page
        if what == BUY:
            return state._replace(page="done")
        if what == BACK:
            return State()
        if page == "results" and what in (NEXT, PREVIOUS):
            return self.search(state, state.query, rng, state.number + (1 if what == NEXT else -1))
        if page == "item" and what == PREVIOUS:
            return self.search(state, state.query, rng, state.number)
        if page == "sub" and what == PREVIOUS:
            return state._replace(page="item", sub="")
        if what in self._sub_pages:
            return state._replace(page="sub", sub=self._sub_pages[what])
        chosen = dict(state.options)
        name = choices(self._product(state)).get(what)
        if name is not None:
            chosen[name] = what
        return state._replace(page="item", sub="", options=tuple(chosen.items()))

    def observe(self, state: State, instruction: str, session: str, mode: Mode) -> str:
        """The page as the agent reads it. session: the visit's name in the address."""
        if mode == "text":
            return self._text(state, instruction)
        url = self._url(state, session)
        return url if mode == "url" else self._rich(state, instruction, url)

    def _product(self, state: State) -> Product:
        return self.catalogue.by_asin[state.asin]

    def _listed(self, state: State) -> list[Product]:
        shown = state.found[(state.number - 1) * PER_PAGE : state.number * PER_PAGE]
        return [self.catalogue.products[position] for position in shown]

    def _leads_on(self, state: State, what: str) -> bool:
        if what == "search" and (self.as_original or state.page == "search"):
            return False
        if state.page == "item":
            return what in item_clickables(self._product(state))
        return what in self.clickables(state)

    def _prefixed(self, query: str, rng: random.Random) -> tuple[int, ...] | None:
        """The hits for a query with one of the original's undocumented prefixes; None for any other query."""
        first, *rest = query.split(" ")
        products = self.catalogue.products
        if first == "<r>":
            return tuple(rng.sample(range(len(products)), HITS))
        if first == "<q>":
            wanted = " ".join(rest).strip()
            return tuple(n for n, product in enumerate(products) if product.query == wanted)
        if first == "<c>" and rest:
            return tuple(n for n, product in enumerate(products) if product.category == rest[0].strip())
        if first in ("<a>", "<c>"):
            raise ActreError(f"the original crashes on the query {query!r}: as_original=False treats it as plain words")
        return None

    def _page_by_address(self, state: State) -> Page:
        """The page that the original takes this one for: it searches the whole address for page names."""
        url = self._url(state, "")
        return next((page for name, page in _PAGE_NAMES.items() if name in url), "search")

    def _url(self, state: State, session: str) -> str:
        words, chosen = "+".join(state.query.split(" ")), dict(state.options)
        if state.page == "results":
            return f"{BASE_URL}/search_results/{session}/{words}/{state.number}"
        if state.page == "item":
            return f"{BASE_URL}/item_page/{session}/{state.asin}/{words}/{state.number}/{json.dumps(chosen)}"
        if state.page == "sub":
            return f"{BASE_URL}/item_sub_page/{session}/{state.asin}/{words}/{state.number}/{state.sub}/{chosen}"
        if state.page == "done":
            return f"{BASE_URL}/done/{session}/{state.asin}/{chosen}"
        return f"{BASE_URL}/{session}"

    def _text(self, state: State, instruction: str) -> str:
        if state.page in ("search", "done"):
            return _joined(self._nodes(state, instruction))
        head = f"{_head_text(instruction)}{_SEPARATOR}"
        if state.page == "results":
            parts = [node.text for node in _results_head(state)]
            parts += map(_listing_text, self._listed(state))
            return head + _SEPARATOR.join(parts)
        if state.page == "item":
            return head + _item_text(self._product(state))
        return head + _joined(_sub_nodes(self._product(state), state.sub))

    def _rich(self, state: State, instruction: str, url: str) -> str:
        shown, clicked = [], ""
        for kind, text in self._nodes(state, instruction):
            if kind == "button":
                text = f"[button] {text} [button_]"
            elif kind == "label" and f'"{text}"' in url:
                clicked = f"You have clicked {text}.\n{clicked}"
                text = f"  [clicked button] {text} [clicked button_]"
            elif kind == "label":
                text = f"  [button] {text} [button_]"
            elif kind == "link":
                text = (
                    f"\n[clicked button] {text} [clicked button_]"
                    if text in state.seen
                    else f"\n[button] {text} [button_]"
                )
            shown.append(text + "\n")
        return clicked + "".join(shown)

    def _nodes(self, state: State, instruction: str) -> list[Node]:
        if state.page == "search":
            texts = _visible([("text", "WebShop"), ("text", "Instruction: "), ("text", instruction)])
            return [*texts, Node("button", "Search")]
        if state.page == "done":
            return _done_nodes(state)
        head = _visible([("text", "Instruction:"), ("text", instruction), ("button", "Back to Search")])
        if state.page == "results":
            listed = [node for product in self._listed(state) for node in _listing(product)]
            return [*head, *_results_head(state), *listed]
        product = self._product(state)
        return [*head, *(_item_nodes(product) if state.page == "item" else _sub_nodes(product, state.sub))]


def _visible(pairs: Iterable[tuple[Kind, str]]) -> list[Node]:
    """The strings left after parsing: no empty ones, and blank ones as one blank, or none if they have a line feed."""
    nodes = []
    for kind, text in pairs:
        if not text.strip(_BLANKS):
            if not text or "\n" in text:
                continue
            text = " "
        nodes.append(Node(kind, text))
    return nodes


def _joined(nodes: Iterable[Node]) -> str:
    return _SEPARATOR.join(node.text.strip() for node in nodes)


@lru_cache(maxsize=1024)
def _head_text(instruction: str) -> str:
    return _joined(_visible([("text", "Instruction:"), ("text", instruction), ("button", "Back to Search")]))


def _results_buttons(state: State) -> tuple[str, ...]:
    return (BACK, PREVIOUS, NEXT) if state.number > 1 else (BACK, NEXT)


def _results_head(state: State) -> list[Node]:
    title = Node("text", f"Page {state.number} (Total results: {len(state.found)})")
    following = Node("button", "Next >")
    return [title, Node("button", "< Prev"), following] if state.number > 1 else [title, following]


def _listing(product: Product) -> list[Node]:
    return _visible([("link", product.asin), ("text", product.name), ("text", product.price_tag)])


@lru_cache(maxsize=4096)
def _listing_text(product: Product) -> str:
    return _joined(_listing(product))


def _item_nodes(product: Product) -> list[Node]:
    found: list[tuple[Kind, str]] = [("button", "< Prev")]
    for name, values in product.options.items():
        found.append(("text", name))
        found += [("label", value) for value in values]
    found += [("text", product.name), ("text", f"Price: {product.price_tag}"), ("text", "Rating: N.A.")]
    found += [("button", text) for text in (*SUB_PAGES.values(), "Buy Now")]
    return _visible(found)


@lru_cache(maxsize=2048)
def _item_text(product: Product) -> str:
    return _joined(_item_nodes(product))


def _sub_nodes(product: Product, sub: str) -> list[Node]:
    found: list[tuple[Kind, str]] = [("button", "< Prev")]
    if sub == "Description":
        found.append(("text", product.description))
    elif sub == "Features":
        found += [("text", f" {bullet}") for bullet in product.bullets]
    elif sub == "Attributes":
        found += [("text", f" {attribute}") for attribute in product.attributes]
        found += [("text", text) for text in (product.category, product.query, product.product_category)]
    return _visible(found)


def _done_nodes(state: State) -> list[Node]:
    chosen = json.dumps(dict(state.options), sort_keys=True)
    for character in "<>&'":
        chosen = chosen.replace(character, f"\\u{ord(character):04x}")
    texts = [
        "Thank you for shopping with us!",
        "Your code: ",
        "None",
        " (Paste it in your MTurk interface.)",
        "Purchased",
    ]
    texts += ["asin", state.asin, "options", chosen, "attrs", "None", "category", "None", "query", "None"]
    texts += ["product category", "None", "Target", "asin", "options", "attrs", "price upper", "instuction text"]
    texts += ["category", "product category", "query", "Goal ", "None", "Reward", "Your score (min 0.0, max 1.0)"]
    texts += [str(state.reward), "Reward Details ", "None"]
    return [Node("text", text) for text in texts]
