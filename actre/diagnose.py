"""A policy's action entropies on a set of probe states, in both orders, measured so that they can be
compared.

Knows policies by their protocol, probes and `actre.entropy`; knows no model library. Per state: act-first exactly;
think-first as a bracket from K sampled thoughts with the exact distribution after each; equally many sampled actions
in both orders; and, labelled as what they are, the conditional entropy and the token entropies. An open action
(search[<query>]) is one class in all of these; what is written for it has a sampled entropy of its own. Finished
states are written as they come, so that an interrupted diagnosis goes on where it stopped.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from actre._diagnosis import (
    PSEUDO_THOUGHTS,
    Diagnosis,
    DiagnosisLog,
    Settings,
    StateDiagnosis,
    entropy_record,
    load_diagnosis,
    or_none,
    save_diagnosis,
    summarised,
)
from actre._queries import Asked, QueryEntropy, query_entropies
from actre.config import RunConfig, derive_seed
from actre.entropy import (
    CountMethod,
    all_other,
    entropy,
    entropy_from_counts,
    js,
    kl,
    marginal_entropy,
    with_other,
)
from actre.orders import ACTION, END_THINK, Renderer, open_verb
from actre.policies import Policy
from actre.probes import Probe, digest, probes_for
from actre.types import ActreError, Reply

__all__ = [
    "PSEUDO_THOUGHTS",
    "Diagnosis",
    "Settings",
    "StateDiagnosis",
    "diagnose",
    "entropy_record",
    "load_diagnosis",
    "save_diagnosis",
    "training_measure",
]

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
    progress: Callable[[int], None] | None = None,
) -> Diagnosis:
    """Measure H(A|s) in both orders at every probe state, at `config.sampling.temperature`.

    thoughts: K, at least 2; the bracket's width tells whether it is enough. out: a JSONL file to which finished
    states are appended; a second call with the same settings and weights goes on from it, and its result equals an
    uninterrupted one's. progress: told how many states have been finished since it was last told.
    Differs: a thought may use all of `max_reply_tokens`, where an acting policy's also holds the action.
    Raises ActreError for K < 2, probes of fewer than 2 games, and an `out` of other settings or weights.
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
    )
    scorer = _Scorer(policy, policy.renderer(prompt, "act_first"), policy.renderer(prompt, "think_first"), settings)
    log = DiagnosisLog(Path(out), settings) if out is not None else None
    done = log.read() if log else {}
    if done:
        _check_weights(scorer, probes, done[min(done)])
    if progress and done:
        progress(len(done))
    for batch in _batches(len(probes), thoughts):
        missing = [i for i in batch if i not in done]
        if not missing:
            continue
        # the whole batch again, so that the thoughts are those of an uninterrupted run
        fresh = scorer.measure(batch, [probes[i] for i in batch])
        for state in fresh:
            if state.index in missing:
                done[state.index] = state
                if log:
                    log.append(state)
        if progress:
            progress(len(missing))
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


class _Thoughts(NamedTuple):
    """What follows K thoughts in one state: (K, A+1) distributions and expected surprisal and length of an
    action.
    """

    p: np.ndarray
    surprisal_nats: float
    tokens: float


