"""SmolLM2's warm start: format compliance before and after, with a small budget.

    actre models get smollm2
    actre warmstart --dtype bfloat16 --episodes 64 --states-per-episode 2 --max-length 640 --steps 20 --batch-size 4 \\
        --learning-rate 1e-3 --out runs/warmstart_smollm2
    python benchmarks/warmstart.py collect runs/warmstart_smollm2
    python benchmarks/warmstart.py page          # writes docs/warmstart.md from what was collected
    python benchmarks/warmstart.py ship runs/warm said    # a finished warm start as the model smollm2/said

`collect` writes the record and the losses to data/results/warmstart_smollm2.json, the page's only source. `ship` puts
the adapter, in bfloat16, with its record and losses into data/smollm2/STYLE.
"""

import argparse
import json
import os
import shutil
import textwrap
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from actre.config import data_folder
from actre.organisms.compliance import Compliance, free_share, table
from actre.policies.smollm2 import SMOLLM2_PACKAGE
from actre.runtime.limits import processor
from actre.types import ActreError, read_jsonl

PAGE = Path(__file__).resolve().parents[1] / "docs" / "warmstart.md"
_FAULTS = {
    "no_action": "no action in its tags",
    "no_thought": "no thought in its tags",
    "wrong_order": "the other order",
    "extra_text": "text outside the tags",
    "truncated": "ended by the token limit",
    "inadmissible": "an action that is not listed",
}


def results() -> Path:
    """Where the collected record lies."""
    return data_folder() / "results" / "warmstart_smollm2.json"


def collect(run: Path, note: str = "") -> None:
    """Copy a finished warm start's record, with a note on how it ran. Raises ActreError for another folder."""
    results().write_text(json.dumps({**_finished(run), "note": note}, indent=1) + "\n")


def _finished(run: Path) -> dict[str, Any]:
    """The record of a finished warm start, with its losses and the machine. Raises ActreError for another folder."""
    path = run / "warmstart.json"
    if not path.exists():
        raise ActreError(f"{run} holds no finished warm start: the same `actre warmstart` command continues it")
    record = json.loads(path.read_text())
    lines = [line for line in read_jsonl(run / "metrics.jsonl") if line["step"] <= record["warm"]["steps"]]
    record["training"] |= {
        "steps": len(lines),
        "loss_last": lines[-1]["loss"],
        "cpu_s": round(sum(line["cpu_s"] for line in lines), 1),
        "epochs": round(len(lines) * record["warm"]["batch"] / record["rows"]["rows"], 2),
    }
    record["losses"] = [round(line["loss"], 4) for line in lines]
    record["machine"] = {"processor": processor(), "cores": os.cpu_count()}
    return dict(record)


def ship(run: Path, style: str) -> Path:
    """Put a finished warm start of the package's smollm2 into data/smollm2/`style`, weights in bfloat16; its folder.

    Raises ActreError for another folder, and for a warm start of other weights.
    """
    record = _finished(run)
    if record["about"]["weights"] != SMOLLM2_PACKAGE:
        raise ActreError(
            f"{run} started from {record['about']['weights']}; a shipped one starts from {SMOLLM2_PACKAGE}"
        )
    folder = data_folder() / "smollm2" / style
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("README.md", "actre.json", "adapter_config.json"):
        shutil.copyfile(run / "adapter" / name, folder / name)
    weights = load_file(run / "adapter" / "adapter_model.safetensors")
    half = {name: tensor.to(torch.bfloat16).contiguous() for name, tensor in weights.items()}
    save_file(half, folder / "adapter_model.safetensors", metadata={"format": "pt"})
    (folder / "warmstart.json").write_text(json.dumps(record, indent=1) + "\n")
    return folder


def page() -> str:
    """The page's text, from the collected record alone."""
    record = json.loads(results().read_text())
    before, after = ([Compliance(**one) for one in record[when]] for when in ("before", "after"))
    return "\n".join([*_head(record), *_found(before, after), *_details(record, before, after)]).rstrip() + "\n"


