"""DeepSpeed ZeRO 1, 2 and 3: moments, gradients and, in stage 3, weights are parts of flat tensors.

`deepspeed.utils.safe_get_full_*` and `safe_set_*` lead from flat tensors to parameters and back. deepspeed is imported
where it is used, so that only its users need it.

DeepSpeed 0.19.8 has no public way to put moments into an optimizer that has not stepped yet. They are put into its
state, and in stages 1 and 2 announced by `_lazy_init_hp_params_optimizer_state`.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from actre import adapters
from actre.runtime import ranks
from actre.training import checkpoints
from actre.training.sharded.replicated import Held
from actre.training.sharded.step import Sharded, in_first


class Zero(Sharded):
    """Stages 1 and 2: every process has all weights and a part of the moments; in stage 2 of the gradients too.

    The optimizer's step is part of the last backward pass, so gradients are checked too late. `held` has the weights
    from before.
    """

    @contextmanager
    def in_step(self) -> Iterator[None]:
        yield  # weights are replicated

    @contextmanager
    def slice(self, wrapped: Any, *, last: bool) -> Iterator[None]:
        yield  # see `backward`

    def backward(self, loss: Tensor, *, last: bool) -> None:
        self._accelerator.deepspeed_engine_wrapped.backward(loss, sync_gradients=last)

    def gradients_are_finite(self) -> bool:
        engine = self._accelerator.deepspeed_engine_wrapped.engine
        if engine.fp16_enabled():  # infinite ones are normal there, and the step is skipped
            return True
        return bool(torch.isfinite(torch.as_tensor(engine.get_global_grad_norm())))

    def forget_moments(self, optimizer: Any) -> None:
        for state in _inner(optimizer).state.values():  # in place: DeepSpeed has views into these tensors
            for value in state.values():
                value.zero_()

    def held(self, optimizer: Any) -> Held:
        from deepspeed.utils import safe_get_full_fp32_param, safe_get_full_optimizer_state

        weights = {n: safe_get_full_fp32_param(p) for n, p in self._model.named_parameters() if p.requires_grad}
        states = list(_inner(optimizer).state.values())
        moments: dict[str, Tensor] = {}
        for i, parameter in enumerate(self._trained(optimizer) if states else ()):
            for name, part in states[0].items():
                moments[f"{i}.{name}"] = safe_get_full_optimizer_state(parameter, name) if part.dim() else part
        return Held(adapters.Held(in_first(weights), self._fingerprint), in_first(moments))

    def restore(self, optimizer: Any, saved: checkpoints.Checkpoint) -> None:
        """Weights too: in half precision the model has them rounded, while DeepSpeed's optimizer has them in full."""
        names = {key.partition(".")[2]: value for key, value in saved.optimizer.items() if key.startswith("0.")}
        inner = _inner(optimizer)
        for flat in self._flat(optimizer) if names else ():
            inner.state[flat] = {
                name: torch.zeros_like(flat) if value.dim() else value.to(_place_of_counts(inner, flat), copy=True)
                for name, value in names.items()
            }
        self._link(optimizer)
        by_id = {id(p): name for name, p in self._model.named_parameters()}
        for i, parameter in enumerate(self._trained(optimizer)):
            self._put(parameter, saved.adapter[by_id[id(parameter)].replace(".default.", ".")])
            for name, value in names.items():
                if value.dim():
                    self._put(parameter, saved.optimizer[f"{i}.{name}"], name)

    # --- where stage 3 differs ---

    def _trained(self, optimizer: Any) -> list[Any]:
        """The trained parameters in the order of the wrapped optimizer."""
        return [p for group in optimizer.optimizer.bit16_groups for p in group]

    def _flat(self, optimizer: Any) -> list[Tensor]:
        """The flat tensors that the optimizer works on."""
        return list(optimizer.optimizer.single_partition_of_fp32_groups)

    def _link(self, optimizer: Any) -> None:
        """Register moments that were not made by a step."""
        optimizer.optimizer._hp_optimizer_states_linked = False
        optimizer.optimizer._lazy_init_hp_params_optimizer_state()

    def _put(self, parameter: Any, value: Tensor, moment: str | None = None) -> None:
        """Distribute a whole value to its shards. moment: its name; None for the weight itself."""
        from deepspeed.utils import safe_set_full_fp32_param, safe_set_full_optimizer_state

        value = value.to(self._device)
        if moment is None:
            safe_set_full_fp32_param(parameter, value)
        else:
            safe_set_full_optimizer_state(parameter, value, moment)


class Zero3(Zero):
    """Stage 3: weights are sharded too, base and adapter, and gathered layer by layer."""

    in_step = Sharded.in_step

    def _trained(self, optimizer: Any) -> list[Any]:
        return [p for group in optimizer.optimizer.fp16_groups for p in group]

    def _flat(self, optimizer: Any) -> list[Tensor]:
        return list(optimizer.optimizer.fp32_partitioned_groups_flat)

    def _link(self, optimizer: Any) -> None:
        pass  # DeepSpeed looks them up itself

    def _put(self, parameter: Any, value: Tensor, moment: str | None = None) -> None:
        from deepspeed.utils import safe_get_local_fp32_param, safe_set_local_fp32_param, safe_set_local_optimizer_state

        size = safe_get_local_fp32_param(parameter).numel()  # the same in all processes, so the last one's is padded
        padded = torch.zeros(size * ranks.count(), device=self._device)
        padded[: value.numel()] = value.flatten().to(self._device)
        part = padded[size * ranks.rank() :][:size]
        if moment is None:
            safe_set_local_fp32_param(parameter, part)
        else:
            safe_set_local_optimizer_state(parameter, part, moment)


def _inner(optimizer: Any) -> torch.optim.Optimizer:
    """torch's optimizer, which DeepSpeed wraps, which accelerate wraps."""
    return optimizer.optimizer.optimizer


def _place_of_counts(optimizer: torch.optim.Optimizer, flat: Tensor) -> torch.device:
    """The device on which torch's optimizers keep their step count."""
    settings = optimizer.defaults
    return flat.device if settings.get("fused") or settings.get("capturable") else torch.device("cpu")
