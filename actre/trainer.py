"""Trains a policy through stages with TRL's GRPOTrainer: rollouts in, optimizer steps and metrics out.

Knows how a batch of trajectories becomes TRL's inputs and what happens between stages; not how episodes are
played (a `Play` function comes in), nor how a reply is read.

An iteration is: play `groups` games `group_size` times each, an advantage per episode or step,
`updates_per_batch` optimizer steps on all its tokens. The loss is TRL's "dapo" form: the clipped surrogate
summed over the batch's sampled tokens and divided by their number, so that micro-batches do not matter.
`normalise` says what weighs the same: each token (DAPO, arXiv 2503.14476, eq. 8) or each episode (GRPO, arXiv
2402.03300, eq. 3), the latter by scaling advantages with mean length / own length.
Differs from GRPO: clip-higher (DAPO, eq. 10), no KL unless kl_beta > 0, old log-probabilities taken from the
sampler; and an episode's length counts its sampled tokens in all its rows.
"""

import importlib.util
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
import transformers
from accelerate.utils import DistributedType
from datasets import Dataset
from peft import PeftModel, set_peft_model_state_dict
from torch import Tensor
from tqdm.auto import tqdm
from transformers import PreTrainedTokenizerBase, TrainerCallback
from transformers.trainer_callback import PrinterCallback
from trl import GRPOConfig, GRPOTrainer

from actre import adapters, checkpoints, engine_check, ranks
from actre.advantages import dr_grpo, gigpo, groups_without_signal, grpo, rloo
from actre.checkpoints import Checkpoint, Progress, Streams
from actre.config import RunConfig, derive_seed
from actre.engines import engine_for
from actre.envs.worlds import list_games
from actre.fitting import MicroBatches, peak_memory_gb
from actre.matching import Matched, action_entropy, matched_temperature
from actre.policies.hf import HFPolicy
from actre.policies.models import add_lora, load
from actre.probes import probes_for
from actre.rollout import make_envs, rollout
from actre.rows import (
    Row,
    collate,
    episode_return,
    episode_weights,
    sliced,
    step_rewards,
    trained_tokens,
    trajectory_rows,
    trl_inputs,
)
from actre.runlog import RunLog, rollout_metrics
from actre.stages import Plan, as_run, ends_early, learning_rate_factor, plan, span_of
from actre.types import ActreError, Order, Trajectory

Play = Callable[[Plan], list[Trajectory]]
"""Plays every game of a plan group_size times, with `Trajectory.group` set, with the weights of now."""

Measure = Callable[[Any, int, int], dict[str, Any]]
"""(policy, iterations done, stage) -> the fields of one line of entropy.jsonl."""

_STEPS_PER_GENERATION = 1
"""Parts into which TRL cuts a batch of episodes: one, for each optimizer step is to see all of them."""

ADVANTAGE_NAMES = {
    "grpo": "GRPO",
    "dr_grpo": "Dr. GRPO",
    "rloo": "RLOO",
    "gigpo": "GiGPO",
    "gigpo_no_std": "GiGPO without std",
}

_EPISODE_ADVANTAGES = {"grpo": grpo, "dr_grpo": dr_grpo, "rloo": rloo}

_LOGGED_BY_TRL = ("loss", "grad_norm", "learning_rate")

_PATIENCE_S = 7200
"""So long processes wait for one another: one of them measures action entropy while the others wait."""

_KL_ROWS = 4
"""Rows on which the distance to the base model is estimated where the loss itself does not need it."""


class NotFiniteError(ActreError):
    """A loss or a gradient that is no number; the weights are those of before."""


class _Settled(NamedTuple):
    """Where the run stood after its last whole iteration: what a checkpoint needs beside weights and moments."""

    progress: Progress
    streams: Streams


class TrainResult(NamedTuple):
    """Where a run left its things, and how far it came."""

    adapter: Path
    metrics: Path
    iterations: int
    env_steps: int
    generated_tokens: int


@dataclass
class _Counts:
    """What a run has used so far."""

    iteration: int = 0
    env_steps: int = 0
    generated_tokens: int = 0


