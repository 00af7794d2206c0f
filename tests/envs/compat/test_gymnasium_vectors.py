"""gymnasium's own vectors of the worlds: sync and async, seeds, spaces that serialise, thousands in one process."""

import pickle
import resource
from itertools import islice
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from hostile_actions import actions

from actre.envs.alfworld import AlfworldEnv, list_games
from actre.envs.spaces import LongText
from actre.envs.webshop import WebshopEnv
from actre.envs.webshop.panels import shop_catalogue

GIVEN: dict[str, dict[str, Any]] = {
    "actre/Alfworld-v0": {"games": list_games("small/unseen")[:6], "max_steps": 4},
    "actre/Webshop-v0": {"catalogue": shop_catalogue("shop"), "max_steps": 4},
}
STEPS = (["look", "search[chair]"], ["inventory", "click[next >]"], ["help", "x"], ["look", "look"], ["", ""])


def played(world: str, mode: str, seed: int) -> list[Any]:
    own = {"shared_memory": False} if mode == "async" else {}
    envs = gymnasium.make_vec(world, num_envs=2, vectorization_mode=mode, vector_kwargs=own, **GIVEN[world])
    texts, infos = envs.reset(seed=seed)
    found = [(texts, [list(commands) for commands in infos["admissible_commands"]])]
    for step in STEPS:  # the fifth is after the end, with which gymnasium starts the next game
        texts, rewards, won, cut, infos = envs.step(step)
        listed = [list(commands) for commands in infos["admissible_commands"]]
        found.append((texts, rewards.tolist(), won.tolist(), cut.tolist(), listed))
    envs.close()
    return found


@pytest.mark.parametrize("world", GIVEN)
def test_sync_and_async_answer_alike_and_seeds_reproduce(world: str) -> None:
    assert played(world, "sync", 5) == played(world, "async", 5)
    assert played(world, "sync", 5) != played(world, "sync", 6)


def test_a_purchase_in_one_of_several_shops_is_told_beside_the_others() -> None:
    envs = gymnasium.make_vec("actre/Webshop-v0", num_envs=2, **{**GIVEN["actre/Webshop-v0"], "max_steps": 9})
    _, infos = envs.reset(seed=0)
    *_, infos = envs.step([f"search[{infos['task'][0]}]", "look"])
    envs.step([infos["admissible_commands"][0][-1], "look"])
    *_, bought, _, infos = envs.step(["click[buy now]", "look"])
    assert bought.tolist() == [True, False]
    assert infos["parts"]["_r_type"].tolist() == [True, False]
    envs.close()


@pytest.mark.parametrize("world", GIVEN)
def test_shared_memory_which_garbles_texts_is_refused_with_the_way_out(world: str) -> None:
    with pytest.raises(ValueError, match="shared_memory=False"):
        gymnasium.make_vec(world, num_envs=2, vectorization_mode="async", **GIVEN[world])


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("world", GIVEN)
def test_gymnasiums_checker_passes(world: str) -> None:
    check_env(gymnasium.make(world, **GIVEN[world]).unwrapped)


@pytest.mark.parametrize("env", [AlfworldEnv(), WebshopEnv(shop_catalogue("shop"))], ids=lambda env: type(env).__name__)
def test_spaces_serialise_and_share_their_tables_but_not_their_seed(env: Any) -> None:
    for space in (env.observation_space, env.action_space):
        assert isinstance(space, LongText)
        assert pickle.loads(pickle.dumps(space)) == space
        twin = space.another()
        space.seed(3)
        twin.seed(3)
        drawn = space.sample()
        assert (twin, twin.sample()) == (space, drawn)
        assert twin._char_index is space._char_index


def test_a_thousand_environments_fit_in_one_process() -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    envs = gymnasium.make_vec("actre/Alfworld-v0", num_envs=1000, **GIVEN["actre/Alfworld-v0"])
    envs.reset(seed=0)
    _, rewards, *_ = envs.step(["look"] * 1000)
    assert np.all(rewards == 0)
    # 30 MB; the peak of this process may be far above what it holds now, which makes this test easier, never harder
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024 < 100
    envs.close()


@pytest.mark.parametrize("world", GIVEN)
def test_ten_thousand_hostile_texts_raise_nothing(world: str) -> None:
    envs = gymnasium.make_vec(world, num_envs=4, **GIVEN[world])
    envs.reset(seed=0)
    hostile = (action if isinstance(action, str) else repr(action) for action in actions(10_000))
    while batch := list(islice(hostile, 4)):
        envs.step(batch)
    envs.close()
