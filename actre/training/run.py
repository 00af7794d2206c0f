"""A run from start to end: started or resumed, interrupted, finished; its adapter saved on every way out."""

import errno
import shutil
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from peft import PeftModel
from transformers import PreTrainedTokenizerBase

from actre import adapters
from actre.config import RunConfig, derive_seed
from actre.config.model_names import settle
from actre.entropy.probes import probes_for
from actre.envs.worlds import readable
from actre.policies import Policy
from actre.policies.hf import HFPolicy
from actre.policies.models import add_lora, load
from actre.rollout.evaluate import When
from actre.runtime import outputs, ranks
from actre.training import checkpoints, trackers
from actre.training.collect import must_begin, player
from actre.training.engines import engine_for, must_be_plain
from actre.training.loop import StagedTrainer
from actre.training.matching import Matched, matched_temperature
from actre.training.runlog import RunLog
from actre.training.stages import Plan
from actre.training.trl_settings import quiet
from actre.types import UNWRITABLE, ActreError

Measure = Callable[[Any, int, int], dict[str, Any]]
"""(policy, iterations done, stage) -> the fields of one line of entropy.jsonl."""
Evaluate = Callable[[Policy, When], None]
"""Plays a fixed panel with the policy, and records it."""


class DiskFullError(ActreError):
    """The disk is full; what was saved before is untouched."""


class TrainResult(NamedTuple):
    """Where a run's adapter and metrics are, and how far it got."""

    adapter: Path
    metrics: Path
    iterations: int
    env_steps: int
    generated_tokens: int


