"""Which episodes a report shows, and why: drawn by the run's seed or chosen by a measurement, never picked by hand."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from actre.config import derive_seed
from actre.types import ORDERS, SCORES, Trajectory
from actre.view.names import order_name
from actre.view.records import RunRecord

_T = TypeVar("_T")
_MORE = 1
"""Episodes per order that are scored beside the drawn ones, as candidates for "differ most"."""


@dataclass(frozen=True)
class Shown:
    """One of the report's exhibits: its title, why it was chosen, and one or two episodes with their names.

    group: the run's name, or a heading for several runs. step: the first step to show, from 0.
    """

    group: str
    title: str
    why: str
    episodes: tuple[tuple[str, Trajectory], ...]
    step: int = 0


def choose(runs: Sequence[RunRecord]) -> list[Shown]:
    """For each run: a won and a lost episode per order, and the one whose orders differ most; then two endings.

    Episodes are drawn from the evaluation after training (on unseen games if there are any), or else from the last
    training iteration. The orders are compared in the scored episodes only. Two endings are one game that two runs, or
    one run before and after training, end differently. Exhibits without a candidate are left out. Each run's own seed
    draws, so a run shows the same episodes alone and beside others.
    """
    shown: list[Shown] = []
    for run in runs:
        for order, pool in _pools(run).items():
            for won in (True, False):
                drawn = _drawn(run, order, pool, won)
                shown += [] if drawn is None else [drawn]
        most = _differ_most(run)
        shown += [] if most is None else [most]
    return shown + [one for pair in _pairs(runs) if (one := _two_endings(pair)) is not None]


def to_score(runs: Sequence[RunRecord]) -> list[tuple[RunRecord, list[Trajectory]]]:
    """The episodes of each run to score for a report: those that `choose` draws, and `_MORE` per order."""
    drawn = [episode for one in choose(runs) for _, episode in one.episodes]
    found = []
    for run in runs:
        own = {id(t) for t in (*run.before, *run.after, *run.last)}
        wanted = [t for t in drawn if id(t) in own]
        for order, pool in _pools(run).items():
            rest = sorted(pool, key=lambda t: t.game)
            random.Random(derive_seed(run.seed or 0, "report", "more", order)).shuffle(rest)
            wanted += rest[:_MORE]
        found.append((run, list({id(t): t for t in wanted}.values())))
    return found


def with_scores(run: RunRecord, episode: Trajectory) -> Trajectory:
    """The episode's scored copy, or the episode itself."""
    wanted = identity(episode)
    return next((t for t in run.scored if identity(t) == wanted), episode)


def identity(t: Trajectory) -> tuple[object, ...]:
    """A key shared by an episode and its scored copy, unique within a run."""
    return (t.game, t.order, t.seed, t.meta.get("when"), tuple(step.reply_text for step in t.steps))


def _pools(run: RunRecord) -> dict[str, list[Trajectory]]:
    """The candidates by order, think-first first."""
    episodes = run.after or run.last
    orders = [order for order in ("think_first", *ORDERS) if any(t.order == order for t in episodes)]
    return {order: _preferred(run, [t for t in episodes if t.order == order]) for order in dict.fromkeys(orders)}


def _drawn(run: RunRecord, order: str, pool: Sequence[Trajectory], won: bool) -> Shown | None:
    ending = "won" if won else "lost"
    fitting = [t for t in pool if t.won == won]
    drawn = _draw(fitting, run.seed or 0, f"{order} {ending}")
    if drawn is None:
        return None
    when = "after training" if run.after else "last iteration"
    title = f"{order_name(order)}, {ending}"
    why = f"drawn by the seed from the {len(fitting)} of {len(pool)} with this ending"
    return Shown(run.name, title, why, ((f"{run.name}, {when}", with_scores(run, drawn)),))


