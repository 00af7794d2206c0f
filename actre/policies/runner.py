"""What runs a model for cached.py: its own module with a cache of rows (ModuleRunner), or llama/ on a CPU."""

import copy
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from peft import PeftModel
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import Tensor

from actre.policies.rowcache import RowCache, additive, causal_mask
from actre.policies.trie import Trie, ancestors
from actre.runtime import ranks


class Runner(Protocol):
    """A model and the keys and values of its rows. computed_tokens counts those processed, padding included."""

    computed_tokens: int

    def load(self, model: Any, *, small: bool) -> None:
        """Take the weights of this model, which has changed. small: copy them, with adapters merged."""
        ...

    def reserve(self, rows: int, columns: int) -> None:
        """Make room for that many rows and columns, keeping what is stored."""
        ...

    def forget(self, start: int) -> None:
        """The rows from `start` on are no longer needed."""
        ...

    def copy_rows(
        self, sources: Sequence[int], targets: Sequence[int], lengths: Sequence[int], held: Sequence[int]
    ) -> None:
        """Copy the first lengths[i] columns of row sources[i] to row targets[i]; no row may be both.

        held[i]: how many columns of row sources[i] stay in use.
        """
        ...

    def swap_rows(self, first: Tensor, second: Tensor, lengths: Tensor) -> None:
        """Swap rows first[i] and second[i]. lengths: the columns in use of every row."""
        ...

    def extend(self, sequences: Sequence[tuple[int, ...]], known: Sequence[int], start: int) -> Tensor:
        """Compute these sequences after their first `known` ids, in rows from `start` on. Returns logits (rows, V)."""
        ...

    def step(self, tokens: Tensor, lengths: Tensor, width: int) -> Tensor:
        """Compute one token for each of the first rows, of these lengths before it (rows,). Returns logits (rows, V).

        width: the largest length with the token.
        """
        ...

    def trees(self, start: int, lengths: Sequence[int], tries: Sequence[Trie]) -> list[Tensor]:
        """Logits (nodes, V) after each node of each row's trie, for rows of these lengths from `start` on."""
        ...


