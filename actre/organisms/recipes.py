"""Recipes: everything that determines a tiny policy, and the organisms with their dials.

A recipe has parts, each of which continues from the previous part's weights. An organism continues from a shipped
policy by two parts: how much of the action its thoughts say, in all orders alike, and then how narrow, and how wrong,
the think-first demonstrations are. Where nothing is to be contracted there is no second one. Orders may also be shown
two equal players from the first part on.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from actre.envs.alfworld.expert import Habits, Thoughts
from actre.envs.webshop import shopper
from actre.organisms.rows import Mix
from actre.types import ORDERS, Order


@dataclass(frozen=True)
class Part:
    """One part of pretraining. It continues from the previous part's weights with a new optimizer."""

    name: str
    tokens: int
    habits: tuple[Habits, ...] | tuple[shopper.Habits, ...]
    """The experts' behaviour; each expert plays `episodes` episodes of every game."""
    episodes: int
    orders: tuple[Order, ...] = ORDERS
    """The orders in which every episode is trained, repeated ones twice (no-think rows are half as long as others)."""
    think_first_habits: tuple[Habits, ...] | tuple[shopper.Habits, ...] = ()
    """Other experts for the think-first rows; empty: every order has the same episodes."""
    mix: Mix = field(default_factory=Mix)
    rate: float = 1.0
    """Factor on the recipe's learning rates."""
    falling: float = 0.35
    """Final share of the tokens over which the learning rates fall to zero."""
    drill: float = 0.0
    """Weight of the loss on possible names (see `row_loss`)."""


_FIRST = Part(
    name="pretrain",
    tokens=4_500_000,
    habits=(Habits(search="random", forget=0.7, random_moves=0.4),),
    episodes=6,
    mix=Mix(slips=0.1),
    falling=0.5,
    drill=4.0,
)


_PLAY = Part(
    name="play",
    tokens=8_000_000,
    habits=(
        Habits(search="listed", order_noise=0.15, random_moves=0.05, forget=0.3),
        Habits(search="random", random_moves=0.05, forget=0.3),
    ),
    episodes=5,
    mix=Mix(slips=0.1),
    falling=0.8,
    drill=4.0,
)

# The last part shows a worse player, which leaves room to learn. A better player comes first, because policies that
# only saw a bad one do not learn where things are and win almost nothing.
_WORSE = (
    Habits(search="random", random_moves=0.33, forget=0.65),
    Habits(search="listed", order_noise=0.3, random_moves=0.33, forget=0.65),
)
_HABITS = Part(
    name="habits",
    tokens=2_500_000,
    habits=_WORSE,
    episodes=4,
    orders=("think_first", "act_first", "no_think", "no_think"),
    mix=Mix(slips=0.1),
    rate=0.5,
    falling=1.0,
    drill=4.0,
)


@dataclass(frozen=True)
class Dials:
    """What distinguishes one organism from another."""

    thoughts: Thoughts
    """Transfer: how much of the action's own words a thought says, from "other" words to "said", the action first."""
    contraction: float
    """In [0, 1.2], how narrow and how wrong think-first's demonstrations are beside the others'. At 0 they are the
    same; at 1.2 they never wander and always forget, so that hardly a group of think-first's episodes differs in what
    it wins."""
    apart: bool = False
    """Whether think-first is shown another player from the first part on, which is no narrower: it searches in the
    reverse of the order in which the other orders' player searches. What one order learns then has less of a way into
    the other."""


@dataclass(frozen=True)
class Recipe:
    """Everything that determines a tiny policy."""

    seed: int = 0
    base: str = ""
    """A shipped policy from whose weights and vocabulary the first part continues; empty: fresh ones."""
    parts: tuple[Part, ...] = (_FIRST, _PLAY, _HABITS)
    """The world, then good play, then worse play that leaves room to learn: the expert searches in a poor order,
    wanders, and forgets to clean, heat and cool."""
    world: Literal["alfworld", "webshop"] = "alfworld"
    games: int = 600
    """New small games (or goals of new shops) that the experts play, the same in all parts."""
    max_steps: int = 20
    """Steps after which a demonstration is truncated."""
    layers: int = 4
    width: int = 128
    heads: int = 2
    """Two heads of 64 learned as fast per token as four of 32, at less cost."""
    learning_rate: float = 6e-3
    """Learning rate of embeddings and norms."""
    matrix_rate: float = 0.02
    """Learning rate of all other matrices."""
    warmup: int = 50
    """Warm-up of the learning rates, in updates."""
    batch_tokens: int = 4096
    weight_decay: float = 0.1
    betas: tuple[float, float] = (0.9, 0.98)
    sharpen: float = 2.0
    """Factor on the last norm's weight after training, so that temperature 1 then equals 1/sharpen before. A short
    training leaves too much probability on impossible actions."""
    bfloat16: bool = True
    longest: int = 1024
    """Longest row in tokens; longer ones are left out."""
    dials: Dials | None = None
    """An organism's dials."""

    @property
    def alike(self) -> bool:
        """Whether no order's experts are narrower or worse than another's."""
        if self.dials is not None:
            return not self.dials.contraction
        return not any(part.think_first_habits for part in self.parts)


