"""A policy whose action entropies are known in closed form, in both orders; tokens are characters."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from actre.entropy.probes import Probe
from actre.orders import ACTION, END_ACTION, END_THINK, THINK, Renderer
from actre.orders.chat import ChatFormat
from actre.types import Observation, Reply


@dataclass
class ScriptedOrders:
    """Acts by `act_first`; thinks thought t with probability thoughts[t] and then acts by after[t].

    after: (T, A). What the probabilities lack to 1 is "other". A thought named "..." never closes; "end" ends
    the turn without closing. tagless: writes no <action> tag of its own after a thought. no_think: what it does where
    it is told to write nothing else (None: as act-first); those prompts are not kept.
    """

    actions: tuple[str, ...]
    act_first: Sequence[float]
    thoughts: dict[str, float]
    after: dict[str, Sequence[float]]
    tagless: bool = False
    no_think: Sequence[float] | None = None
    fail_after: int = 10**9
    max_context: int | None = None
    prompts: list[str] = field(default_factory=list)
    temperatures: set[float] = field(default_factory=set)
    calls: int = 0

    @property
    def marginal(self) -> np.ndarray:
        """(A+1,) the think-first distribution, all thoughts considered."""
        rows = [self.thoughts[t] * np.array(self.after[t]) for t in self.thoughts if t in self.after]
        listed = np.sum(rows, axis=0)
        return np.append(listed, 1 - listed.sum())

    def encode(self, text: str) -> list[int]:
        return [ord(c) for c in text]

    def decode(self, ids: Sequence[int]) -> str:
        return "".join(map(chr, ids))

    def renderer(self, prompt: Any, order: Any) -> Renderer:
        return Renderer(self.encode, ChatFormat("U:", "\nA:", "\nU:"), prompt, order)

    def generate(
        self,
        prompts: Sequence[Sequence[int]],
        *,
        max_new_tokens: int,
        temperature: float,
        stop: str | None,
        seed: int,
    ) -> list[Reply]:
        self.temperatures.add(temperature)
        rng = np.random.default_rng(seed)
        texts = [self.decode(prompt) for prompt in prompts]
        if stop in (END_THINK, ACTION) and all(text.endswith(THINK) for text in texts):  # thoughts alone are asked for
            self.calls += 1
            if self.calls > self.fail_after:
                raise KeyboardInterrupt
            self.prompts += texts
        names = list(self.thoughts)
        drawn = rng.choice(len(names), size=len(prompts), p=list(self.thoughts.values()))
        return [self._reply(text, names[i], stop, rng) for text, i in zip(texts, drawn, strict=True)]

    def _reply(self, prompt: str, thought: str, stop: str | None, rng: np.random.Generator) -> Reply:
        begun = prompt.rpartition("\nA:")[2]
        if begun.startswith(THINK) and begun.endswith(ACTION):
            return self._said(self._acted(self.after[begun.removeprefix(THINK).partition(END_THINK)[0]], rng))
        if begun.endswith(ACTION):
            text = self._acted(self._first(prompt), rng)
            return self._said(text + (f"{THINK}hm{END_THINK}" if stop == END_THINK else ""))
        if thought in ("...", "end"):
            return self._said(thought + ("\0" if thought == "end" else ""), thought)
        text = thought + END_THINK
        if stop == END_THINK:
            return self._said(text, thought)
        if self.tagless:
            return self._said(text + "\0", thought)
        text += ACTION
        return self._said(text if stop == ACTION else text + self._acted(self.after[thought], rng), thought)

    def _acted(self, p: Sequence[float], rng: np.random.Generator) -> str:
        return rng.choice([*self.actions, "dance"], p=[*p, max(0.0, 1 - sum(p))]) + END_ACTION

    def _said(self, text: str, thought: str | None = None) -> Reply:
        first = 0.0 if thought is None else math.log(self.thoughts[thought])
        logps = (first, *(0.0,) * (len(text) - 1))
        return Reply(tuple(self.encode(text)), logps, text.rstrip("\0"), truncated=text == "...")

    def _first(self, prompt: str) -> Sequence[float]:
        """What it does where the action comes first."""
        if "nothing else" in prompt:
            return self.act_first if self.no_think is None else self.no_think
        return self.act_first

    def action_logprobs(
        self,
        prefixes: Sequence[Sequence[int]],
        candidates: Sequence[Sequence[Sequence[int]]],
        *,
        temperature: float = 1.0,
    ) -> list[np.ndarray]:
        self.temperatures.add(temperature)
        return [
            np.array([self._logp(self.decode(prefix), self.decode(ids)) for ids in listed])
            for prefix, listed in zip(prefixes, candidates, strict=True)
        ]

    def _logp(self, prefix: str, continuation: str) -> float:
        reply = prefix.rpartition("\nA:")[2]
        written = reply + continuation
        if reply.startswith(THINK):
            p = self.after[reply.removeprefix(THINK).partition(END_THINK)[0]]
            if self.tagless and not prefix.endswith(ACTION):
                return -math.inf
        else:
            assert prefix.endswith(ACTION), prefix
            p = self._first(prefix)
            if "nothing else" not in prefix:
                self.prompts.append(prefix)
        action = written.rpartition(ACTION)[2].removesuffix(END_ACTION)
        value = p[self.actions.index(action)]
        return math.log(value) if value else -math.inf


def probes(actions: tuple[str, ...], games: int = 12, each: int = 1) -> list[Probe]:
    """States that the policy above acts in."""
    first = Observation("A room. Your task is to: leave.", "leave.", ("north", *actions))
    state = Observation("Another room.", "leave.", actions)
    return [
        Probe(f"game {g}", "leave", (first, state), ("north",), "expert", "early")
        for g in range(games)
        for _ in range(each)
    ]
