"""Our ALFWorld answers as the stock engine did: recorded episodes of the unmodified one, replayed byte for byte.

The recordings (`parity*.json.gz`) and the games (`*.tar.xz`) lie in `$ACTRE_SHARED/alfworld`, however many.
"""

import gzip
import json
import os
import tarfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from actre.envs.alfworld import AlfworldEnv

FOLDER = Path(os.environ.get("ACTRE_SHARED", Path(__file__).resolve().parents[3] / "shared")) / "alfworld"


def _recordings() -> list[Any]:
    found = []
    for path in sorted(FOLDER.glob("parity*.json.gz")):
        episodes = json.loads(gzip.decompress(path.read_bytes()))["episodes"]
        found += [pytest.param(e, id=f"{path.name}-{k}") for k, e in enumerate(episodes)]
    why = pytest.mark.skip(reason=f"no parity*.json.gz in {FOLDER}: point ACTRE_SHARED at the real data")
    return found or [pytest.param(None, marks=why)]


@pytest.fixture(scope="session")
def archives(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The folders that the game archives unpack to."""
    folders = []
    for archive in sorted(FOLDER.glob("*.tar.xz")):
        folder = tmp_path_factory.mktemp("games")
        with tarfile.open(archive) as members:
            members.extractall(folder, filter="data")
        folders += [folder, *(f for f in folder.iterdir() if f.is_dir())]
    if not folders:
        pytest.skip(f"no *.tar.xz in {FOLDER}: point ACTRE_SHARED at the real data")
    return folders


@pytest.mark.parametrize("episode", _recordings())
def test_a_recorded_episode_is_answered_byte_for_byte(episode: dict[str, Any], archives: list[Path]) -> None:
    games = [folder / episode["game"] for folder in archives if (folder / episode["game"]).exists()]
    assert games, f"{episode['game']} is in no archive"
    for game in games:
        env = AlfworldEnv(max_steps=len(episode["steps"]) + 1)
        text, info = env.reset(options={"game": game})
        assert text == episode["first"]
        assert info["admissible_commands"] == episode["admissible"]
        for number, step in enumerate(episode["steps"]):
            text, reward, terminated, truncated, info = env.step(step["action"])
            where = f"step {number}, {step['action']!r}"
            assert text == step["feedback"], where
            assert info["admissible_commands"] == step["admissible"], where
            assert info["won"] is terminated is step["won"], where
            assert reward == float(step["won"]), where
            assert not truncated, where
            if terminated:  # the stock engine can be played on after a win
                env.restore(replace(env.snapshot(), over=False))
