"""`actre train`: train a policy through stages into a run folder, and write its report.

Knows how to ask and how to show; trainer.py does the work and is imported when the command runs.
"""

import argparse
from dataclasses import replace
from pathlib import Path

from actre.config import ENV_NAMES, RunConfig, StageConfig, preset
from actre.types import ORDERS, ActreError


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add `train` to the command line."""
    train = subparsers.add_parser("train", help="train a policy through stages into a run folder")
    train.add_argument("--preset", default="tiny", help="settings by name (default: tiny)")
    train.add_argument("--env", default="alfworld", choices=ENV_NAMES, help="what is played (default: alfworld)")
    train.add_argument("--model", help="tiny, smollm2, a hub name or a folder (default: the preset's)")
    train.add_argument("--seed", type=int, default=0)
    train.add_argument("--out", type=Path, default=Path("runs/train"), help="the run folder (default: %(default)s)")
    train.add_argument(
        "--stages",
        type=stages,
        metavar="ORDER:ITERATIONS,...",
        help="e.g. act_first:10,think_first:20 (default: the preset's)",
    )
    train.add_argument(
        "--env-steps", type=int, help="end after so many environment steps, to compare runs at equal ones"
    )
    train.add_argument("--games", help="panel or folder to train on (default: the preset's)")
    train.add_argument("--no-entropy", action="store_true", help="do not measure action entropy on the way")
    train.set_defaults(run=_run)


def stages(text: str) -> tuple[StageConfig, ...]:
    """The stages written as ORDER:ITERATIONS,...  Raises ArgumentTypeError, with what is wrong, for another text.

    >>> [stage.order for stage in stages("act_first:10,think_first:20")]
    ['act_first', 'think_first']
    """
    found = []
    for part in text.split(","):
        name, _, length = part.strip().partition(":")
        order = next((order for order in ORDERS if order == name), None)
        if order is None:
            raise argparse.ArgumentTypeError(f"no order {name!r}; there are: {', '.join(ORDERS)}")
        if not length.isdigit() or int(length) < 1:
            raise argparse.ArgumentTypeError(f"{part!r}: how many iterations? e.g. {name}:10")
        found.append(StageConfig(order, int(length)))
    return tuple(found)


def _config(args: argparse.Namespace) -> RunConfig:
    config = replace(preset(args.preset, args.env), seed=args.seed)
    if args.model:
        config = replace(config, model=replace(config.model, name=args.model))
    if args.stages:
        config = replace(config, stages=args.stages)
    if args.env_steps is not None:
        if args.env_steps < 1:
            raise ActreError(f"--env-steps {args.env_steps}: at least 1 is needed")
        config = replace(config, env_steps=args.env_steps)
    if args.games:
        config = replace(config, env=replace(config.env, train=args.games))
    return config


def _run(args: argparse.Namespace) -> int:
    config = _config(args)
    from actre.diagnose import training_measure
    from actre.trainer import train
    from actre.view import report

    result = train(config, args.out, measure=None if args.no_entropy else training_measure(config))
    print(f"{result.iterations} iterations, {result.env_steps} environment steps")
    print(f"adapter: {result.adapter}")
    print(f"report: {report.write(args.out)}")
    return 0
