"""Trains a tiny policy on rows for a fixed number of tokens.

Training is deterministic for a given number of threads, and an interrupted run that continues from its checkpoint gives
the same weights as an uninterrupted one.

Matrices are trained by Muon (Jordan et al. 2024; torch.optim.Muon), embeddings and norms by AdamW, which reaches the
loss of AdamW alone with about two thirds of the tokens. The learning rate is constant, then falls linearly to zero.

Differs: matrix products run in bfloat16 if the recipe sets it (2.5 times faster on CPUs with bfloat16 units; weights
stay float32), attention in float32 (faster there than bfloat16). Logits are computed only where a weight is positive.
"""

import dataclasses
import json
import time
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from transformers import LlamaForCausalLM
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from actre.config import derive_seed
from actre.organisms.muon import Float32Muon
from actre.organisms.recipes import Part, Recipe
from actre.organisms.rows import Batch, Row, batches, pad
from actre.types import ActreError


class Trainer:
    """Trains one part: `run()` trains to its end, from a checkpoint of the same recipe if there is one.

    folder: for log.jsonl and PART.pt. names: ids of all names. tokens: number of tokens seen, without padding.
    """

    def __init__(
        self,
        model: LlamaForCausalLM,
        made: Sequence[Row],
        recipe: Recipe,
        part: Part,
        folder: Path,
        *,
        pad_id: int,
        names: Sequence[int],
    ) -> None:
        if not made:
            raise ActreError("there are no rows to train on: all episodes are too long, or there are none")
        ALL_ATTENTION_FUNCTIONS.register("actre_causal", _causal)
        self.model, self.made, self.recipe, self.part, self.folder = model, made, recipe, part, folder
        self.pad_id, self.names = pad_id, names
        words = model.get_input_embeddings().weight
        matrices = [p for p in model.parameters() if p.ndim == 2 and p is not words]
        others = [p for p in model.parameters() if p.ndim < 2 or p is words]
        muon = torch.optim.Muon if recipe.bfloat16 else Float32Muon
        self.optimizers: list[tuple[float, torch.optim.Optimizer]] = [
            (recipe.matrix_rate, muon(matrices, weight_decay=recipe.weight_decay)),
            (recipe.learning_rate, torch.optim.AdamW(others, betas=recipe.betas, weight_decay=0.0)),
        ]
        self.updates = 0
        self.tokens = 0
        self.seconds = 0.0

    def run(self, *, checkpoint_every: int = 200, stop_after: int | None = None) -> None:
        """Train until the part's tokens are seen. stop_after: stop after this many updates (for tests)."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self._resume()
        attention = self.model.config._attn_implementation
        self.model.config._attn_implementation = "actre_causal"
        self.model.train()
        losses: list[float] = []
        started = time.process_time() - self.seconds
        seed = derive_seed(self.recipe.seed, f"{self.part.name} batches")
        for batch in islice(batches(self.made, self.recipe.batch_tokens, seed), self.updates, None):
            if self.tokens >= self.part.tokens or (stop_after is not None and self.updates >= stop_after):
                break
            losses.append(self.update(batch))
            self.seconds = time.process_time() - started
            if self.updates % checkpoint_every == 0:
                self._log(sum(losses) / len(losses))
                self.save()
                losses = []
        self.model.config._attn_implementation = attention
        self.model.eval()
        self.save()

    def update(self, batch: Sequence[Row]) -> float:
        """One optimizer step; returns the batch's mean loss in nats per weighted token."""
        left = 1.0 - self.tokens / self.part.tokens
        share = min(1.0, (self.updates + 1) / self.recipe.warmup, left / self.part.falling)
        for rate, optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = rate * share * self.part.rate
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=self.recipe.bfloat16):
            loss = row_loss(self.model, pad(batch, self.pad_id), self.part.drill, self.names)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        for _, optimizer in self.optimizers:
            optimizer.step()
        self.model.zero_grad()
        self.updates += 1
        self.tokens += sum(len(r.ids) for r in batch)
        return float(loss.detach())

    def save(self) -> None:
        """Write the checkpoint, replacing the old one in one step."""
        path = self._checkpoint()
        state = {
            "recipe": self._signature(),
            "model": self.model.state_dict(),
            "optimizers": [optimizer.state_dict() for _, optimizer in self.optimizers],
            "progress": (self.updates, self.tokens, self.seconds),
        }
        torch.save(state, path.with_suffix(".part"))
        path.with_suffix(".part").replace(path)

    def _resume(self) -> None:
        path = self._checkpoint()
        if not path.exists():
            return
        state = torch.load(path, weights_only=True)
        if state["recipe"] != self._signature():
            raise ActreError(
                f"{path} belongs to another recipe: remove it to start again, or choose another --work-dir"
            )
        self.model.load_state_dict(state["model"])
        for (_, optimizer), saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        self.updates, self.tokens, self.seconds = state["progress"]

    def _checkpoint(self) -> Path:
        return self.folder / f"{self.part.name}.pt"

    def _signature(self) -> str:
        """What this part's weights depend on: the recipe up to and including this part."""
        upto = self.recipe.parts[: self.recipe.parts.index(self.part) + 1]
        recipe = dataclasses.asdict(dataclasses.replace(self.recipe, parts=upto))
        del recipe["sharpen"]  # applied after training
        del recipe["dials"]  # parts are made of them, and organisms may share their first one
        return json.dumps(recipe, sort_keys=True)

    def _log(self, loss: float) -> None:
        line: dict[str, Any] = {
            "part": self.part.name,
            "updates": self.updates,
            "tokens": self.tokens,
            "loss_nats": round(loss, 5),
            "cpu_s": round(self.seconds, 1),
            "learning_rate": self.optimizers[-1][1].param_groups[0]["lr"],
        }
        with (self.folder / "log.jsonl").open("a") as log:
            log.write(json.dumps(line) + "\n")


