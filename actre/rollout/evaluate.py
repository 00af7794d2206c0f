"""Plays fixed panels, each game exactly once; success rates and differences with intervals.

Seen and unseen panels are never pooled.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

import numpy as np

from actre.config import EnvConfig, RunConfig, derive_seed
from actre.envs import not_played as notplayed
from actre.envs.outside import BrokenContractError
from actre.envs.worlds import list_games, make_env, scripted
from actre.orders import Renderer
from actre.policies import Policy
from actre.stats import Interval, bootstrap, over_seeds, wilson
from actre.types import ActreError, Cut, Observation, Order, Trajectory, read_jsonl, write_jsonl

When = Literal["before", "after"]
Baseline = Literal["random", "rule"]
BASELINES: tuple[Baseline, ...] = get_args(Baseline)
"""Players without a model. random: any admissible action. rule: ALFWorld's searching expert; on WebShop, search for the
instruction, open the first hit, select the options it names, and buy."""


@dataclass(frozen=True)
class EpisodeResult:
    """One game of a panel, played once. env_return: sum of the environment's rewards.

    order: the policy's, or the baseline that played. cut: why the episode was truncated for its length, if it was; None
    in older records.
    """

    panel: str
    order: Order | Baseline
    game: str
    task_type: str
    won: bool
    steps: int
    env_return: float
    cut: Cut | None = None


class Played(NamedTuple):
    """A panel's results and episodes, in its order; a game that could not be played has an episode but no result."""

    results: list[EpisodeResult]
    trajectories: list[Trajectory]


class Summary(NamedTuple):
    """One panel and order, overall (task_type None) or of one task type.

    success: share of games won, with Wilson's interval. steps, env_return: means; return_interval: env_return with its
    interval over games, None for a single game. cut_context, cut_prompt: episodes truncated for their length.
    """

    panel: str
    order: Order | Baseline
    task_type: str | None
    games: int
    won: int
    success: Interval
    steps: float
    env_return: float
    return_interval: Interval | None
    cut_context: int = 0
    cut_prompt: int = 0


def panel_games(config: RunConfig, panel: str) -> list[str]:
    """The games of the settings' panel "train", "seen" or "unseen", or of any source that `list_games` takes.

    The settings' limits keep only the first ones. Raises ActreError if there are none.
    """
    env = panel_env(config, panel)
    return list_games(env.name, env.train)[: config.evaluation.limit_of(panel)]


def must_have_games(config: RunConfig, panels: Sequence[str]) -> None:
    """Raises ActreError if games of training or of these panels are not there: before a model is fetched and loaded."""
    for panel in ("train", *panels):
        panel_games(config, panel)


def panel_env(config: RunConfig, panel: str) -> EnvConfig:
    """The environment for a panel, which may belong to another shop than the settings'."""
    named = {"train": config.env.train, "seen": config.env.seen, "unseen": config.env.unseen}
    return replace(config.env, train=named.get(panel, panel))


def play(
    policy: Policy,
    envs: Sequence[Any],
    panel: str,
    *,
    order: Order,
    config: RunConfig,
    seed: int,
    progress: Callable[[int], None] | None = None,
) -> Played:
    """Play every game of a panel exactly once at `config.sampling.eval_temperature`.

    envs: from `rollout.make_envs`. progress: called with the number of newly finished episodes. A game in which the
    environment fails has no result, since it was not lost; a warning gives the reason. Raises ActreError if the panel
    is empty or contains a game twice, if even the first prompt is too long, and if no game can be played.
    """
    games = panel_games(config, panel)
    _each_once(games, panel)
    played = panel_episodes(
        policy,
        envs,
        games,
        panel=panel,
        renderer=policy.renderer(config.prompt, order),
        config=config,
        temperature=config.sampling.eval_temperature,
        seed=derive_seed(seed, "evaluate", panel, order),
        progress=progress,
    )
    if len(played) != len(games):
        raise ActreError(f"{len(played)} episodes came back from the {len(games)} games of {panel}")
    results = [episode_result(trajectory, panel) for trajectory in played if "env_error" not in trajectory.meta]
    _each_once([result.game for result in results], panel)
    return Played(results, played)


