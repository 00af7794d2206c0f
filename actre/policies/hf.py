"""A policy from any transformers causal language model: sampling replies and scoring candidates, batched.

Knows the Policy protocol and the tokenizer; no environment and no order. Not `model.generate`: the key-value cache
of one call is kept for the next (cached.py), so a growing episode costs its new tokens only; equal prompts are
computed once and finished rows leave the batch (decoding.py); a reply ends at a stop string (stops.py). Candidates
are scored exactly, all of a prefix in one pass (scoring.py).

Not tried: a model loaded through unsloth, whose patched attention may not take our cache; no GPU was at hand.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np

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
    """The Policy protocol over a transformers causal LM, a PeftModel too, on the device where the model is.

    reuse: keep computed prefixes between calls; they are dropped by themselves when a weight changes or other
    adapters become active. `reset()` drops them at once and frees their memory.
    """

    def __init__(self, model: Any, tokenizer: Any, *, reuse: bool = True) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self._cached = CachedModel(model, reuse=reuse)
        self._end_ids = end_ids(model.generation_config, tokenizer)
        self._stops: dict[str | None, Stops] = {}
        self._texts = TokenTexts(tokenizer)
        self.max_context = held_by(model.config)
        # prompts are made of a few pieces, repeated at every step of every episode
        self._encode = lru_cache(maxsize=4096)(self._encode_new)

    @property
    def computed_tokens(self) -> int:
        """Tokens that went through the model so far, padding included."""
        return self._cached.computed_tokens

    def encode(self, text: str) -> list[int]:
        """Text to ids, no special tokens added."""
        return list(self._encode(text))

    def decode(self, ids: Sequence[int]) -> str:
        """Ids to text, every token shown."""
        return self.tokenizer.decode(list(ids), skip_special_tokens=False, clean_up_tokenization_spaces=False)

    def renderer(self, prompt: PromptConfig, order: Order) -> Renderer:
        """Prompts for this policy's tokenizer and chat template."""
        end_id = self.tokenizer.eos_token_id
        return Renderer(self.encode, chat_format(self.tokenizer, prompt.date), prompt, order, end_id=end_id)

    def reset(self) -> None:
        """Forget the computed prefixes and free their memory."""
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
        """One sampled reply a prompt; temperature 0 takes the likeliest tokens, with log-probability 0.

        logps: float32 log-softmax of logits / temperature. The same prompts, weights and seed give the same
        replies, whether prefixes are reused or not (up to rounding). Differs: `Reply.text` leaves out the
        end-of-turn token that a reply may end with. Raises ActreError for an empty prompt, a bad number, or a prompt
        that with the longest reply is more than `max_context`.
        """
        if temperature < 0 or max_new_tokens < 1:
            raise ActreError(
                f"temperature {temperature} and max_new_tokens {max_new_tokens}: "
                "the one must not be negative, the other at least 1"
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

        Equal to one plain forward pass a candidate up to rounding; a `Spelling`'s last token counts with all that
        begin with its text. Raises ActreError for an empty prefix or candidate, a temperature that is not positive, or
        a prefix that with its candidate is more than `max_context`.
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
        """The table of tokens that may end a reply, made once a stop string."""
        if stop not in self._stops:
            self._stops[stop] = Stops(self.tokenizer, stop, self._end_ids, vocabulary, self.model.device)
        return self._stops[stop]

    def _encode_new(self, text: str) -> tuple[int, ...]:
        return tuple(self.tokenizer.encode(text, add_special_tokens=False))


def end_ids(settings: Any, tokenizer: Any) -> frozenset[int]:
    """The ids that end a turn: the tokenizer's, and those that `settings` (a GenerationConfig, or None) list."""
    listed = settings.eos_token_id if settings is not None else None
    ids = listed if isinstance(listed, list) else [listed]
    return frozenset(i for i in (*ids, tokenizer.eos_token_id) if i is not None)
