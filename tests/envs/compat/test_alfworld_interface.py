"""alfworld's own interface: the recordings, the order of games, and what it does where the stock one cannot."""

import gzip
import json
import tarfile
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from game_files import OFFICIAL_NAME, write
from hostile_actions import actions

from actre.envs.alfworld import list_games
from actre.envs.compat.alfworld import AlfredTWEnv, get_environment
from actre.envs.compat.batch import Batch
from actre.types import ActreError

GAMES = list_games("small/unseen")[:4]
CONFIG: dict[str, Any] = {
    "dataset": {"data_path": "small/train", "eval_id_data_path": "small/seen", "eval_ood_data_path": "small/unseen"},
    "env": {"task_types": [1, 2, 3, 4, 5, 6], "domain_randomization": False, "expert_type": "handcoded"},
    "general": {"training_method": "dqn"},
    "rl": {"training": {"max_nb_steps_per_episode": 7}},
    "dagger": {"training": {"max_nb_steps_per_episode": 40}},
}


@pytest.fixture(scope="module")
def recorded(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> list[tuple[Path, dict[str, Any]]]:
    """The recorded episodes, each with its game's file."""
    folder = tmp_path_factory.mktemp("games")
    with tarfile.open(shared / "alfworld" / "games.tar.xz") as archive:
        archive.extractall(folder, filter="data")
    folders = [folder, *folder.iterdir()]
    episodes = json.loads(gzip.decompress((shared / "alfworld" / "parity.json.gz").read_bytes()))["episodes"]
    return [(next(f / e["game"] for f in folders if (f / e["game"]).exists()), e) for e in episodes]


def test_recorded_episodes_are_answered_byte_for_byte_all_in_one_batch(recorded: list[Any]) -> None:
    games = [str(game) for game, _ in recorded]
    env = Batch(games, len(games), 1000)
    texts, infos = env.start(games)
    assert list(texts) == [episode["first"] for _, episode in recorded]
    assert infos["admissible_commands"] == [episode["admissible"] for _, episode in recorded]
    assert infos["extra.gamefile"] == games
    steps = [episode["steps"] for _, episode in recorded]
    for t in range(max(map(len, steps))):
        # a finished or fully replayed episode is sent anything; its answer is not looked at
        texts, scores, dones, infos = env.step([s[t]["action"] if t < len(s) else "look" for s in steps])
        for k, own in enumerate(steps):
            if t < len(own) and not any(step["won"] for step in own[:t]):
                assert texts[k] == own[t]["feedback"], (games[k], t)
                assert infos["admissible_commands"][k] == own[t]["admissible"], (games[k], t)
                assert infos["won"][k] is dones[k] is own[t]["won"], (games[k], t)
                assert scores[k] == float(own[t]["won"])


def test_games_come_in_the_order_of_the_seed_and_every_round_holds_each_once() -> None:
    env = AlfredTWEnv(CONFIG, "eval_in_distribution").init_env(5)
    rounds = [game for _ in range(24) for game in env.reset()[1]["extra.gamefile"]]
    first, second = rounds[:60], rounds[60:]
    assert sorted(first) == sorted(second) == sorted(list_games("small/seen"))
    assert first != second
    env.seed(1234)  # what a new environment begins with, as in textworld
    assert env.reset()[1]["extra.gamefile"] == first[:5]
    env.seed(7)
    assert env.reset()[1]["extra.gamefile"] != first[:5]


def test_once_plays_a_panel_in_its_order_and_then_refuses() -> None:
    env = Batch(GAMES, 3, order="once")
    assert env.reset()[1]["extra.gamefile"] == GAMES[:3]
    texts, infos = env.reset()
    assert (len(texts), infos["extra.gamefile"]) == (1, GAMES[3:])
    assert env.step(["look"])[1:3] == ((0.0,), (False,))
    with pytest.raises(ActreError, match="4 games have been played once"):
        env.reset()
    env.seed()
    assert env.reset()[1]["extra.gamefile"] == GAMES[:3]


def test_a_finished_game_repeats_its_answer_while_the_others_go_on() -> None:
    env = AlfredTWEnv(CONFIG).init_env(2)
    env.reset()
    for _ in range(7):
        last = env.step(["look", "inventory"])
    assert last[2] == (True, True)
    again = env.step(["inventory", "look"])
    assert again == last


def test_the_experts_plan_is_there_where_dagger_trains_and_following_it_wins() -> None:
    config = {**CONFIG, "general": {"training_method": "dagger"}}
    env = AlfredTWEnv(config).init_env(6)
    _, infos = env.reset()
    for _ in range(40):
        _, _, dones, infos = env.step([plan[0] for plan in infos["extra.expert_plan"]])
    assert all(dones)
    assert sum(infos["won"]) >= 5
    assert "extra.expert_plan" not in AlfredTWEnv(config, "eval_in_distribution").init_env(1).reset()[1]


def test_a_folder_is_read_as_alfworld_reads_it(tmp_path: Path) -> None:
    for name, kind in ((OFFICIAL_NAME, "pick_and_place_simple"), ("b", "pick_two_obj_and_place"), ("c", "else")):
        write(tmp_path / name / "trial_1", data={"task_type": kind})
    env = {**CONFIG["env"], "task_types": [1]}
    config = {**CONFIG, "dataset": {"data_path": str(tmp_path), "num_train_games": -1}, "env": env}
    assert AlfredTWEnv(config).game_files == [str(tmp_path / OFFICIAL_NAME / "trial_1" / "game.tw-pddl")]


@pytest.mark.parametrize(
    ("break_it", "said"),
    [
        (lambda: get_environment("AlfredThorEnv"), "only the text worlds"),
        (lambda: AlfredTWEnv(train_eval="test"), "train_eval is 'test'"),
        (lambda: AlfredTWEnv({**CONFIG, "env": {**CONFIG["env"], "domain_randomization": True}}), "set it to False"),
        (lambda: AlfredTWEnv({**CONFIG, "general": {"training_method": "ppo"}}).init_env(1), "dqn or dagger"),
        (lambda: Batch(GAMES, 2).step(["look", "look"]), "reset, then one for each"),
        (lambda: Batch([], 2), "at least one of each"),
    ],
)
def test_what_cannot_be_is_named(break_it: Any, said: str) -> None:
    with pytest.raises(ActreError, match=said):
        break_it()


def test_ten_thousand_hostile_actions_raise_nothing() -> None:
    env = Batch(GAMES, 4, 10_000)
    env.reset()
    hostile = actions(10_000)
    while batch := list(islice(hostile, 4)):
        env.step(batch)