def panel_episodes(
    policy: Policy,
    envs: Sequence[Any],
    games: Sequence[str],
    *,
    panel: str,
    renderer: Renderer,
    config: RunConfig,
    temperature: float,
    seed: int,
    episodes: int = 1,
    progress: Callable[[int], None] | None = None,
) -> list[Trajectory]:
    """Play each game of a panel `episodes` times. A warning names the games in which the environment failed.

    Raises ActreError if even the first prompt is too long, and if no game can be played.
    """
    from actre.rollout.episodes import must_start, rollout

    if envs:
        must_start(policy, envs[0], games, renderer=renderer, sampling=config.sampling)
    played = rollout(
        policy,
        list(envs),
        games,
        renderer=renderer,
        sampling=config.sampling,
        temperature=temperature,
        max_steps=config.env.max_steps,
        seed=seed,
        group_size=episodes,
        progress=progress,
    )
    notplayed.tell({t.game: t.meta["env_error"] for t in played if "env_error" in t.meta}, len(games), panel)
    return played


def play_baseline(
    baseline: Baseline,
    panel: str,
    *,
    config: RunConfig,
    seed: int,
    progress: Callable[[int], None] | None = None,
) -> list[EpisodeResult]:
    """Let a player without a model play every game of a panel once.

    Random choices depend on the seed and on the game's place in the panel, not on its path or on other games. A game
    that cannot be played, or that the expert has no plan for, is left out with a warning. progress: called with 1 for
    each finished episode. Raises ActreError if no game can be played.
    """
    games = panel_games(config, panel)
    _each_once(games, panel)
    env = make_env(panel_env(config, panel))
    results, failed = [], {}
    for place, game in enumerate(games):
        try:
            stream = derive_seed(seed, "baseline", baseline, place)
            results.append(_baseline_episode(baseline, panel, env, game, config.env, stream))
        except BrokenContractError:
            raise
        except (ActreError, OSError) as error:
            failed[game] = str(error)
        if progress is not None:
            progress(1)
    notplayed.tell(failed, len(games), f"{panel} ({baseline})")
    return results


def _baseline_episode(baseline: Baseline, panel: str, env: Any, game: str, kind: EnvConfig, seed: int) -> EpisodeResult:
    text, info = env.reset(options={"game": game})
    seen = Observation(text, info["task"], tuple(info["admissible_commands"]))
    act = scripted(kind.name, "expert" if baseline == "rule" else "random", seen, seed, game)
    steps, total, over = 0, 0.0, False
    while not over and steps < kind.max_steps:
        text, reward, terminated, truncated, info = env.step(act(seen))
        seen = Observation(text, info["task"], tuple(info["admissible_commands"]))
        steps, total, over = steps + 1, total + float(reward), terminated or truncated
    return EpisodeResult(panel, baseline, game, info["task_type"], bool(info["won"]), steps, total)


def episode_result(trajectory: Trajectory, panel: str) -> EpisodeResult:
    """The result that an evaluation records for an episode."""
    return EpisodeResult(
        panel,
        trajectory.order,
        trajectory.game,
        trajectory.task_type,
        trajectory.won,
        len(trajectory.steps),
        trajectory.env_return,
        trajectory.cut,
    )


def summarise(results: Sequence[EpisodeResult]) -> list[Summary]:
    """A Summary for each panel and order, overall and then by task type, in order of first appearance.

    Raises ActreError for no results, and for a game that occurs twice in a panel and order.
    """
    if not results:
        raise ActreError("no results to summarise: play a panel first (actre evaluate)")
    rows = []
    for panel, order in dict.fromkeys((r.panel, r.order) for r in results):
        here = [r for r in results if (r.panel, r.order) == (panel, order)]
        _each_once([r.game for r in here], f"{panel}, {order}")
        rows.append(_summary(here, None))
        for task_type in sorted({r.task_type for r in here}):
            rows.append(_summary([r for r in here if r.task_type == task_type], task_type))
    return rows


