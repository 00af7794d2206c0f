"""Episodes with their advantages, as the batch that TRL's loss takes.

From episodes to tensors: `step_advantages` gives each step an advantage (its estimator: advantages.py), `batch_of`
spreads them over the tokens of this process's rows (rows.py) and pads them. Next: loss.py takes the optimizer step.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pkgutil import resolve_name
from typing import NamedTuple

import torch
from torch import Tensor

from actre.config import OptimConfig
from actre.config.estimators import ESTIMATORS
from actre.runtime import ranks
from actre.training.packed.pack import packables, packed_slices
from actre.training.returns import episode_return, step_rewards
from actre.training.rows import Row
from actre.training.tokens import column, row_weights
from actre.training.trl_settings import STEPS_PER_GENERATION
from actre.types import Trajectory

PER_TOKEN = ("tool_mask", "advantages", "old_per_token_logps", "ref_per_token_logps", "kl_weights", "kl_cov")
"""The keys of a batch with one value for each completion token, (B, C); the last three only where they are used."""


def groups_of(played: Sequence[Trajectory]) -> Tensor:
    """(B,) each episode's group; -1 where it has none."""
    return torch.tensor([-1 if one.group is None else one.group for one in played])


def step_advantages(played: Sequence[Trajectory], groups: Tensor, optim: OptimConfig) -> Tensor:
    """(B, S) advantages of each episode's steps, or (B, 1) where all of its steps have the same.

    Two steps start from the same state where the environment shows the same: text, task and admissible actions, or the
    text alone, as the estimator's row says (`anchor`).
    """
    estimator = ESTIMATORS[optim.advantage]
    advantages = resolve_name(estimator.function)
    if estimator.of == "episodes":
        returns = torch.tensor([episode_return(one, optim) for one in played])
        return torch.as_tensor(advantages(returns, groups))[:, None]
    rewards = [step_rewards(one, optim) for one in played]
    whole = estimator.anchor == "observation"
    states = [[step.observation if whole else step.observation.text for step in one.steps] for one in played]
    weighing = {argument: getattr(optim, setting) for argument, setting in estimator.takes.items()}
    return torch.as_tensor(advantages(rewards, states, groups, **weighing))


def with_advantages(played: Sequence[Trajectory], advantages: Tensor) -> list[Trajectory]:
    """The episodes with each step's advantage in it, for the record. advantages: of those whose environment did not
    fail, in their order; the others stay as they are.
    """
    given = iter(advantages.tolist())

    def marked(one: Trajectory) -> Trajectory:
        of_steps = next(given)
        every = of_steps * len(one.steps) if len(of_steps) == 1 else of_steps
        return replace(one, steps=tuple(replace(s, advantage=a) for s, a in zip(one.steps, every, strict=False)))

    return [one if "env_error" in one.meta else marked(one) for one in played]


def batch_of(
    rows: Sequence[Row],
    advantages: Tensor,
    groups: Tensor,
    optim: OptimConfig,
    *,
    pad_id: int,
    device: torch.device,
    longest: int,
) -> dict[str, Tensor]:
    """TRL's batch (see `trl_inputs`) of the rows this process trains on; its loss is divided by all counted tokens.

    rows: of all episodes. advantages: (B, S) or (B, 1). groups: (B,). longest: most sampled tokens that an episode may
    have, for `normalise` "constant". Rows whose advantages are 0 carry no gradient and are left out of the forward
    pass, unless there is a KL term or an entropy bonus. Their tokens still count, those of zero-variance groups only
    where `optim.groups_without_signal` is "keep".
    """
    if optim.groups_without_signal == "drop":
        varied = [int(g) for g in groups.unique() if advantages[groups == g].any()]
        rows = [row for row in rows if groups[row.episode] in varied]
    whole = optim.kl_beta != 0.0 or optim.entropy_coef != 0.0
    kept = [i for i, row in enumerate(rows) if whole or any(row.marks) or row.spread(advantages[row.episode]).any()]
    weights = loss_weights(rows, len(groups), optim)
    if optim.normalise == "episode":
        advantages = advantages * episode_weights(rows, len(groups))[:, None]
    elif weights is not None:
        rows = [row.scaled(weight) for row, weight in zip(rows, weights, strict=True)]
    mine = [kept[i] for i in ranks.balanced([len(rows[i].ids) for i in kept], ranks.count())[ranks.rank()]]
    trained = [rows[i] for i in mine]
    counted = sum(row.trained_tokens for row in rows)
    total = len(groups) * longest if optim.normalise == "constant" else counted
    collated = collate(trained, advantages, pad_id=pad_id, multiple=STEPS_PER_GENERATION)
    inputs = trl_inputs(collated, total, device)
    columns: dict[str, list[Sequence[float]]] = {}
    if weights is not None and optim.kl_beta != 0.0:
        columns["kl_weights"] = [(weights[i],) * len(rows[i].ids) for i in mine]
    if optim.covariance == "kl":
        columns["kl_cov"] = [row.marks for row in trained]
    for name, values in columns.items():
        inputs[name] = column(values, inputs["tool_mask"], inputs["prompt_ids"].shape[1])
    if total != counted:
        inputs["trained_tokens"] = torch.tensor(counted, device=device)
    return inputs


