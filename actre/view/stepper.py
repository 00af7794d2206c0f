"""A plain stepper over recorded episodes: buttons, a list, one step at a time. Knows trajectories; needs no policy.

Where no widget can show (a saved notebook, GitHub, nbconvert) the whole episode shows as a static transcript.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import ipywidgets as widgets

from actre.types import ActreError, Trajectory
from actre.view.episodes import episode, step
from actre.view.html import Html, tag
from actre.view.names import order_name, task_name

_STYLE = Path(__file__).with_name("stepper.css")


class Stepper:
    """Shows `trajectories` in a notebook, one step at a time; the last expression of a cell displays it.

    `at` is (episode, step), both from 0; `go` moves there. Raises ActreError without trajectories, or where one has no
    step.
    """

    def __init__(self, trajectories: Sequence[Trajectory]) -> None:
        if not trajectories or not all(t.steps for t in trajectories):
            raise ActreError("nothing to step through: give at least one trajectory, each with a step")
        self.trajectories = tuple(trajectories)
        self.at = (0, 0)
        names = [(_name(i, t), i) for i, t in enumerate(self.trajectories)]
        self._list = widgets.Dropdown(options=names, value=0, description="Episode", layout={"width": "auto"})
        self._buttons = {
            "first step": _button("|◀ first", "first step", lambda: self.go(self.at[0], 0)),
            "step back": _button("◀ step back", "the step before", lambda: self.go(self.at[0], self.at[1] - 1)),
            "next step": _button("next step ▶", "the step after", lambda: self.go(self.at[0], self.at[1] + 1)),
            "last step": _button("last ▶|", "last step", lambda: self.go(self.at[0], len(self._steps) - 1)),
        }
        self._head, self._pane = widgets.HTML(), widgets.HTML()
        self._list.observe(lambda change: self.go(change["new"], 0), names="value")
        buttons = widgets.HBox(list(self._buttons.values()), layout={"flex_flow": "row wrap"})
        self.widget = widgets.VBox([self._list, self._head, buttons, self._pane])
        self._draw()

    @property
    def _steps(self) -> tuple[Any, ...]:
        return self.trajectories[self.at[0]].steps

    def go(self, episode: int, step: int) -> None:
        """Show a step of an episode; beyond either end is the end."""
        episode = min(max(episode, 0), len(self.trajectories) - 1)
        self.at = (episode, min(max(step, 0), len(self.trajectories[episode].steps) - 1))
        if self._list.value != episode:
            self._list.value = episode  # comes back here through observe, at step 0
            self.at = (episode, min(max(step, 0), len(self._steps) - 1))
        self._draw()

    def _draw(self) -> None:
        trajectory, number = self.trajectories[self.at[0]], self.at[1]
        last = number == len(trajectory.steps) - 1
        for name in ("first step", "step back"):
            self._buttons[name].disabled = number == 0
        for name in ("next step", "last step"):
            self._buttons[name].disabled = last
        task = tag("p", trajectory.final.task, class_="task")
        facts = f"{order_name(trajectory.order)} · {task_name(trajectory.task_type)} · {_ending(trajectory)}"
        place = f"step {number + 1} of {len(trajectory.steps)}"
        self._head.value = _framed(tag("div", task, tag("p", f"{facts} · {place}", class_="soft", role="status")))
        shown = [step(trajectory.steps[number], number + 1, trajectory.order)]
        if last:
            shown.append(tag("li", tag("span", "end", class_="n"), tag("p", trajectory.final.text, class_="seen")))
        self._pane.value = _framed(tag("ol", shown, class_="steps"))

    def static(self) -> str:
        """The current episode as HTML that needs no widget."""
        return _framed(episode(self.trajectories[self.at[0]]))

    def _repr_mimebundle_(self, **_: Any) -> dict[str, Any]:
        view = {"version_major": 2, "version_minor": 0, "model_id": self.widget.model_id}
        return {
            "application/vnd.jupyter.widget-view+json": view,
            "text/html": self.static(),
            "text/plain": f"Stepper over {len(self.trajectories)} episodes",
        }


class Transcript:
    """A whole episode for reading; the last expression of a cell displays it."""

    def __init__(self, trajectory: Trajectory) -> None:
        self.trajectory = trajectory

    def _repr_html_(self) -> str:
        return _framed(episode(self.trajectory))


def _button(words: str, hint: str, act: Any) -> widgets.Button:
    button = widgets.Button(description=words, tooltip=hint, layout={"width": "auto"})
    button.on_click(lambda _: act())
    return button


def _name(index: int, trajectory: Trajectory) -> str:
    ending = _ending(trajectory)
    return f"{index + 1}: {ending}, {task_name(trajectory.task_type)}, {len(trajectory.steps)} steps"


def _ending(trajectory: Trajectory) -> str:
    return "won" if trajectory.won else "lost"


def _framed(content: Html) -> str:
    style = tag("style", Html(_STYLE.read_text(encoding="utf-8")))
    return tag("div", style, content, class_="actre-steps")
