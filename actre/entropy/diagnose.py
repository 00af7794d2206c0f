"""Measures a policy's action entropy at probe states, comparably in both orders.

Per state: act-first exactly; think-first as a bracket from K sampled thoughts, with the exact distribution after each;
equally many sampled actions in both orders; no-think exactly, with its own prompt (in the shared prompt it would equal
act-first); and, as separate quantities, the conditional entropy and the token entropies. An open action
(search[<query>]) is one class in all of these; its queries have a sampled entropy of their own. Finished states are
saved one by one, so that an interrupted diagnosis can continue.
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
from actre.entropy.monitor import collapse_measure
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
"""Finished states at which a continued diagnosis checks that the policy is the same."""
_ORDERS: tuple[Order, ...] = ("act_first", "think_first", "no_think")
_BATCH_ROWS = 64
"""Thoughts sampled at once. Fixed, so that a continued diagnosis has the same batches."""


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

    thoughts: K, at least 2; the bracket's width shows whether it is enough. out: a JSONL file to which finished states
    are appended; a second call with the same settings and weights continues it, with the result of an uninterrupted
    one. progress: called with the number of newly finished states. stop: called before each batch; if it returns True,
    the diagnosis of the states finished so far is returned (its `complete` is False). adapter: its name in the
    settings. check_replies: replies sampled per state and order to check the exact probabilities; if they disagree the
    verdict is "withheld"; 0: no check. Differs: a thought may use all of `max_reply_tokens`, which while acting also
    covers the action. Raises ActreError for K < 2, probes of fewer than 2 games, states that exceed the policy's
    context with the longest thought and action, an `out` with other settings or weights, and a stop before states of 2
    games are finished.
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
        # measure the whole batch again, from no computed prefix, so that the numbers are those of an uninterrupted run
        _forget_prefixes(policy)
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
            f"stopped with {len(done)} of {len(probes)} states finished, too few for a result; they are "
            "kept, and the same call with more time continues"
        )
    return summarised(settings, [done[i] for i in sorted(done)])


def training_measure(config: RunConfig) -> Callable[[Any, int, int], dict[str, Any]]:
    """A function (policy, iterations done, stage) -> the fields of a line of entropy.jsonl, measured on the fixed
    states, with those of `collapse_measure`.

    The seed of an iteration's thoughts does not depend on the run's stages.
    """
    probes = probes_for(config)
    collapse = collapse_measure(config, probes)

    def measure(policy: Policy, iteration: int, stage: int) -> dict[str, Any]:
        seed = derive_seed(config.seed, "probes", iteration)
        found = diagnose(policy, probes, config, thoughts=config.probe.thoughts, seed=seed)
        return {**entropy_record(found), **collapse(policy, iteration)}

    return measure


def _check_weights(scorer: Scorer, probes: Sequence[Probe], finished: Sequence[StateDiagnosis]) -> None:
    """Raises ActreError if the policy is not the one that the finished states were measured on.

    Compares act-first's and no-think's distributions in the states of highest entropy, where policies differ most; each
    with the blanks that its batch's replies had shown.
    """
    asked = sorted(finished, key=lambda state: -state.act_first)[:_CHECKED]
    for renderer, name in ((scorer.act, "act_first_p"), (scorer.none, "no_think_p")):
        known = [state for state in asked if getattr(state, name) is not None]
        for state in known:
            blanks = {*(state.checks[renderer.order].blanks if state.checks else ()), NO_BLANKS}
            (logps,) = scorer.exact(renderer, [probes[state.index]], sorted(blanks))
            if np.abs(np.exp(logps) - np.array(getattr(state, name))).max() > 1e-2:
                raise ActreError(
                    "the finished states were measured on a policy with other weights: "
                    "choose another --out, or remove the file"
                )


def _forget_prefixes(policy: Policy) -> None:
    """Which prefixes a policy has computed changes the last digits of what it computes from them."""
    reset = getattr(policy, "reset", None)
    if reset is not None:
        reset()


def _batches(states: int, thoughts: int) -> Iterator[list[int]]:
    size = max(1, _BATCH_ROWS // thoughts)
    for first in range(0, states, size):
        yield list(range(first, min(first + size, states)))
