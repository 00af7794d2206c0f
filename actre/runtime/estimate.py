"""Estimates the memory of a run and its seconds per iteration from its settings, and whether it fits a device.

A rough guide, computed from model shapes, measured prompt sizes and device speeds; `actre doctor --run RUN` compares it
with a run. An iteration has the trainer's parts: episodes (prompts computed, then one forward pass per token), then
forward and backward passes in micro-batches of `optim.micro_batch_tokens`.
"""

import json
from bisect import bisect_left
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from actre.config import RunConfig
from actre.runtime.shapes import Shape, shape_of
from actre.types import ActreError

GB = 1e9


class Device(NamedTuple):
    """A device to run on. flops: per second, in half precision on a GPU, in float32 on all cores of a CPU. bandwidth:
    bytes per second. bf16: whether a GPU supports bfloat16."""

    name: str
    gpu: bool
    memory_gb: float
    flops: float
    bandwidth: float
    bf16: bool = True


_GPUS = (
    ("T4", 65e12, 320e9),
    ("L4", 121e12, 300e9),
    ("A10", 125e12, 600e9),
    ("V100", 112e12, 900e9),
    ("3090", 71e12, 936e9),
    ("4090", 165e12, 1008e9),
    ("L40", 181e12, 864e9),
    ("A100", 312e12, 1935e9),
    ("H100", 989e12, 3350e9),
    ("H200", 989e12, 4800e9),
)
"""Part of a GPU's name, and its specified dense half-precision flops and bandwidth. Other GPUs count as an A10."""

# Measured on one core of an AMD EPYC with AVX-512 (torch 2.13): forward and backward of SmolLM2 and of the tiny policy.
_CPU_FLOPS = 70e9
_CPU_BANDWIDTH = 15e9
_SHARE_OF_PEAK = 0.35  # share of a GPU's peak flops that transformers reaches; assumed, not measured
_LAYER_S = {True: 1.0e-3, False: 1.2e-3}  # fixed cost of a layer per forward pass, on a GPU and on a CPU
_PASS_S = 5e-3  # sampling, stop checks and Python, per token

# Tokens, measured on the shipped panels with the tiny policy's words (small) and SmolLM2's (full).
_FIRST_PROMPT = {"small": 120, "full": 330}
_WINDOWED_PROMPT = {"small": 220, "full": 430}
_LISTED = {"small": 60, "full": 0}  # the full figures include the listed actions
_ANSWER = 25
_STEPS_SHARE, _REPLY_SHARE, _LONGEST = 0.8, 0.25, 2.0

VLLM_SHARE = 0.4
"""Share of a GPU that vLLM in the trainer's process takes from its start to the end of the run."""
_VLLM_GB = {True: 1.5, False: 1.0}
"""What vLLM needs beside its weights and one longest episode: workspace and graphs on a GPU, its cache on a CPU.
Assumed; not measured on a GPU."""
_RUNTIME_GB = {True: 1.5, False: 0.8}
_FRAGMENTS = 1.1
_LARGE = 100_000_000


class Work(NamedTuple):
    """The work of an iteration, assumed or measured: means per episode, and tokens."""

    steps: float
    reply_tokens: float
    longest_reply: float
    prompt_tokens: float


class Estimate(NamedTuple):
    """Memory in GB and seconds per iteration. largest_micro_batch: the largest micro_batch_tokens that fits.

    engine_gb: what vLLM in the same process holds throughout, which episodes and updates include; engine_needs_gb: the
    least with which it can start. 0 where the model samples by itself, or a server does.
    """

    device: Device
    work: Work
    weights_gb: float
    rollout_gb: float
    update_gb: float
    rollout_s: float
    update_s: float
    largest_micro_batch: int
    engine_gb: float = 0.0
    engine_needs_gb: float = 0.0

    @property
    def memory_gb(self) -> float:
        """The peak; episodes and updates do not overlap."""
        return max(self.rollout_gb, self.update_gb)

    @property
    def fits(self) -> bool:
        return self.memory_gb <= self.device.memory_gb and self.engine_needs_gb <= self.engine_gb


def gpu(name: str, memory_gb: float, bf16: bool = True) -> Device:
    """A GPU by its name, with its specified speeds if the name is known."""
    # the longest matching name, so that an A100 is not taken for an A10
    _, flops, bandwidth = max((known for known in _GPUS if known[0] in name), key=lambda k: len(k[0]), default=_GPUS[2])
    return Device(name, True, memory_gb, flops * _SHARE_OF_PEAK, bandwidth * 0.7, bf16)


def cpu(memory_gb: float, threads: int) -> Device:
    """A CPU with this many torch threads; small models speed up less than linearly."""
    name = f"{threads} CPU thread{'s' * (threads != 1)}"
    return Device(name, False, memory_gb, _CPU_FLOPS * threads**0.8, _CPU_BANDWIDTH)


