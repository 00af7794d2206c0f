"""The measurement of a batch of probe states: prompts to the policy, scores and thoughts to a StateDiagnosis each.

Knows policies by their protocol, prompts through their renderers, and `actre.entropy`; no file and no order of work
(diagnose.py does that, and says what is measured and why).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from actre._diagnosis import Listed, Settings, StateDiagnosis, or_none
from actre._queries import Asked, QueryEntropy, query_entropies
from actre.config import derive_seed
from actre.entropy import all_other, entropy, entropy_from_counts, js, kl, marginal_entropy, with_other
from actre.orders import ACTION, END_THINK, Renderer, open_verb
from actre.policies import Policy
from actre.probes import Probe
from actre.types import Reply


class _Thoughts(NamedTuple):
    """What follows K thoughts in one state: (K, A+1) distributions, those among the listed actions only (K' <= K, A),
    and expected surprisal and length of an action.
    """

    p: np.ndarray
    listed: np.ndarray
    surprisal_nats: float
    tokens: float


@dataclass(frozen=True)
class Scorer:
    """The measurement itself: a batch of states in, a StateDiagnosis each out."""

    policy: Policy
    act: Renderer
    think: Renderer
    none: Renderer
    settings: Settings

    def exact(self, renderer: Renderer, probes: Sequence[Probe]) -> list[np.ndarray]:
        """(A+1,) log-probabilities a state where the action comes first: act-first's or no-think's renderer."""
        prefixes = [renderer.probe_prompt(p.observations, p.actions) for p in probes]
        candidates = [renderer.candidates(_listed(p), after_thought=False) for p in probes]
        scored = self.policy.action_logprobs(prefixes, candidates, temperature=self.settings.temperature)
        return [with_other(logps) for logps in scored]

    def longest(self, probe: Probe) -> int:
        """Tokens of the longest sequence that this state may ask of the policy: prompt, thought, tags and action."""
        listed, forced = _listed(probe), self.settings.force_action_tag
        thought, opened = self.settings.max_thought_tokens, [action for action in listed if open_verb(action)]
        needed = []
        for renderer, before in ((self.none, 0), (self.act, 0), (self.think, thought)):
            after_thought = renderer is self.think and not forced
            tags = len(renderer.encode(END_THINK + ACTION)) if renderer is self.think and forced else 0
            said = [len(ids) for ids in renderer.candidates(listed, after_thought=after_thought)]
            said += [len(renderer.filling(action, after_thought=after_thought)) + thought for action in opened]
            prompt = len(renderer.probe_prompt(probe.observations, probe.actions))
            needed.append(prompt + before + tags + max(said, default=0))
        return max(needed)

    def measure(self, indices: Sequence[int], probes: Sequence[Probe]) -> list[StateDiagnosis]:
        """Diagnose these probes; `indices` are their places in the set, and seed their random numbers."""
        # no-think first: what act-first leaves in the policy's cache is most of think-first's prompts
        none, act = self.exact(self.none, probes), self.exact(self.act, probes)
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
            self._state(index, probe, act[i], none[i], replies[i * k : (i + 1) * k], after[i], queries[i])
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
        listed = [_renormalised(one) for one in known if np.isfinite(one).any()]
        return _Thoughts(
            np.stack(rows), np.array(listed), surprisal, sum(float(np.exp(one) @ lengths) for one in known)
        )

    def _state(
        self,
        index: int,
        probe: Probe,
        act_logps: np.ndarray,
        none_logps: np.ndarray,
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
            no_think_p=tuple(np.exp(none_logps).tolist()),
            no_think=entropy(np.exp(none_logps)),
            listed=self._among_listed(index, act_logps[:-1], after.listed),
            query_act_first=queries.act_first,
            query_think_first=queries.think_first,
        )

    def _among_listed(self, index: int, act_logps: np.ndarray, after: np.ndarray) -> Listed | None:
        """The same comparison for a choice constrained to the list; None where it cannot be made."""
        if len(after) < 2 or not np.isfinite(act_logps).any():
            return None
        act = _renormalised(act_logps)
        d = marginal_entropy(after, pseudo_thoughts=self.settings.pseudo_thoughts)
        rng = np.random.default_rng(derive_seed(self.settings.seed, "diagnose", "equal_n_listed", index))
        act_counts = rng.multinomial(len(after), act)
        think_counts = sum(rng.multinomial(1, row) for row in after)
        return Listed(
            act_first=entropy(act),
            lower=d.lower,
            upper=d.upper,
            conditional=d.conditional,
            equal_n_act_first=entropy_from_counts(act_counts, self.settings.count_method),
            equal_n_think_first=entropy_from_counts(think_counts, self.settings.count_method),
            thoughts=len(after),
        )


def _renormalised(logps: np.ndarray) -> np.ndarray:
    """(A,) probabilities of the listed actions given that one of them is chosen."""
    p = np.exp(logps - logps.max())
    return p / p.sum()


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
