"""`actre quickstart`: diagnose, train both ways, compare, report."""

import argparse
import os
import signal
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from actre.cli.terminal import conclude
from actre.config import ENV_NAMES
from actre.config.checks import Count, Large, Processes, Seed, of
from actre.config.overrides import changed, in_proportion
from actre.config.paths import place

DEFAULT_OUT = "runs/quickstart"


def add_parser(subparsers: Any) -> None:
    """Add `quickstart` to the command line."""
    parser = subparsers.add_parser("quickstart", help="diagnose a policy, train two arms, compare them, report")
    parser.add_argument("--preset", default="tiny", help="name of the settings (default: tiny)")
    parser.add_argument("--env", default="alfworld", choices=ENV_NAMES, help="the environment (default: alfworld)")
    parser.add_argument("--seed", type=of(Seed), default=0, help="random seed (default: 0)")
    parser.add_argument("--out", type=place, help=f"default: {DEFAULT_OUT}, or {DEFAULT_OUT}-webshop")
    parser.add_argument("--env-steps", type=of(Large), help="environment steps of each arm (default: the preset's)")
    parser.add_argument("--iterations", type=of(Count), help="at most this many iterations per arm")
    parser.add_argument("--engine", choices=("hf", "vllm"), help="what samples the episodes (default: the preset's)")
    parser.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help="any setting, e.g. --set optim.advantage=gigpo"
    )
    parser.add_argument("--jobs", type=of(Processes), default=min(2, os.cpu_count() or 1), help="parallel processes")
    parser.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> int:
    from tqdm.auto import tqdm

    from actre.config.presets import preset
    from actre.study.quickstart import ARMS, quickstart

    config = replace(preset(args.preset, args.env), seed=args.seed)
    out = args.out or Path(DEFAULT_OUT if args.env == "alfworld" else f"{DEFAULT_OUT}-{args.env}")
    if args.env_steps is not None:
        config = replace(config, env_steps=args.env_steps)
    if args.iterations is not None:
        config = replace(config, stages=in_proportion(config.stages, args.iterations))
    if args.engine is not None:
        config = replace(config, model=replace(config.model, engine=args.engine))
    config = changed(config, args.set)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends the jobs too, as Ctrl-C does
    try:
        report = quickstart(config, out, at_once=args.jobs, say=lambda text: tqdm.write(text, file=sys.stdout))
    except KeyboardInterrupt:
        raise KeyboardInterrupt(
            "finished jobs and checkpoints are kept; the same command continues from here"
        ) from None
    conclude([out])
    print(f"report: {report}")
    for arm in ARMS:
        print(f"adapter: {out / arm / 'adapter'}")
    print(
        f"next: open the report in a browser; another seed: actre quickstart --seed {args.seed + 1} --out DIR; "
        f"export: actre export {out / ARMS[-1]}"
    )
    return 0