def _differ_most(run: RunRecord) -> Shown | None:
    """The scored episode after training with the largest mean divergence of the two orders over its steps."""
    scored = [t for t in run.scored if t.meta.get("when", "after") == "after"]
    found = [(sum(apart) / len(apart), t) for t in scored if (apart := _divergences(t))]
    if len(found) < 2:
        return None
    mean, most = max(found, key=lambda one: one[0])
    at = max(range(len(most.steps)), key=lambda i: _divergence(most, i) or 0.0)
    why = (
        f"of the {len(found)} scored episodes of this run, the one with the largest Jensen-Shannon divergence between "
        f"acting first and thinking first (at most 0.69 nats): {mean:.2f} on average over its steps, and "
        f"{_divergence(most, at):.2f} at step {at + 1}, where it opens"
    )
    when = "after training" if run.after else "last iteration"
    return Shown(run.name, "where its two orders differ most", why, ((f"{run.name}, {when}", most),), at)


def _divergences(t: Trajectory) -> list[float]:
    return [value for i in range(len(t.steps)) if (value := _divergence(t, i)) is not None]


def _divergence(t: Trajectory, step: int) -> float | None:
    scores = t.meta.get(SCORES)
    one = scores[step] if isinstance(scores, list) and step < len(scores) else None
    value = one.get("js") if isinstance(one, dict) else None
    return float(value) if isinstance(value, int | float) else None


@dataclass(frozen=True)
class _Side:
    """One side of a comparison: a run at one time."""

    run: RunRecord
    when: str
    episodes: Sequence[Trajectory]

    @property
    def name(self) -> str:
        return f"{self.run.name}, {self.when} training"


def _pairs(runs: Sequence[RunRecord]) -> list[tuple[_Side, _Side]]:
    """The compared runs; for a single run, before and after training."""
    if len(runs) == 1:
        return [(_Side(runs[0], "before", runs[0].before), _Side(runs[0], "after", runs[0].after))]
    return [(_Side(a, "after", a.after), _Side(b, "after", b.after)) for a, b in compared(runs)]


def compared(runs: Sequence[RunRecord]) -> list[tuple[RunRecord, RunRecord]]:
    """The pairs of runs to compare: in each folder the first with the others; across folders equal arms.

    Runs of one folder share seed and start (a quickstart's arms). A run of a later folder is compared with the first
    folder's run of the same arm, or else with its first run.
    """
    pairs: list[tuple[RunRecord, RunRecord]] = []
    by_folder: dict[object, list[RunRecord]] = {}
    for run in runs:
        by_folder.setdefault(run.folder.resolve().parent, []).append(run)
    for together in by_folder.values():
        pairs += [(together[0], other) for other in together[1:]]
    first, *later = by_folder.values()
    for run in (run for together in later for run in together):
        pairs.append((next((one for one in first if one.arm == run.arm), first[0]), run))
    return pairs


def _two_endings(pair: tuple[_Side, _Side]) -> Shown | None:
    """One game that two runs, or one run before and after training, end differently."""
    one, other = pair
    same = _same_game(_preferred(one.run, one.episodes), _preferred(other.run, other.episodes))
    differ = [both for both in same if both[0].won != both[1].won]
    drawn = _draw(differ, one.run.seed or 0, "differ")
    if drawn is None:
        return None
    why = f"drawn by the seed from the {len(differ)} of {len(same)} games that end differently"
    sides = ((side.name, with_scores(side.run, t)) for side, t in zip(pair, drawn, strict=True))
    return Shown("One game, two endings", _heading(pair), why, tuple(sides))


def _heading(pair: tuple[_Side, _Side]) -> str:
    one, other = (side.run.name for side in pair)
    return "before and after training" if one == other else f"{one} and {other}"


def _preferred(run: RunRecord, trajectories: Sequence[Trajectory]) -> list[Trajectory]:
    """The think-first episodes on unseen games, each criterion only if any episode meets it."""
    unseen = {result.game for result in run.all_results if result.panel == "unseen"}
    kept = list(trajectories)
    keeps: tuple[Callable[[Trajectory], bool], ...] = (lambda t: t.order == "think_first", lambda t: t.game in unseen)
    for keep in keeps:
        kept = [t for t in kept if keep(t)] or kept
    return kept


def _same_game(first: Sequence[Trajectory], second: Sequence[Trajectory]) -> list[tuple[Trajectory, Trajectory]]:
    by_game = {t.game: t for t in second}
    return [(t, by_game[t.game]) for t in first if t.game in by_game]


def _draw(pool: Sequence[_T], seed: int, name: str) -> _T | None:
    return random.Random(derive_seed(seed, "report", name)).choice(pool) if pool else None
