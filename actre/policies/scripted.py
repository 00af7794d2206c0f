"""Policies with known probabilities, for tests and for calibrating the measurements. They need no torch.

A `ScriptedPolicy` draws a thought and an action given the thought from a table, so its action entropy, its conditional
entropy and their difference are known exactly. It has its own word tokenizer, which `orders.Renderer` uses like any
other.
"""

import math
import random
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from actre.config import PromptConfig
from actre.orders import ACTION, END_ACTION, END_THINK, THINK, Renderer
from actre.orders.chat import ChatFormat
from actre.policies.context import SHORTER, must_hold, with_candidates
from actre.types import ActreError, Order, Reply

END = "<|end|>"
_CHAT = ChatFormat("<|user|>", "<|assistant|>", END + "<|user|>")
_PIECE = re.compile(r"</?think>|</?action>|<\|[a-z]+\|>|\s+|\w+|[^\w\s]")


class WordTokenizer:
    """One id for each tag, word, punctuation mark and blank, assigned on first occurrence; no word is unknown.

    >>> words = WordTokenizer()
    >>> words.decode(words.encode("<action>go to shelf 1</action>"))
    '<action>go to shelf 1</action>'
    """

    def __init__(self) -> None:
        self._ids: dict[str, int] = {}
        self._words: list[str] = []

    def encode(self, text: str) -> list[int]:
        ids = []
        for piece in _PIECE.findall(text):
            if piece not in self._ids:
                self._ids[piece] = len(self._words)
                self._words.append(piece)
            ids.append(self._ids[piece])
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        return "".join(self._words[i] for i in ids)


@dataclass(frozen=True)
class Table:
    """A joint distribution of thought and action in a state: p(thought) and p(action | thought).

    The probabilities of a thought's actions may sum to less than 1; the rest is that of a reply without an action.
    """

    thoughts: Mapping[str, float]
    actions: Mapping[str, Mapping[str, float]]

    def marginal(self) -> dict[str, float]:
        """p(action), summed over the thoughts.

        >>> Table({"x": 0.5, "y": 0.5}, {"x": {"a": 1.0}, "y": {"a": 0.5, "b": 0.5}}).marginal()
        {'a': 0.75, 'b': 0.25}
        """
        summed: dict[str, float] = {}
        for thought, weight in self.thoughts.items():
            for action, p in self.actions[thought].items():
                summed[action] = summed.get(action, 0.0) + weight * p
        return summed

    def thoughts_given(self, action: str) -> dict[str, float]:
        """p(thought | action), by Bayes; p(thought) for an action that is never taken."""
        joint = {t: w * self.actions[t].get(action, 0.0) for t, w in self.thoughts.items()}
        total = sum(joint.values())
        return {t: p / total for t, p in joint.items()} if total else dict(self.thoughts)


def uniform(actions: Sequence[str], thought: str = "any will do") -> Table:
    """One thought, with all actions equally likely."""
    return Table({thought: 1.0}, {thought: {action: 1 / len(actions) for action in actions}})


