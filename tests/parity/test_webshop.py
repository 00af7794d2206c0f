"""Our WebShop answers as the original did: vectors recorded from the unmodified one, compared exactly.

The vectors lie in `$ACTRE_SHARED/webshop/vectors`, the products they were recorded on beside that folder. A file is
known by what it holds, however it is called and however many cases it has.
"""

import gzip
import hashlib
import json
import os
import random
import string
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from actre.envs.webshop.analyzer import tokens
from actre.envs.webshop.catalogue import Catalogue, Product, read_catalogue
from actre.envs.webshop.env import WebshopEnv
from actre.envs.webshop.goals import Goal, Goals, Kind, draw
from actre.envs.webshop.pages import MODES, parse_action
from actre.envs.webshop.reward import _close, attainable, normalize_color, score
from actre.types import ActreError

FOLDER = Path(os.environ.get("ACTRE_SHARED", Path(__file__).resolve().parents[3] / "shared")) / "webshop"
KINDS: tuple[Kind, ...] = ("synthetic", "human")


@cache
def _files() -> list[tuple[str, dict[str, Any]]]:
    found = []
    for path in sorted((FOLDER / "vectors").glob("*.json*")):
        raw = path.read_bytes()
        found.append((path.name, json.loads(gzip.decompress(raw) if path.suffix == ".gz" else raw)))
    return found


def _holding(key: str) -> Iterator[tuple[str, Any]]:
    return ((name, held[key]) for name, held in _files() if isinstance(held, dict) and key in held)


def _params(cases: Iterator[tuple[str, Any]]) -> list[Any]:
    why = pytest.mark.skip(reason=f"no vectors in {FOLDER}/vectors: point ACTRE_SHARED at the real data")
    return [pytest.param(case, id=name) for name, case in cases] or [pytest.param(None, marks=why)]


def _each(key: str, name: str) -> list[Any]:
    return _params((f"{file}-{c[name]}", c) for file, cases in _holding(key) for c in cases)


def _transcripts() -> Iterator[tuple[str, Any]]:
    """Those of modes and switches that this environment has, of sessions that have a number."""
    for file, episodes in _holding("transcripts"):
        for episode in episodes:
            config = episode["config"]
            strange = any(config.get(k) for k in config if k.startswith("num_prev") or k == "show_attrs")
            if config["observation_mode"] in MODES and not strange and isinstance(episode["session"], int):
                yield f"{file}-{episode['name']}", episode


@pytest.fixture(scope="module")
def catalogue() -> Catalogue:
    """The products that the vectors were recorded on."""
    products = FOLDER / "items_shuffle_1000.json.gz"
    if not products.exists():
        pytest.skip(f"no {products}: point ACTRE_SHARED at the real data")
    ((_, nouns),) = _holding("name_nouns")
    return Catalogue(read_catalogue(FOLDER).products, nouns)


@pytest.fixture(scope="module", params=KINDS)
def goals(request: pytest.FixtureRequest, catalogue: Catalogue) -> Goals:
    return Goals(catalogue, request.param, seed=0)


@pytest.mark.parametrize("products", _params(_holding("loaded_products")))
def test_every_product_is_loaded_as_the_original_loads_it(products: dict[str, Any], catalogue: Catalogue) -> None:
    assert list(catalogue.by_asin) == list(products)
    for asin, wanted in products.items():
        product = catalogue.by_asin[asin]
        assert product.price_tag == wanted["Price"], asin
        assert list(product.pricing) == wanted["pricing"], asin
        assert [(n, list(v)) for n, v in product.options.items()] == list(wanted["options"].items()), asin
        assert list(product.attributes) == wanted["Attributes"], asin
        assert product.image == wanted["MainImage"], asin
        assert product.query == wanted["query"], asin


@pytest.mark.parametrize("queries", _params(_holding("queries")))
def test_every_query_has_lucenes_tokens(queries: list[Any]) -> None:
    for case in queries:
        assert tokens(case["query"]) == case["tokens"], case["query"]


@pytest.mark.parametrize("queries", _params(_holding("queries")))
def test_every_query_finds_what_lucene_finds_in_its_order(queries: list[Any], catalogue: Catalogue) -> None:
    for case in queries:
        hits = [catalogue.products[position].asin for position in catalogue.index.search(case["query"])]
        assert hits == [asin for asin, _ in case["hits"]], case["query"]
        scores = catalogue.index.scored(case["query"])[1]
        assert scores == pytest.approx([s for _, s in case["hits"]], abs=1e-4), case["query"]


