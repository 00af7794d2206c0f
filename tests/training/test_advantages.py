"""Advantages against numbers worked out by hand, and the properties training leans on."""

from dataclasses import replace

import pytest
import torch

from actre.config import RunConfig
from actre.config.estimators import ESTIMATORS
from actre.config.overrides import changed
from actre.config.recipes import with_estimator
from actre.training.advantages import gigpo, gigpo_published, grpo, grpo_no_std, rloo, zero_variance_groups
from actre.training.batch import groups_of, step_advantages, with_advantages
from actre.training.hgpo import hgpo
from actre.types import ActreError, Observation, Step, Trajectory, trajectory_from_json, trajectory_to_json


def test_hand_computed_group():
    # returns 1, 0, 0, 1: mean 0.5, squared deviations 4 x 0.25, std over n-1 = sqrt(1/3) = 0.57735
    advantages = grpo(torch.tensor([1.0, 0.0, 0.0, 1.0]), torch.tensor([0, 0, 0, 0]))
    assert advantages.tolist() == pytest.approx([0.86588, -0.86588, -0.86588, 0.86588], abs=1e-5)


def test_groups_do_not_touch_each_other():
    together = grpo(torch.tensor([1.0, 5.0, 0.0, 6.0]), torch.tensor([4, 2, 4, 2]))
    assert torch.equal(together[[0, 2]], grpo(torch.tensor([1.0, 0.0]), torch.tensor([0, 0])))
    assert torch.equal(together[[1, 3]], grpo(torch.tensor([5.0, 6.0]), torch.tensor([0, 0])))


def test_equal_returns_give_exactly_zero_even_where_rounding_would_not():
    returns, groups = torch.full((8,), 0.7), torch.zeros(8, dtype=torch.long)
    assert torch.equal(grpo(returns, groups), torch.zeros(8))
    assert zero_variance_groups(grpo(returns, groups), groups) == 1


@pytest.mark.parametrize("advantage", [grpo, grpo_no_std, rloo])
def test_a_group_of_one_has_no_advantage(advantage):
    assert advantage(torch.tensor([3.0]), torch.tensor([0])).item() == 0.0


def test_a_group_has_signal_as_soon_as_one_step_has():
    by_step = torch.tensor([[0.0, 0.0], [0.0, 0.1], [0.0, 0.0]])
    assert zero_variance_groups(by_step, torch.tensor([5, 5, 6])) == 1


def test_without_division_a_rare_win_weighs_more_than_a_common_one():
    # 1 of 4 and 3 of 4 won: deviations are alike, but GRPO would blow up 1 of 1000 far more than 1 of 2
    returns, groups = torch.tensor([1.0, 0, 0, 0, 1, 1, 1, 0]), torch.tensor([0] * 4 + [1] * 4)
    assert grpo_no_std(returns, groups).tolist() == [0.75, -0.25, -0.25, -0.25, 0.25, 0.25, 0.25, -0.75]
    assert torch.allclose(grpo_no_std(10 * returns, groups), 10 * grpo_no_std(returns, groups))


def test_leave_one_out_compares_with_the_others_alone():
    returns, groups = torch.tensor([3.0, 1.0, 2.0, 9.0, 4.0]), torch.tensor([0, 0, 0, 1, 1])
    # 3 - (1+2)/2, 1 - (3+2)/2, 2 - (3+1)/2; 9 - 4, 4 - 9
    assert rloo(returns, groups).tolist() == pytest.approx([1.5, -1.5, 0.0, 5.0, -5.0])


# --- GiGPO ---

# One game, three episodes. Two pass through the fork; one of them and the third win, the third without the fork.
REWARDS = [[0.0, 0.0, 1.0], [0.0, -0.5], [0.0, 1.0]]
STATES = [["start", "fork", "door"], ["start", "fork"], ["start", "shed"]]
GROUP = torch.tensor([0, 0, 0])


def test_gigpo_by_hand():
    # episodes: returns 1, -0.5, 1, mean 0.5: +0.5, -1, +0.5
    # start: 0.25, -0.25, 0.5 at a discount of 0.5, mean 1/6; fork: 0.5, -0.5, mean 0; door and shed: seen once
    advantages = gigpo(REWARDS, STATES, GROUP, discount=0.5, step_weight=2.0, std=False)
    sixth = 1 / 6
    wanted = [
        [0.5 + 2 * (0.25 - sixth), 0.5 + 2 * 0.5, 0.5],
        [-1.0 + 2 * (-0.25 - sixth), -1.0 + 2 * -0.5, 0.0],
        [0.5 + 2 * (0.5 - sixth), 0.5, 0.0],
    ]
    assert torch.allclose(advantages, torch.tensor(wanted))


