"""`actre pretrain-tiny`: demonstrations, tokenizer, training, measurement and model card, in this order."""

import argparse
import dataclasses
import json
import os
import re
import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from actre.config import derive_seed, versions
from actre.envs.demo import Demo
from actre.organisms import start
from actre.organisms.house import HOUSE
from actre.organisms.loop import RECIPES, Part, Recipe, Trainer
from actre.organisms.rows import cached_demos, renderers, rows
from actre.organisms.shop import SHOP
from actre.organisms.world import World
from actre.policies.tiny import make_model, unknown_words
from actre.runtime import outputs
from actre.runtime.limits import processor
from actre.types import ActreError, Order

REBUILDS = "## Rebuilds"
_MADE, _CARD = "made.json", "README.md"
_FILES = {
    *("config.json", "generation_config.json", "model.safetensors", "chat_template.jinja"),
    *("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", _MADE, "start.json", _CARD),
}
"""Files in a policy's folder."""
_PARTS = "|".join(sorted({re.escape(part.name) for recipe in RECIPES.values() for part in recipe.parts}))
_WORK = re.compile(rf"(demos|games|start-games|shop)\b.*|({_PARTS})\.(pt|part)|log\.jsonl")
"""Names in pretraining's work folder."""
_ALIKE = ("the same episodes in each of the three orders.", ",\nsuccess equal within 8 points")
_KINDS = {
    "neutral": _ALIKE,
    "shopper": _ALIKE,
    "narrow": (
        "in the last part\nthink-first shows other episodes than act-first and no-think: there thinking narrows the "
        "choice by construction.\nIt is the instrument's positive control; a win on it is a demonstration, never "
        "evidence.",
        "",
    ),
}
"""Kind -> text of its card: on its episodes, and on further conditions."""


@dataclass(frozen=True)
class PartMade:
    """Record of one part. won: share of the demonstrations; cpu_minutes: of training only, over all threads."""

    name: str
    episodes: int
    won: float
    rows: int
    tokens: int
    cpu_minutes: float


@dataclass(frozen=True)
class Made:
    """Record of a pretraining, for the card."""

    recipe: Recipe
    threads: int
    parts: tuple[PartMade, ...]
    parameters: int
    words: int


