"""The worlds for verifiers (0.4, its v1 interface): a taskset of games, and the environment that plays them.

verifiers finds both by the name of a module on the path that exports them, so write one, and run `eval my_worlds`:

    # my_worlds.py
    from actre.envs.compat.verifiers import WorldEnv, WorldTaskset
    __all__ = ["WorldEnv", "WorldTaskset"]

The world opens each turn as the user; a reply's action is between <action> and </action>, else the whole reply. The
reward "world" is what the episode paid; the metrics are "won" and "steps".
"""

from collections.abc import Iterator
from typing import Any

from actre.envs.compat.episode import SYSTEM, Episode, action_in
from actre.envs.worlds import list_games
from actre.types import ActreError

try:
    import verifiers.v1 as vf
except ModuleNotFoundError as error:
    raise ActreError(f"{error.name} is not installed: pip install verifiers") from error


class WorldData(vf.TaskData):
    """One game."""

    world: str
    panel: str
    game: str
    max_steps: int | None = None


class WorldTask(vf.Task[WorldData]):
    """Playing one game."""


class WorldTasksetConfig(vf.TasksetConfig):
    """world: "alfworld" or "webshop"; panel: see `actre.envs.worlds.list_games`; max_steps: None: the usual limit."""

    world: str = "alfworld"
    panel: str = "full/train"
    max_steps: int | None = None


class WorldTaskset(vf.Taskset[WorldTask, WorldTasksetConfig]):
    """The games of a panel."""

    def load(self) -> Iterator[WorldTask]:
        """One task for each game, in the panel's order."""
        world, panel, most = self.config.world, self.config.panel, self.config.max_steps
        for game in list_games(world, panel):
            data = WorldData(
                name=game, system_prompt=SYSTEM, world=world, panel=panel, game=game, max_steps=most, prompt=None
            )
            yield WorldTask(data, self.config.task)


class WorldEnvConfig(vf.EnvConfig):
    """player: the agent that plays."""

    player: vf.AgentConfig = vf.AgentConfig()


class WorldEnv(vf.Env[WorldEnvConfig]):
    """One game as one conversation."""

    async def run(self, task: Any, agents: Any) -> None:
        """Play the task's game to its end, or until the agent stops."""
        data = task.data
        episode = Episode(data.world, data.panel, data.max_steps)
        async with agents.player.interaction(task) as interaction:
            segment = await interaction.turn(episode.start(data.game))
            while not segment.terminated:
                answer = episode.act(action_in(segment.last_reply))
                if episode.over:
                    break
                segment = await interaction.turn(answer)
        interaction.trace.record_reward("world", episode.reward)
        interaction.trace.record_metrics({"won": float(episode.won), "steps": float(episode.steps)})