@dataclass
class ScriptedPolicy:
    """The Policy protocol over tables; `state(prompt text)` returns the table of a state.

    think_first: a thought, then an action given it. act_first: an action from `act_first(prompt text)` (None: from the
    marginal of the same table, so that the orders agree), then a thought given it. no_think: only the action. The
    forced opening tag at the end of the prompt determines the order; the answer to a free prompt is think-first. A
    prompt may also end after a thought.
    """

    state: Callable[[str], Table]
    act_first: Callable[[str], Mapping[str, float]] | None = None
    words: WordTokenizer = field(default_factory=WordTokenizer)
    max_context: int | None = None
    """A context limit like a model's; None: no limit."""

    def encode(self, text: str) -> list[int]:
        return self.words.encode(text)

    def decode(self, ids: Sequence[int]) -> str:
        return self.words.decode(ids)

    def renderer(self, prompt: PromptConfig, order: Order) -> Renderer:
        """Makes prompts in this policy's tokens and parses its replies."""
        return Renderer(self.encode, _CHAT, prompt, order, end_id=self.encode(END)[0])

    def reset(self) -> None:
        """Does nothing: no state is kept between calls."""

    def generate(
        self,
        prompts: Sequence[Sequence[int]],
        *,
        max_new_tokens: int,
        temperature: float,
        stop: str | None,
        seed: int,
    ) -> list[Reply]:
        """Replies drawn from the tables. A part's first token has the part's log-probability, the others have 0."""
        _check_numbers(prompts, max_new_tokens, temperature)
        must_hold(self.max_context, map(len, prompts), max_new_tokens, "a prompt", SHORTER)
        draw = random.Random(seed)
        return [self._reply(self.decode(p), max_new_tokens, temperature, stop, draw) for p in prompts]

    def action_logprobs(
        self,
        prefixes: Sequence[Sequence[int]],
        candidates: Sequence[Sequence[Sequence[int]]],
        *,
        temperature: float = 1.0,
    ) -> list[np.ndarray]:
        """Log-probabilities in nats of the candidates (A,); -inf for those not in the table."""
        if temperature <= 0:
            raise ActreError(f"temperature {temperature}: a distribution over actions needs a positive one")
        if len(prefixes) != len(candidates):
            raise ActreError(f"{len(prefixes)} prefixes, but candidates for {len(candidates)}")
        must_hold(self.max_context, with_candidates(prefixes, candidates), 0, "a prefix with its candidate", SHORTER)
        result = []
        for prefix, listed in zip(prefixes, candidates, strict=True):
            if not prefix or not all(listed):
                raise ActreError("a prompt or a candidate has no token: each needs at least one")
            p = _heated(self._actions_at(self.decode(prefix)), temperature)
            texts = [self.decode(ids).removeprefix(ACTION).removesuffix(END_ACTION) for ids in listed]
            result.append(np.array([_log(p.get(text, 0.0)) for text in texts], dtype=np.float64))
        return result

    def _reply(self, prompt: str, limit: int, temperature: float, stop: str | None, draw: random.Random) -> Reply:
        parts = self._parts(prompt, stop, temperature, draw)
        ids: list[int] = []
        logps: list[float] = []
        for text, p in parts:
            tokens = self.encode(text)
            ids += tokens
            logps += [_log(p) if temperature else 0.0] + [0.0] * (len(tokens) - 1)
        # a reply to a free prompt ends its turn; any other ends at its stop string
        if stop is None:
            ids, logps = [*ids, *self.encode(END)], [*logps, 0.0]
        truncated = len(ids) > limit
        shown = self.decode(ids[:limit])
        return Reply(tuple(ids[:limit]), tuple(logps[:limit]), shown.removesuffix(END), truncated)

    def _parts(self, prompt: str, stop: str | None, temperature: float, draw: random.Random) -> list[tuple[str, float]]:
        """The parts of one reply, each with its probability."""
        state = prompt.removesuffix(ACTION).removesuffix(THINK)
        if prompt.endswith((ACTION, END_THINK)):
            said = [] if prompt.endswith(ACTION) else [(ACTION, 1.0)]
            action, p = _draw(_heated(self._actions_at(prompt), temperature), draw)
            said.append((_closed(action, END_ACTION), p))
            if stop == END_THINK:
                given = self.state(state).thoughts_given(action or "")
                thought, q = _draw(_heated(given, temperature), draw)
                said += [(THINK, 1.0), (_closed(thought, END_THINK), q)]
            return said
        table = self.state(state)
        said = [] if prompt.endswith(THINK) else [(THINK, 1.0)]
        thought, q = _draw(_heated(table.thoughts, temperature), draw)
        said.append((_closed(thought, END_THINK), q))
        if stop == END_THINK:  # only a thought is wanted
            return said
        if stop == ACTION:
            return [*said, (ACTION, 1.0)]
        action, p = _draw(_heated(table.actions.get(thought or "", {}), temperature), draw)
        return [*said, (ACTION, 1.0), (_closed(action, END_ACTION), p)]

    def _actions_at(self, prefix: str) -> Mapping[str, float]:
        """p(action) at the end of a prefix: given the thought, if it ends with one, else the marginal."""
        if prefix.endswith((END_THINK, END_THINK + ACTION)):
            state, _, thought = prefix.removesuffix(ACTION).removesuffix(END_THINK).rpartition(THINK)
            return self.state(state).actions.get(thought.strip(), {})
        if prefix.endswith(ACTION):
            return self._marginal(prefix.removesuffix(ACTION))
        raise ActreError("a scripted policy scores actions only after a prefix that ends with <action> or </think>")

    def _marginal(self, state: str) -> Mapping[str, float]:
        return self.state(state).marginal() if self.act_first is None else self.act_first(state)


def _draw(p: Mapping[str, float], draw: random.Random) -> tuple[str | None, float]:
    """An outcome and its probability; None with the probability missing to 1."""
    at = draw.random()
    for outcome, weight in p.items():
        at -= weight
        if at < 0:
            return outcome, weight
    rest = 1 - sum(p.values())
    if rest > 1e-9:
        return None, rest
    outcome = max(p, key=lambda name: p[name])  # a rounding error of the table, not a missing outcome
    return outcome, p[outcome]


def _closed(said: str | None, tag: str) -> str:
    return tag if said is None else said + tag


def _heated(p: Mapping[str, float], temperature: float) -> dict[str, float]:
    """The distribution at a temperature, with one more outcome for what is missing to 1; 0: only the likeliest."""
    if temperature == 1:
        return dict(p)
    rest = max(0.0, 1 - sum(p.values()))
    if temperature == 0:
        best = max(p, key=lambda name: p[name], default=None)
        return {best: 1.0} if best is not None and p[best] >= rest else {}
    powers = {name: weight ** (1 / temperature) for name, weight in p.items()}
    total = sum(powers.values()) + (rest ** (1 / temperature) if rest > 1e-9 else 0.0)
    return {name: power / total for name, power in powers.items()}


def _log(p: float) -> float:
    return math.log(p) if p > 0 else -math.inf


def _check_numbers(prompts: Sequence[Sequence[int]], max_new_tokens: int, temperature: float) -> None:
    if temperature < 0 or max_new_tokens < 1 or not all(prompts):
        raise ActreError(
            f"temperature {temperature}, max_new_tokens {max_new_tokens}: the first must not be negative, the second "
            "must be at least 1, and no prompt may be empty"
        )