def test_gigpo_with_deviations_divides_both_parts_by_their_own_groups():
    advantages = gigpo(REWARDS, STATES, GROUP, discount=0.5, eps=0.0)
    # episodes: deviations 0.5, -1, 0.5, std sqrt(1.5 / 2) = 0.866; fork: 0.5, -0.5, std 0.7071
    assert advantages[0, 1].item() == pytest.approx(0.5 / 0.8660 + 0.5 / 0.7071, abs=1e-3)
    assert advantages[0, 2].item() == pytest.approx(0.5 / 0.8660, abs=1e-3)


def test_gigpo_without_a_shared_state_is_grpo():
    apart = [[(i, t) for t in range(len(one))] for i, one in enumerate(STATES)]
    episodes = grpo(torch.tensor([1.0, -0.5, 1.0]), GROUP)
    advantages = gigpo(REWARDS, apart, GROUP)
    assert torch.allclose(advantages[:, :2], episodes[:, None].expand(-1, 2))
    assert advantages[1, 2] == advantages[2, 2] == 0.0, "nothing behind an episode's end"


def test_the_same_state_in_another_game_is_another_state():
    rewards, states = [[1.0], [0.0]], [["start"], ["start"]]
    assert gigpo(rewards, states, torch.tensor([0, 1])).abs().max() == 0.0
    assert gigpo(rewards, states, torch.tensor([0, 0])).abs().min() > 0.5


def test_a_state_met_twice_in_one_episode_is_compared_with_itself():
    # going round in a circle: the win is nearer from the second visit
    (advantages,) = gigpo([[0.0, 0.0, 1.0]], [["a", "b", "a"]], torch.tensor([0]), discount=0.5, std=False)
    assert advantages.tolist() == pytest.approx([(0.25 - 1) / 2, 0.0, (1 - 0.25) / 2])


def test_a_group_whose_episodes_all_win_still_teaches_the_shorter_way():
    rewards, states = [[1.0], [0.0, 1.0]], [["s"], ["s", "t"]]
    advantages = gigpo(rewards, states, torch.tensor([0, 0]), std=False)
    assert advantages[0, 0] > 0 > advantages[1, 0]
    assert gigpo([[], []], [[], []], torch.tensor([0, 0])).tolist() == [[0.0], [0.0]]


def test_rloo_is_a_constant_times_grpo_without_the_deviation():
    returns, groups = torch.tensor([1.0, 0.0, 0.0, 0.0, 3.0, 1.0, 1.0, 1.0]), torch.tensor([0] * 4 + [1] * 4)
    assert torch.allclose(rloo(returns, groups), 4 / 3 * grpo_no_std(returns, groups))


def test_gigpo_as_released_counts_an_episode_once_a_step():
    # returns 1 (3 steps), -0.5 (2 steps), 1 (2 steps): mean of 7 = (5 - 1) / 7 = 4/7; deviations 3/7 five times and
    # -15/14 twice: variance (5 * 0.183673 + 2 * 1.147959) / 6 = 0.535714, std 0.731925
    apart = [[(i, t) for t in range(len(one))] for i, one in enumerate(STATES)]
    advantages = gigpo_published(REWARDS, apart, GROUP)
    assert advantages[0].tolist() == pytest.approx([0.585540] * 3, abs=1e-5)
    assert advantages[1].tolist() == pytest.approx([-1.463850, -1.463850, 0.0], abs=1e-5)
    assert torch.allclose(gigpo(REWARDS, apart, GROUP)[0], torch.tensor([0.5773]).expand(3), atol=1e-3), "the paper's"


@pytest.mark.parametrize(("name", "shared"), [("gigpo", False), ("gigpo_published", True), ("hgpo", True)])
def test_states_that_differ_in_their_actions_alone_are_one_where_the_anchor_is_the_text(
    name: str, shared: bool
) -> None:
    played = [episode(True, 0), episode(False, 0)]
    other = replace(played[1].steps[0].observation, admissible=("go",))
    played[1] = replace(played[1], steps=tuple(replace(s, observation=other) for s in played[1].steps))
    optim = replace(with_estimator(RunConfig(), name).optim, format_penalty=0.0)
    advantages = step_advantages(played, groups_of(played), optim)
    # apart, an episode is compared with itself alone: later steps are nearer to the reward
    assert (advantages[0, 0] > 0 and advantages[1, 0] < 0) == (shared or name == "gigpo")
    by_step = (advantages[1, 0] - advantages[1, 1]).item()
    assert (by_step == pytest.approx(0.0)) or shared


