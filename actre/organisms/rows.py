"""Expert episodes as training rows: token ids as in acting, and a weight for each id.

Prompts come from `actre.orders.Renderer`, so that pretraining and acting agree. An episode gives one row per order,
with the same thoughts and actions.
"""

import random
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol

import numpy as np

from actre.config import PromptConfig
from actre.envs.demo import Demo, DemoStep
from actre.orders import Renderer
from actre.orders.chat import chat_format
from actre.types import ORDERS, Observation, Order, Step, read_jsonl, write_jsonl

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

Wording = Literal["shared", "instructed"]
_NAME = re.compile(r"[a-z]+ [0-9]+")
WORDINGS: tuple[Wording, ...] = ("shared", "instructed")


class Row(NamedTuple):
    """One episode as one sequence. weights[t]: the weight of predicting ids[t]."""

    ids: np.ndarray  # (T,) int32
    weights: np.ndarray  # (T,) float32
    possible: tuple[tuple[int, tuple[int, ...]], ...] = ()
    """Positions of trained names, each with the ids of all names that would have been possible there."""


@dataclass(frozen=True)
class Mix:
    """The mixture of rows, and their weights."""

    instructed: float = 0.2
    """Share of episodes whose prompt describes the order ("instructed"); the others share one wording."""
    bare: float = 0.2
    """Share of episodes whose first steps have no thoughts, as in probe states."""
    slips: float = 0.08
    """Probability, before each step, of a slip: an action that the engine refuses. It is not trained, but what follows
    is, so that the policy learns to continue after "Nothing happens."."""
    observation_weight: float = 0.2
    """Weight of an observation's tokens (a reply's have 1). Predicting them teaches copying."""
    only_copies: bool = False
    """Train only on those tokens of an observation that occurred earlier in the episode, because a shop's pages are
    long and new text on them cannot be predicted."""


class Possible(Protocol):
    """The names that are possible after the text so far."""

    def options(self, token: int) -> tuple[int, ...]:
        """All names that could replace `token` now; empty if it is not such a name."""

    def after(self, said: DemoStep, accepted: bool) -> None:
        """Update with one step and its observation."""


Reader = Callable[[Demo, Callable[[str], list[int]]], Possible]
"""(episode, encode) -> the names possible at its start."""


def renderers(
    tokenizer: "PreTrainedTokenizerFast", world: Literal["text", "shop"] = "text"
) -> dict[tuple[Wording, Order], Renderer]:
    """Renderers for both wordings and all three orders, with a shared cache of encoded texts."""

    @lru_cache(maxsize=1 << 16)
    def cached(text: str) -> tuple[int, ...]:
        return tuple(tokenizer.encode(text, add_special_tokens=False))

    def encode(text: str) -> list[int]:
        return list(cached(text))

    chat = chat_format(tokenizer)
    return {
        (wording, order): Renderer(
            encode, chat, PromptConfig(world=world, wording=wording), order, tokenizer.eos_token_id
        )
        for wording in WORDINGS
        for order in ORDERS
    }


