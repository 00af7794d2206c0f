"""What samples the episodes in training: the model itself, a vLLM engine beside it, or a vLLM server elsewhere.

engine_check.py tests in each iteration whether the weights arrived.

Differs from TRL's colocate and server modes (trl 1.14.2, generation/vllm_generation.py): vLLM reads the adapter or the
merged weights from a folder before each iteration's episodes, and the model in training is not touched. TRL merges into
that model and back, has one seed for all prompts, and streams to a server over NCCL, which needs a GPU on both sides.
"""

import atexit
import itertools
import shutil
import uuid
from pathlib import Path
from typing import Any, Protocol

from actre.config import RunConfig
from actre.policies import Policy
from actre.policies.context import held_by
from actre.runtime import ranks
from actre.runtime.estimate import VLLM_SHARE
from actre.runtime.outputs import replacing
from actre.training.engine_check import BOUND_HALF_NATS, BOUND_NATS
from actre.training.sharded.step import gathered_adapter
from actre.types import ActreError

_SAMPLE = ("You are in the middle of a room.", "<think>", "go to shelf 1")
_SAMPLED_TOKENS = 64


class Engine(Protocol):
    """Samples with the weights of the last `refresh`."""

    policy: Policy

    def refresh(self) -> None:
        """Take over the current adapter."""
        ...

    def rest(self) -> None:
        """Free what is not needed during the update."""
        ...


class ModelEngine:
    """The model in training samples by itself: there are no weights to transfer. policy: an HFPolicy."""

    def __init__(self, policy: Any) -> None:
        self.policy: Policy = policy
        self._reset = policy.reset

    def refresh(self) -> None:
        pass

    def rest(self) -> None:
        self._reset()  # its cache is as large as the update's activations, and not needed during the update


class VLLMEngine:
    """vLLM with the same base model; weights are transferred through a folder. model: the PeftModel in training.

    Raises ActreError without vllm, for a model loaded through unsloth or in 4 bits (vLLM would load another base), and
    if vLLM refuses the model.
    """

    def __init__(self, config: RunConfig, model: Any, folder: Path) -> None:
        must_be_plain(config)
        from actre.policies.vllm import VLLMPolicy

        self._model, self._folder = model, folder
        self._merged = config.model.weight_sync == "merged"
        if not self._merged:
            self.refresh()
        # the trainer needs the same GPU; vLLM would take nine tenths of it
        memory = {"gpu_memory_utilization": VLLM_SHARE} if model.device.type == "cuda" else {}
        self._vllm = VLLMPolicy(
            config.model,
            adapter=None if self._merged else folder,
            lora_rank=0 if self._merged else config.model.lora_rank,
            max_model_tokens=_tokens(config, model),
            **memory,
        )
        self.policy: Policy = self._vllm

    def refresh(self) -> None:
        with replacing(self._folder) as part:  # new files, so that the policy sees a change
            _write(self._model, part, merged=self._merged)
        if self._merged:
            self._vllm.use_weights(self._folder)

    def rest(self) -> None:
        pass  # cached prefixes carry the adapter's name, which changes with the next refresh


