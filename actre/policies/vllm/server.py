"""A policy on a vLLM server elsewhere: on other GPUs of this machine, or on another machine.

It uses vLLM's OpenAI-compatible server, with token ids as prompts and replies. vllm need not be installed here.
Adapters and whole weights are passed as folders that both sides see under the same path.

Tested against a server on the CPU of the same machine (docs/vllm.md); not on a GPU, nor between two machines.
"""

import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from actre.config import ModelConfig
from actre.policies.models import choose_dtype, find
from actre.policies.vllm.adapter import Adapter, rank_of
from actre.policies.vllm.base import Said, VLLMBase
from actre.policies.vllm.client import Client, Start
from actre.types import ActreError

# overrides the model's own sampling defaults
_PLAIN: dict[str, Any] = {"top_p": 1.0, "top_k": 0, "min_p": 0.0, "repetition_penalty": 1.0}
_AS_IDS: dict[str, Any] = {"return_token_ids": True, "return_tokens_as_token_ids": True, "add_special_tokens": False}


class ServerPolicy(VLLMBase):
    """The Policy protocol over a vLLM server, which must serve the named model.

    model: as for `models.load`. url: http://HOST:8000; the key is that in VLLM_API_KEY. adapter: a peft folder; when
    its files change, the next call reloads them. max_model_tokens: longest prompt and reply together; None: the
    server's limit. lora_rank, loras: for the command in error messages.

    A reply depends on prompt, position and seed as in VLLMPolicy, but only up to rounding, because the batches depend
    on when requests arrive. Raises ActreError if no server answers, or if its limit is too small.
    """

    def __init__(
        self,
        model: ModelConfig | str,
        url: str,
        *,
        adapter: str | Path | None = None,
        max_model_tokens: int | None = None,
        lora_rank: int = 0,
        loras: int = 1,
    ) -> None:
        named = ModelConfig(name=model) if isinstance(model, str) else model
        source = find(named.name)
        super().__init__(named.name, source, max_model_tokens)
        rank = max(lora_rank, 0 if adapter is None else rank_of(Path(adapter)))
        self.client = Client(url, start_for(named, self.max_model_tokens, rank, loras))
        self.served, room = self.client.served
        if max_model_tokens is None:
            self.max_model_tokens = min(self.max_model_tokens or room, room)
        elif room < max_model_tokens:
            raise ActreError(
                f"the server at {self.client.url} has room for {room} tokens of prompt and reply, but up to "
                f"{max_model_tokens} are needed. {self.client.start.remedy()}\nor reduce "
                "--set sampling.max_prompt_tokens"
            )
        self._prefix = f"actre-{uuid.uuid4().hex[:8]}"  # a server may serve several runs
        self._loaded: str | None = None
        self._adapter = Adapter(self._load, None)
        self.use_adapter(adapter)

    def use_adapter(self, folder: str | Path | None) -> None:
        """Use this adapter from now on; None: no adapter.

        Raises ActreError for a folder without an adapter or one that the server does not see, and for a server that
        does not support adapters, or not this rank; the policy then has no adapter.
        """
        self._adapter.use(None if folder is None else Path(folder))

    def use_weights(self, folder: str | Path) -> None:
        """Use the weights in this folder's safetensors, named like the model's own; all clients of the server get them.

        Raises ActreError if the server cannot load them.
        """
        self.client.load_weights(str(Path(folder).resolve()))

    def _load(self, version: int, folder: Path) -> str:
        name = f"{self._prefix}-{version}"  # the server caches prefixes by it
        self.client.load_adapter(name, str(folder), rank_of(folder))
        if self._loaded is not None:
            self.client.unload_adapter(self._loaded)
        self._loaded = name
        return name

    def _said(self, prompts: Sequence[Sequence[int]], asked: Sequence[dict[str, Any]]) -> list[Said]:
        model = self._adapter.request() or self.served
        bodies = [
            {"model": model, "prompt": list(prompt), **_PLAIN, **_AS_IDS, **_renamed(one)}
            for prompt, one in zip(prompts, asked, strict=True)
        ]
        return [_read(choice) for choice in self.client.complete(bodies)]


def start_for(model: ModelConfig, max_model_tokens: int | None, lora_rank: int, loras: int = 1) -> Start:
    """How to start a server for this policy; without a GPU here, the command is for a machine without one."""
    import torch

    dtype = str(choose_dtype(model)).removeprefix("torch.")
    on_cpu = not torch.cuda.is_available()
    return Start(find(model.name), dtype, max_model_tokens, lora_rank, loras, on_cpu)


def _renamed(asked: dict[str, Any]) -> dict[str, Any]:
    """vLLM's sampling settings in its server's form."""
    rest = {name: value for name, value in asked.items() if name != "detokenize"}
    if "logprob_token_ids" in rest:
        rest["logprobs"] = len(rest["logprob_token_ids"])  # the server requires a number
    return rest


def _read(choice: dict[str, Any]) -> Said:
    """
    >>> told = {"tokens": ["token_id:7"], "token_logprobs": [-0.5], "top_logprobs": [{"token_id:3": -1.5}]}
    >>> _read({"token_ids": [7], "logprobs": told, "finish_reason": "length"})
    Said(ids=(7,), logps=[{7: -0.5, 3: -1.5}], truncated=True)
    """
    told = choice.get("logprobs") or {"tokens": (), "token_logprobs": (), "top_logprobs": ()}
    logps = [
        {_token(token): logp for token, logp in {sampled: own, **(others or {})}.items()}
        for sampled, own, others in zip(told["tokens"], told["token_logprobs"], told["top_logprobs"], strict=True)
    ]
    return Said(tuple(choice["token_ids"]), logps, truncated=choice["finish_reason"] != "stop")


def _token(text: str) -> int:
    return int(text.removeprefix("token_id:"))