def row(
    demo: Demo,
    renderer: Renderer,
    *,
    bare: int = 0,
    observation_weight: float = 0.2,
    only_copies: bool = False,
    reader: Reader | None = None,
) -> Row:
    """One episode in one order. The first `bare` steps are history without thoughts and are not trained.

    reader: determines the possible names; None: `Place`.

    Weights: 1 for replies, their end mark and opening tags; `observation_weight` for observations; 0 for the first
    prompt, for new text in observations (only_copies), for the given history, and for replies that the engine refuses.
    """
    seen = [Observation(demo.first, demo.task, ())]
    seen += [Observation(step.observation, demo.task, ()) for step in demo.steps]
    ids: list[int] = []
    weights: list[float] = []
    steps: list[Step] = []
    possible: list[tuple[int, tuple[int, ...]]] = []
    place = (reader or Place)(demo, renderer.encode)
    for said, listed in zip(demo.steps[:bare], demo.admissible, strict=False):
        place.after(said, listed)
    learned = 0.0
    for t in range(bare, len(demo.steps)):
        if t == bare and bare:
            prompt = renderer.probe_prompt(seen[: t + 1], [step.action for step in demo.steps[:t]])
        else:
            prompt = renderer.prompt(steps, seen[t])
        new = len(prompt) - len(ids)
        seen_ids = set(ids) if only_copies else None
        answer = [observation_weight * (seen_ids is None or i in seen_ids) for i in prompt[len(ids) + 1 :]]
        weights += [0.0] * new if t == bare else [learned, *answer]
        learned = 1.0 if demo.admissible[t] else 0.0
        weights[-1] = learned  # the opening tag, which a free reply must choose
        reply = renderer.reply_ids(demo.steps[t].thought, demo.steps[t].action)
        weights += [learned] * len(reply)
        ids = [*prompt, *reply]
        if demo.admissible[t]:
            options = ((len(prompt) + n, place.options(token)) for n, token in enumerate(reply))
            possible += [(at, names) for at, names in options if names]
        said = demo.steps[t]
        place.after(said, demo.admissible[t])
        steps.append(Step(seen[t], prompt, tuple(reply), (), "", said.thought, said.action, (), 0.0))
    return Row(np.array(ids, np.int32), np.array(weights, np.float32), tuple(possible))


class Place:
    """The agent's place in a house according to the text so far, and the names that are possible there.

    It tracks what is there and where the agent was, but not the task.
    """

    def __init__(self, demo: Demo, encode: Callable[[str], list[int]]) -> None:
        self._encode = encode
        self.receptacles = set(self._ids(demo.first.partition("Your task")[0]))
        self.here: int | None = None
        self.visited: set[int] = set()
        self.there: set[int] = set()
        self.seen: set[int] = set()
        self.held: int | None = None

    def _ids(self, text: str) -> list[int]:
        return [self._encode(name)[0] for name in _NAME.findall(text)]

    def options(self, token: int) -> tuple[int, ...]:
        """All names that could replace `token`; empty if it is not a name that was seen.

        A receptacle: only the current one if the token is that; any unvisited one if it is unvisited; else any but the
        current one. An object: the held one if the token is that; any that is here if it is here; else any that was
        seen.
        """
        if token in self.receptacles:
            if token == self.here:
                return (token,)
            out = self.visited if token not in self.visited else {self.here}
            return tuple(sorted(self.receptacles - out))
        if token == self.held:
            return (token,)
        return tuple(sorted(self.there if token in self.there else self.seen if token in self.seen else ()))

    def after(self, said: DemoStep, accepted: bool) -> None:
        """Update with one step and its observation."""
        if not accepted:
            return
        verb, names = said.action.partition(" ")[0], self._ids(said.action)
        if verb == "go":
            self.here, self.there = names[0], set()
            self.visited.add(names[0])
        elif verb == "take":
            self.held = names[0]
            self.there.discard(names[0])
        elif verb == "move":
            self.held = None
            self.there.add(names[0])
        elif verb == "close":
            self.there = set()
        if verb in ("go", "open") or (verb == "examine" and names[0] == self.here):
            self.there = set(self._ids(said.observation.partition("you see ")[2])) - self.receptacles
            self.seen |= self.there


REFUSED = "Nothing happens."


def with_slips(demo: Demo, others: Sequence[Demo], share: float, rng: random.Random) -> Demo:
    """The episode with slips inserted: steps that the engine would refuse and that do not change the state.

    A slip is a step from `others` that names something not seen so far, or one that goes where the agent already is.
    """
    steps: list[DemoStep] = []
    admissible: list[bool] = []
    seen = set(_NAME.findall(demo.first))
    for said, listed in zip(demo.steps, demo.admissible, strict=True):
        while rng.random() < share:
            slip = _slip(steps, seen, others, rng)
            if slip is not None:
                steps.append(slip)
                admissible.append(False)
        steps.append(said)
        admissible.append(listed)
        seen.update(_NAME.findall(said.observation))
    return demo._replace(steps=tuple(steps), admissible=tuple(admissible))


