"""Training rows: episodes as token sequences with a loss mask.

One row a step; a step whose prompt extends the previous row's ids is merged into that row, with everything but the
replies masked. So a growing history becomes one row an episode, and a windowed history one row a step, by one code
path.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from actre.orders import END_ACTION, tokens_up_to
from actre.types import Order, Trajectory

Decode = Callable[[Sequence[int]], str]


@dataclass(frozen=True)
class Row:
    """One sequence to train on. All three tuples have length T.

    ids: tokens. mask: True where a token was sampled and carries gradient. logps: the sampler's log-
    probability (nats, temperature applied) of each sampled token, 0.0 elsewhere. episode: index of its
    trajectory. ends: after which tokens a step ends, one index a step; first_step: that of the first of them. factors
    and marks: of each token, see tokens.py; empty where all are 1 or False.
    """

    ids: tuple[int, ...]
    mask: tuple[bool, ...]
    logps: tuple[float, ...]
    episode: int
    ends: tuple[int, ...] = ()
    first_step: int = 0
    factors: tuple[float, ...] = ()
    marks: tuple[bool, ...] = ()

    @property
    def first(self) -> int:
        """Index of the first token that carries gradient; the length where none does."""
        return self.mask.index(True) if True in self.mask else len(self.ids)

    @property
    def trained_tokens(self) -> int:
        """How many tokens carry gradient."""
        return sum(self.mask)

    def spread(self, steps: Tensor) -> Tensor:
        """(T,) each token's value, from the episode's (S,) values of its steps, or (1,) for all, times its factor.

        >>> row = Row((7, 8, 9, 6, 5), (False, True, False, True, True), (0.0,) * 5, 0, ends=(2, 5), first_step=1)
        >>> row.spread(torch.tensor([0.1, 0.2, 0.3]))
        tensor([0.2000, 0.2000, 0.3000, 0.3000, 0.3000])
        """
        if self.factors:
            return replace(self, factors=()).spread(steps) * torch.tensor(self.factors)
        if len(steps) == 1:
            return steps.expand(len(self.ids))
        lengths = torch.tensor(self.ends).diff(prepend=torch.tensor([0]))
        return steps[self.first_step : self.first_step + len(self.ends)].repeat_interleave(lengths)

    def scaled(self, factor: float) -> "Row":
        """The row with the factors of all tokens multiplied."""
        return replace(self, factors=tuple(factor * one for one in self.factors or (1.0,) * len(self.ids)))


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
