"""Pretraining of tiny policies: the command `actre pretrain-tiny`. Loads nothing heavy before it runs.

rows.py turns an expert's episodes into rows, loop.py trains, start.py measures what came out; what they must know of an
environment stands in house.py and shop.py.
"""

import argparse
from pathlib import Path
from typing import Any

from actre.config.checks import Count, Large, Processes, Seed, of
from actre.config.paths import place


def add_parser(subparsers: Any) -> None:
    """Add `actre pretrain-tiny`: make a tiny policy, or check the start of one."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "pretrain-tiny",
        help="make the tiny policy from an expert's episodes, or measure its start",
        description="Plays the expert on fresh generated games (shopper: in fresh shops), trains a small Llama on its "
        "episodes in all three orders, and measures the start: admissible actions and success in each order.",
    )
    parser.add_argument(
        "--kind", choices=["neutral", "narrow", "shopper"], default="neutral", help="which policy (default: neutral)"
    )
    parser.add_argument("--seed", type=of(Seed), default=0)
    parser.add_argument("--out", type=place, help="folder of the policy (default: runs/tiny-KIND)")
    parser.add_argument("--tokens", type=of(Large), help="training tokens (default: the recipe's)")
    parser.add_argument("--threads", type=of(Processes), default=1, help="results are the same for the same number")
    parser.add_argument("--games", type=of(Count), help="fresh games to play (default: the recipe's)")
    parser.add_argument(
        "--work", type=place, default=Path("runs/pretrain"), help="demonstrations, log and checkpoint (%(default)s)"
    )
    parser.add_argument("--check", type=place, metavar="FOLDER", help="only measure the start of the policy in FOLDER")
    parser.add_argument("--episodes", type=of(Count), default=420, help="episodes of the check, an order (%(default)s)")
    parser.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> int:
    from actre.organisms.command import run

    return run(args)
