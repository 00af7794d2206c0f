"""What a policy would do in a state of an episode, in both orders: exact where that is possible, bracketed where not.

Knows policies by their protocol, prompts through their renderers, and `actre.entropy`; no widget and no file. An
episode's history is told to the policy as it was played, its thoughts included, or with edits; that is the difference
from a diagnosis, whose fixed states hold observations and actions only. Three distributions over the admissible
actions and "anything else" are measured in a state:
    act_first    exact: the action is the first thing written
    think_first  K thoughts are drawn, the exact distribution after each is averaged; its entropy is bracketed
    after        exact, after one given thought; its entropy is NOT comparable with act-first's, which has no thought to
                 be given (see docs/entropy.md)
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from actre.config import PromptConfig, derive_seed
from actre.entropy import all_other, entropy, js, marginal_entropy, with_other
from actre.entropy.action_texts import action_logps
from actre.entropy.records import PSEUDO_THOUGHTS
from actre.orders import (
    ACTION,
    END_ACTION,
    END_THINK,
    THINK,
    Opened,
    Renderer,
    listed,
    opened,
    thought_text,
    tokens_up_to,
)
from actre.policies import Policy
from actre.types import Observation, Order, Step, Trajectory

_MARGIN = 4
"""Tokens by which an action may come out longer than alone, where it begins inside a token."""


class Edit(NamedTuple):
    """What an earlier step is to have been: left out, or with another thought ("" for none)."""

    keep: bool = True
    thought: str | None = None
    """None: as it was."""


class State(NamedTuple):
    """Where a policy is asked: the steps before, what is seen, and the thought to score after (None: none)."""

    steps: tuple[Step, ...]
    observation: Observation
    order: Order
    """In which order the steps were written."""
    thought: str | None = None
    edits: Mapping[int, Edit] = {}
    written: Step | None = None
    """The step whose thought it is, if it was sampled: its ids are then taken as they are."""


@dataclass(frozen=True)
class Asker:
    """Scores states with one policy. thoughts: K, drawn at temperature 1 unless another is set; 0: none are drawn."""

    policy: Policy
    prompt: PromptConfig
    thoughts: int = 8
    max_thought_tokens: int = 48
    temperature: float = 1.0
    seed: int = 0

    def score(self, states: Sequence[State]) -> list[dict[str, Any]]:
        """One record a state, ready for JSON; see `record` for its fields."""
        act, think = (self.policy.renderer(self.prompt, order) for order in ("act_first", "think_first"))
        acting = [Opened(self._prompt(act, ACTION, state), "") for state in states]
        thinking = [self._prompt(think, THINK, state) for state in states]
        actions = [listed(state.observation.admissible) for state in states]
        exact = self._logps(act, acting, actions)
        after = self._after(think, states, actions)
        drawn = self._drawn(think, thinking, actions)
        return [
            record(np.exp(with_other(a)), None if b is None else np.exp(with_other(b)), c)
            for a, b, c in zip(exact, after, drawn, strict=True)
        ]

    def holds(self, state: State) -> bool:
        """Whether the policy can hold what scoring this state asks: its prompts with the longest thought and action."""
        held = self.policy.max_context
        if held is None:
            return True
        act, think = (self.policy.renderer(self.prompt, order) for order in ("act_first", "think_first"))
        actions = listed(state.observation.admissible)
        thought = self.max_thought_tokens if self.thoughts else 0
        given = 0 if state.thought is None else len(self._thought(think, state).ids)
        longest = max(len(self._prompt(act, ACTION, state)), len(self._prompt(think, THINK, state)) + thought, given)
        action = max(map(len, think.candidates(actions, after_thought=True)), default=0)
        return longest + action + _MARGIN <= held

    def _prompt(self, renderer: Renderer, opening: str, state: State) -> tuple[int, ...]:
        return renderer.prompt(retell(self.policy, renderer, state), state.observation, opening=opening)

    def _logps(
        self, renderer: Renderer, places: Sequence[Opened], actions: Sequence[Sequence[str]]
    ) -> list[np.ndarray]:
        return action_logps(self.policy, renderer, places, actions, temperature=self.temperature)

    def _after(
        self, think: Renderer, states: Sequence[State], actions: Sequence[tuple[str, ...]]
    ) -> list[np.ndarray | None]:
        """The distribution after each state's thought; None where there is none."""
        places = {i: self._thought(think, state) for i, state in enumerate(states) if state.thought is not None}
        scored = self._logps(think, list(places.values()), [actions[i] for i in places])
        found = dict(zip(places, scored, strict=True))
        return [found.get(i) for i in range(len(states))]

    def _thought(self, think: Renderer, state: State) -> Opened:
        """Where the action begins after the state's thought: the ids that were sampled where they are this policy's."""
        step = state.written
        if step is not None and ACTION in step.reply_text and _is_decoded(self.policy, step):
            ids = step.reply_ids[: tokens_up_to(ACTION, step.reply_ids, self.policy.decode)]
            written = self.policy.decode(ids).partition(ACTION)[2]
            return Opened((*self._prompt(think, think.opening, state), *ids), written)
        ids = tuple(think.continued(f"{state.thought}{END_THINK}{ACTION}"))
        return Opened((*self._prompt(think, THINK, state), *ids), "")

    def _drawn(
        self, think: Renderer, prompts: Sequence[tuple[int, ...]], actions: Sequence[tuple[str, ...]]
    ) -> list["Drawn | None"]:
        k = self.thoughts
        if not k:
            return [None] * len(prompts)
        replies = self.policy.generate(
            [prompt for prompt in prompts for _ in range(k)],
            max_new_tokens=self.max_thought_tokens,
            temperature=self.temperature,
            stop=ACTION,
            seed=derive_seed(self.seed, "inspector", "thoughts"),
        )
        begun = {r: place for r, reply in enumerate(replies) if (place := opened(reply)) is not None}
        places = [Opened((*prompts[r // k], *place.ids), place.written) for r, place in begun.items()]
        scored = self._logps(think, places, [actions[r // k] for r in begun])
        found = {r: np.exp(with_other(logps)) for r, logps in zip(begun, scored, strict=True)}
        return [
            Drawn(
                np.stack([found.get(r, all_other(len(actions[i]))) for r in range(i * k, (i + 1) * k)]),
                tuple(thought_text(replies[r].text) for r in range(i * k, (i + 1) * k)),
            )
            for i in range(len(prompts))
        ]


class Drawn(NamedTuple):
    """K thoughts: their texts, and the distribution after each (K, A+1)."""

    p: np.ndarray
    texts: tuple[str, ...]


def record(act: np.ndarray, after: np.ndarray | None, drawn: Drawn | None) -> dict[str, Any]:
    """The distributions as JSON. p: over the listed actions, each once, in their order; other: what is left; all nats.

    js: between act-first and think-first; js_after: between act-first and what follows the one thought.

    >>> one = record(np.array([0.5, 0.5, 0.0]), None, None)
    >>> one["act_first"]["p"], one["act_first"]["other"], round(one["act_first"]["entropy"], 4), one["js"]
    ([0.5, 0.5], 0.0, 0.6931, None)
    """
    think = None if drawn is None else drawn.p.mean(axis=0)
    return {
        "act_first": _one(act),
        "after": None if after is None else _one(after),
        "think_first": None if drawn is None or think is None else {**_one(think), **_bracket(drawn)},
        "js": None if think is None else round(js(act, think), 6),
        "js_after": None if after is None else round(js(act, after), 6),
    }


def _one(p: np.ndarray) -> dict[str, Any]:
    return {
        "p": [round(x, 6) for x in p[:-1].tolist()],
        "other": round(float(p[-1]), 6),
        "entropy": round(entropy(p), 6),
    }


def _bracket(drawn: Drawn) -> dict[str, Any]:
    """Bounds of the think-first entropy (one thought bounds nothing from above), and each thought with what follows."""
    d = marginal_entropy(drawn.p, pseudo_thoughts=PSEUDO_THOUGHTS) if len(drawn.p) > 1 else None
    each = []
    for text, p in zip(drawn.texts, drawn.p, strict=True):
        best = int(p.argmax())
        each.append({"text": text, "best": best if best < len(p) - 1 else None, "p": float(p[best])})
    return {
        "lower": round(d.lower, 6) if d else round(entropy(drawn.p[0]), 6),
        "upper": round(d.upper, 6) if d and np.isfinite(d.upper) else None,
        "conditional": round(d.conditional, 6) if d else None,
        "thoughts": each,
    }


def retell(policy: Policy, renderer: Renderer, state: State) -> list[Step]:
    """The steps before a state as this policy would read them, with the state's edits: prompt and reply ids anew.

    A reply keeps the ids it was sampled with, where they are this policy's; an edited one is tokenised. A step whose
    thought is taken out holds its action alone, as in the fixed states of a diagnosis.
    """
    writing = policy.renderer(renderer.config, state.order)
    told: list[Step] = []
    for number, step in enumerate(state.steps):
        edit = state.edits.get(number, Edit())
        if not edit.keep:
            continue
        bare, thought = edit.thought == "", edit.thought if edit.thought is not None else step.thought
        opening = ACTION if bare and writing.opening else writing.opening
        prompt = renderer.prompt(told, step.observation, opening=opening)
        ids = _reply_ids(policy, writing, step, edit)
        told.append(replace(step, prompt_ids=prompt, reply_ids=ids, thought=thought or None))
    return told


def _reply_ids(policy: Policy, writing: Renderer, step: Step, edit: Edit) -> tuple[int, ...]:
    if edit.thought is None or step.action is None:
        if step.reply_ids and _is_decoded(policy, step):
            return step.reply_ids
        return tuple(writing.continued(step.reply_text))
    free = not writing.opening  # then the reply writes its own first tag
    if not edit.thought:
        return tuple(writing.continued((ACTION if free else "") + step.action + END_ACTION))
    first = (ACTION if writing.order == "act_first" else THINK) if free else ""
    return tuple(writing.reply_ids(edit.thought, step.action, opening=first))


def _is_decoded(policy: Policy, step: Step) -> bool:
    """Whether these ids are this policy's: whether they say what was recorded."""
    try:
        return policy.decode(step.reply_ids).startswith(step.reply_text)
    except (IndexError, KeyError, OverflowError, ValueError):  # an id this tokenizer does not have
        return False


def token_texts(policy: Policy, step: Step) -> list[str] | None:
    """The text of each token of a reply, so that together they are its decoding; None where ids are another's.

    A token that is part of a character only has the text "" and its last one the character.
    """
    if not step.reply_ids or not _is_decoded(policy, step):
        return None
    texts, said = [], ""
    for end in range(1, len(step.reply_ids) + 1):
        whole = policy.decode(step.reply_ids[:end])
        if end < len(step.reply_ids) and whole.endswith("\ufffd"):
            whole = said
        texts.append(whole[len(said) :])
        said = whole
    return texts


def state_at(trajectory: Trajectory, number: int) -> State:
    """The state before a step as it was recorded, with its thought where the thought came first."""
    step = trajectory.steps[number]
    thought = step.thought if trajectory.order == "think_first" else None
    return State(trajectory.steps[:number], step.observation, trajectory.order, thought, written=step)
