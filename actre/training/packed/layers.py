"""Linear layers with LoRA, RMSNorm and the gated activation: each one operation with its own gradient.

Gradients are those of LoRA's matrices only; base weights, norms and biases are frozen.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor


class Adapted(NamedTuple):
    """A frozen linear layer and its adapter: weight + scale * up @ down. down (rank, in); up (out, rank); None: off."""

    weight: Tensor  # (out, in)
    bias: Tensor | None
    down: Tensor | None
    up: Tensor | None
    scale: float


def linear(x: Tensor, layers: Sequence[Adapted], products: torch.dtype) -> Tensor:
    """(N, sum of out): the outputs of layers with the same input x (N, in), side by side.

    products: the type of the products' factors; their sums, x and the result are float32.
    """
    flat = [tensor for layer in layers for tensor in (layer.down, layer.up)]
    if products == torch.float32:
        return _Linear.apply(x, layers, *flat)  # type: ignore[no-any-return]
    return _Rounded.apply(x, layers, products, *flat)  # type: ignore[no-any-return]


class _Linear(torch.autograd.Function):
    """x @ (W + s up down)^T. The sum of weights is made again in the backward pass, which costs rank / N of a product
    and no memory. LoRA's own gradients go through its rank: less work than the gradient of the whole matrix.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, layers: Sequence[Adapted], *flat: Tensor | None) -> Tensor:
        ctx.layers = layers
        ctx.save_for_backward(x, *flat)
        return _with_biases(x @ _merged(layers).T, layers)

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        x = ctx.saved_tensors[0]
        layers = ctx.layers
        dx = dy @ _merged(layers) if ctx.needs_input_grad[0] else None
        downs = [layer.down for layer in layers if layer.down is not None]
        if not downs:
            return (dx, None, *[None] * (2 * len(layers)))
        inner = (x @ torch.cat(downs).T).split([len(down) for down in downs], 1)  # (N, rank) each
        outer: list[Tensor] = []
        grads: list[Tensor | None] = []
        pieces = dy.split([len(layer.weight) for layer in layers], 1)
        number = 0
        for layer, piece in zip(layers, pieces, strict=True):
            if layer.up is None:
                grads += [None, None]
                continue
            outer.append(piece @ layer.up)
            grads += [None, (piece.T @ inner[number]).mul_(layer.scale)]
            number += 1
        by_down = torch.cat(outer, 1).T @ x  # (sum of ranks, in)
        rows = iter(by_down.split([len(down) for down in downs]))
        for i, layer in enumerate(layers):
            if layer.down is not None:
                grads[2 * i] = next(rows) * layer.scale
        return (dx, None, *grads)


