"""Demonstrations: what an expert wrote, step by step, in any environment. Knows no environment."""

from typing import NamedTuple


class Decision(NamedTuple):
    """What an expert writes: one thought, one action."""

    thought: str
    action: str


class DemoStep(NamedTuple):
    """One step of an expert; `observation` is the answer to the action."""

    thought: str
    action: str
    observation: str


class Demo(NamedTuple):
    """One episode. game: its id in its panel, or its path. admissible[t]: whether step t's action was listed."""

    game: str
    task: str
    task_type: str
    first: str
    steps: tuple[DemoStep, ...]
    won: bool
    admissible: tuple[bool, ...]