class ModuleRunner:
    """Any causal LM of transformers, on any device. Blocks are padded to rectangles, with 4D masks.

    Differs: a small model with adapters runs as a copy with merged adapters (log-probabilities agree with the unmerged
    ones to about 1e-6).
    """

    def __init__(self, model: Any, *, small: bool) -> None:
        self.computed_tokens = 0
        self.cache = RowCache(model.config.get_text_config().num_hidden_layers)
        self.load(model, small=small)

    def load(self, model: Any, *, small: bool) -> None:
        self._module = _module(model, small=small)
        self._dtype, self._device = model.dtype, model.device

    def reserve(self, rows: int, columns: int) -> None:
        self.cache.reserve(rows, columns)

    def forget(self, start: int) -> None:
        """Nothing to do: rows are overwritten."""

    def copy_rows(
        self, sources: Sequence[int], targets: Sequence[int], lengths: Sequence[int], held: Sequence[int]
    ) -> None:
        self.cache.copy_rows(torch.tensor(sources, device=self._device), torch.tensor(targets, device=self._device))

    def swap_rows(self, first: Tensor, second: Tensor, lengths: Tensor) -> None:
        self.cache.swap_rows(first, second)

    def extend(self, sequences: Sequence[tuple[int, ...]], known: Sequence[int], start: int) -> Tensor:
        longest = max(len(s) - k for s, k in zip(sequences, known, strict=True))
        ids = np.zeros((len(sequences), longest), dtype=np.int64)
        columns = np.full((len(sequences), longest), -1, dtype=np.int64)
        # right-aligned, so that the last column holds the last token of every row
        for row, (sequence, k) in enumerate(zip(sequences, known, strict=True)):
            at = longest - (len(sequence) - k)
            ids[row, at:] = sequence[k:]
            columns[row, at:] = range(k, len(sequence))
        width = max(map(len, sequences))
        return self._forward(self._there(ids), self._there(columns), start, width)[:, -1]

    def step(self, tokens: Tensor, lengths: Tensor, width: int) -> Tensor:
        return self._forward(tokens[:, None], lengths[:, None], 0, width)[:, -1]

    def trees(self, start: int, lengths: Sequence[int], tries: Sequence[Trie]) -> list[Tensor]:
        nodes = max(len(trie.tokens) for trie in tries)
        if nodes == 0:
            return [torch.empty(0, self._module.config.get_text_config().vocab_size, device=self._device)] * len(tries)
        block = _tree_block(lengths, tries, nodes)
        logits = self._forward(
            self._there(block.ids),
            self._there(block.columns),
            start,
            block.seen.shape[-1],
            mask=additive(self._there(block.seen), self._dtype),
            positions=self._there(block.positions),
            keep=0,
        )
        return [row[: len(trie.tokens)] for row, trie in zip(logits, tries, strict=True)]

    def _there(self, array: np.ndarray) -> Tensor:
        return torch.from_numpy(array).to(self._device)

    def _forward(
        self,
        ids: Tensor,
        columns: Tensor,
        start: int,
        width: int,
        *,
        mask: Tensor | None = None,
        positions: Tensor | None = None,
        keep: int = 1,
    ) -> Tensor:
        """Compute ids (rows, tokens) and store them at `columns` (-1: padding) of the rows from `start` on.

        Returns logits (rows, keep, V); keep 0: of all tokens. width: the number of visible columns. mask, positions:
        for blocks that do not simply continue their rows.
        """
        self.cache.aim(start, start + ids.shape[0], columns, width)
        self.computed_tokens += ids.numel()
        return self._module(
            input_ids=ids,
            attention_mask=causal_mask(columns, width, self._dtype) if mask is None else mask,
            position_ids=columns.clamp(min=0) if positions is None else positions,
            past_key_values=self.cache,
            use_cache=True,
            logits_to_keep=keep,
        ).logits


def _module(model: Any, *, small: bool) -> Any:
    """The module to run: for a small PeftModel a copy with merged adapters, else its base model.

    An adapter triples the number of matrix products, which dominate the time if the matrices are small.
    """
    # sharded weights are gathered only when the model itself is called
    if not isinstance(model, PeftModel) or ranks.cuts_weights():
        return model
    if not small:
        return model.get_base_model()
    copied: Any = copy.deepcopy(model)
    off = any(m.disable_adapters for m in model.modules() if isinstance(m, BaseTunerLayer))
    return (copied.unload() if off else copied.merge_and_unload()).eval()


class _TreeBlock(NamedTuple):
    ids: np.ndarray  # (rows, nodes)
    columns: np.ndarray  # (rows, nodes), -1 for padding
    positions: np.ndarray  # (rows, nodes)
    seen: np.ndarray  # (rows, 1, nodes, width), bool


def _tree_block(lengths: Sequence[int], tries: Sequence[Trie], nodes: int) -> _TreeBlock:
    """The tries as one padded block. Each node sees the prefix of its row, its ancestors and itself."""
    rows = len(tries)
    width = max(length + len(trie.tokens) for length, trie in zip(lengths, tries, strict=True))
    ids = np.zeros((rows, nodes), dtype=np.int64)
    columns = np.full((rows, nodes), -1, dtype=np.int64)
    positions = np.zeros((rows, nodes), dtype=np.int64)
    seen = np.zeros((rows, 1, nodes, width), dtype=bool)
    for row, (length, trie) in enumerate(zip(lengths, tries, strict=True)):
        count = len(trie.tokens)
        ids[row, :count] = trie.tokens
        columns[row, :count] = range(length, length + count)
        positions[row, :count] = np.asarray(trie.depths, dtype=np.int64) + length
        seen[row, 0, :, :length] = True
        seen[row, 0, :count, length : length + count] = ancestors(trie.parents)
    return _TreeBlock(ids, columns, positions, seen)
