"""The quickstart over several seeds: what each arm gained on the unseen games, with intervals.

    python benchmarks/quickstart.py collect runs/quickstart runs/quickstart-1 runs/quickstart-2
    python benchmarks/quickstart.py page          # writes docs/quickstart-result.md from what was collected
    python benchmarks/quickstart.py page --env webshop    # docs/quickstart-webshop.md

`collect` copies settings, metrics, entropy and evaluation of finished quickstarts into data/results/quickstart/seed-N
(quickstart_webshop for a run in the shop), so that the page can be made from committed data alone.
"""

import argparse
import json
import os
import platform
import shutil
from pathlib import Path

from actre.config import ENV_NAMES, EnvName, data_folder, load_config
from actre.rollout.evaluate import EpisodeResult, load_evaluation, paired_difference, summarise
from actre.runtime.limits import processor
from actre.stats import wilson
from actre.types import ORDERS, ActreError, Order, read_jsonl, write_jsonl

ARMS = ("think_first", "actre")
NAMES = {"think_first": "think-first alone", "actre": "ActRe"}
DOCS = Path(__file__).resolve().parents[1] / "docs"
PAGES: dict[EnvName, Path] = {"alfworld": DOCS / "quickstart-result.md", "webshop": DOCS / "quickstart-webshop.md"}
_POLICY: dict[EnvName, str] = {"alfworld": "tiny policy even-high", "webshop": "tiny shopper"}
_SUCCESS: dict[EnvName, str] = {
    "alfworld": "the share of the panel's games that are won, each game played once at",
    "webshop": "the share of the panel's goals bought at reward 1, each played once at",
}
_GAMES: dict[EnvName, str] = {"alfworld": "games", "webshop": "goals"}


def results_folder(env: EnvName) -> Path:
    """Where the collected quickstarts in that environment lie."""
    return data_folder() / "results" / ("quickstart" if env == "alfworld" else f"quickstart_{env}")


def collect(runs: list[Path]) -> None:
    """Copy what the figures need from finished quickstart folders. Raises ActreError for one that is not finished."""
    for run in runs:
        config = load_config(run / "config.json")
        target = results_folder(config.env.name) / f"seed-{config.seed}"
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir(parents=True)
        shutil.copy(run / "config.json", target)
        shutil.copy(run / "diagnosis.json", target)
        for arm in ARMS:
            if not (run / "logs" / f"{arm}.done").exists():
                raise ActreError(f"{run / arm} is not finished: run `actre quickstart --out {run}` to its end")
            for name in ("metrics", "entropy", "evaluation"):
                write_jsonl(target / arm / f"{name}.jsonl.gz", read_jsonl(run / arm / f"{name}.jsonl"))
        jobs = {mark.stem: int(mark.read_text() or 0) for mark in sorted((run / "logs").glob("*.done"))}
        machine = {"machine": platform.machine(), "cores": os.cpu_count(), "processor": processor(), "cpu_s": jobs}
        (target / "machine.json").write_text(json.dumps(machine, indent=1) + "\n")


_SPREAD = {
    False: (
        "the wider of Student's t over seeds and a bootstrap over games and seeds",
        "(`actre.rollout.evaluate.paired_difference`).",
    ),
    True: ("a bootstrap over games alone: with one seed no interval over seeds exists.",),
}
"""How the intervals of differences are made; by whether there is only one seed."""


def page(env: EnvName) -> str:
    """The page's text, from the collected data alone."""
    seeds = sorted(results_folder(env).glob("seed-*"))
    if not seeds:
        raise ActreError("nothing is collected yet: python benchmarks/quickstart.py collect runs/quickstart")
    asked, found = ("", "") if env == "alfworld" else (" --env webshop", " in the shop")
    config = json.loads((seeds[0] / "config.json").read_text())
    machine = json.loads((seeds[0] / "machine.json").read_text())
    versions = ", ".join(f"{name} {v}" for name, v in config["versions"].items() if name in ("torch", "trl", "peft"))
    numbers = ", ".join(folder.name.removeprefix("seed-") for folder in seeds)
    lines = [
        f"# What the quickstart finds{found}",
        "",
        f"Made by `python benchmarks/quickstart.py page{asked}` from data/results/{results_folder(env).name}; "
        "do not edit.",
        f"`actre quickstart{asked} --seed N`, seed{'s' * (len(seeds) > 1)} {numbers}; {machine['processor']}, "
        f"{machine['cores']} cores, one thread a job; {versions}.",
        "",
        f"The {_POLICY[env]} is a model organism: it shows the method at work and is no evidence",
        f"about pretrained models. Success is {_SUCCESS[env]}",
        f"temperature {config['config']['sampling']['eval_temperature']}. Intervals are 95 %: Wilson's for one "
        "evaluation; for differences",
        *_SPREAD[len(seeds) == 1],
        "",
    ]
    if machine.get("cpu_s"):
        took = ", ".join(f"{job} {seconds}" for job, seconds in machine["cpu_s"].items())
        lines += [f"CPU seconds of seed {seeds[0].name.removeprefix('seed-')}'s jobs, two at a time: {took}.", ""]
    for panel, order in (("unseen", "think_first"), ("seen", "think_first"), ("unseen", "act_first")):
        lines += _table(seeds, panel, order, _GAMES[env])
        if env == "webshop":
            lines += _scores(seeds, panel, order)
    return "\n".join([*lines, *_steps(seeds)]) + "\n"


