"""A policy that writes whole conversations as a tokenizer writes them: no weights, every probability known."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from actre.config import PromptConfig
from actre.orders import Renderer, chat_format
from actre.policies.scoring import last_tokens
from actre.policies.texts import TokenTexts
from actre.types import Order, Reply

_TEXTS: dict[int, TokenTexts] = {}
"""A tokenizer's, made once."""


@dataclass
class TablePolicy:
    """Writes one of `replies` (text -> probability), each tokenised once behind the template's header for a reply.

    Where what stands there already begins none of them it ends its turn. A temperature reshapes each token's
    distribution, as in a model.
    """

    tokenizer: Any
    replies: Mapping[str, float]
    texts: TokenTexts = field(init=False)
    max_context: int | None = None
    known: dict[tuple[tuple[int, ...], float], dict[int, float]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.texts = _TEXTS.setdefault(id(self.tokenizer), TokenTexts(self.tokenizer))
        chat = chat_format(self.tokenizer)
        self.header = self.encode(chat.to_assistant)
        self.end = self.tokenizer.eos_token_id
        self.written = []
        for text, weight in self.replies.items():
            ids = self.encode(chat.to_assistant + text + chat.to_user)
            assert ids[: len(self.header)] == self.header
            own = len(self.encode(chat.to_assistant + text)) - len(self.header)
            self.written.append(((*ids[len(self.header) :][:own], self.end), weight))

    def encode(self, text: str) -> list[int]:
        return self.tokenizer.encode(text, add_special_tokens=False)

    def decode(self, ids: Sequence[int]) -> str:
        return self.tokenizer.decode(list(ids), skip_special_tokens=False, clean_up_tokenization_spaces=False)

    def renderer(self, prompt: PromptConfig, order: Order) -> Renderer:
        return Renderer(self.encode, chat_format(self.tokenizer), prompt, order, end_id=self.end)

    def generate(
        self,
        prompts: Sequence[Sequence[int]],
        *,
        max_new_tokens: int,
        temperature: float,
        stop: str | None,
        seed: int,
    ) -> list[Reply]:
        rng = np.random.default_rng(seed)
        return [self._reply(self._begun(prompt), max_new_tokens, temperature, stop, rng) for prompt in prompts]

    def _reply(
        self, begun: tuple[int, ...], limit: int, temperature: float, stop: str | None, rng: np.random.Generator
    ) -> Reply:
        ids: list[int] = []
        while len(ids) < limit:
            p = self._next((*begun, *ids), temperature)
            ids.append(int(rng.choice(list(p), p=list(p.values()))))
            shown = self.decode(ids[:-1] if ids[-1] == self.end else ids)
            if ids[-1] == self.end or (stop and stop in shown):
                return Reply(tuple(ids), (0.0,) * len(ids), shown)
        return Reply(tuple(ids), (0.0,) * len(ids), self.decode(ids), truncated=True)

    def action_logprobs(
        self,
        prefixes: Sequence[Sequence[int]],
        candidates: Sequence[Sequence[Sequence[int]]],
        *,
        temperature: float = 1.0,
    ) -> list[np.ndarray]:
        with np.errstate(divide="ignore"):
            return [
                np.log([self._score(self._begun(prefix), ids, temperature) for ids in listed])
                for prefix, listed in zip(prefixes, candidates, strict=True)
            ]

    def _score(self, begun: tuple[int, ...], candidate: Sequence[int], temperature: float) -> float:
        p = 1.0
        for i, token in enumerate(candidate):
            after = self._next((*begun, *candidate[:i]), temperature)
            last = i + 1 == len(candidate)
            ends = last_tokens(candidate, self.texts.beginning_like) if last else ()
            p *= sum(after.get(one, 0.0) for one in ends or (token,))
        return p

    def _begun(self, prefix: Sequence[int]) -> tuple[int, ...]:
        """What stands behind the last header for a reply."""
        size = len(self.header)
        at = max(i for i in range(len(prefix)) if list(prefix[i : i + size]) == self.header)
        return tuple(prefix[at + size :])

    def _next(self, begun: tuple[int, ...], temperature: float) -> dict[int, float]:
        if (begun, temperature) not in self.known:
            self.known[begun, temperature] = self._after(begun, temperature)
        return self.known[begun, temperature]

    def _after(self, begun: tuple[int, ...], temperature: float) -> dict[int, float]:
        weights: dict[int, float] = {}
        for ids, weight in self.written:
            if len(ids) > len(begun) and ids[: len(begun)] == begun:
                weights[ids[len(begun)]] = weights.get(ids[len(begun)], 0.0) + weight
        if not weights:
            return {self.end: 1.0}
        powers = {token: weight ** (1 / temperature) for token, weight in weights.items()}
        return {token: power / sum(powers.values()) for token, power in powers.items()}
