"""Whether the engine samples the model in training: its log-probabilities agree, and it uses the adapter.

Training kits have run for days while their engine sampled the base model or silently dropped the adapter. Here each
iteration is checked on a few rows.
"""

from typing import NamedTuple

from torch import Tensor

from actre.types import ActreError

BOUND_NATS = 1e-3
"""Largest mean difference of a sampled token's log-probability between engine and trainer in float32."""
BOUND_HALF_NATS = 5e-2
"""The same in bfloat16, float16 and 4 bits, where both round differently. Assumed; not measured on a GPU."""
_VISIBLE = {True: 1e-4, False: 2e-2}
"""Smallest root mean square of the adapter's effect (nats a token) that is distinct from rounding; key: float32."""
_SURE = 3.0
"""Standard errors."""


class EngineError(ActreError):
    """The episodes were not sampled by the model in training."""


class Agreement(NamedTuple):
    """Over the sampled tokens of a few rows, in nats.

    gap, largest_gap: |engine - trainer|, mean and maximum. shift: |trainer - base model|, mean: what the adapter does.
    followed: how much of that shift the engine shows, by least squares: 1 if it uses the adapter, 0 if it does not;
    error: its standard error. Both are None if the adapter's effect is too small.
    """

    gap: float
    largest_gap: float
    shift: float
    followed: float | None
    error: float | None

    def metrics(self) -> dict[str, float]:
        """Fields of a line of metrics.jsonl; adapter_followed only where it is known."""
        line = {"engine_gap_nats": self.gap, "engine_gap_max_nats": self.largest_gap, "adapter_shift_nats": self.shift}
        return line if self.followed is None else {**line, "adapter_followed": self.followed}


def compare(sampled: Tensor, trained: Tensor, base: Tensor, *, full: bool = True) -> Agreement:
    """Log-probabilities (N,) of the same sampled tokens: the engine's, the trainer's, the base model's.

    full: computed in float32. With no token everything agrees.

    >>> import torch
    >>> base = torch.tensor([-1.0, -2.0, -0.5, -3.0])
    >>> trained = base + torch.tensor([0.1, -0.2, 0.3, -0.1])
    >>> compare(trained, trained, base).followed, compare(base, trained, base).followed
    (1.0, 0.0)
    """
    if not len(sampled):
        return Agreement(0.0, 0.0, 0.0, None, None)
    sampled, trained, base = (logps.double().cpu() for logps in (sampled, trained, base))
    gap, effect = (sampled - trained).abs(), trained - base
    square = float((effect**2).sum())
    followed = error = None
    if (square / len(effect)) ** 0.5 > _VISIBLE[full] and len(effect) > 1:
        followed = float(((sampled - base) * effect).sum()) / square
        residual = sampled - base - followed * effect
        error = (float((residual**2).sum()) / (len(effect) - 1) / square) ** 0.5
    return Agreement(float(gap.mean()), float(gap.max()), float(effect.abs().mean()), followed, error)


def must_agree(found: Agreement, *, full: bool, iteration: int) -> None:
    """Raises EngineError if the engine samples another model, or without the adapter."""
    bound = BOUND_NATS if full else BOUND_HALF_NATS
    if found.followed is not None and found.error is not None and found.followed + _SURE * found.error < 0.5:
        raise EngineError(
            f"iteration {iteration}: the episodes were sampled without the adapter in training: of its effect "
            f"({found.shift:.1e} nats a token) they show {found.followed:.0%}. Nothing was learned from them; use "
            "--engine hf --loader plain, and see what the engine loaded"
        )
    if not found.gap <= bound:  # NaN is an error too
        raise EngineError(
            f"iteration {iteration}: the engine's log-probabilities are {found.gap:.1e} nats a token off the trainer's "
            f"(at most {found.largest_gap:.1e}; {bound:.0e} is allowed): other weights, another precision or "
            "another adapter. Use --engine hf --loader plain, or the same dtype for both"
        )
