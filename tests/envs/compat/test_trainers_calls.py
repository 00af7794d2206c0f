"""What verl-agent, RAGEN, TRL and other trainers call, called as they do, without their packages."""

import json
import os
import subprocess
import sys
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from hostile_actions import actions

from actre.envs.alfworld import list_games
from actre.envs.compat import ragen
from actre.envs.compat.episode import OVER, Episode
from actre.envs.compat.sessions import Server
from actre.envs.compat.tools import AlfworldTools, WebshopTools, tool_rows
from actre.envs.compat.verl_agent import build_alfworld_envs, build_webshop_envs
from actre.envs.webshop import Catalogue, read_catalogue
from actre.envs.worlds import scripted
from actre.types import ActreError, Observation

SPLITS = {"data_path": "small/train", "eval_id_data_path": "small/seen", "eval_ood_data_path": "small/unseen"}
CONFIG = {
    "dataset": SPLITS,
    "env": {"task_types": [1, 2, 3, 4, 5, 6], "domain_randomization": False},
    "general": {"training_method": "dqn"},
    "rl": {"training": {"max_nb_steps_per_episode": 50}},
}


# --- verl-agent ---


def test_a_group_plays_one_game_and_a_win_pays_ten() -> None:
    envs = build_alfworld_envs(CONFIG, seed=3, env_num=3, group_n=2, is_train=False, env_kwargs={"distinct": True})
    texts, images, infos = envs.reset()
    games = [info["extra.gamefile"] for info in infos]
    assert images is None
    assert games[::2] == games[1::2]
    assert len(set(games)) == 3
    assert envs.get_admissible_commands == [info["admissible_commands"] for info in infos]
    players = [
        scripted("alfworld", "expert", Observation(text, "", ()), 0, game)
        for text, game in zip(texts, games, strict=True)
    ]
    paid, over = [0.0] * 6, [False] * 6
    for _ in range(50):
        chosen = [
            play(Observation(text, "", tuple(info["admissible_commands"])))
            for play, text, info in zip(players, texts, infos, strict=True)
        ]
        texts, images, rewards, dones, infos = envs.step(chosen)
        paid = [max(pair) for pair in zip(paid, rewards, strict=True)]
        over = [a or b for a, b in zip(over, dones, strict=True)]
        if all(over):
            break
    assert all(over)
    assert paid.count(10.0) >= 4
    assert set(paid) <= {0.0, 10.0}


def test_distinct_games_cover_the_split_before_one_comes_again() -> None:
    envs = build_alfworld_envs(CONFIG, 0, env_num=6, group_n=1, is_train=False, env_kwargs={"distinct": True})
    games = [info["extra.gamefile"] for _ in range(10) for info in envs.reset()[2]]
    assert sorted(games) == sorted(list_games("small/seen"))


def test_the_recorded_shopping_of_verl_agent_is_answered_alike(shared: Path) -> None:
    vectors = shared / "webshop" / "vectors"
    nouns = json.loads((vectors / "small_vectors.json").read_text())["name_nouns"]
    shop = Catalogue(read_catalogue(shared / "webshop").products, nouns)
    (episode,) = json.loads((vectors / "verl_agent.json").read_text())["episodes"]
    for group in (0, 1):  # there each group's worker has its own seed, and so its own prices and order of goals
        server, slots = Server(shop, seed=group), slice(2 * group, 2 * group + 2)
        envs = build_webshop_envs(0, env_num=1, group_n=2, env_kwargs={"server": server})
        task = episode["tasks"][2 * group]
        goal = next(n for n, goal in enumerate(server.goals) if goal["instruction_text"] == task)
        texts, infos = envs.start([goal, goal])
        assert infos == episode["reset"]["infos"][slots]
        assert [anchor(text, task) for text in texts] == episode["reset"]["anchor"][slots]
        over = False
        for step in episode["steps"]:
            texts, rewards, dones, infos = envs.step([projected(reply) for reply in step["actions"][slots]])
            assert rewards == step["rewards"][slots]
            assert dones == step["dones"][slots]
            over = over or any(dones)
            for text, info, wanted, seen in zip(texts, infos, step["infos"][slots], step["anchor"][slots], strict=True):
                assert info["task_score"] == wanted["task_score"]
                assert info["won"] is wanted["won"]
                if not over:  # after a purchase verl-agent shows another goal's first page
                    assert info["available_actions"] == wanted["available_actions"]
                    assert anchor(text, task) == seen
            if over:
                break
        assert over


def projected(reply: str) -> str:
    """verl-agent's webshop_projection, in short: the first action in lower case, else the last 20 characters."""
    reply = reply.lower()
    if "<action>" not in reply or "</action>" not in reply:
        return reply[-20:]
    return reply.partition("<action>")[2].partition("</action>")[0].strip()


def anchor(text: str, task: str) -> str:
    """verl-agent's format_obs: the page's parts after the instruction, in quotes."""
    parts = text.split(" [SEP] ")
    after = parts[parts.index(task) + 1 :] if task in parts else parts
    return " [SEP] ".join(f"'{part}'" for part in after)


