"""Records of demonstrations, the same for every environment."""

from typing import NamedTuple


class Decision(NamedTuple):
    """One thought and one action of an expert."""

    thought: str
    action: str


class DemoStep(NamedTuple):
    """One step of an expert; `observation` is the answer to its action."""

    thought: str
    action: str
    observation: str


class Demo(NamedTuple):
    """One episode. game: its id in its panel, or its path. admissible[t]: whether the action of step t was listed."""

    game: str
    task: str
    task_type: str
    first: str
    steps: tuple[DemoStep, ...]
    won: bool
    admissible: tuple[bool, ...]