def _table(seeds: list[Path], panel: str, order: Order, games: str) -> list[str]:
    primary = " (the primary endpoint)" if (panel, order) == ("unseen", "think_first") else ""
    rows = [f"## {panel} {games}, evaluated {order.replace('_', '-')}{primary}", ""]
    rows += ["| seed | before | after, think-first alone | after, ActRe |", "|---|---|---|---|"]
    for seed in seeds:
        before = _rate(_results(seed, "think_first", "before", panel, order))
        after = [_rate(_results(seed, arm, "after", panel, order)) for arm in ARMS]
        rows.append(f"| {seed.name.removeprefix('seed-')} | {before} | {after[0]} | {after[1]} |")
    rows += [""]
    for arm in ARMS:
        befores = [_results(seed, arm, "before", panel, order) for seed in seeds]
        afters = [_results(seed, arm, "after", panel, order) for seed in seeds]
        rows.append(f"- {NAMES[arm]}, after minus before: {_difference(befores, afters)}")
    alone = [_results(seed, "think_first", "after", panel, order) for seed in seeds]
    both = [_results(seed, "actre", "after", panel, order) for seed in seeds]
    return [*rows, f"- ActRe minus think-first alone, after: {_difference(alone, both)}", ""]


def _scores(seeds: list[Path], panel: str, order: Order) -> list[str]:
    """Mean reward of the purchases; an episode without one counts 0."""
    rows = ["| seed | mean score before | after, think-first alone | after, ActRe |", "|---|---|---|---|"]
    for seed in seeds:
        before = _score(_results(seed, "think_first", "before", panel, order))
        after = [_score(_results(seed, arm, "after", panel, order)) for arm in ARMS]
        rows.append(f"| {seed.name.removeprefix('seed-')} | {before} | {after[0]} | {after[1]} |")
    return [*rows, ""]


def _score(results: list[EpisodeResult]) -> str:
    found = summarise(results)[0]
    assert found.return_interval is not None
    return f"{found.env_return:.3f} [{found.return_interval.low:.3f}, {found.return_interval.high:.3f}]"


def _results(seed: Path, arm: str, when: str, panel: str, order: Order) -> list[EpisodeResult]:
    assert order in ORDERS
    every = load_evaluation(seed / arm / "evaluation.jsonl.gz", when)  # type: ignore[arg-type]
    return [r for r in every if (r.panel, r.order) == (panel, order)]


def _rate(results: list[EpisodeResult]) -> str:
    value, low, high = wilson(sum(r.won for r in results), len(results))[:3]
    return f"{100 * value:.1f} % [{100 * low:.1f}, {100 * high:.1f}] of {len(results)}"


def _difference(first: list[list[EpisodeResult]], then: list[list[EpisodeResult]]) -> str:
    value, low, high = paired_difference(first, then)[:3]
    seeds = f"{len(first)} seeds" if len(first) > 1 else "1 seed"
    return f"{100 * value:+.1f} points [{100 * low:+.1f}, {100 * high:+.1f}], {seeds}"


def _steps(seeds: list[Path]) -> list[str]:
    """What each run took, and the action entropy before and after."""
    rows = ["## What the runs took, and action entropy (nats, mean over the probe states)", ""]
    rows += [
        "| seed | arm | iterations | environment steps | generated tokens | act-first, start to end "
        "| think-first bracket, start | think-first bracket, end |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for seed in seeds:
        for arm in ARMS:
            last = list(read_jsonl(seed / arm / "metrics.jsonl.gz"))[-1]
            entropy = list(read_jsonl(seed / arm / "entropy.jsonl.gz"))
            ends = [
                f"{e['think_first_lower']['value']:.2f} to {e['think_first_upper']['value']:.2f}"
                for e in (entropy[0], entropy[-1])
            ]
            act = f"{entropy[0]['act_first']['value']:.2f} to {entropy[-1]['act_first']['value']:.2f}"
            rows.append(
                f"| {seed.name.removeprefix('seed-')} | {NAMES[arm]} | {last['iteration']} | {last['env_steps']:,} "
                f"| {last['generated_tokens']:,} | {act} | {ends[0]} | {ends[1]} |"
            )
    return [*rows, "", f"Act-first is exact. Think-first is a bracket from K = {entropy[0]['k']} thoughts a state."]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("collect").add_argument("runs", nargs="+", type=Path)
    commands.add_parser("page").add_argument("--env", choices=ENV_NAMES, default="alfworld")
    args = parser.parse_args()
    if args.command == "collect":
        collect(args.runs)
    else:
        PAGES[args.env].write_text(page(args.env))
        print(PAGES[args.env])


if __name__ == "__main__":
    main()
