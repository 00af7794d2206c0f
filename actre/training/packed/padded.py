"""Between padded batches, which TRL's loss takes, and packed rows; and whether a run packs its rows."""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from actre.config import RunConfig
from actre.training.packed import llama
from actre.training.packed.pack import pack, packables, packed_slices
from actre.types import ActreError


class Padded(NamedTuple):
    """(B, C) of the last C columns of a batch; 0 where a token carries no gradient. entropies: None if not wanted."""

    logps: Tensor
    entropies: Tensor | None


def logps(
    model: Any,
    ids: Tensor,
    present: Tensor,
    counted: Tensor,
    *,
    temperature: float,
    products: str,
    entropy: bool,
) -> Padded:
    """Log-probabilities (nats) of the tokens that carry gradient, through packed rows.

    ids, present (B, T): tokens padded on the right, and which are no padding. counted (B, C): which of the last C
    columns carry gradient. products: see `OptimConfig.products`.
    """
    trained = torch.zeros_like(ids, dtype=torch.bool)
    trained[:, -counted.shape[1] :] = counted.bool()
    rows = packables(ids, present.sum(dim=1).tolist(), trained)
    (families,) = packed_slices(rows, ids.numel())
    packed = pack(families, ids, trained)
    found = llama.logps(model, packed, temperature=temperature, products=getattr(torch, products), entropy=entropy)

    def spread(values: Tensor) -> Tensor:
        every = values.new_zeros(ids.numel()).index_put((packed.places,), values)
        return every.view(ids.shape)[:, -counted.shape[1] :]

    return Padded(spread(found.logps), None if found.entropies is None else spread(found.entropies))


def is_packed(config: RunConfig, model: Any) -> bool:
    """Whether updates run through packed rows. Raises ActreError for bfloat16 products where they do not."""
    reason = "optim.forward is transformers" if config.optim.forward != "auto" else llama.reason_against(model)
    if reason is not None and config.optim.products != "float32":
        raise ActreError(
            f"optim.products={config.optim.products} needs the packed forward pass, and {reason}: use --set "
            "optim.products=float32"
        )
    return reason is None
