"""GRPO advantages against numbers worked out by hand, and the properties training leans on."""

import pytest
import torch

from actre.advantages import groups_without_signal, grpo


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
    assert groups_without_signal(returns, groups) == 1


def test_a_group_of_one_has_no_advantage():
    assert grpo(torch.tensor([3.0]), torch.tensor([0])).item() == 0.0


def test_shift_and_scale_of_the_returns_do_not_matter():
    returns, groups = torch.tensor([0.0, 1.0, 3.0, 7.0]), torch.tensor([0, 0, 1, 1])
    assert torch.allclose(grpo(returns, groups, eps=0.0), grpo(10 * returns - 4, groups, eps=0.0))
