"""Keys and values of sequences. A beginning that several of them share is stored once and read once a token.

A row is the beginning of a prefix (its first `shared` columns) followed by columns of its own. Prefixes arise where
rows are copied: the columns that several rows then have become one. Buffers are larger than what is in them; memory
that was never written is not taken from the machine.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

WORTH_SHARING = 1 << 20
"""Bytes of a layer that sharing a prefix must save at each token, because its own operations take about that long."""
_ROUND = 64
_FIRST = 512  # columns


class SharedRows:
    """own: a layer's (2, rows, kv heads, capacity, head size), keys then values. prefix: the same with prefixes."""

    def __init__(self, layers: int, kv_heads: int, head_size: int, dtype: torch.dtype) -> None:
        self.kv_heads, self.head_size, self.dtype = kv_heads, head_size, dtype
        self._column_bytes = 2 * kv_heads * head_size * dtype.itemsize
        self.own = [self._zeros(0, 0) for _ in range(layers)]
        self.prefix = [self._zeros(0, 0) for _ in range(layers)]
        self.group = np.full(0, -1)  # each row's prefix; -1: none
        self.shared = np.zeros(0, dtype=np.int64)  # the number of its columns that are in the prefix

    def reserve(self, rows: int, columns: int) -> None:
        """Make room for that many rows, each with that many columns of its own."""
        _, held, _, capacity, _ = self.own[0].shape
        if rows <= held and columns <= capacity:
            return
        rows, columns = max(rows, held), capacity if columns <= capacity else _rounded(max(2 * columns, _FIRST))
        for number, old in enumerate(self.own):  # one layer after another, so that memory is free for the next
            self.own[number] = self._grown(old, rows, columns)
        added = rows - held
        self.group = np.concatenate([self.group, np.full(added, -1)])
        self.shared = np.concatenate([self.shared, np.zeros(added, dtype=np.int64)])

    def shorten(self, start: int, known: Sequence[int]) -> None:
        """Keep only the first `known` columns of the rows from `start` on."""
        rows = slice(start, start + len(known))
        self.shared[rows] = np.minimum(self.shared[rows], known)
        self.group[rows][self.shared[rows] == 0] = -1

    def forget(self, start: int) -> None:
        """The rows from `start` on are empty, so that prefixes of these alone are free."""
        self.group[start:] = -1
        self.shared[start:] = 0

    def copy(self, sources: Sequence[int], targets: Sequence[int], lengths: Sequence[int], held: Sequence[int]) -> None:
        """Copy the first lengths[i] columns of row sources[i] to row targets[i]; no row may be both.

        held[i]: the columns that row sources[i] itself still needs.
        """
        longest: dict[int, int] = {}
        users: Counter[int] = Counter(source for source, kept in dict(zip(sources, held, strict=True)).items() if kept)
        for source, length in zip(sources, lengths, strict=True):
            longest[source] = max(length, longest.get(source, 0))
            users[source] += 1
        new: dict[int, int] = {}
        for source, length in longest.items():
            saved = (users[source] - 1) * (length - int(self.shared[source]))
            if saved * self._column_bytes >= WORTH_SHARING:
                new[source] = self._new_prefix(source, length, taken=new.values())
        for source, target, length in zip(sources, targets, lengths, strict=True):
            shared = length if source in new else min(int(self.shared[source]), length)
            self._put(target, new.get(source, int(self.group[source])), shared)
            for layer in self.own if shared < length else ():
                layer[:, target, :, : length - shared] = layer[:, source, :, : length - shared]
        for source, kept in zip(sources, held, strict=True):
            if source in new and kept <= longest[source]:
                self._put(source, new[source], kept)

    def swap(self, first: np.ndarray, second: np.ndarray, lengths: np.ndarray) -> None:
        """Swap rows first[i] and second[i]. lengths (rows,): the columns in use of every row."""
        for a, b in zip(first.tolist(), second.tolist(), strict=True):
            width = int(max(lengths[a] - self.shared[a], lengths[b] - self.shared[b]))
            for layer in self.own:
                one, other = layer[:, a, :, :width], layer[:, b, :, :width]
                kept = one.clone()
                one.copy_(other)
                other.copy_(kept)
        both, crossed = np.concatenate([first, second]), np.concatenate([second, first])
        self.group[both], self.shared[both] = self.group[crossed], self.shared[crossed]

    def _put(self, row: int, group: int, shared: int) -> None:
        self.group[row], self.shared[row] = group if shared else -1, shared

    def _new_prefix(self, row: int, length: int, taken: Iterable[int]) -> int:
        """The number of a prefix, not in use or taken, that now holds the first `length` columns of a row."""
        used = {*self.group.tolist(), *taken}
        group = next(i for i in range(len(used) + 1) if i not in used)
        _, held, _, capacity, _ = self.prefix[0].shape
        if group >= held or length > capacity:
            groups = held if group < held else 2 * held + 1
            columns = max(capacity, _rounded(length))
            for number, old in enumerate(self.prefix):
                self.prefix[number] = self._grown(old, groups, columns)
        before, shared = self.group[row], self.shared[row]
        for own, prefix in zip(self.own, self.prefix, strict=True):
            prefix[:, group, :, :shared] = prefix[:, before, :, :shared]
            prefix[:, group, :, shared:length] = own[:, row, :, : length - shared]
        return group

    def _grown(self, old: Tensor, rows: int, columns: int) -> Tensor:
        new = self._zeros(rows, columns)
        new[:, : old.shape[1], :, : old.shape[3]] = old
        return new

    def _zeros(self, rows: int, columns: int) -> Tensor:
        # numpy's zeros take no memory before they are written
        shape = (2, rows, self.kv_heads, columns, self.head_size)
        kind: Any = np.float32 if self.dtype == torch.float32 else np.uint16
        return torch.from_numpy(np.zeros(shape, dtype=kind)).view(self.dtype)


def _rounded(columns: int) -> int:
    return -(-columns // _ROUND) * _ROUND
