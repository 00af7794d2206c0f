"""A policy on vLLM, on a GPU or on a CPU: the fast engine for sampling many replies and scoring many states.

Knows the Policy protocol and what to ask of vLLM's offline engine (engine.py starts it, adapter.py hands it LoRA
folders); no environment, no order, no training. vllm is imported when a policy is made, not before. Prompts and replies
are token ids, as everywhere; vLLM's chat templates and sampling defaults are not used. Computed prefixes are kept
between calls.

Differs: candidates are not scored by vLLM's `prompt_logprobs`. These are at temperature 1 only, and none are computed
for what stands in kept prefixes, so that either no prefix is kept or undefined numbers come back. Each shared beginning
of the candidates is a prompt of its own instead, and the log-probabilities of the tokens that may follow are asked for:
exact at any temperature, with prefixes kept. docs/vllm.md says what both cost.

Not run on a GPU: none was at hand.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from actre.config import ModelConfig, PromptConfig, derive_seed
from actre.orders import Renderer, chat_format
from actre.policies.hf import end_ids
from actre.policies.models import choose_dtype, find
from actre.policies.vllm import engine
from actre.policies.vllm.adapter import Adapter, rank_of
from actre.types import ActreError, Order, Reply

_TEMPERATURES = (0.01, 2.0)  # what vLLM samples at; below, it would take 0.01 instead
_ASKED_TOKENS = 128  # the longest `logprob_token_ids` vLLM takes


class VLLMPolicy:
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
        from transformers import AutoTokenizer

        self.tokenizer = AutoTokenizer.from_pretrained(source)
        config, settings = engine.model_settings(named.name, source)
        self._end_ids = end_ids(settings, self.tokenizer)
        self.max_model_tokens = max_model_tokens or config.max_position_embeddings
        asked = {
            "dtype": str(choose_dtype(named)).removeprefix("torch."),
            "max_model_len": self.max_model_tokens,
            **engine.memory(on_cpu, kv_cache_gb, self.max_model_tokens),
            **engine.lora_room(lora_rank),
            **engine_args,
        }
        self._llm = engine.start(named.name, source, asked)
        self._adapter = Adapter(self._llm, lora_rank)
        # prompts are made of a few pieces, repeated at every step of every episode
        self._encode = lru_cache(maxsize=4096)(self._encode_new)
        self.use_adapter(adapter)

    def encode(self, text: str) -> list[int]:
        """Text to ids, no special tokens added."""
        return list(self._encode(text))

    def decode(self, ids: Sequence[int]) -> str:
        """Ids to text, every token shown."""
        return str(self.tokenizer.decode(list(ids), skip_special_tokens=False, clean_up_tokenization_spaces=False))

    def renderer(self, prompt: PromptConfig, order: Order) -> Renderer:
        """Prompts for this policy's tokenizer and chat template."""
        end_id = self.tokenizer.eos_token_id
        return Renderer(self.encode, chat_format(self.tokenizer), prompt, order, end_id=end_id)

    def reset(self) -> None:
        """Forget the computed prefixes."""
        self._llm.llm_engine.reset_prefix_cache()

    def use_adapter(self, folder: str | Path | None) -> None:
        """From now on the model with this adapter; None: without any.

        Raises ActreError for a folder that holds no adapter, a rank the engine has no room for, or an adapter that
        vLLM cannot serve; the policy is then without an adapter.
        """
        self._adapter.use(None if folder is None else Path(folder))

    def generate(
        self,
        prompts: Sequence[Sequence[int]],
        *,
        max_new_tokens: int,
        temperature: float,
        stop: str | None,
        seed: int,
    ) -> list[Reply]:
        """One sampled reply a prompt; temperature 0 takes the likeliest tokens, with log-probability 0.

        logps: float32 log-softmax of logits / temperature. A reply depends on its prompt, its place among the prompts
        and the seed (up to rounding), not on its neighbours. Differs: the same seed gives other replies than in the
        transformers policy, and `Reply.text` leaves out the end-of-turn token that a reply may end with.
        Raises ActreError for an empty or too long prompt or a bad number.
        """
        self._check(prompts, max_new_tokens, temperature)
        shared: dict[str, Any] = {
            "temperature": temperature,
            "max_tokens": max_new_tokens,
            "stop": [stop] if stop else [],
            "include_stop_str_in_output": True,
            "stop_token_ids": sorted(self._end_ids),
            "logprobs": 0 if temperature else None,  # 0: of the sampled token alone
            "skip_special_tokens": False,
        }
        asked = [{**shared, "seed": derive_seed(seed, "vllm", i)} for i in range(len(prompts))]
        return [self._reply(answer) for answer in self._ask(prompts, asked)]

    def action_logprobs(
        self,
        prefixes: Sequence[Sequence[int]],
        candidates: Sequence[Sequence[Sequence[int]]],
        *,
        temperature: float = 1.0,
    ) -> list[np.ndarray]:
        """For each prefix, the exact log-probability in nats of each of its candidates: (A,), float64.

        Equal to one plain forward pass a candidate up to rounding. Raises ActreError for an empty or too long prefix,
        an empty candidate, or a temperature that is not positive or not among vLLM's.
        """
        if temperature <= 0:
            raise ActreError(f"temperature {temperature}: a distribution over actions needs a positive one")
        if len(prefixes) != len(candidates):
            raise ActreError(f"{len(prefixes)} prefixes, but candidates for {len(candidates)}")
        if not all(len(ids) for listed in candidates for ids in listed):
            raise ActreError("a candidate holds no token; an action without text cannot be scored")
        asked = _next_tokens(prefixes, candidates)
        self._check([*prefixes, *asked], 1, temperature)
        logps = self._next_logps(asked, temperature)
        return [
            np.array([_total(logps, prefix, ids) for ids in listed], dtype=np.float64)
            for prefix, listed in zip(prefixes, candidates, strict=True)
        ]

    def _next_logps(
        self, asked: Mapping[tuple[int, ...], set[int]], temperature: float
    ) -> dict[tuple[int, ...], dict[int, float]]:
        """For each beginning, the log-probabilities of the tokens asked for after it."""
        listed = ((beginning, sorted(tokens)) for beginning, tokens in asked.items())
        pieces = [
            (beginning, tokens[i : i + _ASKED_TOKENS])
            for beginning, tokens in listed
            for i in range(0, len(tokens), _ASKED_TOKENS)
        ]
        # one token is sampled too, and dropped: vLLM takes no request without
        fixed: dict[str, Any] = {"temperature": temperature, "max_tokens": 1, "seed": 0, "detokenize": False}
        answers = self._ask([key for key, _ in pieces], [{**fixed, "logprob_token_ids": ids} for _, ids in pieces])
        found: dict[tuple[int, ...], dict[int, float]] = {beginning: {} for beginning in asked}
        for (beginning, tokens), answer in zip(pieces, answers, strict=True):
            (logps,) = answer.outputs[0].logprobs
            found[beginning].update((token, logps[token].logprob) for token in tokens)
        return found

    def _ask(self, prompts: Sequence[Sequence[int]], asked: list[dict[str, Any]]) -> list[Any]:
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

    def _reply(self, answer: Any) -> Reply:
        (said,) = answer.outputs
        ids = tuple(said.token_ids)
        shown = ids[:-1] if ids[-1] in self._end_ids else ids
        logps = [0.0] * len(ids)
        if said.logprobs is not None:
            logps = [at[token].logprob for token, at in zip(ids, said.logprobs, strict=True)]
        return Reply(ids, tuple(logps), self.decode(shown), truncated=said.finish_reason != "stop")

    def _check(self, prompts: Sequence[Sequence[int]], new: int, temperature: float) -> None:
        """Refuse before anything is queued: what vLLM refuses would leave the rest of the call in its queue."""
        if temperature < 0 or new < 1:
            raise ActreError(
                f"temperature {temperature} and max_new_tokens {new}: "
                "the one must not be negative, the other at least 1"
            )
        low, high = _TEMPERATURES
        if temperature and not low <= temperature <= high:
            raise ActreError(f"vLLM takes temperature 0 and {low} to {high}, not {temperature}: use HFPolicy for it")
        if not all(len(prompt) for prompt in prompts):
            raise ActreError("a prompt holds no token")
        longest = max(map(len, prompts), default=0)
        if longest + new > self.max_model_tokens:
            raise ActreError(
                f"a prompt of {longest} tokens and {new} new ones are more than the {self.max_model_tokens} that this "
                "engine was made for: make the policy with a larger max_model_tokens, or cut episodes earlier "
                "(SamplingConfig.max_prompt_tokens)"
            )

    def _encode_new(self, text: str) -> tuple[int, ...]:
        return tuple(self.tokenizer.encode(text, add_special_tokens=False))


def _next_tokens(
    prefixes: Sequence[Sequence[int]], candidates: Sequence[Sequence[Sequence[int]]]
) -> dict[tuple[int, ...], set[int]]:
    """Each prefix, and each proper beginning of a candidate after it, with the tokens to be scored there.

    >>> asked = _next_tokens([[1, 2]], [[[5, 6], [5, 7], [8]]])
    >>> {beginning: sorted(tokens) for beginning, tokens in asked.items()}
    {(1, 2): [5, 8], (1, 2, 5): [6, 7]}
    """
    asked: dict[tuple[int, ...], set[int]] = {}
    for prefix, listed in zip(prefixes, candidates, strict=True):
        for ids in listed:
            for i, token in enumerate(ids):
                asked.setdefault((*prefix, *ids[:i]), set()).add(token)
    return asked


def _total(
    logps: Mapping[tuple[int, ...], Mapping[int, float]], prefix: Sequence[int], candidate: Sequence[int]
) -> float:
    return sum(logps[(*prefix, *candidate[:i])][token] for i, token in enumerate(candidate))
