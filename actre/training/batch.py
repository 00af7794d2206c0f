"""What episodes teach: an advantage for each step, the rows that carry them, and TRL's batch of this process' share.

Pure torch on trajectories and rows; knows no model and no trainer.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from actre.config import OptimConfig
from actre.runtime import ranks
from actre.training.advantages import dr_grpo, gigpo, grpo, rloo
from actre.training.rows import Row, collate, episode_return, episode_weights, step_rewards, trained_tokens, trl_inputs
from actre.training.trl_settings import STEPS_PER_GENERATION
from actre.types import Trajectory

ADVANTAGE_NAMES = {
    "grpo": "GRPO",
    "dr_grpo": "Dr. GRPO",
    "rloo": "RLOO",
    "gigpo": "GiGPO",
    "gigpo_no_std": "GiGPO without std",
}

EPISODE_ADVANTAGES = {"grpo": grpo, "dr_grpo": dr_grpo, "rloo": rloo}
"""Name in the settings -> (returns, groups) to one advantage an episode, both (B,)."""


def groups_of(played: Sequence[Trajectory]) -> Tensor:
    """(B,) each episode's group; -1 where it has none."""
    return torch.tensor([-1 if one.group is None else one.group for one in played])


def step_advantages(
    played: Sequence[Trajectory],
    groups: Tensor,
    optim: OptimConfig,
    of_episodes: Callable[[Tensor, Tensor], Tensor],
) -> Tensor:
    """(B, S) advantages of each episode's steps, or (B, 1) where all of its steps have the same.

    The state a step starts from is what the environment shows in it: text, task and admissible actions. of_episodes:
    (returns, groups) to one advantage an episode, for all but GiGPO.
    """
    if optim.advantage in ("gigpo", "gigpo_no_std"):
        return gigpo(
            [step_rewards(one, optim) for one in played],
            [[step.observation for step in one.steps] for one in played],
            groups,
            discount=optim.gigpo_discount,
            step_weight=optim.gigpo_step_weight,
            std=optim.advantage == "gigpo",
        )
    returns = torch.tensor([episode_return(one, optim) for one in played])
    return of_episodes(returns, groups)[:, None]


def batch_of(
    rows: Sequence[Row],
    advantages: Tensor,
    groups: Tensor,
    optim: OptimConfig,
    *,
    pad_id: int,
    device: torch.device,
) -> dict[str, Tensor]:
    """TRL's batch (see `trl_inputs`) of the rows this process trains on, divided by the tokens of all that count.

    rows: of all episodes. advantages: (B, S) or (B, 1). groups: (B,). Rows without advantage carry no gradient and are
    left out of the forward pass, unless there is a KL term or an entropy bonus; the loss is still divided by all
    tokens, those of groups without signal only where `optim.groups_without_signal` is "keep".
    """
    if optim.groups_without_signal == "drop":
        taught = [int(g) for g in groups.unique() if advantages[groups == g].any()]
        rows = [row for row in rows if groups[row.episode] in taught]
    whole = optim.kl_beta != 0.0 or optim.entropy_coef != 0.0
    trained = [row for row in rows if whole or row.spread(advantages[row.episode]).any()]
    if optim.normalise == "episode":
        advantages = advantages * episode_weights(rows, len(groups))[:, None]
    mine = ranks.balanced([len(row.ids) for row in trained], ranks.count())[ranks.rank()]
    collated = collate([trained[i] for i in mine], advantages, pad_id=pad_id, multiple=STEPS_PER_GENERATION)
    return trl_inputs(collated, sum(map(trained_tokens, rows)), device)
