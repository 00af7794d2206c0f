"""`actre probes`: make a fixed set of states on which policies are compared."""

import argparse
from dataclasses import replace
from typing import TYPE_CHECKING

from actre.cli.diagnose import add_policy_arguments, policy_config
from actre.config import derive_seed
from actre.config.checks import Count, of
from actre.config.paths import place
from actre.config.presets import preset
from actre.runtime import outputs

if TYPE_CHECKING:
    from actre.entropy.probes import Play
    from actre.types import Order, Trajectory

_SOURCES = ("expert", "random", "policy")


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add `probes` to the command line."""
    parser = subparsers.add_parser("probes", help="make a set of probe states on which policies are compared")
    parser.add_argument("--panel", help="games to take states from (default: small/unseen; WebShop: shop/unseen)")
    parser.add_argument("--n", type=of(Count), default=48, help="number of states (default: 48)")
    add_policy_arguments(parser)
    parser.add_argument(
        "--sources",
        nargs="+",
        choices=_SOURCES,
        help="players whose episodes lead to the states, in turn (default: expert random; random without an expert); "
        "policy: that of --model",
    )
    parser.add_argument("--out", type=place, required=True, help="a .jsonl or .jsonl.gz file")
    parser.set_defaults(run=_probes)


def _probes(args: argparse.Namespace) -> int:
    from actre.entropy.probes import digest, panel_probes, save_probes

    outputs.must_be_own(args.out, lambda old: True)  # a folder is refused before anything is played
    env = policy_config(args).env.name
    panel = args.panel or preset("tiny", env).env.unseen
    play = _policy_play(args, panel) if "policy" in (args.sources or ()) else None
    made = panel_probes(panel, args.n, args.seed, args.sources, env, play)
    save_probes(args.out, made)
    games = len({probe.game for probe in made})
    print(f"{len(made)} states on {games} games of {panel} in {args.out} ({digest(made)})")
    return 0


def _policy_play(args: argparse.Namespace, panel: str) -> "Play":
    """A function that plays games with the policy: two act-first, two think-first and so on, so as to favour no order.

    The orders alternate in pairs because early and late states alternate one by one.
    """
    from actre.adapters import load_policy
    from actre.entropy.probes import panel_steps
    from actre.rollout import make_envs, must_start, rollout

    config = policy_config(args)
    config = replace(config, env=replace(config.env, max_steps=panel_steps(panel, config.env.name)))
    policy = load_policy(config, args.adapter)

    def episodes(games: list[str], order: "Order") -> "list[Trajectory]":
        if not games:
            return []
        envs, renderer = make_envs(config.env, len(games)), policy.renderer(config.prompt, order)
        must_start(policy, envs[0], games, renderer=renderer, sampling=config.sampling)
        return rollout(
            policy,
            envs,
            games,
            renderer=renderer,
            sampling=config.sampling,
            temperature=config.sampling.temperature,
            max_steps=config.env.max_steps,
            seed=derive_seed(args.seed, "probes", order),
        )

    def play(games: list[str]) -> "list[Trajectory]":
        turns: list[Order] = ["act_first" if i % 4 < 2 else "think_first" for i in range(len(games))]
        played = {
            order: iter(episodes([game for game, turn in zip(games, turns, strict=True) if turn == order], order))
            for order in dict.fromkeys(turns)
        }
        return [next(played[order]) for order in turns]

    return play
