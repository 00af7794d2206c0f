"""`actre probes`: make a fixed set of states to compare policies on.

Knows how to ask and how to show; probes.py does the work and is imported when the command runs.
"""

import argparse
from pathlib import Path

from actre.config import ENV_NAMES, preset


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add `probes` to the command line."""
    parser = subparsers.add_parser("probes", help="make a fixed set of states to compare policies on")
    parser.add_argument("--env", default="alfworld", choices=ENV_NAMES, help="what is played (default: alfworld)")
    parser.add_argument("--panel", help="games to take states from (default: small/unseen, in a shop shop/unseen)")
    parser.add_argument("--n", type=int, default=48, help="states (default: 48)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--sources", nargs="+", default=["expert", "random"], choices=("expert", "random"))
    parser.add_argument("--out", type=Path, required=True, help="a .jsonl or .jsonl.gz file")
    parser.set_defaults(run=_probes)


def _probes(args: argparse.Namespace) -> int:
    from actre.probes import digest, panel_probes, save_probes

    panel = args.panel or preset("tiny", args.env).env.unseen
    made = panel_probes(panel, args.n, args.seed, args.sources, args.env)
    save_probes(args.out, made)
    games = len({probe.game for probe in made})
    print(f"{len(made)} states on {games} games of {panel} in {args.out} ({digest(made)})")
    return 0