class _Rounded(torch.autograd.Function):
    """x @ W^T + s x @ down^T @ up^T with factors of another type, as autocast has them: sums are float32 within a
    product, whose result is rounded once. LoRA's products stay apart, since a small adapter would be lost in the
    rounding of W.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, layers: Sequence[Adapted], products: torch.dtype, *flat: Tensor | None) -> Tensor:
        x = x.to(products)
        y = (x @ _weights(layers, products).T).float()
        inner = x @ _downs(layers, products).T  # (N, sum of ranks)
        outputs = y.split([len(layer.weight) for layer in layers], 1)
        ranks = inner.split(_ranks(layers), 1)
        for layer, output, some in zip(layers, outputs, ranks, strict=True):
            if layer.up is not None:
                output += some @ (layer.up * layer.scale).to(products).T
        ctx.layers = layers
        ctx.save_for_backward(x, inner, *flat)
        return _with_biases(y, layers)

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        x, inner = ctx.saved_tensors[:2]
        layers, dy = ctx.layers, dy.to(x.dtype)
        pieces = dy.split([len(layer.weight) for layer in layers], 1)
        ups = [None if one.up is None else (one.up * one.scale).to(x.dtype) for one in layers]
        outer = [dy.new_empty(len(dy), 0) if up is None else some @ up for some, up in zip(pieces, ups, strict=True)]
        together = torch.cat(outer, 1)  # (N, sum of ranks)
        dx = None
        if ctx.needs_input_grad[0]:
            dx = (dy @ _weights(layers, x.dtype)).float()
            if together.shape[1]:
                dx += together @ _downs(layers, x.dtype)
        by_down = (together.T @ x).float().split(_ranks(layers))
        grads: list[Tensor | None] = []
        for layer, piece, some, down in zip(layers, pieces, inner.split(_ranks(layers), 1), by_down, strict=True):
            absent = layer.up is None
            grads += [None, None] if absent else [down, (piece.T @ some).float().mul_(layer.scale)]
        return (dx, None, None, *grads)


def _with_biases(y: Tensor, layers: Sequence[Adapted]) -> Tensor:
    if any(layer.bias is not None for layer in layers):
        y += torch.cat([y.new_zeros(len(one.weight)) if one.bias is None else one.bias for one in layers])
    return y


def _weights(layers: Sequence[Adapted], dtype: torch.dtype) -> Tensor:
    """(sum of out, in), without adapters."""
    return torch.cat([layer.weight.to(dtype) for layer in layers]) if len(layers) > 1 else layers[0].weight.to(dtype)


def _downs(layers: Sequence[Adapted], dtype: torch.dtype) -> Tensor:
    """(sum of ranks, in)"""
    downs = [layer.down.to(dtype) for layer in layers if layer.down is not None]
    return torch.cat(downs) if downs else layers[0].weight.new_empty(0, layers[0].weight.shape[1], dtype=dtype)


def _ranks(layers: Sequence[Adapted]) -> list[int]:
    return [0 if layer.down is None else len(layer.down) for layer in layers]


def _merged(layers: Sequence[Adapted]) -> Tensor:
    """(sum of out, in): the layers' weights with their adapters, below one another."""
    if len(layers) == 1 and layers[0].down is None:
        return layers[0].weight
    whole = layers[0].weight.new_empty(sum(len(layer.weight) for layer in layers), layers[0].weight.shape[1])
    for layer, place in zip(layers, whole.split([len(layer.weight) for layer in layers]), strict=True):
        if layer.down is None or layer.up is None:
            place.copy_(layer.weight)
        else:
            torch.addmm(layer.weight.detach(), layer.up.detach(), layer.down.detach(), alpha=layer.scale, out=place)
    return whole


def normed(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """RMSNorm of x (N, width); weight (width,) is frozen."""
    return _Norm.apply(x, weight, eps)  # type: ignore[no-any-return]


class _Norm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, eps: float) -> Tensor:
        square = torch.linalg.vector_norm(x, dim=1, keepdim=True).square_()
        scale = square.div_(x.shape[1]).add_(eps).rsqrt_()  # (N, 1)
        ctx.save_for_backward(x, weight, scale)
        return (x * scale).mul_(weight)

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor, None, None]:
        x, weight, scale = ctx.saved_tensors
        d = dy * weight
        along = torch.linalg.vecdot(d, x)[:, None].mul_(scale**3).div_(-x.shape[1])
        return d.mul_(scale).addcmul_(x, along), None, None


def gated(both: Tensor) -> Tensor:
    """silu(gate) * up of both (N, 2 * inner): gate, then up."""
    return _Gated.apply(both)  # type: ignore[no-any-return]


class _Gated(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, both: Tensor) -> Tensor:
        ctx.save_for_backward(both)
        gate, up = both.chunk(2, 1)
        return F.silu(gate).mul_(up)

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Tensor:
        (both,) = ctx.saved_tensors
        gate, up = both.chunk(2, 1)
        result = torch.empty_like(both)
        by_gate, by_up = result.chunk(2, 1)
        share = torch.sigmoid(gate)
        torch.mul(gate, share, out=by_up)  # silu
        # the derivative of silu: share + silu * (1 - share)
        torch.addcmul(share, by_up, 1 - share, out=by_gate)
        by_gate.mul_(up).mul_(dy)
        by_up.mul_(dy)
        return result
