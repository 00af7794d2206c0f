"""WebShop's environment: the contract, pages worked out by hand, random shoppers, and broken catalogues."""

import gc
import random
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium
import pytest
from env_contract import EnvContract
from hypothesis import given
from hypothesis import strategies as st
from shops import SHIRT, SOAP, write

import actre.envs  # noqa: F401 (registers the names)
from actre.envs.webshop import Catalogue, WebshopEnv, read_catalogue
from actre.envs.webshop.goals import Goals
from actre.envs.webshop.pages import Shop, State
from actre.envs.webshop.reward import attainable, score
from actre.types import ActreError


@pytest.fixture
def shop(tmp_path: Path) -> Catalogue:
    """Two products: a shirt with options and a soap without."""
    return read_catalogue(write(tmp_path))


@pytest.fixture(scope="module")
def shipped() -> Catalogue:
    """The catalogue that comes with the package."""
    return read_catalogue(Path(__file__).resolve().parents[2] / "data" / "webshop")


def goal_of(env: WebshopEnv, asin: str) -> dict[str, Any]:
    return {"goal": next(n for n in env.goals if env._goals[n].asin == asin)}


class TestWebshopEnv(EnvContract):
    @pytest.fixture(autouse=True)
    def _shop(self, shipped: Catalogue) -> None:
        self.catalogue = shipped

    def make(self, max_steps: int = 50) -> WebshopEnv:
        return WebshopEnv(self.catalogue, max_steps=max_steps)

    def start(self) -> dict[str, Any]:
        return {"goal": 3}

    def foreign(self) -> dict[str, Any]:
        return {"goal": 10**9}


class TestWebshopEnvAsOriginal(TestWebshopEnv):
    def make(self, max_steps: int = 50) -> WebshopEnv:
        return WebshopEnv(self.catalogue, max_steps, "text_rich", kind="human", as_original=True)


def test_gymnasium_makes_it_by_name_and_shares_the_catalogue(shop: Catalogue) -> None:
    env = gymnasium.make("actre/Webshop-v0", catalogue=shop, max_steps=3)
    assert env.unwrapped.catalogue is shop  # type: ignore[attr-defined]
    assert env.reset(seed=0)[0].startswith("WebShop [SEP] Instruction: [SEP] Find me ")


def test_a_folder_will_do_for_a_catalogue(tmp_path: Path) -> None:
    assert len(WebshopEnv(write(tmp_path)).catalogue) == 2


def test_a_purchase_step_by_step(shop: Catalogue) -> None:
    env = WebshopEnv(shop)
    text, info = env.reset(options=goal_of(env, "B000000001"))
    goal, task = env._goals[info["goal"]], info["task"]
    assert text == f"WebShop [SEP] Instruction: [SEP] {task} [SEP] Search"
    assert info["admissible_commands"] == ["search[<query>]"]
    head = f"Instruction: [SEP] {task} [SEP] Back to Search [SEP] "
    text, *_, info = env.step("search[Blue SHIRTS]")
    both = "B000000001 [SEP] Blue Shirt [SEP] $9.99 to $19.5"
    assert text.startswith(f"{head}Page 1 (Total results: 2) [SEP] Next > [SEP] {both}")
    first = ["click[back to search]", "click[next >]", "click[b000000001]"]
    assert info["admissible_commands"][:3] == first
    text, *_, info = env.step("click[B000000001]")
    item = (
        "< Prev [SEP] color [SEP] navy blue [SEP] red | white [SEP] size [SEP] large [SEP] us [10] [SEP] Blue Shirt "
        "[SEP] Price: $9.99 to $19.5 [SEP] Rating: N.A. [SEP] Description [SEP] Features [SEP] Reviews [SEP] Buy Now"
    )
    assert text == head + item
    assert info["admissible_commands"][-4:] == [
        "click[navy blue]",
        "click[red | white]",
        "click[large]",
        "click[us [10]]",
    ]
    assert env.step("click[features]")[0] == f"{head}< Prev [SEP] 100% cotton [SEP] "
    assert env.step("click[< prev]")[0] == head + item
    for _, value in goal.options:
        assert env.step(f"click[{value}]")[0] == head + item  # the mode "text" hides what is chosen
    text, reward, terminated, truncated, info = env.step("click[buy now]")
    assert text.startswith("Thank you for shopping with us!")
    assert (reward, terminated, truncated) == (1.0, True, False)
    assert (info["won"], info["score"], info["admissible_commands"]) == (True, 1.0, [])
    assert info["parts"]["r_option"] == 1.0
    assert dict(env.snapshot().state.options) == dict(goal.options)


