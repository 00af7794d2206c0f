"""Runs a Llama's plain weights for cached.py: packed blocks of new tokens, and one token a row."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from actre.policies.llama.attention import Block, BlockAttention, StepAttention
from actre.policies.llama.forward import Angles, forward
from actre.policies.llama.rows import SharedRows
from actre.policies.llama.weights import read_weights
from actre.policies.trie import Trie, ancestors


class LlamaRunner:
    """A `runner.Runner` for models without a `weights.reason_against`. small, products: see `read_weights`."""

    def __init__(self, model: Any, *, small: bool, products: torch.dtype | None = None) -> None:
        self.computed_tokens = 0
        self._products = products
        self.load(model, small=small)
        w = self._weights
        self._rows = SharedRows(len(w.layers), w.kv_heads, w.head_size, w.embedding.dtype)
        self._step: StepAttention | None = None

    def load(self, model: Any, *, small: bool) -> None:
        """Read the weights again; what rows hold belongs to the old ones."""
        self._weights = read_weights(model, small=small, products=self._products)
        self._angles = Angles(self._weights.rotary)

    def reserve(self, rows: int, columns: int) -> None:
        self._rows.reserve(rows, columns)

    def forget(self, start: int) -> None:
        self._rows.forget(start)

    def copy_rows(
        self, sources: Sequence[int], targets: Sequence[int], lengths: Sequence[int], held: Sequence[int]
    ) -> None:
        self._step = None
        self._rows.copy(sources, targets, lengths, held)

    def swap_rows(self, first: Tensor, second: Tensor, lengths: Tensor) -> None:
        self._step = None
        self._rows.swap(first.numpy(), second.numpy(), lengths.numpy())

    def extend(self, sequences: Sequence[tuple[int, ...]], known: Sequence[int], start: int) -> Tensor:
        self._step = None
        self._rows.shorten(start, known)
        pairs = list(zip(sequences, known, strict=True))
        blocks = [Block(start + row, k, len(sequence) - k) for row, (sequence, k) in enumerate(pairs)]
        ids = np.concatenate([sequence[k:] for sequence, k in pairs])
        positions = np.concatenate([np.arange(k, len(sequence)) for sequence, k in pairs])
        return self._run(ids, positions, blocks, np.cumsum([block.tokens for block in blocks]) - 1)

    def step(self, tokens: Tensor, lengths: Tensor, width: int) -> Tensor:
        if self._step is None or self._step.rows != len(tokens):
            self._step = StepAttention(self._rows, 0, len(tokens), self._weights.heads)
        self._step.at(lengths)
        self.computed_tokens += len(tokens)
        return forward(self._weights, tokens, self._angles.at(lengths, width), self._step)

    def trees(self, start: int, lengths: Sequence[int], tries: Sequence[Trie]) -> list[Tensor]:
        counts = [len(trie.tokens) for trie in tries]
        blocks = [
            Block(start + row, length, n, torch.from_numpy(ancestors(trie.parents)))
            for row, (length, trie, n) in enumerate(zip(lengths, tries, counts, strict=True))
            if n
        ]
        if not blocks:
            return [torch.empty(0, len(self._weights.head.weight))] * len(tries)
        ids = np.concatenate([np.asarray(trie.tokens, dtype=np.int64) for trie in tries])
        depths = [np.asarray(trie.depths, dtype=np.int64) + at for at, trie in zip(lengths, tries, strict=True)]
        return list(self._run(ids, np.concatenate(depths), blocks).split(counts))

    def _run(
        self, ids: np.ndarray, positions: np.ndarray, blocks: Sequence[Block], last: np.ndarray | None = None
    ) -> Tensor:
        self.computed_tokens += len(ids)
        angles = self._angles.at(torch.from_numpy(positions), int(positions.max()) + 1)
        attention = BlockAttention(self._rows, blocks, self._weights.heads)
        chosen = None if last is None else torch.from_numpy(last)
        return forward(self._weights, torch.from_numpy(ids), angles, attention, chosen)
