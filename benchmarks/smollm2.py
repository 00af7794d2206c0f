"""SmolLM2's diagnosis: a small pretrained model in both orders, before and after a warm start.

    actre models get smollm2
    actre diagnose --model smollm2 --states 20 --thoughts 8 --force-action-tag --budget 25 --out runs/smollm2
    python benchmarks/smollm2.py collect runs/smollm2      # --partial: also where not all states are finished
    actre diagnose --preset smollm2 --model runs/warm/model ... --out runs/smollm2-warm    # benchmarks/warmstart.py's
    python benchmarks/smollm2.py collect runs/smollm2-warm --when after
    python benchmarks/smollm2.py page                      # writes docs/smollm2-diagnosis.md from what was collected
    python benchmarks/smollm2.py trained runs/smollm2-train    # a short training run after a warm start, as a record

`collect` copies the records, settings and figures into data/results/smollm2 (or smollm2_warm), so that the page
can be made from committed data alone. The wording "instructed" is collected where it was measured.
"""

import argparse
import json
import os
import shutil
import textwrap
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from actre import adapters
from actre.config import data_folder, load_config
from actre.entropy.diagnose import FILES, PARTS, Diagnosis, load_diagnosis, save_diagnosis
from actre.policies.smollm2 import smollm2_source
from actre.runtime.limits import processor
from actre.types import ActreError, read_jsonl

PAGE = Path(__file__).resolve().parents[1] / "docs" / "smollm2-diagnosis.md"
SHOWN = {
    "before": {"listed_by_state": "Each state among the listed actions: act-first (dot), think-first's bracket (bar)"},
    "after": {"difference_by_state": "Act-first's entropy minus think-first's, bracket, by state"},
    "more": {"difference_by_part": "Act-first's entropy minus think-first's, bracket, by part"},
}
ROWS = (
    ("act_first", "act-first, exact"),
    ("think_first_lower", "think-first, at least"),
    ("think_first_upper", "think-first, at most"),
    ("no_think", "no-think, exact (its prompt asks for no thought)"),
    ("conditional", "think-first, left after a thought (not comparable with act-first)"),
    ("information", "think-first, information of the thought about the action"),
    ("equal_n_act_first", "act-first, from K sampled actions"),
    ("equal_n_think_first", "think-first, from K sampled actions"),
    ("listed_act_first", "among the listed actions only: act-first"),
    ("listed_lower", "among the listed actions only: think-first, at least"),
    ("listed_upper", "among the listed actions only: think-first, at most"),
    ("token_thought", "another quantity: entropy per thought token"),
    ("token_action_act_first", "another quantity: entropy per action token, act-first"),
)
SHARES = (
    ("other_act_first", "probability outside the listed actions, act-first"),
    ("other_think_first", "probability outside the listed actions, think-first"),
    ("other_no_think", "probability outside the listed actions, no-think"),
    ("unfinished", "thoughts that did not close by themselves"),
)


FOLDERS = {"before": "smollm2", "after": "smollm2_warm", "more": "smollm2_warm_more"}
"""When -> folder in data/results: the untrained model, the one after docs/warmstart.md, and that one on more states."""


def results_folder(when: str = "before") -> Path:
    """Where the collected diagnosis lies."""
    return data_folder() / "results" / FOLDERS[when]


