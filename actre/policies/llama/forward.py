"""The forward pass of a Llama over packed tokens: those of all sequences one after another, without padding."""

from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from actre.policies.llama.weights import Product, Weights


class Attention(Protocol):
    """What the forward pass needs of a cache: tokens see their own sequence and nothing else."""

    def write(self, layer: int, keys: Tensor, values: Tensor) -> None:
        """Store keys and values (tokens, kv heads, head size) of all tokens."""
        ...

    def read(self, layer: int, queries: Tensor) -> Tensor:
        """(tokens, heads * head size): what the tokens with these queries (tokens, heads, head size) attend to."""
        ...

    def read_last(self, layer: int, queries: Tensor) -> Tensor:
        """The same for the last token of each sequence only: (rows, heads, head size)."""
        ...


class Angles:
    """Rotary positions as complex numbers (positions, 1, head size / 2), computed once by the model's own module."""

    def __init__(self, rotary: object) -> None:
        self._rotary = rotary
        self._table = torch.empty(0, 1, 0, dtype=torch.complex64)

    def at(self, positions: Tensor, longest: int) -> Tensor:
        """The angles of positions (tokens,), all below `longest`."""
        if longest > len(self._table):
            every = torch.arange(-(-longest // 1024) * 1024)
            cos, sin = self._rotary(torch.empty(0), every[None])  # type: ignore[operator]
            half = cos.shape[-1] // 2
            self._table = torch.complex(cos[0, :, :half], sin[0, :, :half])[:, None]
        return self._table.index_select(0, positions)


def forward(weights: Weights, ids: Tensor, angles: Tensor, attention: Attention, last: Tensor | None = None) -> Tensor:
    """Logits of tokens ids (tokens,): (tokens, V), or those of the tokens `last` (rows,) only: (rows, V)."""
    heads, shared = weights.heads, weights.heads + weights.kv_heads
    final = len(weights.layers) - 1
    x = weights.embedding.index_select(0, ids)
    for number, layer in enumerate(weights.layers):
        h = _normed(weights, x, layer.gain)
        qkv = _outputs(layer.qkv, h).view(len(h), shared + weights.kv_heads, weights.head_size)
        qk = _rotated(weights, qkv[:, :shared], angles)
        attention.write(number, qk[:, heads:], qkv[:, shared:])
        queries = qk[:, :heads]
        if last is not None and number == final:
            # only the last tokens' logits are asked for, so the others end here
            x, queries = x.index_select(0, last), queries.index_select(0, last)
            seen = attention.read_last(number, _scaled(weights, queries))
        else:
            seen = attention.read(number, _scaled(weights, queries))
        x = layer.out.added_to(x, seen)
        gate, up = _halves(layer.gate_up, _normed(weights, x, layer.mlp_gain))
        x = layer.down.added_to(x, F.silu(gate).mul_(up))
    return weights.head(_normed(weights, x, weights.gain))


def _normed(weights: Weights, x: Tensor, gain: Tensor | None) -> Tensor:
    """RMSNorm: x / sqrt(mean(x^2) + eps) is sqrt(width) x / hypot(|x|, sqrt(width eps)); the root is in the gain."""
    wide = x.float()
    length = torch.linalg.vector_norm(wide, dim=-1, keepdim=True)
    scaled = (wide / length.hypot(weights.floor)).to(x.dtype)
    return scaled if gain is None else scaled * gain


def _outputs(products: tuple[Product, ...], x: Tensor) -> Tensor:
    if len(products) == 1:
        return products[0](x)
    return torch.cat([product(x) for product in products], dim=-1)


def _halves(products: tuple[Product, ...], x: Tensor) -> tuple[Tensor, Tensor]:
    if len(products) == 1:
        gate, up = products[0](x).chunk(2, dim=-1)
        return gate, up
    return products[0](x), products[1](x)


def _rotated(weights: Weights, x: Tensor, angles: Tensor) -> Tensor:
    """Queries or keys turned by their angles. The pairs stay adjacent: products of both do not depend on the order."""
    if weights.paired:
        pairs = x.float().unflatten(-1, (-1, 2))
    else:
        pairs = x.float().unflatten(-1, (2, -1)).transpose(-1, -2).contiguous()
    return torch.view_as_real(torch.view_as_complex(pairs) * angles).flatten(-2).to(x.dtype)


def _scaled(weights: Weights, queries: Tensor) -> Tensor:
    return queries if weights.scale == 1.0 else queries * weights.scale
