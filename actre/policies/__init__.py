"""The interface of policies. The implementations are hf.py, vllm/ and scripted.py."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from actre.config import PromptConfig
from actre.orders import Renderer
from actre.types import Order, Reply


class Policy(Protocol):
    """Token ids in, token ids and log-probabilities (nats) out."""

    @property
    def max_context(self) -> int | None:
        """Most tokens of a prompt and its reply together; None: no limit. Longer ones raise ActreError."""
        ...

    def renderer(self, prompt: PromptConfig, order: Order) -> Renderer:
        """Makes prompts in this policy's tokens and parses its replies."""
        ...

    def generate(
        self,
        prompts: Sequence[Sequence[int]],
        *,
        max_new_tokens: int,
        temperature: float,
        stop: str | None,
        seed: int,
    ) -> list[Reply]:
        """One sampled reply for each prompt; the token that completes `stop`, or the end-of-turn token, ends it."""
        ...

    def action_logprobs(
        self,
        prefixes: Sequence[Sequence[int]],
        candidates: Sequence[Sequence[Sequence[int]]],
        *,
        temperature: float = 1.0,
    ) -> list[np.ndarray]:
        """For each prefix, the exact log-probability (nats) of each of its candidates: arrays (A,), float64.

        Plain ids are scored as exactly these tokens, a `types.Spelling` (as from `Renderer.candidates`) as its text.
        """
        ...

    def encode(self, text: str) -> list[int]:
        """Text to ids, without special tokens."""
        ...

    def decode(self, ids: Sequence[int]) -> str:
        """Ids to text, special tokens included."""
        ...
