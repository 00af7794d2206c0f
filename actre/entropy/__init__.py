"""The instrument: action entropies in nats, exact or bracketed, and what may be said of their difference.

Numbers in, numbers out (imported from here): entropies, brackets, verdicts.

Files:
    estimators.py     entropies of distributions, the bracket over sampled thoughts
    verdict.py        the comparison of two orders over games
    probes.py         the states at which policies are compared
    diagnose.py       a policy's entropies at probe states, in every order
    scorer.py         one batch of states: prompts, thoughts, exact scores
    action_texts.py   exact probabilities of actions as texts
    episode_states.py what a policy would do at each step of an episode
    whole_replies.py  replies sampled whole, beside the exact numbers
    self_check.py     whether both agree
    queries.py        how much searches vary
    states.py         what is measured in one state
    records.py        what a diagnosis holds; JSON
    breakdown.py      the same by task type, position and source
    log.py            finished states of an interrupted diagnosis
    thoughts.py       how many thoughts a state needs
    naive.py          the usual mistakes, shown on known truth
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
