"""What stands between updates: how far a run has come, its last whole iteration, its checkpoints.

What a checkpoint has to hold and when one can be written; checkpoints.py writes its files.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import torch
from peft import PeftModel, set_peft_model_state_dict

from actre import adapters
from actre.config import RunConfig
from actre.runtime import ranks
from actre.training import checkpoints
from actre.training.checkpoints import Checkpoint, Progress, Streams
from actre.training.runlog import RunLog
from actre.training.sharded.replicated import Held, Whole
from actre.types import ActreError


@dataclass
class Course:
    """How far a run has come.

    ended: each finished stage's last iteration. temperature: what sampling was last matched to, None where nothing is.
    successes: each iteration's.
    """

    iteration: int = 0
    env_steps: int = 0
    generated_tokens: int = 0
    ended: tuple[int, ...] = ()
    temperature: float | None = None
    successes: list[float] = field(default_factory=list)


class Settled(NamedTuple):
    """Where the run stood after its last whole iteration: what a checkpoint needs beside weights and moments.

    held: these too, where they are cut over the processes; None where they can be read in the model.
    """

    progress: Progress
    streams: Streams
    held: Held | None = None


class Keeper:
    """A run's checkpoints: `settle` says where one could be written, `save` writes it, `restore` goes on from one.

    Weights and moments change only between `on_pre_optimizer_step` and the end of the iteration (`settling`); at any
    other time they are those of `settled`, and a checkpoint can be written. Where they are cut over the processes, a
    copy is `held`, and one can be written at any time.
    """

    def __init__(self, config: RunConfig, model: PeftModel, games: Sequence[str], log: RunLog) -> None:
        self.settled: Settled | None = None
        self.settling = False
        self._config, self._model, self._log = config, model, log
        self._games = list(games)
        self._saved_iteration = 0
        self._resumed: Checkpoint | None = None
        self._streams: Streams | None = None

    def settle(self, course: Course, held: Held | None, *, stage_ends: bool, last: bool) -> None:
        """An iteration is whole: weights and moments stay as they are until the next update."""
        metrics, entropy = self._log.lengths()
        progress = Progress(
            course.iteration,
            course.env_steps,
            course.generated_tokens,
            metrics_bytes=metrics,
            entropy_bytes=entropy,
            games=checkpoints.games_digest(self._games),
            stage_ends=stage_ends,
            finished=last,
            ended=course.ended,
            temperature=course.temperature,
        )
        self.settled = Settled(progress, checkpoints.random_streams(), held)
        self.settling = False

    def save(self, optimizer: torch.optim.Optimizer | None, card: Callable[[Progress], str]) -> Path | None:
        """Write a checkpoint of the last whole iteration, or None where it cannot be had: before the first one, and
        where a later one's update has begun. One that is there is not written again.
        """
        if self.settled is None or optimizer is None or (self.settling and self.settled.held is None):
            return None
        progress, streams, held = self.settled
        folder = self._log.checkpoints
        if self._saved_iteration != progress.iteration and ranks.is_first():
            checkpoints.save(
                folder,
                progress,
                self._config,
                write_adapter=lambda part: adapters.write(
                    self._model, part, self._config.model, card=card(progress), held=self.held_adapter
                ),
                optimizer=checkpoints.optimizer_tensors(optimizer) if held is None else held.moments,
                streams=streams,
            )
            self._saved_iteration = progress.iteration
        return folder / f"iter-{progress.iteration}"

    @property
    def held_adapter(self) -> adapters.Held | None:
        """The adapter of the last whole iteration where it is not whole in the model."""
        held = None if self.settled is None else self.settled.held
        return None if held is None else held.adapter

    def restore(self, saved: Checkpoint) -> Course:
        """Go on from a checkpoint: weights and records now, the rest with `begin` and `restore_streams`.

        Raises ActreError where the games or the base model are others than they were.
        """
        progress = saved.progress
        if checkpoints.games_digest(self._games) != progress.games:
            raise ActreError(
                f"{self._config.env.train} has other games than when {saved.folder} was written "
                f"({len(self._games)} now, {progress.games[0]} then): put them back, or begin another run"
            )
        adapters.must_be_base(saved.folder, self._model, self._config.model.name)
        self._log.rewind(progress.iteration, progress.metrics_bytes, progress.entropy_bytes)
        successes = ranks.from_first(self._log.successes)
        set_peft_model_state_dict(self._model, saved.adapter)
        self.settled = Settled(progress, saved.streams)
        self._saved_iteration = progress.iteration
        self._resumed, self._streams = saved, saved.streams
        return Course(
            progress.iteration,
            progress.env_steps,
            progress.generated_tokens,
            progress.ended,
            progress.temperature,
            successes,
        )

    def begin(self, optimizer: torch.optim.Optimizer, weights: Whole) -> bool:
        """Put the optimizer to where it was; whether there was anything to put back."""
        if self._resumed is None or self.settled is None:
            return False
        weights.restore(optimizer, self._resumed)
        self.settled = self.settled._replace(held=weights.held(optimizer))
        self._resumed = None
        return True

    def restore_streams(self) -> None:
        """Put the random streams back, once: last of all, for making the data loader takes numbers too."""
        if self._streams is not None:
            checkpoints.restore_streams(self._streams)
            self._streams = None


def put_schedule(schedule: torch.optim.lr_scheduler.LRScheduler | None, steps: int) -> None:
    """Put the schedule to the optimizer steps that were done, and the learning rates to what it says now."""
    assert isinstance(schedule, torch.optim.lr_scheduler.LambdaLR)
    factor = schedule.lr_lambdas[0](steps)
    rates = [base * factor for base in schedule.base_lrs]
    for group, rate in zip(schedule.optimizer.param_groups, rates, strict=True):
        group["lr"] = rate
    place = {"last_epoch": steps, "_step_count": steps + 1, "_last_lr": rates}
    schedule.load_state_dict({**schedule.state_dict(), **place})