def paired_difference(
    before: Sequence[EpisodeResult] | Sequence[Sequence[EpisodeResult]],
    after: Sequence[EpisodeResult] | Sequence[Sequence[EpisodeResult]],
    *,
    value: Literal["won", "env_return", "steps"] = "won",
    n: int = 10_000,
    seed: int = 0,
) -> Interval:
    """Mean of after minus before, game by game, with its 95 % interval.

    before, after: one evaluation, or one per training seed (a single `before` serves all seeds of `after`). For one
    seed the interval is a bootstrap over games: there is none over seeds. For several it covers new seeds and games:
    the wider of Student's t over the seeds and a bootstrap over seeds and games, the same games for all seeds, because
    they share them (`stats.over_seeds`; coverage: docs/calibration.md). Raises ActreError if the two sides, or
    two seeds, were not played on the same games.

    >>> def played(wins):
    ...     one = lambda i, w: EpisodeResult("unseen", "think_first", f"g{i}", "", bool(w), 9, w)
    ...     return [one(i, w) for i, w in enumerate(wins)]
    >>> paired_difference(played([0, 0, 1, 0]), played([1, 0, 1, 1])).value
    0.5
    """
    firsts, seconds = _by_seed(before), _by_seed(after)
    if len(firsts) == 1:
        firsts = firsts * len(seconds)
    if len(firsts) != len(seconds):
        raise ActreError(
            f"{len(firsts)} seeds before and {len(seconds)} after: give equally many, or one `before` for all"
        )
    keys = list(firsts[0])
    for side in (*firsts, *seconds):
        if side.keys() != firsts[0].keys():
            odd = sorted(side.keys() ^ firsts[0].keys())[0]
            raise ActreError(f"the two sides have different games: {odd[0]} {odd[1]} is only in one of them")
    # (seeds, games)
    difference = np.array(
        [
            [float(getattr(b[k], value)) - float(getattr(a[k], value)) for k in keys]
            for a, b in zip(firsts, seconds, strict=True)
        ]
    ).reshape(len(firsts), len(keys))
    if len(keys) < 2:
        raise ActreError(f"{len(keys)} game: an interval over games needs at least 2")
    if len(firsts) == 1:
        return bootstrap(difference[0], keys, n=n, seed=seed)
    return over_seeds(difference, n=n, seed=seed)


def save_evaluation(path: str | Path, results: Iterable[EpisodeResult], when: When) -> None:
    """Add results to an evaluation.jsonl, replacing those of the same moment (before or after), panel and order."""
    fresh = [{"when": when, **asdict(result)} for result in results]
    replaced = {_place(record) for record in fresh}
    kept = [r for r in read_jsonl(path) if _place(r) not in replaced] if Path(path).exists() else []
    write_jsonl(path, [*kept, *fresh])


def load_evaluation(path: str | Path, when: When | None = None) -> list[EpisodeResult]:
    """The results of an evaluation.jsonl, of one moment or (None) of both. Raises ActreError for a damaged file."""
    records = [dict(record) for record in read_jsonl(path)]
    try:
        return [
            EpisodeResult(**{key: r[key] for key in r if key != "when"}) for r in records if when in (None, r["when"])
        ]
    except (KeyError, TypeError) as error:
        raise ActreError(f"{path} is not an evaluation record ({error}); `actre evaluate` writes one") from error


def _place(record: dict[str, Any]) -> tuple[Any, ...]:
    return record.get("when"), record.get("panel"), record.get("order")


def _summary(results: list[EpisodeResult], task_type: str | None) -> Summary:
    returns, games = [r.env_return for r in results], [r.game for r in results]
    won = sum(r.won for r in results)
    return Summary(
        results[0].panel,
        results[0].order,
        task_type,
        len(results),
        won,
        wilson(won, len(results)),
        sum(r.steps for r in results) / len(results),
        sum(returns) / len(results),
        bootstrap(returns, games) if len(results) > 1 else None,
        sum(r.cut == "context" for r in results),
        sum(r.cut == "prompt" for r in results),
    )


def _by_seed(
    results: Sequence[EpisodeResult] | Sequence[Sequence[EpisodeResult]],
) -> list[dict[tuple[str, str], EpisodeResult]]:
    """One dict per seed, by panel and game. Raises ActreError for results that must not be pooled."""
    flat = [r for r in results if isinstance(r, EpisodeResult)]
    several = [flat] if flat else [list(r) for r in results if not isinstance(r, EpisodeResult)]
    if not several or not all(several):
        raise ActreError("no results on one side: nothing to compare")
    panels = sorted({r.panel for one in several for r in one})
    if len(panels) > 1:
        raise ActreError(f"results of {' and '.join(panels)} are never pooled: compare one panel at a time")
    keyed = [{(r.panel, r.game): r for r in one} for one in several]
    if any(len(games) != len(one) for games, one in zip(keyed, several, strict=True)):
        raise ActreError(
            "a game occurs twice on one side: compare one order, moment and seed at a time, or give one list per seed"
        )
    return keyed


def _each_once(games: Sequence[str], panel: str) -> None:
    if not games:
        raise ActreError(f"the panel {panel} has no games: `actre games list` shows the panels that are here")
    game, count = Counter(games).most_common(1)[0]
    if count > 1:
        raise ActreError(f"{game} occurs {count} times in {panel}; a panel must contain every game once")
