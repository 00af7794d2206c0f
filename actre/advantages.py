"""Advantages: from the returns of a batch of episodes to one number per episode. Pure torch; knows no
trainer.
"""

import torch
from torch import Tensor


def grpo(returns: Tensor, groups: Tensor, *, eps: float = 1e-4) -> Tensor:
    """Group-relative advantages, one an episode: A_i = (R_i - mean_g R) / (std_g R + eps), g its group.

    returns: (B,) returns of the episodes. groups: (B,) integers, equal where episodes share a game. Returns
    (B,) float; every token of an episode takes its episode's advantage. A group whose returns are all equal,
    or that has one member, gets exactly 0.

    Source: DeepSeekMath (arXiv 2402.03300), section 4.1.2, outcome supervision.
    Differs: `eps` in the denominator and the standard deviation over n-1, both as in TRL's GRPOTrainer.

    Two groups of two: (1 - 0.5) / (std([1, 0]) + eps) = 0.5 / (0.7071 + 0.0001) = 0.7070.

    >>> grpo(torch.tensor([1.0, 0.0, 2.0, 2.0]), torch.tensor([7, 7, 3, 3]))
    tensor([ 0.7070, -0.7070,  0.0000,  0.0000])
    """
    returns = returns.float()
    advantages = torch.zeros_like(returns)
    for group in groups.unique():
        members = groups == group
        values = returns[members]
        # equal values may differ from their rounded mean, which eps would not hide: 0.7 eight times has std
        # 6e-8
        if values.numel() > 1 and not torch.all(values == values[0]):
            advantages[members] = (values - values.mean()) / (values.std(correction=1) + eps)
    return advantages


def groups_without_signal(returns: Tensor, groups: Tensor) -> int:
    """How many groups have equal returns throughout, and so teach nothing.

    >>> groups_without_signal(torch.tensor([1.0, 0.0, 2.0, 2.0]), torch.tensor([7, 7, 3, 3]))
    1
    """
    return sum(bool(torch.all(returns[groups == g] == returns[groups == g][0])) for g in groups.unique())
