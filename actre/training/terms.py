"""Terms of the loss that TRL lacks, each a value a token, with its gradient. Pure functions; loss.py adds them up."""

import math

import torch
from torch import Tensor


def kl(logps: Tensor, reference: Tensor) -> Tensor:
    """The k3 estimate of KL(policy || reference), per token: exp(d) - d - 1, d = reference - logp. TRL's own.

    Source: DeepSeekMath (arXiv 2402.03300), equation 4. Here for losses that weigh it by episode or row, as their
    equation 3 has it within the mean over the sequence.

    >>> round(kl(torch.tensor([-1.0]), torch.tensor([-2.0])).item(), 4)
    0.3679
    """
    d = reference - logps
    return torch.exp(d) - d - 1


def moved(logps: Tensor, old: Tensor) -> Tensor:
    """KL-Cov's penalty per token: |logp - old logp|.

    Source: KL-Cov (arXiv 2505.22617) as released (verl, core_algos.py, compute_policy_loss_kl_cov).

    >>> moved(torch.tensor([-1.0, -2.0]), torch.tensor([-1.5, -1.0]))
    tensor([0.5000, 1.0000])
    """
    return (logps - old).abs()


def beyond(entropies: Tensor, mean: float, floor: float, ceiling: float) -> Tensor:
    """EPO's smoothing penalty per token: [floor * mean - H]+ + [H - ceiling * mean]+, in nats.

    entropies: H of each token. mean: of all earlier iterations' entropy.

    Source: EPO (arXiv 2509.22576). Differs: this hinge grows with the distance and has a gradient. The released code
    takes a constant (`where` H is outside) that has none, and so changes the loss but not the update. It keeps a mean
    for each turn of the episode, this iteration's included, and penalises only where a late turn is in the micro-batch;
    here there is one mean, of the iterations before.

    >>> beyond(torch.tensor([0.1, 1.0, 2.5]), 1.0, 0.4, 2.0)
    tensor([0.3000, 0.0000, 0.5000])
    """
    return (floor * mean - entropies).clamp(min=0) + (entropies - ceiling * mean).clamp(min=0)


def smoothing_weight(done: int, iterations: int, gamma: float) -> float:
    """EPO's beta_k = 1 + exp(-gamma * k / kmid): k iterations are done, kmid is half of all.

    Source: EPO (arXiv 2509.22576). Differs, because the paper's gamma and kmid could not be had: gamma is 3 and kmid
    half of the run, from the released code's schedule, which is another function.

    >>> smoothing_weight(0, 100, 3.0), round(smoothing_weight(50, 100, 3.0), 4)
    (2.0, 1.0498)
    """
    return 1 + math.exp(-gamma * done / max(1.0, iterations / 2))
