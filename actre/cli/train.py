"""`actre train`: train a policy through stages into a run folder, and write its report.

Knows how to ask and how to show; actre.training does the work and is imported when the command runs.
"""

import argparse
from dataclasses import replace
from pathlib import Path

from actre.config import ENV_HELP, RunConfig, StageConfig, load_config
from actre.config import overrides as settings
from actre.config.arms import ARMS, arm, name_of
from actre.config.checks import Large, Seed, of
from actre.config.model_names import settle
from actre.config.paths import place
from actre.config.presets import preset
from actre.runtime import ranks
from actre.runtime.estimate import must_fit, shape_of
from actre.runtime.limits import here
from actre.types import ActreError


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add `train` to the command line."""
    train = subparsers.add_parser("train", help="train a policy through stages into a run folder")
    train.add_argument("--preset", default="tiny", help="settings by name (default: tiny)")
    train.add_argument(
        "--config",
        type=place,
        metavar="FILE",
        help="another run's config.json, whose settings are taken for the preset's",
    )
    train.add_argument("--env", default="alfworld", help=f"{ENV_HELP} (default: alfworld)")
    train.add_argument(
        "--model", help="tiny, tiny/narrow, tiny/shopper, smollm2, a hub name, a folder (default: the preset's)"
    )
    train.add_argument("--seed", type=of(Seed), help="default: 0, or that of --config")
    train.add_argument("--out", type=place, default=Path("runs/train"), help="the run folder (default: %(default)s)")
    train.add_argument(
        "--stages",
        type=stages,
        metavar="ORDER:ITERATIONS,...",
        help="e.g. act_first:10,think_first:20 (default: the preset's); a stage's own settings stand behind it, as in "
        "act_first:30:until=plateau:plateau_window=5",
    )
    train.add_argument(
        "--arm", choices=ARMS, help="the stages and settings of an arm by its name; --stages then only says how long"
    )
    train.add_argument(
        "--env-steps", type=of(Large), help="end after so many environment steps, to compare runs at equal ones"
    )
    train.add_argument("--games", help="panel or folder to train on (default: the preset's)")
    train.add_argument("--loader", choices=("plain", "unsloth"), help="unsloth: on a GPU; it has not run here")
    train.add_argument(
        "--engine", choices=("hf", "vllm", "vllm-server"), help="what samples the episodes (default: hf, the model)"
    )
    train.add_argument("--server", metavar="URL", help="where the vLLM server is, http://HOST:8000; with --resume too")
    train.add_argument("--even-so", action="store_true", help="start even where the estimate says it does not fit")
    train.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help="any setting, e.g. --set optim.advantage=gigpo"
    )
    train.add_argument(
        "--report-to", metavar="TRACKER,...", help="trackers that get the metrics too: tensorboard, trackio, wandb"
    )
    train.add_argument("--no-entropy", action="store_true", help="do not measure action entropy on the way")
    train.add_argument(
        "--resume",
        type=place,
        metavar="RUN",
        help="go on with an interrupted run from its last checkpoint, with the settings it began with",
    )
    train.set_defaults(run=_run)


def stages(text: str) -> tuple[StageConfig, ...]:
    """`settings.stages` for argparse. Raises ArgumentTypeError, with what is wrong, for another text."""
    try:
        return settings.stages(text)
    except ActreError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


_MODEL = ("loader", "engine")
_RUN = ("preset", "config", "env", "model", "seed", "out", "arm", "stages", "env_steps", "games", "set", "report_to")
_SETTINGS = (*_RUN, *_MODEL)


def _config(args: argparse.Namespace) -> RunConfig:
    if args.resume is not None:
        fresh = argparse.ArgumentParser()
        add_parser(fresh.add_subparsers())
        default = fresh.parse_args(["train"])
        given = [name for name in _SETTINGS if getattr(args, name) != getattr(default, name)]
        if given:
            raise ActreError(
                f"--resume goes on with the settings the run began with: leave out --{given[0].replace('_', '-')}, or "
                "begin another run with another --out"
            )
        return load_config(args.resume / "config.json")
    if args.config is not None and (args.preset, args.env) != ("tiny", "alfworld"):
        raise ActreError("--config brings its own preset and environment: leave out --preset and --env")
    config = preset(args.preset, args.env) if args.config is None else load_config(args.config)
    if args.seed is not None:
        config = replace(config, seed=args.seed)
    if args.model:
        config = replace(config, model=replace(config.model, name=args.model))
    if args.stages:
        config = replace(config, stages=args.stages)
    config = settings.changed(config, args.set)
    if args.report_to:
        config = settings.changed(config, [f"report_to={args.report_to}"])
    if args.arm:
        config = arm(args.arm, config)
        for text in args.set:
            if settings.changed(config, [text]) != config:
                raise ActreError(f"--arm {args.arm} sets {text.partition('=')[0]} itself: leave out --set {text}")
    if args.env_steps is not None:
        config = replace(config, env_steps=args.env_steps)
    if args.games:
        config = replace(config, env=replace(config.env, train=args.games))
    asked = {name: value for name in _MODEL if (value := getattr(args, name)) is not None}
    return settle(replace(config, model=replace(config.model, **asked)))


def _must_fit(config: RunConfig) -> None:
    """Refuse what will not fit before anything is loaded. Tried: a model whose sizes are unknown, and weights that are
    cut over the processes, for the estimate knows one device that holds everything.
    """
    if ranks.cuts_weights():
        return
    try:
        shape_of(config.model.name)
    except ActreError:
        return
    must_fit(config, here())


def _run(args: argparse.Namespace) -> int:
    config = _config(args)
    if not args.even_so:
        _must_fit(config)
    from actre.entropy.diagnose import training_measure
    from actre.envs.worlds import left_out
    from actre.training import train
    from actre.view import report

    out = args.out if args.resume is None else args.resume
    unmeasured = args.no_entropy or (
        args.resume is not None and (out / "metrics.jsonl").exists() and not (out / "entropy.jsonl").exists()
    )
    measure = None if unmeasured else training_measure(config)
    result = train(config, out, measure=measure, resume=args.resume is not None, server=args.server)
    if not ranks.is_first():  # of several processes one speaks
        return 0
    print(f"arm: {name_of(config) or 'none that has a name'}")
    if note := left_out(config.env.name, config.env.train):
        print(f"{config.env.train}: {note}")
    print(f"{result.iterations} iterations, {result.env_steps} environment steps")
    print(f"adapter: {result.adapter}")
    print(f"report: {report.write(out)}")
    return 0
