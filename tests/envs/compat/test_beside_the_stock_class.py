"""alfworld's own AlfredTWEnv and ours, step by step, on shipped and on real games."""

import json
import os
import random
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest
from game_files import write

from actre.envs.alfworld import list_games, read_game
from actre.envs.compat.alfworld import AlfredTWEnv
from actre.envs.worlds import scripted
from actre.types import Observation

STOCK = Path(__file__).resolve().parents[2] / "stock_batch.py"
LIMIT = 18

pytestmark = pytest.mark.slow


def shipped(folder: Path) -> Path:
    for name in list_games("small/train")[:3]:
        game = read_game(name)
        write(folder / game.id / "trial", data={"task_type": game.task_type}, game=game)
    return folder


def real(folder: Path, shared: Path) -> Path:
    with tarfile.open(shared / "alfworld" / "games.tar.xz") as archive:
        members = [member for member in archive.getmembers() if "valid_seen" in member.name][:600]
        archive.extractall(folder, members=members, filter="data")
    from actre.envs.alfworld import wheel

    kept = sorted(folder.rglob("game.tw-pddl"))[:2]
    for path in sorted(folder.rglob("game.tw-pddl")):
        if path not in kept:
            path.unlink()
        else:  # the archive's games are converted; alfworld wants the mark and the description
            raw = json.loads(path.read_text())
            path.write_text(json.dumps({**raw, "solvable": True}))
            if not (path.parent / "traj_data.json").exists():
                kind = path.parts[-3].partition("-")[0]
                (path.parent / "traj_data.json").write_text(json.dumps({"task_type": kind}))
    assert wheel.domain()
    return folder


def listed(value: Any) -> Any:
    """JSON's form of an answer, in which tuples are lists."""
    return json.loads(json.dumps(value))


@pytest.mark.parametrize("source", ["shipped", "real"])
def test_every_answer_and_the_order_of_games_are_the_stock_classs(
    source: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    folder = shipped(tmp_path) if source == "shipped" else real(tmp_path, request.getfixturevalue("shared"))
    config = {
        "dataset": {"data_path": str(folder), "num_train_games": -1},
        "env": {
            "task_types": [1, 2, 3, 4, 5, 6],
            "goal_desc_human_anns_prob": 0,
            "domain_randomization": False,
            "expert_type": "handcoded",
        },
        "general": {"training_method": "dqn"},
        "rl": {"training": {"max_nb_steps_per_episode": LIMIT}},
    }
    env, rng = AlfredTWEnv(config).init_env(2), random.Random(0)
    episodes, ours = [], []
    for _ in range(2):
        texts, infos = env.reset()
        ours.append([texts, infos])
        first = Observation(texts[0], "", ())
        play = scripted("alfworld", "expert", first, 0, infos["extra.gamefile"][0])
        episode = []
        for step in range(LIMIT + 1):
            seen = Observation(texts[0], "", tuple(infos["admissible_commands"][0]))
            other = rng.choice([*infos["admissible_commands"][1], "fly", " look ", "Look"])
            # one game is played by the expert, so that a win is compared, and the other at random
            episode.append([play(seen), other])
            answer = env.step(episode[-1])
            texts, infos = answer[0], answer[3]
            ours.append(list(answer))
            assert step < LIMIT or all(answer[2])
        episodes.append(episode)
    asked = {"config": config, "train_eval": "train", "batch_size": 2, "episodes": episodes}
    environment = {**os.environ, "ALFWORLD_DATA": str(tmp_path / "alfworld-data")}
    done = subprocess.run(
        [sys.executable, str(STOCK)],
        input=json.dumps(asked),
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    told = json.loads(done.stdout)
    assert len(told) == len(ours) == 2 * (LIMIT + 2)
    for number, (stock, own) in enumerate(zip(told, listed(ours), strict=True)):
        if len(stock) == 4:  # the stock class names the game after a reset only
            assert stock[3].pop("extra.gamefile") == [None, None]
            assert own[3].pop("extra.gamefile") == ours[number - 1][-1]["extra.gamefile"]
        assert stock == own, number
    assert source == "real" or any(infos["won"][0] for *_, infos in ours)