def _head(record: dict[str, Any]) -> list[str]:
    warm, run, rows, about = record["warm"], record["run"], record["rows"], record["about"]
    command = (
        f"actre warmstart --preset {run['preset']} --dtype {run['model']['dtype']} --episodes {warm['episodes']} "
        f"--states-per-episode {warm['per_episode']} --max-length {warm['longest']} --steps {warm['steps']} "
        f"--batch-size {warm['batch']} --learning-rate {warm['learning_rate']:g} --states {warm['states']} "
        f"--seed {run['seed']}"
    )
    trained = record["training"]
    measured = sum(record["measure_cpu_s"])
    said = (
        f"SmolLM2-135M-Instruct (weights: {about['weights']}) does not write readable `<think>` and `<action>` tags. "
        f"The warm start trains a LoRA adapter (rank {run['model']['lora_rank']}) with TRL's SFTTrainer on "
        f"{rows['rows']} rows: {about['games']}, which are in no shipped panel, where the scripted expert won "
        f"{about['expert_won']}; every state in all three orders, alternating the two wordings. Only reply "
        f"tokens have a loss ({rows['learned_tokens'] / rows['rows']:.0f} of "
        f"{rows['tokens'] / rows['rows']:.0f} a row). {trained['steps']} steps of {warm['batch']} rows saw "
        f"{trained['epochs']:.0%} of the rows once."
    )
    budget = (
        f"The budget was small: {trained['cpu_s'] / 60:.1f} CPU-minutes of training and {measured / 60:.1f} of "
        f"measuring, {record['threads']} thread of {record['machine']['processor']}, {record['dtype']}, no GPU. "
        "Versions: "
        + ", ".join(f"{name} {record['versions'][name]}" for name in ("torch", "transformers", "trl", "peft"))
        + "."
        + (f" {record['note']}" if record["note"] else "")
    )
    return [
        "# Warm start: SmolLM2's format compliance before and after",
        "",
        "Made by `python benchmarks/warmstart.py page` from data/results/warmstart_smollm2.json; do not edit.",
        "",
        f"    {command}",
        "",
        *_wrapped(said),
        *_wrapped(budget),
    ]


def _found(before: list[Compliance], after: list[Compliance]) -> list[str]:
    (was, n), (now, _) = free_share(before), free_share(after)
    states = before[0].states
    said = (
        f"Without forced tags, {was} of {n} replies were well-formed before and {now} of {n} after: {states} states of "
        "unseen full-size games under each condition, one reply sampled at temperature 1 in each. A reply is "
        "well-formed if it holds only the requested tags, in their order, closed, and ends by itself within the token "
        'limit. The "shared" wording requests no order, so either counts. Intervals are 95 % (Wilson).'
    )
    return [*_wrapped(said), table(before, after), ""]


def _details(record: dict[str, Any], before: list[Compliance], after: list[Compliance]) -> list[str]:
    names = sorted({flag for one in (*before, *after) for flag in one.flags})
    lines = ["What was wrong, over all conditions (a reply may have several faults):", ""]
    lines += ["| fault | before | after |", "|---|---|---|"]
    total = sum(one.states for one in before)
    for name in names:
        counts = [sum(one.flags.get(name, 0) for one in each) for each in (before, after)]
        lines.append(f"| {_FAULTS.get(name, name)} | {counts[0]} of {total} | {counts[1]} of {total} |")
    losses = record["losses"]
    fifth = max(1, len(losses) // 5)
    check = record["check"]
    said = (
        f"The loss a reply token fell from {sum(losses[:fifth]) / fifth:.2f} to {sum(losses[-fifth:]) / fifth:.2f} "
        f"nats (means of the first and the last {fifth} steps). The exported adapter, reloaded onto the plain model, "
        f"reproduces the trained logits to {check['from_trained']:.1e} and differs from the base model's by up to "
        f"{check['from_base']:.1f}."
    )
    limits = (
        "What this does not show: that the model plays well. The expert's thoughts are short and come from a small "
        "closed vocabulary, so thoughts after the warm start are short too, and the adapter has learned the expert's "
        "behaviour together with the format. A measurement of exploration on this model is one of a policy that "
        "imitates. One seed, one learning rate, one budget; no reinforcement learning, and nothing on a GPU."
    )
    examples = ["One think-first reply in the same state, with the tag forced as in training, before and after:", ""]
    for each in (before, after):
        one = next(one for one in each if one.tags == "first" and one.order == "think_first")
        shown = one.example if len(one.example) <= 300 else one.example[:300] + " ..."
        examples += [*(f"    {line}" for line in shown.splitlines()), "", ""]
    return [*lines, "", *_wrapped(said), *examples[:-1], *_wrapped(limits)]


def _wrapped(text: str) -> list[str]:
    return [*textwrap.wrap(text, 116, break_long_words=False, break_on_hyphens=False), ""]


def main() -> None:
    """Run one of the commands."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    taking = commands.add_parser("collect")
    taking.add_argument("run", type=Path)
    taking.add_argument("--note", default="", help="how it ran, for the page")
    commands.add_parser("page")
    shipping = commands.add_parser("ship")
    shipping.add_argument("run", type=Path)
    shipping.add_argument("style", help="the name behind smollm2/")
    args = parser.parse_args()
    if args.command == "collect":
        collect(args.run, args.note)
    elif args.command == "ship":
        print(ship(args.run, args.style))
    else:
        PAGE.write_text(page())
        print(PAGE)


if __name__ == "__main__":
    main()