_NARROW = Part(
    name="narrow",
    tokens=2_500_000,
    habits=(Habits(search="random", random_moves=0.33, forget=0.65),),
    episodes=6,
    orders=_HABITS.orders,
    think_first_habits=(Habits(search="listed", random_moves=0.05, forget=0.65),),
    mix=Mix(slips=0.1),
    rate=0.5,
    falling=1.0,
    drill=4.0,
)

_SHOPPING = Part(
    name="shopping",
    tokens=5_000_000,
    habits=(
        shopper.Habits(hit="first", careful=0.5, terms=0.8, forget=0.1),
        shopper.Habits(hit="match", careful=0.5),
        shopper.Habits(hit="random", careful=0.3, terms=0.7),
    ),
    episodes=1,
    mix=Mix(slips=0.0, observation_weight=0.2, only_copies=True),
    falling=0.5,
    drill=2.0,
)

# The last part shows worse shopping, which leaves room to learn: after the first part alone, 52-75 % of 40 episodes
# ended with the right purchase.
_HURRY = Part(
    name="hurry",
    tokens=500_000,
    habits=(
        shopper.Habits(hit="first", careful=0.5, terms=0.8, forget=0.1),
        shopper.Habits(hit="random", careful=0.2, terms=0.7, forget=0.2, hasty=0.1),
    ),
    episodes=1,
    mix=Mix(slips=0.0, observation_weight=0.2, only_copies=True),
    rate=0.5,
    falling=1.0,
    drill=2.0,
)


ORGANISMS: Mapping[str, Dials] = {
    "even-high": Dials("said", 0.0),
    "even-low": Dials("other", 0.0, apart=True),
    "contracted-high": Dials("said", 1.0),
    "contracted-low": Dials("other", 1.0),
    "middle": Dials("plain", 0.5),
    "even-plain": Dials("plain", 0.0),
    "contracted-plain": Dials("plain", 1.0),
    "half-other": Dials("other", 0.5),
    "half-said": Dials("said", 0.5),
}
"""The second study's: not contracted and contracted, transfer meant to be high and low, and one in between; then four
more for its map, so that every kind of thought meets every contraction."""


def organism(dials: Dials) -> Recipe:
    """The recipe of an organism: three million tokens from the neutral policy on, two more where it is contracted.

    Orders first learn the same play with the same thoughts, so that what one learns later can reach the other, and
    only then part: shown from the start, different play leaves them with little in common.

    At contraction c, think-first's expert searches in the listed order but for random steps (their share: 1 - c),
    wanders less (in 33 % of the steps, at 1 in 5 % and at 1.2 never) and forgets more often to clean, heat and cool (in
    65 % of the games, at 1 in 97 % and at 1.2 in all). Products are in float32, so that processors with and without
    bfloat16 make nearly the same policy.
    """
    thoughts, c = dials.thoughts, dials.contraction
    thinking = Habits(
        search="listed",
        order_noise=max(0.0, round(1 - c, 3)),
        random_moves=max(0.0, round(0.33 - 0.28 * c, 3)),
        forget=min(1.0, round(0.65 + 0.32 * c, 3)),
        thoughts=thoughts,
    )
    players = tuple(replace(one, thoughts=thoughts) for one in _WORSE)
    shared = replace(_HABITS, name="organism", tokens=3_000_000, habits=players)
    if dials.apart:
        one = players[1]
        other = replace(one, search="reversed")
        shared = replace(shared, name="apart", habits=(one,), think_first_habits=(other,), episodes=2 * shared.episodes)
    parting = replace(shared, name="contraction", tokens=2_000_000, think_first_habits=(thinking,))
    parts = (shared, parting) if c else (shared,)
    return Recipe(base="tiny/neutral", parts=parts, bfloat16=False, dials=dials)


RECIPES: Mapping[str, Recipe] = {
    "neutral": Recipe(),
    "narrow": Recipe(parts=(_FIRST, _PLAY, _NARROW)),
    "shopper": Recipe(parts=(_SHOPPING, _HURRY), world="webshop", games=4000, max_steps=8, batch_tokens=2048),
    **{name: organism(dials) for name, dials in ORGANISMS.items()},
}
"""Kind -> recipe. In narrow's last part the think-first expert searches in the listed order and seldom wanders, while
the other orders' expert searches at random and often wanders: thinking narrows by construction, as a positive
control."""


def recipe_of(made: Mapping[str, Any]) -> Recipe:
    """The recipe in a made.json, possibly of an earlier version, whose missing settings have their defaults.

    Raises TypeError for an unknown setting, KeyError for a missing part of it.
    """
    one: Any = shopper.Habits if made.get("world") == "webshop" else Habits

    def part(found: Mapping[str, Any]) -> Part:
        experts = {name: tuple(one(**habit) for habit in found.get(name, ())) for name in _EXPERTS}
        rest = {**found, "orders": tuple(found["orders"]), "mix": Mix(**found["mix"])}
        return Part(**{**rest, **experts})

    parts = tuple(part(found) for found in made["parts"])
    dials = Dials(**made["dials"]) if made.get("dials") else None
    return Recipe(**{**made, "parts": parts, "betas": tuple(made["betas"]), "dials": dials})


_EXPERTS = ("habits", "think_first_habits")
