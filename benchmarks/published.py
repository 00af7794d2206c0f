"""The published protocol as presets, and the published figures beside ours.

    python benchmarks/published.py page                    # writes docs/published.md
    python benchmarks/published.py add RUN METHOD          # adds a finished run of qwen-1.5b or qwen-7b

data/results/published.json holds the published figures, as their papers print them, and `ours`: what `add` took from
runs of this kit, empty until somebody runs them. This script needs no GPU.
"""

import argparse
import json
import re
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from actre.config import RunConfig, data_folder, differences, load_config
from actre.config.arms import ARMS, arm
from actre.config.presets import preset
from actre.rollout.evaluate import load_evaluation
from actre.runtime.estimate import estimate, gpu
from actre.stats import wilson
from actre.types import ActreError

PAGE = Path(__file__).resolve().parents[1] / "docs" / "published.md"
SIZES = {"1.5B": "qwen-1.5b", "7B": "qwen-7b"}
ITERATIONS = 150
GPUS = (("A100", 80.0), ("H100", 80.0), ("L4", 24.0))
PANELS = {"alfworld": ("official/valid_seen", "ALFWorld, valid_seen"), "webshop": ("official/paper-test", "WebShop")}
GAMES = {"alfworld": 140, "webshop": 500}
"""How many games or goals those panels hold."""
TRAINED = {"GRPO": "grpo", "RLOO": "rloo", "GiGPO": "gigpo", "GiGPO without std": "gigpo_no_std"}
"""Published methods that this kit trains: think-first throughout, with that advantage."""


def record_file() -> Path:
    """Where the figures lie."""
    return data_folder() / "results" / "published.json"


def record() -> dict[str, Any]:
    """The record as it is."""
    return dict(json.loads(record_file().read_text()))


def add(run: Path, method: str) -> None:
    """Add a finished run's evaluation on the panel of the published figures to the record.

    Raises ActreError for a run of another preset or length, one that is not what METHOD says, and one that was not
    evaluated there on every game.
    """
    config = load_config(run / "config.json")
    size = next((name for name, of in SIZES.items() if re.fullmatch(rf"{of}(-\d+gb)?", config.preset)), None)
    if size is None:
        raise ActreError(
            f"{run} is a run of the preset {config.preset}; the published figures are of {list(SIZES.values())}"
        )
    panel = PANELS[config.env.name][0]
    names = {config.env.seen: "seen", config.env.unseen: "unseen"}
    wanted = (panel, names.get(panel))
    results = [
        r for r in load_evaluation(run / "evaluation.jsonl", "after") if r.panel in wanted and r.order == "think_first"
    ]
    if not results:
        raise ActreError(
            f"{run} has no evaluation on {panel}, think-first: actre evaluate --adapter RUN/adapter "
            f"--panels {names.get(panel, panel)} --seed SEED --out FOLDER, with the run's own settings and seed"
        )
    if len(results) != GAMES[config.env.name]:
        raise ActreError(f"{run} was evaluated on {len(results)} of {panel}'s {GAMES[config.env.name]}: play every one")
    kept = record()
    _check_method(config, method, {row["method"] for row in kept["published"]})
    row = {
        "method": method,
        "size": size,
        "env": config.env.name,
        "seed": config.seed,
        "games": len(results),
        "won": sum(r.won for r in results),
        "score": sum(r.env_return for r in results) / len(results),
        "versions": json.loads((run / "config.json").read_text())["versions"],
    }
    same = ("method", "size", "env", "seed")
    kept["ours"] = [one for one in kept["ours"] if any(one[k] != row[k] for k in same)] + [row]
    record_file().write_text(json.dumps(kept, indent=1) + "\n")


def _check_method(config: RunConfig, method: str, published: set[str]) -> None:
    """Raises ActreError where a run is not what METHOD says: a published method that this kit trains, or "ARM, METHOD"
    ("actre, GRPO"), with the preset's settings and length.
    """
    name, _, rule = method.rpartition(", ")
    name = name or "think_first"
    if rule not in TRAINED or name not in ARMS or (name == "think_first" and method not in published):
        raise ActreError(f"no row {method!r}: rows are {', '.join(TRAINED)}, and with another arm e.g. 'actre, {rule}'")
    base = preset(config.preset, config.env.name)
    wanted = arm(name, replace(base, optim=replace(base.optim, advantage=TRAINED[rule])))
    others = differences(_decisive(wanted), _decisive(config))
    if others or wanted.iterations != ITERATIONS:
        raise ActreError(f"the run is not {method} as the preset {config.preset} has it: {'; '.join(others[:3])}")


def _decisive(config: RunConfig) -> dict[str, Any]:
    """The settings that define the method; not the seed, nor the engine and loader."""
    kept = {part: asdict(getattr(config, part)) for part in ("env", "prompt", "sampling", "optim")}
    stages = [asdict(stage) for stage in config.stages]
    return {**kept, "stages": stages, "env_steps": config.env_steps, "model": config.model.name}


