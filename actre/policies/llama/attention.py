"""Attention over shared rows: one token a row while decoding, and blocks of new tokens.

Scores of the shared prefix and of a row's own columns are computed apart, the prefix once for all rows that share it,
and normalised together.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from actre.policies.llama.rows import SharedRows

_SCORES = 1 << 24  # numbers in one tensor of scores (64 MB)
_FEW = 4  # rows of weights that numpy multiplies with values faster than torch does


class StepAttention:
    """One token for each row of a range; the rows' prefixes stay as they are while it is used."""

    def __init__(self, rows: SharedRows, start: int, stop: int, heads: int) -> None:
        self.rows = stop - start
        self._rows, self._range = rows, slice(start, stop)
        self._each = heads // rows.kv_heads  # query heads for each head of keys
        self._index = torch.arange(start, stop)
        self._shared = torch.from_numpy(rows.shared[start:stop].copy())
        self._prefix = int(self._shared.max())
        self._unshared = _masked(torch.arange(self._prefix) >= self._shared[:, None])
        if self._prefix:
            self._gather, self._place, self._groups = _by_group(rows.group[start:stop])

    def at(self, columns: Tensor) -> None:
        """The column of each row's next token (rows,)."""
        self._columns = columns - self._shared
        self._width = int(self._columns.max()) + 1
        later = _masked(torch.arange(self._width) > self._columns[:, None])
        self._mask = torch.cat([self._unshared, later], dim=1)[:, None]

    def write(self, layer: int, keys: Tensor, values: Tensor) -> None:
        self._rows.own[layer][:, self._index, :, self._columns] = torch.stack([keys, values], dim=1)

    def read(self, layer: int, queries: Tensor) -> Tensor:
        rows, (n, heads, size) = self._rows, queries.shape
        pairs = n * rows.kv_heads
        keys, values = (part[self._range].flatten(0, 1)[:, : self._width] for part in rows.own[layer])
        scores = queries.new_empty(pairs, self._each, self._prefix + self._width)
        _product(queries.reshape(pairs, self._each, size), keys.transpose(1, 2), scores[..., self._prefix :], few=1)
        if self._prefix:
            scores[..., : self._prefix] = self._with_prefix(layer, 0, queries.flatten(1)).view(pairs, self._each, -1)
        weights = scores.view(n, heads, -1).add_(self._mask).softmax(-1).view(scores.shape)
        result = queries.new_empty(pairs, self._each, size)
        _product(weights[..., self._prefix :], values, result, few=_FEW)
        result = result.view(n, heads * size)
        if self._prefix:
            result += self._with_prefix(layer, 1, weights[..., : self._prefix].reshape(n, -1))
        return result

    def read_last(self, layer: int, queries: Tensor) -> Tensor:
        return self.read(layer, queries)

    def _with_prefix(self, layer: int, part: int, x: Tensor) -> Tensor:
        """Queries times the prefix's keys (part 0), or weights times its values (1): (rows, heads * numbers)."""
        kv, each = self._rows.kv_heads, self._each
        stored = self._rows.prefix[layer][part, : self._groups].flatten(0, 1)[:, : self._prefix]
        members = len(self._gather) // self._groups
        # (groups, members, kv, each, numbers) to (groups * kv, members * each, numbers)
        x = x.index_select(0, self._gather).view(self._groups, members, kv, each, -1).transpose(1, 2)
        x = x.reshape(self._groups * kv, members * each, -1)
        found = torch.bmm(x, stored if part else stored.transpose(1, 2))
        found = found.view(self._groups, kv, members, each, -1).transpose(1, 2).reshape(len(self._gather), -1)
        return found.index_select(0, self._place)


class Block(NamedTuple):
    """New tokens of one row, which follow its first `known` columns. seen (tokens, tokens): whether a token (row) sees
    another (column) of them; None: all up to itself."""

    row: int
    known: int
    tokens: int
    seen: Tensor | None = None