def assumed(config: RunConfig) -> Work:
    """The work assumed for an early iteration: long episodes, and replies a quarter of the allowed length."""
    size = "small" if config.env.train.startswith("small/") else "full"
    reply = max(1.0, _REPLY_SHARE * config.sampling.max_reply_tokens)
    if config.prompt.history == "windowed":
        prompt: float = _WINDOWED_PROMPT[size] + (_LISTED[size] if config.prompt.list_admissible else 0)
    else:
        prompt = _FIRST_PROMPT[size]
    longest = min(float(config.sampling.max_reply_tokens), _LONGEST * reply)
    return Work(_STEPS_SHARE * config.env.max_steps, reply, longest, prompt)


def estimate(config: RunConfig, device: Device, work: Work | None = None) -> Estimate:
    """Memory and time of an iteration with these settings on this device. work: None for the assumed work.

    Raises ActreError for a model of unknown size.
    """
    shape, work = shape_of(config.model.name), work or assumed(config)
    half = 2 if config.model.dtype in ("bfloat16", "float16") or (config.model.dtype == "auto" and device.gpu) else 4
    weights = shape.parameters * half
    if config.model.four_bit:
        weights = int(shape.linear * 0.56) + (shape.parameters - shape.linear) * half
    fixed = weights + 16 * shape.adapter(config.model.lora_rank) + _RUNTIME_GB[device.gpu] * GB
    a_token = _update_bytes(shape, config, work, half)
    needs = _engine_bytes(shape, config, device, weights, half)
    engine = device.memory_gb * GB * VLLM_SHARE if needs and device.gpu else needs
    played = _rollout_bytes(shape, config, work, half) if config.model.engine == "hf" else 0.0
    room = (device.memory_gb * GB - engine) / _FRAGMENTS - fixed
    return Estimate(
        device=device,
        work=work,
        weights_gb=weights / GB,
        rollout_gb=((fixed + played) * _FRAGMENTS + engine) / GB,
        update_gb=((fixed + a_token * config.optim.micro_batch_tokens) * _FRAGMENTS + engine) / GB,
        rollout_s=_rollout_s(shape, config, device, work, weights),
        update_s=_update_s(shape, config, device, work),
        largest_micro_batch=max(0, int(room / a_token)) // 256 * 256,
        engine_gb=engine / GB,
        engine_needs_gb=needs / GB,
    )


def _growing(config: RunConfig) -> bool:
    return config.prompt.history == "growing"


def _row(config: RunConfig, work: Work) -> float:
    """Tokens of a training row: an episode with a growing history, else a step."""
    if _growing(config):
        return work.prompt_tokens + work.steps * (_ANSWER + work.reply_tokens)
    return work.prompt_tokens + work.reply_tokens


def _update_bytes(shape: Shape, config: RunConfig, work: Work, half: int) -> float:
    """Bytes per padded token of a forward and backward pass."""
    # a layer's saved activations; LoRA's inputs are saved in float32 as well
    kept = (10 * shape.hidden + 4 * shape.intermediate) * half + 4 * (6 * shape.hidden + shape.intermediate)
    row = _row(config, work)
    attention = shape.heads * row * 4.0  # no flash attention: it does not support our masks
    if shape.parameters > _LARGE:  # gradient checkpointing, layer by layer
        layers = shape.layers * shape.hidden * half + kept + attention
    else:
        layers = shape.layers * (kept + attention)
    scored = 1.0 if _growing(config) else config.sampling.max_reply_tokens / (row + config.sampling.max_reply_tokens)
    return layers + scored * shape.vocabulary * (2 * half + 8)


def _rollout_bytes(shape: Shape, config: RunConfig, work: Work, half: int) -> float:
    episodes = config.optim.groups * config.optim.group_size
    longest = _row(config, work) if _growing(config) else work.prompt_tokens + config.sampling.max_reply_tokens
    return episodes * (longest * _kept(shape, half) * 1.5 + shape.vocabulary * 12)


def _kept(shape: Shape, half: int) -> int:
    """Bytes of the cache per token: keys and values of every layer."""
    return 2 * shape.layers * shape.kv_heads * shape.head_dim * half


def _engine_bytes(shape: Shape, config: RunConfig, device: Device, weights: float, half: int) -> float:
    """The least that vLLM in this process needs: its own copy of the base, and one episode of the longest allowed."""
    if config.model.engine != "vllm":
        return 0.0
    longest = config.sampling.max_prompt_tokens + config.sampling.max_reply_tokens
    return weights + longest * _kept(shape, half) + _VLLM_GB[device.gpu] * GB


