"""What is particular to single tokens: factors on their advantage, and the marks of further terms of the loss.

`weighed` runs between rows.py and batch.py: it returns rows whose `factors` multiply their tokens' advantages. Sources
and settings: `covariance` (KL-Cov, Clip-Cov), `thought_weight` and `energy_weight` (ActFocus), `normalise=row` (GSPO).
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from actre.config import OptimConfig
from actre.orders import END_ACTION, END_THINK, tokens_up_to
from actre.training.rows import Decode, Row
from actre.types import Order, Trajectory

Energies = Callable[[Sequence[Row]], list[Tensor]]
"""The energy of each token of each row; see `SlicedTrainer.energies`."""


def weighed(
    rows: Sequence[Row],
    played: Sequence[Trajectory],
    advantages: Tensor,
    optim: OptimConfig,
    *,
    decode: Decode,
    energies: Energies,
    seed: int,
) -> list[Row]:
    """The rows with the factors and marks that the settings ask for; unchanged where they ask for none.

    advantages: (B, S) or (B, 1), of the episodes' steps. energies: called only for `energy_weight`. seed: of Clip-Cov's
    draw; every process draws the same.
    """
    found = list(rows)
    if (optim.thought_weight, optim.energy_weight) != (1.0, 0.0):
        parts = [action_tokens(row, played[row.episode], decode) for row in found]
        energy = energies(found) if optim.energy_weight else [torch.zeros(len(row.ids)) for row in found]
        found = _scaled(found, focus(found, parts, energy, optim.thought_weight, optim.energy_weight))
    if optim.covariance != "none":
        found = _by_covariance(found, advantages, optim, seed)
    return found


def _scaled(rows: Sequence[Row], factors: Sequence[Tensor]) -> list[Row]:
    return [replace(row, factors=tuple(one.tolist())) for row, one in zip(rows, factors, strict=True)]


# --- KL-Cov and Clip-Cov ---


def covariances(advantages: Tensor, logps: Tensor) -> Tensor:
    """(N,) each token's share of the covariance of advantage and log-probability: (A - mean A)(logp - mean logp).

    A large one is a likely token that is rewarded, or an unlikely one that is punished: what makes entropy fall.

    Source: "The Entropy Mechanism of Reinforcement Learning" (arXiv 2505.22617), equation 9.

    >>> covariances(torch.tensor([1.0, -1.0]), torch.tensor([-1.0, -3.0]))
    tensor([1., 1.])
    """
    return (advantages - advantages.mean()) * (logps - logps.mean())


def largest(cov: Tensor, share: float) -> Tensor:
    """(N,) bool: the tokens with the largest covariance, `share` of all and at least one.

    Source: KL-Cov (arXiv 2505.22617), section 4.3; the rounding is verl's (core_algos.py, compute_policy_loss_kl_cov).

    >>> largest(torch.tensor([0.1, 4.0, 0.2, 3.0]), 0.5)
    tensor([False,  True, False,  True])
    """
    marks = torch.zeros(len(cov), dtype=torch.bool)
    marks[torch.topk(cov, min(len(cov), max(1, int(len(cov) * share)))).indices] = True
    return marks


def drawn(cov: Tensor, share: float, low: float, high: float, seed: int) -> Tensor:
    """(N,) bool: `share` of all tokens (at least one), drawn among those whose covariance is between the bounds.

    Fewer where there are fewer such tokens. Source: Clip-Cov (arXiv 2505.22617), section 4.3; the rounding is verl's
    (core_algos.py, compute_policy_loss_clip_cov).

    >>> drawn(torch.tensor([0.5, 2.0, 9.0]), 1.0, 1.0, 5.0, seed=0)
    tensor([False,  True, False])
    """
    marks = torch.zeros(len(cov), dtype=torch.bool)
    (within,) = torch.nonzero((cov > low) & (cov < high), as_tuple=True)
    order = torch.randperm(len(within), generator=torch.Generator().manual_seed(seed))
    marks[within[order[: max(1, int(len(cov) * share))]]] = True
    return marks


def _by_covariance(rows: Sequence[Row], advantages: Tensor, optim: OptimConfig, seed: int) -> list[Row]:
    """Mark the largest tokens (KL-Cov), or take the advantage of those drawn (Clip-Cov).

    Differs from verl: once for a whole batch of episodes, with the log-probabilities it was sampled with, which are the
    policy's at the first update; verl selects anew in each micro-batch.
    """
    trained = [torch.tensor(row.mask, dtype=torch.bool) for row in rows]
    logps = torch.cat([torch.tensor(row.logps)[on] for row, on in zip(rows, trained, strict=True)])
    given = torch.cat([row.spread(advantages[row.episode])[on] for row, on in zip(rows, trained, strict=True)])
    if not len(logps):
        return list(rows)
    cov = covariances(given, logps)
    if optim.covariance == "kl":
        marks = largest(cov, optim.cov_share)
    else:
        marks = drawn(cov, optim.cov_share, optim.cov_low, optim.cov_high, seed)
    found: list[Row] = []
    for row, on, of_row in zip(rows, trained, marks.split([int(on.sum()) for on in trained]), strict=True):
        every = torch.zeros(len(row.ids), dtype=torch.bool).masked_scatter(on, of_row)
        if optim.covariance == "kl":
            found.append(replace(row, marks=tuple(every.tolist())))
        else:
            factors = torch.tensor(row.factors or (1.0,) * len(row.ids)).masked_fill(every, 0.0)
            found.append(replace(row, factors=tuple(factors.tolist())))
    return found


# --- ActFocus ---


def focus(
    rows: Sequence[Row], actions: Sequence[Tensor], energies: Sequence[Tensor], alpha: float, beta: float
) -> list[Tensor]:
    """Each row's (T,) factors: alpha on thoughts, 1 + beta * sigmoid((E - mu) / sd) on actions.

    actions: (T,) bool of each row. energies: (T,), E = -logsumexp of the logits that a token was sampled from, without
    gradient. mu and sd are over all trained action tokens of the batch; sd 0 gives the sigmoid of 0.

    Source: ActFocus (arXiv 2605.14558). Differs, because only its abstract and this formula could be had: alpha 0.1,
    beta 1 and the batch as the range of mu and sd are assumed; the logits are the policy's before the first update, not
    divided by the temperature; an action's tags count as its tokens.

    >>> row = Row((1, 2, 3), (True, True, True), (0.0,) * 3, 0)
    >>> focus([row], [torch.tensor([False, True, True])], [torch.tensor([9.0, -1.0, 1.0])], 0.5, 1.0)[0]
    tensor([0.5000, 1.3302, 1.6698])
    """
    on = [one & torch.tensor(row.mask, dtype=torch.bool) for row, one in zip(rows, actions, strict=True)]
    of_actions = torch.cat([energy[some] for energy, some in zip(energies, on, strict=True)])
    if not len(of_actions):
        return [torch.full((len(row.ids),), alpha) for row in rows]
    mean, deviation = of_actions.mean(), of_actions.std() if len(of_actions) > 1 else torch.tensor(0.0)
    scale = 1 / deviation if deviation > 0 else 0.0
    return [
        torch.where(one, 1 + beta * torch.sigmoid((energy - mean) * scale), alpha)
        for one, energy in zip(actions, energies, strict=True)
    ]


def action_tokens(row: Row, played: Trajectory, decode: Decode) -> Tensor:
    """(T,) bool: the tokens of actions and their tags, in the replies of a row."""
    found = torch.zeros(len(row.ids), dtype=torch.bool)
    for number, end in enumerate(row.ends):
        reply = played.steps[row.first_step + number].reply_ids
        first, last = action_span(reply, played.order, decode)
        start = end - len(reply)
        found[start + first : start + last] = True
    return found


def action_span(reply_ids: Sequence[int], order: Order, decode: Decode) -> tuple[int, int]:
    """Where the action begins and ends in a reply: after the thought's closing tag in think-first, else at the start,
    and with the action's closing tag. A think-first reply that never closes its thought has no action.

    >>> write = lambda ids: "".join(("so", "</think>", "<action>", "go", "</action>")[i] for i in ids)
    >>> action_span((0, 1, 2, 3, 4), "think_first", write), action_span((3, 4, 0, 1), "act_first", write)
    ((2, 5), (0, 2))
    """
    first = tokens_up_to(END_THINK, reply_ids, decode) if order == "think_first" else 0
    return first, max(first, tokens_up_to(END_ACTION, reply_ids, decode))


# --- columns of the batch ---


def row_weights(rows: Sequence[Row]) -> list[float]:
    """Factors that make each row weigh the same in a token-normalised loss: mean length / its own, in trained tokens.

    Rows without trained tokens do not count and get 0.

    >>> long = Row((1, 2, 3, 4), (False, True, True, True), (0.0,) * 4, 0)
    >>> row_weights([long, Row((1, 2), (False, True), (0.0,) * 2, 1)])
    [0.6666666666666666, 2.0]
    """
    lengths = [row.trained_tokens for row in rows]
    mean = sum(lengths) / max(1, sum(n > 0 for n in lengths))
    return [mean / n if n else 0.0 for n in lengths]


def column(values: Sequence[Sequence[float]], like: Tensor, first: int) -> Tensor:
    """(B, C) one value a token, for TRL's batch. values: of all tokens of each row; like: a tensor of that shape;
    first: the columns before the completion. Padding, and rows beyond the values, get 0.
    """
    found = torch.zeros(like.shape[0], first + like.shape[1])
    for i, one in enumerate(values):
        found[i, : len(one)] = torch.tensor(one, dtype=torch.float32)
    return found[:, first:].to(like.device)