def test_the_wrong_product_earns_little_and_ends_the_episode_unwon(shop: Catalogue) -> None:
    env = WebshopEnv(shop)
    env.reset(options=goal_of(env, "B000000001"))
    env.step("search[soap]")
    env.step("click[b000000002]")
    _, reward, terminated, _, info = env.step("click[buy now]")
    assert (reward, terminated, info["won"]) == (0.0, True, False)  # no noun in common
    assert info["parts"]["r_type"] == 0.0


def test_options_are_kept_on_sub_pages_and_lost_on_the_way_back(shop: Catalogue) -> None:
    env = WebshopEnv(shop)
    env.reset(options=goal_of(env, "B000000001"))
    for action in ("search[shirt]", "click[b000000001]", "click[large]", "click[description]", "click[< prev]"):
        env.step(action)
    assert env.snapshot().state.options == (("size", "large"),)
    env.step("click[< prev]")
    assert env.snapshot().state.options == ()
    env.step("click[b000000001]")
    env.step("click[LARGE]")
    env.step("search[shirt]")  # works on every page
    assert env.snapshot().state == State("results", "shirt", (0, 1), seen=frozenset({"B000000001"}))


def test_rich_text_shows_what_has_been_clicked(shop: Catalogue) -> None:
    env = WebshopEnv(shop, observation_mode="text_rich")
    env.reset(options=goal_of(env, "B000000001"))
    env.step("search[shirt]")
    env.step("click[b000000001]")
    text = env.step("click[large]")[0]
    assert text.startswith("You have clicked large.\nInstruction:\n")
    assert "\n  [clicked button] large [clicked button_]\n  [button] us [10] [button_]\n" in text
    assert "\n[clicked button] B000000001 [clicked button_]\n" in env.step("click[< prev]")[0]


@pytest.mark.parametrize(
    "action", ["think", "search[]", " search[a]", "Search[a]", "click[search]", "click[buy now]", ""]
)
def test_what_is_no_action_of_the_page_changes_nothing_but_costs_a_step(action: str, shop: Catalogue) -> None:
    env = WebshopEnv(shop, max_steps=2)
    text, info = env.reset(seed=0)
    assert env.step(action) == (text, 0.0, False, False, info)
    assert env.step(action)[3]


@pytest.mark.parametrize("query", ["<r>", "<r> shirt", "<q> soaps", "<c> beauty", "<a> gentle", "<c>"])
def test_prefixes_are_words_unless_the_original_is_asked_for(query: str, shop: Catalogue) -> None:
    env = WebshopEnv(shop)
    env.reset(seed=0)
    env.step(f"search[{query}]")
    assert list(env.snapshot().state.found) == shop.index.search(query[3:])


def test_the_original_is_exploited_by_prefixes_and_crashes_on_some(shop: Catalogue) -> None:
    env = WebshopEnv(shop, as_original=True)
    text, _ = env.reset(seed=0)
    for query in ("<a> gentle", "<c>"):
        with pytest.raises(ActreError, match="original crashes"):
            env.step(f"search[{query}]")
    assert env.restore(env.snapshot())[0] == text
    env.step("search[<q> soaps]")
    assert env.snapshot().state.found == (1,)
    env.step("search[<c> fashion]")
    assert env.snapshot().state.found == (0,)


def test_the_original_mistakes_a_page_whose_address_names_another(shop: Catalogue) -> None:
    for as_original, number in ((True, 0), (False, 1)):
        env = WebshopEnv(shop, as_original=as_original)
        env.reset(seed=0)
        for action in ("search[search_results shirt]", "click[b000000001]", "click[< prev]"):
            env.step(action)
        assert env.snapshot().state.number == number


def test_brackets_in_an_option_hide_it_from_clicks_in_the_original_only(shop: Catalogue) -> None:
    for as_original, chosen in ((True, ()), (False, (("size", "us [10]"),))):
        env = WebshopEnv(shop, as_original=as_original)
        env.reset(seed=0)
        env.step("search[shirt]")
        info = env.step("click[b000000001]")[4]
        env.step("click[us [10]]")
        assert env.snapshot().state.options == chosen
        assert ("click[us [10]]" in info["admissible_commands"]) is not as_original


def test_every_admissible_action_does_something(shipped: Catalogue) -> None:
    env, rng = WebshopEnv(shipped, max_steps=10_000), random.Random(0)
    info = env.reset(seed=0)[1]
    for _ in range(3000):
        action = rng.choice(info["admissible_commands"])
        assert env._shop.target(env.snapshot().state, action) is not None, action
        *_, terminated, _, info = env.step(action)
        if terminated:
            info = env.reset()[1]


QUERY = st.text(max_size=30) | st.sampled_from(["soap", "<r>", "<a> x", "item_page", "shirt " * 40, "’s", "\ud800"])
CHOICE = st.tuples(st.sampled_from(["admissible", "search", "click", "free"]), st.integers(0, 10**6), QUERY)


