"""One iteration: its plan, its episodes, their advantages, TRL's batch, its metrics, and whether its stage ends.

From a game to a gradient: collect.py plays the episodes, batch.py gives them advantages and makes them a batch, loss.py
takes the optimizer step. state.py holds what a checkpoint needs.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import fmean as mean
from typing import Any

import torch
import transformers
from peft import PeftModel
from torch import Tensor
from tqdm.auto import tqdm
from transformers import PreTrainedTokenizerBase, TrainerCallback

from actre import adapters
from actre.config import RunConfig, derive_seed
from actre.config.estimators import ESTIMATORS
from actre.policies.context import held_by, must_hold
from actre.runtime import ranks
from actre.runtime.out_of_memory import peak_memory_gb
from actre.training import trackers
from actre.training.advantages import zero_variance_groups
from actre.training.batch import batch_of, groups_of, step_advantages, with_advantages
from actre.training.checkpoints import Checkpoint, Progress
from actre.training.collect import Play, collect, in_groups_from, warn_of_failed
from actre.training.loss import SlicedTrainer
from actre.training.matching import Matched, action_entropy
from actre.training.rows import trajectory_rows
from actre.training.runlog import RunLog, rollout_metrics
from actre.training.signal import group_metrics
from actre.training.stages import (
    Plan,
    after_iteration,
    as_run,
    learning_rate_factor,
    must_be_possible,
    plan,
    span_of,
)
from actre.training.state import Checkpointer, RunState, put_schedule
from actre.training.tokens import weighed
from actre.types import ActreError, Order, Trajectory


class StagedTrainer(SlicedTrainer):
    """GRPOTrainer whose batches are whole episodes, and whose order of thought and action changes by stage.

    Overrides of TRL 1.14.2 beside those of SlicedTrainer, each held by a contract test:
      _generate_and_score_completions  plays episodes; the dataset is a placeholder
      create_scheduler  the learning rate of `stages.learning_rate_factor`

    At a stage change the optimizer's moments are kept or cleared, and the schedule continues or restarts, as
    `OptimConfig` says. The KL reference stays the base model.
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
        """measure: (iterations done, stage) -> entropy line. match: (plan, temperature of the last match) -> the
        temperature to sample at, for stages with `match_every`. must_agree: see SlicedTrainer.
        """
        must_be_possible(config, measured=measure is not None, matched=match is not None)
        self.run_log = log
        self.run_state = RunState()
        self.checkpointer = Checkpointer(config, model, games, log)
        self.stop_asked = False
        self._play, self._games, self._measure, self._match = play, games, measure, match
        self._plan = plan(config, games, 1)
        self._line: dict[str, Any] = {}
        self._warned: frozenset[str] = frozenset()
        self._started = 0.0
        super().__init__(config, model, tokenizer, log.out, must_agree=must_agree)
        self._bar = tqdm(
            total=config.iterations, desc="training", unit="iteration", disable=not (progress and ranks.is_first())
        )
        self.add_callback(_AfterUpdate(self))

    # --- TRL's seam: one iteration's episodes as a batch ---

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Tensor]:
        """Play the iteration's episodes; returns TRL's batch (see `trl_inputs`)."""
        self.checkpointer.restore_streams()  # not earlier: making the data loader draws random numbers too
        if self.run_state.iteration == 0 and not self._updates:
            self._measure_now(stage=0)
        self._started = time.perf_counter()
        self.iteration_now = self.run_state.iteration + 1
        self._plan = plan(self._as_run(), self._games, self.iteration_now)
        self.policy_model.eval()
        with torch.no_grad():
            self._match_temperature()
            played = self._played()
        self.policy_model.train()
        self._line = self._rollout_line(played, time.perf_counter() - self._started)
        whole = [one for one in played if "env_error" not in one.meta]
        groups = groups_of(whole)
        advantages = self.advantages(whole, groups) if whole else torch.zeros(0, 1)
        self.run_log.trajectories(self._plan, with_advantages(played, advantages), self.config.seed)
        if not whole:
            raise ActreError(
                f"the environment failed in all {len(played)} episodes of iteration {self._plan.iteration}: "
                f"{played[0].meta['env_error']}"
            )
        self._line["groups_without_signal"] = zero_variance_groups(advantages, groups)
        self._line |= group_metrics(whole, self.config.optim)
        return self._batch(whole, advantages, groups)

    def _played(self) -> list[Trajectory]:
        """The plan's episodes. If none of its games can be started, other games are drawn."""
        played = collect(self._play, self._plan, self.weights)
        tried: set[str] = set()
        while played and not any(one.steps for one in played):
            tried |= {*self._plan.games}
            left = [game for game in self._games if game not in tried]
            if not left:
                break
            self._plan = self._plan._replace(games=plan(self._as_run(), left, self.iteration_now).games)
            first = 1 + max(one.group or 0 for one in played)
            played += in_groups_from(first, collect(self._play, self._plan, self.weights))
        if ranks.is_first():
            self._warned = warn_of_failed(played, self._warned)
        return played

    def _as_run(self) -> RunConfig:
        """The settings with the stages' actual lengths: a stage that ended early leaves its iterations to the last."""
        return replace(self.config, stages=as_run(self.config.stages, self.run_state.ended))

    def _match_temperature(self) -> None:
        """Set the temperature of the plan and of the loss, matched to act-first's entropy if the stage says so."""
        stages = self._as_run().stages
        span = span_of(stages, self._plan.iteration)
        every = stages[span.stage].match_every
        if not every:
            self.run_state.temperature = None
        elif (self._plan.iteration - span.before - 1) % every == 0:
            assert self._match is not None, "checked by must_be_possible"
            match, wanted, last = self._match, self._plan, self.run_state.temperature
            found = self.weights.from_first(lambda: match(wanted, last))
            self.run_state.temperature = found.temperature
            self.run_log.match({"iteration": self._plan.iteration - 1, **found._asdict()})
        if self.run_state.temperature is not None:
            self._plan = self._plan._replace(temperature=self.run_state.temperature)
        self.temperature = self._plan.temperature

    def _batch(self, played: Sequence[Trajectory], advantages: Tensor, groups: Tensor) -> dict[str, Tensor]:
        """Rows with their advantages as TRL's batch; what the loss is computed on."""
        optim = self.config.optim
        decode = None if optim.train_thought else self._tokenizer.decode
        rows = [row for i, one in enumerate(played) for row in trajectory_rows(one, i, masked_thoughts=decode)]
        if self._plan.shuffled:
            rows = self.rescored(rows)  # its thoughts were sampled after other actions
        lengths = (len(row.ids) for row in rows)
        must_hold(held_by(self.policy_model.config), lengths, 0, "a training row", "cut episodes earlier")
        self._line |= self.against_base(rows)
        seed = derive_seed(self.config.seed, "tokens", self._plan.iteration)
        read = self._tokenizer.decode
        rows = weighed(rows, played, advantages, optim, decode=read, energies=self.energies, seed=seed)
        self.past_entropy = mean(self.run_state.entropies) if self.run_state.entropies else None
        longest = self.config.env.max_steps * self.config.sampling.max_reply_tokens
        pad_id, device = self._tokenizer.pad_token_id, self.accelerator.device
        batch = batch_of(rows, advantages, groups, optim, pad_id=pad_id, device=device, longest=longest)
        if optim.kl_beta != 0.0:
            batch["ref_per_token_logps"] = self.reference_logps(batch)
        return batch

    def advantages(self, played: Sequence[Trajectory], groups: Tensor) -> Tensor:
        """(B, S) an advantage for each step, or (B, 1) for each episode; what a subclass may compute otherwise."""
        return step_advantages(played, groups, self.config.optim)

    def _rollout_line(self, played: Sequence[Trajectory], rollout_s: float) -> dict[str, Any]:
        tokens = sum(len(step.reply_ids) for one in played for step in one.steps)
        self.run_state.env_steps += sum(len(one.steps) for one in played)
        self.run_state.generated_tokens += tokens
        return {
            "iteration": self._plan.iteration,
            "stage": self._plan.stage,
            "order": self._plan.order,
            "temperature": self._plan.temperature,
            **rollout_metrics(played, self.config),
            "rollout_s": rollout_s,
            "tokens_per_s": tokens / max(rollout_s, 1e-9),
            "env_steps": self.run_state.env_steps,
            "generated_tokens": self.run_state.generated_tokens,
        }

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

    # --- after an update, and between stages ---

    def finish_update(self, logs: dict[str, float]) -> bool:
        """Called after each optimizer step with TRL's logs. Returns whether training is to end."""
        self._updates[-1] |= {key: float(logs[key]) for key in ("grad_norm", "learning_rate")}
        if len(self._updates) < self.config.optim.updates_per_batch:
            return False
        names = self._updates[0]
        means = {name: sum(u[name] for u in self._updates) / len(self._updates) for name in names}
        self._updates = []
        self.run_state.iteration += 1
        seconds = time.perf_counter() - self._started
        update_s = seconds - self._line["rollout_s"]
        used = {"micro_batch_tokens": self.micro_batches.most, "peak_memory_gb": peak_memory_gb()}
        line = {**self._line, **means, **used, "seconds": seconds, "update_s": update_s}
        self.run_log.metrics(line)
        self.run_state.successes.append(self._line["success"])
        self.run_state.entropies.append(self._line["token_entropy_nats"])
        self._track(line)
        problems = {"failed": self._line["env_errors"], "context full": self._line["cut_context"]}
        shown = {name: count for name, count in problems.items() if count}
        self._bar.set_postfix(order=self._plan.order, success=f"{self._line['success']:.2f}", **shown)
        self._bar.update()
        return self._finish_iteration()

    def _finish_iteration(self) -> bool:
        """Measure, end the stage, take a snapshot and save it, as `stages.after_iteration` decides."""
        state, stages = self.run_state, self._as_run().stages
        decide = partial(after_iteration, self.config, stages, state.iteration, state.env_steps, tuple(state.successes))
        decision = decide()
        if decision.measure:
            measured = self._measure_now(decision.stage)
            stage = stages[decision.stage]
            if measured is not None and stage.until == "entropy" and not decision.stage_ends:
                decision = decide(_entropy_of(measured, stage.order))
        if decision.stage_ends:
            state.ended = (*state.ended, state.iteration)
            # the schedule has already stepped, without knowing that the stage ends early
            put_schedule(self.lr_scheduler, self._step)
        self._stop_together()
        if decision.stage_ends and not decision.run_ends and self.config.optim.optimizer_at_switch == "reset":
            self.weights.forget_moments(self.optimizer)
        held = self.weights.held(self.optimizer)
        self.checkpointer.snapshot(state, held, stage_ends=decision.stage_ends, last=decision.run_ends)
        if decision.save or self.stop_asked:
            self.save_checkpoint()
        if self.stop_asked and not decision.run_ends:
            raise KeyboardInterrupt
        return decision.run_ends

    def _stop_together(self) -> None:
        """All processes stop after the same iteration."""
        self.stop_asked = any(ranks.all_of(self.stop_asked))

    def _track(self, line: dict[str, Any]) -> None:
        """Send an iteration's numbers to the trackers of `report_to`."""
        if self.config.report_to:
            self.callback_handler.on_log(self.args, self.state, self.control, trackers.reported(line))

    # --- checkpoints ---

    def save_checkpoint(self) -> Path | None:
        """Write a checkpoint of the last finished iteration; None if that is not possible (see Checkpointer.save)."""
        return self.checkpointer.save(self.optimizer, self._card)

    def restore(self, saved: Checkpoint) -> None:
        """Resume from a checkpoint: weights and records now, the rest when training begins.

        Raises ActreError if the games or the base model have changed.
        """
        self.run_state = self.checkpointer.restore(saved)
        self._step = self.run_state.iteration * self.config.optim.updates_per_batch
        self._bar.update(self.run_state.iteration)

    def begin(self, state: transformers.TrainerState) -> None:
        """Called once optimizer and schedule exist; restores them in a resumed run."""
        assert self.optimizer is not None
        self.weights.begin()
        if self.checkpointer.begin(self.optimizer, self.weights):
            state.global_step = self._globalstep_last_logged = self._step
            put_schedule(self.lr_scheduler, self._step)

    def _measure_now(self, stage: int) -> dict[str, Any] | None:
        """Measure action entropy and record it; returns what was measured."""
        if self._measure is None:
            return None
        measure, started = self._measure, time.perf_counter()
        self.policy_model.eval()
        with torch.no_grad():
            record = self.weights.from_first(lambda: measure(self.run_state.iteration, stage))
        self.policy_model.train()
        line = {"iteration": self.run_state.iteration, "stage": stage, "order": self.config.stages[stage].order}
        self.run_log.entropy({**line, **record, "measure_s": time.perf_counter() - started})
        return record

    def save_adapter(self, folder: Path) -> None:
        """Export the current adapter (PEFT, safetensors, card)."""
        held, last = self.checkpointer.held_adapter, self.checkpointer.last
        # run_state also counts the episodes of an interrupted update
        card = self._card(self.run_state if last is None else last.progress)
        adapters.export(self.policy_model, folder, self.config.model, card=card, held=held)

    def _card(self, done: RunState | Progress) -> str:
        stages = ", ".join(f"{stage.order} {stage.iterations}" for stage in self._as_run().stages)
        return (
            f"Trained with {ESTIMATORS[self.config.optim.advantage].label} on {self.config.env.train}: "
            f"{done.iteration} iterations ({done.env_steps:,} environment steps) of the stages {stages}; "
            f"seed {self.config.seed}."
        )

    def close(self) -> None:
        """End the progress bar."""
        self._bar.close()


class _AfterUpdate(TrainerCallback):
    """Calls the trainer when training or an optimizer step begins, and with TRL's logs after each step."""

    def __init__(self, trainer: StagedTrainer) -> None:
        self._trainer = trainer

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._trainer.begin(state)

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._trainer.checkpointer.updating = True

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float] | None = None, **_: Any) -> None:
        if logs and "grad_norm" in logs and self._trainer.finish_update(logs):
            control.should_training_stop = True


def _entropy_of(record: dict[str, Any], order: Order) -> float:
    """The action entropy of an order in a line of entropy.jsonl, in nats."""
    values = {name: found["value"] for name, found in record.items() if isinstance(found, dict) and "value" in found}
    return action_entropy(values, order)
