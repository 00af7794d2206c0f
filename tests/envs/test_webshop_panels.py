"""Panels: what the two splits promise, what their overlaps are, and names that say what is wrong with them."""

import os
from collections import Counter
from pathlib import Path

import pytest

from actre.config import data_folder
from actre.envs.webshop import panels
from actre.envs.webshop.catalogue import Catalogue
from actre.envs.webshop.goals import Goals, goals_of
from actre.envs.webshop.panels import BY_PRODUCT, PAPER, find_goal, list_goals, numbers, parse_panel, split_by_product
from actre.envs.webshop.reward import ceiling
from actre.types import ActreError

SHARED = Path(os.environ.get("ACTRE_SHARED", Path(__file__).parents[3] / "shared")) / "webshop"


@pytest.fixture(scope="module")
def goals() -> Goals:
    return goals_of(panels.shop_catalogue("shop"))


def of(name: str) -> tuple[int, ...]:
    return numbers(parse_panel(name))


def test_parts_of_a_split_share_no_goal_and_make_up_the_whole(goals: Goals) -> None:
    for parts in (BY_PRODUCT, PAPER):
        counts = Counter(n for part in parts for n in of(f"shop/{part}+all"))
        assert counts == dict.fromkeys(range(len(goals)), 1)


def test_no_product_of_an_unseen_goal_is_in_train_and_every_seen_ones_is(goals: Goals) -> None:
    products = {part: {goals[n].asin for n in of(f"shop/{part}+all")} for part in BY_PRODUCT}
    assert products["unseen"].isdisjoint(products["train"] | products["seen"])
    assert products["seen"] <= products["train"]
    assert 0.15 < len(products["unseen"]) / sum(len(products[p]) for p in ("train", "unseen")) < 0.35
    assert min(len(of(f"shop/{part}")) for part in BY_PRODUCT) >= 100


def test_the_same_product_falls_on_the_same_side_whatever_else_is_sold(goals: Goals) -> None:
    some = goals.goals[::3]
    whole, part = split_by_product(goals.goals), split_by_product(some)
    unseen = {goals[n].asin for n in whole["unseen"]}
    assert {some[n].asin for n in part["unseen"]} == unseen & {g.asin for g in some}


def test_people_s_instructions_are_split_by_the_same_products(goals: Goals) -> None:
    human = goals_of(panels.shop_catalogue("shop"), "human")
    unseen = {human[n].asin for n in of("shop/human-unseen+all")}
    assert unseen
    assert unseen.isdisjoint(goals[n].asin for n in of("shop/train+all"))


def test_default_panels_hold_reachable_goals_only_and_the_switch_keeps_the_others(goals: Goals) -> None:
    kept, all_ = of("shop/train"), of("shop/train+all")
    dropped = set(all_) - set(kept)
    assert dropped
    assert all(ceiling(goals, goals[n]) < 1 for n in dropped)
    assert all(ceiling(goals, goals[n]) == 1 for n in kept)
    assert any(ceiling(goals, goals[n]) < 1 for n in of("shop/paper-dev"))


def test_the_paper_s_split_is_by_number() -> None:
    assert of("shop/paper-test") == tuple(range(500))
    assert of("shop/paper-dev") == tuple(range(500, 1500))


def test_games_name_their_goal_and_come_in_order() -> None:
    games = list_goals("shop/unseen")
    found = [find_goal(game) for game in games]
    assert [number for _, number in found] == sorted(of("shop/unseen"))
    assert {str(name) for name, _ in found} == {"shop/unseen"}
    assert str(find_goal("a/b c/human-paper-test+all#7")[0]) == "a/b c/human-paper-test+all"


def test_overlap_counts_products_wares_and_wishes_by_hand() -> None:
    class Wish:
        def __init__(self, asin: str, query: str, options: str) -> None:
            self.asin, self.query, self.options = asin, query, (options,)

    wishes = [Wish("a", "x", "1"), Wish("a", "x", "2"), Wish("b", "x", "1"), Wish("c", "y", "1"), Wish("a", "x", "1")]
    assert panels.overlap(wishes, [0], [1, 2, 3, 4]) == panels.Overlap(4, 2, 3, 1)  # type: ignore[arg-type]


def test_the_report_shows_the_leak_of_the_paper_s_split_and_none_by_product() -> None:
    rows = {row.name: row for row in panels.report("shop")}
    assert rows["shop/unseen"].overlap is not None
    assert rows["shop/unseen"].overlap.product == 0
    assert rows["shop/seen"].overlap is not None
    assert rows["shop/seen"].overlap.product_share == 1
    assert rows["shop/paper-test"].overlap is not None
    assert rows["shop/paper-test"].overlap.product_share > 0.5
    assert rows["shop/train"].overlap is None
    assert all(row.attainable <= row.goals and row.ceiling <= 1 for row in rows.values())


def test_the_small_set_s_published_split_leaks_as_the_facts_say(small_set: Path) -> None:
    rows = {row.name.rpartition("/")[2]: row for row in panels.report(str(small_set))}
    found = rows["paper-test"].overlap
    assert found is not None
    assert (found.goals, found.product) == (500, 479)  # 95.8 %
    assert sum(rows[part].goals for part in PAPER) == 6910
    assert sum(rows[part].attainable for part in PAPER) == 6910 - 458


def test_wrong_names_say_what_there_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ActreError, match="did you mean 'shop/unseen'"):
        list_goals("shop/unsen")
    for bad in ("unseen", "shop", "shop/", "/unseen", "shop/human", "shop/+all"):
        with pytest.raises(ActreError, match="parts are"):
            parse_panel(bad)
    for bad in ("shop/unseen", "shop/unseen#", "shop/unseen#-1", "7"):
        with pytest.raises(ActreError, match="shop/unseen#12"):
            find_goal(bad)
    monkeypatch.delenv("WEBSHOP_DATA", raising=False)
    with pytest.raises(ActreError, match="WEBSHOP_DATA"):
        list_goals("official/unseen")
    monkeypatch.setenv("WEBSHOP_DATA", str(data_folder() / "webshop"))
    assert list_goals("official/seen") == [game.replace("shop", "official") for game in list_goals("shop/seen")]
    with pytest.raises(ActreError, match="not a folder"):
        list_goals(f"{tmp_path}/nowhere/unseen")


def test_an_empty_part_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ActreError, match="too few"):
        list_goals("shop/human-paper-train")


def test_one_catalogue_serves_every_panel_of_a_shop() -> None:
    assert isinstance(panels.shop_catalogue("shop"), Catalogue)
    assert panels.shop_catalogue("shop") is panels.shop_catalogue(str(data_folder() / "webshop"))
