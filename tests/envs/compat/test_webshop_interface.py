"""WebShop's own interface: the recorded vectors, sessions, and what it does where the original cannot."""

import json
import random
from pathlib import Path
from typing import Any

import pytest
from hostile_actions import actions

from actre.envs.compat.sessions import Server
from actre.envs.compat.webshop import WebAgentTextEnv
from actre.envs.webshop import Catalogue, read_catalogue
from actre.types import ActreError


@pytest.fixture(scope="module")
def vectors(shared: Path) -> Path:
    return shared / "webshop" / "vectors"


@pytest.fixture(scope="module")
def server(shared: Path, vectors: Path) -> Server:
    """The shop on which the vectors were recorded."""
    nouns = json.loads((vectors / "small_vectors.json").read_text())["name_nouns"]
    return Server(Catalogue(read_catalogue(shared / "webshop").products, nouns))


def test_recorded_episodes_are_answered_byte_for_byte(vectors: Path, server: Server) -> None:
    played = 0
    for episode in json.loads((vectors / "transcripts.json").read_text())["transcripts"]:
        config, goal = episode["config"], episode["session"]
        if config["observation_mode"] == "html" or any("raises" in step for step in episode["steps"]):
            continue
        ours = Server(server.shop, human_goals=True) if config["human_goals"] else server
        env = WebAgentTextEnv(config["observation_mode"], server=ours, as_original=True)
        assert env.reset(session=goal) == (episode["initial_observation"], None), episode["name"]
        assert env.get_available_actions() == episode["initial_available_actions"]
        assert env.instruction_text == episode["instruction_text"]
        env._env._random.seed(99)  # the recorded random products were drawn after this seed
        for number, step in enumerate(episode["steps"]):
            where = f"{episode['name']}, step {number}: {step['action']!r}"
            assert env.step(step["action"]) == (step["observation"], step["reward"], step["done"], None), where
            assert env.get_available_actions() == step["available_actions"], where
        played += 1
    assert played >= 10


def test_sessions_are_the_goals_that_the_original_gives_them(vectors: Path, server: Server) -> None:
    recorded = json.loads((vectors / "env_misc.json").read_text())
    env = WebAgentTextEnv(server=server)
    env.seed(1)
    env.reset()
    drawn = {"session": env.session, "instruction": env.get_instruction_text()}
    assert drawn == recorded["reset_none_after_seed1"]
    env.reset("a-name")
    first = env.get_instruction_text()
    env.reset(3)
    env.reset("a-name")
    assert env.get_instruction_text() == first  # recorded: named_session.second_same
    chosen = WebAgentTextEnv(server=Server(server.shop, keep=lambda _, goal: goal["category"] == "beauty"))
    assert len(chosen.server.goals) == recorded["filter_beauty_count"]
    chosen.reset(0)
    assert chosen.get_instruction_text() == f"Instruction: {recorded['filter_beauty_first5'][0]}"


def test_a_drawn_session_is_not_held_once_it_is_over() -> None:
    env = WebAgentTextEnv()
    for _ in range(50):
        env.reset()
    assert len(env.server.user_sessions) == 1


def test_seeds_reproduce_and_differ() -> None:
    def drawn(seed: int) -> list[str]:
        env = WebAgentTextEnv(seed=seed)
        return [env.reset()[0] for _ in range(3)]

    assert drawn(4) == drawn(4) != drawn(5)


def test_what_a_purchase_paid_is_kept_with_the_session() -> None:
    env = WebAgentTextEnv()
    env.reset(7)
    goal = env.server.user_sessions["7"]["goal"]
    env.step(f"search[{goal['name']}]")
    env.step(f"click[{goal['asin'].lower()}]")
    for value in goal["goal_options"].values():
        env.step(f"click[{value}]")
    _, reward, done, _ = env.step("click[buy now]")
    assert (done, reward) == (True, 1.0)
    assert env.server.user_sessions["7"]["reward"] == 1.0
    text, reward, done, _ = env.step("search[more]")  # the original plays on
    assert (reward, done) == (0.0, False)
    assert "Page 1" in text


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"observation_mode": "html"}, "observation_mode is 'html'"),
        ({"num_prev_obs": 2}, "num_prev_obs: not here"),
        ({"limit_goals": 10}, "limit_goals: not here"),
        ({"session": 10**6}, "there is no goal 1000000"),
    ],
)
def test_what_is_not_here_is_named(given: dict[str, Any], said: str) -> None:
    with pytest.raises(ActreError, match=said):
        WebAgentTextEnv(**given)


def test_fewer_products_make_a_smaller_shop() -> None:
    small = WebAgentTextEnv(num_products=40).server
    assert len(small.shop) == 40
    assert 0 < len(small.goals) < len(WebAgentTextEnv().server.goals)


def test_ten_thousand_hostile_actions_raise_nothing() -> None:
    env = WebAgentTextEnv()
    rng = random.Random(0)
    for number, action in enumerate(actions(10_000)):
        if number % 100 == 0:
            env.reset(rng.randrange(len(env.server.goals)))
        env.step(action)
