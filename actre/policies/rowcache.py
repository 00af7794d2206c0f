"""A key-value cache with one row for each sequence; rows may have different lengths.

transformers' DynamicCache appends the same number of columns to every row and copies the whole cache for each token.
Here every row is written at its own positions in preallocated buffers: rows of different lengths leave no gaps, a row
is shortened without copying, and a token costs one write for each row.

It is used with the 4D additive masks made here, which transformers passes on unchanged. The buffers have one column
more than their capacity; padding is written there, and every mask hides it.
"""

from typing import Any

import torch
from transformers.cache_utils import Cache, DynamicLayer

_ROUND = 64  # columns are allocated in multiples of this, so that growing episodes rarely copy the cache


class _Aim:
    """The size of the buffers, and where the next forward pass reads and writes. Layers refer to this instead of their
    cache: a reference cycle would keep the buffers in memory until garbage collection."""

    def __init__(self) -> None:
        self.rows = 0
        self.capacity = 0
        self.row_index = torch.empty(0, 1, dtype=torch.long)
        self.columns = torch.empty(0, 0, dtype=torch.long)
        self.view = (slice(0, 0), 0)


class RowCache(Cache):
    """Keys and values of several sequences. The next forward pass writes where `aim` says.

    Only the rows of the last `aim` take part in it.
    """

    def __init__(self, layers: int) -> None:
        self._aim = _Aim()
        self._own = [_RowLayer(self._aim) for _ in range(layers)]
        super().__init__(layers=list(self._own))

    def aim(self, start: int, stop: int, columns: torch.Tensor, width: int) -> None:
        """Let the next forward pass write to rows start..stop at `columns` (rows, tokens), -1 for padding.

        It sees the first `width` columns of these rows.
        """
        self._aim.row_index = torch.arange(start, stop, device=columns.device)[:, None]
        self._aim.columns = torch.where(columns < 0, self._aim.capacity, columns)
        self._aim.view = (slice(start, stop), width)

    def reserve(self, rows: int, columns: int) -> None:
        """Make room for that many rows and columns, keeping the stored values."""
        if rows <= self._aim.rows and columns <= self._aim.capacity:
            return
        self._aim.rows = max(rows, self._aim.rows)
        if columns > self._aim.capacity:
            self._aim.capacity = -(-columns // _ROUND) * _ROUND
        for layer in self._own:
            layer.grow()

    def copy_rows(self, source: torch.Tensor, target: torch.Tensor) -> None:
        """Copy row source[i] to row target[i]; no row may be both."""
        for layer in self._own:
            layer.keys[target] = layer.keys[source]
            layer.values[target] = layer.values[source]

    def swap_rows(self, first: torch.Tensor, second: torch.Tensor) -> None:
        """Swap rows first[i] and second[i]."""
        both, crossed = torch.cat([first, second]), torch.cat([second, first])
        for layer in self._own:
            layer.keys[both] = layer.keys[crossed]
            layer.values[both] = layer.values[crossed]


class _RowLayer(DynamicLayer):
    """One layer's buffers, shape (rows, heads, capacity + 1, head size)."""

    keys: Any
    values: Any

    def __init__(self, aim: _Aim) -> None:
        super().__init__()
        self._aim = aim

    def lazy_initialization(self, key_states: torch.Tensor, value_states: torch.Tensor) -> None:
        self.dtype, self.device = key_states.dtype, key_states.device
        self.keys = self._empty(key_states)
        self.values = self._empty(value_states)
        self.is_initialized = True

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        rows, width = self._aim.view
        self.keys[self._aim.row_index, :, self._aim.columns] = key_states.transpose(1, 2)
        self.values[self._aim.row_index, :, self._aim.columns] = value_states.transpose(1, 2)
        return self.keys[rows, :, :width], self.values[rows, :, :width]

    def grow(self) -> None:
        """Reallocate for the cache's new size, keeping the stored values."""
        if not self.is_initialized:
            return
        for name in ("keys", "values"):
            old = getattr(self, name)
            new = self._empty(old)
            new[: old.shape[0], :, : old.shape[2] - 1] = old[:, :, :-1]
            setattr(self, name, new)

    def _empty(self, like: torch.Tensor) -> torch.Tensor:
        # zeros instead of empty: a masked column may hold any value except NaN
        shape = (self._aim.rows, like.shape[1], self._aim.capacity + 1, like.shape[3])
        return torch.zeros(shape, dtype=like.dtype, device=like.device)


def causal_mask(columns: torch.Tensor, width: int, dtype: torch.dtype) -> torch.Tensor:
    """Additive mask (rows, 1, tokens, width): the token at column c sees columns 0..c, padding (-1) sees column 0."""
    seen = torch.arange(width, device=columns.device) <= columns.clamp(min=0)[:, None, :, None]
    return additive(seen, dtype)


def additive(seen: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """0 where `seen`, the lowest finite number elsewhere."""
    return torch.zeros(seen.shape, dtype=dtype, device=seen.device).masked_fill_(~seen, torch.finfo(dtype).min)
