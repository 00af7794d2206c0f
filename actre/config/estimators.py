"""Advantage estimators by name, as `optim.advantage` gives it. One row adds one; its function may live anywhere."""

from typing import TYPE_CHECKING, Literal, NamedTuple


class Estimator(NamedTuple):
    """label: as reports name it. function: its import path, resolved when training begins.

    of: what it compares. "episodes": function(returns (B,), groups (B,)) -> (B,). "steps": function(rewards, states,
    groups, discount=, step_weight=) -> (B, S); see `actre.training.advantages`.
    """

    label: str
    of: Literal["episodes", "steps"]
    function: str


ESTIMATORS = {
    "grpo": Estimator("GRPO", "episodes", "actre.training.advantages:grpo"),
    "dr_grpo": Estimator("Dr. GRPO", "episodes", "actre.training.advantages:dr_grpo"),
    "rloo": Estimator("RLOO", "episodes", "actre.training.advantages:rloo"),
    "gigpo": Estimator("GiGPO", "steps", "actre.training.advantages:gigpo"),
    "gigpo_no_std": Estimator("GiGPO without std", "steps", "actre.training.advantages:gigpo_no_std"),
}

if TYPE_CHECKING:
    Advantage = str
else:
    Advantage = Literal[tuple(ESTIMATORS)]
"""The type of `optim.advantage`: one of the names above."""
