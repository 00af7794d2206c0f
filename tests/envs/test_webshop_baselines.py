"""The two shoppers without a model: what they click, and that they fare as they did on the original."""

import os
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from actre.config import EnvConfig
from actre.config.presets import preset
from actre.envs.webshop.baselines import names, random_clicks, rule
from actre.envs.webshop.panel_env import PanelEnv
from actre.envs.webshop.panels import list_goals
from actre.rollout.evaluate import BASELINES, EpisodeResult, play_baseline
from actre.stats import wilson
from actre.types import ActreError

SHARED = Path(os.environ.get("ACTRE_SHARED", Path(__file__).parents[3] / "shared")) / "webshop"
ITEM = ["click[back to search]", "click[< prev]", "click[description]", "click[features]", "click[reviews]"]


def info(*commands: str, task: str = "Find me socks with color: black, and size: 9") -> dict[str, Any]:
    return {"admissible_commands": list(commands), "task": task}


# --- the shoppers ---


def test_the_rule_searches_opens_the_first_hit_takes_what_is_named_once_and_buys() -> None:
    act = rule()
    assert act("", info("search[<query>]")) == "search[Find me socks with color: black, and size: 9]"
    assert act("", info("click[back to search]", "click[next >]", "click[b01]", "click[b02]")) == "click[b01]"
    page = info(*ITEM, "click[buy now]", "click[white]", "click[black]", "click[9]", "click[19]")
    assert [act("", page) for _ in range(3)] == ["click[black]", "click[9]", "click[buy now]"]


def test_the_rule_searches_again_where_there_is_no_hit() -> None:
    assert rule()("", info("click[back to search]", "click[next >]")).startswith("search[")


@pytest.mark.parametrize(
    ("value", "found"),
    [("x-large", True), ("large", False), ("black", True), ("blac", False), ("5.5", True), ("(pack of 2)", True)],
)
def test_an_option_is_named_by_whole_words(value: str, found: bool) -> None:
    assert names("with color: Black, and size: x-large, and width: 5.5, and pack: (pack of 2)", value) is found


def test_random_clicks_use_everything_the_page_offers_and_search_only_where_they_must() -> None:
    act = random_clicks(random.Random(0))
    page = info(*ITEM, "click[buy now]")
    assert {act("", page) for _ in range(200)} == set(page["admissible_commands"])
    assert act("", info("search[<query>]", task="a b")) == "search[a b]"


@pytest.mark.parametrize("which", BASELINES)
def test_a_baseline_plays_each_game_alike_whatever_was_played_before(which: Any) -> None:
    config = preset("tiny", "webshop")

    def play(limit: int, seed: int = 0) -> list[EpisodeResult]:
        limited = replace(config, evaluation=replace(config.evaluation, limit=limit))
        return play_baseline(which, "unseen", config=limited, seed=seed)

    played = play(12)
    assert [one.game for one in played] == list_goals("shop/unseen")[:12]
    assert play(6) == played[:6]
    assert all(0 <= one.env_return <= 1 and one.won == (one.env_return == 1) for one in played)
    assert (play(12, seed=1) == played) is (which == "rule")


def success(played: list[EpisodeResult]) -> float:
    return sum(one.won for one in played) / len(played)


def score(played: list[EpisodeResult]) -> float:
    return sum(one.env_return for one in played) / len(played)


def test_on_the_real_small_set_both_fare_as_they_did_on_the_original(small_set: Path) -> None:
    parts = ("paper-test", "paper-dev", "paper-train")
    config = replace(preset("tiny"), env=EnvConfig("webshop", f"{small_set}/paper-test", max_steps=15))

    def play(which: Any, parts: tuple[str, ...]) -> list[EpisodeResult]:
        panels = [f"{small_set}/{part}" for part in parts]
        return [result for panel in panels for result in play_baseline(which, panel, config=config, seed=0)]

    # the original's figures are over 1,500 of the 6,910 goals: success, and score with two standard errors of it
    of_rule = play("rule", parts)
    assert len(of_rule) == 6910
    original = wilson(round(0.513 * 1500), 1500)
    assert original.low < success(of_rule) < original.high
    assert abs(score(of_rule) - 0.787) < 0.016
    of_random = play("random", parts[:2])
    ours, original = wilson(round(success(of_random) * 1500), 1500), wilson(round(0.002 * 1500), 1500)
    assert max(ours.low, original.low) < min(ours.high, original.high)
    assert abs(score(of_random) - 0.106) < 0.012


# --- the environment that plays panels ---


def test_a_panels_environment_plays_the_game_that_is_named_and_says_which() -> None:
    games = list_goals("shop/unseen")
    env = PanelEnv("shop/train")
    _, told = env.reset(options={"game": games[3]})
    assert (told["game"], told["goal"]) == (games[3], int(games[3].partition("#")[2]))
    assert told["task_type"] in ("beauty", "electronics", "fashion", "garden", "grocery")
    *_, told = env.step(f"search[{told['task']}]")
    assert told["game"] == games[3]


def test_a_reset_without_a_game_draws_from_the_panel() -> None:
    env = PanelEnv("shop/seen")
    games = set(list_goals("shop/seen"))
    drawn = {env.reset(seed=seed)[1]["game"] for seed in range(20)}
    assert drawn <= games
    assert len(drawn) > 5


def test_a_game_of_another_shop_or_kind_is_refused(tmp_path: Path) -> None:
    env = PanelEnv("shop/train")
    for game in ("shop/human-unseen+all#1", f"{tmp_path}/train#1"):
        with pytest.raises(ActreError, match="make one with that panel"):
            env.reset(options={"game": game})
    with pytest.raises(ActreError, match="there is no goal"):
        env.reset(options={"game": "shop/train#99999"})