@dataclass(frozen=True)
class _Scorer:
    """The measurement itself: a batch of states in, a StateDiagnosis each out."""

    policy: Policy
    act: Renderer
    think: Renderer
    settings: Settings

    def act_first(self, probes: Sequence[Probe]) -> list[np.ndarray]:
        """(A+1,) log-probabilities a state, exact."""
        prefixes = [self.act.probe_prompt(p.observations, p.actions) for p in probes]
        candidates = [self.act.candidates(_listed(p), after_thought=False) for p in probes]
        scored = self.policy.action_logprobs(prefixes, candidates, temperature=self.settings.temperature)
        return [with_other(logps) for logps in scored]

    def measure(self, indices: Sequence[int], probes: Sequence[Probe]) -> list[StateDiagnosis]:
        """Diagnose these probes; `indices` are their places in the set, and seed their random numbers."""
        act = self.act_first(probes)
        prompts = [self.think.probe_prompt(p.observations, p.actions) for p in probes]
        k = self.settings.thoughts
        replies = self.policy.generate(
            [prompt for prompt in prompts for _ in range(k)],
            max_new_tokens=self.settings.max_thought_tokens,
            temperature=self.settings.temperature,
            stop=END_THINK,
            seed=derive_seed(self.settings.seed, "diagnose", "thoughts", indices[0]),
        )
        after = self._after_thoughts(probes, prompts, replies)
        queries = self._queries(indices[0], probes, prompts, replies, act, after)
        return [
            self._state(index, probe, act[i], replies[i * k : (i + 1) * k], after[i], queries[i])
            for i, (index, probe) in enumerate(zip(indices, probes, strict=True))
        ]

    def _queries(
        self,
        first: int,
        probes: Sequence[Probe],
        prompts: Sequence[Sequence[int]],
        replies: Sequence[Reply],
        act: Sequence[np.ndarray],
        after: Sequence[_Thoughts],
    ) -> list[QueryEntropy]:
        """What is written for the open action, where a state has one."""
        k, forced = self.settings.thoughts, self.settings.force_action_tag
        asked: list[Asked | None] = []
        for i, probe in enumerate(probes):
            listed = _listed(probe)
            opened = next((action for action in listed if open_verb(action)), None)
            if opened is None:
                asked.append(None)
                continue
            at = listed.index(opened)
            act_first = self.act.probe_prompt(probe.observations, probe.actions)
            verb = self.think.filling(opened, after_thought=not forced)
            thought = [(*prompts[i], *self._thought_ids(reply), *verb) for reply in replies[i * k : (i + 1) * k]]
            asked.append(
                Asked(
                    (*act_first, *self.act.filling(opened, after_thought=False)),
                    float(np.exp(act[i][at])),
                    tuple(thought),
                    after[i].p[:, at],
                )
            )
        return query_entropies(
            self.policy,
            asked,
            samples=k,
            temperature=self.settings.temperature,
            max_new_tokens=self.settings.max_thought_tokens,
            method=self.settings.count_method,
            seed=derive_seed(self.settings.seed, "diagnose", "queries", first),
        )

    def _after_thoughts(
        self, probes: Sequence[Probe], prompts: Sequence[Sequence[int]], replies: Sequence[Reply]
    ) -> list[_Thoughts]:
        """The exact action distribution after each thought, all states' thoughts scored together."""
        k, forced = self.settings.thoughts, self.settings.force_action_tag
        rows = [r for r, reply in enumerate(replies) if forced or _closed(reply)]
        listed = [self.think.candidates(_listed(p), after_thought=not forced) for p in probes]
        scored = self.policy.action_logprobs(
            [(*prompts[r // k], *self._thought_ids(replies[r])) for r in rows],
            [listed[r // k] for r in rows],
            temperature=self.settings.temperature,
        )
        logps = dict(zip(rows, scored, strict=True))
        return [
            self._gather(len(listed[i]), [logps.get(r) for r in range(i * k, (i + 1) * k)], listed[i])
            for i in range(len(probes))
        ]

    def _thought_ids(self, reply: Reply) -> tuple[int, ...]:
        if not self.settings.force_action_tag:
            return reply.token_ids
        ids = reply.token_ids
        if not _closed(reply):
            # an end-of-turn token, if that is what ended it, must not stand before the tag that closes it
            ids = (*(ids if reply.truncated else ids[:-1]), *self.think.encode(END_THINK))
        return (*ids, *self.think.encode(ACTION))

    @staticmethod
    def _gather(actions: int, logps: Sequence[np.ndarray | None], candidates: Sequence[Sequence[int]]) -> _Thoughts:
        lengths = np.array([len(ids) for ids in candidates])
        rows = [all_other(actions) if one is None else np.exp(with_other(one)) for one in logps]
        known = [one for one in logps if one is not None]
        surprisal = sum(_surprisal(one) for one in known)
        return _Thoughts(np.stack(rows), surprisal, sum(float(np.exp(one) @ lengths) for one in known))

    def _state(
        self,
        index: int,
        probe: Probe,
        act_logps: np.ndarray,
        replies: Sequence[Reply],
        after: _Thoughts,
        queries: QueryEntropy,
    ) -> StateDiagnosis:
        act_p, think_p = np.exp(act_logps), after.p.mean(axis=0)
        d = marginal_entropy(after.p, pseudo_thoughts=self.settings.pseudo_thoughts)
        rng = np.random.default_rng(derive_seed(self.settings.seed, "diagnose", "equal_n", index))
        act_counts = rng.multinomial(len(replies), act_p / act_p.sum())
        think_counts = sum(rng.multinomial(1, row / row.sum()) for row in after.p)
        lengths = np.array([len(c) for c in self.act.candidates(_listed(probe), after_thought=False)])
        return StateDiagnosis(
            index=index,
            game=probe.game,
            task_type=probe.task_type,
            source=probe.source,
            position=probe.position,
            step=len(probe.actions),
            actions=_listed(probe),
            act_first_p=tuple(act_p.tolist()),
            think_first_p=tuple(think_p.tolist()),
            act_first=entropy(act_p),
            lower=d.lower,
            upper=d.upper,
            conditional=d.conditional,
            information=d.information,
            equal_n_act_first=entropy_from_counts(act_counts, self.settings.count_method),
            equal_n_think_first=entropy_from_counts(think_counts, self.settings.count_method),
            unfinished=sum(not _closed(reply) for reply in replies),
            js=js(act_p, think_p),
            kl_act_think=or_none(kl(act_p, think_p)),
            kl_think_act=or_none(kl(think_p, act_p)),
            token_thought=_ratio(-sum(map(sum, (r.logps for r in replies))), sum(len(r.logps) for r in replies)),
            token_action_act_first=_ratio(_surprisal(act_logps[:-1]), float(act_p[:-1] @ lengths)),
            token_action_think_first=_ratio(after.surprisal_nats, after.tokens),
            thoughts=tuple(reply.text.partition(END_THINK)[0].strip() for reply in replies),
            query_act_first=queries.act_first,
            query_think_first=queries.think_first,
        )


def _check_weights(scorer: _Scorer, probes: Sequence[Probe], finished: StateDiagnosis) -> None:
    """Raises ActreError where the policy does not act as the one that the finished states were measured
    on.
    """
    again = np.exp(scorer.act_first([probes[finished.index]])[0])
    if np.abs(again - np.array(finished.act_first_p)).max() > 1e-2:
        raise ActreError(
            "the finished states were measured on another policy (its weights differ): "
            "give another --out, or remove the file"
        )


def _batches(states: int, thoughts: int) -> Iterator[list[int]]:
    size = max(1, _BATCH_ROWS // thoughts)
    for first in range(0, states, size):
        yield list(range(first, min(first + size, states)))


def _surprisal(logps: np.ndarray) -> float:
    """sum p * -log p over listed actions, in nats; an impossible one adds nothing."""
    possible = logps[np.isfinite(logps)]
    return float(-np.exp(possible) @ possible)


def _listed(probe: Probe) -> tuple[str, ...]:
    """The admissible actions, each once: an action listed twice is still one outcome."""
    return tuple(dict.fromkeys(probe.state.admissible))


def _closed(reply: Reply) -> bool:
    return END_THINK in reply.text


def _ratio(total: float, count: float) -> float | None:
    return total / count if count > 0 else None
