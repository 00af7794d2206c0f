"""Forward passes with sharded weights, where processes make different numbers of them.

The layers gather their weights from all processes during a pass. In an update every process makes equally many passes.
In sampling and measuring each makes as many as its own episodes need, and a pass that the others do not make would wait
forever. So every pass begins with a collective call, and a process that has finished computes one token for as long as
another one still computes. No process ever holds more of the base than its shard and one layer.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
import torch.distributed
from accelerate import Accelerator
from torch import Tensor
from torch.distributed.tensor import DTensor

from actre import adapters
from actre.runtime import ranks
from actre.training.sharded.replicated import Replicated, TornError

T = TypeVar("T")


class Sharded(Replicated):
    """What all kinds of sharding share. Created before the model is sharded."""

    def __init__(self, accelerator: Accelerator, model: Any) -> None:
        super().__init__(accelerator, model)
        self._device = accelerator.device
        self._fingerprint = adapters.fingerprint(model)

    def begin(self) -> None:
        """Logits in float32, as without sharding: log-probabilities in bfloat16 are too coarse."""
        self._model.register_forward_hook(_full_logits)  # after the hook that casts FSDP's output

    @contextmanager
    def in_step(self) -> Iterator[None]:
        with _Meetings(self._model, self._device) as meetings:
            try:
                yield
            except Exception as error:
                if ranks.lost_another(error):
                    raise
                if meetings.computing:
                    raise TornError(f"{error}; the other processes wait in this pass, and the run ends") from error
                meetings.until_all_are_done()
                raise
            meetings.until_all_are_done()

    def from_first(self, make: Callable[[], T]) -> T:
        made: list[T] = []
        failed: list[Exception] = []
        try:
            with self.in_step():
                if ranks.is_first():
                    made.append(make())
        except Exception as error:
            if isinstance(error, TornError) or ranks.lost_another(error):
                raise
            failed.append(error)  # raised below, in every process

        def result() -> T:
            if failed:
                raise failed[0]
            return made[0]

        return ranks.from_first(result)


def _full_logits(model: Any, given: Any, output: Any) -> Any:
    output["logits"] = output.logits.float()
    return output


class _Meetings:
    """Holds each forward pass of the model until every process makes one."""

    def __init__(self, model: Any, device: torch.device) -> None:
        self._model, self._device = model, device
        self._busy = True
        self.computing = False

    def __enter__(self) -> "_Meetings":
        before = self._model.register_forward_pre_hook(self._before, prepend=True)
        self._hooks = (before, self._model.register_forward_hook(self._after))
        return self

    def __exit__(self, *_: object) -> None:
        for hook in self._hooks:
            hook.remove()

    def until_all_are_done(self) -> None:
        """Make passes for as long as another process makes them."""
        self._busy = False
        one = torch.zeros((1, 1), dtype=torch.long, device=self._device)
        with torch.no_grad():
            while self._meet():
                self._model(input_ids=one, use_cache=False)

    def _before(self, *_: Any) -> None:
        if self._busy:
            self._meet()
        self.computing = True

    def _after(self, *_: Any) -> None:
        self.computing = False

    def _meet(self) -> bool:
        """Wait for all processes; returns whether one of them still computes."""
        busy = torch.tensor(int(self._busy), device=self._device)
        torch.distributed.all_reduce(busy, op=torch.distributed.ReduceOp.MAX)
        return bool(busy.item())


def gathered_adapter(model: Any) -> dict[str, Tensor] | None:
    """The trained weights by name, gathered; None where the model has them whole. Every process calls it."""
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    if any(isinstance(p, DTensor) for p in trained.values()):
        return {name: p.full_tensor().detach().cpu() for name, p in trained.items()}
    if any(hasattr(p, "ds_id") for p in trained.values()):
        import deepspeed

        with deepspeed.zero.GatheredParameters(list(trained.values())):
            return {name: p.detach().cpu().clone() for name, p in trained.items()}
    return None


def in_first(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors, gathered one at a time in the first process's memory; {} in the others."""
    whole: dict[str, Tensor] = {}
    for name, value in tensors.items():
        found = value.full_tensor() if isinstance(value, DTensor) else value
        if ranks.is_first():
            whole[name] = found.detach().cpu().clone()
    return whole
