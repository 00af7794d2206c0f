"""verifiers plays the worlds by its own loader, with a scripted player in the place of its model."""

import asyncio
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

vf = pytest.importorskip("verifiers.v1", reason="verifiers is not installed: pip install verifiers (tested with 0.4.0)")

from actre.envs.compat.verifiers import WorldEnv, WorldEnvConfig, WorldTasksetConfig  # noqa: E402
from actre.envs.worlds import list_games, scripted  # noqa: E402
from actre.types import Observation  # noqa: E402


class Scripted:
    """An agent's interaction with the expert as its model; `turn` is what verifiers' own has."""

    def __init__(self, world: str, game: str, stop_after: int) -> None:
        self.heard: list[str] = []
        self.rewards: dict[str, float] = {}
        self.metrics: dict[str, float] = {}
        self.trace = SimpleNamespace(record_reward=self.rewards.__setitem__, record_metrics=self.metrics.update)
        self._world, self._game, self._stop, self._play = world, game, stop_after, None

    async def turn(self, message: str) -> Any:
        self.heard.append(message)
        text, _, listed = message.rpartition("\nActions: ")
        task = text.partition("Instruction: [SEP] ")[2].partition(" [SEP]")[0]
        seen = Observation(text, task, tuple(listed.split(", ")))
        self._play = self._play or scripted(self._world, "expert", seen, 0, self._game)
        reply = f"<think>so</think><action>{self._play(seen)}</action>"
        over = len(self.heard) > self._stop
        return vf.agent.Segment([vf.AssistantMessage(role="assistant", content=reply)], terminated=over)


def played(world: str, panel: str, module: str, stop_after: int = 99) -> tuple[Any, Scripted]:
    config = WorldEnvConfig(taskset=WorldTasksetConfig(id=module, world=world, panel=panel))
    env = vf.utils.loaders.load_environment(config)
    assert type(env) is WorldEnv
    tasks = list(env.taskset)
    assert [task.data.game for task in tasks] == list_games(world, panel)
    player = Scripted(world, tasks[0].data.game, stop_after)

    @asynccontextmanager
    async def interaction(task: Any) -> Any:
        assert task is tasks[0]
        yield player

    asyncio.run(env.run(tasks[0], SimpleNamespace(player=SimpleNamespace(interaction=interaction))))
    return tasks[0], player


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The module that docs/worlds.md asks for."""
    source = "from actre.envs.compat.verifiers import WorldEnv, WorldTaskset\n__all__ = ['WorldEnv', 'WorldTaskset']\n"
    (tmp_path / "my_worlds.py").write_text(source)
    monkeypatch.syspath_prepend(str(tmp_path))
    return "my_worlds"


def test_a_household_is_played_to_its_end_and_its_win_is_the_reward(module: str) -> None:
    task, player = played("alfworld", "small/train", module)
    assert player.heard[0].startswith("-= Welcome to TextWorld, ALFRED! =-")
    assert player.rewards == {"world": 1.0}
    assert player.metrics == {"won": 1.0, "steps": float(len(player.heard))}
    assert "<action>" in task.data.system_prompt


def test_a_purchase_pays_its_reward(module: str) -> None:
    _, player = played("webshop", "shop/train", module)
    assert 0 < player.rewards["world"] <= 1
    assert player.metrics["steps"] == len(player.heard)


def test_an_agent_that_stops_is_paid_what_it_has(module: str) -> None:
    _, player = played("alfworld", "small/train", module, stop_after=1)
    assert player.rewards == {"world": 0.0}
    assert player.metrics == {"won": 0.0, "steps": 1.0}
