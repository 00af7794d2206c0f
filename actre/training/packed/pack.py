"""Rows as one sequence of tokens without padding, in which a beginning that several rows share is there once.

A family is a run of rows with a common beginning of tokens that carry no gradient: the episodes of a group share their
first prompt, and all rows a system prompt. Rows are taken in the order of their tokens, so that those which share most
follow one another.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor


class Packable(NamedTuple):
    """What is packed of a row: its tokens, and the index of the first that carries gradient (their number if none)."""

    ids: tuple[int, ...]
    first: int

    @property
    def shareable(self) -> int:
        """How many of its first tokens other rows may share; at least its last one is its own."""
        return min(self.first, len(self.ids) - 1)


@dataclass
class Family:
    """Rows (by index) whose first `shared` tokens are the same; tokens: the number of different ones."""

    rows: list[int]
    shared: int
    tokens: int


@dataclass
class _Slice:
    families: list[Family] = field(default_factory=list)

    @property
    def tokens(self) -> int:
        return sum(family.tokens for family in self.families)


class Part(NamedTuple):
    """A stretch of the packed tokens: those of a row after its family's beginning, or that beginning itself.

    start, stop: in the packed tokens. before: (start, stop) of the beginning, which these tokens see too; (0, 0): none.
    """

    start: int
    stop: int
    before: tuple[int, int] = (0, 0)


class Pack(NamedTuple):
    """Packed rows. ids, positions (N,); parts: which tokens see one another.

    predicts (M,): index in the packed tokens of the token before each trained one; targets (M,): the trained tokens;
    places (M,): their index in the rows' (B, T) tensor, flattened.
    """

    ids: Tensor
    positions: Tensor
    parts: tuple[Part, ...]
    predicts: Tensor
    targets: Tensor
    places: Tensor


def common(a: Sequence[int], b: Sequence[int], most: int) -> int:
    """How many of the first `most` tokens agree.

    >>> common((1, 2, 3), (1, 2, 4), 9), common((1, 2, 3), (1, 2, 3), 2)
    (2, 2)
    """
    for i, (x, y) in enumerate(zip(a[:most], b[:most], strict=False)):
        if x != y:
            return i
    return min(most, len(a), len(b))


def packed_slices(rows: Sequence[Packable], most_tokens: int) -> list[list[Family]]:
    """The rows in slices of at most `most_tokens` different tokens (or of one row), as families.

    >>> rows = [Packable(tuple(range(20)) + end, 20) for end in ((1, 2), (3,), (4, 5))]
    >>> [[(family.rows, family.shared, family.tokens) for family in one] for one in packed_slices(rows, 24)]
    [[([0, 1], 20, 23)], [([2], 20, 22)]]
    """
    slices = [_Slice()]
    for index in sorted(range(len(rows)), key=lambda i: (rows[i].ids, i)):
        family = slices[-1].families[-1] if slices[-1].families else None
        joined = None if family is None else _joined(family, rows, index)
        added = len(rows[index].ids) if joined is None or family is None else joined.tokens - family.tokens
        if slices[-1].families and slices[-1].tokens + added > most_tokens:
            slices.append(_Slice())
            joined = None
        if joined is None:
            slices[-1].families.append(Family([index], rows[index].shareable, len(rows[index].ids)))
        else:
            slices[-1].families[-1] = joined
    return [one.families for one in slices if one.families]


def _joined(family: Family, rows: Sequence[Packable], index: int) -> Family | None:
    """The family with one more row; None if fewer tokens are computed without it."""
    row = rows[index]
    shared = common(rows[family.rows[0]].ids, row.ids, min(family.shared, row.shareable))
    count = len(family.rows)
    saved, saved_before = count * shared, (count - 1) * family.shared
    if saved <= saved_before:
        return None
    return Family([*family.rows, index], shared, family.tokens + len(row.ids) - saved + saved_before)


def pack(families: Sequence[Family], ids: Tensor, counted: Tensor) -> Pack:
    """The families' rows as one sequence. ids (B, T): all rows; counted (B, T) bool: tokens that carry gradient.

    A family of one row has no beginning of its own. Only columns up to a row's last counted token are computed: what
    follows changes nothing.
    """
    kept: list[Tensor] = []
    positions: list[Tensor] = []
    predicts: list[Tensor] = []
    places: list[Tensor] = []
    parts: list[Part] = []
    at = 0

    def put(row: int, start: int, stop: int, before: tuple[int, int]) -> int:
        nonlocal at
        kept.append(ids[row, start:stop])
        positions.append(torch.arange(start, stop))
        parts.append(Part(at, at + stop - start, before))
        at += stop - start
        return at - (stop - start)

    for family in families:
        columns = [counted[row].nonzero().flatten() for row in family.rows]
        shared = family.shared if len(family.rows) > 1 else 0
        before = (0, 0)
        if shared:
            start = put(family.rows[0], 0, shared, (0, 0))
            before = (start, start + shared)
        for row, trained in zip(family.rows, columns, strict=True):
            # at least one token, so that every slice has some
            stop = max(shared + 1, int(trained[-1]) if len(trained) else 0)
            start = put(row, shared, stop, before)
            ahead = trained - 1  # the token that predicts it: the beginning's last one, or the row's own
            predicts.append(torch.where(ahead < shared, before[0] + ahead, start + ahead - shared))
            places.append(row * ids.shape[1] + trained)
    where = torch.cat(places)
    targets = ids.flatten()[where]
    return Pack(torch.cat(kept), torch.cat(positions), tuple(parts), torch.cat(predicts), targets, where)


def packables(ids: Tensor, lengths: Sequence[int], counted: Tensor) -> list[Packable]:
    """Rows (B, T) of the given lengths, without their padding. counted (B, T) bool: tokens that carry gradient."""
    return [
        Packable(tuple(row[:n]), trained.index(True) if True in trained else n)
        for row, n, trained in zip(ids.tolist(), lengths, counted.tolist(), strict=True)
    ]
