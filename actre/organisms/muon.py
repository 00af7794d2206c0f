"""Muon with products in float32, for processors without bfloat16."""

import math
from typing import Any

import torch


class Float32Muon(torch.optim.Muon):
    """torch.optim.Muon with its defaults, in float32.

    Differs: torch's orthogonalises in bfloat16, which processors without it emulate: two thirds of a tiny policy's
    training went there.
    """

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """One update of every matrix that has a gradient. closure: not called."""
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    continue
                state = self.state[p]
                if not state:
                    state["momentum_buffer"] = torch.zeros_like(p.grad)
                momentum = state["momentum_buffer"].lerp_(p.grad, 1 - group["momentum"])
                update = orthogonal(p.grad.lerp(momentum, group["momentum"]), group)
                p.mul_(1 - group["lr"] * group["weight_decay"])
                p.add_(update, alpha=-group["lr"] * math.sqrt(max(1, p.shape[0] / p.shape[1])))


def orthogonal(update: torch.Tensor, group: dict[str, Any]) -> torch.Tensor:
    """Newton-Schulz iterations towards the orthogonal factor of a matrix (m, n), as in torch.optim.Muon."""
    a, b, c = group["ns_coefficients"]
    tall = update.size(0) > update.size(1)
    x = update.T if tall else update
    x = x / x.norm().clamp(min=group["eps"])
    for _ in range(group["ns_steps"]):
        gram = x @ x.T
        x = torch.addmm(x, torch.addmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.T if tall else x
