"""SmolLM2's diagnosis as a result: what a small pretrained model does in both orders before any training.

    actre models get smollm2
    actre diagnose --model smollm2 --states 20 --thoughts 16 --force-action-tag --budget 25 --out runs/smollm2
    python benchmarks/smollm2.py collect runs/smollm2
    python benchmarks/smollm2.py page             # writes docs/smollm2.md from what was collected

`collect` copies the records, settings and figures into data/results/smollm2, so that the page regenerates from
committed data alone.
"""

import argparse
import json
import os
import platform
import shutil
from pathlib import Path

from actre.config import data_folder
from actre.diagnose import FILES, PARTS, Diagnosis, load_diagnosis, parts, save_diagnosis
from actre.entropy import Contraction, Interval
from actre.policies.models import smollm2_source
from actre.types import ActreError, read_jsonl

PAGE = Path(__file__).resolve().parents[1] / "docs" / "smollm2.md"
SHOWN = ("difference_by_state", "decomposition")
ROWS = (
    ("act_first", "act-first, exact"),
    ("think_first_lower", "think-first, at least"),
    ("think_first_upper", "think-first, at most"),
    ("no_think", "no-think, exact (its prompt asks for no thought)"),
    ("conditional", "think-first, left after a thought (not comparable with act-first)"),
    ("information", "think-first, what the thought tells about the action"),
    ("equal_n_act_first", "act-first, from K sampled actions"),
    ("equal_n_think_first", "think-first, from K sampled actions"),
    ("listed_act_first", "among the listed actions only: act-first"),
    ("listed_lower", "among the listed actions only: think-first, at least"),
    ("listed_upper", "among the listed actions only: think-first, at most"),
    ("token_thought", "another quantity: entropy a thought token"),
    ("token_action_act_first", "another quantity: entropy an action token, act-first"),
)
SHARES = (
    ("other_act_first", "probability outside the listed actions, act-first"),
    ("other_think_first", "probability outside the listed actions, think-first"),
    ("other_no_think", "probability outside the listed actions, no-think"),
    ("unfinished", "thoughts that did not close by themselves"),
)


def results_folder() -> Path:
    """Where the collected diagnosis lies."""
    return data_folder() / "results" / "smollm2"


def collect(run: Path) -> None:
    """Copy what the page is made of from a finished diagnosis. Raises ActreError for one that is not finished."""
    found = {name: load_diagnosis(run / f"{name}.json") for name in FILES.values()}
    if not all(one.complete for one in found.values()):
        raise ActreError(f"{run} is not finished: the same `actre diagnose` command goes on with it")
    target = results_folder()
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    for name, one in found.items():
        save_diagnosis(target / f"{name}.json.gz", one)
    shutil.copy(run / "config.json", target)
    shutil.copytree(run / "plots", target / "plots")
    machine = {"processor": _processor(), "cores": os.cpu_count(), "threads": os.environ.get("OMP_NUM_THREADS", "all")}
    made = {**machine, "weights": smollm2_source(), "timing": list(read_jsonl(run / "timing.jsonl"))}
    (target / "machine.json").write_text(json.dumps(made, indent=1) + "\n")


def _processor() -> str:
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    named = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.processor() or "unknown"


def page() -> str:
    """The page's text, from the collected data alone."""
    folder = results_folder()
    shared, instructed = (load_diagnosis(folder / f"{name}.json.gz") for name in FILES.values())
    lines = [*_head(folder, shared), *_found(shared, instructed), *_table(shared, instructed), *_pictures()]
    return "\n".join([*lines, *_parts(shared), *_reading(shared)]) + "\n"