def run(args: argparse.Namespace) -> int:
    """The command. Prints the result and its measurement; returns 1 if a condition is missed."""
    torch.set_num_threads(args.threads)
    work = args.work
    if args.check:
        folder = args.check
    else:
        folder = args.out or Path(f"runs/tiny-{args.kind}")
        recipe = replace(RECIPES[args.kind], seed=args.seed)
        if args.games is not None:
            recipe = replace(recipe, games=args.games)
        if args.tokens is not None:
            share = args.tokens / sum(part.tokens for part in recipe.parts)
            parts = tuple(replace(part, tokens=round(part.tokens * share)) for part in recipe.parts)
            recipe = replace(recipe, parts=parts)
        made = make(recipe, folder, work, threads=args.threads)
        tokens = sum(part.tokens for part in made.parts)
        minutes = sum(part.cpu_minutes for part in made.parts)
        print(f"{folder}: {made.parameters:,} parameters, {tokens:,} tokens, {minutes:.0f} CPU-minutes")
    if not (folder / _MADE).exists():
        raise ActreError(f"{folder} has no made.json: make the policy with `actre pretrain-tiny`")
    if (card := folder / _CARD).exists() and not card.read_text().startswith("# The "):
        raise outputs.refusal(card, "is not the card that this command writes", "--check FOLDER")
    of = json.loads((folder / _MADE).read_text())["recipe"]
    world = _world(of)
    games = world.start_games(-(-args.episodes // start.FRESH_GROUP), work, seed=of["seed"], games=of["games"])
    record = start.check(folder, games, world.config, seed=args.seed, alike=_kind(of) != "narrow")
    start.write_record(folder, record)
    write_card(folder, record)
    print(start.table(record))
    for line in record["missed"]:
        print(f"missed: {line}")
    return 1 if record["missed"] else 0


def demos_of(recipe: Recipe, habits: Sequence[Any], each: int, work: Path) -> list[Demo]:
    """`each` episodes per game of every expert, cached in `work` in files named after their settings."""
    world = _world(dataclasses.asdict(recipe))
    found: list[Demo] = []
    for habit, again in Counter(habits).items():
        said = "-".join(str(value) for value in dataclasses.astuple(habit))
        episodes = each * again
        name = f"demos-{recipe.seed}-{recipe.games}x{episodes}-{recipe.max_steps}-{said}.jsonl.gz"
        made = (recipe.games, habit, recipe.seed, recipe.max_steps)
        make = partial(world.play, *made, episodes=episodes, work=work)
        found += cached_demos(work / name, make)
    return found


def make(recipe: Recipe, folder: Path, work: Path, *, threads: int) -> Made:
    """Make a tiny policy and save it in `folder`. Continues an interrupted run of the same recipe in `work`.

    Raises ActreError if `folder` holds anything but a policy of this recipe, whose card's list of rebuilds is kept.
    """
    _must_be_replaceable(folder, recipe)
    outputs.growing(work, _is_work, "--work-dir", what="a work folder of pretraining")
    work.mkdir(parents=True, exist_ok=True)
    demos = {part.name: part_demos(recipe, part, work) for part in recipe.parts}
    every = [demo for shown in demos.values() for played in shown for demo in played[0]]
    steps = [step for demo in every for step in demo.steps]
    world = _world(dataclasses.asdict(recipe))
    tokenizer = world.tokenizer(every)
    _closed(tokenizer, {*(demo.first for demo in every), *(step.observation for step in steps)})
    prompts = renderers(tokenizer, world.config.prompt.world)
    seed = derive_seed(recipe.seed, "pretrain weights")
    model = make_model(tokenizer, seed, layers=recipe.layers, width=recipe.width, heads=recipe.heads)
    names = world.names(tokenizer)
    done: list[PartMade] = []
    for part in recipe.parts:
        rows_seed = derive_seed(recipe.seed, f"{part.name} rows")
        made = [
            made_row
            for played, orders in demos[part.name]
            for made_row in rows(played, prompts, part.mix, rows_seed, recipe.longest, orders, world.reader)
        ]
        played = [demo for shown, _ in demos[part.name] for demo in shown]
        trainer = Trainer(model, made, recipe, part, work, pad_id=tokenizer.pad_token_id, names=names)
        trainer.run()
        won = round(sum(demo.won for demo in played) / len(played), 4)
        minutes = round(trainer.seconds / 60, 1)
        done.append(PartMade(part.name, len(played), won, len(made), trainer.tokens, minutes))
    with torch.no_grad():
        model.model.norm.weight.mul_(recipe.sharpen)
    result = Made(recipe, threads, tuple(done), sum(p.numel() for p in model.parameters()), len(tokenizer))
    about = {**dataclasses.asdict(result), "versions": versions(), "processor": processor()}
    with outputs.replacing(folder) as new:
        model.save_pretrained(new)
        tokenizer.save_pretrained(new)
        (new / _MADE).write_text(json.dumps(about, indent=1) + "\n")
        if (folder / _CARD).exists():  # its list of rebuilds
            shutil.copy(folder / _CARD, new / _CARD)
        _must_be_replaceable(folder, recipe)
    return result


def _must_be_replaceable(folder: Path, recipe: Recipe) -> None:
    """Raises ActreError for a folder that holds anything but a policy of this recipe."""
    place = outputs.must_be_whole(folder)
    if not place.is_dir() or not (names := set(os.listdir(place))):
        return
    try:
        made = json.loads((place / _MADE).read_bytes())["recipe"]
    except (OSError, ValueError, KeyError, TypeError):
        made = None
    if made != json.loads(json.dumps(dataclasses.asdict(recipe))) or names - _FILES:
        why = f"holds {outputs.described(place)}, which is not just a policy made by this recipe, and would be replaced"
        raise outputs.refusal(folder, why)


def _is_work(folder: Path) -> bool:
    """Whether a folder holds only files of pretraining."""
    return all(_WORK.fullmatch(name) for name in outputs.visible(folder))


def part_demos(recipe: Recipe, part: Part, work: Path) -> list[tuple[list[Demo], tuple[Order, ...]]]:
    """A part's episodes, with the orders that are trained on them."""
    shared = demos_of(recipe, part.habits, part.episodes, work)
    if not part.think_first_habits:
        return [(shared, part.orders)]
    thinking = demos_of(recipe, part.think_first_habits, part.episodes, work)
    return [(shared, tuple(o for o in part.orders if o != "think_first")), (thinking, ("think_first",))]


def _closed(tokenizer: Any, texts: set[str]) -> None:
    """Raises ActreError for words of the demonstrations that the tokenizer lacks, such as new words of the expert."""
    unknown = unknown_words(tokenizer, "\n".join(sorted(texts)))
    if unknown:
        raise ActreError(
            f"the tokenizer lacks words of the demonstrations: {dict(unknown.most_common(9))}; "
            "add them in actre/policies/tiny.py or tiny_shop.py"
        )


def _world(recipe: dict[str, Any]) -> World:
    """The world of a recipe; early recipes name none and are for ALFWorld."""
    return SHOP if recipe.get("world") == "webshop" else HOUSE


def _kind(recipe: dict[str, Any]) -> str:
    """neutral: all orders are trained on the same episodes; narrow: they are not; shopper: for WebShop."""
    if recipe.get("world") == "webshop":
        return "shopper"
    return "narrow" if any(part.get("think_first_habits") for part in recipe["parts"]) else "neutral"


def _experts(habits: list[dict[str, Any]]) -> str:
    """The experts in words, equal ones counted."""
    searchers = Counter(", ".join(f"{k} {v}" for k, v in one.items()) for one in habits)
    return "; ".join(f"{n} of {len(habits)}: {words}" for words, n in searchers.items())


def _part(part: dict[str, Any], done: dict[str, Any]) -> str:
    """The card's line on one part."""
    said = _experts(part["habits"])
    if part.get("think_first_habits"):
        said = f"act-first and no-think: {said}; think-first: {_experts(part['think_first_habits'])}"
    return (
        f'- Part "{part["name"]}": {done["tokens"]:,} tokens, {done["cpu_minutes"]} CPU-minutes; {done["episodes"]} '
        f"episodes as {done['rows']} rows; the expert ({said}) wins {done['won']:.1%} of them; slips "
        f"{part['mix']['slips']}, drill {part['drill']}."
    )


def write_card(folder: Path, record: dict[str, Any]) -> None:
    """Write README.md: how the policy was made, and its measurement. An old card's list of rebuilds is kept."""
    card = folder / _CARD
    old = card.read_text() if card.exists() else ""
    log = old[old.index(REBUILDS) :] if REBUILDS in old else f"{REBUILDS}\n\nNone yet.\n"
    made = json.loads((folder / _MADE).read_text())
    recipe = made["recipe"]
    missed = "".join(f"- {line}\n" for line in record["missed"])
    missed = f"Missed, shipped as the closest:\n\n{missed}" if missed else "All conditions are met.\n"
    precision = "bfloat16 products, float32 weights" if recipe["bfloat16"] else "float32"
    parts = "\n".join(_part(part, done) for part, done in zip(recipe["parts"], made["parts"], strict=True))
    kind, world = _kind(recipe), _world(recipe)
    of_each, asked = _KINDS[kind]
    card.write_text(
        f"""# The {kind} tiny policy

A model organism, no evidence about language models: it teaches the method and tests the code. A Llama of
{made["parameters"]:,} parameters ({recipe["layers"]} layers, width {recipe["width"]}, {recipe["heads"]} heads, tied
embeddings, float32) with a closed vocabulary of {made["words"]} words, in which {world.one_token}
is one. Trained from scratch on a scripted expert's episodes; {of_each}

## How it was made

    actre pretrain-tiny --kind {kind} --seed {recipe["seed"]} --threads {made["threads"]}

- The games: {world.games.format(n=recipe["games"])}, at most {recipe["max_steps"]} steps
  an episode.
{parts}
- {made["threads"]} thread(s) of {made["processor"]}; {precision};
  {", ".join(f"{name} {made['versions'][name]}" for name in ("python", "torch", "transformers"))}.
- After training, logits are multiplied by {recipe["sharpen"]}.
- All settings: made.json (class `actre.organisms.loop.Recipe`).

## How it starts

{world.start}, growing history, shared wording, forced opening tag, at most
{world.config.env.max_steps} steps, {start.FRESH_GROUP} episodes a game; ± is one standard error over games. Measured by
`actre pretrain-tiny --check FOLDER`, which writes start.json and this page.

{start.table(record)}

Conditions, at temperature 1: at least 90 % of the actions admissible and 15-40 % success in each order{asked}.
It was chosen by these alone, never by what training in the arms then does.

{missed}
{log}"""
    )
