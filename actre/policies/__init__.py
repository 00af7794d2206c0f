"""The interface of policies, and its implementations.

Files:
    hf.py        a transformers model, cached.py: a model that computes nothing of a sequence twice
    runner.py    what runs it: its own module with a cache of rows (rowcache.py), or llama/: plain weights, on a CPU
    scoring.py   exact log-probabilities of candidates (trie.py: as a tree of tokens); decoding.py: sampling
    vllm/        vLLM in the process, or as a server
    scripted.py  a policy of tables
    models.py    models by name: loading, LoRA
    smollm2.py   SmolLM2 from the hub or a package
    tiny.py      the tiny policies' model and tokenizer; tiny_shop.py: the shop's words
    context.py   how many tokens a model can hold
    texts.py     the text of each token; stops.py: where a reply ends
"""

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
