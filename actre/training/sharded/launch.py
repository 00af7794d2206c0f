"""Which kind of sharding a launch asks for, and what is refused, with the reason."""

from typing import Any

from accelerate import Accelerator
from accelerate.utils import DistributedType
from torch.distributed.fsdp import CPUOffloadPolicy

from actre.config import ModelConfig
from actre.runtime import ranks
from actre.training.sharded.fsdp import Fsdp
from actre.training.sharded.replicated import Replicated
from actre.training.sharded.zero import Zero, Zero3
from actre.types import ActreError


def weights_of(accelerator: Accelerator, model: Any, settings: ModelConfig) -> Replicated:
    """The model's weights under this launch. model: not prepared yet.

    Raises ActreError for a kind of sharding that is not supported or untried, with what to launch instead.
    """
    kind = accelerator.distributed_type
    if kind == DistributedType.FSDP:
        _must_be_plain(settings)
        plugin = accelerator.state.fsdp_plugin
        if plugin.fsdp_version != 2:
            raise ActreError(
                "FSDP version 1 flattens parameters, and checkpoints here hold them by name: launch with TRL's "
                "fsdp2.yaml, which shards the same (docs/scaling.md)"
            )
        _must_stay_on_gpus("fsdp_offload_params: true", isinstance(plugin.cpu_offload, CPUOffloadPolicy))
        return Fsdp(accelerator, model)
    if kind == DistributedType.DEEPSPEED:
        _must_be_plain(settings)
        plugin = accelerator.state.deepspeed_plugin
        moved = {str(plugin.offload_optimizer_device), str(plugin.offload_param_device)} - {"none", "None"}
        _must_stay_on_gpus(f"an offload device ({', '.join(sorted(moved))})", bool(moved))
        return Zero3(accelerator, model) if plugin.zero_stage == 3 else Zero(accelerator, model)
    if ranks.cuts_weights():
        raise ActreError(
            "the launch asks for FSDP or DeepSpeed, but accelerate shards over several GPUs only. Launch with TRL's "
            "multi_gpu.yaml, which also works with several processes on a CPU (docs/scaling.md)"
        )
    return Replicated(accelerator, model)


def _must_be_plain(settings: ModelConfig) -> None:
    if settings.loader != "plain" or settings.four_bit:
        raise ActreError(
            "sharding a model in 4 bits or from unsloth is untried: leave out four_bit and --loader unsloth, or launch "
            "with TRL's multi_gpu.yaml (DDP), where each GPU has the whole model"
        )


def _must_stay_on_gpus(setting: str, asked: bool) -> None:
    if asked:
        raise ActreError(
            f"the launch asks for {setting}: offloading weights or optimizer states is untried. Leave it out, as TRL's "
            "own configs do (docs/scaling.md)"
        )
