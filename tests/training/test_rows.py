"""Trajectories become rows: what is merged, what is masked, and how rows are padded and cut."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from actre.config import OptimConfig
from actre.training.batch import collate, sliced, token_slices, trl_inputs
from actre.training.returns import episode_return, step_rewards
from actre.training.rows import Row, trajectory_rows
from actre.types import Flag, Observation, Step, Trajectory

SEEN = Observation("", "", ())
CPU = torch.device("cpu")


def step(prompt: list[int], reply: list[int], *flags: Flag) -> Step:
    logps = tuple(-0.1 * token for token in reply)
    return Step(SEEN, tuple(prompt), tuple(reply), logps, "", None, "go", flags, 0.0)


def episode(*steps: Step, order: str = "think_first", won: bool = False) -> Trajectory:
    return Trajectory("toy", "g", "toy", order, 0, steps, SEEN, won, False)  # type: ignore[arg-type]


def test_a_growing_history_is_one_row_with_only_replies_trained():
    rows = trajectory_rows(episode(step([1, 2], [3]), step([1, 2, 3, 4], [5, 6])), 7)
    assert rows == [
        Row(
            ids=(1, 2, 3, 4, 5, 6),
            mask=(False, False, True, False, True, True),
            logps=(0.0, 0.0, -0.1 * 3, 0.0, -0.1 * 5, -0.1 * 6),
            episode=7,
            ends=(3, 6),
        )
    ]


def test_a_windowed_history_is_one_row_a_step():
    rows = trajectory_rows(episode(step([1, 2], [3]), step([1, 9], [5])), 0)
    assert [row.ids for row in rows] == [(1, 2, 3), (1, 9, 5)]
    assert [row.mask for row in rows] == [(False, False, True)] * 2


def test_a_prompt_that_repeats_the_previous_ids_but_not_its_reply_is_a_new_row():
    rows = trajectory_rows(episode(step([1, 2], [3]), step([1, 2, 8, 4], [5])), 0)
    assert [row.ids for row in rows] == [(1, 2, 3), (1, 2, 8, 4, 5)]


def test_merging_starts_again_after_a_break():
    rows = trajectory_rows(episode(step([1], [2]), step([7], [3]), step([7, 3, 4], [5])), 0)
    assert [row.ids for row in rows] == [(1, 2), (7, 3, 4, 5)]


def test_an_episode_without_steps_has_no_row():
    assert trajectory_rows(episode(), 0) == []


@given(st.lists(st.tuples(st.integers(1, 4), st.integers(1, 4), st.booleans()), min_size=1, max_size=6))
def test_every_sampled_token_is_trained_exactly_once(shapes):
    steps, before, next_id = [], [], iter(range(10_000))
    for new, replied, grows in shapes:
        prompt = (before if grows else []) + [next(next_id) for _ in range(new)]
        reply = [next(next_id) for _ in range(replied)]
        steps.append(step(prompt, reply))
        before = prompt + reply
    rows = trajectory_rows(episode(*steps), 0)
    trained = [token for row in rows for token, on in zip(row.ids, row.mask, strict=True) if on]
    assert trained == [token for one in steps for token in one.reply_ids]


WORDS = {1: "go ", 2: "</action>", 3: "<think>", 4: "why", 5: "</think>", 6: "</act", 7: "ion>"}


def decode(ids: tuple[int, ...]) -> str:
    return "".join(WORDS[i] for i in ids)


@pytest.mark.parametrize(
    ("reply", "order", "trained"),
    [
        ([1, 2, 3, 4, 5], "act_first", 2),
        ([1, 1, 6, 7, 3, 4, 5], "act_first", 4),  # the closing tag in two tokens
        ([1, 3, 4, 5], "act_first", 4),  # no action was closed: nothing to cut at
        ([4, 5, 1, 2], "think_first", 4),  # the thought comes before the action and earns its gradient
    ],
)
def test_masked_thoughts_leave_the_action_of_act_first_replies(reply, order, trained):
    (row,) = trajectory_rows(episode(step([9], reply), order=order), 0, masked_thoughts=decode)
    assert row.mask == (False, *[i < trained for i in range(len(reply))])
    (whole,) = trajectory_rows(episode(step([9], reply), order=order), 0)
    assert sum(whole.mask) == len(reply)


def test_a_step_pays_the_format_penalty_once_whatever_its_flags():
    optim = OptimConfig(success_reward=2.0, format_penalty=0.1, inadmissible_penalty=0.01)
    bad = step([1], [2], "no_action", "truncated")
    wrong = step([1], [2], "inadmissible")
    both = step([1], [2], "wrong_order", "inadmissible")
    assert episode_return(episode(bad, wrong, both, won=True), optim) == pytest.approx(2.0 - 0.2 - 0.02)
    assert episode_return(episode(step([1], [2], "env_error")), optim) == 0.0


ROWS = [
    Row((1, 2, 3), (False, True, True), (0.0, -1.0, -2.0), 0),
    Row((4, 5, 6, 7, 8), (False, False, True, False, True), (0.0, 0.0, -3.0, 0.0, -4.0), 1),
]


def test_rows_are_padded_on_the_right_and_to_a_multiple_without_gradient():
    batch = collate(ROWS, torch.tensor([0.5, -0.5]), pad_id=99, multiple=4)
    assert batch.ids.tolist()[0] == [1, 2, 3, 99, 99]
    assert batch.present.sum(1).tolist() == [3, 5, 2, 2]
    assert batch.mask.sum(1).tolist() == [2, 2, 0, 0]
    assert batch.advantages.tolist() == [[0.5] * 3 + [0.0] * 2, [-0.5] * 5, [0.0] * 5, [0.0] * 5]


def test_each_sampled_token_has_the_advantage_of_its_own_step():
    merged = episode(step([1, 2], [3]), step([1, 2, 3, 4], [5, 6]), step([8], [7]))
    rows = trajectory_rows(merged, 0) + trajectory_rows(episode(step([9], [2, 2])), 1)
    advantages = torch.tensor([[0.1, 0.2, 0.3], [0.4, 0.0, 0.0]])
    batch = collate(rows, advantages, pad_id=99)
    assert batch.advantages[batch.mask].tolist() == pytest.approx([0.1, 0.2, 0.2, 0.3, 0.4, 0.4])
    assert collate(rows, advantages[:, :1], pad_id=99).advantages[batch.mask].tolist() == pytest.approx(
        [0.1, 0.1, 0.1, 0.1, 0.4, 0.4]
    )


def test_steps_earn_what_the_environment_paid_where_the_return_counts():
    optim = OptimConfig(success_reward=2.0, outcome="return", format_penalty=0.1)
    one = episode(step([1], [2], "no_action"), step([1], [2]))
    paid = replace(one, steps=tuple(replace(s, reward=r) for s, r in zip(one.steps, (0.25, 0.5), strict=True)))
    assert step_rewards(paid, optim) == pytest.approx([0.4, 1.0])
    assert sum(step_rewards(paid, optim)) == pytest.approx(episode_return(paid, optim))


@pytest.mark.parametrize("won", [True, False])
def test_the_rewards_of_the_steps_sum_to_the_return_of_the_episode(won):
    optim = OptimConfig(success_reward=2.0, format_penalty=0.1, inadmissible_penalty=0.01)
    one = episode(step([1], [2], "no_action", "truncated"), step([1], [2], "wrong_order", "inadmissible"), won=won)
    assert step_rewards(one, optim) == pytest.approx([-0.1, -0.11 + 2.0 * won])
    assert sum(step_rewards(one, optim)) == pytest.approx(episode_return(one, optim))
    assert step_rewards(episode(), optim) == []


def test_no_row_at_all_still_gives_a_batch():
    assert collate([], torch.zeros(0), pad_id=0).mask.sum() == 0


@given(
    st.lists(st.integers(2, 9), min_size=1, max_size=8),
    st.integers(1, 40),
    st.integers(0, 2),
    st.randoms(use_true_random=False),
)
def test_slices_hold_each_trained_token_once_within_the_bound(lengths, most, empty, random):
    rows = [
        Row(tuple(range(n)), (False, *[random.random() < 0.5 for _ in range(n - 1)]), (0.0,) * n, i)
        for i, n in enumerate(lengths)
    ]
    collated = collate(rows, torch.arange(1.0, len(rows) + 1), pad_id=99, multiple=len(rows) + empty)
    batch = trl_inputs(collated, total=3, device=CPU)
    seen: list[tuple[float, int]] = []
    for indices, piece in sliced(batch, most):
        ids = torch.cat([piece["prompt_ids"], piece["completion_ids"]], dim=1)
        present = torch.cat([piece["prompt_mask"], piece["completion_mask"]], dim=1)
        assert piece["completion_ids"].shape == piece["tool_mask"].shape == piece["old_per_token_logps"].shape
        assert piece["prompt_ids"].shape[1] >= 1 <= piece["completion_ids"].shape[1]
        if len(indices) > 1 and piece["tool_mask"].any():
            assert ids.numel() <= most
        assert torch.equal(present.sum(1), collated.present[indices].sum(1))
        on = piece["tool_mask"].bool()
        for row, column in on.nonzero().tolist():
            seen.append((piece["advantages"][row, column].item(), int(piece["completion_ids"][row, column])))
    wanted = [(row.episode + 1.0, t) for row in rows for t, on in zip(row.ids, row.mask, strict=True) if on]
    assert sorted(seen) == sorted(wanted)


def test_slices_take_the_longest_rows_first_and_fill_up_to_the_bound():
    assert token_slices([3, 9, 4, 8], 18) == [[1, 3], [2, 0]]
    assert token_slices([50], 18) == [[0]]
