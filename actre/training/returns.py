"""What training maximises: an episode's return, and the reward of each of its steps."""

from actre.config import OptimConfig
from actre.types import Flag, Trajectory

FORMAT_FLAGS: frozenset[Flag] = frozenset(("no_action", "wrong_order", "no_thought", "extra_text", "truncated"))
"""A step with one of these has wrong tags: it counts against the parse rate and takes the format penalty."""


def episode_return(trajectory: Trajectory, optim: OptimConfig) -> float:
    """What training maximises: success_reward if won (or times the environment's return, by `optim.outcome`), less
    the penalties of each badly tagged or inadmissible step.
    """
    badly_tagged = sum(not FORMAT_FLAGS.isdisjoint(step.flags) for step in trajectory.steps)
    inadmissible = sum("inadmissible" in step.flags for step in trajectory.steps)
    outcome = trajectory.env_return if optim.outcome == "return" else float(trajectory.won)
    penalties = optim.format_penalty * badly_tagged + optim.inadmissible_penalty * inadmissible
    return optim.success_reward * outcome - penalties


def step_rewards(trajectory: Trajectory, optim: OptimConfig) -> list[float]:
    """`episode_return`, step by step: each step's penalties; success_reward on the last step if won, or times the
    environment's reward of each step, by `optim.outcome`.
    """
    steps = trajectory.steps
    if optim.outcome == "return":
        earned = [step.reward for step in steps]
    else:
        earned = [float(trajectory.won and number == len(steps)) for number in range(1, len(steps) + 1)]
    return [
        optim.success_reward * outcome
        - optim.format_penalty * (not FORMAT_FLAGS.isdisjoint(step.flags))
        - optim.inadmissible_penalty * ("inadmissible" in step.flags)
        for step, outcome in zip(steps, earned, strict=True)
    ]
