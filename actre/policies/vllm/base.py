"""What the two vLLM policies share: texts and ids, what is refused, what is asked for, how answers become scores.

Knows vLLM's names for sampling settings, which its offline engine and its server have in common; neither of the two
(the subclasses have them), no environment and no adapter.

Candidates are scored in two ways. At temperature 1 each is appended to its prefix and vLLM's log-probabilities of the
prompt are read, where a subclass can. None are computed for what stands in kept prefixes; vLLM would keep none then,
which costs a whole prefix a candidate. Here they are kept, and what was left uncomputed is asked for in the second way,
as everything is at other temperatures, which prompt log-probabilities do not know: a beginning of a candidate is a
prompt of its own, after which the log-probabilities of the tokens that may follow are asked for. docs/vllm.md says what
each costs.
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
"""Log-probabilities (nats) of tokens after a beginning, by token."""

_TEMPERATURES = (0.01, 2.0)  # what vLLM samples at; below, it would take 0.01 instead
_ASKED_TOKENS = 128  # the longest `logprob_token_ids` vLLM takes


class Said(NamedTuple):
    """An answer of vLLM's. logps: of each token that was asked for, by position and token; empty: none were."""

    ids: Ids
    logps: Sequence[Mapping[int, float]]
    truncated: bool


class VLLMBase(ABC):
    """The Policy protocol but for asking vLLM itself.

    name and source: the model's, see `models.find`. max_model_tokens: longest prompt and reply together; None: the
    model's limit. Raises ActreError for settings that cannot be read.
    """

    def __init__(self, name: str, source: str, max_model_tokens: int | None) -> None:
        from transformers import AutoTokenizer

        self.tokenizer = AutoTokenizer.from_pretrained(source)
        config, settings = engine.model_settings(name, source)
        self._end_ids = end_ids(settings, self.tokenizer)
        self._texts = TokenTexts(self.tokenizer)
        self.max_model_tokens = max_model_tokens or held_by(config)
        # prompts are made of a few pieces, repeated at every step of every episode
        self._encode = lru_cache(maxsize=4096)(self._encode_new)

    @property
    def max_context(self) -> int | None:
        """Most tokens of a prompt and its reply together; None: no limit."""
        return self.max_model_tokens

    @abstractmethod
    def _said(self, prompts: Sequence[Sequence[int]], asked: Sequence[dict[str, Any]]) -> list[Said]:
        """vLLM's answers, in the prompts' order."""

    def encode(self, text: str) -> list[int]:
        """Text to ids, no special tokens added."""
        return list(self._encode(text))

    def decode(self, ids: Sequence[int]) -> str:
        """Ids to text, every token shown."""
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
        return [self._reply(said) for said in self._said(prompts, asked)]

    def action_logprobs(
        self,
        prefixes: Sequence[Sequence[int]],
        candidates: Sequence[Sequence[Sequence[int]]],
        *,
        temperature: float = 1.0,
    ) -> list[np.ndarray]:
        """For each prefix, the exact log-probability in nats of each of its candidates: (A,), float64.

        Equal to one plain forward pass a candidate up to rounding; a `Spelling`'s last token counts with all that
        begin with its text. Raises ActreError for an empty or too long prefix, an empty candidate, or a temperature
        that is not positive or not among vLLM's.
        """
        if temperature <= 0:
            raise ActreError(f"temperature {temperature}: a distribution over actions needs a positive one")
        if len(prefixes) != len(candidates):
            raise ActreError(f"{len(prefixes)} prefixes, but candidates for {len(candidates)}")
        if not all(len(ids) for listed in candidates for ids in listed):
            raise ActreError("a candidate holds no token; an action without text cannot be scored")
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
        """What can be read of the candidates' log-probabilities from those of prompts; here nothing."""
        return {}

    def _next_logps(self, asked: Mapping[Ids, set[int]], temperature: float) -> Told:
        """For each beginning, the log-probabilities of the tokens asked for after it."""
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
        must_hold(self.max_context, map(len, prompts), new, "a prompt", f"a larger max_model_tokens, {SHORTER}")

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


def _total(told: Told, prefix: Sequence[int], candidate: Sequence[int], ends: Sequence[int]) -> float:
    """The log-probability of a candidate, of whose last token any of `ends` may stand in the place."""
    parts = [told[(*prefix, *candidate[:i])][token] for i, token in enumerate(candidate)]
    if ends:
        last = told[(*prefix, *candidate[:-1])]
        parts[-1] = float(np.logaddexp.reduce([last[token] for token in ends]))
    return sum(parts)
