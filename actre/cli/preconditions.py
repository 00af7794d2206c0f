"""`actre preconditions`: measure whether a comparison of arms could show anything on a model."""

import argparse
import signal
from dataclasses import replace
from typing import Any

from actre.cli.diagnose import policy_config
from actre.config import ENV_HELP
from actre.config.checks import Count, Processes, Rate, Seed, Several, of
from actre.config.overrides import changed
from actre.config.paths import place
from actre.config.tiny_names import is_tiny

_PARTS = ("contraction", "start", "learnability", "transfer")
_OPTIONS: tuple[tuple[str, Any, str], ...] = (
    ("seeds", of(Count), "trainings by reinforcement in each order"),
    ("iterations", of(Count), "iterations of each"),
    ("sft_seeds", of(Count), "supervised trainings on each order's rows"),
    ("episodes", of(Count), "expert episodes that supervised training shows"),
    ("steps", of(Count), "its optimizer steps"),
    ("learning_rate", of(Rate), "its learning rate"),
    ("states", of(Count), "states of each evaluation game at which the expert's action is scored"),
    ("thoughts", of(Several), "thoughts sampled in each of these states (K)"),
)


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add `preconditions` to the command line."""
    parser = subparsers.add_parser(
        "preconditions",
        help="measure whether a comparison of arms could show anything: contraction, start, learnability, transfer",
        description="Measures, before any comparison: contraction (as `actre diagnose` does), the start in both "
        "orders, what a short reinforcement in one order alone teaches that order, and how much of what one order "
        "learns reaches the other. Finished parts are kept if it is interrupted; the same command continues.",
    )
    parser.add_argument("--preset", help="settings by name (default: the model's preset, else tiny)")
    parser.add_argument("--env", help=f"{ENV_HELP} (default: alfworld)")
    parser.add_argument(
        "--model",
        help="a name of `actre models list` (tiny, smollm2, ...), a hub name or a folder (default: the preset's)",
    )
    parser.add_argument("--seed", type=of(Seed), default=0, help="random seed (default: 0)")
    parser.add_argument(
        "--parts", nargs="+", choices=_PARTS, default=list(_PARTS), help="what to measure (default: all)"
    )
    for name, kind, words in _OPTIONS:
        option = f"--{name.replace('_', '-')}"
        parser.add_argument(
            option, type=kind, help=f"{words} (default: the tiny policies', or fewer for larger models)"
        )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="any setting, e.g. --set optim.learning_rate=5e-4 for the trainings by reinforcement",
    )
    parser.add_argument("--games", type=of(Several), help="evaluation games, the first ones (default: the preset's)")
    parser.add_argument("--jobs", type=of(Processes), help="processes at once (default: 2 for a tiny policy, else 1)")
    parser.add_argument("--out", type=place, help="output folder (default: runs/preconditions/MODEL)")
    parser.add_argument(
        "--write",
        type=place,
        metavar="FILE",
        help="also write the record to this file; parts that were not measured now stay as the file has them, if it is "
        "of the same weights and budget",
    )
    parser.set_defaults(run=_run, adapter=None)


def _run(args: argparse.Namespace) -> int:
    from actre.config import versions
    from actre.entropy import precondition_files as files
    from actre.rollout.evaluate import must_have_games
    from actre.runtime.limits import processor
    from actre.study.preconditions import PARTS, budget_for, collect, measure

    config = changed(policy_config(args), args.set)
    if args.games is not None:
        config = replace(config, evaluation=replace(config.evaluation, limit=args.games))
    must_have_games(config, ["unseen"])
    given = {name: value for name, _, _ in _OPTIONS if (value := getattr(args, name)) is not None}
    budget = replace(budget_for(config), **given)
    out = args.out or files.RUNS / files.file_name(config.model.name, config.env.name).removesuffix(".json")
    parts = [part for part in PARTS if part in args.parts]
    at_once = args.jobs or (2 if is_tiny(config.model.name) else 1)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends the jobs too, as Ctrl-C does
    try:
        measure(config, budget, out, parts, at_once=at_once, say=lambda text: print(text, flush=True))
    finally:
        if (out / "budget.json").exists():
            done = collect(config, budget, out)
            if done.contraction or done.start:
                print(described(done), flush=True)
    found = collect(config, budget, out)
    about = {"command": _command(args), "versions": versions(), "processor": processor()}
    print(f"written: {files.save(out / files.NAME, found, **about)}")
    if args.write:
        found, about = files.completed(found, about, args.write)
        print(f"written: {files.save(args.write, found, **about)}")
    return 0


def described(found: Any) -> str:
    """Everything measured, beside its threshold, and the verdict."""
    from actre.entropy.preconditions import checks, verdict

    lines = [f"{found.model}, {found.env}: preconditions, value [95 % interval], threshold"]
    lines += [f"  {one.met:12} {one.what}: {one.value}; {one.threshold}" for one in checks(found)]
    return "\n".join([*lines, verdict(found)])


def _command(args: argparse.Namespace) -> str:
    """The command that makes the same record, without this machine's paths."""
    words = ["actre preconditions"]
    for name in ("preset", "env", "model", "seed", "games", *(name for name, _, _ in _OPTIONS)):
        value = getattr(args, name)
        if value not in (None, 0):
            words.append(f"--{name.replace('_', '-')} {value}")
    words += [f"--set {text}" for text in args.set]
    if set(args.parts) != set(_PARTS):
        words.append(f"--parts {' '.join(args.parts)}")
    return " ".join(words)
