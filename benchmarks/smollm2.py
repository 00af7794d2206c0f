"""SmolLM2's diagnosis as a result: what a small pretrained model does in both orders before any training.

    actre models get smollm2
    actre diagnose --model smollm2 --states 20 --thoughts 8 --force-action-tag --budget 25 --out runs/smollm2
    python benchmarks/smollm2.py collect runs/smollm2      # --partial: also where not all states are finished
    python benchmarks/smollm2.py page                      # writes docs/smollm2.md from what was collected
    python benchmarks/smollm2.py trained runs/smollm2-train    # a short training run after a warm start, as a record

`collect` copies the records, settings and figures into data/results/smollm2, so that the page regenerates from
committed data alone. The wording "instructed" is collected where it was measured.
"""

import argparse
import json
import os
import platform
import shutil
import textwrap
from dataclasses import asdict
from pathlib import Path
from typing import Any

from actre import adapters
from actre.config import data_folder, load_config
from actre.diagnose import FILES, PARTS, Diagnosis, load_diagnosis, save_diagnosis
from actre.policies.models import smollm2_source
from actre.types import ActreError, read_jsonl

PAGE = Path(__file__).resolve().parents[1] / "docs" / "smollm2.md"
SHOWN = {"listed_by_state": "Each state among the listed actions: act-first (dot), think-first's bracket (bar)"}
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


def collect(run: Path, *, partial: bool = False) -> None:
    """Copy what the page is made of from a diagnosis. Raises ActreError for none, and for one that is not finished."""
    paths = {name: run / f"{name}.json" for name in FILES.values()}
    found = {name: load_diagnosis(path) for name, path in paths.items() if path.exists()}
    if not found or not (partial or all(one.complete for one in found.values())):
        raise ActreError(f"{run} is not finished: the same `actre diagnose` command goes on with it")
    target = results_folder()
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    for name, one in found.items():
        save_diagnosis(target / f"{name}.json.gz", one)
    shutil.copy(run / "config.json", target)
    (target / "plots").mkdir()
    for name in SHOWN:
        for one in found.values():
            shutil.copy(run / "plots" / f"{name}_{one.settings.wording}.svg", target / "plots")
    machine = {"processor": _processor(), "cores": os.cpu_count(), "threads": os.environ.get("OMP_NUM_THREADS", "all")}
    made = {**machine, "weights": smollm2_source(), "timing": list(read_jsonl(run / "timing.jsonl"))}
    (target / "machine.json").write_text(json.dumps(made, indent=1) + "\n")


def trained(run: Path) -> dict[str, Any]:
    """A training run as a record: settings, metrics, and how far its reloaded adapter moves the base model's logits.

    Raises ActreError for a run without an adapter.
    """
    config = load_config(run / "config.json")
    loaded = adapters.load(run / "adapter", config.model)
    check = adapters.check(run / "adapter", loaded.model, loaded.tokenizer, base=config.model)
    return {
        "settings": {"stages": [asdict(stage) for stage in config.stages], "groups": config.optim.groups}
        | {"group_size": config.optim.group_size, "max_steps": config.env.max_steps, "games": config.env.train}
        | {"max_reply_tokens": config.sampling.max_reply_tokens, "seed": config.seed, "model": config.model.name},
        "processor": _processor(),
        "versions": json.loads((run / "config.json").read_text())["versions"],
        "metrics": list(read_jsonl(run / "metrics.jsonl")),
        "adapter": {"differs_from_base_by": check.from_base},
    }


def _processor() -> str:
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    named = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.processor() or "unknown"


def page() -> str:
    """The page's text, from the collected data alone."""
    folder = results_folder()
    paths = [folder / f"{name}.json.gz" for name in FILES.values()]
    found = [load_diagnosis(path) for path in paths if path.exists()]
    lines = [*_head(folder, found[0]), *_found(found), *_table(found), *_pictures(found[0]), *_parts(found[0])]
    return "\n".join(lines).rstrip() + "\n"


def _head(folder: Path, one: Diagnosis) -> list[str]:
    machine = json.loads((folder / "machine.json").read_text())
    config = json.loads((folder / "config.json").read_text())
    versions = ", ".join(f"{name} {config['versions'][name]}" for name in ("torch", "transformers"))
    s = one.settings
    forced = " --force-action-tag" if s.force_action_tag else ""
    command = f"actre diagnose --model smollm2 --states {s.states} --thoughts {s.thoughts}{forced} --seed {s.seed}"
    listed = "listed" if s.list_admissible else "not listed"
    states = f"{s.states}" if one.complete else f"the first {len(one.states)} of {s.states} (a partial result)"
    return [
        "# What SmolLM2 does before any training",
        "",
        "Made by `python benchmarks/smollm2.py page` from data/results/smollm2; do not edit.",
        "",
        f"    {command} --out runs/smollm2",
        "",
        *_wrapped(
            f"SmolLM2-135M-Instruct (weights: {machine['weights']}, computed in float32) on {states} shipped states of "
            "full-size unseen games: expert and random play, early and late in the episode. Temperature "
            f"{s.temperature:g}, K = {s.thoughts} thoughts a state of at most {s.max_thought_tokens} tokens, "
            f"{s.history} history of {s.window} steps, admissible actions {listed} in the prompt. Intervals are "
            f"95 %, over games. {_time(machine)} Versions: {versions}."
        ),
    ]