class ServerEngine:
    """A vLLM server elsewhere that serves the same base model. policy: the transformers policy over the model.

    Each of several processes sends its own adapter, so that none waits for another. Raises ActreError if no server
    answers at `url`, if it serves another model, or if its limits are too small for this run.
    """

    def __init__(self, config: RunConfig, policy: Any, model: Any, folder: Path, url: str | None) -> None:
        must_be_plain(config)
        from actre.policies.vllm import ServerPolicy
        from actre.policies.vllm.server import start_for

        # New names each time: over a network file system, a replaced folder may show its old contents for a while.
        self._model, self._folder, self._names = model, folder / uuid.uuid4().hex[:8], itertools.count(1)
        self._merged = config.model.weight_sync == "merged"
        if self._merged and ranks.count() > 1:
            raise ActreError(
                "model.weight_sync=merged gives a server one process' weights: with several processes use adapter"
            )
        tokens, rank = _tokens(config, model), 0 if self._merged else config.model.lora_rank
        if url is None:
            start = start_for(config.model, tokens, rank, ranks.count())
            raise ActreError(f"--engine vllm-server needs --server http://HOST:8000. {start.remedy()}")
        self._server = ServerPolicy(config.model, url, max_model_tokens=tokens, lora_rank=rank, loras=ranks.count())
        self.policy: Policy = self._server
        atexit.register(shutil.rmtree, self._folder, ignore_errors=True)
        self.refresh()
        self._must_be_the_model(config, policy)

    def refresh(self) -> None:
        new = self._folder / str(next(self._names))
        with replacing(new) as part:
            _write(self._model, part, merged=self._merged)
        if self._merged:
            self._server.use_weights(new)
        else:
            self._server.use_adapter(new)
        for old in self._folder.iterdir():
            if old != new:
                shutil.rmtree(old, ignore_errors=True)

    def rest(self) -> None:
        pass

    def _must_be_the_model(self, config: RunConfig, policy: Any) -> None:
        """Raises ActreError if the server's next-token distributions differ from the trainer's."""
        import torch

        prompts = [ids for text in _SAMPLE if (ids := policy.encode(text))]
        vocabulary = len(policy.tokenizer)
        tokens = sorted({vocabulary * i // _SAMPLED_TOKENS for i in range(_SAMPLED_TOKENS)})
        asked = [[[token] for token in tokens]] * len(prompts)
        bound = BOUND_NATS if self._model.dtype == torch.float32 else BOUND_HALF_NATS
        off = {}
        for temperature in (1.0, 0.5):
            own = policy.action_logprobs(prompts, asked, temperature=temperature)
            served = self._server.action_logprobs(prompts, asked, temperature=temperature)
            off[temperature] = max(float(abs(a - b).mean()) for a, b in zip(own, served, strict=True))
        policy.reset()
        where, remedy = self._server.client.url, self._server.client.start.remedy()
        if not off[1.0] <= bound:
            raise ActreError(
                f"the server at {where} serves {self._server.served}, which is not {config.model.name} as it is "
                f"trained here: its log-probabilities are {off[1.0]:.1e} nats a token off ({bound:.0e} is allowed), "
                f"so it is another model, another version of it, or another dtype. {remedy}"
            )
        if not off[0.5] <= 2 * bound:
            raise ActreError(f"the server at {where} reports log-probabilities from before the temperature. {remedy}")


def engine_for(config: RunConfig, policy: Any, model: Any, out: Path, server: str | None = None) -> Engine:
    """The engine that the settings name. policy: the transformers policy over the model in training.

    server: the vLLM server's address, for that engine. It is not a setting, and may change when a run is resumed.
    """
    if server is not None and config.model.engine != "vllm-server":
        raise ActreError(f"--server goes with --engine vllm-server; this run's engine is {config.model.engine}")
    folder = out / ("engine" if ranks.count() == 1 else f"engine-{ranks.rank()}")
    if config.model.engine == "vllm-server":
        return ServerEngine(config, policy, model, folder, server)
    if config.model.engine == "vllm":
        return VLLMEngine(config, model, folder)
    return ModelEngine(_with_products(config, policy))


def _with_products(config: RunConfig, policy: Any) -> Any:
    """A policy over the same model with the products of `sampling.products`; measurements keep the given one."""
    if config.sampling.products == "float32":
        return policy
    import torch

    from actre.policies.hf import HFPolicy

    return HFPolicy(policy.model, policy.tokenizer, products=getattr(torch, config.sampling.products))


def merged_weights(model: Any) -> dict[str, Any]:
    """A PeftModel's weights with its LoRA adapter merged in, by the base model's own names; the model stays as it is.

    Each is rounded once, from float32 to the weight's dtype. Tied weights appear once.
    """
    import torch
    from peft.tuners.lora import LoraLayer

    base = model.get_base_model()
    found = {
        name.replace(".base_layer.", "."): parameter.detach()
        for name, parameter in base.named_parameters()
        if ".lora_" not in name
    }
    with torch.no_grad():
        for name, layer in base.named_modules():
            if isinstance(layer, LoraLayer):
                changes: Any = layer  # each kind of layer has its own get_delta_weight, the class they share none
                weight = found[f"{name}.weight"]
                change = sum(changes.get_delta_weight(adapter).float() for adapter in layer.active_adapters)
                found[f"{name}.weight"] = (weight.float() + change).to(weight.dtype)
    return found


def _write(model: Any, folder: Path, *, merged: bool) -> None:
    if not merged:
        model.save_pretrained(str(folder), state_dict=gathered_adapter(model))
        return
    from safetensors.torch import save_file

    weights = {name: weight.contiguous().cpu() for name, weight in merged_weights(model).items()}
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def must_be_plain(config: RunConfig) -> None:
    """Raises ActreError for a loader, weights or a weight sync that the engine cannot serve."""
    if config.model.engine == "hf":
        return
    if config.sampling.products != "float32":
        raise ActreError(
            f"sampling.products={config.sampling.products} goes with --engine hf; {config.model.engine} has a dtype of "
            "its own: use --set sampling.products=float32"
        )
    if config.model.weight_sync == "merged" and ranks.cuts_weights():
        raise ActreError("model.weight_sync=merged needs whole weights, which are cut here: use adapter")
    if config.model.loader != "plain" or config.model.four_bit:
        raise ActreError(
            f"--engine {config.model.engine} serves the plain base model: leave out --loader unsloth and four_bit"
        )


def _tokens(config: RunConfig, model: Any) -> int:
    """The longest prompt and reply together."""
    tokens = config.sampling.max_prompt_tokens + config.sampling.max_reply_tokens
    return min(tokens, held_by(model.config) or tokens)