@given(st.integers(0, 10**6), st.lists(CHOICE, max_size=40), st.sampled_from(["text", "text_rich", "url"]))
def test_a_random_shopper_meets_no_exception_and_is_paid_once_at_most(
    seed: int, choices: list[tuple[str, int, str]], mode: Any
) -> None:
    catalogue = _small()
    env = WebshopEnv(catalogue, max_steps=30, observation_mode=mode)
    info = env.reset(seed=seed)[1]
    for number, (kind, pick, words) in enumerate(choices):
        commands = info["admissible_commands"]
        action = {"search": f"search[{words}]", "click": f"click[{words}]", "free": words}.get(kind)
        action = commands[pick % len(commands)] if action is None else action
        text, reward, terminated, truncated, info = env.step(action)
        assert env.observation_space.contains(text)
        assert 0.0 <= reward <= 1.0
        assert terminated is (env.snapshot().state.page == "done")
        assert terminated <= (action.lower() == "click[buy now]")
        assert reward == 0.0 or terminated
        assert truncated is (not terminated and number == 29)
        if terminated or truncated:
            break


def _small() -> Catalogue:
    global _kept
    if _kept is None:
        _kept = read_catalogue(Path(__file__).resolve().parents[2] / "data" / "webshop")
    return _kept


_kept: Catalogue | None = None


def test_thousands_of_steps_leave_no_more_memory_taken(shipped: Catalogue) -> None:
    env, rng = WebshopEnv(shipped), random.Random(0)
    words = sorted({word for product in shipped.products for word in product.name.split()})

    def walk(episodes: int) -> None:
        for _ in range(episodes):
            info, over = env.reset(seed=rng.randrange(10**9))[1], False
            while not over:
                action = rng.choice(info["admissible_commands"])
                if action == "search[<query>]":
                    action = f"search[{' '.join(rng.choices(words, k=3))}]"
                *_, terminated, truncated, info = env.step(action)
                over = terminated or truncated

    walk(700)  # every bounded memory is full: more queries than are kept, every product
    tracemalloc.start()
    try:
        walk(100)
        gc.collect()  # in a process with many objects the collector comes late, and cycles would count
        before = tracemalloc.get_traced_memory()[0]
        walk(400)
        gc.collect()
        grown = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    # What the walk replaces in the bounded memories was not traced when it was made: a margin for that, far less than
    # 400 kept episodes of some 900 characters an observation.
    assert grown < 1_500_000


def test_a_snapshot_of_other_goals_is_refused(shop: Catalogue, shipped: Catalogue) -> None:
    env = WebshopEnv(shop)
    env.reset(seed=0)
    for other in (WebshopEnv(shipped), WebshopEnv(shop, goal_seed=1), WebshopEnv(shop, kind="human")):
        with pytest.raises(ActreError, match="snapshot"):
            other.restore(env.snapshot())
    with pytest.raises(ActreError, match="no goal"):
        env.restore(replace(env.snapshot(), goal=99))


def test_reset_draws_only_goals_that_can_be_fulfilled_unless_told_otherwise(tmp_path: Path) -> None:
    # "offwhite" becomes "white" on the buyer's side only, so such a wish is never wholly met
    options = {"Color": [{"value": "offwhite"}, {"value": "ginger"}]}
    shop = read_catalogue(write(tmp_path, items_shuffle=[{**SHIRT, "customization_options": options}, SOAP]))
    goals = Goals(shop)
    unmet = [goal.options for n, goal in enumerate(goals.goals) if n not in attainable(goals)]
    assert unmet == [(("color", "offwhite"),)]
    env = WebshopEnv(shop)
    drawn = {env.reset()[1]["goal"] for _ in range(60)}
    assert drawn == set(attainable(goals)) == set(env.goals)
    assert len(WebshopEnv(shop, keep_unattainable=True).goals) == len(goals) == len(env.goals) + len(unmet)
    assert {WebshopEnv(shop, goals=[1]).reset()[1]["goal"] for _ in range(5)} == {1}


