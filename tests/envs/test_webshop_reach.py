"""What a goal allows is what can be reached: `ceiling` and `attainable` against every way to click."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shops import SHIRT, SOAP, catalogue_of

from actre.envs.webshop.env import WebshopEnv
from actre.envs.webshop.pages import State
from actre.envs.webshop.reward import attainable, ceiling

ASIN = SHIRT["asin"]
BUTTONS = (
    "buy now",
    "< prev",
    "Next >",
    "description",
    "features",
    "reviews",
    "back to search",
    "attributes",
    "search",
)
ODD = ("", " ", ASIN, "us [10]", "a]b", "two\nlines", "red/white", "offwhite", "navy blue", "Blue")
VALUE = st.sampled_from((*BUTTONS, *ODD, "red", "small", "large"))
OPTIONS = st.dictionaries(
    st.sampled_from(("Color", "Size", "red")), st.lists(VALUE, min_size=1, max_size=3), min_size=1, max_size=3
)


def shop(options: dict[str, list[str]], kind: Any, as_original: bool, asin: str = ASIN) -> WebshopEnv:
    """A shop with one product of these options: every combination is a goal, or people ask for one of each value."""
    held = {name: [{"value": value} for value in values] for name, values in options.items()}
    wish = {"instruction": "a soft shirt", "instruction_attributes": ["soft"], "attributes": ["soft"]}
    asked = [[values[-1].strip().lower() for values in options.values()], [next(iter(options.values()))[0].lower()]]
    catalogue = catalogue_of(
        [{**SHIRT, "asin": asin, "customization_options": held, "pricing": "$5.00"}, SOAP],
        items_ins_v2={asin: wish},
        items_human_ins={asin: [{**wish, "instruction_options": values} for values in asked]},
    )
    return WebshopEnv(catalogue, 10**9, kind=kind, keep_unattainable=True, as_original=as_original)


def ways(env: WebshopEnv, asin: str = ASIN) -> list[State]:
    """Every state on the product's pages that clicks reach, in every order of choosing, without leaving its pages."""
    env.reset(options={"goal": 0})
    *_, info = env.step("search[soft shirt]")
    opening = f"click[{asin.lower()}]"
    if opening not in info["admissible_commands"]:
        return []
    env.step(opening)
    start = env.snapshot()
    found: dict[Any, State] = {}
    waiting = [start.state]
    while waiting:
        state = waiting.pop()
        key = (state.page, state.sub, frozenset(state.options))
        if state.asin != asin or state.page not in ("item", "sub") or key in found:
            continue
        found[key] = state
        _, info = env.restore(replace(start, state=state))
        for action in info["admissible_commands"]:
            env.restore(replace(start, state=state))
            if action != "click[buy now]":
                env.step(action)
                waiting.append(env.snapshot().state)
    return list(found.values())


def best(env: WebshopEnv, goal: int, states: list[State]) -> float:
    """The highest reward that a purchase in one of the states brings."""
    env.reset(options={"goal": goal})
    start, rewards = env.snapshot(), [0.0]
    for state in (state for state in states if state.page == "item"):
        env.restore(replace(start, state=state))
        _, reward, terminated, *_ = env.step("click[buy now]")
        assert terminated
        rewards.append(reward)
    return max(rewards)


def compare(env: WebshopEnv, asin: str = ASIN) -> list[float]:
    """Asserts that what is said of each goal is what clicking reaches; returns it."""
    states = ways(env, asin)
    as_original = env._shop.as_original
    reached = [best(env, goal, states) for goal in env.goals]
    assert [ceiling(env._goals, goal, as_original=as_original) for goal in env._goals.goals] == reached
    can = tuple(goal for goal, reward in enumerate(reached) if reward == 1.0)
    assert attainable(env._goals, as_original=as_original) == can
    return reached


@pytest.mark.parametrize("kind", ["synthetic", "human"])
@pytest.mark.parametrize("as_original", [False, True])
@settings(max_examples=80)
@given(OPTIONS)
def test_a_goals_ceiling_is_what_exhaustive_clicking_reaches(
    as_original: bool, kind: str, options: dict[str, list[str]]
) -> None:
    compare(shop(options, kind, as_original))


@pytest.mark.parametrize(
    ("options", "unreached"),
    [
        ({"color": ["small", "red"], "size": ["small", "large"]}, [{"color": "small", "size": "large"}]),
        ({"in": ["blue", "red"], "out": ["blue", "green"]}, [{"in": "blue", "out": "green"}]),
        ({"mode": ["buy now", "later"]}, [{"mode": "buy now"}]),
        ({"mode": ["< Prev", "later"]}, [{"mode": "< prev"}]),
        ({"mode": ["Back to Search", "later"]}, [{"mode": "back to search"}]),
        ({"mode": ["reviews", "features", "description"]}, [{"mode": m} for m in BUTTONS[3:6]]),
        ({"mode": ["next >", "attributes", "search"]}, []),
        ({"mode": [" ", "later"]}, [{"mode": ""}]),
        ({"mode": [ASIN, SOAP["asin"]]}, []),
        ({"size": ["us [10]", "a]b", "large"]}, []),
    ],
)
def test_goals_that_no_click_fulfils_are_not_attainable(
    options: dict[str, list[str]], unreached: list[dict[str, str]]
) -> None:
    env = shop(options, "synthetic", False)
    compare(env)
    left = [dict(g.options) for n, g in enumerate(env._goals.goals) if n not in attainable(env._goals)]
    assert sorted(map(str, left)) == sorted(map(str, unreached))


@pytest.mark.parametrize("asin", ["next >", "", "< prev", "reviews", "buy now", "search", "b[1]", "B000000009"])
@pytest.mark.parametrize("as_original", [False, True])
def test_a_product_that_no_click_opens_has_no_attainable_goal(asin: str, as_original: bool) -> None:
    env = shop({"Size": ["large"]}, "synthetic", as_original, asin)
    unopened = {"next >", ""} | ({"search", "b[1]"} if as_original else set())
    assert compare(env, asin) == [0.0 if asin in unopened else 1.0]


def test_reset_draws_what_can_be_reached_by_the_rules_that_are_played() -> None:
    env = shop({"Size": ["us [10]", "large"]}, "synthetic", False)
    for as_original, wanted in ((False, {"us [10]", "large"}), (True, {"large"})):
        played = WebshopEnv(env.catalogue, as_original=as_original)
        assert {dict(played._goals[number].options)["size"] for number in played.goals} == wanted
