"""FSDP 2, torch's `fully_shard`: parameters, gradients and moments are DTensors, each under its own name."""

from typing import Any

import torch
from torch import Tensor
from torch.distributed.tensor import distribute_tensor

from actre import adapters
from actre.runtime import ranks
from actre.training import checkpoints
from actre.training.sharded.replicated import Held
from actre.training.sharded.step import Sharded, in_first


class Fsdp(Sharded):
    """Weights, gradients and moments are sharded layer by layer, base and adapter."""

    def gradients_are_finite(self) -> bool:
        parts = (ranks.part_here(p.grad) for p in self._model.parameters() if p.grad is not None)
        return all(ranks.all_of(all(bool(torch.isfinite(part).all()) for part in parts)))

    def held(self, optimizer: Any) -> Held:
        trained = {name: p for name, p in self._model.named_parameters() if p.requires_grad}
        moments = in_first(checkpoints.optimizer_tensors(optimizer))
        return Held(adapters.Held(in_first(trained), self._fingerprint), moments)

    def restore(self, optimizer: Any, saved: checkpoints.Checkpoint) -> None:
        parameters = [p for group in optimizer.param_groups for p in group["params"]]

        def sharded(key: str, value: Tensor) -> Tensor:
            if not value.dim():  # a count of steps
                return value
            like = parameters[int(key.partition(".")[0])]
            return distribute_tensor(value.to(self._device), like.device_mesh, like.placements)

        checkpoints.restore_optimizer(optimizer, {key: sharded(key, value) for key, value in saved.optimizer.items()})