def _slip(steps: Sequence[DemoStep], seen: set[str], others: Sequence[Demo], rng: random.Random) -> DemoStep | None:
    if steps and steps[-1].action.startswith("go to ") and rng.random() < 0.3:
        return DemoStep(steps[-1].thought, steps[-1].action, REFUSED)
    for _ in range(8):
        thought, action, _ = rng.choice(rng.choice(others).steps)
        if not seen.issuperset(_NAME.findall(action)):
            return DemoStep(thought, action, REFUSED)
    return None


def rows(
    demos: Sequence[Demo],
    prompts: dict[tuple[Wording, Order], Renderer],
    mix: Mix,
    seed: int,
    longest: int,
    orders: Sequence[Order] = ORDERS,
    reader: Reader | None = None,
) -> list[Row]:
    """Every episode in each order, with the same wording and the same bare steps.

    Episodes of more than `longest` tokens in any order are left out in all.
    """
    rng = random.Random(f"actre rows {seed}")
    made: list[Row] = []
    for plain in demos:
        demo = with_slips(plain, demos, mix.slips, rng)
        wording: Wording = "instructed" if rng.random() < mix.instructed else "shared"
        bare = rng.randrange(1, len(demo.steps)) if rng.random() < mix.bare and len(demo.steps) > 1 else 0
        each = [
            row(
                demo,
                prompts[wording, order],
                bare=bare,
                observation_weight=mix.observation_weight,
                only_copies=mix.only_copies,
                reader=reader,
            )
            for order in orders
        ]
        if max(len(r.ids) for r in each) <= longest:
            made += each
    return made


def batches(made: Sequence[Row], max_tokens: int, seed: int) -> Iterator[list[Row]]:
    """Endless batches of rows of similar length, at most `max_tokens` padded tokens each, reshuffled in every pass."""
    if not made:
        return
    for turn in range(10**9):
        rng = random.Random(f"actre batches {seed} {turn}")
        order = list(range(len(made)))
        rng.shuffle(order)
        found: list[list[Row]] = []
        for start in range(0, len(order), 1024):
            # sort by length within a part only, so that batches differ between passes
            part = sorted(order[start : start + 1024], key=lambda i: len(made[i].ids))
            batch: list[Row] = []
            for i in part:
                if batch and len(made[i].ids) * (len(batch) + 1) > max_tokens:
                    found.append(batch)
                    batch = []
                batch.append(made[i])
            found.append(batch)
        rng.shuffle(found)
        yield from found


class Batch(NamedTuple):
    """Rows as arrays: ids and weights (B, T); possible: row, position, ids (see `Row.possible`)."""

    ids: np.ndarray
    weights: np.ndarray
    possible: list[tuple[int, int, tuple[int, ...]]]


def pad(batch: Sequence[Row], pad_id: int) -> Batch:
    """A batch of rows, padded on the right with weight 0."""
    longest = max(len(r.ids) for r in batch)
    ids = np.full((len(batch), longest), pad_id, np.int32)
    weights = np.zeros((len(batch), longest), np.float32)
    for n, r in enumerate(batch):
        ids[n, : len(r.ids)] = r.ids
        weights[n, : len(r.ids)] = r.weights
    return Batch(ids, weights, [(n, at, names) for n, r in enumerate(batch) for at, names in r.possible])


def cached_demos(path: Path, make: Callable[[], Iterable[Demo]]) -> list[Demo]:
    """The episodes in a file, or those that `make` plays, which are then saved in it."""
    if not path.exists():
        write_jsonl(path, (demo._asdict() for demo in make()))
    return [_demo(record) for record in read_jsonl(path)]


def _demo(record: dict[str, Any]) -> Demo:
    steps = tuple(DemoStep(*step) for step in record.pop("steps"))
    return Demo(steps=steps, admissible=tuple(record.pop("admissible")), **record)
