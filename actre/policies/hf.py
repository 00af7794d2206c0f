"""A policy from any transformers causal language model, with batched sampling and scoring.

It does not use `model.generate`: the key-value cache is kept between calls (cached.py), so a growing episode costs only
its new tokens; equal prompts are computed once, and finished rows leave the batch (decoding.py); a reply ends at a stop
string (stops.py). Candidates are scored exactly, all of a prefix in one pass (scoring.py). On a CPU, Llama and Qwen2
run from their plain weights (llama/), any other model through its modules (runner.py).

Not tested: a model loaded through unsloth, whose patched attention may not accept this cache.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import torch

from actre.config import PromptConfig
from actre.orders import Renderer
from actre.orders.chat import chat_format
from actre.policies.cached import CachedModel
from actre.policies.context import SHORTER, held_by, must_hold, with_candidates
from actre.policies.decoding import Decoding
from actre.policies.scoring import make_tries, score
from actre.policies.stops import Stops
from actre.policies.texts import TokenTexts
from actre.types import ActreError, Order, Reply


class HFPolicy:
    """The Policy protocol for a transformers causal LM or PeftModel, on the model's device.

    reuse: keep computed prefixes between calls. They are dropped when a weight changes or other adapters become active;
    `reset()` drops them at once and frees their memory. plain_weights: False runs the model's own modules in any case,
    to compare with. products: the type of the layers' products (`SamplingConfig.products`); None: the model's own.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        *,
        reuse: bool = True,
        plain_weights: bool = True,
        products: torch.dtype | None = None,
    ) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self._cached = CachedModel(model, reuse=reuse, plain_weights=plain_weights, products=products)
        self._end_ids = end_ids(model.generation_config, tokenizer)
        self._stops: dict[str | None, Stops] = {}
        self._texts = TokenTexts(tokenizer)
        self.max_context = held_by(model.config)
        # the same texts recur at every step of every episode
        self._encode = lru_cache(maxsize=4096)(self._encode_new)

    @property
    def computed_tokens(self) -> int:
        """Tokens processed by the model so far, padding included."""
        return self._cached.computed_tokens

    def encode(self, text: str) -> list[int]:
        """Text to ids, without special tokens."""
        return list(self._encode(text))

    def decode(self, ids: Sequence[int]) -> str:
        """Ids to text, special tokens included."""
        return self.tokenizer.decode(list(ids), skip_special_tokens=False, clean_up_tokenization_spaces=False)

    def renderer(self, prompt: PromptConfig, order: Order) -> Renderer:
        """Prompts for this policy's tokenizer and chat template."""
        end_id = self.tokenizer.eos_token_id
        return Renderer(self.encode, chat_format(self.tokenizer, prompt.date), prompt, order, end_id=end_id)

    def reset(self) -> None:
        """Drop the computed prefixes and free their memory."""
        self._cached.reset()

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

        logps: float32 log-softmax of logits / temperature. The same prompts, weights and seed give the same replies up
        to rounding, whether prefixes are reused or not. Differs: `Reply.text` lacks the end-of-turn token at the end of
        a reply. Raises ActreError for an empty prompt, a number out of range, or a prompt that together with the
        longest reply exceeds `max_context`.
        """
        if temperature < 0 or max_new_tokens < 1:
            raise ActreError(
                f"temperature {temperature} and max_new_tokens {max_new_tokens}: "
                "the first must not be negative, and the second must be at least 1"
            )
        if not prompts:
            return []
        must_hold(self.max_context, map(len, prompts), max_new_tokens, "a prompt", SHORTER)
        sequences = [tuple(prompt) for prompt in prompts]
        with self._cached.evaluating():
            slots, logits = self._cached.prefill(sequences, room=max_new_tokens)
            decoding = Decoding(self._cached, sequences, slots, max_new_tokens, seed)
            decoding.run(logits, self._stops_at(stop, logits.shape[-1]), temperature)
            return decoding.replies(self.decode, self._end_ids)

    def action_logprobs(
        self,
        prefixes: Sequence[Sequence[int]],
        candidates: Sequence[Sequence[Sequence[int]]],
        *,
        temperature: float = 1.0,
    ) -> list[np.ndarray]:
        """For each prefix, the exact log-probability in nats of each of its candidates: (A,), float64.

        Equal to one plain forward pass for each candidate, up to rounding; a `Spelling`'s last token counts together
        with all tokens that begin with its text. Raises ActreError for an empty prefix or candidate, a temperature that
        is not positive, or a prefix that together with its candidate exceeds `max_context`.
        """
        if temperature <= 0:
            raise ActreError(f"temperature {temperature}: a distribution over actions needs a positive one")
        if len(prefixes) != len(candidates):
            raise ActreError(f"{len(prefixes)} prefixes, but candidates for {len(candidates)}")
        if not prefixes:
            return []
        must_hold(self.max_context, with_candidates(prefixes, candidates), 0, "a prefix with its candidate", SHORTER)
        tries = make_tries(candidates, self._texts.beginning_like)
        sequences = [tuple(prefix) for prefix in prefixes]
        with self._cached.evaluating():
            prefilled = self._cached.prefill(sequences, room=max(len(trie.tokens) for trie in tries))
            return score(self._cached, sequences, tries, prefilled, temperature)

    def _stops_at(self, stop: str | None, vocabulary: int) -> Stops:
        """The table of tokens that may end a reply, cached for each stop string."""
        if stop not in self._stops:
            self._stops[stop] = Stops(self.tokenizer, stop, self._end_ids, vocabulary, self.model.device)
        return self._stops[stop]

    def _encode_new(self, text: str) -> tuple[int, ...]:
        return tuple(self.tokenizer.encode(text, add_special_tokens=False))


def end_ids(settings: Any, tokenizer: Any) -> frozenset[int]:
    """The ids that end a turn: the tokenizer's and those of `settings`, a GenerationConfig or None."""
    listed = settings.eos_token_id if settings is not None else None
    ids = listed if isinstance(listed, list) else [listed]
    return frozenset(i for i in (*ids, tokenizer.eos_token_id) if i is not None)
