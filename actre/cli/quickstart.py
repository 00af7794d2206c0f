"""`actre quickstart`: diagnose, train both ways, compare, report."""

import argparse
import os
import signal
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from actre.cli.model_preset import preset_name
from actre.cli.terminal import conclude
from actre.config import ENV_NAMES, RunConfig
from actre.config.checks import Count, Large, Processes, Seed, of
from actre.config.model_names import settle
from actre.config.overrides import changed, in_proportion
from actre.config.paths import place
from actre.config.presets import preset
from actre.config.tiny_names import DEFAULT_TINY
from actre.runtime.estimate import Device, must_fit
from actre.runtime.limits import here, hours
from actre.runtime.price import must_end, price
from actre.runtime.shapes import shape_of
from actre.types import ActreError

DEFAULT_OUT = "runs/quickstart"


def add_parser(subparsers: Any) -> None:
    """Add `quickstart` to the command line."""
    parser = subparsers.add_parser("quickstart", help="diagnose a policy, train two arms, compare them, report")
    parser.add_argument("--preset", help="name of the settings (default: the model's preset, else tiny)")
    parser.add_argument("--model", help="a hub name, a folder, or one of the kit's own (default: the preset's)")
    parser.add_argument("--env", default="alfworld", choices=ENV_NAMES, help="the environment (default: alfworld)")
    parser.add_argument("--seed", type=of(Seed), default=0, help="random seed (default: 0)")
    parser.add_argument("--out", type=place, help=f"default: {DEFAULT_OUT}, or {DEFAULT_OUT}-webshop")
    parser.add_argument("--env-steps", type=of(Large), help="environment steps of each arm (default: the preset's)")
    parser.add_argument("--iterations", type=of(Count), help="at most this many iterations per arm")
    parser.add_argument("--engine", choices=("hf", "vllm"), help="what samples the episodes (default: the preset's)")
    parser.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help="any setting, e.g. --set optim.advantage=gigpo"
    )
    parser.add_argument(
        "--jobs", type=of(Processes), help="parallel processes (default: 1 on a GPU, else 2, or 1 on a single core)"
    )
    parser.add_argument("--force", action="store_true", help="start even if the memory estimate says it does not fit")
    parser.set_defaults(run=_run)


def _config(args: argparse.Namespace) -> RunConfig:
    config = replace(preset(preset_name(args.preset, args.model), args.env), seed=args.seed)
    if args.model is not None:
        config = replace(config, model=replace(config.model, name=args.model))
    if args.env_steps is not None:
        config = replace(config, env_steps=args.env_steps)
    if args.iterations is not None:
        config = replace(config, stages=in_proportion(config.stages, args.iterations))
    if args.engine is not None:
        config = replace(config, model=replace(config.model, engine=args.engine))
    return settle(changed(config, args.set))


def _check_fit(config: RunConfig, device: Device, *, force: bool) -> None:
    """Print the price if it is over an hour, on a GPU always.

    Raises ActreError, before anything is loaded, for settings that do not fit the device, or would take a CPU too long.

    Of a model of unknown size nothing is known beforehand.
    """
    try:
        shape_of(config.model.name)
    except ActreError:
        return
    if not force:
        must_fit(config, device)
        must_end(config, device)
    both_h = price(config, device).pair_h
    if device.gpu or both_h > 1:
        print(f"estimated, not measured: {hours(both_h)} for both arms on {device.name}")


def _run(args: argparse.Namespace) -> int:
    from tqdm.auto import tqdm

    from actre.rollout.evaluate import must_have_games
    from actre.study.quickstart import ARMS, quickstart

    config, device = _config(args), here()
    out = args.out or Path(DEFAULT_OUT if args.env == "alfworld" else f"{DEFAULT_OUT}-{args.env}")
    _check_fit(config, device, force=args.force)
    must_have_games(config, config.evaluation.panels)
    # every job holds the model and its activations, and one device is shared by all
    jobs = args.jobs or (1 if device.gpu else min(2, os.cpu_count() or 1))
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends the jobs too, as Ctrl-C does
    try:
        report = quickstart(config, out, at_once=jobs, say=lambda text: tqdm.write(text, file=sys.stdout))
    except KeyboardInterrupt:
        raise KeyboardInterrupt(
            "finished jobs and checkpoints are kept; the same command continues from here"
        ) from None
    conclude([out])
    print(f"report: {report}")
    for arm in ARMS:
        print(f"adapter: {out / arm / 'adapter'}")
    named = "" if config.preset == "tiny" else f"--preset {config.preset} "
    print(
        f"next: open the report in a browser; another seed: actre quickstart {named}--seed {args.seed + 1} --out DIR; "
        f"export: actre export {out / ARMS[-1]}"
    )
    if config.model.name == DEFAULT_TINY:
        print("where thinking does narrow the choice: actre quickstart --model tiny/contracted-high --out DIR")
    return 0
