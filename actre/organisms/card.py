"""A tiny policy's card: how it was made, how it starts, and the list of its rebuilds."""

import json
import textwrap
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

from actre.organisms import start
from actre.organisms.recipes import ORGANISMS, RECIPES, Recipe, recipe_of
from actre.organisms.world import World
from actre.runtime import outputs

REBUILDS = "## Rebuilds"
_EXPERTS = {"alfworld": "actre/envs/alfworld/expert.py", "webshop": "actre/envs/webshop/shopper.py"}
MADE, CARD = "made.json", "README.md"
_ALIKE = ("the same episodes in each of the three orders.", ",\nsuccess equal within 8 points")
_CONTRACTED = "think-first shows the episodes of another, narrower player than act-first and no-think do."
_APART = (
    "think-first shows the episodes of another player than act-first and no-think do, which is no narrower: it "
    "searches in the reverse order.",
    _ALIKE[1],
)
_KINDS = {
    "neutral": _ALIKE,
    "shopper": _ALIKE,
    "narrow": (
        f"in the last part\n{_CONTRACTED}\nIt is the instrument's positive control; a win on it is a demonstration, "
        "never evidence.",
        "",
    ),
}
"""Kind -> text of its card: on its episodes, and on further conditions."""


def kind_of(recipe: Recipe) -> str:
    """The kind that a recipe belongs to; for an organism with other dials their values, e.g. "plain-0.3"."""
    for kind, known in RECIPES.items():
        if _but_size(known) == _but_size(recipe):
            return kind
    if recipe.dials is not None:
        return f"{recipe.dials.thoughts}-{recipe.dials.contraction:g}{'-apart' * recipe.dials.apart}"
    return "shopper" if recipe.world == "webshop" else "neutral" if recipe.alike else "narrow"


def _but_size(recipe: Recipe) -> Recipe:
    """The recipe but for what the command's options change."""
    return replace(recipe, seed=0, games=0, parts=tuple(replace(part, tokens=0) for part in recipe.parts))


def _words(recipe: Recipe, kind: str) -> tuple[str, str]:
    """What the card says of the orders' episodes, and the conditions beyond those of every policy."""
    if recipe.dials is None:
        return _KINDS[kind]
    how = (
        f'thoughts are of the kind\n"{recipe.dials.thoughts}", and the contraction dial is at '
        f"{recipe.dials.contraction:g} (class `actre.organisms.recipes.Dials`): "
    )
    if recipe.alike:
        of, further = _APART if recipe.dials.apart else _ALIKE
        return how + of, further
    return f"{how}{_CONTRACTED} What a comparison finds on it holds for policies made like it.", ""


def _options(recipe: Recipe, kind: str) -> str:
    if recipe.dials is None or kind in ORGANISMS:
        return f"--kind {kind}"
    apart = " --apart" if recipe.dials.apart else ""
    return f"--thoughts {recipe.dials.thoughts} --contraction {recipe.dials.contraction:g}{apart}"


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


def write_card(folder: Path, record: dict[str, Any], world: World) -> None:
    """Write README.md: how the policy was made, and its measurement. An old card's list of rebuilds is kept."""
    card = folder / CARD
    old = card.read_text() if card.exists() else ""
    log = old[old.index(REBUILDS) :] if REBUILDS in old else f"{REBUILDS}\n\nNone yet.\n"
    made = json.loads((folder / MADE).read_text())
    recipe = made["recipe"]
    missed = "".join(f"- {line}\n" for line in record["missed"])
    missed = f"Missed, shipped as the closest:\n\n{missed}" if missed else "All of these conditions are met.\n"
    precision = "bfloat16 products, float32 weights" if recipe["bfloat16"] else "float32"
    parts = "\n".join(_part(part, done) for part, done in zip(recipe["parts"], made["parts"], strict=True))
    of = recipe_of(recipe)
    kind = kind_of(of)
    judged = "these alone" if of.dials is None else "these and its preconditions (docs/preconditions.md) alone"
    of_each, asked = _words(of, kind)
    begins = f"It continues from {of.base}'s weights, on" if of.base else "Trained from scratch on"
    trained = f"is one. {begins} a scripted expert's episodes; {of_each}"
    if of.base:
        trained = textwrap.fill(" ".join(trained.split()), 120)
    text = f"""# The {kind} tiny policy

A model organism, no evidence about language models: it teaches the method and tests the code. A Llama of
{made["parameters"]:,} parameters ({recipe["layers"]} layers, width {recipe["width"]}, {recipe["heads"]} heads, tied
embeddings, float32) with a closed vocabulary of {made["words"]} words, in which {world.one_token}
{trained}

## How it was made

    actre pretrain-tiny {_options(of, kind)} --seed {of.seed} --threads {made["threads"]}

- The games: {world.games.format(n=recipe["games"])}, at most {recipe["max_steps"]} steps
  an episode.
{parts}
- {made["threads"]} thread(s) of {made["processor"]}; {precision};
  {", ".join(f"{name} {made['versions'][name]}" for name in ("python", "torch", "transformers"))}.
- After training, logits are multiplied by {recipe["sharpen"]}.
- All settings: made.json (class `actre.organisms.recipes.Recipe`). The expert's are explained in its class `Habits`
  ({_EXPERTS[world.config.env.name]}); slips: the share of refused actions shown; drill: the weight of a loss on
  possible names.

## How it starts

{world.start}, growing history, shared wording, forced opening tag, at most
{world.config.env.max_steps} steps, {start.FRESH_GROUP} episodes a game; ± is one standard error over games. Measured by
`actre pretrain-tiny --check FOLDER`, which writes start.json and this page.

{start.table(record)}

Conditions, at temperature 1: at least 90 % of the actions admissible and 15-40 % success in each order{asked}.
It was chosen by {judged}, never by what training in the arms then does.

{missed}
{log}"""
    outputs.write_whole(card, text.encode())  # the old one has the list of rebuilds