def loss_weights(rows: Sequence[Row], episodes: int, optim: OptimConfig) -> list[float] | None:
    """What each row's tokens weigh in the loss, by `normalise`; None where all weigh 1."""
    if optim.normalise == "episode":
        of_episode = episode_weights(rows, episodes).tolist()
        return [of_episode[row.episode] for row in rows]
    return row_weights(rows) if optim.normalise == "row" else None


def episode_weights(rows: Sequence[Row], episodes: int) -> Tensor:
    """(episodes,) factors that make each episode weigh the same in a token-normalised loss: mean length / length.

    Lengths are trained tokens over all of an episode's rows; an episode without any is not counted and gets 0.

    >>> row = Row((1, 2, 3, 4), (False, True, True, True), (0.0,) * 4, 0)
    >>> episode_weights([row, Row((1, 2), (False, True), (0.0,) * 2, 1)], 3)  # 3 and 1 tokens: mean 2
    tensor([0.6667, 2.0000, 0.0000])
    """
    lengths = torch.zeros(episodes)
    for row in rows:
        lengths[row.episode] += row.trained_tokens
    present = lengths > 0
    mean = lengths.sum() / present.sum().clamp(min=1)
    return torch.where(present, mean / lengths.clamp(min=1), 0.0)


class RowBatch(NamedTuple):
    """Rows side by side, padded on the right only, so that positions count from each row's first token.

    ids (B, T) int64; present (B, T) bool, False on padding; mask (B, T) bool, True where a token carries
    gradient; logps (B, T) float32, the sampler's; advantages (B, T) float32, each token's, 0 on padding.
    """

    ids: Tensor
    present: Tensor
    mask: Tensor
    logps: Tensor
    advantages: Tensor


def collate(rows: Sequence[Row], advantages: Tensor, *, pad_id: int, multiple: int = 1) -> RowBatch:
    """Pad rows to a batch. advantages: (E,) of the episodes, or (E, S) of their steps.

    Rows of two padding tokens without gradient are added until their number is a positive multiple of `multiple`: TRL
    splits a batch into equal parts and drops the remainder.
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

    Nothing is padded on the left. tool_mask marks the tokens that carry gradient. total: what the loss is divided by,
    the trained tokens of all rows, those left out of the batch included.
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


def sliced(
    batch: dict[str, Tensor], most_tokens: int, *, packed: bool = False
) -> Iterator[tuple[list[int], dict[str, Tensor]]]:
    """A batch of `trl_inputs` as (rows, slice) of at most `most_tokens` padded tokens, longest rows first; packed: of
    as many different tokens (see packed/pack.py).

    A slice has the same keys. It loses the columns in which all its rows are padded, and its prompt grows up
    to its own first trained token, so that logits are computed for no more columns than need them.
    """
    ids = torch.cat([batch["prompt_ids"], batch["completion_ids"]], dim=1)
    present = torch.cat([batch["prompt_mask"], batch["completion_mask"]], dim=1)
    before = batch["prompt_ids"].shape[1]
    lengths = present.sum(dim=1).tolist()
    for rows in _packed_rows(batch, ids, lengths, most_tokens) if packed else token_slices(lengths, most_tokens):
        trained = batch["tool_mask"][rows].any(dim=0)
        first = before + int(trained.float().argmax())
        width = max(first + 1, *(lengths[row] for row in rows))  # at least one column, which TRL requires
        piece = {
            "prompt_ids": ids[rows, :first],
            "prompt_mask": present[rows, :first],
            "completion_ids": ids[rows, first:width],
            "completion_mask": present[rows, first:width],
            "num_items_in_batch": batch["num_items_in_batch"],
        }
        for key in PER_TOKEN:
            if key in batch:
                piece[key] = batch[key][rows, first - before : width - before]
        yield rows, piece


def _packed_rows(batch: dict[str, Tensor], ids: Tensor, lengths: Sequence[int], most_tokens: int) -> list[list[int]]:
    counted = ids.new_zeros(ids.shape, dtype=torch.bool)
    counted[:, batch["prompt_ids"].shape[1] :] = batch["tool_mask"].bool()
    slices = packed_slices(packables(ids, lengths, counted), most_tokens)
    return [[row for family in families for row in family.rows] for families in slices]
