"""Causal attention over packed rows, rotary positions included, with its own gradient.

Each part is computed by itself, in blocks of queries against the keys up to the block's end, as plain products: no
padding, no mask but in a block's last columns, and half of the work of a square. A row's keys are those of its family's
beginning followed by its own.

Differs from FlashAttention: whole rows of probabilities are made for a block of queries; they are kept for the backward
pass if they are small, and otherwise computed again.
"""

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


def attention(
    qkv: Tensor, cos: Tensor, sin: Tensor, parts: tuple[Part, ...], heads: Heads, asking: Tensor | None = None
) -> Tensor:
    """(N, heads * size): what each token attends to; (Q, heads * size): only the tokens `asking` do.

    qkv (N, (heads + 2 kv) * size): queries, keys and values of all tokens. cos, sin (N, size): rotary angles, both
    halves equal, as in Llama. asking (Q,): indices in ascending order; None: all tokens.
    """
    if asking is None:
        asking = torch.arange(len(qkv))
    return _Attention.apply(qkv, cos, sin, _blocks(parts, asking), asking, heads)  # type: ignore[no-any-return]


class _Block(NamedTuple):
    """Queries [start, stop) of those that ask, against the first `width` keys of their part. later: -inf where one of
    the last of these keys follows a query (queries, columns).
    """

    start: int
    stop: int
    width: int
    later: Tensor


class _Work(NamedTuple):
    part: Part
    blocks: list[_Block]


def _blocks(parts: tuple[Part, ...], asking: Tensor) -> list[_Work]:
    """The blocks of each part that has queries."""
    ends = torch.searchsorted(asking, torch.tensor([part.stop for part in parts])).tolist()
    begins = torch.searchsorted(asking, torch.tensor([part.start for part in parts])).tolist()
    work = []
    for part, begin, end in zip(parts, begins, ends, strict=True):
        before = part.before[1] - part.before[0]
        own = asking[begin:end] - part.start
        blocks = []
        for start in range(begin, end, _BLOCK):
            some = own[start - begin : start - begin + _BLOCK]
            columns = torch.arange(int(some[0]), int(some[-1]) + 1)
            later = torch.zeros(len(some), len(columns)).masked_fill_(columns > some[:, None], -torch.inf)
            blocks.append(_Block(start, start + len(some), before + int(some[-1]) + 1, later))
        if blocks:
            work.append(_Work(part, blocks))
    return work


class _Attention(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, qkv: Tensor, cos: Tensor, sin: Tensor, work: list[_Work], asking: Tensor, heads: Heads
    ) -> Tensor:
        q, k, v = _split(qkv, heads)
        if len(asking) < len(qkv):
            q, q_cos, q_sin = q[asking], cos[asking], sin[asking]
        else:
            q_cos, q_sin = cos, sin
        q = _turned(q, q_cos, q_sin, 1.0).mul_(heads.size**-0.5)
        q = q.view(len(asking), heads.kv, heads.each, heads.size).transpose(0, 1).contiguous()  # (kv, Q, each, size)
        k = _turned(k, cos, sin, 1.0).transpose(0, 1).contiguous()  # (kv, N, size)
        v = v.transpose(0, 1).contiguous()
        out = torch.empty_like(q)
        keep = any(ctx.needs_input_grad) and _probabilities(work, heads) <= _KEPT
        kept: list[Tensor] = []
        for part, blocks in work:
            keys, values = _seen(k, part), _seen(v, part)
            for block in blocks:
                p = _attended(q, keys, block, heads)
                out[:, block.start : block.stop] = _by_query(torch.bmm(p, values[:, : block.width]), heads)
                if keep:
                    kept.append(p)
        ctx.work, ctx.heads = work, heads
        ctx.save_for_backward(q, k, v, cos, sin, asking, *kept)
        return out.transpose(0, 1).reshape(len(asking), heads.heads * heads.size)

    @staticmethod
    def backward(ctx: Any, d_out: Tensor) -> tuple[Tensor | None, ...]:
        q, k, v, cos, sin, asking, *kept = ctx.saved_tensors
        heads = ctx.heads
        d_out = d_out.view(len(asking), heads.kv, heads.each, heads.size).transpose(0, 1).contiguous()
        dq, dk, dv = torch.empty_like(q), torch.zeros_like(k), torch.zeros_like(v)
        given = iter(kept)
        for part, blocks in ctx.work:
            keys, values = _seen(k, part), _seen(v, part)
            d_keys, d_values = torch.zeros_like(keys), torch.zeros_like(values)
            for block in blocks:
                width = block.width
                p = next(given) if kept else _attended(q, keys, block, heads)
                d = _queries(d_out, block)
                d_values[:, :width].baddbmm_(p.transpose(1, 2), d)
                dp = torch.bmm(d, values[:, :width].transpose(1, 2))
                ds = torch.ops.aten._softmax_backward_data(dp, p, -1, torch.float32)
                dq[:, block.start : block.stop] = _by_query(torch.bmm(ds, keys[:, :width]), heads)
                d_keys[:, :width].baddbmm_(ds.transpose(1, 2), _queries(q, block))
            _add(dk, d_keys, part)
            _add(dv, d_values, part)
        return _gradient(dq, dk, dv, cos, sin, asking, heads), None, None, None, None, None


def _gradient(dq: Tensor, dk: Tensor, dv: Tensor, cos: Tensor, sin: Tensor, asking: Tensor, heads: Heads) -> Tensor:
    """(N, (heads + 2 kv) * size), from the gradients of turned queries and keys, and of values."""
    n = len(cos)
    result = dq.new_zeros(n, heads.heads + 2 * heads.kv, heads.size)
    by_query, by_key, by_value = result.split([heads.heads, heads.kv, heads.kv], 1)
    dq = dq.transpose(0, 1).reshape(len(asking), heads.heads, heads.size)
    if len(asking) < n:
        by_query[asking] = _turned(dq, cos[asking], sin[asking], -1.0).mul_(heads.size**-0.5)
    else:
        torch.mul(_turned(dq, cos, sin, -1.0), heads.size**-0.5, out=by_query)
    by_key.copy_(_turned(dk.transpose(0, 1), cos, sin, -1.0))
    by_value.copy_(dv.transpose(0, 1))
    return result.view(n, -1)


def _probabilities(work: list[_Work], heads: Heads) -> int:
    return heads.heads * sum((block.stop - block.start) * block.width for _, blocks in work for block in blocks)


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
    """(kv, queries * each, size) of a block."""
    return q[:, block.start : block.stop].flatten(1, 2)


def _by_query(x: Tensor, heads: Heads) -> Tensor:
    """(kv, queries * each, size) as (kv, queries, each, size)."""
    return x.view(heads.kv, -1, heads.each, heads.size)


def _attended(q: Tensor, keys: Tensor, block: _Block, heads: Heads) -> Tensor:
    """(kv, queries * each, width): probabilities."""
    scores = torch.bmm(_queries(q, block), keys[:, : block.width].transpose(1, 2))
    last = scores.view(heads.kv, len(block.later), heads.each, -1)[..., block.width - block.later.shape[1] :]
    last.add_(block.later[:, None])
    return torch.softmax(scores, -1)
