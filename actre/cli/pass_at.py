"""`actre evaluate --pass-at`: play each game of the panels several times, and print pass@k."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from actre.cli.measure_into import keep_settings
from actre.config import RunConfig, derive_seed
from actre.config.checks import Count, of
from actre.types import ActreError

if TYPE_CHECKING:
    from actre.rollout.pass_at import Attempts, PassAt

NAME = "pass_at.jsonl"


def ks(text: str) -> tuple[int, ...]:
    """The ks of pass@k from a text, for argparse: distinct, in ascending order.

    >>> ks("16,1,4,4")
    (1, 4, 16)
    """
    return tuple(sorted({int(of(Count)(one)) for one in text.split(",")}))


def evaluate_often(
    args: argparse.Namespace,
    config: RunConfig,
    games: dict[str, list[str]],
    policy: Any,
    noted: Callable[[], object],
) -> int:
    """Play every game of the panels max(k) times in every order; results go to pass_at.jsonl in the output folder.

    noted: called whenever results were saved, to note whose they are.
    """
    from tqdm.auto import tqdm

    from actre.rollout import make_envs
    from actre.rollout.evaluate import panel_env
    from actre.rollout.pass_at import play_often, save, summarised

    episodes, temperature = max(args.pass_at), config.sampling.eval_temperature
    args.out.mkdir(parents=True, exist_ok=True)
    keep_settings(config, args.out)
    found: list[Attempts] = []
    whole = len(args.orders) * episodes * sum(map(len, games.values()))
    with tqdm(total=whole, unit="episode", desc="playing") as bar:
        for panel in args.panels:
            at_once = min(config.evaluation.batch, episodes * len(games[panel]))
            envs = make_envs(panel_env(config, panel), at_once)
            for order in args.orders:
                played = play_often(
                    policy,
                    envs,
                    games[panel],
                    panel=panel,
                    renderer=policy.renderer(config.prompt, order),
                    config=config,
                    temperature=temperature,
                    episodes=episodes,
                    seed=derive_seed(args.seed, "pass at", panel, order),
                    progress=bar.update,
                )
                found += played
                save(args.out / NAME, played, args.when)
                noted()
    print(described(summarised(found, args.pass_at), temperature))
    print(f"written: {args.out / NAME}")
    return 0


def must_be_more(args: argparse.Namespace, games: dict[str, list[str]]) -> None:
    """Raises ActreError if earlier attempts would be replaced by those of other games, or by fewer."""
    from actre.rollout.pass_at import load

    path = args.out / NAME
    played = load(path, args.when) if path.exists() else []
    for panel, order in ((panel, order) for panel in args.panels for order in args.orders):
        there = [one for one in played if (one.panel, one.order) == (panel, order)]
        other = sorted(_names([one.game for one in there])) != sorted(_names(games[panel]))
        if there and (other or max(one.episodes for one in there) > max(args.pass_at)):
            raise ActreError(
                f"{path} holds {there[0].episodes} episodes of {len(there)} games of {panel} ({order}, {args.when} "
                f"training), which {max(args.pass_at)} of {len(games[panel])} games do not replace: choose another "
                "--out"
            )


def _names(games: list[str]) -> list[tuple[str, ...]]:
    return [Path(game).parts[-3:] for game in games]


def described(rows: "list[PassAt]", temperature: float) -> str:
    """A table of pass@k for a terminal."""
    lines = [f"pass@k [95 % interval over games], {rows[0].episodes} episodes a game at temperature {temperature:g}"]
    for row in rows:
        values = "  ".join(f"pass@{k} {band}" for k, band in row.pass_at.items())
        lines.append(
            f"{row.panel}, {row.order}: {values}  ({row.games} games, {row.distinct:.1f} distinct trajectories a game, "
            f"{100 * row.admissible:.0f} % of actions admissible)"
        )
    return "\n".join(lines)