def _head(folder: Path, one: Diagnosis) -> list[str]:
    machine = json.loads((folder / "machine.json").read_text())
    config = json.loads((folder / "config.json").read_text())
    versions = ", ".join(f"{name} {config['versions'][name]}" for name in ("torch", "transformers"))
    s = one.settings
    minutes = {t["wording"]: 0.0 for t in machine["timing"]}
    for t in machine["timing"]:
        minutes[t["wording"]] += t["seconds"] / 60
    took = " and ".join(f"{value:.0f} minutes ({wording})" for wording, value in minutes.items())
    return [
        "# What SmolLM2 does before any training",
        "",
        "Made by `python benchmarks/smollm2.py page` from data/results/smollm2; do not edit.",
        "",
        f"    actre diagnose --model smollm2 --states {s.states} --thoughts {s.thoughts}"
        f"{' --force-action-tag' if s.force_action_tag else ''} --seed {s.seed} --out runs/smollm2",
        "",
        f"SmolLM2-135M-Instruct (weights: {machine['weights']}, float32), {s.states} shipped states of full-size",
        f"unseen games (expert and random play, early and late), temperature {s.temperature:g}, K = {s.thoughts}",
        f"thoughts a state of at most {s.max_thought_tokens} tokens, {s.history} history of {s.window} steps,",
        f"admissible actions {'listed' if s.list_admissible else 'not listed'} in the prompt. Intervals are 95 %, over",
        "games.",
        f"It took {took} on {machine['processor']}, {machine['cores']} cores shared with other work, "
        f"threads: {machine['threads']}; {versions}.",
        "",
    ]


def _found(shared: Diagnosis, instructed: Diagnosis) -> list[str]:
    lines = ["## What was found", ""]
    for name, one in (("One prompt for both orders", shared), ("Each order in its own words", instructed)):
        lines.append(f"- {name}: **{one.verdict}**. {one.words}")
        if one.listed is not None:
            lines.append(f"  Among the listed actions only: **{one.listed.verdict}**. {one.listed.words}")
    return [*lines, ""]


def _table(shared: Diagnosis, instructed: Diagnosis) -> list[str]:
    lines = ["| nats, mean over the states | one prompt | own words |", "|---|---|---|"]
    lines += [f"| {label} | {_cell(shared, name)} | {_cell(instructed, name)} |" for name, label in ROWS]
    lines += [f"| {label} (share) | {_cell(shared, name)} | {_cell(instructed, name)} |" for name, label in SHARES]
    return [*lines, ""]


def _cell(one: Diagnosis, name: str) -> str:
    band = one.summary.get(name)
    return "–" if band is None else str(band)


def _pictures() -> list[str]:
    shown = [f"![{name.replace('_', ' ')}](../data/results/smollm2/plots/{name}_shared.svg)" for name in SHOWN]
    return [line for picture in shown for line in (picture, "")]


def _parts(one: Diagnosis) -> list[str]:
    lines = ["## By position, source and task type (one prompt; exploratory)", ""]
    lines += [
        "| part | states | act-first | think-first | no-think | difference, between |",
        "|---|---|---|---|---|---|",
    ]
    for by in PARTS:
        for part in parts(one.states, by, one.settings.seed):
            think = f"{part.think_first_lower.value:.2f} to {part.think_first_upper.value:.2f}"
            none = "–" if part.no_think is None else f"{part.no_think.value:.2f}"
            ends = f"{_ends(part.difference_lower)} and {_ends(part.difference_upper)}"
            lines.append(f"| {part.name} | {part.states} | {part.act_first.value:.2f} | {think} | {none} | {ends} |")
    return [*lines, ""]


def _ends(band: Interval) -> str:
    return str(band) if band.low == band.low else f"{band.value:.2f}"


def _reading(one: Diagnosis) -> list[str]:
    return ["## How to read it", ""]


def _unused(c: Contraction) -> str:
    return c.words


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("collect").add_argument("run", type=Path)
    commands.add_parser("page")
    args = parser.parse_args()
    if args.command == "collect":
        collect(args.run)
    else:
        PAGE.write_text(page())
        print(PAGE)


if __name__ == "__main__":
    main()
