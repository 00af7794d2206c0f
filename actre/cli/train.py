"""`actre train`: train a policy through stages into a run folder, and write its report."""

import argparse
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from actre.cli.model_preset import preset_name
from actre.cli.terminal import conclude
from actre.config import ENV_HELP, RunConfig, StageConfig, load_config
from actre.config import overrides as settings
from actre.config.arms import ARMS, arm, name_of
from actre.config.checks import Large, Natural, Seed, of
from actre.config.describe import arms_and_estimators
from actre.config.estimators import ESTIMATORS
from actre.config.model_names import settle
from actre.config.paths import place
from actre.config.presets import preset
from actre.runtime import outputs, ranks
from actre.runtime.estimate import must_fit
from actre.runtime.limits import here
from actre.runtime.price import must_end
from actre.runtime.shapes import shape_of
from actre.types import ActreError

if TYPE_CHECKING:
    from actre.policies import Policy
    from actre.rollout.evaluate import When


_GAMES = 30
"""Unseen games played before and after training. `actre evaluate` plays whole panels."""


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add `train` to the command line."""
    train = subparsers.add_parser(
        "train",
        help="train a policy in stages and write its report",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=arms_and_estimators(),
    )
    train.add_argument("--preset", help="settings to start from, by name (default: the model's preset, else tiny)")
    train.add_argument(
        "--config",
        type=place,
        metavar="FILE",
        help="start from another run's config.json instead of a preset",
    )
    train.add_argument("--env", default="alfworld", help=f"{ENV_HELP} (default: alfworld)")
    train.add_argument(
        "--model",
        help="a name of `actre models list` (tiny, smollm2, ...), a hub name or a folder (default: the preset's)",
    )
    train.add_argument("--seed", type=of(Seed), help="random seed (default: 0, or that of --config)")
    train.add_argument("--out", type=place, default=Path("runs/train"), help="run folder (default: %(default)s)")
    train.add_argument(
        "--stages",
        type=stages,
        metavar="ORDER:ITERATIONS,...",
        help="stages, e.g. act_first:10,think_first:20 (default: the preset's); settings of a stage follow it, e.g. "
        "act_first:30:until=plateau:plateau_window=5",
    )
    train.add_argument(
        "--arm", choices=ARMS, help="stages and settings of a named arm; --stages then only sets the lengths"
    )
    train.add_argument(
        "--estimator",
        choices=ESTIMATORS,
        help="advantage estimator, with the settings of the recipe it is named after (default: the preset's, grpo)",
    )
    train.add_argument(
        "--env-steps", type=of(Large), help="stop after this many environment steps, to compare runs at equal budgets"
    )
    train.add_argument("--games", help="panel or folder of games to train on (default: the preset's)")
    train.add_argument(
        "--loader", choices=("plain", "unsloth"), help="what loads the model; unsloth needs a GPU and is untested"
    )
    train.add_argument(
        "--engine",
        choices=("hf", "vllm", "vllm-server"),
        help="what samples the episodes (default: hf, the model itself)",
    )
    train.add_argument(
        "--server", metavar="URL", help="address of the vLLM server, http://HOST:8000; needed with --resume too"
    )
    train.add_argument("--force", action="store_true", help="start even if the memory estimate says it does not fit")
    train.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help="any setting, e.g. --set optim.advantage=gigpo"
    )
    train.add_argument("--help-settings", action=HelpSettings, help="list every setting for --set, and exit")
    train.add_argument(
        "--report-to", metavar="TRACKER,...", help="trackers that receive the metrics: tensorboard, trackio, wandb"
    )
    train.add_argument(
        "--evaluate",
        type=of(Natural),
        metavar="GAMES",
        help="play this many unseen games think-first before and after training "
        f"(default: {_GAMES}; with --resume as many as before training; 0: none)",
    )
    train.add_argument("--no-entropy", action="store_true", help="do not measure action entropy during training")
    train.add_argument(
        "--resume",
        type=place,
        metavar="RUN",
        help="continue an interrupted run from its last checkpoint, with its own settings",
    )
    train.set_defaults(run=_run)


class HelpSettings(argparse.Action):
    """An option that prints every setting and ends the program, as --help does."""

    def __init__(self, **keywords: Any) -> None:
        super().__init__(nargs=0, **keywords)

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        from actre.config.describe import described

        print(described())
        parser.exit()


def stages(text: str) -> tuple[StageConfig, ...]:
    """`settings.stages` for argparse. Raises ArgumentTypeError for anything else."""
    try:
        return settings.stages(text)
    except ActreError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


_MODEL = ("loader", "engine")
_RUN = ("preset", "config", "env", "model", "seed", "out", "arm", "estimator", "stages", "env_steps", "games", "set")
_SETTINGS = (*_RUN, "report_to", *_MODEL)


def _config(args: argparse.Namespace) -> RunConfig:
    if args.resume is not None:
        fresh = argparse.ArgumentParser()
        add_parser(fresh.add_subparsers())
        default = fresh.parse_args(["train"])
        given = [name for name in _SETTINGS if getattr(args, name) != getattr(default, name)]
        if given:
            raise ActreError(
                f"--resume keeps the settings of the run: leave out --{given[0].replace('_', '-')}, or start a new run "
                "with another --out"
            )
        _must_be_a_run(args.resume)
        return load_config(args.resume / "config.json")
    if args.config is not None and (args.preset, args.env) != (None, "alfworld"):
        raise ActreError("--config already sets the preset and the environment: leave out --preset and --env")
    config = preset(preset_name(args.preset, args.model), args.env) if args.config is None else load_config(args.config)
    if args.seed is not None:
        config = replace(config, seed=args.seed)
    if args.model:
        config = replace(config, model=replace(config.model, name=args.model))
    if args.stages:
        config = replace(config, stages=args.stages)
    chosen = [f"optim.advantage={args.estimator}"] if args.estimator else []
    config = settings.changed(config, [*args.set, *chosen])
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


def _must_be_a_run(folder: Path) -> None:
    """Raises ActreError for a folder that holds runs and is none itself, such as a quickstart's.

    Its settings would otherwise be trained from the beginning, beside the runs and over their report.
    """
    names = outputs.visible(folder)
    if outputs.is_trained(folder) or "checkpoints" in names:
        return
    runs = sorted(name for name in names if outputs.is_trained(folder / name))
    if runs or "logs" in names:
        one = f"; one of its runs: actre train --resume {folder / runs[-1]}" if runs else ""
        raise ActreError(
            f"{folder} holds runs and is none itself; nothing was written. The command that began it continues it, "
            f"`actre quickstart` with the same options for a quickstart{one}"
        )


def _must_fit(config: RunConfig) -> None:
    """Raises ActreError, before anything is loaded, if the estimated memory exceeds the device's, or a CPU's time does.

    A model of unknown size and weights that are sharded over processes are let through: there is no estimate for them.
    """
    if ranks.cuts_weights():
        return
    try:
        shape_of(config.model.name)
    except ActreError:
        return
    device = here()
    must_fit(config, device)
    must_end(config, device)


def _run(args: argparse.Namespace) -> int:
    config = _config(args)
    if not args.force:
        _must_fit(config)
    from actre.entropy import precondition_files
    from actre.entropy.diagnose import training_measure
    from actre.envs.worlds import left_out
    from actre.training import train
    from actre.view import report

    out = args.out if args.resume is None else args.resume
    unmeasured = args.no_entropy or (
        args.resume is not None and (out / "metrics.jsonl").exists() and not (out / "entropy.jsonl").exists()
    )
    measure = None if unmeasured else training_measure(config)
    result = train(
        config,
        out,
        measure=measure,
        evaluate=_evaluation(config, out, _games(args, out)),
        resume=args.resume is not None,
        server=args.server,
    )
    ranks.leave()
    if not ranks.is_first():
        return 0
    page = report.write(out)
    conclude([out])
    print(f"arm: {name_of(config) or 'unnamed'}")
    if note := left_out(config.env.name, config.env.train):
        print(f"{config.env.train}: {note}")
    print(f"{result.iterations} iterations, {result.env_steps} environment steps")
    print(f"adapter: {result.adapter}")
    print(precondition_files.beside(out, config))
    print(f"report: {page}")
    print(f"next: actre evaluate --adapter {out} (whole panels); actre export {out} (to take it elsewhere)")
    return 0


def _games(args: argparse.Namespace, out: Path) -> int:
    """How many unseen games are played: those asked for; in a resumed run as many after training as before it."""
    from actre.rollout.evaluate import load_evaluation

    if args.evaluate is not None:
        return int(args.evaluate)
    path = out / "evaluation.jsonl"
    played = load_evaluation(path, "before") if path.exists() else []
    if args.resume is None or not (played or outputs.is_trained(out)):
        return _GAMES
    return sum((one.panel, one.order) == ("unseen", "think_first") for one in played)


def _evaluation(config: RunConfig, out: Path, games: int) -> "Callable[[Policy, When], None] | None":
    """Plays the first `games` unseen games, with a progress bar; what is recorded already is not played again.

    None where nothing is to be played: no games, or several processes, which would wait for the one that plays.
    """
    if not games or ranks.count() > 1:
        return None
    from tqdm.auto import tqdm

    from actre.rollout.evaluate import load_evaluation, panel_games
    from actre.study.onerun import evaluate_into

    limit = min(games, config.evaluation.limit or games)
    config = replace(config, evaluation=replace(config.evaluation, limit=limit))
    path = out / "evaluation.jsonl"

    def evaluate(policy: "Policy", when: "When") -> None:
        if path.exists() and load_evaluation(path, when):
            return
        with tqdm(total=len(panel_games(config, "unseen")), desc=f"playing {when} training", unit="game") as bar:
            evaluate_into(policy, config, out, when, (("unseen", "think_first"),), progress=bar.update)

    return evaluate