def page() -> str:
    """The page's text, from the record and the presets."""
    kept = record()
    lines = [
        "# The published protocol, and the published figures",
        "",
        "Made by `python benchmarks/published.py page` from data/results/published.json and the presets; do not edit.",
        "",
        "ActRe's own tables are not public. These are the figures that later work compares with",
        f"({kept['source']}). Anyone with GPUs can add this kit's figures beside them.",
        *([] if kept["ours"] else ["**None of ours has been run.**"]),
        "",
        "## The protocol as a preset",
        "",
        *_protocol(),
        "",
        "## What it would take",
        "",
        *_costs(),
        "",
    ]
    for env, (_, title) in PANELS.items():
        lines += [f"## {title}", "", *_figures(kept, env), ""]
    lines += [
        "Published success on ALFWorld is over 128 episodes drawn with repetition (about 84 of the 140 games; standard",
        "error 3.8 points). Ours would play every game once, with Wilson's 95 % interval. WebShop: score / success,",
        "in %.",
        f"LoRA on four 24-GB cards gave {kept['lora']} (arXiv 2606.27136).",
        "",
        "## How to run it",
        "",
        "    alfworld-download && export ALFWORLD_DATA=~/.cache/alfworld   # 2 GB",
        "    actre doctor && actre games check official/valid_seen         # found; solved by the expert",
        "    actre train --preset qwen-1.5b --arm think_first --out runs/q15",
        "    actre evaluate --adapter runs/q15/adapter --panels seen --seed 0 --out runs/q15-seen  # the run's seed",
        "    python benchmarks/published.py add runs/q15-seen GRPO && python benchmarks/published.py page",
        "",
        "For WebShop: [webshop.md](webshop.md) names the official files; `actre webshop check FOLDER` checks them,",
        "`actre webshop import FOLDER` indexes them once; evaluate with `--panels unseen`. Games in the older ALFWorld",
        "format 2.1.1 are converted when they are read, with a warning: room and task stay; rules and text become",
        "those of the current version, so results on them are results on current games.",
        "",
        "The presets differ from the published settings in these points: adapters (LoRA; learning rate 3e-6 and no KL",
        "term, as published LoRA runs have it) instead of all weights (1e-6, KL 0.01); prompts up to 4,096 tokens",
        "(theirs on ALFWorld: 2,048); one update a batch instead of mini-batches; our prompt wording; for ActRe, a",
        "switch after 50 iterations, which is our choice.",
    ]
    return "\n".join(lines) + "\n"


def _protocol() -> list[str]:
    config = preset("qwen-1.5b")
    optim, sampling = config.optim, config.sampling
    rows = [
        ("tasks x group", f"{optim.groups} x {optim.group_size}"),
        ("steps an episode", f"{config.env.max_steps}; WebShop {preset('qwen-1.5b', 'webshop').env.max_steps}"),
        ("history", f"{config.prompt.history}, the last {config.prompt.window}; admissible actions listed"),
        ("iterations", f"{config.iterations}, " + " + ".join(f"{s.iterations} {s.order}" for s in config.stages)),
        ("reply, prompt", f"at most {sampling.max_reply_tokens} and {sampling.max_prompt_tokens} tokens"),
        ("learning rate, adapter", f"{optim.learning_rate:g}, LoRA of rank {config.model.lora_rank}"),
        ("reward, format penalty", f"{optim.success_reward:g}, {optim.format_penalty:g}"),
        ("KL", f"{optim.kl_beta:g}"),
        ("temperature", f"{sampling.temperature:g}, in evaluation {sampling.eval_temperature:g}"),
    ]
    return ["| setting | `--preset qwen-1.5b`, `qwen-7b` |", "|---|---|", *(f"| {a} | {b} |" for a, b in rows)]


def _costs() -> list[str]:
    rows = [
        "Estimates by `actre/runtime/estimate.py`. No GPU has confirmed them; half or twice as much is possible.",
        "`actre doctor --preset NAME` estimates for the machine at hand.",
        "",
        f"| preset | GPU | memory, GB | fits | hours for {ITERATIONS} iterations |",
        "|---|---|---|---|---|",
    ]
    for size, name in SIZES.items():
        for card, memory in GPUS:
            rows.append(_cost(size, preset(name), card, memory))
    return rows


def _cost(size: str, config: RunConfig, card: str, memory: float) -> str:
    found = estimate(config, gpu(card, memory))
    hours = ITERATIONS * (found.rollout_s + found.update_s) / 3600
    fits = "yes" if found.fits else "no"
    return f"| {size} | {card}, {memory:.0f} GB | {found.memory_gb:.0f} | {fits} | {hours:.0f} |"


def _figures(kept: dict[str, Any], env: str) -> list[str]:
    heads = [f"{size}, {whose}" for size in SIZES for whose in ("published", "ours")]
    lines = [f"| method | {' | '.join(heads)} |", "|---|" + "---|" * len(heads)]
    published = {row["method"]: row[env] for row in kept["published"]}
    methods = list(dict.fromkeys([*published, *(one["method"] for one in kept["ours"] if one["env"] == env)]))
    for method in methods:
        cells = []
        for size in SIZES:
            cells += [published.get(method, {}).get(size, ""), _ours(kept["ours"], method, size, env)]
        lines.append(f"| {method} | {' | '.join(cells)} |")
    return lines


def _ours(ours: list[dict[str, Any]], method: str, size: str, env: str) -> str:
    cells = []
    for one in ours:
        if (one["method"], one["size"], one["env"]) == (method, size, env):
            value, low, high = wilson(one["won"], one["games"])[:3]
            score = f"{100 * one['score']:.1f} / " if env == "webshop" else ""
            cells.append(
                f"{score}{100 * value:.1f} [{100 * low:.1f}, {100 * high:.1f}], n = {one['games']}, seed {one['seed']}"
            )
    return "; ".join(cells)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("page")
    adding = commands.add_parser("add")
    adding.add_argument("run", type=Path)
    adding.add_argument("method")
    args = parser.parse_args()
    if args.command == "add":
        add(args.run, args.method)
    else:
        PAGE.write_text(page())
        print(PAGE)


if __name__ == "__main__":
    main()
