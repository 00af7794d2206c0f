"""Success by panel, order and task type from evaluated episodes, with 95 % intervals and paired differences."""

from collections.abc import Sequence
from typing import NamedTuple

from actre.entropy import MIN_GAMES
from actre.rollout.evaluate import EpisodeResult, When, paired_difference
from actre.stats import Interval, wilson
from actre.view.records import RunRecord

PANELS = ("unseen", "seen")
ORDER = "think_first"
"""The order in which runs are compared: training ends in it, and the primary endpoint is defined in it."""


class Group(NamedTuple):
    """One panel played in one order."""

    panel: str
    order: str


def groups(runs: Sequence[RunRecord]) -> list[Group]:
    """The panels and orders that were evaluated, unseen before seen and think-first first."""
    found = {Group(e.panel, e.order) for run in runs for e in run.all_results}
    orders = ("think_first", "act_first", "no_think")
    return sorted(found, key=lambda g: (_place(g.panel, PANELS), g.panel, _place(g.order, orders)))


def pick(run: RunRecord, when: When, group: Group, task_type: str | None = None) -> list[EpisodeResult]:
    """The run's episodes of one evaluation."""
    return [
        r for r in run.results[when] if (r.panel, r.order) == group and (task_type is None or r.task_type == task_type)
    ]


def task_types(runs: Sequence[RunRecord]) -> list[str]:
    """All evaluated task types."""
    return sorted({e.task_type for run in runs for e in run.all_results})


def success(results: Sequence[EpisodeResult]) -> Interval | None:
    """The share of games won, with its 95 % interval; None without episodes."""
    return wilson(sum(r.won for r in results), len(results)) if results else None


def difference(before: Sequence[EpisodeResult], after: Sequence[EpisodeResult]) -> Interval | None:
    """Success after minus before, paired on shared games; None for fewer than MIN_GAMES, too few for a bootstrap.

    Differs from `evaluate.paired_difference`: unpaired games of an interrupted evaluation are left out.
    """
    shared = {r.game for r in before} & {r.game for r in after}
    if len(shared) < MIN_GAMES:
        return None
    return paired_difference([r for r in before if r.game in shared], [r for r in after if r.game in shared])


def same_start(runs: Sequence[RunRecord], group: Group) -> bool:
    """Whether all runs have the same results before training, so that one mark can show them."""
    starts = [sorted((e.game, e.won) for e in pick(run, "before", group)) for run in runs]
    return bool(starts) and bool(starts[0]) and all(s == starts[0] for s in starts)


def _place(value: str, known: Sequence[str]) -> int:
    return known.index(value) if value in known else len(known)
