"""Action entropy in nats, exact or bracketed, and verdicts on the difference between orders.

Files:
    estimators.py     entropies of distributions; the bracket over sampled thoughts
    verdict.py        the comparison of two orders over games
    probes.py         the states at which policies are compared
    diagnose.py       a policy's entropies at probe states, in every order
    monitor.py        what else is measured during training, to see a collapse
    retrieval.py      mutual information of thought and state; thoughts traced back to their states
    scorer.py         one batch of states: prompts, thoughts, exact scores
    action_texts.py   exact probabilities of actions as texts
    episode_states.py what a policy would do at each step of an episode
    whole_replies.py  complete sampled replies, to check the exact probabilities
    self_check.py     whether the two agree
    queries.py        entropy of search queries
    states.py         the measurements in one state
    records.py        a diagnosis and its JSON
    breakdown.py      a diagnosis by task type, position and source
    log.py            finished states of an interrupted diagnosis
    expert_scores.py  the probability of an expert's action, in both orders
    transfer.py       the gain in the untrained order over that in the trained one
    preconditions.py  whether a comparison could show anything: thresholds and verdict
    precondition_files.py its records
    thoughts.py       how many thoughts a state needs
    naive.py          two naive comparisons next to the fair one
    known_truth.py    scripted states of known entropy
    calibration.py    how far brackets and verdicts can be trusted
"""

from actre.entropy.estimators import (
    CountMethod,
    Decomposition,
    all_other,
    contraction,
    effective_actions,
    entropy,
    entropy_from_counts,
    js,
    kl,
    marginal_entropy,
    normalised,
    with_other,
)
from actre.entropy.verdict import MARGIN_NATS, MIN_GAMES, Bracket, Contraction, Verdict

__all__ = [
    "MARGIN_NATS",
    "MIN_GAMES",
    "Bracket",
    "Contraction",
    "CountMethod",
    "Decomposition",
    "Verdict",
    "all_other",
    "contraction",
    "effective_actions",
    "entropy",
    "entropy_from_counts",
    "js",
    "kl",
    "marginal_entropy",
    "normalised",
    "with_other",
]
