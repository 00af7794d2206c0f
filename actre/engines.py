"""What samples the episodes in training: the model itself, or a vLLM engine beside it that reads its adapter anew.

Knows the two engines and how weights get from the trainer to them; no episodes and no updates. actre.engine_check
says, each iteration, whether it worked.

Differs from TRL's colocate and server modes: the adapter goes to vLLM as a LoRA folder that is replaced before each
iteration's episodes, not as merged weights through TRL's sync. So the base stays as it is, and changes are seen.
"""

from pathlib import Path
from typing import Any, Protocol

from actre import ranks
from actre.adapters import replacing
from actre.config import RunConfig
from actre.policies import Policy
from actre.sharded.step import gathered_adapter
from actre.types import ActreError

_GPU_SHARE = 0.4


class Engine(Protocol):
    """Samples with the weights of the last `refresh`."""

    policy: Policy

    def refresh(self) -> None:
        """Take over the adapter as it is now."""
        ...

    def rest(self) -> None:
        """Give back what is not needed during the update."""
        ...


class ModelEngine:
    """The model in training samples itself: nothing is to be taken over."""

    def __init__(self, policy: Any) -> None:
        self.policy: Policy = policy
        self._reset = policy.reset

    def refresh(self) -> None:
        pass

    def rest(self) -> None:
        self._reset()  # its cache is as large as the update's activations; both at once are not needed


class VLLMEngine:
    """vLLM with the same base model; the adapter goes through a folder. model: the PeftModel in training.

    Raises ActreError without vllm, for a model loaded through unsloth or in 4 bits (vLLM would load another base), and
    where vLLM refuses the model.
    """

    def __init__(self, config: RunConfig, model: Any, folder: Path) -> None:
        if config.model.loader != "plain" or config.model.four_bit:
            raise ActreError("--engine vllm serves the plain base model: leave out --loader unsloth and four_bit")
        from actre.policies.vllm import VLLMPolicy

        self._model, self._folder = model, folder
        self.refresh()
        tokens = config.sampling.max_prompt_tokens + config.sampling.max_reply_tokens
        limit = getattr(model.config, "max_position_embeddings", tokens)
        # beside the trainer on one GPU; vLLM would take nine tenths of it
        memory = {"gpu_memory_utilization": _GPU_SHARE} if model.device.type == "cuda" else {}
        self.policy: Policy = VLLMPolicy(
            config.model,
            adapter=folder,
            lora_rank=config.model.lora_rank,
            max_model_tokens=min(tokens, limit),
            **memory,
        )

    def refresh(self) -> None:
        with replacing(self._folder) as part:  # the policy sees files that are other ones than before
            self._model.save_pretrained(str(part), state_dict=gathered_adapter(self._model))

    def rest(self) -> None:
        pass  # kept prefixes go by the adapter's name, which is a new one after the next refresh


def engine_for(config: RunConfig, policy: Any, model: Any, out: Path) -> Engine:
    """The engine that the settings name. policy: the transformers policy over the model in training."""
    if config.model.engine == "vllm":
        return VLLMEngine(config, model, out / ("engine" if ranks.count() == 1 else f"engine-{ranks.rank()}"))
    return ModelEngine(policy)