def _rollout_s(shape: Shape, config: RunConfig, device: Device, work: Work, weights: int) -> float:
    episodes = config.optim.groups * config.optim.group_size
    new = _ANSWER if _growing(config) else work.prompt_tokens
    a_token = 2 * shape.linear / device.flops
    head = 2 * shape.vocabulary * shape.hidden / device.flops
    passes = _LAYER_S[device.gpu] * shape.layers + _PASS_S + weights / device.bandwidth
    turns = config.env.max_steps
    live = episodes * work.steps
    computed = live * new + (episodes * work.prompt_tokens if _growing(config) else 0)
    return computed * a_token + live * work.reply_tokens * (a_token + head) + turns * work.longest_reply * passes


def _update_s(shape: Shape, config: RunConfig, device: Device, work: Work) -> float:
    episodes = config.optim.groups * config.optim.group_size
    rows = episodes if _growing(config) else episodes * work.steps
    tokens = rows * _row(config, work)
    times = 6 if shape.parameters > _LARGE else 4  # forward, input gradients, and the recomputed forward
    head = shape.vocabulary * shape.hidden * (1.0 if _growing(config) else work.reply_tokens / _row(config, work))
    slices = tokens / config.optim.micro_batch_tokens + 1
    once = tokens * (times * shape.linear + 4 * head) / device.flops + slices * shape.layers * 3 * _LAYER_S[device.gpu]
    return once * config.optim.updates_per_batch


def remedy(config: RunConfig, found: Estimate) -> str:
    """Which settings to change so that the run fits, in words; empty if it fits."""
    if found.fits:
        return ""
    need = f"{found.memory_gb:.1f} GB are needed and {found.device.memory_gb:.1f} GB are there"
    if found.engine_needs_gb > found.engine_gb:
        need = f"vLLM needs {found.engine_needs_gb:.1f} GB and gets {found.engine_gb:.1f} GB ({VLLM_SHARE:.0%})"
        return f"{need}: --set model.engine=hf, or a smaller --model"
    if found.rollout_gb <= found.device.memory_gb and found.largest_micro_batch >= _row(config, found.work):
        return f"{need}: --set optim.micro_batch_tokens={found.largest_micro_batch}"
    ways = []
    if found.rollout_gb > found.device.memory_gb:

        def too_many(groups: int) -> bool:
            fewer = replace(config, optim=replace(config.optim, groups=groups))
            return estimate(fewer, found.device, found.work).rollout_gb > found.device.memory_gb

        most = bisect_left(range(1, config.optim.groups), True, key=too_many)
        ways += [f"--set optim.groups={most}"] if most else []
    if not config.model.four_bit and found.device.gpu:
        ways.append("--set model.four_bit=true" if config.model.engine == "hf" else "--set model.engine=hf")
    ways.append("a smaller --model")
    return f"{need}: {', or '.join(ways)}"


def must_fit(config: RunConfig, device: Device) -> Estimate:
    """The estimate. Raises ActreError, naming the settings to change, if the memory is too small."""
    found = estimate(config, device)
    if not found.fits:
        where = device.name if device.gpu else f"{device.name} (there is no GPU here)"
        raise ActreError(
            f"this does not fit on {where}: {remedy(config, found)}. The estimate may be wrong: --force starts anyway"
        )
    return found


@dataclass(frozen=True)
class Outcome:
    """Medians over a run's iterations, and two estimates: before the run, and again with the measured work."""

    iterations: int
    rollout_s: float
    update_s: float
    memory_gb: float | None
    before: Estimate
    again: Estimate


def outcome(run: Path, config: RunConfig, device: Device) -> Outcome:
    """Compare a run's metrics.jsonl with its estimates. Raises ActreError if it has none."""
    path = run / "metrics.jsonl"
    if not path.exists():
        raise ActreError(f"{run} has no metrics.jsonl: train first (actre train --out {run})")
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    if not lines:
        raise ActreError(f"{path} is empty: no iteration was finished")
    steps = _median([line["steps"] for line in lines])
    reply = lines[-1]["generated_tokens"] / max(1, lines[-1]["env_steps"])
    before = estimate(config, device)
    work = before.work._replace(
        steps=steps, reply_tokens=reply, longest_reply=min(config.sampling.max_reply_tokens, _LONGEST * reply)
    )
    peaks = [line["peak_memory_gb"] for line in lines if "peak_memory_gb" in line]
    return Outcome(
        len(lines),
        _median([line["rollout_s"] for line in lines]),
        _median([line["update_s"] for line in lines]),
        max(peaks) if peaks else None,
        before,
        estimate(config, device, work),
    )


def _median(values: list[float]) -> float:
    ordered = sorted(values)
    return ordered[len(ordered) // 2]
