"""Training rows: trajectories as token sequences with a loss mask, packed into token-bounded slices.

Knows no model and no trainer; a tokenizer comes in as a `decode` function, and only where thoughts are
masked. One row per step; a step whose prompt extends the previous row's ids is merged into that row, with
everything but the replies masked. So a growing history becomes one row an episode, and a windowed history one
row a step, by one code path.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from actre.config import OptimConfig
from actre.orders import END_ACTION, tokens_up_to
from actre.types import Flag, Order, Trajectory

FORMAT_FLAGS: frozenset[Flag] = frozenset(("no_action", "wrong_order", "no_thought", "extra_text", "truncated"))
"""A step with one of these has wrong tags: it counts against the parse rate and takes the format penalty."""

Decode = Callable[[Sequence[int]], str]


@dataclass(frozen=True)
class Row:
    """One sequence to train on. All three tuples have length T.

    ids: tokens. mask: True where a token was sampled and carries gradient. logps: the sampler's log-
    probability (nats, temperature applied) of each sampled token, 0.0 elsewhere. episode: index of its
    trajectory. ends: after which tokens a step ends, one index a step; first_step: that of the first of them.
    """

    ids: tuple[int, ...]
    mask: tuple[bool, ...]
    logps: tuple[float, ...]
    episode: int
    ends: tuple[int, ...] = ()
    first_step: int = 0

    @property
    def first(self) -> int:
        """Index of the first token that carries gradient; the length where none does."""
        return self.mask.index(True) if True in self.mask else len(self.ids)

    def spread(self, steps: Tensor) -> Tensor:
        """(T,) each token's value, from the episode's (S,) values of its steps, or (1,) for all of them.

        >>> row = Row((7, 8, 9, 6, 5), (False, True, False, True, True), (0.0,) * 5, 0, ends=(2, 5), first_step=1)
        >>> row.spread(torch.tensor([0.1, 0.2, 0.3]))
        tensor([0.2000, 0.2000, 0.3000, 0.3000, 0.3000])
        """
        if len(steps) == 1:
            return steps.expand(len(self.ids))
        lengths = torch.tensor(self.ends).diff(prepend=torch.tensor([0]))
        return steps[self.first_step : self.first_step + len(self.ends)].repeat_interleave(lengths)


def trajectory_rows(trajectory: Trajectory, episode: int, *, masked_thoughts: Decode | None = None) -> list[Row]:
    """The rows of one episode; none for an episode without steps.

    masked_thoughts: None lets every sampled token carry gradient; a tokenizer's decode masks what follows the
    action in act-first replies.
    """
    rows: list[Row] = []
    ids: list[int] = []
    mask: list[bool] = []
    logps: list[float] = []
    ends: list[int] = []

    def close(after: int) -> None:
        if ids:
            row = Row(tuple(ids), tuple(mask), tuple(logps), episode, tuple(ends), first_step=after - len(ends))
            rows.append(row)

    for number, step in enumerate(trajectory.steps):
        if not ids or list(step.prompt_ids[: len(ids)]) != ids:
            close(number)
            ids, mask, logps, ends = [], [], [], []
        new = step.prompt_ids[len(ids) :]
        ids += [*new, *step.reply_ids]
        trained = _trained_tokens(step.reply_ids, trajectory.order, masked_thoughts)
        mask += [False] * len(new) + [i < trained for i in range(len(step.reply_ids))]
        logps += [0.0] * len(new) + list(step.reply_logps)
        ends.append(len(ids))
    close(len(trajectory.steps))
    return rows


def _trained_tokens(reply_ids: Sequence[int], order: Order, decode: Decode | None) -> int:
    """How many of a reply's first tokens carry gradient: all, or up to the action's closing tag."""
    if decode is None or order != "act_first":
        return len(reply_ids)
    return tokens_up_to(END_ACTION, reply_ids, decode)


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


def trained_tokens(row: Row) -> int:
    """How many of a row's tokens carry gradient."""
    return sum(row.mask)


def episode_weights(rows: Sequence[Row], episodes: int) -> Tensor:
    """(episodes,) factors that make each episode weigh the same in a token-normalised loss: mean length / length.

    Lengths are trained tokens over all of an episode's rows; an episode without any is not counted and gets 0.

    >>> row = Row((1, 2, 3, 4), (False, True, True, True), (0.0,) * 4, 0)
    >>> episode_weights([row, Row((1, 2), (False, True), (0.0,) * 2, 1)], 3)  # 3 and 1 tokens: mean 2
    tensor([0.6667, 2.0000, 0.0000])
    """
    lengths = torch.zeros(episodes)
    for row in rows:
        lengths[row.episode] += trained_tokens(row)
    present = lengths > 0
    mean = lengths.sum() / present.sum().clamp(min=1)
    return torch.where(present, mean / lengths.clamp(min=1), 0.0)


