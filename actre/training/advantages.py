"""Advantages: from the returns of a batch of episodes to one number per episode, or per step.

    grpo         (R_i - mean_g R) / (std_g R + eps)       relative to the group, in units of its deviation
    grpo_no_std  R_i - mean_g R                           the same without the division
    rloo         R_i - mean of the group's other returns  an unbiased baseline; n/(n-1) times grpo_no_std
    gigpo        grpo (or grpo_no_std) over episodes + w * the same over the steps that start in one state

In all of them a group whose members are equal, or that has one member, gets exactly 0. hgpo.py has one more.

To add one: write its function here, and a row for it in `actre.config.estimators`. Next: batch.py calls it.
"""

from collections.abc import Callable, Hashable, Sequence
from functools import partial

import torch
from torch import Tensor

EPS = 1e-4


def grpo(returns: Tensor, groups: Tensor, *, eps: float = EPS) -> Tensor:
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
    return _by_group(returns, groups, lambda values: (values - values.mean()) / (values.std(correction=1) + eps))


def grpo_no_std(returns: Tensor, groups: Tensor) -> Tensor:
    """GRPO without the division by the deviation: A_i = R_i - mean_g R. Shapes as in `grpo`.

    Hard and easy groups, whose deviation is small, then weigh no more than others.

    Source: "Understanding R1-Zero-Like Training" (arXiv 2503.20783), section 3.2.
    Differs: it is half of the paper's Dr. GRPO. The other half is a loss divided by a constant; the estimator
    "dr_grpo" has both.

    One win in four: 1 - 0.25 and 0 - 0.25.

    >>> grpo_no_std(torch.tensor([1.0, 0.0, 0.0, 0.0, 2.0, 2.0]), torch.tensor([7, 7, 7, 7, 3, 3]))
    tensor([ 0.7500, -0.2500, -0.2500, -0.2500,  0.0000,  0.0000])
    """
    return _by_group(returns, groups, lambda values: values - values.mean())


def rloo(returns: Tensor, groups: Tensor) -> Tensor:
    """Leave-one-out advantages: A_i = R_i - mean of the other returns of its group. Shapes as in `grpo`.

    The baseline does not depend on the episode's own return, so the gradient estimate is unbiased. It is n / (n - 1)
    times `grpo_no_std`, n the group's size: a constant, which Adam's step all but removes. With equal groups the two
    are one method, and runs of both show how far runs scatter.

    Source: "Back to Basics" (arXiv 2402.14740), section 3.2; Kool et al. 2019, "Buy 4 REINFORCE Samples".
    Differs: a group of one, which has no others, gets 0.

    One win in four: 1 - 0, and 0 - 1/3.

    >>> rloo(torch.tensor([1.0, 0.0, 0.0, 0.0, 2.0, 2.0]), torch.tensor([7, 7, 7, 7, 3, 3]))
    tensor([ 1.0000, -0.3333, -0.3333, -0.3333,  0.0000,  0.0000])
    """
    return _by_group(returns, groups, lambda values: (values - values.mean()) * (len(values) / (len(values) - 1)))