class BlockAttention:
    """Blocks of tokens packed one after another. Rows are read one by one, so that none is padded."""

    def __init__(self, rows: SharedRows, blocks: Sequence[Block], heads: int) -> None:
        self._rows, self._heads = rows, heads
        self._each = heads // rows.kv_heads
        counts = [block.tokens for block in blocks]
        shared = rows.shared[[block.row for block in blocks]]
        starts = np.array([block.known for block in blocks]) - shared
        self._index = torch.from_numpy(np.repeat([block.row for block in blocks], counts))
        self._columns = torch.from_numpy(
            np.concatenate([np.arange(at, at + n) for at, n in zip(starts, counts, strict=True)])
        )
        self._pieces = [
            piece
            for block, at, first in zip(blocks, starts.tolist(), np.cumsum([0, *counts]).tolist(), strict=False)
            for piece in self._cut(block, at, first)
        ]
        self._blocks = blocks

    def _cut(self, block: Block, at: int, first: int) -> list["_Piece"]:
        """Pieces of bounded size of a block whose own columns begin at `at` and whose first token is number `first`."""
        shared = int(self._rows.shared[block.row])
        size = max(1, _SCORES // (self._heads * (shared + at + block.tokens)))
        pieces = []
        for start in range(0, block.tokens, size):
            stop = min(start + size, block.tokens)
            width = at + (stop if block.seen is None else block.tokens)
            if block.seen is None:
                hidden = torch.arange(width) > torch.arange(at + start, at + stop)[:, None]
            else:
                hidden = torch.zeros(stop - start, width, dtype=torch.bool)
                hidden[:, at:] = ~block.seen[start:stop]
            mask = _masked(hidden).to(self._rows.dtype).repeat(self._each, 1)
            group = int(self._rows.group[block.row])
            pieces.append(_Piece(block.row, group, shared, first + start, first + stop, width, mask))
        return pieces

    def write(self, layer: int, keys: Tensor, values: Tensor) -> None:
        self._rows.own[layer][:, self._index, :, self._columns] = torch.stack([keys, values], dim=1)

    def read(self, layer: int, queries: Tensor) -> Tensor:
        own, prefix, kv, size = self._rows.own[layer], self._rows.prefix[layer], self._rows.kv_heads, queries.shape[-1]
        result = torch.empty_like(queries, memory_format=torch.contiguous_format)
        for row, group, shared, first, last, width, mask in self._pieces:
            n = last - first
            # (tokens, kv, each, size) to (kv, each * tokens, size)
            asked = queries[first:last].view(n, kv, self._each, size).permute(1, 2, 0, 3).reshape(kv, -1, size)
            keys, values = own[0, row, :, :width], own[1, row, :, :width]
            scores = torch.baddbmm(mask, asked, keys.transpose(1, 2))
            if shared:
                before = torch.bmm(asked, prefix[0, group, :, :shared].transpose(1, 2))
                weights = torch.cat([before, scores], dim=-1).softmax(-1)
                found = torch.bmm(weights[..., :shared], prefix[1, group, :, :shared])
                found = found.baddbmm_(weights[..., shared:], values)
            else:
                found = torch.bmm(scores.softmax(-1), values)
            result[first:last] = found.view(kv, self._each, n, size).permute(2, 0, 1, 3).flatten(1, 2)
        return result.flatten(1)

    def read_last(self, layer: int, queries: Tensor) -> Tensor:
        """For blocks of consecutive rows."""
        first = self._blocks[0].row
        step = StepAttention(self._rows, first, first + len(self._blocks), self._heads)
        step.at(torch.tensor([block.known + block.tokens - 1 for block in self._blocks]))
        return step.read(layer, queries)


class _Piece(NamedTuple):
    row: int
    group: int
    shared: int
    first: int  # the tokens' place in the packed block
    last: int
    width: int
    mask: Tensor  # (query heads of a head of keys * tokens, width), added to the scores


def _by_group(group: np.ndarray) -> tuple[Tensor, Tensor, int]:
    """Rows in a table of groups, filled up with row 0. Rows without a group (-1) stand where there is space.

    Returns the row at each place (groups * members,), the place of each row (rows,), and the number of groups.

    >>> _by_group(np.array([1, 0, 1, -1]))
    (tensor([1, 3, 0, 2]), tensor([2, 0, 3, 1]), 2)
    """
    count = int(group.max()) + 1
    filled = np.bincount(group[group >= 0], minlength=count)
    group = group.copy()
    for row in np.flatnonzero(group < 0):
        group[row] = filled.argmin()
        filled[group[row]] += 1
    members = int(filled.max())
    place = np.empty(len(group), dtype=np.int64)
    for g in range(count):
        rows = np.flatnonzero(group == g)
        place[rows] = g * members + np.arange(len(rows))
    gather = np.zeros(count * members, dtype=np.int64)
    gather[place] = np.arange(len(group))
    return torch.from_numpy(gather), torch.from_numpy(place), count


def _product(left: Tensor, right: Tensor, out: Tensor, *, few: int) -> None:
    """Batched left (b, m, k) @ right (b, k, n) into out; by numpy if m is at most `few`.

    With one vector each, numpy's BLAS reads the matrices at the memory's speed; torch's (MKL) takes 1.6 times as long.
    With three (96 products of 272 or 600 values of 64 numbers, an AMD EPYC with AVX512) torch takes 2.5 times as long
    for the values, but a third of numpy's time for 600 transposed keys. Where several threads share the products they
    are left to torch.
    """
    if left.shape[1] <= few and left.dtype == torch.float32 and torch.get_num_threads() == 1:
        np.matmul(left.numpy(), right.numpy(), out=out.numpy())
    else:
        out.copy_(torch.bmm(left, right))


def _masked(hidden: Tensor) -> Tensor:
    """What to add to scores: minus infinity where hidden, else 0."""
    return torch.zeros(hidden.shape).masked_fill_(hidden, -torch.inf)
