"""A run from its first moment to its last: begun or gone on with, interrupted, ended, its adapter saved.

Knows what has to be there and what is left behind on each way out; not what an iteration does.
"""

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
from actre.policies.hf import HFPolicy
from actre.policies.models import add_lora, load
from actre.runtime import outputs, ranks
from actre.training import checkpoints, trackers
from actre.training.collect import must_begin, player
from actre.training.engines import engine_for
from actre.training.loop import StagedTrainer
from actre.training.matching import Matched, matched_temperature
from actre.training.runlog import RunLog
from actre.training.stages import Plan
from actre.training.trl_settings import quiet
from actre.types import UNWRITABLE, ActreError

Measure = Callable[[Any, int, int], dict[str, Any]]
"""(policy, iterations done, stage) -> the fields of one line of entropy.jsonl."""


class DiskFullError(ActreError):
    """A disk without space ended the run; what was finished before is untouched."""


class TrainResult(NamedTuple):
    """Where a run left its things, and how far it came."""

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
    adds one. server: where the vLLM server is, if the engine is one; another address is no other run.
    Raises ActreError if `out` already holds a training run, or with resume none that can go on. On any way out, what
    was done so far is saved.
    """
    config = settle(config)  # the run is to be found from every working folder
    trackers.must_be_installed(config.report_to)
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
    if config.model.loader != "plain" or config.model.four_bit:
        adapters.must_reload(result.adapter, model, tokenizer, config.model)
    return result


def resume_from_last(trainer: StagedTrainer) -> None:
    """Put a fresh trainer to the last checkpoint of its run folder, or to its beginning where there is none.

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
                f"{log.out} holds an adapter and no checkpoint to go on from: an earlier version finished it, "
                f"or its checkpoints were removed. Choose another --out, or remove it yourself: rm -r {log.out}"
            )
        if last is None:
            log.rewind(0, 0, 0)
            return
        trainer.restore(checkpoints.read(last, trainer.config))
        if ranks.is_first() and not _is_finished(trainer):
            # of an earlier stop, and in its checkpoint; left here it would pass for the end's, should this be killed
            shutil.rmtree(log.adapter, ignore_errors=True)


def _is_finished(trainer: StagedTrainer) -> bool:
    return trainer.keeper.settled is not None and trainer.keeper.settled.progress.finished


def run(trainer: StagedTrainer) -> TrainResult:
    """Train through all stages and save the adapter, also where training is interrupted or fails on the way.

    A checkpoint of the last whole iteration is left wherever one can be written. Raises KeyboardInterrupt, on SIGTERM
    too, saying what was saved, and ActreError where loss or gradient are no numbers, the engine fails or the disk is
    full.
    """
    log = trainer.run_log
    finished = _is_finished(trainer)
    try:
        if not finished:
            reporting = trackers.ended_with_the_run(trainer.config.report_to)
            with log.held(), quiet(), reporting, _stopped_by_signals(trainer):
                trainer.train()
    except BaseException as stop:
        told = _rescue(trainer)
        if isinstance(stop, KeyboardInterrupt):
            raise KeyboardInterrupt(f"stopped after {trainer.course.iteration} iterations{told}") from None
        if isinstance(stop, ActreError) and told:
            raise type(stop)(_with(str(stop), told)) from stop
        if isinstance(stop, OSError) and stop.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DiskFullError(_disk_full(stop, trainer)) from stop
        if ranks.lost_another(stop):
            raise ActreError(
                f"another of the {ranks.count()} processes has ended or cannot be reached, and without it this one "
                f"cannot go on ({str(stop).splitlines()[0]}); what it said itself, if anything, stands above{told}"
            ) from stop
        if isinstance(stop, OSError) and stop.errno in UNWRITABLE:
            raise ActreError(f"{stop.filename or log.out}: {stop.strerror}{told}") from stop
        raise
    finally:
        trainer.close()
    if ranks.is_first() and not (finished and checkpoints.holds_adapter(log.checkpoints, log.adapter)):
        trainer.save_adapter(log.adapter)
    course = trainer.course
    return TrainResult(log.adapter, log.metrics_path, course.iteration, course.env_steps, course.generated_tokens)


def _with(reason: str, told: str) -> str:
    """
    >>> _with("no server: start it:\\n    serve MODEL", "; to go on: this")
    'no server: start it:\\n    serve MODEL\\nto go on: this'
    """
    return f"{reason}\n{told.removeprefix('; ')}" if "\n" in reason else f"{reason}{told}"


def _disk_full(error: OSError, trainer: StagedTrainer) -> str:
    log = trainer.run_log
    last = checkpoints.latest(log.checkpoints)
    where = f" while writing {error.filename}" if error.filename else ""
    kept = "there is no checkpoint yet" if last is None else f"the last checkpoint, {last}, is untouched"
    return (
        f"the disk is full{where}: training stopped after {trainer.course.iteration} iterations; {kept}. Free some "
        f"space (df -h {log.out} shows what is left), then go on: actre train --resume {log.out}"
    )


def _rescue(trainer: StagedTrainer) -> str:
    """Save what there is of a run that ends early; returns what to tell about it."""
    log = trainer.run_log
    if not trainer.course.iteration or not ranks.is_first():
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
        if trainer.stop_asked or not (trainer.keeper.settling or ranks.count() > 1):
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
