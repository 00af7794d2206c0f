"""Processes of this machine that find one another as launched ones do, a toy run for them, and GPUs that are none."""

import multiprocessing
import os
import socket
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
import toy_training as toy

from actre.config import CheckpointConfig, RunConfig
from actre.runtime import ranks
from actre.training import StagedTrainer
from actre.training.stages import Plan
from actre.types import Trajectory

GAMES = ("one", "two", "one", "two", "two")
forks = pytest.mark.skipif(sys.platform != "linux", reason="forks this process")

FSDP = {
    "ACCELERATE_USE_FSDP": "true",
    "ACCELERATE_MIXED_PRECISION": "bf16",
    "FSDP_VERSION": "2",
    "FSDP_AUTO_WRAP_POLICY": "TRANSFORMER_BASED_WRAP",
    "FSDP_RESHARD_AFTER_FORWARD": "true",
    "FSDP_STATE_DICT_TYPE": "FULL_STATE_DICT",
    "FSDP_CPU_RAM_EFFICIENT_LOADING": "true",
    "FSDP_SYNC_MODULE_STATES": "true",
    "FSDP_OFFLOAD_PARAMS": "false",
}
"""What `accelerate launch` makes of TRL's fsdp2.yaml (accelerate 1.15, utils/launch.py)."""

FSDP_1 = {**FSDP, "FSDP_VERSION": "1", "FSDP_SYNC_MODULE_STATES": "false", "FSDP_CPU_RAM_EFFICIENT_LOADING": "false"}
"""fsdp1.yaml without what accelerate looks for a GPU for."""


def zero(stage: int) -> dict[str, str]:
    """What `accelerate launch` makes of TRL's zero1.yaml, zero2.yaml, zero3.yaml; and DeepSpeed on a CPU."""
    return {
        "ACCELERATE_USE_DEEPSPEED": "true",
        "ACCELERATE_MIXED_PRECISION": "bf16",
        "ACCELERATE_CONFIG_DS_FIELDS": "zero_stage",
        "ACCELERATE_DEEPSPEED_ZERO_STAGE": str(stage),
        "ACCELERATE_DEEPSPEED_ZERO3_INIT": str(stage == 3).lower(),
        "ACCELERATE_DEEPSPEED_ZERO3_SAVE_16BIT_MODEL": str(stage == 3).lower(),
        "ACCELERATE_DEEPSPEED_OFFLOAD_OPTIMIZER_DEVICE": "none",
        "ACCELERATE_DEEPSPEED_OFFLOAD_PARAM_DEVICE": "none",
        **{"DS_ACCELERATOR": "cpu", "DS_BUILD_OPS": "0", "LOCAL_SIZE": "2"},
    }


def cut_as(environment: dict[str, str]) -> None:
    """Have accelerate cut the weights of this process, on a CPU too.

    It does so on GPUs only, though torch's FSDP 2 and DeepSpeed run on a CPU: what it asks for the kind of device is
    told that these are GPUs (FSDP), or not that they are CPUs (DeepSpeed).
    """
    from accelerate.state import PartialState
    from accelerate.utils import DistributedType

    os.environ |= environment
    if "ACCELERATE_USE_DEEPSPEED" in environment:
        del os.environ["ACCELERATE_USE_CPU"]  # the process group is made for CPUs before; see TrainingArguments.use_cpu
        return
    made: Any = PartialState.__init__

    def make(self: Any, *arguments: Any, **named: Any) -> None:
        made(self, *arguments, **named)
        if self.distributed_type == DistributedType.MULTI_CPU:
            PartialState._shared_state["distributed_type"] = DistributedType.MULTI_GPU

    PartialState.__init__ = make  # in this process, which ends soon


class SamePlayer(toy.Player):
    """What is sampled for a game does not depend on who plays it, so that one process and two play the same."""

    def __call__(self, plan: Plan) -> list[Trajectory]:
        self.plans.append(plan)
        return [one for g, game in enumerate(plan.games) for one in self._group(plan, g, game, self._noise(plan, game))]

    def _noise(self, plan: Plan, game: str) -> torch.Generator:
        return torch.Generator().manual_seed(1000 * plan.iteration + ord(game[0]))


def config(**optim: Any) -> RunConfig:
    """Four iterations of five groups, a checkpoint after each."""
    usual = {"groups": 5, "micro_batch_tokens": 60, "kl_beta": 0.05, "entropy_coef": 0.02, "updates_per_batch": 2}
    made = toy.config(**{**usual, **optim})
    return replace(made, checkpoint=CheckpointConfig(every=1, keep=9))


def make(out: Path, settings: RunConfig, *, resume: bool = False, **arguments: Any) -> StagedTrainer:
    """A trainer of the toy run, at its beginning or at its last checkpoint."""
    return toy.trainer(
        out, settings, player=SamePlayer, games=GAMES, resume=resume, writes=ranks.is_first(), **arguments
    )


def together(work: Callable[[int], object], processes: int = 2) -> list[int]:
    """Do work in copies of this process that find one another as launched ones do; returns their exit codes."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    def child(rank: int) -> None:
        from accelerate.state import AcceleratorState, GradientState, PartialState

        for state in (AcceleratorState, PartialState, GradientState):
            state._reset_state()
        os.environ |= {
            **{"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(processes)},
            **{"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "ACCELERATE_USE_CPU": "true"},
        }
        work(rank)
        ranks.leave()

    context = multiprocessing.get_context("fork")
    children = [context.Process(target=child, args=(rank,)) for rank in range(processes)]
    for one in children:
        one.start()
    for one in children:
        one.join(300)
        one.kill()  # no more than a join where it has ended
        one.join()
    return [one.exitcode if one.exitcode is not None else -1 for one in children]


def weights(out: Path) -> dict[str, torch.Tensor]:
    """A run's trained adapter."""
    return safetensors.torch.load_file(out / "adapter" / "adapter_model.safetensors")
