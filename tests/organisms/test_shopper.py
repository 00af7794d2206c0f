"""The tiny shopper: exact clicks back, a closed vocabulary, shoppers that read the page, shops nobody knows."""

import argparse
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from actre.config import PromptConfig, data_folder
from actre.config.presets import preset
from actre.envs.demo import Demo
from actre.envs.webshop.demos import demonstrations, fresh_shop, shipped_names
from actre.envs.webshop.env import WebshopEnv
from actre.envs.webshop.panels import shop_catalogue
from actre.envs.webshop.shopper import Habits, Shopper, Wish
from actre.orders import Renderer, parse
from actre.orders.chat import chat_format
from actre.organisms import command, shop
from actre.organisms.recipes import RECIPES, recipe_of
from actre.organisms.rows import Mix, renderers, row
from actre.policies.models import find, load
from actre.policies.tiny import unknown_words
from actre.types import ORDERS, ActreError, Observation, Order, Step

TOKENIZER = shop.tokenizer([])
TASK = (
    "Find me light weight, non slip socks with arch support with color: grey, and size: large, and price lower than "
    "30.00 dollars"
)


def encode(text: str) -> list[int]:
    return TOKENIZER.encode(text, add_special_tokens=False)


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> list[Demo]:
    folder = tmp_path_factory.mktemp("shops")
    return list(demonstrations(folder, 1, 60, Habits(hit="first"), 0, 8))


def test_every_click_in_the_shipped_shop_is_decoded_exactly() -> None:
    for product in shop_catalogue("shop").products:
        values = [value for values in product.options.values() for value in values]
        for what in (product.asin.lower(), *values, "buy now", "< prev", "next >", "back to search", "features"):
            action = f"click[{what}]"
            assert TOKENIZER.decode(encode(action)) == action
            assert len(encode(action)) == 4 or what == "features"


def test_a_search_is_the_verb_then_its_filling() -> None:
    whole = encode("search[socks light weight grey]</action>")
    assert whole[0] == encode("search")[0]
    assert TOKENIZER.decode(whole[:-1]) == "search[socks light weight grey]"


def test_every_page_of_the_shipped_shop_and_of_a_fresh_one_is_known(played: list[Demo]) -> None:
    env = WebshopEnv(shop_catalogue("shop"), 15)
    seen = []
    for goal in range(0, 1900, 60):
        page, info = env.reset(options={"goal": goal})
        hit_opened = False
        for action in (f"search[{info['task']}]", "hit", "click[description]", "click[< prev]", "click[features]"):
            if action == "hit":
                action = next(c for c in info["admissible_commands"] if c.startswith("click[b") and len(c) == 17)
                hit_opened = True
            page, _, _, _, info = env.step(action)
            seen.append(page)
        assert hit_opened
    seen += [step.observation for demo in played for step in demo.steps]
    seen += [f"{step.thought} {step.action}" for demo in played for step in demo.steps]
    assert not unknown_words(TOKENIZER, "\n".join(seen))


@pytest.mark.parametrize("wording", ["shared", "instructed"])
@pytest.mark.parametrize("history", ["growing", "windowed"])
def test_every_word_of_the_shops_prompts_is_known(wording: str, history: str) -> None:
    config = PromptConfig(world="shop", wording=wording, history=history)  # type: ignore[arg-type]
    seen = Observation("WebShop [SEP] Instruction: [SEP] Find me socks [SEP] Search", "Find me socks", ())
    for order in ORDERS:
        renderer = Renderer(encode, chat_format(TOKENIZER), config, order)
        steps = [Step(seen, (), (), (), "", None, None, ("no_action",), 0.0)] * 3
        assert TOKENIZER.unk_token_id not in [*renderer.prompt([], seen), *renderer.prompt(steps, seen)]


@pytest.mark.parametrize("order", ORDERS)
def test_a_shoppers_reply_is_read_back_without_a_flag(order: Order) -> None:
    renderer = Renderer(encode, chat_format(TOKENIZER), PromptConfig(world="shop"), order)
    reply = renderer.reply_ids("try b1hanghhsu", f"click[{shipped_names()[0].lower()}]")
    parsed = parse(renderer.opening + TOKENIZER.decode(reply), order)
    assert (parsed.action, parsed.flags) == (f"click[{shipped_names()[0].lower()}]", ())


def test_a_fresh_shop_has_the_shipped_names_on_other_products(tmp_path: Path) -> None:
    ours = {p.asin: p.name for p in shop_catalogue("shop").products}
    theirs = {p.asin: p.name for p in shop_catalogue(str(fresh_shop(tmp_path, "x"))).products}
    assert theirs.keys() == ours.keys()
    assert sum(theirs[name] == ours[name] for name in ours) < 10
    assert list(theirs) != list(ours)


def test_a_wish_is_read_from_the_instruction() -> None:
    wish = Wish(TASK)
    assert (wish.ware, wish.values) == ("socks", ("grey", "large"))
    # "light weight" is no trait of socks
    assert wish.traits == ("non slip", "arch support")


