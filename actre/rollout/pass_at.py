"""Several episodes of each game of a fixed panel: pass@k without bias, and how many of the episodes are different.

A policy that has collapsed wins no more games in 16 attempts than in one.
"""

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

from actre.config import RunConfig
from actre.orders import Renderer
from actre.policies import Policy
from actre.rollout.evaluate import panel_episodes
from actre.stats import Interval, bootstrap
from actre.types import ActreError, Order, Trajectory, read_jsonl, write_jsonl


@dataclass(frozen=True)
class Attempts:
    """One game of a panel, played `episodes` times: the wins, and how many distinct sequences of actions there were.

    steps: of all episodes; admissible: how many of these had an admissible action.
    """

    panel: str
    order: Order
    game: str
    task_type: str
    episodes: int
    won: int
    distinct: int
    steps: int
    admissible: int


class PassAt(NamedTuple):
    """A panel in one order. success: of single episodes, as pass@1. pass_at: k -> its value. Intervals are over games.

    distinct: the mean number of distinct trajectories a game. admissible: share of steps. steps: per episode.
    """

    panel: str
    order: Order
    games: int
    episodes: int
    pass_at: dict[int, Interval]
    distinct: float
    admissible: float
    steps: float


def pass_at(n: int, c: int, k: int) -> float:
    """The unbiased estimate, from n episodes of which c were won, that at least one of k is won.

    Source: Chen et al. 2021 (arXiv 2107.03374), equation 1: 1 - C(n - c, k) / C(n, k). The plug-in 1 - (1 - c/n)^k is
    biased downwards. Raises ValueError unless 1 <= k <= n and 0 <= c <= n.

    >>> pass_at(4, 1, 2), pass_at(4, 3, 2)
    (0.5, 1.0)
    """
    if not (1 <= k <= n and 0 <= c <= n):
        raise ValueError(
            f"pass@{k} from {c} won of {n} episodes: k must lie between 1 and {n}, and the wins from 0 to {n}"
        )
    return 1.0 - math.comb(n - c, k) / math.comb(n, k)


def actions_of(trajectory: Trajectory) -> tuple[str | None, ...]:
    """What makes a trajectory distinct: its sequence of actions, None where a step sent none."""
    return tuple(step.action for step in trajectory.steps)


def play_often(
    policy: Policy,
    envs: Sequence[Any],
    games: Sequence[str],
    *,
    panel: str,
    renderer: Renderer,
    config: RunConfig,
    temperature: float,
    episodes: int,
    seed: int,
    progress: Callable[[int], None] | None = None,
) -> list[Attempts]:
    """Play each game `episodes` times. A game in which the environment fails once is left out, with a warning.

    Raises ActreError for temperature 0, at which all episodes are the same, and as `rollout` and `must_start` do.
    """
    if temperature == 0:
        raise ActreError(
            "pass@k at temperature 0 plays the same episode again and again: set sampling.eval_temperature above 0"
        )
    played = panel_episodes(
        policy,
        envs,
        games,
        panel=panel,
        renderer=renderer,
        config=config,
        temperature=temperature,
        seed=seed,
        episodes=episodes,
        progress=progress,
    )
    return attempts(played, panel)


def attempts(played: Sequence[Trajectory], panel: str) -> list[Attempts]:
    """The episodes of each game as one record, in order of first appearance; games that failed once are left out."""
    by_game: dict[tuple[Order, str], list[Trajectory]] = defaultdict(list)
    for one in played:
        by_game[one.order, one.game].append(one)
    found = []
    for (order, game), group in by_game.items():
        if any("env_error" in one.meta for one in group):
            continue
        steps = [step for one in group for step in one.steps]
        found.append(
            Attempts(
                panel=panel,
                order=order,
                game=game,
                task_type=group[0].task_type,
                episodes=len(group),
                won=sum(one.won for one in group),
                distinct=len({actions_of(one) for one in group}),
                steps=len(steps),
                admissible=sum(s.action is not None and "inadmissible" not in s.flags for s in steps),
            )
        )
    return found


def summarised(found: Sequence[Attempts], ks: Iterable[int]) -> list[PassAt]:
    """Each panel and order, in order of first appearance. Raises ActreError for a k above the number of episodes."""
    rows = []
    for panel, order in dict.fromkeys((one.panel, one.order) for one in found):
        here = [one for one in found if (one.panel, one.order) == (panel, order)]
        fewest, wanted = min(one.episodes for one in here), sorted(set(ks))
        if wanted and wanted[-1] > fewest:
            raise ActreError(f"pass@{wanted[-1]} needs {wanted[-1]} episodes a game, and {panel} has {fewest}")
        steps = max(1, sum(one.steps for one in here))
        rows.append(
            PassAt(
                panel=panel,
                order=order,
                games=len(here),
                episodes=fewest,
                pass_at={k: _over_games([pass_at(one.episodes, one.won, k) for one in here]) for k in wanted},
                distinct=sum(one.distinct for one in here) / len(here),
                admissible=sum(one.admissible for one in here) / steps,
                steps=steps / sum(one.episodes for one in here),
            )
        )
    return rows


def save(path: Path, found: Sequence[Attempts], when: Literal["before", "after"]) -> None:
    """Add records to a pass_at.jsonl, in place of those of the same moment, panel and order."""
    fresh = [{"when": when, **asdict(one)} for one in found]
    replaced = {_place(record) for record in fresh}
    kept = [r for r in read_jsonl(path) if _place(r) not in replaced] if path.exists() else []
    write_jsonl(path, [*kept, *fresh])


def load(path: Path, when: Literal["before", "after"]) -> list[Attempts]:
    """The records of one moment. Raises ActreError for a damaged file."""
    try:
        return [
            Attempts(**{name: value for name, value in record.items() if name != "when"})
            for record in read_jsonl(path)
            if record["when"] == when
        ]
    except (KeyError, TypeError) as error:
        raise ActreError(f"{path} is not a record of `actre evaluate --pass-at` ({error}): remove it") from error


def _place(record: dict[str, Any]) -> tuple[Any, ...]:
    return record.get("when"), record.get("panel"), record.get("order")


def _over_games(values: Sequence[float]) -> Interval:
    """The mean over games with its bootstrap interval; one game has none."""
    if len(values) < 2:
        return Interval(values[0], math.nan, math.nan)
    return bootstrap(values, range(len(values)))