class StagedTrainer(GRPOTrainer):
    """GRPOTrainer whose batches are whole episodes, and whose order of thought and action changes by stage.

    Overrides of TRL 1.14.2, each held by a contract test:
      _generate_and_score_completions  plays episodes; the dataset is a placeholder
      training_step     a forward and backward per token-bounded slice; their losses sum to the batch's
      create_scheduler  the learning rate of `stages.learning_rate_factor`
      beta              set after construction: TRL would copy the adapter as the KL reference; ours is the
                        base model, adapter off

    Old log-probabilities are the sampler's own: they cost nothing, serve any number of updates, and the ratio
    then also corrects for whatever differs between sampler and training forward (under 1e-4 nats on a CPU, by
    test). Rows without advantage carry no gradient and are left out of the forward pass (unless there is a KL
    term or an entropy bonus); the loss is still divided by all tokens.

    At a stage change: the optimizer's moments are kept or cleared, the schedule goes on or starts anew, the
    reference stays the base model; all three as `OptimConfig` says.

    Weights and moments change only between `on_pre_optimizer_step` and the end of the iteration (`settling`); at any
    other time they are those of `settled`, and a checkpoint can be written.
    """

    def __init__(
        self,
        config: RunConfig,
        model: PeftModel,
        tokenizer: PreTrainedTokenizerBase,
        *,
        play: Play,
        games: Sequence[str],
        log: RunLog,
        measure: Callable[[int, int], dict[str, Any]] | None = None,
        match: Callable[[Plan, float | None], Matched] | None = None,
        progress: bool = True,
        must_agree: bool = False,
    ) -> None:
        """measure: (iterations done, stage) -> entropy line. match: (what is to be played, the temperature of the last
        match) -> what the temperature is to be, for stages that want it. must_agree: end the run where what sampled
        the episodes is not the model in training (see engine_check; it is measured in any case).
        """
        _must_be_possible(config, measured=measure is not None, matched=match is not None)
        self.config = config
        self.policy_model = model
        self.counts = _Counts()
        self._play, self._games, self._measure = play, games, measure
        self.run_log = log
        self._plan = plan(config, games, 1)
        self._match = match
        self._matched: float | None = None
        self._ended: tuple[int, ...] = ()
        self._line: dict[str, Any] = {}
        self._updates: list[dict[str, float]] = []
        self._successes: list[float] = []
        self._started = 0.0
        self.settled: _Settled | None = None
        self.settling = False
        self.stop_asked = False
        self._saved_iteration = 0
        self._resumed: Checkpoint | None = None
        self._streams: Streams | None = None
        super().__init__(
            model=model,
            reward_funcs=_no_reward_function,
            args=_grpo_config(config, model, log.out),
            train_dataset=Dataset.from_dict({"prompt": [""] * config.iterations}),
            processing_class=tokenizer,
        )
        if self.accelerator.distributed_type in (DistributedType.DEEPSPEED, DistributedType.FSDP):
            raise ActreError(
                f"{self.accelerator.distributed_type.value} cuts weights or optimizer into parts, and here each "
                "process plays and saves with whole ones: launch with TRL's multi_gpu.yaml (DDP); see docs/scaling.md"
            )
        self.beta = config.optim.kl_beta
        self.micro_batches = MicroBatches(config.optim.micro_batch_tokens, self.accelerator.num_processes)
        self._must_agree = must_agree
        self.remove_callback(PrinterCallback)
        self._bar = tqdm(
            total=config.iterations, desc="training", unit="iteration", disable=not (progress and ranks.is_first())
        )
        self.add_callback(_AfterUpdate(self))

    # --- TRL's seam: one iteration's episodes as a batch ---

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Tensor]:
        """Play the iteration's episodes; returns TRL's batch (see `trl_inputs`)."""
        if self._streams is not None:  # here and not earlier: making the data loader takes numbers too
            checkpoints.restore_streams(self._streams)
            self._streams = None
        if self.counts.iteration == 0 and not self._updates:
            self._measure_now(stage=0)
        self._started = time.perf_counter()
        self._plan = plan(self._as_run(), self._games, self.counts.iteration + 1)
        self.policy_model.eval()
        with torch.no_grad():
            self._match_temperature()
            played = self._play_shared()
        self.policy_model.train()
        self._line = self._rollout_line(played, time.perf_counter() - self._started)
        self.run_log.trajectories(self._plan, played, self.config.seed)
        whole = [one for one in played if "env_error" not in one.meta]
        if not whole:
            raise ActreError(
                f"the environment failed in all {len(played)} episodes of iteration {self._plan.iteration}: "
                f"{played[0].meta['env_error']}"
            )
        return self._batch(whole)

    def _as_run(self) -> RunConfig:
        """The settings with the stages as long as they have been or will be."""
        return replace(self.config, stages=as_run(self.config.stages, self._ended))

    def _match_temperature(self) -> None:
        """Put the plan's temperature, and the loss's, to where the stage wants it."""
        stages = self._as_run().stages
        span = span_of(stages, self._plan.iteration)
        every = stages[span.stage].match_every
        if not every:
            self._matched = None
        elif (self._plan.iteration - span.before - 1) % every == 0:
            assert self._match is not None, "_must_be_possible saw to it"
            match, wanted, last = self._match, self._plan, self._matched
            found = ranks.from_first(lambda: match(wanted, last))
            self._matched = found.temperature
            self.run_log.match({"iteration": self._plan.iteration - 1, **found._asdict()})
        if self._matched is not None:
            self._plan = self._plan._replace(temperature=self._matched)
        self.temperature = self._plan.temperature

    def _play_shared(self) -> list[Trajectory]:
        """The plan's episodes; of several processes each plays its share of the games, and all get all episodes."""
        if ranks.count() == 1:
            return self._play(self._plan)
        before, games = ranks.part_of(self._plan.games, ranks.rank(), ranks.count())
        share = self._plan._replace(games=tuple(games), seed=derive_seed(self._plan.seed, "rank", ranks.rank()))
        failed: ActreError | None = None
        played: list[Trajectory] = []
        try:
            played = self._play(share) if games else []
        except ActreError as error:  # the others wait for these episodes, and have to be told
            failed = error
        shares = ranks.all_of((played, before, failed))
        errors = [told for _, _, told in shares if told is not None]
        if errors:
            raise errors[0]
        return [replace(one, group=(one.group or 0) + first) for some, first, _ in shares for one in some]

    def _batch(self, played: Sequence[Trajectory]) -> dict[str, Tensor]:
        optim = self.config.optim
        groups = torch.tensor([-1 if one.group is None else one.group for one in played])
        advantages = self._step_advantages(played, groups)
        self._line["groups_without_signal"] = groups_without_signal(advantages, groups)
        decode = None if optim.train_thought else self._tokenizer.decode
        rows = [row for i, one in enumerate(played) for row in trajectory_rows(one, i, masked_thoughts=decode)]
        self._line |= self._against_base(rows)
        if optim.groups_without_signal == "drop":
            taught = [int(g) for g in groups.unique() if advantages[groups == g].any()]
            rows = [row for row in rows if groups[row.episode] in taught]
        whole = optim.kl_beta != 0.0 or optim.entropy_coef != 0.0
        trained = [row for row in rows if whole or row.spread(advantages[row.episode]).any()]
        if optim.normalise == "episode":
            advantages = advantages * episode_weights(rows, len(played))[:, None]
        mine = ranks.balanced([len(row.ids) for row in trained], ranks.count())[ranks.rank()]
        collated = collate(
            [trained[i] for i in mine], advantages, pad_id=self._tokenizer.pad_token_id, multiple=_STEPS_PER_GENERATION
        )
        batch = trl_inputs(collated, sum(map(trained_tokens, rows)), self.accelerator.device)
        if optim.kl_beta != 0.0:
            batch["ref_per_token_logps"] = self._reference_logps(batch)
        return batch

    def advantages(self, returns: Tensor, groups: Tensor) -> Tensor:
        """One advantage per episode: returns and groups (B,) -> (B,)."""
        return _EPISODE_ADVANTAGES[self.config.optim.advantage](returns, groups)

    def _step_advantages(self, played: Sequence[Trajectory], groups: Tensor) -> Tensor:
        """(B, S) advantages of each episode's steps, or (B, 1) where all of its steps have the same.

        The state a step starts from is what the environment shows in it: text, task and admissible actions.
        """
        optim = self.config.optim
        if optim.advantage in ("gigpo", "gigpo_no_std"):
            return gigpo(
                [step_rewards(one, optim) for one in played],
                [[step.observation for step in one.steps] for one in played],
                groups,
                discount=optim.gigpo_discount,
                step_weight=optim.gigpo_step_weight,
                std=optim.advantage == "gigpo",
            )
        returns = torch.tensor([episode_return(one, optim) for one in played])
        return self.advantages(returns, groups)[:, None]

    def _rollout_line(self, played: Sequence[Trajectory], rollout_s: float) -> dict[str, Any]:
        tokens = sum(len(step.reply_ids) for one in played for step in one.steps)
        self.counts.env_steps += sum(len(one.steps) for one in played)
        self.counts.generated_tokens += tokens
        return {
            "iteration": self._plan.iteration,
            "stage": self._plan.stage,
            "order": self._plan.order,
            "temperature": self._plan.temperature,
            **rollout_metrics(played, self.config),
            "rollout_s": rollout_s,
            "tokens_per_s": tokens / max(rollout_s, 1e-9),
            "env_steps": self.counts.env_steps,
            "generated_tokens": self.counts.generated_tokens,
        }

    # --- the update ---

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
        self._metrics["train"].clear()  # TRL's means are over slices, unweighted; ours are written instead
        # with several processes TRL's share of a slice is the mean over theirs; the number of tokens is taken likewise
        mean = [sum(column) for column in zip(*ranks.all_of(tokens), strict=True)]
        share = sum(c * n for c, n in zip(clipped, mean, strict=True)) / batch["num_items_in_batch"].item()
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
            with nullcontext() if last else self.accelerator.no_sync(model):
                with self._bonus_of(tokens[-1], batch), self.compute_loss_context_manager():
                    loss = self.compute_loss(model, piece)
                self.accelerator.backward(loss)
            total += loss.detach()
        return total, tokens

    def _without_gradient(self, model: torch.nn.Module) -> None:
        """Take back a step that ended half-way."""
        model.zero_grad()
        self._metrics["train"].clear()

    def _slices(self, batch: dict[str, Tensor], most: int) -> list[dict[str, Tensor]]:
        """The batch in slices, as many in each process: every forward and backward pass is a meeting of all of them."""
        pieces = [piece for _, piece in sliced(batch, most)]
        blank = {key: value[:1] if value.dim() else value for key, value in pieces[-1].items()}  # of the shortest rows
        blank["tool_mask"] = torch.zeros_like(blank["tool_mask"])
        return pieces + [blank] * (max(ranks.all_of(len(pieces))) - len(pieces))

    def _must_be_finite(self, loss: Tensor) -> None:
        gradients = [p.grad for p in self.policy_model.parameters() if p.grad is not None]
        scaled = self.accelerator.scaler is not None  # with fp16 infinite gradients are usual, and the step is skipped
        if torch.isfinite(loss) and (scaled or all(torch.isfinite(g).all() for g in gradients)):
            return
        what = "loss" if not torch.isfinite(loss) else "gradient"
        raise NotFiniteError(
            f"the {what} of iteration {self._plan.iteration} is {loss.item() if what == 'loss' else 'not finite'}; "
            "lower optim.learning_rate, and see the trajectories of that iteration"
        )

    @contextmanager
    def _bonus_of(self, tokens: float, batch: dict[str, Tensor]) -> Iterator[None]:
        """TRL adds entropy_coef times a slice's mean entropy; here the slice's share of the batch's mean.

        Gradients are averaged over processes, so each one's share is taken as many times.
        """
        share = tokens * ranks.count() / batch["num_items_in_batch"].clamp(min=1).item()
        self.entropy_coef = self.config.optim.entropy_coef * share
        yield
        self.entropy_coef = self.config.optim.entropy_coef

    def create_scheduler(
        self, num_training_steps: int, optimizer: torch.optim.Optimizer | None = None
    ) -> torch.optim.lr_scheduler.LRScheduler:
        """The schedule of the config, counted in iterations."""
        if self.lr_scheduler is None:
            optimizer = optimizer or self.optimizer
            assert optimizer is not None, "transformers creates the optimizer first"
            optim = self.config.optim
            self.lr_scheduler = torch.optim.lr_scheduler.LambdaLR(
                optimizer,
                lambda done: learning_rate_factor(optim, self._as_run().stages, done // optim.updates_per_batch + 1),
            )
            self._created_lr_scheduler = True
        return self.lr_scheduler

    @contextmanager
    def _as_base(self) -> Iterator[None]:
        """The base model: adapter off, nothing recorded."""
        with torch.no_grad(), self.policy_model.disable_adapter():
            yield

    def _reference_logps(self, batch: dict[str, Tensor]) -> Tensor:
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
        for rows, piece in sliced(batch, most):
            start = piece["prompt_ids"].shape[1] - first
            logps = self._logps(piece)
            out[rows, start : start + logps.shape[1]] = logps
        return out

    def _logps(self, piece: dict[str, Tensor]) -> Tensor:
        """Log-probabilities of a slice's completion tokens at the stage's temperature."""
        ids = torch.cat([piece["prompt_ids"], piece["completion_ids"]], dim=1)
        present = torch.cat([piece["prompt_mask"], piece["completion_mask"]], dim=1)
        logps, _, _ = self._get_per_token_logps_and_entropies(
            self.model, ids, present, piece["completion_ids"].shape[1]
        )
        return logps

    def _against_base(self, rows: Sequence[Row]) -> dict[str, float]:
        """KL(policy || base), nats a token, on a few rows, and whether the sampler was the model in training.

        The KL is the mean of exp(d) - d - 1, d = log base - log policy: unbiased and never negative (Schulman,
        "Approximating KL divergence", k3). Raises EngineError where that matters (`must_agree`).
        """
        some = rows[:: max(1, len(rows) // _KL_ROWS)][:_KL_ROWS]
        collated = collate(some, torch.zeros(1 + max((r.episode for r in some), default=0)), pad_id=0)
        batch = trl_inputs(collated, 1, self.accelerator.device)
        mask = batch["tool_mask"].bool()
        sampled, base = batch["old_per_token_logps"][mask], self._reference_logps(batch)[mask]
        full = self.policy_model.dtype == torch.float32 and not self.config.model.four_bit
        agreement = engine_check.compare(sampled, self._batch_logps(batch)[mask], base, full=full)
        if self._must_agree:
            engine_check.must_agree(agreement, full=full, iteration=self._plan.iteration)
        d = base - sampled
        return {"kl_nats": (torch.exp(d) - d - 1).mean().item() if mask.any() else 0.0, **agreement.metrics()}

    # --- after an update, and between stages ---

    def finish_update(self, logs: dict[str, float]) -> bool:
        """Called after each optimizer step with TRL's logs. Returns whether training is to end."""
        self._updates[-1] |= {key: float(logs[key]) for key in ("grad_norm", "learning_rate")}
        if len(self._updates) < self.config.optim.updates_per_batch:
            return False
        names = self._updates[0]
        means = {name: sum(u[name] for u in self._updates) / len(self._updates) for name in names}
        self._updates = []
        self.counts.iteration += 1
        seconds = time.perf_counter() - self._started
        update_s = seconds - self._line["rollout_s"]
        used = {"micro_batch_tokens": self.micro_batches.tokens, "peak_memory_gb": peak_memory_gb()}
        line = {**self._line, **means, **used, "seconds": seconds, "update_s": update_s}
        self.run_log.metrics(line)
        self._successes.append(self._line["success"])
        self._track(line)
        failed = {"failed": self._line["env_errors"]} if self._line["env_errors"] else {}
        self._bar.set_postfix(order=self._plan.order, success=f"{self._line['success']:.2f}", **failed)
        self._bar.update()
        return self._finish_iteration()

    def _finish_iteration(self) -> bool:
        stages = self._as_run().stages
        done, span = self.counts.iteration, span_of(stages, self.counts.iteration)
        limit = self.config.env_steps
        last = done == self.config.iterations or (limit is not None and self.counts.env_steps >= limit)
        stage_ends = done == span.before + span.length
        every = self.config.probe.every
        measured: dict[str, Any] | None = None
        if last or stage_ends or (every and done % every == 0):
            measured = self._measure_now(span.stage)
        if not stage_ends and span.stage < len(stages) - 1:
            stage = stages[span.stage]
            seen = None if measured is None else _entropy_of(measured, stage.order)
            stage_ends = ends_early(stage, self._successes[span.before :], seen)
            if stage_ends and measured is None and not last:
                self._measure_now(span.stage)
        if stage_ends:
            self._ended = (*self._ended, done)
            self._put_schedule()  # the schedule has made its step already, and knew nothing of an earlier end
        self._stop_together()
        if stage_ends and not last and self.config.optim.optimizer_at_switch == "reset" and self.optimizer is not None:
            self.optimizer.state.clear()
        self.settled = self._settle(stage_ends=stage_ends, last=last)
        self.settling = False
        every = self.config.checkpoint.every
        if last or stage_ends or (every and done % every == 0) or self.stop_asked:
            self.save_settled()
        if self.stop_asked and not last:
            raise KeyboardInterrupt
        return last

    def _stop_together(self) -> None:
        """Processes that are asked to stop do so after the same iteration."""
        self.stop_asked = any(ranks.all_of(self.stop_asked))

    def _track(self, line: dict[str, Any]) -> None:
        """Hand an iteration's numbers to the trackers of `report_to`; what TRL logs itself is left out."""
        if not self.config.report_to:
            return
        numbers = {k: v for k, v in line.items() if isinstance(v, int | float) and k not in _LOGGED_BY_TRL}
        self.callback_handler.on_log(self.args, self.state, self.control, numbers)

    # --- checkpoints ---

    def _settle(self, *, stage_ends: bool, last: bool) -> _Settled:
        counts, (metrics, entropy) = self.counts, self.run_log.lengths()
        progress = Progress(
            counts.iteration,
            counts.env_steps,
            counts.generated_tokens,
            metrics_bytes=metrics,
            entropy_bytes=entropy,
            games=checkpoints.games_digest(list(self._games)),
            stage_ends=stage_ends,
            finished=last,
            ended=self._ended,
            temperature=self._matched,
        )
        return _Settled(progress, checkpoints.random_streams())

    def save_settled(self) -> Path | None:
        """Write a checkpoint of the last whole iteration, or None where it cannot be had: before the first one, and
        where a later one's update has begun. One that is there is not written again."""
        if self.settled is None or self.settling or self.optimizer is None:
            return None
        progress, streams = self.settled
        folder = self.run_log.checkpoints
        if self._saved_iteration != progress.iteration and ranks.is_first():
            checkpoints.save(
                folder,
                progress,
                self.config,
                write_adapter=lambda part: adapters.write(
                    self.policy_model, part, self.config.model, card=self._card(progress)
                ),
                optimizer=checkpoints.optimizer_tensors(self.optimizer),
                streams=streams,
            )
            self._saved_iteration = progress.iteration
        return folder / f"iter-{progress.iteration}"

    def restore(self, saved: Checkpoint) -> None:
        """Go on from a checkpoint: weights and records now, the rest when training begins.

        Raises ActreError where the games or the base model are others than they were.
        """
        progress = saved.progress
        if checkpoints.games_digest(list(self._games)) != progress.games:
            raise ActreError(
                f"{self.config.env.train} has other games than when {saved.folder} was written "
                f"({len(self._games)} now, {progress.games[0]} then): put them back, or begin another run"
            )
        adapters.must_be_base(saved.folder, self.policy_model, self.config.model.name)
        self.run_log.rewind(progress.iteration, progress.metrics_bytes, progress.entropy_bytes)
        self._ended, self._matched = progress.ended, progress.temperature
        self._successes = ranks.from_first(self.run_log.successes)
        set_peft_model_state_dict(self.policy_model, saved.adapter)
        self.counts = _Counts(progress.iteration, progress.env_steps, progress.generated_tokens)
        self._step = progress.iteration * self.config.optim.updates_per_batch
        self.settled = _Settled(progress, saved.streams)
        self._saved_iteration = progress.iteration
        self._resumed, self._streams = saved, saved.streams
        self._bar.update(progress.iteration)

    def begin(self, state: transformers.TrainerState) -> None:
        """Called when optimizer and schedule are there: on a resumed run, puts them to where they were."""
        if self._resumed is None:
            return
        assert self.optimizer is not None
        state.global_step = self._step
        checkpoints.restore_optimizer(self.optimizer, self._resumed.optimizer)
        self._put_schedule()
        self._resumed = None

    def _put_schedule(self) -> None:
        """Put the schedule to the steps that were done, and the learning rates to what it says now."""
        schedule = self.lr_scheduler
        assert isinstance(schedule, torch.optim.lr_scheduler.LambdaLR)
        factor = schedule.lr_lambdas[0](self._step)
        rates = [base * factor for base in schedule.base_lrs]
        for group, rate in zip(schedule.optimizer.param_groups, rates, strict=True):
            group["lr"] = rate
        place = {"last_epoch": self._step, "_step_count": self._step + 1, "_last_lr": rates}
        schedule.load_state_dict({**schedule.state_dict(), **place})

    def _measure_now(self, stage: int) -> dict[str, Any] | None:
        """Measure action entropy and record it; returns what was measured."""
        if self._measure is None:
            return None
        measure, started = self._measure, time.perf_counter()
        self.policy_model.eval()
        with torch.no_grad():
            record = ranks.from_first(lambda: measure(self.counts.iteration, stage))
        self.policy_model.train()
        line = {"iteration": self.counts.iteration, "stage": stage, "order": self.config.stages[stage].order}
        self.run_log.entropy({**line, **record, "measure_s": time.perf_counter() - started})
        return record

    def save_adapter(self, folder: Path) -> None:
        """Export the adapter as it is now (PEFT, safetensors, card)."""
        adapters.export(self.policy_model, folder, self.config.model, card=self._card(self.counts))

    def _card(self, done: "_Counts | Progress") -> str:
        stages = ", ".join(f"{stage.order} {stage.iterations}" for stage in self._as_run().stages)
        return (
            f"Trained with {ADVANTAGE_NAMES[self.config.optim.advantage]} on {self.config.env.train}: "
            f"{done.iteration} iterations ({done.env_steps:,} environment steps) of the stages {stages}; "
            f"seed {self.config.seed}."
        )

    def close(self) -> None:
        """End the progress bar."""
        self._bar.close()


class _AfterUpdate(TrainerCallback):
    """Tells the trainer when training and an optimizer step begin; hands it TRL's logs (gradient norm, learning rate)
    after each step.
    """

    def __init__(self, trainer: StagedTrainer) -> None:
        self._trainer = trainer

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._trainer.begin(state)

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._trainer.settling = True

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float] | None = None, **_: Any) -> None:
        if logs and "grad_norm" in logs and self._trainer.finish_update(logs):
            control.should_training_stop = True


def _must_be_possible(config: RunConfig, *, measured: bool, matched: bool) -> None:
    """Raises ActreError for settings that need a measurement where none is made."""
    by_entropy = any(stage.until == "entropy" for stage in config.stages[:-1])
    if by_entropy and not (measured and config.probe.every):
        raise ActreError(
            "a stage that ends by its action entropy needs that measured on the way: set probe.every above 0, and do "
            "not switch the measurement off"
        )
    if any(stage.match_every for stage in config.stages) and not matched:
        raise ActreError("a stage's temperature is to be matched to act-first's entropy, and nothing matches it here")


def _entropy_of(record: dict[str, Any], order: Order) -> float:
    """The action entropy of an order in a line of entropy.jsonl, in nats."""
    values = {name: found["value"] for name, found in record.items() if isinstance(found, dict) and "value" in found}
    return action_entropy(values, order)


def _no_reward_function(**_: Any) -> list[float | None]:
    """TRL asks for one; ours is never called, for returns come with the episodes."""
    raise NotImplementedError("episodes bring their own returns")


def _grpo_config(config: RunConfig, model: torch.nn.Module, out: Path) -> GRPOConfig:
    """TRL's settings: a batch of episodes is one training_step is one optimizer step; the slicing is ours."""
    optim = config.optim
    parameter = next(model.parameters())
    return GRPOConfig(
        output_dir=str(out),
        seed=derive_seed(config.seed, "trainer"),
        learning_rate=optim.learning_rate,
        max_grad_norm=optim.max_grad_norm,
        max_steps=config.iterations * optim.updates_per_batch,
        num_iterations=optim.updates_per_batch,
        per_device_train_batch_size=2,  # placeholders: the rows come from the episodes
        num_generations=2,
        gradient_accumulation_steps=1,
        steps_per_generation=_STEPS_PER_GENERATION,
        loss_type="dapo",
        epsilon=optim.clip_low,
        epsilon_high=optim.clip_high,
        importance_sampling_level=optim.importance_sampling_level,
        entropy_coef=optim.entropy_coef,
        use_bias_correction_kl=False,
        gradient_checkpointing=_is_large(model),
        use_cpu=parameter.device.type == "cpu",
        bf16=parameter.dtype == torch.bfloat16,
        fp16=parameter.dtype == torch.float16,
        logging_steps=1,
        logging_nan_inf_filter=False,
        save_strategy="no",
        report_to=list(config.report_to) or "none",
        run_name=out.name,
        ddp_find_unused_parameters=False,
        ddp_timeout=_PATIENCE_S,
        disable_tqdm=True,
        dataloader_num_workers=0,
        dataloader_pin_memory=False,
    )


def _is_large(model: torch.nn.Module) -> bool:
    """Whether activations are worth recomputing: from a hundred million parameters on."""
    return sum(p.numel() for p in model.parameters()) > 100_000_000


def train(
    config: RunConfig,
    out: str | Path,
    *,
    measure: Measure | None = None,
    model: PeftModel | None = None,
    tokenizer: PreTrainedTokenizerBase | None = None,
    progress: bool = True,
    resume: bool = False,
    server: str | None = None,
) -> TrainResult:
    """Train through all stages into the run folder `out`; returns where the adapter and the metrics are.

    resume: go on with the run in `out` from its last checkpoint, or from the beginning if it has none; an interrupted
    run then ends as an uninterrupted one. A run that is finished is left as it is, and `model` gets its weights.

    measure: called before the first iteration, every `probe.every`, at each stage's end and at the end; its
    dict becomes a line of entropy.jsonl. None: nothing is measured (`diagnose.training_measure` makes the
    usual one). model and tokenizer: a base with its adapter, trained in place; None loads `config.model` and
    adds one.
    Raises ActreError if `out` already holds a training run, or with resume none that can go on. On any way out, what
    was done so far is saved.
    """
    _must_have_trackers(config.report_to)
    ranks.claim_device()
    log = RunLog(Path(out), config, resume=resume, writes=ranks.is_first())
    games = list_games(config.env.name, config.env.train)
    if model is None or tokenizer is None:
        base, tokenizer = load(config.model)
        model = add_lora(base, config.model, derive_seed(config.seed, "adapter"))
    policy = HFPolicy(model, tokenizer)
    engine = engine_for(config, policy, model, log.out, server)
    share = ranks.part_of(range(config.optim.groups), ranks.rank(), ranks.count())[1]
    envs = make_envs(config.env, max(1, len(share)) * config.optim.group_size)

    def play(wanted: Plan) -> list[Trajectory]:
        engine.refresh()
        played = rollout(
            engine.policy,
            envs,
            wanted.games,
            renderer=engine.policy.renderer(config.prompt, wanted.order),
            sampling=config.sampling,
            temperature=wanted.temperature,
            max_steps=config.env.max_steps,
            seed=wanted.seed,
            group_size=config.optim.group_size,
        )
        engine.rest()
        return played

    def measured(done: int, stage: int) -> dict[str, Any]:
        assert measure is not None
        record = measure(policy, done, stage)
        policy.reset()  # what the next rollout finds computed is not to depend on whether the run was resumed here
        return record

    def match(wanted: Plan, last: float | None) -> Matched:
        seed = derive_seed(config.seed, "match", wanted.iteration)
        found = matched_temperature(policy, probes_for(config), config, wanted.order, seed=seed, start=last)
        policy.reset()
        return found

    trainer = StagedTrainer(
        config,
        model,
        tokenizer,
        play=play,
        games=games,
        log=log,
        measure=None if measure is None else measured,
        match=match,
        progress=progress,
        must_agree=True,
    )
    if resume:
        resume_from_last(trainer)
    result = run(trainer)
    if config.model.loader != "plain" or config.model.four_bit:
        adapters.must_reload(result.adapter, model, tokenizer, config.model)
    return result


def resume_from_last(trainer: StagedTrainer) -> None:
    """Put a fresh trainer to the last checkpoint of its run folder, or to its beginning where there is none.

    Raises ActreError for a checkpoint that is damaged or of another run; nothing is changed then.
    """
    log = trainer.run_log

    def newest() -> Path | None:
        checkpoints.clear_unfinished(log.adapter)
        return checkpoints.latest(log.checkpoints)

    with log.held():
        last = ranks.from_first(newest)
        if last is None and log.adapter.exists():
            raise ActreError(
                f"{log.out} holds an adapter and no checkpoint to go on from: an earlier version finished it, "
                f"or its checkpoints were removed. Choose another --out, or remove it yourself: rm -r {log.out}"
            )
        if last is None:
            log.rewind(0, 0, 0)
        else:
            trainer.restore(checkpoints.read(last, trainer.config))


def run(trainer: StagedTrainer) -> TrainResult:
    """Train through all stages and save the adapter, also where training is interrupted or fails on the way.

    A checkpoint of the last whole iteration is left wherever one can be written. Raises KeyboardInterrupt, on SIGTERM
    too, saying what was saved, and ActreError where loss or gradient are no numbers.
    """
    log = trainer.run_log
    finished = trainer.settled is not None and trainer.settled.progress.finished
    try:
        if not finished:
            with log.held(), _quiet(), _stopped_by_signals(trainer):
                trainer.train()
    except BaseException as stop:
        told = _rescue(trainer)
        if isinstance(stop, KeyboardInterrupt):
            raise KeyboardInterrupt(f"stopped after {trainer.counts.iteration} iterations{told}") from None
        if isinstance(stop, NotFiniteError):
            raise NotFiniteError(f"{stop}{told}") from stop
        raise
    finally:
        trainer.close()
    if ranks.is_first() and not (finished and log.adapter.exists()):
        trainer.save_adapter(log.adapter)
    counts = trainer.counts
    return TrainResult(log.adapter, log.metrics_path, counts.iteration, counts.env_steps, counts.generated_tokens)


def _rescue(trainer: StagedTrainer) -> str:
    """Save what there is of a run that ends early; returns what to tell about it."""
    log = trainer.run_log
    if not trainer.counts.iteration or not ranks.is_first():
        return ""
    try:
        if trainer.save_settled() is None:
            return (
                f"; nothing was saved of an update that had begun. To go on from before: actre train --resume {log.out}"
            )
        trainer.save_adapter(log.adapter)
    except OSError as error:  # above all a full disk, which may be what ended the run
        return f"; nothing more could be saved ({error})"
    return (
        f"; the adapter and the metrics so far are in {log.out}, and the last checkpoint is "
        f"{checkpoints.latest(log.checkpoints)}. To go on: actre train --resume {log.out}"
    )


@contextmanager
def _stopped_by_signals(trainer: StagedTrainer) -> Iterator[None]:
    """SIGINT and SIGTERM end training with a KeyboardInterrupt: at once, or where weights are just being changed, or
    several processes have to end together, at the end of the iteration; a second one at once whatever is going on.
    """
    if threading.current_thread() is not threading.main_thread():  # only there can handlers be set
        yield
        return

    def stop(number: int, frame: Any) -> None:
        if trainer.stop_asked or not (trainer.settling or ranks.count() > 1):
            raise KeyboardInterrupt
        trainer.stop_asked = True

    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    for number, handler in before.items():
        if handler is not signal.SIG_IGN:  # a shell's background job, say, is not to hear of Ctrl-C
            signal.signal(number, stop)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _must_have_trackers(names: Sequence[str]) -> None:
    """Raises ActreError for a tracker that is not installed."""
    missing = [name for name in names if importlib.util.find_spec(name) is None]
    if missing:
        raise ActreError(
            f"report_to wants {', '.join(missing)}, not installed here: pip install {' '.join(missing)}, or leave it "
            "out; metrics.jsonl is written in any case"
        )


@contextmanager
def _quiet() -> Iterator[None]:
    """No advice from transformers on the console while a bar is shown."""
    before = transformers.logging.get_verbosity()
    transformers.logging.set_verbosity_error()
    try:
        yield
    finally:
        transformers.logging.set_verbosity(before)
