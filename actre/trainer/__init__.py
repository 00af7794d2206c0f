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

    conduct.py       train, run, resume_from_last: a run from its first moment to its last; signals, what is rescued
    staged.py        StagedTrainer: an iteration, its metrics, whether its stage ends
    update.py        SlicedTrainer under it: one optimizer step in slices through TRL's loss; log-probabilities
    playing.py       an iteration's episodes, shared out over processes
    teaching.py      their advantages, their rows, TRL's batch of them
    settling.py      what stands between updates: progress, checkpoints written and gone on from
    trl_settings.py  GRPOConfig from RunConfig
    trackers.py      what goes to TensorBoard, trackio and wandb
"""

from actre.trainer.conduct import Measure, TrainResult, resume_from_last, run, train
from actre.trainer.playing import Play
from actre.trainer.staged import StagedTrainer
from actre.trainer.update import NotFiniteError

__all__ = [
    "Measure",
    "NotFiniteError",
    "Play",
    "StagedTrainer",
    "TrainResult",
    "resume_from_last",
    "run",
    "train",
]
