"""Measures a batch of probe states: prompts, thoughts and exact scores, as a StateDiagnosis each (see diagnose.py)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from actre.config import derive_seed
from actre.entropy.action_texts import action_logps, after_reply, thought_stop
from actre.entropy.estimators import all_other, entropy, entropy_from_counts, js, kl, marginal_entropy, with_other
from actre.entropy.probes import Probe
from actre.entropy.queries import Asked, QueryEntropy, query_entropies
from actre.entropy.records import Settings, or_none
from actre.entropy.self_check import StateCheck, state_check
from actre.entropy.states import Listed, StateDiagnosis
from actre.entropy.whole_replies import BLANK_TOKENS, Played, play_whole
from actre.orders import (
    END_THINK,
    NO_BLANKS,
    Blanks,
    Opened,
    Renderer,
    listed,
    open_verb,
    thought_text,
    tokens_up_to,
)
from actre.policies import Policy
from actre.types import Order, Reply


class _Thoughts(NamedTuple):
    """Actions after K thoughts in one state. p: (K, A+1) distributions; listed: (K' <= K, A), those among the listed
    actions only; surprisal_nats, tokens: expected surprisal and length of an action, summed over thoughts.
    """

    p: np.ndarray
    listed: np.ndarray
    surprisal_nats: float
    tokens: float


@dataclass(frozen=True)
class Scorer:
    """Measures batches of states with one policy and the renderers of the three orders."""

    policy: Policy
    act: Renderer
    think: Renderer
    none: Renderer
    settings: Settings

    def exact(
        self, renderer: Renderer, probes: Sequence[Probe], blanks: Sequence[Blanks] = (NO_BLANKS,)
    ) -> list[np.ndarray]:
        """(A+1,) log-probabilities per state, for a renderer whose action comes first (act-first or no-think)."""
        places = [Opened(renderer.probe_prompt(p.observations, p.actions), "") for p in probes]
        return [with_other(logps) for logps in self._logps(renderer, places, probes, blanks)]

    def longest(self, probe: Probe) -> int:
        """Tokens of the longest sequence needed in this state: prompt, thought, tags and action."""
        actions, thought = listed(probe.state.admissible), self.settings.max_thought_tokens
        prompt = max(
            len(renderer.probe_prompt(probe.observations, probe.actions))
            for renderer in (self.none, self.act, self.think)
        )
        closing = len(self.think.continued(END_THINK)) if self.settings.force_action_tag else 0
        action = max(map(len, self.think.candidates(actions, after_thought=True)), default=0)
        # a query may be as long as a thought
        filling = thought if any(map(open_verb, actions)) else 0
        return prompt + thought + closing + action + BLANK_TOKENS + filling

    def measure(self, indices: Sequence[int], probes: Sequence[Probe]) -> list[StateDiagnosis]:
        """Diagnose these probes. indices: their places in the set, from which their seeds are derived."""
        played = [self._play(renderer, probes, indices[0]) for renderer in (self.none, self.act, self.think)]
        # no-think first, because act-first's cached prompts are mostly those of think-first
        none, act = (
            self.exact(renderer, probes, one.blanks)
            for renderer, one in zip((self.none, self.act), played, strict=False)
        )
        prompts = [self.think.probe_prompt(p.observations, p.actions) for p in probes]
        k = self.settings.thoughts
        replies = self.policy.generate(
            [prompt for prompt in prompts for _ in range(k)],
            max_new_tokens=self.settings.max_thought_tokens,
            temperature=self.settings.temperature,
            stop=self._thought_stop,
            seed=derive_seed(self.settings.seed, "diagnose", "thoughts", indices[0]),
        )
        places = [self._place(prompts[r // k], reply) for r, reply in enumerate(replies)]
        after = self._after_thoughts(probes, places, played[2].blanks)
        queries = self._queries(indices[0], probes, places, act, after)
        states = []
        for i, (index, probe) in enumerate(zip(indices, probes, strict=True)):
            exact = (np.exp(none[i]), np.exp(act[i]), after[i].p)
            checks = {
                renderer.order: state_check(one.indices[i], p, one.blanks, sampled=renderer is self.think)
                for renderer, one, p in zip((self.none, self.act, self.think), played, exact, strict=True)
            }
            own = slice(i * k, (i + 1) * k)
            made = self._state(index, probe, act[i], none[i], replies[own], after[i], queries[i], checks)
            states.append(made)
        return states

    @property
    def _thought_stop(self) -> str:
        return thought_stop(force_action_tag=self.settings.force_action_tag)

    def _place(self, prompt: Sequence[int], reply: Reply) -> Opened | None:
        """Where the action begins after a prompt and a thought; None if it never does."""
        place = after_reply(self.think, reply, force_action_tag=self.settings.force_action_tag)
        return None if place is None else Opened((*prompt, *place.ids), place.written)

    def _logps(
        self, renderer: Renderer, places: Sequence[Opened], probes: Sequence[Probe], blanks: Sequence[Blanks]
    ) -> list[np.ndarray]:
        return action_logps(
            self.policy,
            renderer,
            places,
            [listed(probe.state.admissible) for probe in probes],
            temperature=self.settings.temperature,
            blanks=blanks,
        )

    def _play(self, renderer: Renderer, probes: Sequence[Probe], first: int) -> Played:
        forced = renderer is self.think and self.settings.force_action_tag
        seed = derive_seed(self.settings.seed, "diagnose", "check", renderer.order, first)
        return play_whole(self.policy, renderer, probes, self.settings, force_action_tag=forced, seed=seed)

    def _queries(
        self,
        first: int,
        probes: Sequence[Probe],
        places: Sequence[Opened | None],
        act: Sequence[np.ndarray],
        after: Sequence[_Thoughts],
    ) -> list[QueryEntropy]:
        """The entropies of queries, in states with an open action."""
        k = self.settings.thoughts
        asked: list[Asked | None] = []
        for i, probe in enumerate(probes):
            actions = listed(probe.state.admissible)
            action = next((action for action in actions if open_verb(action)), None)
            if action is None:
                asked.append(None)
                continue
            at = actions.index(action)
            prompt = self.act.probe_prompt(probe.observations, probe.actions)
            thoughts = [self._filled(action, place) for place in places[i * k : (i + 1) * k]]
            asked.append(
                Asked(
                    (*prompt, *(self.act.filling(action) or [])),
                    float(np.exp(act[i][at])),
                    tuple(place.ids for place in thoughts),
                    after[i].p[:, at],
                    tuple(place.written for place in thoughts),
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

    def _filled(self, action: str, place: Opened | None) -> Opened:
        """Where the query of an open action begins after a thought, and how much of it is already written.

        No ids if it cannot follow; its probability is then 0, so that it is never drawn.
        """
        filling = None if place is None else self.think.filling(action, place.written)
        if place is None or filling is None:
            return Opened((), "")
        return Opened((*place.ids, *filling), place.written.lstrip()[len(open_verb(action) or action) :])

    def _after_thoughts(
        self, probes: Sequence[Probe], places: Sequence[Opened | None], blanks: Sequence[Blanks]
    ) -> list[_Thoughts]:
        """The exact action distribution after each thought; all states' thoughts are scored together."""
        k = self.settings.thoughts
        known = [(r, place) for r, place in enumerate(places) if place is not None]
        scored = self._logps(self.think, [place for _, place in known], [probes[r // k] for r, _ in known], blanks)
        logps = {r: one for (r, _), one in zip(known, scored, strict=True)}
        return [
            self._gather(
                len(listed(probe.state.admissible)),
                [logps.get(r) for r in range(i * k, (i + 1) * k)],
                self.act.candidates(listed(probe.state.admissible)),
            )
            for i, probe in enumerate(probes)
        ]

    @staticmethod
    def _gather(actions: int, logps: Sequence[np.ndarray | None], candidates: Sequence[Sequence[int]]) -> _Thoughts:
        lengths = np.array([len(ids) for ids in candidates])
        rows = [all_other(actions) if one is None else np.exp(with_other(one)) for one in logps]
        known = [one for one in logps if one is not None]
        surprisal = sum(_surprisal(one) for one in known)
        among = [_renormalised(one) for one in known if np.isfinite(one).any()]
        return _Thoughts(np.stack(rows), np.array(among), surprisal, sum(float(np.exp(one) @ lengths) for one in known))

    def _state(
        self,
        index: int,
        probe: Probe,
        act_logps: np.ndarray,
        none_logps: np.ndarray,
        replies: Sequence[Reply],
        after: _Thoughts,
        queries: QueryEntropy,
        checks: dict[Order, StateCheck],
    ) -> StateDiagnosis:
        act_p, think_p = np.exp(act_logps), after.p.mean(axis=0)
        d = marginal_entropy(after.p, pseudo_thoughts=self.settings.pseudo_thoughts)
        rng = np.random.default_rng(derive_seed(self.settings.seed, "diagnose", "equal_n", index))
        act_counts = rng.multinomial(len(replies), act_p / act_p.sum())
        think_counts = sum(rng.multinomial(1, row / row.sum()) for row in after.p)
        lengths = np.array([len(c) for c in self.act.candidates(listed(probe.state.admissible))])
        thoughts = [r.logps[: tokens_up_to(END_THINK, r.token_ids, self.policy.decode)] for r in replies]
        return StateDiagnosis(
            index=index,
            game=probe.game,
            task_type=probe.task_type,
            source=probe.source,
            position=probe.position,
            step=len(probe.actions),
            actions=listed(probe.state.admissible),
            act_first_p=tuple(act_p.tolist()),
            think_first_p=tuple(think_p.tolist()),
            act_first=entropy(act_p),
            lower=d.lower,
            upper=d.upper,
            conditional=d.conditional,
            information=d.information,
            equal_n_act_first=entropy_from_counts(act_counts, self.settings.count_method),
            equal_n_think_first=entropy_from_counts(think_counts, self.settings.count_method),
            unfinished=sum(self._unfinished(reply) for reply in replies),
            js=js(act_p, think_p),
            kl_act_think=or_none(kl(act_p, think_p)),
            kl_think_act=or_none(kl(think_p, act_p)),
            token_thought=_ratio(-sum(map(sum, thoughts)), sum(map(len, thoughts))),
            token_action_act_first=_ratio(_surprisal(act_logps[:-1]), float(act_p[:-1] @ lengths)),
            token_action_think_first=_ratio(after.surprisal_nats, after.tokens),
            thoughts=tuple(thought_text(reply.text) for reply in replies),
            no_think_p=tuple(np.exp(none_logps).tolist()),
            no_think=entropy(np.exp(none_logps)),
            listed=self._among_listed(index, act_logps[:-1], after.listed),
            query_act_first=queries.act_first,
            query_think_first=queries.think_first,
            checks=checks if self.settings.check_replies else None,
        )

    def _unfinished(self, reply: Reply) -> bool:
        return self._thought_stop not in reply.text

    def _among_listed(self, index: int, act_logps: np.ndarray, after: np.ndarray) -> Listed | None:
        """The same comparison for a choice constrained to the list; None if it cannot be made."""
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
    """sum of -p log p over listed actions, in nats; impossible ones add 0."""
    possible = logps[np.isfinite(logps)]
    return float(-np.exp(possible) @ possible)


def _ratio(total: float, count: float) -> float | None:
    return total / count if count > 0 else None
