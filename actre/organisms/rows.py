"""Turns an expert's episodes into training rows: ids as acting would build them, and a weight for each id.

Knows prompts only through `actre.orders.Renderer`, so pretraining and acting cannot disagree; knows no model.
An episode gives one row in each order that is to learn from it, with the same thoughts and actions.
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
    """One episode as one sequence. weights[t]: how much predicting ids[t] counts; same length as ids."""

    ids: np.ndarray  # (T,) int32
    weights: np.ndarray  # (T,) float32
    possible: tuple[tuple[int, tuple[int, ...]], ...] = ()
    """For learned names: their position, and the ids of all names that would have been possible there."""


@dataclass(frozen=True)
class Mix:
    """What the rows are a mixture of, and what counts in them."""

    instructed: float = 0.2
    """Share of episodes whose prompt describes the order ("instructed"); the others share one wording."""
    bare: float = 0.2
    """Share of episodes whose first steps stand as bare actions, without thoughts, as probe states have them."""
    slips: float = 0.08
    """Chance, before each step, of a slip: an action the engine refuses. It is not learned; what follows it is, so
    that the policy knows "Nothing happens." and goes on."""
    observation_weight: float = 0.2
    """Weight of an observation's tokens; a reply's have 1. Predicting them teaches copying."""
    only_copies: bool = False
    """Whether only those of an observation's tokens count that stood in the episode before: a shop's pages are long,
    and what is new on them cannot be foretold."""


class Possible(Protocol):
    """Which names the text so far makes possible."""

    def options(self, token: int) -> tuple[int, ...]:
        """All names that could stand where `token` does now; none if it is no such name."""

    def after(self, said: DemoStep, accepted: bool) -> None:
        """Take in one step and its answer."""


Reader = Callable[[Demo, Callable[[str], list[int]]], Possible]
"""(episode, encode) -> what its start makes possible."""


def renderers(
    tokenizer: "PreTrainedTokenizerFast", world: Literal["text", "shop"] = "text"
) -> dict[tuple[Wording, Order], Renderer]:
    """The prompts of both wordings and all three orders, with encoded texts kept."""

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
    """One episode in one order. The first `bare` steps are history without thoughts and are not learned.

    reader: knows which names are possible; None: `Place`.

    Weights: 1 for replies, their end mark and opening tags; `observation_weight` for what the environment answers;
    0 for the first prompt, for what is new in an answer (only_copies), for history that is only given, and for replies
    the engine would not accept.
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
    """What the text so far says of where the agent is: which names a sentence about now could hold.

    It knows what is there and where one was, and not what is wanted.
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
        """All names that could stand where `token` does; none if it is no name that was seen.

        A receptacle: here if the token is here; any where the agent was not yet if it is one of those, else any but
        here. A thing: the one in hand if the token is, any that lies here if it does, else any that was seen.
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
        """Take in one step and its answer."""
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
    """The episode with slips put in: steps that the engine would refuse, which leave the state as it is.

    A slip is a step of another episode that names something not seen here so far, or going where one stands.
    `others` gives the former.
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
    """Every episode in each of the orders, with the same wording and the same bare steps in all of them.

    Episodes that come out longer than `longest` tokens in any order are left out of all.
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
    """Endless batches of rows of like length, at most `max_tokens` padded tokens each; every pass shuffled anew."""
    if not made:
        return
    for turn in range(10**9):
        rng = random.Random(f"actre batches {seed} {turn}")
        order = list(range(len(made)))
        rng.shuffle(order)
        found: list[list[Row]] = []
        for start in range(0, len(order), 1024):
            # like lengths together, within a part only, so that batches still differ from pass to pass
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
    """Rows side by side: ids and weights of shape (B, T); possible: row, position, ids (see `Row.possible`)."""

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
    """The episodes in a file, or those that `make` plays, then kept in it."""
    if not path.exists():
        write_jsonl(path, (demo._asdict() for demo in make()))
    return [_demo(record) for record in read_jsonl(path)]


def _demo(record: dict[str, Any]) -> Demo:
    steps = tuple(DemoStep(*step) for step in record.pop("steps"))
    return Demo(steps=steps, admissible=tuple(record.pop("admissible")), **record)
