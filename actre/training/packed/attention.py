"""Causal attention over packed rows, rotary positions included, with its own gradient.

Each part is computed by itself, in blocks of queries against the keys up to the block's end, as plain products: no
padding, no mask but in a block's last columns, and half of the work of a square. A row's keys are those of its family's
beginning followed by its own.

Differs from FlashAttention: whole rows of probabilities are made for a block of queries; they are kept for the backward
pass if they are small, and otherwise computed again.
"""

from collections.abc import Iterator
from functools import lru_cache
from typing import Any, NamedTuple

import torch
from torch import Tensor

from actre.training.packed.pack import Part

_BLOCK = 128
"""Queries computed at once."""
_KEPT = 1 << 22
"""Probabilities (numbers a layer) that are kept for the backward pass: 16 MB."""


class Heads(NamedTuple):
    """heads of queries, kv of keys and values (each serves heads / kv of queries), of `size` numbers."""

    heads: int
    kv: int
    size: int

    @property
    def each(self) -> int:
        return self.heads // self.kv


def attention(qkv: Tensor, cos: Tensor, sin: Tensor, parts: tuple[Part, ...], heads: Heads) -> Tensor:
    """(N, heads * size): what each token attends to.

    qkv (N, (heads + 2 kv) * size): queries, keys and values of all tokens. cos, sin (N, size): rotary angles, both
    halves equal, as in Llama.
    """
    return _Attention.apply(qkv, cos, sin, parts, heads)  # type: ignore[no-any-return]


class _Attention(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, qkv: Tensor, cos: Tensor, sin: Tensor, parts: tuple[Part, ...], heads: Heads) -> Tensor:
        n = len(qkv)
        q, k, v = _split(qkv, heads)
        q = _turned(q, cos, sin, 1.0).mul_(heads.size**-0.5)
        q = q.view(n, heads.kv, heads.each, heads.size).transpose(0, 1).contiguous()  # (kv, N, each, size)
        k = _turned(k, cos, sin, 1.0).transpose(0, 1).contiguous()  # (kv, N, size)
        v = v.transpose(0, 1).contiguous()
        out = torch.empty_like(q)
        keep = any(ctx.needs_input_grad) and _probabilities(parts, heads) <= _KEPT
        kept: list[Tensor] = []
        for part in parts:
            keys, values = _seen(k, part), _seen(v, part)
            for block in _blocks(part):
                p = _attended(q, keys, block, heads)
                torch.bmm(p, values[:, : block.width], out=(done := torch.empty_like(_queries(q, block))))
                out[:, block.start : block.stop] = done.view(heads.kv, -1, heads.each, heads.size)
                if keep:
                    kept.append(p)
        ctx.parts, ctx.heads = parts, heads
        ctx.save_for_backward(q, k, v, cos, sin, *kept)
        return out.transpose(0, 1).reshape(n, -1)

    @staticmethod
    def backward(ctx: Any, d_out: Tensor) -> tuple[Tensor | None, ...]:
        q, k, v, cos, sin, *kept = ctx.saved_tensors
        heads, n = ctx.heads, len(d_out)
        d_out = d_out.view(n, heads.kv, heads.each, heads.size).transpose(0, 1).contiguous()
        dq, dk, dv = torch.empty_like(q), torch.zeros_like(k), torch.zeros_like(v)
        given = iter(kept)
        for part in ctx.parts:
            keys, values = _seen(k, part), _seen(v, part)
            d_keys, d_values = torch.zeros_like(keys), torch.zeros_like(values)
            for block in _blocks(part):
                width = block.width
                p = next(given) if kept else _attended(q, keys, block, heads)
                d = _queries(d_out, block)
                d_values[:, :width].baddbmm_(p.transpose(1, 2), d)
                dp = torch.bmm(d, values[:, :width].transpose(1, 2))
                ds = torch.ops.aten._softmax_backward_data(dp, p, -1, torch.float32)
                dq[:, block.start : block.stop] = torch.bmm(ds, keys[:, :width]).view(
                    heads.kv, -1, heads.each, heads.size
                )
                d_keys[:, :width].baddbmm_(ds.transpose(1, 2), _queries(q, block))
            _add(dk, d_keys, part)
            _add(dv, d_values, part)
        d_qkv = torch.cat(
            [
                _turned(dq.transpose(0, 1).reshape(n, heads.heads, -1), cos, sin, -1.0)
                .mul_(heads.size**-0.5)
                .flatten(1),
                _turned(dk.transpose(0, 1), cos, sin, -1.0).flatten(1),
                dv.transpose(0, 1).reshape(n, -1),
            ],
            dim=1,
        )
        return d_qkv, None, None, None, None


class _Block(NamedTuple):
    """Queries [start, stop) of the packed tokens, against the first `width` keys of their part."""

    start: int
    stop: int
    width: int


def _blocks(part: Part) -> Iterator[_Block]:
    before = part.before[1] - part.before[0]
    for start in range(part.start, part.stop, _BLOCK):
        stop = min(part.stop, start + _BLOCK)
        yield _Block(start, stop, before + stop - part.start)


def _probabilities(parts: tuple[Part, ...], heads: Heads) -> int:
    return heads.heads * sum((b.stop - b.start) * b.width for part in parts for b in _blocks(part))


def _split(qkv: Tensor, heads: Heads) -> tuple[Tensor, ...]:
    """Queries (N, heads, size), keys and values (N, kv, size)."""
    counts = [heads.heads, heads.kv, heads.kv]
    return qkv.view(len(qkv), -1, heads.size).split(counts, 1)


def _turned(x: Tensor, cos: Tensor, sin: Tensor, sign: float) -> Tensor:
    """x (N, heads, size) turned by its angles (N, size); sign -1: turned back, which is the gradient."""
    half = x.shape[-1] // 2
    some = sin[:, None, :half]
    y = x * cos[:, None]
    y[..., :half].addcmul_(x[..., half:], some, value=-sign)
    y[..., half:].addcmul_(x[..., :half], some, value=sign)
    return y


def _seen(k: Tensor, part: Part) -> Tensor:
    """Keys or values (kv, before + own, size) that a part's tokens see."""
    own = k[:, part.start : part.stop]
    start, stop = part.before
    return torch.cat([k[:, start:stop], own], 1) if stop > start else own


def _add(total: Tensor, d: Tensor, part: Part) -> None:
    start, stop = part.before
    total[:, start:stop] += d[:, : stop - start]
    total[:, part.start : part.stop] += d[:, stop - start :]


def _queries(q: Tensor, block: _Block) -> Tensor:
    """(kv, queries * each, size)."""
    return q[:, block.start : block.stop].flatten(1, 2)


def _attended(q: Tensor, keys: Tensor, block: _Block, heads: Heads) -> Tensor:
    """(kv, queries * each, width): probabilities."""
    queries = block.stop - block.start
    scores = torch.bmm(_queries(q, block), keys[:, : block.width].transpose(1, 2))
    scores.view(heads.kv, queries, heads.each, -1)[..., -queries:].add_(_later(queries)[:, None])
    return torch.softmax(scores, -1)


@lru_cache(maxsize=1)
def _all_later(queries: int) -> Tensor:
    return torch.full((queries, queries), -torch.inf).triu_(1)


def _later(queries: int) -> Tensor:
    """(queries, queries): -inf where a key follows the query."""
    return _all_later(_BLOCK)[:queries, :queries]
