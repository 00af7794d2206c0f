"""What a policy would do at a step of an episode, in both orders: exact where possible, bracketed where not.

The policy reads the episode's history as it was played, thoughts included, or with edits. The fixed states of a
diagnosis hold observations and actions only. Up to three distributions over the admissible actions and "anything else"
are measured in a state:
    act_first    exact: the action is the first thing written
    think_first  K thoughts are drawn, and the exact distribution after each is averaged; its entropy is bracketed
    after        exact, after one given thought; its entropy is NOT comparable with act-first's, which is conditioned on
                 no thought (see docs/entropy.md)
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from actre.config import PromptConfig, RunConfig, derive_seed
from actre.config.presets import preset
from actre.entropy.action_texts import action_logps
from actre.entropy.estimators import all_other, entropy, js, marginal_entropy, with_other
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
from actre.types import SCORES, TOKENS, ActreError, Observation, Order, Step, Trajectory

_MARGIN = 4
"""Extra tokens allowed for an action that begins inside a token, which may take more tokens than it does alone."""


class Edit(NamedTuple):
    """A change to an earlier step: leave it out, or replace its thought ("" removes it)."""

    keep: bool = True
    thought: str | None = None
    """None: unchanged."""


class State(NamedTuple):
    """A state to score: the earlier steps, the observation, and the thought to score after (None: no thought)."""

    steps: tuple[Step, ...]
    observation: Observation
    order: Order
    """The order in which the steps were written."""
    thought: str | None = None
    edits: Mapping[int, Edit] = {}
    written: Step | None = None
    """The step that the thought comes from, if it was sampled: its token ids are then used unchanged."""


@dataclass(frozen=True)
class Asker:
    """Scores states with one policy. thoughts: K, drawn at `temperature`; 0 draws none."""

    policy: Policy
    prompt: PromptConfig
    thoughts: int = 8
    max_thought_tokens: int = 48
    temperature: float = 1.0
    seed: int = 0

    def score(self, states: Sequence[State]) -> list[dict[str, Any]]:
        """One JSON-ready record per state; `record` gives its fields."""
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
        """Whether scoring this state fits the policy's context: its prompts with the longest thought and action."""
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
        return renderer.prompt(history(self.policy, renderer, state), state.observation, opening=opening)

    def _logps(
        self, renderer: Renderer, places: Sequence[Opened], actions: Sequence[Sequence[str]]
    ) -> list[np.ndarray]:
        return action_logps(self.policy, renderer, places, actions, temperature=self.temperature)

    def _after(
        self, think: Renderer, states: Sequence[State], actions: Sequence[tuple[str, ...]]
    ) -> list[np.ndarray | None]:
        """The distribution after each state's thought; None for a state without one."""
        places = {i: self._thought(think, state) for i, state in enumerate(states) if state.thought is not None}
        scored = self._logps(think, list(places.values()), [actions[i] for i in places])
        found = dict(zip(places, scored, strict=True))
        return [found.get(i) for i in range(len(states))]

    def _thought(self, think: Renderer, state: State) -> Opened:
        """What the action follows: the state's thought, as the sampled ids if this policy's tokenizer made them."""
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
    """The distributions as JSON, entropies and divergences in nats. act: (A+1,), "anything else" last; after: likewise.

    p: probabilities of the listed actions, in their order, each action once; other: the rest. js: between act-first and
    think-first; js_after: between act-first and the distribution after the given thought.

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
    """Bounds of the think-first entropy (no upper bound from one thought), and each thought's most likely action."""
    d = marginal_entropy(drawn.p, pseudo_thoughts=PSEUDO_THOUGHTS) if len(drawn.p) > 1 else None
    each = []
    for text, p in zip(drawn.texts, drawn.p, strict=True):
        best = int(p.argmax())
        each.append({"text": text, "best": best if best < len(p) - 1 else None, "p": round(float(p[best]), 6)})
    return {
        "lower": round(d.lower, 6) if d else round(entropy(drawn.p[0]), 6),
        "upper": round(d.upper, 6) if d and np.isfinite(d.upper) else None,
        "conditional": round(d.conditional, 6) if d else None,
        "thoughts": each,
    }


