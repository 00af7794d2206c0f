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

from actre.config import ModelConfig, derive_seed, versions
from actre.envs.demo import Demo
from actre.organisms import start
from actre.organisms.card import CARD, MADE, kind_of, write_card
from actre.organisms.house import HOUSE
from actre.organisms.loop import Trainer
from actre.organisms.recipes import RECIPES, Dials, Part, Recipe, organism, recipe_of
from actre.organisms.rows import cached_demos, renderers, rows
from actre.organisms.shop import SHOP
from actre.organisms.world import World
from actre.policies.models import find, load
from actre.policies.tiny import make_model, unknown_words
from actre.runtime import outputs
from actre.runtime.limits import processor
from actre.types import ActreError, Order

_FILES = {
    *("config.json", "generation_config.json", "model.safetensors", "chat_template.jinja"),
    *("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", MADE, "start.json", CARD),
}
"""Files in a policy's folder."""
_PARTS = "|".join(sorted({re.escape(part.name) for recipe in RECIPES.values() for part in recipe.parts}))
_WORK = re.compile(rf"(demos|games|start-games|shop)\b.*|({_PARTS})\.(pt|part)|log\.jsonl")
"""Names in pretraining's work folder."""


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
        recipe = replace(chosen(args), seed=args.seed)
        folder = args.out or Path(f"runs/tiny-{kind_of(recipe)}")
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
    if not (folder / MADE).exists():
        raise ActreError(f"{folder} has no made.json: make the policy with `actre pretrain-tiny`")
    if (card := folder / CARD).exists() and not card.read_text().startswith("# The "):
        raise outputs.refusal(card, "is not the card that this command writes", "--check FOLDER")
    of = recipe_of(json.loads((folder / MADE).read_text())["recipe"])
    world = _world(of)
    games = world.start_games(-(-args.episodes // start.FRESH_GROUP), work, seed=of.seed, games=of.games)
    record = start.check(folder, games, world.config, seed=args.seed, alike=of.alike)
    start.write_record(folder, record)
    write_card(folder, record, world)
    print(start.table(record))
    for line in record["missed"]:
        print(f"missed: {line}")
    return 1 if record["missed"] else 0


def chosen(args: argparse.Namespace) -> Recipe:
    """The recipe of the command line. Raises ActreError for dials beside a kind."""
    if args.thoughts is None and args.contraction is None and not args.apart:
        return RECIPES[args.kind or "neutral"]
    if args.kind:
        raise ActreError(f"--kind {args.kind} has its own dials: leave out --kind, or the dials")
    return organism(Dials(args.thoughts or "said", args.contraction or 0.0, args.apart))


def demos_of(recipe: Recipe, habits: Sequence[Any], each: int, work: Path) -> list[Demo]:
    """`each` episodes per game of every expert, cached in `work` in files named after their settings."""
    world = _world(recipe)
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
    world = _world(recipe)
    model, tokenizer = _continued(recipe.base) if recipe.base else _fresh(recipe, world, every)
    texts = {demo.first for demo in every}
    _closed(tokenizer, texts.union(*((step.thought, step.action, step.observation) for step in steps)))
    prompts = renderers(tokenizer, world.config.prompt.world)
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
        (new / MADE).write_text(json.dumps(about, indent=1) + "\n")
        if (folder / CARD).exists():  # its list of rebuilds
            shutil.copy(folder / CARD, new / CARD)
        _must_be_replaceable(folder, recipe)
    return result


def _fresh(recipe: Recipe, world: World, every: Sequence[Demo]) -> tuple[Any, Any]:
    """Fresh weights, and a tokenizer with the words of the demonstrations."""
    tokenizer = world.tokenizer(every)
    seed = derive_seed(recipe.seed, "pretrain weights")
    return make_model(tokenizer, seed, layers=recipe.layers, width=recipe.width, heads=recipe.heads), tokenizer


def _continued(base: str) -> tuple[Any, Any]:
    """A shipped policy's weights as they were in its training, and its tokenizer."""
    folder = Path(find(base))
    model, tokenizer = load(ModelConfig(name=base))
    with torch.no_grad():
        model.model.norm.weight.div_(json.loads((folder / MADE).read_text())["recipe"]["sharpen"])
    return model, tokenizer


def _must_be_replaceable(folder: Path, recipe: Recipe) -> None:
    """Raises ActreError for a folder that holds anything but a policy of this recipe."""
    place = outputs.must_be_whole(folder)
    if not place.is_dir() or not (names := set(os.listdir(place))):
        return
    try:
        made = recipe_of(json.loads((place / MADE).read_bytes())["recipe"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        made = None
    if made != recipe or names - _FILES:
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


def _world(recipe: Recipe) -> World:
    """The world of a recipe."""
    return SHOP if recipe.world == "webshop" else HOUSE