def _wrapped(text: str) -> list[str]:
    """A paragraph's lines, and an empty one."""
    return [*textwrap.wrap(text, 118, break_long_words=False, break_on_hyphens=False), ""]


def _time(machine: dict[str, Any]) -> str:
    """How long it took: CPU time, since the machine may have been shared."""
    cpu: dict[str, float] = {}
    for line in machine["timing"]:
        cpu[line["wording"]] = cpu.get(line["wording"], 0.0) + line["cpu_seconds"] / 60
    took = " and ".join(f"{minutes:.1f} minutes of CPU time ({wording} prompt)" for wording, minutes in cpu.items())
    threads = "a thread a core" if machine["threads"] == "all" else f"{machine['threads']} thread(s)"
    return f"It took {took}, {threads}, {machine['processor']}."


def _found(found: list[Diagnosis]) -> list[str]:
    main = found[0]
    act, think = (100 * main.summary[f"other_{order}_first"].value for order in ("act", "think"))
    lines = ["## What was found", ""]
    if min(act, think) > 50:
        lines += _wrapped(
            "**Free choice says nothing here.** Untrained, this model does not follow the format: with `<action>` "
            f"written for it, {act:.1f} % of the probability act-first and {think:.1f} % think-first go to "
            f"something that is no admissible action with its closing tag. Entropies count all of that as one "
            f"outcome, so both are near 0, and their equality is no finding about which actions it would try. "
            f"What can be measured is its choice *among the listed actions*: each distribution renormalised over "
            f"them, as for a policy whose decoding is constrained to the list. That is another policy than the "
            f"free one, and named as such."
        )
    for one in found:
        name = "One prompt for both orders" if one.settings.wording == "shared" else "Each order in its own words"
        if one.listed is not None:
            lines.append(f"- {name}, among the listed actions: **{one.listed.verdict}**. {one.listed.words}")
        lines.append(f"- {name}, free choice: **{one.verdict}**. {one.words}")
    unclosed = 100 * main.summary["unfinished"].value
    notes = (
        f"{unclosed:.0f} % of the thoughts did not close by themselves; "
        f"`--force-action-tag` closed them and wrote `<action>`. The thoughts (they are in the record) mostly "
        f"wander off the task, so this checks the instrument on a pretrained model and gives a baseline for one "
        f"that is taught the format; it is no evidence about models that reason."
    )
    return [*lines, "", *_wrapped(notes)]


def _table(found: list[Diagnosis]) -> list[str]:
    names = [f"{one.settings.wording} prompt" for one in found]
    lines = [f"| nats, mean over the states | {' | '.join(names)} |", "|---" * (1 + len(found)) + "|"]
    for rows, unit in ((ROWS, ""), (SHARES, " (share)")):
        for name, label in rows:
            cells = " | ".join(_cell(one, name) for one in found)
            lines.append(f"| {label}{unit} | {cells} |")
    return [*lines, ""]


def _cell(one: Diagnosis, name: str) -> str:
    band = one.summary.get(name)
    return "–" if band is None else f"{band.value:.3f} [{band.low:.3f}, {band.high:.3f}]"


def _pictures(one: Diagnosis) -> list[str]:
    lines = []
    for name, words in SHOWN.items():
        lines += [f"![{words}](../data/results/smollm2/plots/{name}_{one.settings.wording}.svg)", "", words + ".", ""]
    return lines


def _parts(one: Diagnosis) -> list[str]:
    """Act-first and the bracket among the listed actions, by part: means alone, for parts are small."""
    lines = ["## By position, source and task type, among the listed actions (exploratory)", ""]
    lines += ["| part | states | act-first | think-first |", "|---|---|---|---|"]
    for by in PARTS:
        for name in sorted({getattr(state, by) for state in one.states}):
            mine = [s.listed for s in one.states if getattr(s, by) == name and s.listed is not None]
            act, low, high = (sum(getattr(x, f) for x in mine) / len(mine) for f in ("act_first", "lower", "upper"))
            lines.append(f"| {name} | {len(mine)} | {act:.2f} | {low:.2f} to {high:.2f} |")
    return [*lines, ""]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    gather = commands.add_parser("collect")
    gather.add_argument("run", type=Path)
    gather.add_argument("--partial", action="store_true", help="also a diagnosis that its budget stopped")
    commands.add_parser("page")
    commands.add_parser("trained").add_argument("run", type=Path)
    args = parser.parse_args()
    if args.command == "collect":
        collect(args.run, partial=args.partial)
    elif args.command == "trained":
        target = data_folder() / "results" / "train_smollm2.json"
        target.write_text(json.dumps(trained(args.run), indent=1) + "\n")
        print(target)
    else:
        PAGE.write_text(page())
        print(PAGE)


if __name__ == "__main__":
    main()
