"""A policy of known tables in a corridor, and episodes it played, for the widgets' tests; needs no test library."""

from typing import Any

from fake_env import CorridorEnv

from actre.config import EnvConfig, RunConfig, SamplingConfig
from actre.policies.scripted import ScriptedPolicy, Table
from actre.rollout import rollout
from actre.types import Trajectory

HOSTILE = "</style></script><script>alert(1)</script><img src=x onerror=alert(1)>\u202e\ud800\x00"
THINK = Table(
    {"right": 0.75, "left": 0.25},
    {"right": {"go right": 1.0}, "left": {"go left": 0.5, "look": 0.25}},
)
ACT = {"go left": 0.2, "go right": 0.4, "look": 0.2}
CONFIG = RunConfig(env=EnvConfig(max_steps=8), sampling=SamplingConfig(max_reply_tokens=30))


def policy() -> ScriptedPolicy:
    return ScriptedPolicy(lambda text: THINK, act_first=lambda text: ACT)


def played(one: ScriptedPolicy, order: Any = "think_first", games: int = 3) -> list[Trajectory]:
    return rollout(
        one,
        [CorridorEnv(limit=8) for _ in range(games)],
        ["4"] * games,
        renderer=one.renderer(CONFIG.prompt, order),
        sampling=CONFIG.sampling,
        temperature=1.0,
        max_steps=8,
        seed=1,
    )
