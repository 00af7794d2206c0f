"""The inspector as a notebook widget, put together from data.py, live.py (its answers), static.py and the scripts."""

from typing import Any

import traitlets

from actre.config import RunConfig
from actre.entropy.episode_states import settings_for
from actre.types import Trajectory
from actre.view.inspector import data
from actre.view.inspector.assets import SCRIPTS, STYLES, parts
from actre.view.inspector.live import Live, Policies, named
from actre.view.inspector.static import page
from actre.view.inspector.widget import AnsweringWidget


class Inspector(AnsweringWidget):
    """Shows episodes in a notebook; make it the last expression of a cell.

    trajectories: a list of episodes, or {name of a run: its episodes}, which can then be compared. policy: None shows
    the recorded data; a policy scores every state, edits and branches; {name: policy} are checkpoints in order, on a
    slider. config: the settings of the episodes (None: the tiny preset's). env: the environment to branch in (None
    makes one from the settings). thoughts: K, sampled for each think-first distribution.
    Raises ActreError if there is no episode.
    """

    _esm = parts(SCRIPTS)
    _css = parts(STYLES)
    _index: Any = traitlets.List().tag(sync=True)
    _packed = traitlets.Bytes().tag(sync=True)
    _about = traitlets.Dict().tag(sync=True)

    def __init__(
        self,
        trajectories: data.Runs,
        policy: Policies = None,
        *,
        config: RunConfig | None = None,
        env: Any = None,
        thoughts: int = 8,
        seed: int = 0,
    ) -> None:
        found = data.entries(trajectories)
        policies = named(policy)
        config = config or settings_for(found[0].trajectory.env)
        self._shown = list(found)
        self._live = Live(found, policies, config, env=env, thoughts=thoughts, seed=seed)
        packed, count = data.pack(found)
        super().__init__(
            _index=data.index(found),
            _packed=packed,
            _about={"packed": count, "checkpoints": list(policies), "thoughts": thoughts if policies else 0},
        )

    @property
    def trajectories(self) -> list[Trajectory]:
        """The episodes, followed by those made by branching."""
        return [entry.trajectory for entry in self._live.entries]

    def static(self) -> str:
        """The episodes as HTML without a widget: a table, and some in full."""
        return page(self._shown)

    def _answer_to(self, request: dict[str, Any]) -> Any:
        answer = self._live.answer(request)
        if request.get("kind") == "branch":
            self._index = data.index(self._live.entries)  # a reloaded page lists them too
        return answer

    def __repr__(self) -> str:
        return f"Inspector of {len(self._shown)} episodes"