def train(
    config: RunConfig,
    out: str | Path,
    *,
    measure: Measure | None = None,
    evaluate: Evaluate | None = None,
    model: PeftModel | None = None,
    tokenizer: PreTrainedTokenizerBase | None = None,
    progress: bool = True,
    resume: bool = False,
    server: str | None = None,
) -> TrainResult:
    """Train through all stages into the run folder `out`; returns where the adapter and the metrics are.

    resume: continue the run in `out` from its last checkpoint, or from the beginning if it has none; the result is that
    of an uninterrupted run. A finished run is left as it is, and `model` gets its weights.

    measure: called before the first iteration, every `probe.every`, at each stage's end and at the end; its
    dict becomes a line of entropy.jsonl. None: nothing is measured (`diagnose.training_measure` makes the
    usual one). evaluate: called before the first iteration and after the last; it changes nothing in training. model
    and tokenizer: a base with its adapter, trained in place; None loads `config.model` and
    adds one. server: the vLLM server's address, if the engine is one; not part of the run's settings.
    Raises ActreError if `out` already holds a training run, or with resume none that can be continued. What was done
    so far is saved however training ends.
    """
    config = settle(config)  # absolute paths, so that the run can be resumed from any working folder
    trackers.must_be_installed(config.report_to)
    must_be_plain(config)
    ranks.claim_device()
    log = RunLog(Path(out), config, resume=resume, writes=ranks.is_first())
    games = readable(config.env.name, config.env.train)
    if model is None or tokenizer is None:
        base, tokenizer = load(config.model)
        model = add_lora(base, config.model, derive_seed(config.seed, "adapter"))
    policy = HFPolicy(model, tokenizer)
    with log.held():  # an engine puts files into the folder
        engine = engine_for(config, policy, model, log.out, server)
    must_begin(config, engine.policy, games)

    def played(when: When) -> None:
        if evaluate is not None:
            evaluate(policy, when)
            policy.reset()  # training must not depend on whether something was played

    def measured(done: int, stage: int) -> dict[str, Any]:
        assert measure is not None
        record = measure(policy, done, stage)
        policy.reset()  # the next rollout must not depend on whether the run was resumed here
        return record

    def match(wanted: Plan, last: float | None) -> Matched:
        seed = derive_seed(config.seed, "match", wanted.iteration)
        found = matched_temperature(policy, probes_for(config), config, wanted.order, seed=seed, start=last)
        policy.reset()
        return found

    with log.held():
        played("before")
    trainer = StagedTrainer(
        config,
        model,
        tokenizer,
        play=player(config, engine),
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
    played("after")
    if config.model.loader != "plain" or config.model.four_bit:
        adapters.must_reload(result.adapter, model, tokenizer, config.model)
    return result


def resume_from_last(trainer: StagedTrainer) -> None:
    """Restore the last checkpoint of a fresh trainer's run folder; without one, rewind the folder to the beginning.

    Raises ActreError for a checkpoint that is damaged or of another run; nothing is changed then.
    """
    log = trainer.run_log

    def newest() -> Path | None:
        outputs.clear_unfinished(log.adapter)
        return checkpoints.latest(log.checkpoints)

    with log.held():
        last = ranks.from_first(newest)
        if last is None and log.adapter.exists():
            raise ActreError(
                f"{log.out} holds an adapter but no checkpoint to resume from: an earlier version finished it, "
                f"or its checkpoints were removed. Choose another --out, or remove it yourself: rm -r {log.out}"
            )
        if last is None:
            log.rewind(0, 0, 0)
            return
        trainer.restore(checkpoints.read(last, trainer.config))
        if ranks.is_first() and not _is_finished(trainer):
            # left by an earlier stop, and kept in its checkpoint; it would look final if this run were killed
            shutil.rmtree(log.adapter, ignore_errors=True)


def _is_finished(trainer: StagedTrainer) -> bool:
    return trainer.checkpointer.last is not None and trainer.checkpointer.last.progress.finished


def run(trainer: StagedTrainer) -> TrainResult:
    """Train through all stages and save the adapter, also if training is interrupted or fails.

    A checkpoint of the last finished iteration is written whenever possible. Raises KeyboardInterrupt (on SIGTERM too)
    with what was saved, and ActreError if loss or gradient are not finite, the engine fails or the disk is full.
    """
    log = trainer.run_log
    finished = _is_finished(trainer)
    try:
        if not finished:
            reporting = trackers.ended_with_the_run(trainer.config.report_to)
            with log.held(), quiet(), reporting, _stopped_by_signals(trainer):
                trainer.train()
    except BaseException as stop:
        saved = _rescue(trainer)
        if isinstance(stop, KeyboardInterrupt):
            raise KeyboardInterrupt(f"stopped after {trainer.run_state.iteration} iterations{saved}") from None
        if isinstance(stop, ActreError) and saved:
            raise type(stop)(_with(str(stop), saved)) from stop
        if isinstance(stop, OSError) and stop.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DiskFullError(_disk_full(stop, trainer)) from stop
        if ranks.lost_another(stop):
            raise ActreError(
                f"another of the {ranks.count()} processes has ended or cannot be reached, and this one cannot "
                f"continue without it ({str(stop).splitlines()[0]}); its own message, if any, stands above{saved}"
            ) from stop
        if isinstance(stop, OSError) and stop.errno in UNWRITABLE:
            raise ActreError(f"{stop.filename or log.out}: {stop.strerror}{saved}") from stop
        raise
    finally:
        trainer.close()
    if ranks.is_first() and not (finished and checkpoints.holds_adapter(log.checkpoints, log.adapter)):
        trainer.save_adapter(log.adapter)
    state = trainer.run_state
    return TrainResult(log.adapter, log.metrics_path, state.iteration, state.env_steps, state.generated_tokens)


def _with(reason: str, saved: str) -> str:
    """
    >>> _with("no server: start it:\\n    serve MODEL", "; resume: this")
    'no server: start it:\\n    serve MODEL\\nresume: this'
    """
    return f"{reason}\n{saved.removeprefix('; ')}" if "\n" in reason else f"{reason}{saved}"


def _disk_full(error: OSError, trainer: StagedTrainer) -> str:
    log = trainer.run_log
    last = checkpoints.latest(log.checkpoints)
    where = f" while writing {error.filename}" if error.filename else ""
    kept = "there is no checkpoint yet" if last is None else f"the last checkpoint, {last}, is untouched"
    return (
        f"the disk is full{where}: training stopped after {trainer.run_state.iteration} iterations; {kept}. Free some "
        f"space (df -h {log.out} shows what is left), then resume: actre train --resume {log.out}"
    )


def _rescue(trainer: StagedTrainer) -> str:
    """Save what there is of a run that ends early; returns a sentence about it."""
    log = trainer.run_log
    if not trainer.run_state.iteration or not ranks.is_first():
        return ""
    try:
        if trainer.save_checkpoint() is None:
            return f"; the update in progress was not saved. To resume from before it: actre train --resume {log.out}"
        trainer.save_adapter(log.adapter)
    except OSError as error:  # a full disk, say, which may be what ended the run
        return f"; nothing more could be saved ({error})"
    return (
        f"; the adapter and the metrics so far are in {log.out}, and the last checkpoint is "
        f"{checkpoints.latest(log.checkpoints)}. To resume: actre train --resume {log.out}"
    )


@contextmanager
def _stopped_by_signals(trainer: StagedTrainer) -> Iterator[None]:
    """SIGINT and SIGTERM end training with a KeyboardInterrupt: at once, or at the end of the iteration while weights
    are being changed or several processes have to stop together. A second signal always ends it at once.
    """
    if threading.current_thread() is not threading.main_thread():  # only there can handlers be set
        yield
        return

    def stop(number: int, frame: Any) -> None:
        if trainer.stop_asked or not (trainer.checkpointer.updating or ranks.count() > 1):
            raise KeyboardInterrupt
        trainer.stop_asked = True

    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    for number, handler in before.items():
        if handler is not signal.SIG_IGN:  # such as Ctrl-C in a shell's background job
            signal.signal(number, stop)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