def gigpo(
    rewards: Sequence[Sequence[float]],
    states: Sequence[Sequence[Hashable]],
    groups: Tensor,
    *,
    discount: float = 0.95,
    step_weight: float = 1.0,
    std: bool = True,
    by_steps: bool = False,
    eps: float = EPS,
) -> Tensor:
    """Group-in-group advantages, one a step: A[i, t] = A^E[i] + step_weight * A^S[i, t].

    A^E is `grpo` over the episodes' returns (sums of rewards); A^S is the same over the discounted returns
    sum_k discount^k r[t + k] of all steps of the group's episodes that start in the same state, of one episode
    several times too. std False: `grpo_no_std` in both places. by_steps: an episode counts in its group's mean and
    deviation once for each of its steps, so that long episodes weigh more.

    rewards: of each step of each episode. states: what each step starts from; equal means the same state.
    groups: (B,) integers, equal where episodes share a game; states of different groups are never compared.
    Returns (B, S) float, S the most steps of an episode (at least 1), 0 behind an episode's end.

    Source: GiGPO (arXiv 2505.10978), equations 2 to 8; discount 0.95 and weight 1 are its settings.
    Differs: from the released code (verl-agent, gigpo/core_gigpo.py): episodes count once each, as in the paper's
    equation 3; eps is 1e-4, as in `grpo`, not 1e-6; the estimator "gigpo" takes the whole observation as the state
    (text, task and admissible actions), not its text alone. `gigpo_published` does as the code does. In both the
    deviation is over n-1.

    Two episodes of one game start in "hall". The first wins at once; the second goes by way of "attic" and fails.
    Returns 1 and 0: A^E = 0.5 and -0.5. Discounted returns from the hall 1 and 0: A^S = 0.5 and -0.5; the attic
    was seen once: A^S = 0.

    >>> gigpo([[1.0], [0.0, 0.0]], [["hall"], ["hall", "attic"]], torch.tensor([0, 0]), std=False)
    tensor([[ 1.0000,  0.0000],
            [-1.0000, -0.5000]])
    """
    relative: Callable[[Tensor, Tensor], Tensor] = (lambda r, g: grpo(r, g, eps=eps)) if std else grpo_no_std
    places = [(i, t) for i, one in enumerate(rewards) for t in range(len(one))]
    returns = torch.tensor([float(sum(one)) for one in rewards])
    if by_steps:
        of_step = torch.tensor([i for i, _ in places], dtype=torch.long)
        episodes = torch.zeros(len(rewards)).index_copy(0, of_step, relative(returns[of_step], groups[of_step]))
    else:
        episodes = relative(returns, groups)
    keys = [(int(groups[i]), states[i][t]) for i, t in places]
    numbers = {key: number for number, key in enumerate(dict.fromkeys(keys))}
    ahead = [value for one in rewards for value in discounted(one, discount)]
    steps = relative(torch.tensor(ahead), torch.tensor([numbers[key] for key in keys]))
    advantages = torch.zeros(len(rewards), max((len(one) for one in rewards), default=1) or 1)
    for (i, t), step in zip(places, steps, strict=True):
        advantages[i, t] = episodes[i] + step_weight * step
    return advantages


gigpo_no_std = partial(gigpo, std=False)
"""GiGPO with `grpo_no_std` in both places."""
gigpo_published = partial(gigpo, by_steps=True, eps=1e-6)
"""GiGPO as its released code has it, in the mode mean_std_norm, which is the paper's F_norm = std."""


def discounted(rewards: Sequence[float], discount: float) -> list[float]:
    """The discounted return from each step on: R_t = r_t + discount * R_{t+1}.

    >>> discounted([0.0, -1.0, 4.0], 0.5)
    [0.5, 1.0, 4.0]
    """
    returns: list[float] = []
    ahead = 0.0
    for reward in reversed(rewards):
        ahead = reward + discount * ahead
        returns.append(ahead)
    return returns[::-1]


def _by_group(returns: Tensor, groups: Tensor, relative: Callable[[Tensor], Tensor]) -> Tensor:
    """`relative` of each group's returns; exactly 0 where they are equal, or one."""
    returns = returns.float()
    advantages = torch.zeros_like(returns)
    for group in groups.unique():
        members = groups == group
        values = returns[members]
        # equal values may differ from their rounded mean, which eps would not hide: 0.7 eight times has std
        # 6e-8
        if values.numel() > 1 and not torch.all(values == values[0]):
            advantages[members] = relative(values)
    return advantages


def zero_variance_groups(advantages: Tensor, groups: Tensor) -> int:
    """How many groups have no advantage but 0, and so no gradient. advantages: (B,) or (B, S); groups: (B,).

    >>> zero_variance_groups(torch.tensor([0.7, -0.7, 0.0, 0.0]), torch.tensor([7, 7, 3, 3]))
    1
    """
    return sum(not bool(advantages[groups == g].any()) for g in groups.unique())
