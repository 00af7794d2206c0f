"""A policy whose action entropies are known in closed form, in both orders; tokens are characters."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from actre.orders import ACTION, END_ACTION, END_THINK, THINK, ChatFormat, Renderer
from actre.probes import Probe
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
        assert stop == END_THINK
        self.calls += 1
        if self.calls > self.fail_after:
            raise KeyboardInterrupt
        self.temperatures.add(temperature)
        rng = np.random.default_rng(seed)
        names = list(self.thoughts)
        drawn = rng.choice(len(names), size=len(prompts), p=list(self.thoughts.values()))
        self.prompts += [self.decode(prompt) for prompt in prompts]
        return [self._reply(names[i]) for i in drawn]

    def _reply(self, name: str) -> Reply:
        text = {"...": "...", "end": "end\0"}.get(name, name + END_THINK)
        logps = (math.log(self.thoughts[name]), *(0.0,) * (len(text) - 1))
        return Reply(tuple(self.encode(text)), logps, text.rstrip("\0"), truncated=name == "...")

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
            if "nothing else" in prefix:
                p = self.act_first if self.no_think is None else self.no_think
            else:
                self.prompts.append(prefix)
                p = self.act_first
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