def test_goals_are_drawn_without_repetition_from_the_published_split() -> None:
    train, test = (build_webshop_envs(5, env_num=8, group_n=2, is_train=is_train) for is_train in (True, False))
    train.reset()
    test.reset()
    for envs, low, high in ((train, 500, 1926), (test, 0, 500)):
        sessions = [int(worker.session) for worker in envs._workers]
        assert sessions[::2] == sessions[1::2]
        assert len(set(sessions)) == 8
        assert all(low <= session < high for session in sessions)


def test_as_many_actions_as_slots_are_asked_for() -> None:
    for envs in (build_alfworld_envs(CONFIG, 0, 2, 1), build_webshop_envs(0, 2, 1)):
        envs.reset()
        with pytest.raises(ActreError, match="1 actions or goals for 2 slots"):
            envs.step(["look"])


# --- RAGEN ---


@pytest.mark.parametrize(
    ("make", "first"),
    [
        (lambda: ragen.AlfworldEnv(ragen.AlfworldConfig("small/train", "small/seen", "small/unseen", 5)), "-= Welcome"),
        (lambda: ragen.WebshopEnv(), "WebShop [SEP] Instruction: "),
    ],
    ids=["alfworld", "webshop"],
)
def test_ragens_manager_can_play(make: Any, first: str) -> None:
    group = [make() for _ in range(3)]
    for mode, seed in (("train", 123), ("val", 124), ("test", 10**6)):
        for env in group:
            env.reset(seed=seed, mode=mode)
        shown = [env.render() for env in group]
        assert shown[0].startswith(first)
        assert len(set(shown)) == 1
        assert getattr(group[0].config, "action_lookup", None) is None
        done, steps = False, 0
        while not done and steps < 20:
            text, reward, done, info = group[0].step("look")
            steps += 1
            assert text == group[0].render()
            assert {k: float(v) for k, v in info.items()}.keys() == {
                "action_is_effective",
                "action_is_valid",
                "success",
            }
        assert reward == 0.0
    assert group[1].reset(seed=7, mode="train") != group[1].reset(seed=8, mode="train")
    group[0].close()


# --- tools and conversations ---


def test_tools_are_what_trl_expects_of_an_environment() -> None:
    rows = tool_rows("webshop", "shop/unseen")
    assert len({row["game"] for row in rows}) == len(rows) == 472
    shop = WebshopTools()
    assert "Actions: search[<query>]" in shop.reset(**rows[0])
    assert "Total results" in shop.search("chair")
    assert "Instruction" in shop.click("next >")
    assert shop.get_reward() == 0.0
    house = AlfworldTools()
    assert house.reset(**tool_rows("alfworld")[4]) == house.reset(**tool_rows("alfworld")[4])
    assert house.act("look").startswith("You are in the middle of a room.")


def test_an_episode_ends_with_its_reward_and_then_changes_no_more() -> None:
    play = Episode("webshop", "shop/train", 3)
    play.start(0)
    play.act("search[table]")
    play.act("look")
    assert play.act("look").endswith(OVER)
    assert (play.over, play.won, play.reward, play.steps) == (True, False, 0.0, 3)
    assert play.act("look") == OVER
    assert play.start() != play.start()


@pytest.mark.parametrize("world", ["verl-alfworld", "verl-webshop", "ragen-alfworld", "ragen-webshop", "tools"])
def test_ten_thousand_hostile_actions_raise_nothing(world: str) -> None:
    number = 10_000
    if world.startswith("verl"):
        envs = build_alfworld_envs(CONFIG, 0, 4, 1) if "alf" in world else build_webshop_envs(0, 4, 1)
        hostile = actions(number)
        for turn, batch in enumerate(iter(lambda: list(islice(hostile, 4)), [])):
            if turn % 45 == 0:
                envs.reset()
            envs.step(batch)
        return
    single: Any = Episode("alfworld", "small/train")
    if world.startswith("ragen"):
        single = ragen.AlfworldEnv(ragen.AlfworldConfig(train="small/train")) if "alf" in world else ragen.WebshopEnv()
    for turn, action in enumerate(actions(number)):
        if turn % 50 == 0:
            single.start(turn) if world == "tools" else single.reset(seed=turn)
        single.act(action) if world == "tools" else single.step(action)


# --- the game cache ---


def test_two_processes_share_the_game_cache_safely(tmp_path: Path) -> None:
    code = """
import os, random, sys
from actre.envs.alfworld import cache, list_games
from actre.envs.compat.batch import Batch
cache.LIMIT_BYTES, cache._PRUNE_EVERY = 20_000, 1  # each also deletes what the other has just written
games = list_games("small/seen")[:3]
for turn in range(2):
    from actre.envs.alfworld import engine
    engine._compiled.clear()
    random.Random(sys.argv[1]).shuffle(games)
    env = Batch(games, 3, order="once")
    texts, infos = env.reset()
    print(sorted(texts), sorted(map(len, infos["admissible_commands"])), sorted(map(str, env.step(["look"] * 3)[0])))
"""
    command = [sys.executable, "-c", code]
    env = {**os.environ, "ACTRE_CACHE": str(tmp_path)}
    both = [subprocess.Popen([*command, str(k)], stdout=subprocess.PIPE, text=True, env=env) for k in range(2)]
    said = [process.communicate(timeout=300)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert said[0] == said[1] != ""
