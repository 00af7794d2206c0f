"""What the rest of the kit may ask of a policy. Its implementations live beside this: hf, vllm, scripted."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from actre.config import PromptConfig
from actre.orders import Renderer
from actre.types import Order, Reply


class Policy(Protocol):
    """Token ids in, token ids and log-probabilities (nats) out; it knows no environment."""

    @property
    def max_context(self) -> int | None:
        """Most tokens of a prompt and its reply together; None: no limit. What is longer is refused (ActreError)."""
        ...

    def renderer(self, prompt: PromptConfig, order: Order) -> Renderer:
        """Makes prompts in this policy's tokens, and reads its replies."""
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
        """One sampled reply a prompt, ended by the token that completes `stop` or by the end-of-turn token."""
        ...

    def action_logprobs(
        self,
        prefixes: Sequence[Sequence[int]],
        candidates: Sequence[Sequence[Sequence[int]]],
        *,
        temperature: float = 1.0,
    ) -> list[np.ndarray]:
        """For each prefix, the exact log-probability (nats) of each of its candidates: arrays (A,), float64.

        Plain ids are scored as these tokens; a `types.Spelling` (what `Renderer.candidates` gives) as its text.
        """
        ...

    def encode(self, text: str) -> list[int]:
        """Text to ids, no special tokens added."""
        ...

    def decode(self, ids: Sequence[int]) -> str:
        """Ids to text, every token shown."""
        ...