@pytest.mark.parametrize("recorded", _params((n, h) for n, h in _files() if "product_prices" in h))
def test_goals_and_prices_are_those_of_the_original_after_seed_0(recorded: dict[str, Any], goals: Goals) -> None:
    assert goals.prices == recorded["product_prices"]
    made = [_as_recorded(goal, goals.kind) for goal in goals.goals]
    assert made[: len(recorded[goals.kind])] == recorded[goals.kind]
    text = json.dumps(made, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert hashlib.sha256(text.encode()).hexdigest() == recorded[f"sha_{goals.kind}"]


@pytest.mark.parametrize("case", _each("cases", "id"))
def test_a_purchase_is_judged_as_the_original_judges_it(case: dict[str, Any], catalogue: Catalogue) -> None:
    wanted, given = case["goal"], case["goal"]["goal_options"]
    goal = Goal(
        asin=wanted["asin"],
        name=wanted["name"],
        category=wanted["category"],
        query=wanted["query"],
        product_category=wanted["product_category"],
        instruction=wanted["instruction_text"],
        attributes=tuple(wanted["attributes"]),
        price_upper=wanted["price_upper"],
        options=tuple(given.items()) if isinstance(given, dict) else tuple(given),
        weight=1,
    )
    product = _inline(case["purchased_product"]) if "purchased_product" in case else None
    product = product or catalogue.by_asin[case["purchased_asin"]]
    bought = case.get("purchased_nouns", ["x"]), case.get("goal_nouns", ["x"])
    if "raises" in case:
        with pytest.raises({"TypeError": TypeError}[case["raises"]]):
            score(product, goal, case["price"], case["options"], *bought)
        return
    parts = score(product, goal, case["price"], case["options"], *bought)._asdict()
    assert {name: part for name, part in parts.items() if part is not None} == case["expected"]


@pytest.mark.parametrize("colors", _params(_holding("normalize_color")))
def test_colours_are_reduced_alike(colors: dict[str, str]) -> None:
    assert {text: normalize_color(text) for text in colors} == colors


@pytest.mark.parametrize("actions", _params(_holding("parse_action")))
def test_actions_are_parsed_alike(actions: dict[str, list[str]]) -> None:
    assert {action: list(parse_action(action)) for action in actions} == actions


@pytest.mark.parametrize("ratios", _params(_holding("token_set_ratio")))
def test_fuzzy_scores_decide_alike(ratios: list[Any]) -> None:
    assert [_close(a, b) for a, b, _ in ratios] == [ratio > 85 for *_, ratio in ratios]


@pytest.mark.parametrize("episode", _params(_transcripts()))
def test_a_recorded_episode_is_answered_byte_for_byte(episode: dict[str, Any], catalogue: Catalogue) -> None:
    config, mode = episode["config"], episode["config"]["observation_mode"]
    count = config.get("num_products") or len(catalogue)
    shop = catalogue if count >= len(catalogue) else Catalogue(catalogue.products[:count], catalogue.nouns)
    kind: Kind = "human" if config.get("human_goals") else "synthetic"
    most = len(episode["steps"]) + 1
    env, address = (
        WebshopEnv(shop, most, m, kind=kind, goal_seed=config["seed"], as_original=True) for m in (mode, "url")
    )
    for one in (env, address):  # the recorded random products were drawn after this seed
        text, info = one.reset(seed=99, options={"goal": episode["session"]})
        if one is env:
            assert text == episode["initial_observation"]
            assert env.available_actions() == episode["initial_available_actions"]
    for number, step in enumerate(episode["steps"]):
        where = f"step {number}, {step['action']!r}"
        if "raises" in step:
            with pytest.raises(ActreError, match="original"):
                env.step(step["action"])
            return
        text, reward, terminated, truncated, info = env.step(step["action"])
        assert text == step["observation"], where
        assert env.available_actions() == step["available_actions"], where
        assert (reward, terminated, truncated) == (step["reward"], step["done"], False), where
        assert address.step(step["action"])[0] == step["url"], where
        if "verbose_info" in step:
            assert {k: v for k, v in info["parts"].items() if k in step["verbose_info"]} == step["verbose_info"], where
            assert info["score"] == reward
        if terminated:  # the original can be played on after a purchase
            env.restore(replace(env.snapshot(), over=False))
            address.restore(replace(address.snapshot(), over=False))


@pytest.mark.parametrize("recorded", _params((n, h) for n, h in _files() if "limit_goals_50" in h))
def test_goals_drawn_by_weight_are_those_the_original_draws(recorded: dict[str, Any], catalogue: Catalogue) -> None:
    goals = Goals(catalogue, "synthetic", seed=0).goals
    rng = random.Random(233)
    rng.shuffle(list(goals))  # the original draws on with the generator that shuffled
    kept: list[int] = []
    while len(kept) < len(recorded["limit_goals_50"]):
        if (number := draw(goals, rng)) not in kept:
            kept.append(number)
    assert [goals[number].instruction for number in kept] == recorded["limit_goals_50"]
    rng = random.Random(1)
    session = "".join(rng.choices(string.ascii_lowercase, k=10))
    told = {"session": session, "instruction": f"Instruction: {goals[draw(goals, rng)].instruction}"}
    assert told == recorded["reset_none_after_seed1"]
    beauty = [goal.instruction for goal in goals if goal.category == "beauty"]
    assert (len(beauty), beauty[:5]) == (recorded["filter_beauty_count"], recorded["filter_beauty_first5"])


@pytest.mark.parametrize(("kind", "wanted"), [("synthetic", 458), ("human", 0)])
def test_as_many_goals_as_measured_are_out_of_reach(kind: Kind, wanted: int, catalogue: Catalogue) -> None:
    goals = Goals(catalogue, kind, seed=0)
    assert len(goals) - len(attainable(goals)) == wanted


def _as_recorded(goal: Goal, kind: Kind) -> dict[str, Any]:
    options: Any = goal.options
    return {
        "asin": goal.asin,
        "instruction_text": goal.instruction,
        "attributes": list(goal.attributes),
        "price_upper": goal.price_upper,
        "goal_options": dict(options) if kind == "synthetic" else list(options),
        "weight": goal.weight,
    }


def _inline(given: dict[str, Any]) -> Product:
    assert given["name"] == given["Title"]
    return Product(
        asin=given["asin"],
        name=given["name"],
        description=given["Description"],
        bullets=tuple(given["BulletPoints"]),
        pricing=(),
        price_tag="",
        options={},
        attributes=tuple(given["Attributes"]),
        image="",
        category="",
        query=given["query"],
        product_category=given["product_category"],
    )
