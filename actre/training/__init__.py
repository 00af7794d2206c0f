"""Trains a policy through stages with TRL's GRPOTrainer.

One iteration plays `groups` games `group_size` times each, gives each episode or step an advantage, and takes
`updates_per_batch` optimizer steps on all of its tokens. The loss is TRL's "dapo" form: the clipped surrogate summed
over the batch's sampled tokens and divided by their number, so that micro-batches do not matter. `normalise` says what
weighs equally: each token (DAPO, arXiv 2503.14476, eq. 8), each episode (GRPO, arXiv 2402.03300, eq. 3) or each row
(GSPO, arXiv 2507.18071, eq. 5), the latter two by scaling advantages, and the KL, with mean length / own length; or
that the sum is divided by a constant (Dr. GRPO, arXiv 2503.20783). Differs from GRPO, unless the estimator is
grpo_published: clip-higher (DAPO, eq. 10), no KL unless kl_beta > 0; always: old log-probabilities are the sampler's,
and an episode's length counts its sampled tokens in all its rows. The entropy bonus is always a mean over tokens.

From a game to a gradient in four files: loop.py asks collect.py for episodes (rollout/), batch.py gives them advantages
and makes them rows, loss.py takes the optimizer step.

    run.py           train, run, resume_from_last: a run from start to end; signals
    loop.py          StagedTrainer: an iteration, its metrics, whether its stage ends
    collect.py       an iteration's episodes, divided among processes
    batch.py         their advantages, their rows, TRL's batch of them
    loss.py          SlicedTrainer: one optimizer step in slices through TRL's loss; log-probabilities
    advantages.py    the advantage estimators; hgpo.py has one more
    tokens.py        factors and marks of single tokens: KL-Cov, Clip-Cov, ActFocus
    terms.py         terms of the loss that TRL lacks
    rows.py          training rows: token sequences with a loss mask
    returns.py       what training maximises
    signal.py        groups without variance, and how many of a group's episodes are different
    rescore.py       stored episodes scored anew, without playing
    stages.py        what each iteration does, and what follows it
    state.py         the state between updates: progress, snapshots, checkpoints
    checkpoints.py   a checkpoint on disk
    matching.py      the temperature at which two policies are equally narrow
    runlog.py        the run folder while it grows
    engines.py       what samples the episodes; engine_check.py: is it the model in training
    trl_settings.py  GRPOConfig from RunConfig
    trackers.py      what goes to TensorBoard, trackio and wandb
    packed/          an update's forward pass over packed rows, on a CPU
    sharded/         weights and moments that are divided among processes
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from actre.training.loop import StagedTrainer
    from actre.training.loss import NotFiniteError
    from actre.training.run import TrainResult, resume_from_last, train

__all__ = ["NotFiniteError", "StagedTrainer", "TrainResult", "resume_from_last", "train"]


def __getattr__(name: str) -> Any:
    """TRL is loaded when the trainer is asked for: stages and run logs are read without it."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from actre.runtime import extras

    extras.need_train(f"actre.training.{name}")
    from actre.training import loop, loss, run

    return next(getattr(module, name) for module in (run, loop, loss) if hasattr(module, name))