BROKEN: dict[str, tuple[dict[str, Any], str]] = {
    "missing field": (
        {"items_shuffle": [{k: v for k, v in SHIRT.items() if k != "name"}]},
        r"entry 0 .*'name'.* missing",
    ),
    "wrong type": ({"items_shuffle": [SOAP, {**SHIRT, "images": "x.jpg"}]}, r"entry 1 \(B000000001\).*'images'.*a str"),
    "wrong item": ({"items_shuffle": [{**SHIRT, "images": [3]}]}, r"entry 0 .*'images'.*value 0 is a int"),
    "no asin": ({"items_shuffle": [{"name": "x"}]}, r"entry 0: field 'asin': is missing"),
    "long asin": ({"items_shuffle": [{**SHIRT, "asin": "B0000000011"}]}, r"entry 0 .*'asin'.*not an asin"),
    "duplicate": ({"items_shuffle": [SHIRT, SOAP, SHIRT]}, r"entry 2 \(B000000001\).*'asin'.*repeats"),
    "no price": ({"items_shuffle": [{**SHIRT, "pricing": "$.."}]}, r"entry 0 .*'pricing'.*not a price"),
    "odd option": (
        {"items_shuffle": [{**SHIRT, "customization_options": {"Size": [{"value": 7}]}}]},
        r"entry 0 .*'customization_options: Size'.*value 0",
    ),
    "odd options": ({"items_shuffle": [{**SHIRT, "customization_options": [1]}]}, r"'customization_options'.*a list"),
    "odd entry": ({"items_shuffle": [SHIRT, 7]}, r"entry 1: is a int"),
    "no list": ({"items_shuffle": {"a": 1}}, r"items_shuffle.json: holds a dict"),
    "empty list": ({"items_shuffle": []}, r"items_shuffle.json: holds no product"),
    "not JSON": ({"items_shuffle": "[{"}, r"items_shuffle.json: is not JSON"),
    "empty file": ({"items_ins_v2": ""}, r"items_ins_v2.json: is not JSON"),
    "instruction without attributes": (
        {"items_ins_v2": {"B000000001": {"instruction": "x", "instruction_attributes": []}}},
        r"items_ins_v2.json: B000000001: field 'instruction_attributes': is empty",
    ),
    "instructions of another kind": ({"items_ins_v2": []}, r"items_ins_v2.json: holds a list"),
    "odd human instruction": (
        {"items_human_ins": {"B000000001": [{"instruction": "x", "instruction_attributes": ["y"]}]}},
        r"items_human_ins.json: B000000001, instruction 0: field 'instruction_options': is missing",
    ),
    "odd nouns": ({"nouns": {"B000000001": "shirt"}}, r"nouns.json: B000000001: field 'nouns': is a str"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_catalogue_is_refused_by_file_entry_and_field(case: str, tmp_path: Path) -> None:
    files, words = BROKEN[case]
    with pytest.raises(ActreError, match=words):
        read_catalogue(write(tmp_path, **files))


def test_the_original_rules_pass_over_entries_that_are_no_products(tmp_path: Path) -> None:
    entries = [SHIRT, {**SOAP, "asin": "nan"}, {**SOAP, "asin": "B0000000022"}, {**SOAP, "asin": "B000000001"}, SOAP]
    shop = read_catalogue(write(tmp_path, items_shuffle=entries), strict=False)
    assert [(p.asin, p.name) for p in shop.products] == [("B000000001", "Blue Shirt"), ("B000000002", "Rose Soap")]


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda shop: WebshopEnv(shop, max_steps=0), "at least one step"),
        (lambda shop: WebshopEnv(shop, observation_mode="html"), "text_rich"),
        (lambda shop: WebshopEnv(shop, kind="robot"), "human"),
        (lambda shop: WebshopEnv(shop, goals=[]), "empty"),
        (lambda shop: WebshopEnv(shop, goals=[7]), "no goal 7"),
        (lambda shop: WebshopEnv(shop, goals=["0"]), "no goal '0'"),
        (lambda shop: WebshopEnv(Catalogue(shop.products)), "actre webshop import"),
        (lambda shop: WebshopEnv("/no/such/folder"), "/no/such/folder"),
    ],
)
def test_what_cannot_be_is_refused_when_it_is_made(make: Callable[[Any], Any], words: str, shop: Catalogue) -> None:
    with pytest.raises(ActreError, match=words):
        make(shop)


def test_the_shop_holds_no_state_of_play(shop: Catalogue) -> None:
    pages, rng = Shop(shop), random.Random(0)
    start = State()
    results = pages.search(start, "shirt", rng)
    item = pages.click(results, "b000000001", rng)
    pages.click(item, "large", rng)
    assert pages.search(start, "shirt", rng) == results
    assert item.options == ()
    assert start == State()


def test_a_reward_worked_out_by_hand(shop: Catalogue) -> None:
    goals = Goals(shop)
    goal = next(g for g in goals.goals if dict(g.options) == {"color": "navy blue", "size": "large"})
    shirt = shop.by_asin["B000000001"]
    # attribute 1 of 1; "large" of two options ("navy blue" was not chosen); price within the limit: 3 of 4 parts
    parts = score(shirt, goal, 9.99, {"size": "large"}, ["shirt"], ["shirt"])
    assert (parts.reward, parts.r_att, parts.r_option, parts.r_price) == (0.75, 1.0, 0.5, True)
    # nothing in common but one of ten nouns: 0.1 is not below 0.1, so half the type's worth
    nouns = ["shirt", *"abcdefghi"]
    stranger = replace(shop.by_asin["B000000002"], product_category="x")
    assert score(stranger, goal, 1e9, {}, ["shirt"], nouns)[:2] == (0.0, 0.5)
