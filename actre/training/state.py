"""The state of a run between updates: its progress, the snapshot after the last iteration, and its checkpoints.

checkpoints.py reads and writes the files.
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
from actre.training.sharded.replicated import Held, Replicated
from actre.types import ActreError


@dataclass
class RunState:
    """A run's progress.

    ended: last iteration of each finished stage. temperature: the last matched one, None without matching. successes:
    success rate of each iteration. entropies: token_entropy_nats of each iteration.
    """

    iteration: int = 0
    env_steps: int = 0
    generated_tokens: int = 0
    ended: tuple[int, ...] = ()
    temperature: float | None = None
    successes: list[float] = field(default_factory=list)
    entropies: list[float] = field(default_factory=list)


class Snapshot(NamedTuple):
    """The run after its last finished iteration: what a checkpoint needs beside weights and moments.

    held: a copy of weights and moments where they are sharded; None where the model itself has them whole.
    """

    progress: Progress
    streams: Streams
    held: Held | None = None


class Checkpointer:
    """A run's checkpoints: `snapshot` after each iteration, `save` writes the last one, `restore` resumes.

    Weights and moments change only between `on_pre_optimizer_step` and the end of the iteration (`updating`). At any
    other time they belong to `last`, and a checkpoint can be written. Sharded ones are copied into the snapshot, so
    that a checkpoint can be written at any time.
    """

    def __init__(self, config: RunConfig, model: PeftModel, games: Sequence[str], log: RunLog) -> None:
        self.last: Snapshot | None = None
        self.updating = False
        self._config, self._model, self._log = config, model, log
        self._games = list(games)
        self._saved_iteration = 0
        self._resumed: Checkpoint | None = None
        self._streams: Streams | None = None

    def snapshot(self, state: RunState, held: Held | None, *, stage_ends: bool, last: bool) -> None:
        """Record the state after an iteration; weights and moments stay as they are until the next update."""
        metrics, entropy = self._log.lengths()
        progress = Progress(
            state.iteration,
            state.env_steps,
            state.generated_tokens,
            metrics_bytes=metrics,
            entropy_bytes=entropy,
            games=checkpoints.games_digest(self._games),
            stage_ends=stage_ends,
            finished=last,
            ended=state.ended,
            temperature=state.temperature,
        )
        self.last = Snapshot(progress, checkpoints.random_streams(), held)
        self.updating = False

    def save(self, optimizer: torch.optim.Optimizer | None, card: Callable[[Progress], str]) -> Path | None:
        """Write a checkpoint of the last finished iteration. Returns None before the first, and where an update has
        begun since. An existing one is not written again.
        """
        if self.last is None or optimizer is None or (self.updating and self.last.held is None):
            return None
        progress, streams, held = self.last
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
        """The adapter after the last finished iteration, where the model holds only shards of it."""
        held = None if self.last is None else self.last.held
        return None if held is None else held.adapter

    def restore(self, saved: Checkpoint) -> RunState:
        """Resume from a checkpoint: weights and records now, the rest with `begin` and `restore_streams`.

        Raises ActreError if the games or the base model have changed.
        """
        progress = saved.progress
        if checkpoints.games_digest(self._games) != progress.games:
            raise ActreError(
                f"{self._config.env.train} has other games than when {saved.folder} was written "
                f"({len(self._games)} now, {progress.games[0]} then): put them back, or begin another run"
            )
        adapters.must_be_base(saved.folder, self._model, self._config.model.name)
        self._log.rewind(progress.iteration, progress.metrics_bytes, progress.entropy_bytes)
        columns = ranks.from_first(lambda: [self._log.column(name) for name in ("success", "token_entropy_nats")])
        set_peft_model_state_dict(self._model, saved.adapter)
        self.last = Snapshot(progress, saved.streams)
        self._saved_iteration = progress.iteration
        self._resumed, self._streams = saved, saved.streams
        return RunState(
            progress.iteration,
            progress.env_steps,
            progress.generated_tokens,
            progress.ended,
            progress.temperature,
            *columns,
        )

    def begin(self, optimizer: torch.optim.Optimizer, weights: Replicated) -> bool:
        """Restore the optimizer's state; returns whether there was any."""
        if self._resumed is None or self.last is None:
            return False
        weights.restore(optimizer, self._resumed)
        self.last = self.last._replace(held=weights.held(optimizer))
        self._resumed = None
        return True

    def restore_streams(self) -> None:
        """Restore the random streams, once and last: making the data loader draws random numbers too."""
        if self._streams is not None:
            checkpoints.restore_streams(self._streams)
            self._streams = None


def put_schedule(schedule: torch.optim.lr_scheduler.LRScheduler | None, steps: int) -> None:
    """Set the schedule to the number of optimizer steps done, and the learning rates accordingly."""
    assert isinstance(schedule, torch.optim.lr_scheduler.LambdaLR)
    factor = schedule.lr_lambdas[0](steps)
    rates = [base * factor for base in schedule.base_lrs]
    for group, rate in zip(schedule.optimizer.param_groups, rates, strict=True):
        group["lr"] = rate
    place = {"last_epoch": steps, "_step_count": steps + 1, "_last_lr": rates}
    schedule.load_state_dict({**schedule.state_dict(), **place})
