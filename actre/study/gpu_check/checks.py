"""The table of checks: a name, what it does, when it can run, and the function. One row adds a check."""

from functools import partial
from typing import Literal

from actre.config import ModelConfig
from actre.study.gpu_check import failures, loading, training
from actre.study.gpu_check.row import (
    Check,
    always,
    both,
    with_bitsandbytes,
    with_package,
    with_smollm2,
    with_two_devices,
    with_vllm,
    with_vllm_server,
)

_DTYPES: tuple[Literal["float32", "bfloat16", "float16"], ...] = ("float32", "bfloat16", "float16")

_LOADING = {
    f"load {name} {dtype}": Check(
        f"{name} in {dtype}: loads, samples, scores",
        always if name == "tiny" else with_smollm2,
        partial(loading.load_in, ModelConfig(name=name, dtype=dtype)),
    )
    for name in ("tiny", "smollm2")
    for dtype in _DTYPES
}
_FOUR_BITS = {
    f"load {name} 4 bits": Check(
        f"{name} in 4 bits (NF4, bitsandbytes): loads, samples, scores",
        with_bitsandbytes if name == "tiny" else both(with_bitsandbytes, with_smollm2),
        partial(loading.load_in, ModelConfig(name=name, four_bit=True)),
    )
    for name in ("tiny", "smollm2")
}

CHECKS: dict[str, Check] = {
    "installed": Check("packages, and the device as torch sees it", always, loading.installed),
    **_LOADING,
    **_FOUR_BITS,
    "train transformers": Check("each order, the model samples", always, training.each_order),
    "train float32": Check(
        "the same in float32, where the engine check is strict",
        with_package("torch", "another number type than the CPU's own"),
        partial(training.each_order, more="model.dtype=float32"),
    ),
    "train 4 bits": Check(
        "the same on 4-bit weights",
        both(with_package("bitsandbytes", "training in 4 bits"), with_bitsandbytes),
        partial(training.each_order, more="model.four_bit=true"),
    ),
    "train unsloth": Check(
        "the same, loaded by unsloth",
        with_package("unsloth"),
        partial(training.each_order, more="model.loader=unsloth"),
    ),
    "train vllm": Check(
        "vLLM in the process samples, with the adapter",
        with_vllm,
        partial(training.each_order, more="model.engine=vllm"),
        limit_s=480.0,
    ),
    "train vllm merged": Check(
        "vLLM in the process samples, with merged weights",
        with_vllm,
        partial(training.each_order, more="model.engine=vllm model.weight_sync=merged"),
        limit_s=480.0,
    ),
    "train vllm server": Check(
        "a vLLM server on this machine samples", with_vllm_server, training.on_a_server, limit_s=480.0
    ),
    "warm start": Check("two steps of supervised fine-tuning", always, failures.warm_start),
    "out of memory": Check("halves, and ends with the same update", always, failures.out_of_memory),
    "kill and resume": Check("SIGKILL, then --resume", always, failures.kill_and_resume, limit_s=600.0),
    "two processes": Check("accelerate launch, multi_gpu.yaml", with_two_devices, failures.two_processes),
}
"""Name -> check, in the order in which they run: what later ones need comes first."""