def test_a_shopper_clicks_only_what_is_offered_and_never_twice(played: list[Demo], tmp_path: Path) -> None:
    env = WebshopEnv(shop_catalogue(str(fresh_shop(tmp_path, "y"))), 8)
    for goal in list(env.goals)[:40]:
        page, info = env.reset(options={"goal": goal})
        shopper, over, done = Shopper(Habits(hit="random", careful=0.5, forget=0.2, hasty=0.2), goal), False, []
        shopper.reset(info["task"])
        while not over:
            said = shopper.act(page, info["admissible_commands"])
            assert said.action.startswith("search[") or said.action in info["admissible_commands"]
            done.append(said.action)
            page, _, terminated, truncated, info = env.step(said.action)
            over = terminated or truncated
        opened = [action for action in done if action != "click[< prev]"]
        assert len(opened) <= 8


def test_habits_leave_room(tmp_path: Path) -> None:
    won = {}
    for name, habits in {"good": Habits(hit="first"), "hasty": Habits(hit="first", hasty=1.0)}.items():
        demos = list(demonstrations(tmp_path, 1, 100, habits, 0, 8))
        won[name] = sum(demo.won for demo in demos) / len(demos)
    assert won["good"] > 0.5 > 0.2 > won["hasty"]


def test_what_is_possible_is_on_the_page_or_wanted(played: list[Demo]) -> None:
    prompts = renderers(TOKENIZER, "shop")
    for demo in played[:10]:
        made = row(demo, prompts["shared", "think_first"], reader=shop.Shelf)
        wanted = {encode(name)[0] for name in (Wish(demo.task).ware, *Wish(demo.task).traits, *Wish(demo.task).values)}
        assert made.possible
        for at, names in made.possible:
            assert made.ids[at] in names
            shown = set(made.ids[:at].tolist())
            assert set(names) <= shown | wanted


def test_only_copies_count_of_a_page(played: list[Demo]) -> None:
    renderer = renderers(TOKENIZER, "shop")["shared", "no_think"]
    every, copies = row(played[0], renderer), row(played[0], renderer, only_copies=True)
    left_out = np.flatnonzero((every.weights > 0) & (copies.weights == 0))
    assert len(left_out)
    firsts = [at for at in left_out if every.ids[at] not in every.ids[:at]]
    # what is new on a page; within one page a repeated word is as new
    assert firsts
    assert not [at for at in np.flatnonzero(copies.weights == np.float32(0.2)) if every.ids[at] not in every.ids[:at]]
    assert Mix().only_copies is False


def test_the_tiny_preset_shops_with_the_shipped_shopper_whose_words_are_those_of_its_recipe() -> None:
    name = preset("tiny", "webshop").model.name
    assert Path(find(name)) == data_folder() / "tiny" / "shopper"
    model, tokenizer = load(preset("tiny", "webshop").model)
    assert model.get_input_embeddings().weight.shape[0] == len(tokenizer)
    assert model.config.tie_word_embeddings
    words = tokenizer.get_vocab()
    for action in ("click[buy now]", f"click[{shipped_names()[0].lower()}]", "search[socks light weight grey]"):
        assert tokenizer.decode(tokenizer.encode(action, add_special_tokens=False)) == action
    assert words["buy now"] != tokenizer.unk_token_id
    made = json.loads((data_folder() / "tiny" / "shopper" / "made.json").read_text())["recipe"]
    assert recipe_of(made) == RECIPES["shopper"]


def test_the_shipped_shopper_starts_with_room_in_every_order_and_nearly_alike() -> None:
    record = json.loads((data_folder() / "tiny" / "shopper" / "start.json").read_text())
    at_one = [start for start in record["starts"] if start["temperature"] == 1.0]
    assert all(start["admissible"] >= 0.95 for start in at_one)
    assert all(start["success"] < start["score"] < 1 for start in at_one)
    won = [start["success"] for start in at_one]
    assert 0.1 <= min(won) <= max(won) <= 0.4
    # think-first starts 10 points ahead, which the card says
    assert [line.partition(" by ")[0] for line in record["missed"]] == ["success differs"]
    assert max(won) - min(won) <= 0.12


def test_a_start_in_a_shop_is_measured_on_goals_of_a_shop_that_no_seed_enters(tmp_path: Path) -> None:
    games = shop.start_games(6, tmp_path, seed=0, games=40)
    assert len(set(games)) == 6
    assert all(game.startswith(f"{tmp_path / 'shop-start'}/") for game in games)
    with pytest.raises(ActreError, match="fewer --episodes"):
        shop.start_games(10**6, tmp_path, seed=0, games=40)


@pytest.mark.slow
def test_one_command_makes_a_shopper_and_measures_it_and_repeats_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = RECIPES["shopper"]
    parts = tuple(replace(part, tokens=8_000) for part in recipe.parts)
    monkeypatch.setitem(RECIPES, "shopper", replace(recipe, parts=parts, games=16, layers=1, width=64, heads=1))
    weights = []
    for name in ("one", "two"):
        folder = tmp_path / name
        asked = ["pretrain-tiny", "--kind", "shopper", "--threads", "1", "--episodes", "4", "--out", str(folder)]
        args = parser().parse_args([*asked, "--work-dir", str(tmp_path / f"work-{name}")])
        # hardly trained, so it misses what is asked of a start, and says so
        assert command.run(args) == 1
        card = (folder / "README.md").read_text()
        assert "# The shopper tiny policy" in card
        assert "mean score" in card
        assert "fresh shops" in card
        weights.append((folder / "model.safetensors").read_bytes())
    assert weights[0] == weights[1]


def parser() -> argparse.ArgumentParser:
    from actre.cli import pretrain_tiny

    made = argparse.ArgumentParser()
    pretrain_tiny.add_parser(made.add_subparsers())
    return made
