"""WebShop as a gymnasium environment: episodes, each with one purchase, and the step limit.

Pages are in pages.py, the reward is in reward.py. Observations equal the original's byte for byte.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import gymnasium

from actre.envs.spaces import AnyText
from actre.envs.webshop.catalogue import Catalogue
from actre.envs.webshop.goals import Goal, Kind, goals_of
from actre.envs.webshop.importer import open_catalogue
from actre.envs.webshop.pages import MODES, Mode, Shop, State
from actre.envs.webshop.reward import Score, attainable, score
from actre.types import ActreError

_TEXT = AnyText(max_length=1_000_000, min_length=0)
_ACTION = AnyText(max_length=1024, min_length=0)


@dataclass(frozen=True)
class Snapshot:
    """A state of an episode, for `WebshopEnv.restore`; can be pickled and restored in another environment."""

    catalogue: str
    kind: Kind
    seed: int
    goal: int
    state: State
    steps: int
    over: bool
    parts: Score | None


class WebshopEnv(gymnasium.Env[str, str]):
    """A shop and a shopper's goal.

    catalogue: a `Catalogue`, which any number of environments may share, or its folder.
    max_steps: the episode is truncated after this many steps, including those that have no effect.
    observation_mode: "text" (visible strings joined by " [SEP] ", without the chosen options), "text_rich" (marks
    buttons and chosen options) or "url" (the address only). kind, goal_seed: which `Goals` of the catalogue; goals are
    numbered in their order there. goals: the numbers that reset draws from, uniformly. Default: every goal that its own
    product can fulfil; keep_unattainable adds the others. reset takes any goal in `options={"goal": number}`.
    as_original: reproduce the original's exploits and crashes too (see `Shop`).

    An action is "search[words]" or "click[text]" with a text of the page, in any case. Any other action has no effect.
    reward: the purchase's, in [0, 1], on the step that buys; else 0. info: admissible_commands (list of str, in page
    order; "search[<query>]" stands for any search), won (bool: a purchase worth 1.0), task (the instruction), score
    (the purchase's reward, 0.0 before it), goal (its number), parts (dict of the reward's parts; {} before a
    purchase, since gymnasium's vectors cannot join None and a dict).

    Differs: the original draws goals by weight and prices from the global generator, continues after a purchase, and
    keeps every session forever.

    Raises ActreError for an unknown goal or option, another catalogue's snapshot, a catalogue without nouns, a step
    before reset or after the end, and an action that is not a str. The environment stays usable.
    """

    metadata: dict[str, Any] = {"render_modes": ["ansi"]}  # noqa: RUF012 (gymnasium's own name and form)

    def __init__(
        self,
        catalogue: Catalogue | str | Path,
        max_steps: int = 15,
        observation_mode: Mode = "text",
        *,
        kind: Kind = "synthetic",
        goal_seed: int = 0,
        goals: Sequence[int] | None = None,
        keep_unattainable: bool = False,
        as_original: bool = False,
        render_mode: str | None = None,
    ) -> None:
        if max_steps < 1:
            raise ActreError(f"max_steps is {max_steps}: an episode needs at least one step")
        if observation_mode not in MODES:
            raise ActreError(f"observation_mode is {observation_mode!r}: it is one of {', '.join(MODES)}")
        self.catalogue = catalogue if isinstance(catalogue, Catalogue) else _opened(str(catalogue))
        self.max_steps, self.observation_mode, self.render_mode = max_steps, observation_mode, render_mode
        if next(iter(self.catalogue.nouns), None) is None:
            raise ActreError(
                f"{self.catalogue.source}: has no noun table, and a purchase cannot be scored without it: make it with "
                "`actre webshop import FOLDER`"
            )
        self._goals = goals_of(self.catalogue, kind, goal_seed)
        self._pool = None if goals is None else [self._number(goal) for goal in goals]
        if self._pool == []:
            raise ActreError("goals is empty: there is nothing to shop for")
        if goals is None and keep_unattainable:
            self._pool = list(range(len(self._goals)))
        self._shop = Shop(self.catalogue, as_original=as_original)
        self._random = random.Random()  # for the random products of as_original
        self.observation_space = _TEXT.another()
        self.action_space = _ACTION.another()
        self._goal: Goal | None = None
        self._state, self._steps, self._over = State(), 0, True
        self._parts: Score | None = None

    @property
    def goals(self) -> Sequence[int]:
        """The numbers of the goals that reset draws from."""
        if self._pool is None:
            self._pool = list(attainable(self._goals, as_original=self._shop.as_original))
        return self._pool

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        """Start an episode. The same seed on the same goals draws the same goal."""
        super().reset(seed=seed)
        if seed is not None:
            self._random.seed(seed)
        options = options or {}
        if unknown := set(options) - {"goal"}:
            raise ActreError(f"reset has no option {sorted(unknown)}: it takes {{'goal': number}}")
        if "goal" in options:
            number = self._number(options["goal"])
        elif not self.goals:
            raise ActreError(
                f"{self.catalogue.source}: no goal can be fulfilled: keep_unattainable=True plays them still"
            )
        else:
            number = self.goals[int(self.np_random.integers(len(self.goals)))]
        self._enter(number, State(), 0, over=False, parts=None)
        return self._text, self._info()

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        """Send an action."""
        if self._goal is None:
            raise ActreError("the environment has not been reset: call reset() before step()")
        if self._over:
            raise ActreError("the episode is over: call reset() before the next step()")
        if not isinstance(action, str):
            raise ActreError(f"an action is a string such as 'search[shoes]', not {type(action).__name__} ({action!r})")
        bought = False
        target = self._shop.target(self._state, action)
        if target is not None:
            name, what = target
            lead = self._shop.search if name == "search" else self._shop.click
            after = lead(self._state, what, self._random)
            if bought := after.page == "done":
                parts = self._judge(after)
                self._parts, after = parts, after._replace(reward=parts.reward)
            self._state = after
            self._text = self._observe()
        self._steps += 1
        truncated = not bought and self._steps >= self.max_steps
        self._over = bought or truncated
        return self._text, self._state.reward if bought else 0.0, bought, truncated, self._info()

    def available_actions(self) -> dict[str, Any]:
        """The result of the original's get_available_actions: has_search_bar, and the clickables in lower case."""
        return {"has_search_bar": self._state.page == "search", "clickables": self._shop.clickables(self._state)}

    def snapshot(self) -> Snapshot:
        """The current state of the episode; cheap."""
        if self._goal is None:
            raise ActreError("the environment has not been reset: there is nothing to take a snapshot of")
        goals = self._goals
        where = self.catalogue.key, goals.kind, goals.seed, self._goal_number
        return Snapshot(*where, self._state, self._steps, self._over, self._parts)

    def restore(self, snapshot: Snapshot) -> tuple[str, dict[str, Any]]:
        """Return to a state of this or another environment's episode; returns its observation and info.

        The random generators are not restored.
        """
        goals = self._goals
        if (snapshot.catalogue, snapshot.kind, snapshot.seed) != (self.catalogue.key, goals.kind, goals.seed):
            raise ActreError(
                f"the snapshot is of {snapshot.kind} goals, seed {snapshot.seed}, catalogue {snapshot.catalogue}; this "
                f"environment has {goals.kind} goals, seed {goals.seed}, catalogue {self.catalogue.key}: "
                "make it with the same kind, goal_seed and catalogue"
            )
        number = self._number(snapshot.goal)
        self._enter(number, snapshot.state, snapshot.steps, over=snapshot.over, parts=snapshot.parts)
        return self._text, self._info()

    def render(self) -> str | None:  # type: ignore[override]
        """The last observation in render mode "ansi", else None."""
        return self._text if self.render_mode == "ansi" and self._goal is not None else None

    def _number(self, goal: Any) -> int:
        try:
            number = int(goal) if not isinstance(goal, str | bytes) else -1
        except (TypeError, ValueError):
            number = -1
        if not 0 <= number < len(self._goals) or number != goal:
            raise ActreError(f"there is no goal {goal!r}: the goals here are 0 to {len(self._goals) - 1}")
        return number

    def _enter(self, number: int, state: State, steps: int, *, over: bool, parts: Score | None) -> None:
        self._goal_number, self._goal = number, self._goals[number]
        self._state, self._steps, self._over, self._parts = state, steps, over, parts
        self._text = self._observe()

    def _observe(self) -> str:
        assert self._goal is not None
        return self._shop.observe(self._state, self._goal.instruction, str(self._goal_number), self.observation_mode)

    def _judge(self, state: State) -> Score:
        assert self._goal is not None
        product, nouns = self.catalogue.by_asin[state.asin], self.catalogue.nouns_of
        price = self._goals.prices[state.asin]
        return score(product, self._goal, price, dict(state.options), nouns(state.asin), nouns(self._goal.asin))

    def _info(self) -> dict[str, Any]:
        assert self._goal is not None
        return {
            "admissible_commands": self._shop.commands(self._state),
            "won": self._state.reward == 1.0,
            "task": self._goal.instruction.strip(),
            "score": self._state.reward,
            "goal": self._goal_number,
            "parts": {} if self._parts is None else self._parts._asdict(),
        }


@lru_cache(maxsize=4)
def _opened(folder: str) -> Catalogue:
    return open_catalogue(folder)