def collect(run: Path, *, when: str = "before", partial: bool = False) -> None:
    """Copy a diagnosis's records and figures. Raises ActreError where there is none, or one that is not finished."""
    paths = {name: run / f"{name}.json" for name in FILES.values()}
    found = {name: load_diagnosis(path) for name, path in paths.items() if path.exists()}
    if not found or not (partial or all(one.complete for one in found.values())):
        raise ActreError(f"{run} is not finished: the same `actre diagnose` command continues it")
    target = results_folder(when)
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    for name, one in found.items():
        named = replace(one.settings, model=_portable(one.settings.model))
        save_diagnosis(target / f"{name}.json.gz", replace(one, settings=named))
    settings = json.loads((run / "config.json").read_text())
    settings["config"]["model"]["name"] = _portable(settings["config"]["model"]["name"])
    (target / "config.json").write_text(json.dumps(settings, indent=1) + "\n")
    (target / "plots").mkdir()
    for name in SHOWN[when]:
        for one in found.values():
            shutil.copy(run / "plots" / f"{name}_{one.settings.wording}.svg", target / "plots")
    machine = {"processor": processor(), "cores": os.cpu_count(), "threads": os.environ.get("OMP_NUM_THREADS", "all")}
    made = {**machine, "weights": smollm2_source(), "timing": list(read_jsonl(run / "timing.jsonl"))}
    (target / "machine.json").write_text(json.dumps(made, indent=1) + "\n")


def _portable(model: str) -> str:
    """A model's name; of a folder only the end of its path, since the rest is particular to a machine."""
    path = Path(model)
    return str(Path(*path.parts[-3:])) if path.is_absolute() else model


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
        "processor": processor(),
        "versions": json.loads((run / "config.json").read_text())["versions"],
        "metrics": list(read_jsonl(run / "metrics.jsonl")),
        "adapter": {"differs_from_base_by": check.from_base},
    }


def page() -> str:
    """The page's text, from the collected data alone."""
    found = {when: _collected(when) for when in FOLDERS}
    before, after = found["before"], found["after"]
    lines = [*_head(before[0]), "## Before any training", "", *_found(before)]
    if after:
        lines += ["## After the warm start", "", *_warm(), *_found(after)]
    if found["more"]:
        lines += ["## After the warm start, on more states", "", *_more(found["more"][0]), *_found(found["more"])]
    columns = [(when, one) for when, ones in found.items() for one in ones]
    lines += _table(columns)
    for when, ones in found.items():
        if ones:
            lines += [f"## {TITLES[when]}: state by state, and by position, source and task type (exploratory)", ""]
            lines += [*_pictures(when, ones[0]), *_parts(ones[0], when)]
    return "\n".join(lines).rstrip() + "\n"


TITLES = {"before": "Before", "after": "After the warm start", "more": "After the warm start, on more states"}


def _collected(when: str) -> list[Diagnosis]:
    """The collected diagnoses of one time, one for each wording."""
    paths = [results_folder(when) / f"{name}.json.gz" for name in FILES.values()]
    return [load_diagnosis(path) for path in paths if path.exists()]


