"""WebShop's own interface: `WebAgentTextEnv(...).reset(session)`, then `step(action)` -> (text, reward, done, None).

Follows princeton-nlp/WebShop@64fa2a5 (web_agent_text_env.py). An int as session is the goal of that number; a name
keeps the goal drawn for it; None draws both. Play continues after a purchase, and there is no limit of steps.

Differs: the mode "html", images, attributes on pages and windows of earlier observations are not here; prices and drawn
sessions come from generators of their own with `seed`; an action that is no string has no effect; `as_original=True`
turns on the prefixes of a query (docs/webshop.md).
"""

import random
import string
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from actre.envs.compat.sessions import Server, catalogue_of
from actre.envs.webshop import WebshopEnv
from actre.envs.webshop.pages import Mode
from actre.types import ActreError

_ENDLESS = 10**9


class WebAgentTextEnv:
    """One shopper. Give environments that play the same shop one `server` (`first.server`).

    file_path, num_products: see `catalogue_of`. filter_goals: (number, goal as a dict) -> whether to keep it. seed: of
    the prices, price limits and drawn sessions. The other arguments are the original's.
    """

    def __init__(
        self,
        observation_mode: Mode = "text",
        file_path: str | Path | None = None,
        server: Server | None = None,
        *,
        num_products: int | None = None,
        human_goals: bool = False,
        limit_goals: int = -1,
        filter_goals: Callable[[int, Any], bool] | None = None,
        session: str | int | None = None,
        session_prefix: str | None = None,
        seed: int = 0,
        as_original: bool = False,
        **left_out: Any,
    ) -> None:
        if limit_goals != -1 or any(value for name, value in left_out.items() if name != "attr_path"):
            asked = sorted(name for name, value in {"limit_goals": limit_goals + 1, **left_out}.items() if value)
            raise ActreError(f"{', '.join(asked)}: not here; filter_goals chooses goals (docs/worlds.md)")
        self.server = server or Server(catalogue_of(file_path, num_products), bool(human_goals), seed, filter_goals)
        kind = self.server.all.kind
        self._env = WebshopEnv(
            self.server.shop, _ENDLESS, observation_mode, kind=kind, goal_seed=self.server.seed, as_original=as_original
        )
        self._named, self.session_prefix, self._drawn = session, session_prefix, ""
        self.seed(seed)
        self.reset()

    def seed(self, seed: int) -> None:
        """The seed of the sessions that `reset()` draws."""
        self._rng = random.Random(seed)

    def reset(self, session: str | int | None = None, instruction_text: str | None = None) -> tuple[str, None]:
        """Start a session."""
        session = self._named if session is None else session
        number = session if isinstance(session, int) else None
        name = "".join(self._rng.choices(string.ascii_lowercase, k=10)) if session is None else str(session)
        self.server.user_sessions.pop(self._drawn, None)  # nobody asks for it again, and it would be held forever
        self.session = f"{self.session_prefix or ''}{name}"
        self._drawn = self.session if session is None else ""
        goal = self.server.goal_of(self.session, number, self._rng)
        self.observation, _ = self._env.reset(options={"goal": goal})
        self.instruction_text = instruction_text or self.get_instruction_text()
        return self.observation, None

    def step(self, action: Any) -> tuple[str, float, bool, None]:
        """Send `search[words]` or `click[text]`; anything else has no effect."""
        self.observation, reward, done, _, info = self._env.step(action if isinstance(action, str) else "")
        if done:
            self.server.user_sessions.get(self.session, {}).update(done=True, verbose_info=info["parts"], reward=reward)
            self._env.restore(replace(self._env.snapshot(), over=False))  # the original plays on
        return self.observation, reward, done, None

    def get_available_actions(self) -> dict[str, Any]:
        """{"has_search_bar": bool, "clickables": texts in lower case}."""
        return self._env.available_actions()

    def get_instruction_text(self) -> str:
        """The instruction as the page shows it."""
        return f"Instruction: {self.server.all[self._env.snapshot().goal].instruction}"

    def render(self, mode: str = "text") -> str:
        """The page as it was last read."""
        return self.observation

    def close(self) -> None:
        """Nothing to end."""
