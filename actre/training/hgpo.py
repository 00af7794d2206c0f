"""HGPO: steps are compared with those that share their state, and with those that also share the states before it."""

from collections.abc import Hashable, Sequence

import torch
from torch import Tensor

from actre.training.advantages import discounted

EPS = 1e-6


def hgpo(
    rewards: Sequence[Sequence[float]],
    states: Sequence[Sequence[Hashable]],
    groups: Tensor,
    *,
    discount: float = 0.95,
    history: int = 2,
    alpha: float = 1.0,
    eps: float = EPS,
) -> Tensor:
    """Hierarchy-of-groups advantages, one a step: A[i, t] = sum_k w_k A_k[i, t], k from 0 to `history`.

    A_k[i, t] = (R[i, t] - mean) / (std + eps) over the steps of the episode's group whose last k + 1 states (the
    current one included) are the same, R the discounted return from the step on. w_k = (k + 1)^alpha / sum of these
    over the k whose comparison has at least two steps; a step that is alone for every k gets 0.

    rewards: of each step of each episode. states: what each step starts from; equal means the same state. groups:
    (B,) integers, equal where episodes share a game. Returns (B, S) float, S the most steps of an episode (at least 1),
    0 behind an episode's end.

    Source: HGPO (arXiv 2602.22817), released as verl-agent's recipe/hgpo; deviation over n, eps 1e-6, alpha 1, and no
    comparison of whole episodes, as that code has them by default. history 2 is its memory of the last 2 states.
    Differs: weights are the (k + 1)^alpha of k earlier states; the code's are (k + 2)^alpha. Early in an episode k ends
    at the states there are, as in the code.

    Two episodes of one game: by the hall into the attic, won; by the yard into the attic, lost. Returns 1, 1 and 0, 0.
    Only the attic is shared, and not the state before it: A_0 = (1 - 0.5) / 0.5 and -1, alone in the sum.

    >>> states = [["hall", "attic"], ["yard", "attic"]]
    >>> hgpo([[0.0, 1.0], [0.0, 0.0]], states, torch.tensor([0, 0]), discount=1.0).round()
    tensor([[ 0.,  1.],
            [ 0., -1.]])
    """
    returns = [discounted(one, discount) for one in rewards]
    shared: dict[tuple[int, tuple[Hashable, ...]], list[tuple[int, int]]] = {}
    for i, one in enumerate(rewards):
        for t in range(len(one)):
            for k in range(min(history, t) + 1):
                shared.setdefault((int(groups[i]), tuple(states[i][t - k : t + 1])), []).append((i, t))
    width = max((len(one) for one in rewards), default=1) or 1
    summed, weights = torch.zeros(len(rewards), width), torch.zeros(len(rewards), width)
    for (_, last), places in shared.items():
        if len(places) < 2:
            continue
        values = torch.tensor([returns[i][t] for i, t in places])
        equal = bool(torch.all(values == values[0]))  # their rounded mean may differ from them
        relative = torch.zeros(len(places)) if equal else (values - values.mean()) / (values.std(correction=0) + eps)
        weight = float(len(last)) ** alpha
        for (i, t), value in zip(places, relative, strict=True):
            summed[i, t] += weight * value
            weights[i, t] += weight
    return torch.where(weights > 0, summed / weights.clamp(min=EPS), 0.0)
