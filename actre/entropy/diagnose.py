"""A policy's action entropies on a set of probe states, in both orders, measured so that they can be
compared.

Knows policies by their protocol, probes and `actre.entropy`; knows no model
library. Per state: act-first exactly; think-first as a bracket from K sampled thoughts with the exact
distribution after each; equally many sampled actions in both orders; no-think exactly, in its own words (its prompt
asks for no thought; in the two orders' shared prompt it would be act-first itself); and, labelled as what they are, the
conditional entropy and the token entropies. An open action (search[<query>]) is one class in all of these; what is
written for it has a sampled entropy of its own. Finished states are written as they come, so that an interrupted
diagnosis goes on where it stopped.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from actre.config import RunConfig, derive_seed
from actre.entropy.breakdown import PARTS, By, Part, parts
from actre.entropy.estimators import CountMethod
from actre.entropy.log import DiagnosisLog
from actre.entropy.probes import Probe, digest, probes_for
from actre.entropy.records import (
    FILES,
    PSEUDO_THOUGHTS,
    Diagnosis,
    Settings,
    entropy_record,
    load_diagnosis,
    save_diagnosis,
    summarised,
)
from actre.entropy.scorer import Scorer
from actre.entropy.self_check import REPLIES
from actre.entropy.states import Listed, StateDiagnosis
from actre.orders import NO_BLANKS
from actre.policies import Policy
from actre.policies.context import SHORTER, must_hold
from actre.types import ActreError, Order

__all__ = [
    "FILES",
    "PARTS",
    "PSEUDO_THOUGHTS",
    "By",
    "Diagnosis",
    "Listed",
    "Part",
    "Settings",
    "StateDiagnosis",
    "diagnose",
    "entropy_record",
    "load_diagnosis",
    "parts",
    "save_diagnosis",
    "training_measure",
]

_CHECKED = 8
"""Finished states in which a diagnosis that goes on looks whether it is the same policy."""
_ORDERS: tuple[Order, ...] = ("act_first", "think_first", "no_think")
_BATCH_ROWS = 64
"""Thoughts sampled at once: bounds memory; fixed, so that an interrupted diagnosis repeats the same
batches.
"""


def diagnose(
    policy: Policy,
    probes: Sequence[Probe],
    config: RunConfig,
    *,
    thoughts: int,
    seed: int,
    out: str | Path | None = None,
    wording: Literal["shared", "instructed"] = "shared",
    force_action_tag: bool = False,
    count_method: CountMethod = "miller_madow",
    adapter: str | None = None,
    check_replies: int = REPLIES,
    progress: Callable[[int], None] | None = None,
    stop: Callable[[], bool] | None = None,
) -> Diagnosis:
    """Measure H(A|s) in both orders at every probe state, at `config.sampling.temperature`.

    thoughts: K, at least 2; the bracket's width tells whether it is enough. out: a JSONL file to which finished
    states are appended; a second call with the same settings and weights goes on from it, and its result equals an
    uninterrupted one's. progress: told how many states have been finished since it was last told. stop: asked before
    each batch of states; once it says so, the diagnosis of the states finished so far is returned (its `complete` is
    False). adapter: the name under which the settings record what was put on the model. check_replies: whole replies
    a state and order that the exact probabilities are held against; where they disagree the verdict is "withheld"; 0:
    no check.
    Differs: a thought may use all of `max_reply_tokens`, where an acting policy's also holds the action.
    Raises ActreError for K < 2, probes of fewer than 2 games, states that with the longest thought and action are more
    than the policy holds, an `out` of other settings or weights, and a stop before states of 2 games are finished.
    """
    if thoughts < 2 or len({probe.game for probe in probes}) < 2:
        raise ActreError(
            f"{thoughts} thoughts on {len({p.game for p in probes})} games: a bracket needs at least "
            "2 thoughts a state, an interval at least 2 games"
        )
    prompt = replace(config.prompt, tags="first", wording=wording)
    settings = Settings(
        model=config.model.name,
        probes=digest(probes),
        states=len(probes),
        thoughts=thoughts,
        seed=seed,
        temperature=config.sampling.temperature,
        max_thought_tokens=config.sampling.max_reply_tokens,
        wording=wording,
        history=prompt.history,
        window=prompt.window,
        list_admissible=prompt.list_admissible,
        force_action_tag=force_action_tag,
        count_method=count_method,
        adapter=adapter,
        check_replies=check_replies,
        date=prompt.date,
    )
    act, think, none = (policy.renderer(prompt, order) for order in _ORDERS)
    scorer = Scorer(policy, act, think, none, settings)
    needed = (scorer.longest(probe) for probe in probes)
    must_hold(policy.max_context, needed, 0, "a state with the longest thought and action", SHORTER)
    log = DiagnosisLog(Path(out), settings) if out is not None else None
    done = log.read() if log else {}
    if done:
        _check_weights(scorer, probes, list(done.values()))
    if progress and done:
        progress(len(done))
    for batch in _batches(len(probes), thoughts):
        missing = [i for i in batch if i not in done]
        if not missing:
            continue
        if stop is not None and stop():
            break
        # the whole batch again, so that the thoughts are those of an uninterrupted run
        fresh = scorer.measure(batch, [probes[i] for i in batch])
        for state in fresh:
            if state.index in missing:
                done[state.index] = state
                if log:
                    log.append(state)
        if progress:
            progress(len(missing))
    if len({state.game for state in done.values()}) < 2:
        raise ActreError(
            f"stopped with {len(done)} of {len(probes)} states finished, too few for a result; what is finished is "
            "kept, and the same call with more time goes on from it"
        )
    return summarised(settings, [done[i] for i in sorted(done)])


def training_measure(config: RunConfig) -> Callable[[Any, int, int], dict[str, Any]]:
    """(policy, iterations done, stage) -> one line's fields of entropy.jsonl: both orders on the fixed probe
    states.

    The thoughts of one iteration are sampled with the same seed whatever the run's stages.
    """
    probes = probes_for(config)

    def measure(policy: Policy, iteration: int, stage: int) -> dict[str, Any]:
        seed = derive_seed(config.seed, "probes", iteration)
        return entropy_record(diagnose(policy, probes, config, thoughts=config.probe.thoughts, seed=seed))

    return measure


def _check_weights(scorer: Scorer, probes: Sequence[Probe], finished: Sequence[StateDiagnosis]) -> None:
    """Raises ActreError where the policy does not act as the one that the finished states were measured on.

    Looks at the least certain of them, where another one would show.
    """
    asked = sorted(finished, key=lambda state: -state.act_first)[:_CHECKED]
    for renderer, name in ((scorer.act, "act_first_p"), (scorer.none, "no_think_p")):
        known = [state for state in asked if getattr(state, name) is not None]
        blanks = {one for state in known if state.checks for one in state.checks[renderer.order].blanks} | {NO_BLANKS}
        again = scorer.exact(renderer, [probes[state.index] for state in known], sorted(blanks)) if known else []
        for state, logps in zip(known, again, strict=True):
            if np.abs(np.exp(logps) - np.array(getattr(state, name))).max() > 1e-2:
                raise ActreError(
                    "the finished states were measured on another policy (its weights differ): "
                    "give another --out, or remove the file"
                )


def _batches(states: int, thoughts: int) -> Iterator[list[int]]:
    size = max(1, _BATCH_ROWS // thoughts)
    for first in range(0, states, size):
        yield list(range(first, min(first + size, states)))
