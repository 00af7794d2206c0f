"""An iteration of a run: its plan, its episodes as TRL's batch, its line of metrics, and whether its stage ends.

Knows stages and what is measured on the way; not how an update is computed (update.py), nor what a checkpoint holds
(settling.py).
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import transformers
from peft import PeftModel
from torch import Tensor
from tqdm.auto import tqdm
from transformers import PreTrainedTokenizerBase, TrainerCallback

from actre import adapters
from actre.config import RunConfig
from actre.policies.context import held_by, must_hold
from actre.runtime import ranks
from actre.runtime.out_of_memory import peak_memory_gb
from actre.training import batch as teaching
from actre.training import trackers
from actre.training.advantages import groups_without_signal
from actre.training.checkpoints import Checkpoint, Progress
from actre.training.collect import Play, play_shared, tell_of_failed
from actre.training.loss import SlicedTrainer
from actre.training.matching import Matched, action_entropy
from actre.training.rows import trajectory_rows
from actre.training.runlog import RunLog, rollout_metrics
from actre.training.stages import Plan, as_run, ends_early, learning_rate_factor, plan, span_of
from actre.training.state import Course, Keeper, put_schedule
from actre.types import ActreError, Order, Trajectory


class StagedTrainer(SlicedTrainer):
    """GRPOTrainer whose batches are whole episodes, and whose order of thought and action changes by stage.

    Overrides of TRL 1.14.2 beside those of SlicedTrainer, each held by a contract test:
      _generate_and_score_completions  plays episodes; the dataset is a placeholder
      create_scheduler  the learning rate of `stages.learning_rate_factor`

    At a stage change: the optimizer's moments are kept or cleared, the schedule goes on or starts anew, the
    reference stays the base model; all three as `OptimConfig` says.
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
        match) -> what the temperature is to be, for stages that want it. must_agree: see SlicedTrainer.
        """
        _must_be_possible(config, measured=measure is not None, matched=match is not None)
        self.run_log = log
        self.course = Course()
        self.keeper = Keeper(config, model, games, log)
        self.stop_asked = False
        self._play, self._games, self._measure, self._match = play, games, measure, match
        self._plan = plan(config, games, 1)
        self._line: dict[str, Any] = {}
        self._told: frozenset[str] = frozenset()
        self._started = 0.0
        super().__init__(config, model, tokenizer, log.out, must_agree=must_agree)
        self._bar = tqdm(
            total=config.iterations, desc="training", unit="iteration", disable=not (progress and ranks.is_first())
        )
        self.add_callback(_AfterUpdate(self))

    # --- TRL's seam: one iteration's episodes as a batch ---

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Tensor]:
        """Play the iteration's episodes; returns TRL's batch (see `trl_inputs`)."""
        self.keeper.restore_streams()  # here and not earlier: making the data loader takes numbers too
        if self.course.iteration == 0 and not self._updates:
            self._measure_now(stage=0)
        self._started = time.perf_counter()
        self.iteration_now = self.course.iteration + 1
        self._plan = plan(self._as_run(), self._games, self.iteration_now)
        self.policy_model.eval()
        with torch.no_grad():
            self._match_temperature()
            played = self._played()
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

    def _played(self) -> list[Trajectory]:
        """The plan's episodes; while none can be started, other games are drawn in place of those."""
        played = play_shared(self._play, self._plan, self.weights)
        tried: set[str] = set()
        while played and not any(one.steps for one in played):
            tried |= {*self._plan.games}
            left = [game for game in self._games if game not in tried]
            if not left:
                break
            self._plan = self._plan._replace(games=plan(self._as_run(), left, self.iteration_now).games)
            played += play_shared(self._play, self._plan, self.weights)
        if ranks.is_first():
            self._told = tell_of_failed(played, self._told)
        return played

    def _as_run(self) -> RunConfig:
        """The settings with the stages as long as they have been or will be."""
        return replace(self.config, stages=as_run(self.config.stages, self.course.ended))

    def _match_temperature(self) -> None:
        """Put the plan's temperature, and the loss's, to where the stage wants it."""
        stages = self._as_run().stages
        span = span_of(stages, self._plan.iteration)
        every = stages[span.stage].match_every
        if not every:
            self.course.temperature = None
        elif (self._plan.iteration - span.before - 1) % every == 0:
            assert self._match is not None, "_must_be_possible saw to it"
            match, wanted, last = self._match, self._plan, self.course.temperature
            found = self.weights.from_first(lambda: match(wanted, last))
            self.course.temperature = found.temperature
            self.run_log.match({"iteration": self._plan.iteration - 1, **found._asdict()})
        if self.course.temperature is not None:
            self._plan = self._plan._replace(temperature=self.course.temperature)
        self.temperature = self._plan.temperature

    def _batch(self, played: Sequence[Trajectory]) -> dict[str, Tensor]:
        optim = self.config.optim
        groups = teaching.groups_of(played)
        advantages = teaching.step_advantages(played, groups, optim, self.advantages)
        self._line["groups_without_signal"] = groups_without_signal(advantages, groups)
        decode = None if optim.train_thought else self._tokenizer.decode
        rows = [row for i, one in enumerate(played) for row in trajectory_rows(one, i, masked_thoughts=decode)]
        lengths = (len(row.ids) for row in rows)
        must_hold(held_by(self.policy_model.config), lengths, 0, "a training row", "cut episodes earlier")
        self._line |= self.against_base(rows)
        batch = teaching.batch_of(
            rows, advantages, groups, optim, pad_id=self._tokenizer.pad_token_id, device=self.accelerator.device
        )
        if optim.kl_beta != 0.0:
            batch["ref_per_token_logps"] = self.reference_logps(batch)
        return batch

    def advantages(self, returns: Tensor, groups: Tensor) -> Tensor:
        """One advantage per episode: returns and groups (B,) -> (B,)."""
        return teaching.EPISODE_ADVANTAGES[self.config.optim.advantage](returns, groups)

    def _rollout_line(self, played: Sequence[Trajectory], rollout_s: float) -> dict[str, Any]:
        tokens = sum(len(step.reply_ids) for one in played for step in one.steps)
        self.course.env_steps += sum(len(one.steps) for one in played)
        self.course.generated_tokens += tokens
        return {
            "iteration": self._plan.iteration,
            "stage": self._plan.stage,
            "order": self._plan.order,
            "temperature": self._plan.temperature,
            **rollout_metrics(played, self.config),
            "rollout_s": rollout_s,
            "tokens_per_s": tokens / max(rollout_s, 1e-9),
            "env_steps": self.course.env_steps,
            "generated_tokens": self.course.generated_tokens,
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
        self.course.iteration += 1
        seconds = time.perf_counter() - self._started
        update_s = seconds - self._line["rollout_s"]
        used = {"micro_batch_tokens": self.micro_batches.most, "peak_memory_gb": peak_memory_gb()}
        line = {**self._line, **means, **used, "seconds": seconds, "update_s": update_s}
        self.run_log.metrics(line)
        self.course.successes.append(self._line["success"])
        self._track(line)
        told = {"failed": self._line["env_errors"], "context full": self._line["cut_context"]}
        told = {name: count for name, count in told.items() if count}
        self._bar.set_postfix(order=self._plan.order, success=f"{self._line['success']:.2f}", **told)
        self._bar.update()
        return self._finish_iteration()

    def _finish_iteration(self) -> bool:
        stages = self._as_run().stages
        done, span = self.course.iteration, span_of(stages, self.course.iteration)
        limit = self.config.env_steps
        last = done == self.config.iterations or (limit is not None and self.course.env_steps >= limit)
        stage_ends = done == span.before + span.length
        every = self.config.probe.every
        measured: dict[str, Any] | None = None
        if last or stage_ends or (every and done % every == 0):
            measured = self._measure_now(span.stage)
        if not stage_ends and span.stage < len(stages) - 1:
            stage = stages[span.stage]
            seen = None if measured is None else _entropy_of(measured, stage.order)
            stage_ends = ends_early(stage, self.course.successes[span.before :], seen)
            if stage_ends and measured is None and not last:
                self._measure_now(span.stage)
        if stage_ends:
            self.course.ended = (*self.course.ended, done)
            # the schedule has made its step already, and knew nothing of an earlier end
            put_schedule(self.lr_scheduler, self._step)
        self._stop_together()
        if stage_ends and not last and self.config.optim.optimizer_at_switch == "reset" and self.optimizer is not None:
            self.weights.forget_moments(self.optimizer)
        self.keeper.settle(self.course, self.weights.held(self.optimizer), stage_ends=stage_ends, last=last)
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
        """Hand an iteration's numbers to the trackers of `report_to`."""
        if self.config.report_to:
            self.callback_handler.on_log(self.args, self.state, self.control, trackers.told(line))

    # --- checkpoints ---

    def save_settled(self) -> Path | None:
        """Write a checkpoint of the last whole iteration, or None where it cannot be had (see Keeper.save)."""
        return self.keeper.save(self.optimizer, self._card)

    def restore(self, saved: Checkpoint) -> None:
        """Go on from a checkpoint: weights and records now, the rest when training begins.

        Raises ActreError where the games or the base model are others than they were.
        """
        self.course = self.keeper.restore(saved)
        self._step = self.course.iteration * self.config.optim.updates_per_batch
        self._bar.update(self.course.iteration)

    def begin(self, state: transformers.TrainerState) -> None:
        """Called when optimizer and schedule are there: on a resumed run, puts them to where they were."""
        assert self.optimizer is not None
        self.weights.begin()
        if self.keeper.begin(self.optimizer, self.weights):
            state.global_step = self._globalstep_last_logged = self._step
            put_schedule(self.lr_scheduler, self._step)

    def _measure_now(self, stage: int) -> dict[str, Any] | None:
        """Measure action entropy and record it; returns what was measured."""
        if self._measure is None:
            return None
        measure, started = self._measure, time.perf_counter()
        self.policy_model.eval()
        with torch.no_grad():
            record = self.weights.from_first(lambda: measure(self.course.iteration, stage))
        self.policy_model.train()
        line = {"iteration": self.course.iteration, "stage": stage, "order": self.config.stages[stage].order}
        self.run_log.entropy({**line, **record, "measure_s": time.perf_counter() - started})
        return record

    def save_adapter(self, folder: Path) -> None:
        """Export the adapter as it is now (PEFT, safetensors, card)."""
        held, settled = self.keeper.held_adapter, self.keeper.settled
        # the course counts the episodes of an update too that was interrupted
        card = self._card(self.course if settled is None else settled.progress)
        adapters.export(self.policy_model, folder, self.config.model, card=card, held=held)

    def _card(self, done: Course | Progress) -> str:
        stages = ", ".join(f"{stage.order} {stage.iterations}" for stage in self._as_run().stages)
        return (
            f"Trained with {teaching.ADVANTAGE_NAMES[self.config.optim.advantage]} on {self.config.env.train}: "
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
        self._trainer.keeper.settling = True

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
