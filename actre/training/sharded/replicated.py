"""Nothing is cut: every process has all weights and all moments. What the ways of cutting do otherwise, they override.

Knows accelerate's passes and the optimizer; not how anything is cut.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any, NamedTuple, TypeVar

import torch
from accelerate import Accelerator
from torch import Tensor

from actre import adapters
from actre.runtime import ranks
from actre.training import checkpoints
from actre.types import ActreError

T = TypeVar("T")


class Held(NamedTuple):
    """Weights and moments of a model that is cut, whole, in the first process' memory; empty in the others.

    moments: see `checkpoints.optimizer_tensors`.
    """

    adapter: adapters.Held
    moments: dict[str, Tensor]


class TornError(ActreError):
    """A forward pass that all processes make together failed in this one: the others wait in it and cannot be told.

    It has to end this process; then whoever launched them ends the others.
    """


class Whole:
    """One process, or several with DDP. model: the one in training, whichever way accelerate wraps it."""

    def __init__(self, accelerator: Accelerator, model: Any) -> None:
        self._accelerator, self._model = accelerator, model

    def begin(self) -> None:
        """Called once the model is prepared for training."""

    @contextmanager
    def in_step(self) -> Iterator[None]:
        """Here each process may compute with the model as often as it likes, whatever the others do."""
        yield

    def from_first(self, make: Callable[[], T]) -> T:
        """`ranks.from_first` of something that computes with the model."""
        return ranks.from_first(make)

    @contextmanager
    def slice(self, wrapped: Any, *, last: bool) -> Iterator[None]:
        """Around a slice's forward and backward pass. wrapped: the model as accelerate prepared it."""
        with nullcontext() if last else self._accelerator.no_sync(wrapped):
            yield

    def backward(self, loss: Tensor, *, last: bool) -> None:
        """Add a slice's gradient; the processes share theirs in the last."""
        self._accelerator.backward(loss)

    def gradients_are_finite(self) -> bool:
        """Whether all gradients are numbers; the same in every process."""
        return all(bool(torch.isfinite(p.grad).all()) for p in self._model.parameters() if p.grad is not None)

    def forget_moments(self, optimizer: Any) -> None:
        """Let the optimizer begin anew."""
        optimizer.state.clear()

    def held(self, optimizer: Any) -> Held | None:
        """A copy of weights and moments as they are now; None where they can be read at any time. All call it."""
        return None

    def restore(self, optimizer: Any, saved: checkpoints.Checkpoint) -> None:
        """Put back a checkpoint's moments, where the model has its weights already; all call it."""
        checkpoints.restore_optimizer(optimizer, saved.optimizer)