def _head(one: Diagnosis) -> list[str]:
    folder = results_folder()
    machine = json.loads((folder / "machine.json").read_text())
    config = json.loads((folder / "config.json").read_text())
    versions = ", ".join(f"{name} {config['versions'][name]}" for name in ("torch", "transformers"))
    s = one.settings
    forced = " --force-action-tag" if s.force_action_tag else ""
    command = f"actre diagnose --model smollm2 --states {s.states} --thoughts {s.thoughts}{forced} --seed {s.seed}"
    listed = "listed" if s.list_admissible else "not listed"
    states = f"{s.states}" if one.complete else f"the first {len(one.states)} of {s.states} (a partial result)"
    return [
        "# SmolLM2 in both orders, before any training and after a warm start",
        "",
        "Made by `python benchmarks/smollm2.py page` from data/results/smollm2, smollm2_warm and smollm2_warm_more; do "
        "not edit.",
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


def _warm() -> list[str]:
    """How the model of "after" was made and measured."""
    machine = json.loads((results_folder("after") / "machine.json").read_text())
    return _wrapped(
        "The same states, thoughts and settings (`--preset smollm2 --model runs/warm/model`) with the model of "
        "[warmstart.md](warmstart.md): a few CPU-minutes of supervised steps on a scripted expert's episodes, balanced "
        f"over the orders, no reward. {_time(machine)} The expert's thoughts and choices are now part of "
        "the model, so a difference between the orders is also a finding about this warm start."
    )


def _more(one: Diagnosis) -> list[str]:
    """Why it was measured again, and how."""
    s = one.settings
    cut = (
        ""
        if one.complete
        else f" It ended after {len(one.states)} because the time was up, without inspecting the numbers."
    )
    words = _wrapped(
        "The first measurement was inconclusive and estimated how many games and thoughts a verdict needs. So the "
        f"shared prompt was measured again on {s.states} states of as many unseen games, including the first ones, "
        f"with K = {s.thoughts} thoughts each. The number of states was fixed beforehand.{cut}"
    )
    return [
        *words,
        f"    actre probes --panel full/unseen --n {s.states} --seed 0 --out runs/probes.jsonl.gz",
        "    actre diagnose --preset smollm2 --model runs/warm/model --probes runs/probes.jsonl.gz \\",
        f"        --states {s.states} --thoughts {s.thoughts} --wording {s.wording} --force-action-tag --seed {s.seed} "
        "--out runs/smollm2-warm-more",
        "",
    ]


def _wrapped(text: str) -> list[str]:
    """A paragraph's lines, and an empty one."""
    return [*textwrap.wrap(text, 118, break_long_words=False, break_on_hyphens=False), ""]


def _time(machine: dict[str, Any]) -> str:
    """CPU time, since the machine may have been shared."""
    cpu: dict[str, float] = {}
    for line in machine["timing"]:
        cpu[line["wording"]] = cpu.get(line["wording"], 0.0) + line["cpu_seconds"] / 60
    took = " and ".join(f"{minutes:.1f} minutes of CPU time ({wording} prompt)" for wording, minutes in cpu.items())
    threads = "one thread per core" if machine["threads"] == "all" else f"{machine['threads']} thread(s)"
    return f"It took {took}, {threads}, {machine['processor']}."


def _found(found: list[Diagnosis]) -> list[str]:
    main = found[0]
    act, think = (100 * main.summary[f"other_{order}_first"].value for order in ("act", "think"))
    lines = []
    if min(act, think) > 50:
        lines += _wrapped(
            "**Free choice is uninformative here.** Untrained, this model does not follow the format: with `<action>` "
            f"written for it, {act:.1f} % of the probability act-first and {think:.1f} % think-first go to text that "
            f"is not an admissible action with its closing tag. The entropies count all of that as one outcome, so "
            f"both are near 0, and their equality is no finding about which actions it would try. What can be "
            f"measured is its choice *among the listed actions*: each distribution renormalised over them, as for a "
            f"policy whose decoding is constrained to the list. That is a different policy from the free one, and "
            f"named as such."
        )
    else:
        lines += _wrapped(
            f"{act:.1f} % of the probability act-first and {think:.1f} % think-first go to text that is not an "
            "admissible action with its closing tag. Free choice counts all of that as one outcome, so an order that "
            "is wrong more often can seem narrower; *among the listed actions* each distribution is renormalised over "
            "them. Where the two disagree, they disagree about the probability outside the list."
        )
    lines += _checked(found)
    for one in found:
        name = "One prompt for both orders" if one.settings.wording == "shared" else "Each order in its own words"
        lines.append(f"- {name}, free choice: **{one.verdict}**. {one.words}")
        if one.listed is not None:
            lines.append(f"- {name}, among the listed actions: **{one.listed.verdict}**. {one.listed.words}")
    unclosed = 100 * main.summary["unfinished"].value
    forced = f"{unclosed:.0f} % of the thoughts did not close by themselves; `--force-action-tag` closed them"
    if unclosed > 50:
        notes = (
            f"{forced} and wrote `<action>`. The thoughts (they are in the record) mostly wander off the task. So this "
            "checks the instrument on a pretrained model and is a baseline for one that has learned the format; it is "
            "no evidence about models that reason."
        )
    else:
        said = "; ".join(f'"{state.thoughts[0]}"' for state in main.states[:4])
        notes = f"{forced}. Examples, the first thought of each of the first states: {said}."
    return [*lines, "", *_wrapped(notes)]


def _checked(found: list[Diagnosis]) -> list[str]:
    """Whether exact probabilities agree with whole replies; a warning for a record without that check."""
    if not all(one.self_check for one in found):
        return _wrapped(
            "**Not reliable**: measured before diagnoses had a self-check, by a scorer that tokenised tags and actions "
            "separately. This model writes `><` as one token, so the probabilities of actions, and of text outside "
            "the list, are partly those of a spelling it does not use. To be measured again."
        )
    lines = []
    for one in found:
        said = "; ".join(f"{check.words}{'' if check.agrees else ' (DISAGREES)'}" for check in one.self_check)
        lines += _wrapped(f"Self-check, {one.settings.wording} prompt: {said}.")
    if all(check.agrees for one in found for check in one.self_check):
        lines += _wrapped(
            "So the probability outside the list is text that this model does write, not another spelling of listed "
            "actions."
        )
    return lines


def _table(columns: list[tuple[str, Diagnosis]]) -> list[str]:
    names = [f"{when}: {one.settings.wording} prompt" for when, one in columns]
    lines = ["## All quantities", "", f"| nats, mean over the states | {' | '.join(names)} |"]
    lines += ["|---" * (1 + len(columns)) + "|"]
    for rows, unit in ((ROWS, ""), (SHARES, " (share)")):
        for name, label in rows:
            cells = " | ".join(_cell(one, name) for _, one in columns)
            lines.append(f"| {label}{unit} | {cells} |")
    return [*lines, ""]


def _cell(one: Diagnosis, name: str) -> str:
    band = one.summary.get(name)
    return "–" if band is None else f"{band.value:.3f} [{band.low:.3f}, {band.high:.3f}]"


def _pictures(when: str, one: Diagnosis) -> list[str]:
    lines = []
    for name, words in SHOWN[when].items():
        path = f"../data/results/{FOLDERS[when]}/plots/{name}_{one.settings.wording}.svg"
        lines += [f"![{words}]({path})", "", words + ".", ""]
    return lines


def _parts(one: Diagnosis, when: str) -> list[str]:
    """Act-first and the bracket by part, means only, since parts are small. Before: among the listed actions."""
    listed = when == "before"  # its free choice is uninformative
    lines = ["Among the listed actions only:" if listed else "Free choice:", ""]
    lines += ["| part | states | act-first | think-first |", "|---|---|---|---|"]
    for by in PARTS:
        for name in sorted({getattr(state, by) for state in one.states}):
            here = [s for s in one.states if getattr(s, by) == name]
            mine = [s.listed for s in here if s.listed is not None] if listed else here
            act, low, high = (sum(getattr(x, f) for x in mine) / len(mine) for f in ("act_first", "lower", "upper"))
            lines.append(f"| {name} | {len(mine)} | {act:.2f} | {low:.2f} to {high:.2f} |")
    return [*lines, ""]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    gather = commands.add_parser("collect")
    gather.add_argument("run", type=Path)
    gather.add_argument(
        "--when", choices=tuple(FOLDERS), default="before", help="untrained, warm-started, or that on more states"
    )
    gather.add_argument("--partial", action="store_true", help="also accept a diagnosis that its budget stopped")
    commands.add_parser("page")
    commands.add_parser("trained").add_argument("run", type=Path)
    args = parser.parse_args()
    if args.command == "collect":
        collect(args.run, when=args.when, partial=args.partial)
    elif args.command == "trained":
        target = data_folder() / "results" / "train_smollm2.json"
        target.write_text(json.dumps(trained(args.run), indent=1) + "\n")
        print(target)
    else:
        PAGE.write_text(page())
        print(PAGE)


if __name__ == "__main__":
    main()
