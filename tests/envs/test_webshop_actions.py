"""Which actions are admissible in the shop: the listed ones that it acts on, whatever is written."""

import random
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shops import SHIRT, SOAP, catalogue_of

from actre.envs.webshop.env import Snapshot, WebshopEnv
from actre.orders import admits, open_verb

ODD = ("us [10]", "a]b", "[", "line\nbreak", "İstanbul", "ß", "ΑΣ", "<query>", "search", "next >", "x", "", "a/b", "]")
PRODUCTS = [
    {**SHIRT, "customization_options": {"Odd": [{"value": value} for value in ODD]}},
    *({**SOAP, "asin": asin} for asin in ("B000000002", "b[1]", "İ", "reviews", "buy now", "", "b000000001", "search")),
    *({**SOAP, "asin": f"B00000010{n}"} for n in range(6)),
]
PAGES: dict[str, tuple[str, ...]] = {
    "search": (),
    "results": ("search[soap shirt]",),
    "more results": ("search[soap shirt]", "click[next >]"),
    "no results": ("search[nothing]",),
    "item": ("search[blue shirt]", "click[b000000001]"),
    "sub page": ("search[blue shirt]", "click[b000000001]", "click[features]"),
}
PIECES = (
    *(
        "search",
        "click",
        "Click",
        "[",
        "]",
        "[",
        "]",
        " ",
        "\n",
        "\r",
        "\u2028",
        "lamp",
        "<query>",
        "Buy Now",
        "Next >",
    ),
    *(
        "Next >",
        "BACK TO SEARCH",
        "< Prev",
        "features",
        "B000000001",
        "B[1]",
        "US [10]",
        "İSTANBUL",
        "SS",
        "ẞ",
        "ας",
        "ΑΣ",
        "Ⅻ",
    ),
)
FORMS = ("search[{}]", "click[{}]", "click[{}] x", " click[{}]", "click[ {} ]", "{}")
WORDS = st.text(max_size=20) | st.lists(st.sampled_from(PIECES), max_size=9).map("".join)
OFFERED = st.integers(0, 99)  # stands for one of the page's own texts


@cache
def shopping(as_original: bool) -> tuple[WebshopEnv, dict[str, Snapshot]]:
    """A shop of odd texts, and a moment on each kind of page."""
    env = WebshopEnv(catalogue_of(PRODUCTS), 10**9, keep_unattainable=True, as_original=as_original)
    moments = {}
    for page, way in PAGES.items():
        env.reset(options={"goal": 0})
        for action in way:
            env.step(action)
        moments[page] = env.snapshot()
    return env, moments


def acts(env: WebshopEnv, action: str) -> bool:
    """Whether the shop leads on: it searches or clicks, even where that leads to the page one is on."""
    led: list[str] = []
    shop = env._shop

    def search(*given: Any, **more: Any) -> Any:
        led.append("search")
        return type(shop).search(shop, *given, **more)

    def click(*given: Any) -> Any:
        led.append("click")
        return type(shop).click(shop, *given)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shop, "search", search)
        patch.setattr(shop, "click", click)
        before = env.snapshot().state
        env.step(action)
    assert led or env.snapshot().state == before
    return bool(led)


def expected(env: WebshopEnv, listed: list[str], action: str) -> bool:
    """A search works everywhere and is admissible where the page lists it: that is the one exception."""
    unlisted = action.startswith("search[") and "search[<query>]" not in listed
    return acts(env, action) and not unlisted


@pytest.mark.parametrize("as_original", [False, True])
@pytest.mark.parametrize("page", PAGES)
def test_every_admissible_command_is_acted_on_and_no_other_click_is(page: str, as_original: bool) -> None:
    env, moments = shopping(as_original)
    for action in list(written(page, as_original)):
        _, info = env.restore(moments[page])
        assert admits(info["admissible_commands"], action) is expected(env, info["admissible_commands"], action), action


def written(page: str, as_original: bool) -> Iterator[str]:
    """What is listed and what is offered, in several spellings."""
    env, moments = shopping(as_original)
    _, info = env.restore(moments[page])
    yield from info["admissible_commands"]
    for text in (*env.available_actions()["clickables"], *ODD, "search"):
        for form in ("click[{}]", "click[{}] and more", "click[{}]\nmore", " click[{}]", "click [{}]", "click[[{}]]"):
            yield from (form.format(text), form.format(text.upper()), form.format(f" {text} "))


@pytest.mark.parametrize("as_original", [False, True])
@settings(max_examples=400)
@given(st.sampled_from(list(PAGES)), st.sampled_from(FORMS), WORDS | OFFERED, st.booleans())
def test_an_action_is_admissible_exactly_if_the_shop_acts_on_it(
    as_original: bool, page: str, form: str, words: str | int, upper: bool
) -> None:
    env, moments = shopping(as_original)
    _, info = env.restore(moments[page])
    listed, offered = info["admissible_commands"], env.available_actions()["clickables"]
    text = words if isinstance(words, str) else offered[words % len(offered)]
    action = form.replace("{}", text.upper() if upper else text)
    if as_original and action.startswith(("search[<a>", "search[<c>")):
        return  # these crash the original
    assert admits(listed, action) is expected(env, listed, action)


@pytest.mark.parametrize(
    ("action", "admissible"),
    [
        ("search[lamp]", True),
        ("search[ ]", True),
        ("search[lamp] ", True),
        ("search[lamp] now", True),
        ("search[lamp]\nclick[buy now]", True),
        ("search[a]b]", True),
        ("search[]]", True),
        ("search[a[]", True),
        ("search[<query>]", True),
        ("search[]", False),
        ("search[lamp", False),
        ("search[lamp] click[buy now]", False),
        ("search[lamp] and then click[item]", False),
        ("search[lamp\nsmall]", False),
        ("\nsearch[lamp]", False),
        ("search[[lamp]]", False),
        ("search[[[lamp]]]", False),
        ("Search[lamp]", False),
        (" search[lamp]", False),
        ("search [lamp]", False),
        ("click[search]", False),
        ("", False),
    ],
)
def test_a_search_is_admissible_as_the_shop_reads_it(action: str, admissible: bool) -> None:
    env, moments = shopping(False)
    _, info = env.restore(moments["search"])
    assert admits(info["admissible_commands"], action) is admissible
    env.step(action)
    assert (env.snapshot().state.page == "results") is admissible


@pytest.mark.parametrize("value", ["<query>", "<b>", "<r>"])
def test_an_option_that_looks_like_a_place_to_fill_admits_itself_alone(value: str) -> None:
    listed = (f"click[{value}]", "click[buy now]")
    assert open_verb(listed[0]) is None
    assert [admits(listed, a) for a in (listed[0], "click[red]", "click[<other>]")] == [True, False, False]


def test_a_product_named_like_a_button_of_another_page_can_be_opened() -> None:
    env, moments = shopping(False)
    for asin in ("reviews", "buy now", "search"):
        env.restore(moments["more results"])
        env.step(f"click[{asin}]")
        assert (env.snapshot().state.page, env.snapshot().state.asin) == ("item", asin)


def test_a_listed_command_stands_in_the_list_once() -> None:
    env, moments = shopping(False)
    rng = random.Random(0)
    for moment in moments.values():
        _, info = env.restore(replace(moment, goal=rng.randrange(len(env._goals))))
        assert len(set(info["admissible_commands"])) == len(info["admissible_commands"])
