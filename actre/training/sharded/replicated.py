"""Replicated weights: every process has all weights and moments. The sharded kinds override what differs."""

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
    """A sharded model's weights and moments, gathered in the first process's memory; empty in the others.

    moments: see `checkpoints.optimizer_tensors`.
    """

    adapter: adapters.Held
    moments: dict[str, Tensor]


class TornError(ActreError):
    """A collective forward pass failed in this process while the others wait in it.

    The process has to end; the launcher then ends the others.
    """


class Replicated:
    """One process, or several with DDP. model: the one in training, however accelerate wraps it."""

    def __init__(self, accelerator: Accelerator, model: Any) -> None:
        self._accelerator, self._model = accelerator, model

    def begin(self) -> None:
        """Called once the model is prepared for training."""

    @contextmanager
    def in_step(self) -> Iterator[None]:
        """Within this, each process may make any number of forward passes, whatever the others do."""
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
        """Add a slice's gradient; processes average theirs after the last."""
        self._accelerator.backward(loss)

    def gradients_are_finite(self) -> bool:
        """Whether all gradients are finite; the same in every process."""
        return all(bool(torch.isfinite(p.grad).all()) for p in self._model.parameters() if p.grad is not None)

    def forget_moments(self, optimizer: Any) -> None:
        """Clear the optimizer's state."""
        optimizer.state.clear()

    def held(self, optimizer: Any) -> Held | None:
        """A copy of the current weights and moments; None where the model has them whole. Every process calls it."""
        return None

    def restore(self, optimizer: Any, saved: checkpoints.Checkpoint) -> None:
        """Restore a checkpoint's moments; the model already has its weights. Every process calls it."""
        checkpoints.restore_optimizer(optimizer, saved.optimizer)