def history(policy: Policy, renderer: Renderer, state: State) -> list[Step]:
    """The steps before a state as this policy would read them, with the state's edits and new prompt and reply ids.

    A reply keeps the ids it was sampled with if this policy's tokenizer made them; an edited reply is tokenised. A
    step whose thought is removed holds its action alone, as in the fixed states of a diagnosis.
    """
    writing = policy.renderer(renderer.config, state.order)
    steps: list[Step] = []
    for number, step in enumerate(state.steps):
        edit = state.edits.get(number, Edit())
        if not edit.keep:
            continue
        bare, thought = edit.thought == "", edit.thought if edit.thought is not None else step.thought
        opening = ACTION if bare and writing.opening else writing.opening
        prompt = renderer.prompt(steps, step.observation, opening=opening)
        ids = _reply_ids(policy, writing, step, edit)
        steps.append(replace(step, prompt_ids=prompt, reply_ids=ids, thought=thought or None))
    return steps


def _reply_ids(policy: Policy, writing: Renderer, step: Step, edit: Edit) -> tuple[int, ...]:
    if edit.thought is None or step.action is None:
        if step.reply_ids and _is_decoded(policy, step):
            return step.reply_ids
        return tuple(writing.continued(step.reply_text))
    free = not writing.opening  # the reply then writes its own first tag
    if not edit.thought:
        return tuple(writing.continued((ACTION if free else "") + step.action + END_ACTION))
    first = (ACTION if writing.order == "act_first" else THINK) if free else ""
    return tuple(writing.reply_ids(edit.thought, step.action, opening=first))


def _is_decoded(policy: Policy, step: Step) -> bool:
    """Whether a step's reply ids belong to this policy: whether they decode to the recorded text."""
    try:
        return policy.decode(step.reply_ids).startswith(step.reply_text)
    except (IndexError, KeyError, OverflowError, ValueError):  # an id outside this tokenizer's vocabulary
        return False


def token_texts(policy: Policy, step: Step) -> list[str] | None:
    """The text of each token of a reply; joined, they are its decoding. None for ids of another policy.

    Of several tokens that form one character, the last one has the character and the others have "".
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
    """The state before a recorded step, with the step's thought if the thought came first."""
    step = trajectory.steps[number]
    thought = step.thought if trajectory.order == "think_first" else None
    return State(trajectory.steps[:number], step.observation, trajectory.order, thought, written=step)


def annotate(
    trajectories: Sequence[Trajectory],
    policy: Policy,
    *,
    config: RunConfig | None = None,
    thoughts: int = 8,
    seed: int = 0,
    progress: Callable[[int], None] | None = None,
) -> list[Trajectory]:
    """The trajectories with both orders' distributions and the reply's token texts of every step in `meta`.

    The inspector then shows them, also from JSONL, without the policy. A step that does not fit the policy's context
    has no distributions. config: None takes `settings_for` the environment. progress: called with 1 after each episode.
    """
    if not trajectories:
        return []
    config = config or settings_for(trajectories[0].env)
    asker = asker_for(policy, config, thoughts, seed)
    done = []
    for trajectory in trajectories:
        states = [state_at(trajectory, i) for i in range(len(trajectory.steps))]
        # one by one, so that the thoughts drawn in a state do not depend on the states scored with it
        scored = [asker.score([one])[0] if asker.holds(one) else None for one in states]
        tokens = [token_texts(policy, step) for step in trajectory.steps]
        done.append(with_records(with_records(trajectory, SCORES, scored), TOKENS, tokens))
        if progress:
            progress(1)
    return done


def settings_for(env: str) -> RunConfig:
    """The tiny preset's settings for the environment of this name."""
    return preset("tiny", "webshop" if "webshop" in env.lower() else "alfworld")


def asker_for(policy: Policy, config: RunConfig, thoughts: int, seed: int) -> Asker:
    """Scores with a run's prompts and sampling settings."""
    sampling = config.sampling
    return Asker(policy, config.prompt, thoughts, sampling.max_reply_tokens, sampling.temperature, seed)


def with_records(trajectory: Trajectory, key: str, values: Sequence[Any]) -> Trajectory:
    """The trajectory with one record per step under `meta[key]`. Raises ActreError if the numbers differ."""
    if len(values) != len(trajectory.steps):
        raise ActreError(f"{len(values)} records for {len(trajectory.steps)} steps: give one record per step")
    return replace(trajectory, meta={**trajectory.meta, key: list(values)})
