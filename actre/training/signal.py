"""How much there is to learn from an iteration's groups: those without variance, and how different episodes are."""

from collections import defaultdict
from collections.abc import Sequence

from actre.config import OptimConfig
from actre.rollout.pass_at import actions_of
from actre.training.returns import episode_return
from actre.types import Trajectory


def group_metrics(played: Sequence[Trajectory], optim: OptimConfig) -> dict[str, float]:
    """zero_variance_groups: the share of groups whose returns are all equal (TRL's `frac_reward_zero_std`).
    distinct_trajectories: the mean number of distinct sequences of actions in a group.

    played: the episodes in which the environment did not fail; those without a group are left out. Differs from the
    metric groups_without_signal, which counts groups whose advantages are all 0: GiGPO finds a signal between the
    steps of episodes with equal returns. Both are 0 without a group.
    """
    groups: dict[int, list[Trajectory]] = defaultdict(list)
    for one in played:
        if one.group is not None:
            groups[one.group].append(one)
    alike = sum(len({episode_return(one, optim) for one in group}) == 1 for group in groups.values())
    distinct = sum(len({actions_of(one) for one in group}) for group in groups.values())
    each = 1 / max(1, len(groups))
    return {"zero_variance_groups": alike * each, "distinct_trajectories": distinct * each}
