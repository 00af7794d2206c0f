"""The sampling loop: one token for each row at a time, until every row has ended."""

from collections.abc import Callable, Collection, Sequence

import numpy as np
import torch

from actre.policies.cached import CachedModel
from actre.policies.stops import Stops
from actre.types import Reply


class Decoding:
    """The loop of one `generate` call. Rows are cache rows; `row_of` maps a cache row to its reply.

    Each reply has its own random numbers, so it does not depend on when other replies end.
    """

    def __init__(
        self, model: CachedModel, prompts: list[tuple[int, ...]], slots: np.ndarray, limit: int, seed: int
    ) -> None:
        self.model, self.prompts, self.limit = model, prompts, limit
        device, n = model.device, len(prompts)
        self.row_of = torch.from_numpy(np.argsort(slots)).to(device)
        self.lengths = torch.tensor([len(p) for p in prompts], device=device)[self.row_of]
        # drawn on the CPU, for the same numbers on every device
        generator = torch.Generator().manual_seed(seed)
        self.noise = torch.rand(n, limit, generator=generator, dtype=torch.float64).to(device)
        self.tokens = torch.zeros(n, limit, dtype=torch.long, device=device)
        self.logps = torch.zeros(n, limit, device=device)
        self.reply_length = torch.full((n,), limit, device=device)
        self.ended = torch.zeros(n, dtype=torch.bool, device=device)

    def run(self, logits: torch.Tensor, stops: Stops, temperature: float) -> None:
        """Sample from the logits (rows, V) after the prompts, until every row has ended or the limit is reached."""
        active = len(self.prompts)
        width = int(self.lengths.max())
        for t in range(self.limit):
            rows = self.row_of[:active]
            token, logp = sample(logits, temperature, self.noise[rows, t])
            self.tokens[rows, t] = token
            self.logps[rows, t] = logp
            ends = stops.ends(self.tokens, rows, t) & ~self.ended[rows]
            if ends.any():
                self.ended[rows[ends]] = True
                self.reply_length[rows[ends]] = t + 1
                finished = self.ended[rows]
                left = active - int(finished.sum())
                if left == 0:
                    break
                # moving rows copies them, so wait until it saves an eighth of the batch
                if left <= active * 7 // 8:
                    token = token[self._drop(finished, left)]
                    active = left
                    width = int(self.lengths[:active].max())
            if t + 1 == self.limit:
                break
            width += 1
            logits = self.model.runner.step(token, self.lengths[:active], width)
            self.lengths[:active] += 1

    def _drop(self, finished: torch.Tensor, left: int) -> torch.Tensor:
        """Move the unfinished rows to the front. Returns, for each row kept, its former index."""
        moved = torch.arange(left, device=finished.device)
        holes = finished[:left].nonzero().flatten()
        late = (~finished[left:]).nonzero().flatten() + left
        if len(holes):
            self.model.runner.swap_rows(holes, late, self.lengths)
            both, crossed = torch.cat([holes, late]), torch.cat([late, holes])
            self.row_of[both] = self.row_of[crossed]
            self.lengths[both] = self.lengths[crossed]
            moved[holes] = late
        return moved

    def replies(self, decode: Callable[[Sequence[int]], str], end_ids: Collection[int]) -> list[Reply]:
        """The replies in the order of the prompts. Also updates `sequences` of the model."""
        columns = (self.tokens, self.logps, self.reply_length, self.ended)
        replies = []
        for ids, logps, length, ended in zip(*(column.tolist() for column in columns), strict=True):
            kept = tuple(ids[:length])
            shown = kept[:-1] if kept[-1] in end_ids else kept
            replies.append(Reply(kept, tuple(logps[:length]), decode(shown), truncated=not ended))
        # the last token of a reply was sampled, but the model has not processed it
        self.model.sequences = [self.prompts[row] + replies[row].token_ids[:-1] for row in self.row_of.tolist()]
        return replies


def sample(logits: torch.Tensor, temperature: float, noise: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """One token for each row of logits (rows, V), and its log-probability, by inverting the cumulative distribution.

    noise (rows,): uniform in [0, 1). Temperature 0 takes the likeliest token, with log-probability 0.
    """
    if temperature == 0:
        token = logits.argmax(-1)
        return token, torch.zeros_like(token, dtype=torch.float32)
    logps = torch.log_softmax(logits.float() / temperature, dim=-1)
    cumulative = logps.double().exp().cumsum(-1)
    # right=True: the first token whose cumulative probability exceeds the target, which has a positive probability
    target = noise[:, None] * cumulative[:, -1:]
    token = torch.searchsorted(cumulative, target, right=True).clamp(max=logits.shape[-1] - 1)
    return token[:, 0], logps.gather(-1, token)[:, 0]
