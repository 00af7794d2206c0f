"""One optimizer step on a batch of whole episodes, through TRL's loss: slice by slice, divided by all trained tokens.

The end of the path: `training_step` takes the batch of batch.py, with an advantage for each token, to the gradient.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from peft import PeftModel
from torch import Tensor
from transformers import PreTrainedTokenizerBase
from transformers.trainer_callback import PrinterCallback
from trl import GRPOTrainer

from actre.config import RunConfig
from actre.runtime import ranks
from actre.runtime.out_of_memory import MicroBatches
from actre.training import engine_check, terms
from actre.training.batch import collate, sliced, trl_inputs
from actre.training.packed import padded
from actre.training.rows import Row
from actre.training.sharded.launch import weights_of
from actre.training.trl_settings import grpo_config, keep_precision
from actre.types import ActreError

_KL_ROWS = (2, 4)
"""Rows on which sampler, trainer and base model are compared: a twelfth of an iteration's, within these bounds. Each
takes two more forward passes, so that the check costs about a twelfth of the update.
"""

_WEIGHED = ("episode", "row")
"""Values of `normalise` by which tokens weigh differently."""


class NotFiniteError(ActreError):
    """A loss or gradient is not finite; the weights are unchanged."""


class SlicedTrainer(GRPOTrainer):
    """GRPOTrainer whose batches are whole episodes, and whose update goes through them in slices.

    Overrides of TRL 1.14.2, held by a contract test (StagedTrainer has two more):
      training_step     a forward and backward per token-bounded slice; their losses sum to the batch's
      _get_per_token_logps_and_entropies  packed rows (packed/), or no mask and no entropies where they change nothing
      _compute_loss     notes which tokens carry gradient; gathers no rows; adds the terms that TRL lacks (terms.py)
      beta              set after construction: TRL would copy the adapter as the KL reference; ours is the
                        base model, adapter off. 0 where `normalise` weighs the KL, which is then a further term
      importance_sampling_level  set after construction where rows weigh the same: TRL would warn that its loss weighs
                        tokens, which `normalise` has undone

    Old log-probabilities are the sampler's own: they cost nothing, serve any number of updates, and the ratio then
    also corrects for differences between sampler and training forward (under 1e-4 nats on a CPU, by test).
    """

    def __init__(
        self,
        config: RunConfig,
        model: PeftModel,
        tokenizer: PreTrainedTokenizerBase,
        out: Path,
        *,
        must_agree: bool,
    ) -> None:
        """must_agree: end the run if the engine does not sample the model in training (engine_check.py; always
        measured).
        """
        self.config = config
        self.policy_model = model
        self.iteration_now = 0
        self._must_agree = must_agree
        self._updates: list[dict[str, float]] = []
        keep_precision(model)
        super().__init__(
            model=model,
            reward_funcs=_no_reward_function,
            args=grpo_config(config, model, out),
            train_dataset=Dataset.from_dict({"prompt": [""] * config.iterations}),
            processing_class=tokenizer,
        )
        self.weights = weights_of(self.accelerator, model, config.model)
        optim = config.optim
        self.beta = 0.0 if optim.normalise in _WEIGHED else optim.kl_beta
        self.importance_sampling_level = optim.importance_sampling_level
        self.past_entropy: float | None = None  # EPO's mean of the iterations before
        self._seen: tuple[Tensor, Tensor | None] | None = None
        self.packed = padded.is_packed(config, model)
        self._counted = torch.zeros(0)  # (B, C) of the slice that is computed: which tokens carry gradient
        self.micro_batches = MicroBatches(config.optim.micro_batch_tokens, self.accelerator.num_processes)
        self.remove_callback(PrinterCallback)

    def training_step(self, model: torch.nn.Module, inputs: Any, num_items_in_batch: Any = None) -> Tensor:
        """One optimizer step's gradient, slice by slice. Returns the batch's loss, detached."""
        model.train()
        batch = self._prepare_inputs(inputs)
        total, tokens = self.micro_batches.run(
            lambda most: self._gradient(model, batch, most), undo=partial(self._without_gradient, model)
        )
        total = self.accelerator.reduce(total, "mean")
        self._must_be_finite(total)
        self._step += 1
        clipped = self._metrics["train"].pop("clip_ratio/region_mean")
        self._metrics["train"].clear()  # TRL's are unweighted means over slices; ours replace them
        # TRL's share of a slice is that of all processes' tokens in it, so it counts by their number
        of_all = [sum(column) for column in zip(*ranks.all_of(tokens), strict=True)]
        share = sum(c * n for c, n in zip(clipped, of_all, strict=True)) / counted_tokens(batch)
        self._updates.append({"loss": total.item(), "clip_rate": share})
        return total

    def _gradient(self, model: torch.nn.Module, batch: dict[str, Tensor], most: int) -> tuple[Tensor, list[float]]:
        """The batch's gradient in slices of `most` tokens; this process's loss, and each slice's trained tokens."""
        total = torch.zeros((), device=self.accelerator.device)
        tokens: list[float] = []
        pieces = self._slices(batch, most)
        for number, piece in enumerate(pieces, 1):
            tokens.append(piece["tool_mask"].sum().item())
            last = number == len(pieces)
            with self.weights.slice(model, last=last):
                with self._bonus_of(tokens[-1], batch), self.compute_loss_context_manager():
                    loss = self.compute_loss(model, piece)
                self.weights.backward(loss, last=last)
            total += loss.detach()
        return total, tokens

    def _without_gradient(self, model: torch.nn.Module) -> None:
        """Undo a step that failed half-way."""
        model.zero_grad()
        self._metrics["train"].clear()

    def _slices(self, batch: dict[str, Tensor], most: int) -> list[dict[str, Tensor]]:
        """The batch in slices, equally many in each process: all processes take part in every forward and backward."""
        pieces = [piece for _, piece in sliced(batch, most, packed=self.packed)]
        blank = {key: value[:1] if value.dim() else value for key, value in pieces[-1].items()}  # of the shortest rows
        blank["tool_mask"] = torch.zeros_like(blank["tool_mask"])
        return pieces + [blank] * (max(ranks.all_of(len(pieces))) - len(pieces))

    def _must_be_finite(self, loss: Tensor) -> None:
        scaled = self.accelerator.scaler is not None  # fp16: infinite gradients are normal, and the step is skipped
        if torch.isfinite(loss) and (scaled or self.weights.gradients_are_finite()):
            return
        what = "loss" if not torch.isfinite(loss) else "gradient"
        raise NotFiniteError(
            f"the {what} of iteration {self.iteration_now} is {loss.item() if what == 'loss' else 'not finite'}; "
            "lower optim.learning_rate, and look at the trajectories of that iteration"
        )

    @contextmanager
    def _bonus_of(self, tokens: float, batch: dict[str, Tensor]) -> Iterator[None]:
        """TRL adds entropy_coef times a slice's mean entropy; here it is the slice's share of the batch's mean.

        Gradients are averaged over processes, so the share is multiplied by their number.
        """
        share = tokens * ranks.count() / counted_tokens(batch)
        self.entropy_coef = self.config.optim.entropy_coef * share
        yield
        self.entropy_coef = self.config.optim.entropy_coef

    # --- log-probabilities, the base model's too ---

    def _get_per_token_logps_and_entropies(
        self,
        model: Any,
        *args: Any,
        batch_size: int | None = None,
        compute_aux_loss: bool = False,
        **kwargs: Any,
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """TRL's, with less work for the same numbers.

        With `packed`, only tokens that carry gradient get theirs; the others' are 0, and TRL's loss masks them. Else
        rows are padded on the right only, where causal attention never looks: without a mask, attention uses its
        causal kernel, which computes half as much. Entropies are computed only for an entropy bonus; otherwise they
        are zeros, since TRL only logs them and ours come from the sampler.
        """
        entropies_wanted = kwargs.pop("compute_entropy", False)
        for_bonus = entropies_wanted and self._entropy_bonus_enabled

        def unmasked(**inputs: Any) -> Any:
            return model(**{**inputs, "attention_mask": None})

        auxiliary = None
        if self.packed:
            how: dict[str, Any] = {
                "temperature": self.temperature,
                "products": self.config.optim.products,
                "entropy": for_bonus,
            }
            logps, entropies = padded.logps(self.policy_model, args[0], args[1], self._counted, **how)
        else:
            logps, entropies, auxiliary = super()._get_per_token_logps_and_entropies(
                unmasked,
                *args,
                batch_size=batch_size,
                compute_aux_loss=compute_aux_loss,
                compute_entropy=for_bonus,
                **kwargs,
            )
        if entropies_wanted:
            self._seen = logps, entropies
        if entropies_wanted and entropies is None:
            entropies = torch.zeros_like(logps)
        return logps, entropies, auxiliary

    # --- terms that TRL lacks ---

    def _compute_loss(self, model: Any, inputs: dict[str, Tensor]) -> Tensor:
        """TRL's loss, plus the terms that the settings ask for and TRL lacks."""
        self._counted = inputs["tool_mask"]  # TRL does not pass it on
        with self._no_rows_gathered():
            loss = super()._compute_loss(model, inputs)
        assert self._seen is not None, "TRL computes the log-probabilities first"
        logps, entropies = self._seen
        self._seen = None
        for term in self._further_terms(inputs, logps, entropies):
            loss = loss + (term * inputs["tool_mask"]).sum() * ranks.count()
        return loss

    @contextmanager
    def _no_rows_gathered(self) -> Iterator[None]:
        """TRL gathers a number for each row, for metrics that ours replace. Processes have slices of different numbers
        of rows here, and a collective of unequal sizes fails, or hangs.
        """
        gather = self.accelerator.gather
        self.accelerator.gather = lambda tensor: tensor  # type: ignore[method-assign]
        try:
            yield
        finally:
            self.accelerator.gather = gather  # type: ignore[method-assign]

    def _further_terms(self, inputs: dict[str, Tensor], logps: Tensor, entropies: Tensor | None) -> Iterator[Tensor]:
        """The terms, each (B, C) and divided by what its sum over the batch's tokens is divided by."""
        optim, total = self.config.optim, inputs["num_items_in_batch"].clamp(min=1)
        if "kl_weights" in inputs:
            yield optim.kl_beta * inputs["kl_weights"] * terms.kl(logps, inputs["ref_per_token_logps"]) / total
        if "kl_cov" in inputs:
            yield optim.cov_kl * inputs["kl_cov"] * terms.moved(logps, inputs["old_per_token_logps"]) / total
        if optim.entropy_smoothing and self.past_entropy is not None and entropies is not None:
            done, whole = self.iteration_now - 1, self.config.iterations
            weight = terms.smoothing_weight(done, whole, optim.entropy_decay) * optim.entropy_smoothing
            outside = terms.beyond(entropies, self.past_entropy, optim.entropy_floor, optim.entropy_ceiling)
            yield optim.entropy_coef * weight * outside / counted_tokens(inputs)

    @contextmanager
    def _as_base(self) -> Iterator[None]:
        """The base model: adapter off, nothing recorded."""
        with torch.no_grad(), self.policy_model.disable_adapter():
            yield

    def reference_logps(self, batch: dict[str, Tensor]) -> Tensor:
        """The base model's log-probabilities of the batch's completion tokens, (B, C); 0 on padding."""
        with self._as_base():
            return self._batch_logps(batch)

    @torch.no_grad()
    def _batch_logps(self, batch: dict[str, Tensor]) -> Tensor:
        """Log-probabilities of the batch's completion tokens, (B, C); 0 on padding."""
        return self.micro_batches.run(lambda most: self._sliced_logps(batch, most), undo=lambda: None)

    def _sliced_logps(self, batch: dict[str, Tensor], most: int) -> Tensor:
        out = torch.zeros_like(batch["old_per_token_logps"])
        first = batch["prompt_ids"].shape[1]
        with self.weights.in_step():
            for rows, piece in sliced(batch, most, packed=self.packed):
                start = piece["prompt_ids"].shape[1] - first
                logps = self._logps(piece)
                out[rows, start : start + logps.shape[1]] = logps
        return out

    def _logps(self, piece: dict[str, Tensor]) -> Tensor:
        """Log-probabilities of a slice's completion tokens at the stage's temperature."""
        self._counted = piece["tool_mask"]
        ids = torch.cat([piece["prompt_ids"], piece["completion_ids"]], dim=1)
        present = torch.cat([piece["prompt_mask"], piece["completion_mask"]], dim=1)
        logps, _, _ = self._get_per_token_logps_and_entropies(
            self.model, ids, present, piece["completion_ids"].shape[1]
        )
        return logps

    def rescored(self, rows: Sequence[Row]) -> list[Row]:
        """The rows with the model's own log-probabilities, at the stage's temperature, in place of the sampler's."""
        batch = self._to_score(rows)
        logps, first = self._batch_logps(batch).tolist(), batch["prompt_ids"].shape[1]
        return [
            replace(row, logps=tuple(of_row[t - first] if on else 0.0 for t, on in enumerate(row.mask)))
            for row, of_row in zip(rows, logps, strict=False)
        ]

    def _to_score(self, rows: Sequence[Row]) -> dict[str, Tensor]:
        """TRL's batch of rows whose advantages do not matter."""
        collated = collate(rows, torch.zeros(1 + max((r.episode for r in rows), default=0)), pad_id=0)
        return trl_inputs(collated, 1, self.accelerator.device)

    @torch.no_grad()
    def energies(self, rows: Sequence[Row]) -> list[Tensor]:
        """(T,) of each row: -logsumexp of the logits that each token was sampled from, without gradient; 0 for the
        first token. Not divided by the temperature.
        """
        model: Any = self.model
        batch = self._to_score(rows)
        found = torch.zeros(len(batch["prompt_ids"]), batch["prompt_ids"].shape[1] + batch["completion_ids"].shape[1])

        def measure(most: int) -> None:
            with self.weights.in_step():
                for some, piece in sliced(batch, most):
                    ids = torch.cat([piece["prompt_ids"], piece["completion_ids"]], dim=1)
                    logits = model(input_ids=ids).logits[:, :-1].float()
                    found[some, 1 : ids.shape[1]] = -logits.logsumexp(-1).cpu()

        self.micro_batches.run(measure, undo=lambda: None)
        return [found[i, : len(row.ids)] for i, row in enumerate(rows)]

    def against_base(self, rows: Sequence[Row]) -> dict[str, float]:
        """KL(policy || base) in nats a token on a few rows, and whether the sampler was the model in training.

        The KL is the mean of exp(d) - d - 1, d = log base - log policy: unbiased and never negative (Schulman,
        "Approximating KL divergence", k3). Raises EngineError if they disagree and `must_agree` is set.
        """
        few = min(max(_KL_ROWS[0], len(rows) // 12), _KL_ROWS[1])
        some = rows[:: max(1, len(rows) // few)][:few]
        batch = self._to_score(some)
        mask = batch["tool_mask"].bool()
        sampled, base = batch["old_per_token_logps"][mask], self.reference_logps(batch)[mask]
        full = self.policy_model.dtype == torch.float32 and not self.config.model.four_bit
        full = full and {self.config.optim.products, self.config.sampling.products} == {"float32"}
        agreement = engine_check.compare(sampled, self._batch_logps(batch)[mask], base, full=full)
        if self._must_agree:
            engine_check.must_agree(agreement, full=full, iteration=self.iteration_now)
        d = base - sampled
        return {"kl_nats": (torch.exp(d) - d - 1).mean().item() if mask.any() else 0.0, **agreement.metrics()}


def counted_tokens(batch: dict[str, Tensor]) -> float:
    """The trained tokens of the whole batch, at least 1; the loss may be divided by another number."""
    return max(1.0, batch.get("trained_tokens", batch["num_items_in_batch"]).item())


def _no_reward_function(**_: Any) -> list[float | None]:
    """TRL requires one. It is never called: returns come with the episodes."""
    raise NotImplementedError("episodes bring their own returns")
