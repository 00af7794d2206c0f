"""`actre pretrain-tiny`: pretrain a tiny policy on expert episodes, or measure a policy's start."""

import argparse
from pathlib import Path
from typing import Any

from actre.config.checks import Count, Large, Processes, Range, Seed, of
from actre.config.paths import place
from actre.config.tiny_names import TINY_KINDS


def add_parser(subparsers: Any) -> None:
    """Add `pretrain-tiny` to the command line."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "pretrain-tiny",
        help="pretrain a tiny policy on expert episodes, or measure its initial success",
        description="Plays the expert in newly generated games (shopper: shops), trains a small Llama on its episodes "
        "in all three orders, and measures the result: admissible actions and success in each order.",
    )
    parser.add_argument("--kind", choices=TINY_KINDS, help="which policy (default: neutral)")
    parser.add_argument(
        "--thoughts",
        choices=["other", "needs", "plain", "said"],
        help="an organism of your own, made from the neutral policy: how much of the action's own words its thoughts "
        "say (default: said)",
    )
    parser.add_argument(
        "--contraction",
        type=Range(0, 1.2),
        help="the organism's other dial: how narrow, and how wrong, think-first's demonstrations are beside the other "
        "orders' (default: 0, the same; 1.2: they never wander and always forget)",
    )
    parser.add_argument(
        "--apart",
        action="store_true",
        help="the organism's think-first is shown another player from the start, which is no narrower",
    )
    parser.add_argument("--seed", type=of(Seed), default=0, help="random seed (default: 0)")
    parser.add_argument("--out", type=place, help="output folder (default: runs/tiny-KIND)")
    parser.add_argument("--tokens", type=of(Large), help="training tokens (default: the recipe's)")
    parser.add_argument(
        "--threads", type=of(Processes), default=1, help="torch threads; they affect the result (default: 1)"
    )
    parser.add_argument("--games", type=of(Count), help="new games to play (default: the recipe's)")
    parser.add_argument(
        "--work-dir",
        type=place,
        dest="work",
        metavar="FOLDER",
        default=Path("runs/pretrain"),
        help="folder for demonstrations, log and checkpoint (default: %(default)s)",
    )
    parser.add_argument("--check", type=place, metavar="FOLDER", help="only measure the policy in FOLDER")
    parser.add_argument(
        "--episodes", type=of(Count), default=420, help="episodes measured per order (default: %(default)s)"
    )
    parser.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> int:
    from actre.organisms.command import run

    return run(args)