class RowBatch(NamedTuple):
    """Rows side by side, padded on the right only, so that positions count from each row's first token.

    ids (B, T) int64; present (B, T) bool, False on padding; mask (B, T) bool, True where a token carries
    gradient;
    logps (B, T) float32, the sampler's; advantages (B, T) float32, each token's, 0 on padding.
    """

    ids: Tensor
    present: Tensor
    mask: Tensor
    logps: Tensor
    advantages: Tensor


def collate(rows: Sequence[Row], advantages: Tensor, *, pad_id: int, multiple: int = 1) -> RowBatch:
    """Pad rows to a batch; `advantages` are the episodes' (E,), or those of their steps (E, S).

    The number of rows is brought to a multiple of `multiple`, and to one at least, by rows of two padding
    tokens without gradient: TRL splits a batch into equal parts and drops the remainder.
    """
    missing = -len(rows) % multiple if rows else multiple
    padded = [*rows, *[Row((pad_id,) * 2, (False,) * 2, (0.0,) * 2, -1)] * missing]
    width = max(len(row.ids) for row in padded)
    ids = torch.full((len(padded), width), pad_id, dtype=torch.long)
    present = torch.zeros((len(padded), width), dtype=torch.bool)
    mask = torch.zeros((len(padded), width), dtype=torch.bool)
    logps = torch.zeros((len(padded), width))
    per_token = torch.zeros((len(padded), width))
    by_step = advantages if advantages.dim() == 2 else advantages[:, None]
    for i, row in enumerate(padded):
        n = len(row.ids)
        ids[i, :n] = torch.tensor(row.ids)
        present[i, :n] = True
        mask[i, :n] = torch.tensor(row.mask)
        logps[i, :n] = torch.tensor(row.logps)
        if row.episode >= 0:
            per_token[i, :n] = row.spread(by_step[row.episode])
    return RowBatch(ids, present, mask, logps, per_token)


def token_slices(lengths: Sequence[int], most_tokens: int) -> list[list[int]]:
    """Indices of rows, longest first, in slices of at most `most_tokens` padded tokens (or of one row).

    >>> token_slices([3, 9, 4, 8], 18)
    [[1, 3], [2, 0]]
    """
    slices: list[list[int]] = []
    for index in sorted(range(len(lengths)), key=lambda i: (-lengths[i], i)):
        # the first row of a slice is its longest, so it sets the width
        if slices and lengths[slices[-1][0]] * (len(slices[-1]) + 1) <= most_tokens:
            slices[-1].append(index)
        else:
            slices.append([index])
    return slices


def trl_inputs(batch: RowBatch, total: int, device: torch.device) -> dict[str, Tensor]:
    """TRL's keys for a batch: columns before the first trained token are the prompt (B, P), others (B, C).

    Nothing is padded on the left. tool_mask marks the tokens that carry gradient; total is what the loss is
    divided
    by: the trained tokens of all rows, those left out of the batch included.
    """
    trained = batch.mask.any(dim=0)
    first = max(1, int(trained.float().argmax()))
    present, mask = batch.present.long(), batch.mask.long()
    inputs = {
        "prompt_ids": batch.ids[:, :first],
        "prompt_mask": present[:, :first],
        "completion_ids": batch.ids[:, first:],
        "completion_mask": present[:, first:],
        "tool_mask": mask[:, first:],
        "old_per_token_logps": batch.logps[:, first:],
        "advantages": batch.advantages[:, first:],
        "num_items_in_batch": torch.tensor(total),
    }
    return {key: value.to(device) for key, value in inputs.items()}


def sliced(batch: dict[str, Tensor], most_tokens: int) -> Iterator[tuple[list[int], dict[str, Tensor]]]:
    """A batch of `trl_inputs` as (rows, slice) of at most `most_tokens` padded tokens, longest rows first.

    A slice has the same keys. It loses the columns in which all its rows are padded, and its prompt grows up
    to its own first trained token, so that logits are computed for no more columns than need them.
    """
    ids = torch.cat([batch["prompt_ids"], batch["completion_ids"]], dim=1)
    present = torch.cat([batch["prompt_mask"], batch["completion_mask"]], dim=1)
    before = batch["prompt_ids"].shape[1]
    lengths = present.sum(dim=1).tolist()
    for rows in token_slices(lengths, most_tokens):
        trained = batch["tool_mask"][rows].any(dim=0)
        first = before + int(trained.float().argmax())
        width = max(first + 1, *(lengths[row] for row in rows))  # a column at least, for TRL scores one
        piece = {
            "prompt_ids": ids[rows, :first],
            "prompt_mask": present[rows, :first],
            "completion_ids": ids[rows, first:width],
            "completion_mask": present[rows, first:width],
            "num_items_in_batch": batch["num_items_in_batch"],
        }
        for key in ("tool_mask", "advantages", "old_per_token_logps", "ref_per_token_logps"):
            if key in batch:
                piece[key] = batch[key][rows, first - before : width - before]
        yield rows, piece