# --- HGPO ---


def test_hgpo_by_hand():
    # Discount 0.5. Episode 0: s f d, returns 0.25 0.5 1; 1: s f, -0.25 -0.5; 2: s g f, 0 0 0.
    rewards, states = [[0, 0, 1.0], [0, -0.5], [0, 0, 0]], [["s", "f", "d"], ["s", "f"], ["s", "g", "f"]]
    found = hgpo(rewards, states, torch.tensor([0, 0, 0]), discount=0.5, history=1, alpha=1.0, eps=0.0)
    # k=0, s: 0.25, -0.25, 0: std sqrt(0.125/3) = 0.204124: +1.2247, -1.2247, 0. f: 0.5, -0.5, 0: the same.
    # k=1, (s, f): 0.5 and -0.5: +1, -1; weights 1 and 2 of 3. (f, d), (s, g), (g, f): alone.
    both = (1.224745 + 2 * 1.0) / 3
    wanted = [[1.224745, both, 0.0], [-1.224745, -both, 0.0], [0.0, 0.0, 0.0]]
    assert torch.allclose(found, torch.tensor(wanted), atol=1e-5)


def test_hgpo_with_a_larger_alpha_trusts_the_longer_history_more():
    rewards, states = [[0, 0, 1.0], [0, -0.5], [0, 0, 0]], [["s", "f", "d"], ["s", "f"], ["s", "g", "f"]]
    with_alpha = {a: hgpo(rewards, states, torch.zeros(3), history=1, alpha=a)[0, 1].item() for a in (0.0, 1.0, 9.0)}
    assert with_alpha[0.0] > with_alpha[1.0] > with_alpha[9.0] == pytest.approx(1.0, abs=1e-2)
    assert hgpo([[], []], [[], []], torch.tensor([0, 0])).tolist() == [[0.0], [0.0]]
    assert hgpo([[1.0], [1.0]], [["s"], ["s"]], torch.tensor([0, 0])).tolist() == [[0.0], [0.0]]


def test_shift_and_scale_of_the_returns_do_not_matter():
    returns, groups = torch.tensor([0.0, 1.0, 3.0, 7.0]), torch.tensor([0, 0, 1, 1])
    assert torch.allclose(grpo(returns, groups, eps=0.0), grpo(10 * returns - 4, groups, eps=0.0))


@pytest.mark.parametrize("name", ESTIMATORS)
def test_every_estimator_of_the_table_is_a_setting_and_gives_each_step_an_advantage(name: str) -> None:
    optim = with_estimator(RunConfig(), name).optim
    played = [episode(won, group) for group in (0, 1) for won in (True, False)]
    advantages = step_advantages(played, groups_of(played), optim)
    assert advantages.shape == (4, 2 if ESTIMATORS[name].of == "steps" else 1)
    assert (advantages[0] > 0).all()
    assert (advantages[1] < 0).all()


def test_an_estimator_that_the_table_lacks_is_refused() -> None:
    with pytest.raises(ActreError, match=f"one of {', '.join(ESTIMATORS)}"):
        changed(RunConfig(), ["optim.advantage=ppo"])


def test_steps_keep_the_advantage_they_were_trained_with() -> None:
    failed = replace(episode(False, 0), meta={"env_error": "gone"})
    played = [episode(True, 0), failed, episode(False, 0)]
    by_step = with_advantages(played, torch.tensor([[0.5, 0.25], [-1.0, 2.0]]))
    assert [[step.advantage for step in one.steps] for one in by_step] == [[0.5, 0.25], [None, None], [-1.0, 2.0]]
    by_episode = with_advantages(played, torch.tensor([[0.5], [-1.0]]))
    assert [[step.advantage for step in one.steps] for one in by_episode] == [[0.5, 0.5], [None, None], [-1.0, -1.0]]
    for one in by_step:
        assert trajectory_from_json(trajectory_to_json(one)) == one
    old = trajectory_to_json(played[0])
    for step in old["steps"]:
        del step["advantage"]
    assert trajectory_from_json(old) == played[0], "records made before have none"


def episode(won: bool, group: int) -> Trajectory:
    seen = Observation("a room", "find it", ("go", "wait"))
    steps = tuple(Step(seen, (1,), (2,), (-0.5,), "", None, "go", (), float(won and i)) for i in range(2))
    return Trajectory("env", f"game {group}", "find", "act_first", 0, steps, seen, won, False, group)
