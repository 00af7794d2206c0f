"""`actre pretrain-tiny`: demonstrations, tokenizer, training, the check of the start, the card; in one command.

Knows the order of the work; each part stands in its own file.
"""

import argparse
import dataclasses
import json
import platform
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from actre.config import derive_seed, versions
from actre.envs.alfworld.demos import Demo, demonstrations
from actre.envs.alfworld.games import read_rooms
from actre.envs.alfworld.rooms import content_key
from actre.policies.tiny import make_model, make_tokenizer, unknown_words
from actre.pretrain import start
from actre.pretrain.loop import Recipe, Trainer
from actre.pretrain.rows import cached_demos, renderers, rows
from actre.types import ActreError

REBUILDS = "## Rebuilds"


@dataclass(frozen=True)
class Made:
    """What a pretraining run was, for the card. cpu_minutes: of training alone, all threads together."""

    recipe: Recipe
    threads: int
    episodes: int
    won: float
    rows: int
    tokens: int
    cpu_minutes: float
    parameters: int
    words: int


def run(args: argparse.Namespace) -> int:
    """The command. Prints what was made and its start; 1 if a condition is missed."""
    torch.set_num_threads(args.threads)
    work = Path(args.work)
    if args.check:
        folder = Path(args.check)
    else:
        folder = Path(args.out)
        changes = {k: v for k, v in (("tokens", args.tokens), ("games", args.games)) if v is not None}
        made = make(replace(Recipe(seed=args.seed), **changes), folder, work, threads=args.threads)
        print(f"{folder}: {made.parameters:,} parameters, {made.tokens:,} tokens, {made.cpu_minutes:.0f} CPU-minutes")
    record = start.check(folder, args.episodes, work, games_in(work), seed=args.seed)
    start.write_record(folder, record)
    write_card(folder, record)
    print(start.table(record))
    for line in record["missed"]:
        print(f"missed: {line}")
    return 1 if record["missed"] else 0


def demos_of(recipe: Recipe, work: Path) -> list[Demo]:
    """The expert's episodes, played once and kept in `work` under a name that says what made them."""
    habits = "-".join(str(value) for value in dataclasses.astuple(recipe.habits))
    name = f"demos-{recipe.seed}-{recipe.games}x{recipe.episodes}-{recipe.max_steps}-{habits}.jsonl.gz"
    panel = work / f"games-{recipe.seed}-{recipe.games}.jsonl.gz"
    return cached_demos(
        work / name,
        lambda: demonstrations(
            recipe.games,
            recipe.habits,
            derive_seed(recipe.seed, "pretrain games"),
            recipe.max_steps,
            episodes=recipe.episodes,
            panel=panel,
        ),
    )


def games_in(work: Path) -> set[str]:
    """The content keys of every game that pretraining played from this folder."""
    return {content_key(room) for panel in sorted(work.glob("games-*.jsonl.gz")) for room in read_rooms(panel)}


def make(recipe: Recipe, folder: Path, work: Path, *, threads: int) -> Made:
    """Make a tiny policy and save it in `folder`. Resumes an interrupted run of the same recipe in `work`."""
    work.mkdir(parents=True, exist_ok=True)
    demos = demos_of(recipe, work)
    tokenizer = make_tokenizer(sorted({step.thought for demo in demos for step in demo.steps}))
    _closed(tokenizer, demos)
    made = rows(demos, renderers(tokenizer), recipe.mix, derive_seed(recipe.seed, "pretrain rows"), recipe.longest)
    model = make_model(
        tokenizer,
        derive_seed(recipe.seed, "pretrain weights"),
        layers=recipe.layers,
        width=recipe.width,
        heads=recipe.heads,
    )
    trainer = Trainer(model, made, recipe, work, tokenizer.pad_token_id)
    trainer.run()
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    result = Made(
        recipe=recipe,
        threads=threads,
        episodes=len(demos),
        won=round(sum(demo.won for demo in demos) / len(demos), 4),
        rows=len(made),
        tokens=trainer.tokens,
        cpu_minutes=round(trainer.seconds / 60, 1),
        parameters=sum(p.numel() for p in model.parameters()),
        words=len(tokenizer),
    )
    about = {**dataclasses.asdict(result), "versions": versions(), "processor": _processor()}
    (folder / "made.json").write_text(json.dumps(about, indent=1) + "\n")
    return result


def _closed(tokenizer: Any, demos: list[Demo]) -> None:
    """Every word of every demonstration must be known; a new word in the expert or engine shows here."""
    texts = {demo.first for demo in demos} | {step.observation for demo in demos for step in demo.steps}
    unknown = unknown_words(tokenizer, "\n".join(sorted(texts)))
    if unknown:
        raise ActreError(
            f"the demonstrations hold words that the tokenizer does not know: {dict(unknown.most_common(9))}; "
            "add them to ENGINE_WORDS in actre/policies/tiny.py"
        )


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.machine())


def write_card(folder: Path, record: dict[str, Any]) -> None:
    """Write README.md: how the policy was made and how it starts. The list of rebuilds in an old card is kept."""
    card = folder / "README.md"
    old = card.read_text() if card.exists() else ""
    log = old[old.index(REBUILDS) :] if REBUILDS in old else f"{REBUILDS}\n\nNone yet.\n"
    made = json.loads((folder / "made.json").read_text())
    recipe = made["recipe"]
    missed = "".join(f"- {line}\n" for line in record["missed"]) or "All conditions are met.\n"
    habits = ", ".join(f"{key} {value}" for key, value in recipe["habits"].items())
    card.write_text(
        f"""# The neutral tiny policy

A model organism, no evidence about language models: it teaches the method and tests the code. A Llama of
{made["parameters"]:,} parameters ({recipe["layers"]} layers, width {recipe["width"]}, {recipe["heads"]} heads, tied
embeddings, float32) with a closed vocabulary of {made["words"]} words, in which a name with its number ("cabinet 2")
is one. Trained from scratch on a scripted expert's episodes; the same episodes in each of the three orders.

## How it was made

    actre pretrain-tiny --kind neutral --seed {recipe["seed"]} --threads {made["threads"]}

- Demonstrations: {made["episodes"]} episodes on {recipe["games"]} generated small games that are in no shipped panel,
  at most {recipe["max_steps"]} steps each; the expert's habits: {habits}. It wins {made["won"]:.1%} of them.
- Training: {made["rows"]} rows, {made["tokens"]:,} tokens, {made["cpu_minutes"]} CPU-minutes on {made["threads"]}
  thread(s) of {made["processor"]}; {"bfloat16 products, float32 weights" if recipe["bfloat16"] else "float32"};
  {", ".join(f"{name} {made['versions'][name]}" for name in ("python", "torch", "transformers"))}.
- All settings: made.json (class `actre.pretrain.loop.Recipe`).

## How it starts

Fresh games in no shipped panel and not in pretraining, growing history, shared wording, forced opening tag, at most
20 steps, {start.FRESH_GROUP} episodes a game; ± is one standard error over games. Measured by
`actre pretrain-tiny --check FOLDER`, which writes start.json and this page.

{start.table(record)}

Conditions, at temperature 1: at least 90 % of the actions admissible and 15-40 % success in each order, success equal
within 8 points. It was chosen by these alone, never by what training in the arms then does.

{missed}
{log}"""
    )
