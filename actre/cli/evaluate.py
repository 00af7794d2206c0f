"""`actre evaluate`: play fixed panels with a policy, each game once, and print success rates with intervals."""

import argparse
import json
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from actre.cli.diagnose import add_policy_arguments, policy_config
from actre.cli.measure_into import keep_settings, must_be_the_runs, must_take
from actre.cli.pass_at import evaluate_often, ks, must_be_more
from actre.config import RunConfig
from actre.config.checks import Count, of
from actre.config.paths import place
from actre.types import ORDERS, ActreError, read_jsonl, read_trajectories, write_jsonl, write_trajectories

if TYPE_CHECKING:
    from actre.rollout.evaluate import Summary

_EVALUATED = "evaluated.json"


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add `evaluate` to the command line."""
    evaluate = subparsers.add_parser("evaluate", help="play fixed panels, each game once, and print success rates")
    evaluate.add_argument(
        "--baselines", nargs="+", choices=("random", "rule"), help="scripted players to evaluate instead of a policy"
    )
    add_policy_arguments(evaluate)
    evaluate.add_argument(
        "--panels",
        nargs="+",
        default=["seen", "unseen"],
        help="seen, unseen, or any source of games (default: seen unseen)",
    )
    evaluate.add_argument(
        "--orders", nargs="+", default=["think_first"], choices=ORDERS, help="orders to play in (default: think_first)"
    )
    evaluate.add_argument("--limit", type=of(Count), help="play only the first LIMIT games of each panel")
    evaluate.add_argument(
        "--pass-at",
        type=ks,
        metavar="K,K,...",
        help="play each game as often as the largest K, e.g. 1,4,16, and print the probability that at least one of K "
        "episodes wins, estimated without bias (pass@k), in place of the usual evaluation",
    )
    evaluate.add_argument(
        "--when",
        choices=("before", "after"),
        default="after",
        help="record as before or after training (default: after)",
    )
    evaluate.add_argument(
        "--out", type=place, help="output folder (default: the run given as --adapter, else runs/evaluation)"
    )
    evaluate.set_defaults(run=_evaluate)


def _evaluate(args: argparse.Namespace) -> int:
    from tqdm.auto import tqdm

    from actre.adapters import load_policy
    from actre.envs.worlds import left_out
    from actre.rollout import make_envs
    from actre.rollout.evaluate import panel_env, panel_games, play, save_evaluation, summarise

    for name in ("panels", "orders", "baselines"):  # no duplicates
        setattr(args, name, list(dict.fromkeys(getattr(args, name) or ())))
    given = args.adapter
    config = policy_config(args)
    if args.out is None:  # where a run's card and report look for its evaluation
        args.out = given if given is not None and args.adapter != given else Path("runs/evaluation")
    if args.limit is not None:
        config = replace(config, evaluation=replace(config.evaluation, limit=args.limit, other_limit=None))
    games = {panel: panel_games(config, panel) for panel in args.panels}
    for panel in args.panels:
        if note := left_out(config.env.name, panel_env(config, panel).train):
            print(f"{panel}: {note}")
    must_take(args.out, config, args.adapter)
    if args.baselines and args.pass_at:
        raise ActreError("--pass-at needs a policy: leave out --baselines")
    if args.baselines:
        return _baselines(args, config, sum(map(len, games.values())))
    must_be_the_runs(args.out, args.adapter, args.when)
    (must_be_more if args.pass_at else _must_be_the_same_games)(args, games)
    weights = _weights(args)
    policy = load_policy(config, args.adapter)
    if args.pass_at:
        noted = partial((args.out / _EVALUATED).write_text, json.dumps(weights, indent=1) + "\n")
        return evaluate_often(args, config, games, policy, noted)
    args.out.mkdir(parents=True, exist_ok=True)
    keep_settings(config, args.out)
    path = args.out / "trajectories" / f"eval_{args.when}.jsonl.gz"
    kept = list(read_trajectories(path)) if path.exists() else []
    results = []
    with tqdm(total=len(args.orders) * sum(map(len, games.values())), unit="game", desc="playing") as bar:
        for panel in args.panels:
            envs = make_envs(panel_env(config, panel), min(config.evaluation.batch, len(games[panel])))
            for order in args.orders:
                played = play(policy, envs, panel, order=order, config=config, seed=args.seed, progress=bar.update)
                results += played.results
                meta = {"panel": panel, "when": args.when}
                kept = [
                    t for t in kept if (t.meta.get("panel"), t.order) != (panel, order)
                ]  # replaced, as in evaluation.jsonl
                kept += [replace(t, meta={**t.meta, **meta}) for t in played.trajectories]
                write_trajectories(path, kept)
                save_evaluation(args.out / "evaluation.jsonl", played.results, args.when)
                (args.out / _EVALUATED).write_text(json.dumps(weights, indent=1) + "\n")
    print(described(summarise(results)))
    print(f"written: {args.out / 'evaluation.jsonl'}")
    return 0


def _must_be_the_same_games(args: argparse.Namespace, games: dict[str, list[str]]) -> None:
    """Raises ActreError if an existing evaluation would be replaced by one that lacks some of its games."""
    from actre.rollout.evaluate import load_evaluation

    path = args.out / "evaluation.jsonl"
    played = load_evaluation(path, args.when) if path.exists() else []
    for panel, order in ((panel, order) for panel in args.panels for order in args.orders):
        there = [one.game for one in played if (one.panel, one.order) == (panel, order)]
        if not set(_names(there)) <= set(_names(games[panel])):
            raise ActreError(
                f"{args.out} holds an evaluation of {len(there)} games of {panel} ({order}, {args.when} training), "
                f"not all of which are among the {len(games[panel])} of this one, and it is not overwritten: choose "
                "another --out"
            )


def _names(games: list[str]) -> list[tuple[str, ...]]:
    """Games without the folders above them, which may change."""
    return sorted(Path(game).parts[-3:] for game in games)


def _weights(args: argparse.Namespace) -> dict[str, str | None]:
    """Digests of the adapters evaluated in the folder before and after training, with this one; None: no adapter.

    Raises ActreError if the existing evaluation is of another adapter, because one file describes one policy.
    """
    from actre.adapters import weights_digest

    path = args.out / _EVALUATED
    noted = json.loads(path.read_text()) if path.exists() else {}
    weights = None if args.adapter is None else weights_digest(args.adapter)
    if noted.get(args.when, weights) != weights:
        raise ActreError(
            f"{args.out} holds an evaluation ({args.when} training) of another adapter, which is not overwritten: "
            "choose another --out"
        )
    return {**noted, args.when: weights}


def _baselines(args: argparse.Namespace, config: RunConfig, games: int) -> int:
    from tqdm.auto import tqdm

    from actre.rollout.evaluate import play_baseline, summarise

    with tqdm(total=len(args.baselines) * games, unit="game", desc="playing") as bar:
        results = [
            result
            for panel in args.panels
            for name in args.baselines
            for result in play_baseline(name, panel, config=config, seed=args.seed, progress=bar.update)
        ]
    args.out.mkdir(parents=True, exist_ok=True)
    keep_settings(config, args.out)
    # in a file of their own: readers of evaluation.jsonl expect orders
    path, fresh = args.out / "baselines.jsonl", [asdict(result) for result in results]
    played = {(one["panel"], one["order"]) for one in fresh}
    kept = list(read_jsonl(path)) if path.exists() else []
    write_jsonl(path, [*(one for one in kept if (one["panel"], one["order"]) not in played), *fresh])
    print(described(summarise(results)))
    print(f"written: {args.out / 'baselines.jsonl'}")
    return 0


def _cut(row: "Summary") -> str:
    """How many episodes were truncated for their length, and why."""
    from actre.view.names import cut_words

    counts = {"context": row.cut_context, "prompt": row.cut_prompt}
    return "".join(f"; {count} cut because {cut_words(why)}" for why, count in counts.items() if count)


def described(rows: "list[Summary]") -> str:
    """A table of success rates for a terminal."""
    graded = any(row.env_return != row.success.value for row in rows)
    lines = [f"success [95 % interval], mean steps{', mean score [95 % interval]' if graded else ''}"]
    for row in rows:
        name = row.task_type or f"{row.panel}, {row.order}"
        score = f"  score {row.return_interval or format(row.env_return, '.3f')}" if graded else ""
        lines.append(
            f"{'' if row.task_type is None else '  '}{name:34} {row.success}  ({row.won} of {row.games})  "
            f"{row.steps:.1f} steps{score}{_cut(row)}"
        )
    return "\n".join(lines)
