"""The common part of the two vLLM policies: texts and ids, checks, requests, and scores from answers.

Candidates are scored in two ways:

1. At temperature 1, if the subclass supports it, each candidate is appended to its prefix, and vLLM's log-probabilities
   of the prompt are read. By default vLLM then ignores cached prefixes, so that every candidate costs a whole prefix.
   Here the cache is used, and vLLM returns no log-probabilities for tokens in cached prefixes.
2. For these tokens, and at other temperatures, which prompt log-probabilities do not take into account, each beginning
of a candidate is a prompt, and the log-probabilities of the tokens that may follow it are requested.

docs/vllm.md says what each way costs.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from actre.config import PromptConfig, derive_seed
from actre.orders import Renderer
from actre.orders.chat import chat_format
from actre.policies.context import SHORTER, held_by, must_hold
from actre.policies.hf import end_ids
from actre.policies.scoring import last_tokens
from actre.policies.texts import TokenTexts
from actre.policies.vllm import engine
from actre.types import ActreError, Order, Reply

Ids = tuple[int, ...]
Told = dict[Ids, dict[int, float]]
"""Beginning -> token -> log-probability (nats) of the token after it."""

_TEMPERATURES = (0.01, 2.0)  # vLLM's range; below it, vLLM would use 0.01 instead
_ASKED_TOKENS = 128  # vLLM's maximum length of `logprob_token_ids`


class Said(NamedTuple):
    """An answer from vLLM. logps: of the requested tokens, by position and token; empty if none were requested."""

    ids: Ids
    logps: Sequence[Mapping[int, float]]
    truncated: bool


class VLLMBase(ABC):
    """The Policy protocol except for the requests to vLLM.

    name, source: the model's, see `models.find`. max_model_tokens: longest prompt and reply together; None: the model's
    limit. Raises ActreError if the model's settings cannot be read.
    """

    def __init__(self, name: str, source: str, max_model_tokens: int | None) -> None:
        from transformers import AutoTokenizer

        self.tokenizer = AutoTokenizer.from_pretrained(source)
        config, settings = engine.model_settings(name, source)
        self._end_ids = end_ids(settings, self.tokenizer)
        self._texts = TokenTexts(self.tokenizer)
        self.max_model_tokens = max_model_tokens or held_by(config)
        # the same texts recur at every step of every episode
        self._encode = lru_cache(maxsize=4096)(self._encode_new)

    @property
    def max_context(self) -> int | None:
        """Most tokens of a prompt and its reply together; None: no limit."""
        return self.max_model_tokens

    @abstractmethod
    def _said(self, prompts: Sequence[Sequence[int]], asked: Sequence[dict[str, Any]]) -> list[Said]:
        """vLLM's answers in the order of the prompts. asked: the sampling settings of each."""

    def encode(self, text: str) -> list[int]:
        """Text to ids, without special tokens."""
        return list(self._encode(text))

    def decode(self, ids: Sequence[int]) -> str:
        """Ids to text, special tokens included."""
        return str(self.tokenizer.decode(list(ids), skip_special_tokens=False, clean_up_tokenization_spaces=False))

    def renderer(self, prompt: PromptConfig, order: Order) -> Renderer:
        """Prompts for this policy's tokenizer and chat template."""
        end_id = self.tokenizer.eos_token_id
        return Renderer(self.encode, chat_format(self.tokenizer, prompt.date), prompt, order, end_id=end_id)

    def generate(
        self,
        prompts: Sequence[Sequence[int]],
        *,
        max_new_tokens: int,
        temperature: float,
        stop: str | None,
        seed: int,
    ) -> list[Reply]:
        """One sampled reply for each prompt; temperature 0 takes the likeliest tokens, with log-probability 0.

        logps: float32 log-softmax of logits / temperature. Up to rounding, a reply depends on its prompt, its position
        among the prompts and the seed, not on other prompts. Differs: the same seed gives other replies than in the
        transformers policy, and `Reply.text` lacks the end-of-turn token at the end of a reply. Raises ActreError for
        an empty or too long prompt, or a number out of range.
        """
        self._check(prompts, max_new_tokens, temperature)
        shared: dict[str, Any] = {
            "temperature": temperature,
            "max_tokens": max_new_tokens,
            "stop": [stop] if stop else [],
            "include_stop_str_in_output": True,
            "stop_token_ids": sorted(self._end_ids),
            "logprobs": 0 if temperature else None,  # 0: only that of the sampled token
            "skip_special_tokens": False,
        }
        asked = [{**shared, "seed": derive_seed(seed, "vllm", i)} for i in range(len(prompts))]
        return [self._reply(said) for said in self._said(prompts, asked)]

    def action_logprobs(
        self,
        prefixes: Sequence[Sequence[int]],
        candidates: Sequence[Sequence[Sequence[int]]],
        *,
        temperature: float = 1.0,
    ) -> list[np.ndarray]:
        """For each prefix, the exact log-probability in nats of each of its candidates: (A,), float64.

        Equal to one plain forward pass for each candidate, up to rounding; a `Spelling`'s last token counts together
        with all tokens that begin with its text. Raises ActreError for an empty or too long prefix, an empty candidate,
        or a temperature that is not positive or not in vLLM's range.
        """
        if temperature <= 0:
            raise ActreError(f"temperature {temperature}: a distribution over actions needs a positive one")
        if len(prefixes) != len(candidates):
            raise ActreError(f"{len(prefixes)} prefixes, but candidates for {len(candidates)}")
        if not all(len(ids) for listed in candidates for ids in listed):
            raise ActreError("a candidate has no token; an action without text cannot be scored")
        whole = _whole(prefixes, candidates)
        self._check([*prefixes, *whole], 1, temperature)
        ends = {tuple(ids): last_tokens(ids, self._texts.beginning_like) for listed in candidates for ids in listed}
        logps = self._prompt_logps(whole) if temperature == 1 else {}
        asked = _missing(whole, logps)
        for prefix, listed in zip(prefixes, candidates, strict=True):
            for ids in map(tuple, listed):
                if ends[ids]:
                    asked.setdefault((*prefix, *ids[:-1]), set()).update(ends[ids])
        for beginning, told in self._next_logps(asked, temperature).items():
            logps.setdefault(beginning, {}).update(told)
        return [
            np.array([_total(logps, prefix, ids, ends[tuple(ids)]) for ids in listed], dtype=np.float64)
            for prefix, listed in zip(prefixes, candidates, strict=True)
        ]

    def _prompt_logps(self, whole: Mapping[Ids, int]) -> Told:
        """The candidates' log-probabilities, as far as those of prompts contain them; here none."""
        return {}

    def _next_logps(self, asked: Mapping[Ids, set[int]], temperature: float) -> Told:
        """For each beginning, the log-probabilities of the requested tokens after it."""
        listed = ((beginning, sorted(tokens)) for beginning, tokens in asked.items())
        pieces = [
            (beginning, tokens[i : i + _ASKED_TOKENS])
            for beginning, tokens in listed
            for i in range(0, len(tokens), _ASKED_TOKENS)
        ]
        fixed: dict[str, Any] = {"temperature": temperature, "max_tokens": 1, "seed": 0, "detokenize": False}
        answers = self._said([key for key, _ in pieces], [{**fixed, "logprob_token_ids": ids} for _, ids in pieces])
        found: Told = {beginning: {} for beginning in asked}
        for (beginning, tokens), answer in zip(pieces, answers, strict=True):
            (logps,) = answer.logps
            found[beginning].update((token, logps[token]) for token in tokens)
        return found

    def _reply(self, said: Said) -> Reply:
        ids = said.ids
        shown = ids[:-1] if ids[-1] in self._end_ids else ids
        logps = [0.0] * len(ids)
        if said.logps:
            logps = [at[token] for token, at in zip(ids, said.logps, strict=True)]
        return Reply(ids, tuple(logps), self.decode(shown), truncated=said.truncated)

    def _check(self, prompts: Sequence[Sequence[int]], new: int, temperature: float) -> None:
        """Raises ActreError before anything is queued: if vLLM refused, the rest would stay in its queue."""
        if temperature < 0 or new < 1:
            raise ActreError(
                f"temperature {temperature} and max_new_tokens {new}: "
                "the first must not be negative, and the second must be at least 1"
            )
        low, high = _TEMPERATURES
        if temperature and not low <= temperature <= high:
            raise ActreError(f"vLLM supports temperature 0 and {low} to {high}, not {temperature}: use HFPolicy for it")
        if not all(len(prompt) for prompt in prompts):
            raise ActreError("a prompt has no token: each needs at least one")
        must_hold(self.max_context, map(len, prompts), new, "a prompt", f"set a larger max_model_tokens, or {SHORTER}")

    def _encode_new(self, text: str) -> tuple[int, ...]:
        return tuple(self.tokenizer.encode(text, add_special_tokens=False))


def _whole(prefixes: Sequence[Sequence[int]], candidates: Sequence[Sequence[Sequence[int]]]) -> dict[Ids, int]:
    """Each prefix with each of its candidates -> where the candidate begins.

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
    """Beginning -> the tokens after it whose log-probability is still unknown.

    >>> _missing({(1, 2, 5, 6): 2, (1, 2, 8): 2}, {(1, 2): {5: -0.5}})
    {(1, 2, 5): {6}, (1, 2): {8}}
    """
    missing: dict[Ids, set[int]] = {}
    for ids, start in whole.items():
        for i in range(start, len(ids)):
            if ids[i] not in told.get(ids[:i], ()):
                missing.setdefault(ids[:i], set()).add(ids[i])
    return missing


def _total(told: Told, prefix: Sequence[int], candidate: Sequence[int], ends: Sequence[int]) -> float:
    """The log-probability of a candidate that may end in any of `ends` instead of its last token."""
    parts = [told[(*prefix, *candidate[:i])][token] for i, token in enumerate(candidate)]
    if ends:
        last = told[(*prefix, *candidate[:-1])]
        parts[-1] = float(np.logaddexp.reduce([last[token] for token in ends]))
    return sum(parts)
