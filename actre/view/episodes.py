"""Whole trajectories for reading: which ones a report shows, and how an episode reads as HTML.

Knows trajectories and `actre.view.html`; no charts. Which are shown is drawn by the run's seed, never by how
they look.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from actre.config import derive_seed
from actre.types import Step, Trajectory
from actre.view.html import Html, tag
from actre.view.names import arm_name, flag_words, order_name, task_name
from actre.view.records import RunRecord

_T = TypeVar("_T")


@dataclass(frozen=True)
class Shown:
    """One of the report's exhibits: why it is here, and one or two episodes with a title each."""

    title: str
    why: str
    episodes: tuple[tuple[str, Trajectory], ...]


def choose(runs: Sequence[RunRecord], seed: int) -> list[Shown]:
    """One episode won, one lost, and one game that ends differently; each drawn at random from all that qualify.

    The first run's evaluation after training is drawn from, think-first on unseen games where there are such; without
    an evaluation its last training iteration. The game that ends differently is compared between the first two runs,
    or before and after where there is one run. What nothing qualifies for is left out.
    """
    if not runs:
        return []
    first = runs[0]
    pool, when = (_preferred(first, first.after), "after training") if first.after else (first.last, "last iteration")
    shown = []
    for title, won in (("One episode won", True), ("One episode lost", False)):
        fitting = [t for t in pool if t.won == won]
        drawn = _draw(fitting, seed, title)
        if drawn is not None:
            ending = "won" if won else "lost"
            name = f"{arm_name(first.arm)}, {when}"
            why = f"Drawn by the seed from the {len(fitting)} of {len(pool)} episodes that were {ending} ({name})."
            shown.append(Shown(title, why, ((name, drawn),)))
    two = _two_endings(runs, seed)
    return shown if two is None else [*shown, two]


def _two_endings(runs: Sequence[RunRecord], seed: int) -> Shown | None:
    """One game that the first two runs end differently, or one run before and after training."""
    first = runs[0]
    if len(runs) > 1:
        names = [f"{arm_name(run.arm)}, after training" for run in runs[:2]]
        pools, between = [_preferred(run, run.after) for run in runs[:2]], "the two runs"
    else:
        names = [f"{arm_name(first.arm)}, {when} training" for when in ("before", "after")]
        pools, between = (
            [_preferred(first, played) for played in (first.before, first.after)],
            "before and after training",
        )
    pairs = _same_game(pools[0], pools[1])
    differ = [pair for pair in pairs if pair[0].won != pair[1].won]
    pair = _draw(differ, seed, "differ")
    if pair is None:
        return None
    why = f"Drawn by the seed from the {len(differ)} of {len(pairs)} games that end differently between {between}."
    return Shown("One game, two endings", why, tuple(zip(names, pair, strict=True)))


def _preferred(run: RunRecord, trajectories: Sequence[Trajectory]) -> list[Trajectory]:
    """The think-first episodes on unseen games, if there are any; else the think-first ones; else all."""
    unseen = {result.game for result in run.all_results if result.panel == "unseen"}
    think = [t for t in trajectories if t.order == "think_first"]
    return [t for t in think if t.game in unseen] or think or list(trajectories)


def _same_game(first: Sequence[Trajectory], second: Sequence[Trajectory]) -> list[tuple[Trajectory, Trajectory]]:
    by_game = {t.game: t for t in second}
    return [(t, by_game[t.game]) for t in first if t.game in by_game]


def _draw(pool: Sequence[_T], seed: int, name: str) -> _T | None:
    return random.Random(derive_seed(seed, "report", name)).choice(pool) if pool else None


def exhibit(shown: Shown) -> Html:
    """One exhibit as HTML: heading, why it is here, its episodes (two side by side on wide screens)."""
    css = "episodes two" if len(shown.episodes) == 2 else "episodes"
    blocks = [episode(trajectory, title) for title, trajectory in shown.episodes]
    return tag("section", tag("h3", shown.title), tag("p", shown.why, class_="soft"), tag("div", blocks, class_=css))


def episode(trajectory: Trajectory, title: str = "") -> Html:
    """An episode as a readable transcript: task, outcome, every step in the order in which it was written."""
    ending = "won" if trajectory.won else "lost"
    count = len(trajectory.steps)
    facts = [
        title or None,
        order_name(trajectory.order),
        task_name(trajectory.task_type),
        f"{count} step{'s' if count != 1 else ''}",
        f"return {trajectory.env_return:g}",
    ]
    task = trajectory.final.task or (trajectory.steps[0].observation.task if trajectory.steps else "")
    head = tag(
        "header",
        tag("p", tag("span", ending, class_=f"chip {ending}"), " ", task or "no task recorded", class_="task"),
        tag("p", " · ".join(fact for fact in facts if fact), class_="soft"),
        tag("p", trajectory.game, class_="soft mono"),
    )
    items = [step(one, number, trajectory.order) for number, one in enumerate(trajectory.steps, 1)]
    last = tag("li", tag("span", "end", class_="n"), tag("p", trajectory.final.text, class_="seen"), class_="step")
    return tag("article", head, tag("ol", items, last, class_="steps"), class_="episode")


def step(one: Step, number: int, order: str) -> Html:
    """One step: the observation, then thought and action in the order written, flags and reward."""
    thought = tag("p", one.thought, class_="thought") if one.thought else None
    action = tag("p", one.action, class_="action") if one.action is not None else None
    written = [action, thought] if order == "act_first" else [thought, action]
    if one.action is None and one.thought is None:
        written = [tag("p", f"wrote: {one.reply_text}", class_="mono")]
    chips = [tag("span", flag_words(flag), class_="chip flag") for flag in one.flags]
    if one.reward:
        chips.append(tag("span", f"reward {one.reward:+g}".replace("-", "−"), class_="chip"))
    return tag(
        "li",
        tag("span", tag("span", "step ", class_="hidden"), number, class_="n"),
        tag("p", one.observation.text, class_="seen"),
        written,
        tag("p", chips) if chips else None,
        class_="step",
    )