def row_loss(model: LlamaForCausalLM, batch: Batch, drill: float = 0.0, names: Sequence[int] = ()) -> torch.Tensor:
    """Weighted mean cross-entropy (nats) of a padded batch; scalar. Padding needs no mask, because attention is causal.

    drill: if a trained target is a name, add `drill` times -log(probability that the token is one of the names possible
    there, `Row.possible`, given that it is one of all `names`). This teaches what is in the room and where the agent is
    and was, but not which name to choose, and is the same for every order.
    """
    ids = torch.from_numpy(batch.ids).long()  # (B, T)
    weights = torch.from_numpy(batch.weights)[:, 1:]  # (B, T-1)
    hidden = model.model(input_ids=ids[:, :-1], use_cache=False).last_hidden_state  # (B, T-1, d)
    counts = weights > 0
    logits = F.linear(hidden[counts], model.get_output_embeddings().weight).float()  # (N, V)
    losses = F.cross_entropy(logits, ids[:, 1:][counts], reduction="none")  # (N,)
    total = (losses * weights[counts]).sum()
    if drill and batch.possible:
        # index of each target among the N that count
        order = counts.flatten().cumsum(0).view_as(counts) - 1
        rows = torch.stack([order[row, at - 1] for row, at, _ in batch.possible])
        beside = torch.ones(len(rows), logits.shape[1], dtype=torch.bool)
        for n, (_, _, possible) in enumerate(batch.possible):
            beside[n, list(possible)] = False
        some = logits[rows]
        right = some.masked_fill(beside, -torch.inf).logsumexp(-1)
        total = total + drill * (some[:, list(names)].logsumexp(-1) - right).sum()
    return total / weights[counts].sum()


def _causal(
    module: Any, query: Any, key: Any, value: Any, mask: Any, scaling: float | None = None, **_: Any
) -> tuple[Any, None]:
    """Causal attention in float32 regardless of autocast; right padding is never attended to."""
    with torch.autocast("cpu", enabled=False):
        out = F.scaled_dot_product_attention(query.float(), key.float(), value.float(), is_causal=True, scale=scaling)
    return out.transpose(1, 2).contiguous(), None
