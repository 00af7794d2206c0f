"""Rows for the warm start: an expert's episodes as prompts and well-formed replies, the same ones in every order.

Knows the expert, the prompts and a tokenizer's pieces; no model and no trainer. A row is what acting would build, by
the same code (`Renderer`, `trajectory_rows`); what is learned in it are the reply's tokens alone: the opening tag,
which a free reply must choose, the thought, the action, the tags and the end-of-turn token.
"""

import random
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, NamedTuple

from actre.config import EnvConfig, PromptConfig, derive_seed
from actre.orders import Renderer
from actre.orders.chat import chat_format
from actre.training.rows import trajectory_rows
from actre.types import ORDERS, ActreError, Observation, Order, Step, Trajectory

Wording = Literal["shared", "instructed"]
WORDINGS: tuple[Wording, ...] = ("shared", "instructed")


Prompts = Callable[[PromptConfig, Order], Renderer]
"""Makes prompts in a tokenizer's ids, as `Policy.renderer` does."""


class ExpertStep(NamedTuple):
    """What was seen, and what the expert wrote."""

    observation: Observation
    thought: str
    action: str


class Demonstrations(NamedTuple):
    """Episodes of the expert. won: how many of them; games: where they were played, in words."""

    episodes: tuple[tuple[ExpertStep, ...], ...]
    won: int
    games: str


class WarmRow(NamedTuple):
    """One sequence. learned[t]: whether predicting ids[t] counts; wording and order: of its prompt."""

    ids: tuple[int, ...]
    learned: tuple[bool, ...]
    order: Order
    wording: Wording


class Chosen(NamedTuple):
    """The rows, and how many places in episodes were left out because a row was longer than allowed."""

    rows: tuple[WarmRow, ...]
    too_long: int


def prompts_of(tokenizer: Any) -> Prompts:
    """A tokenizer's prompts without a model."""

    @lru_cache(maxsize=1 << 14)
    def cached(text: str) -> tuple[int, ...]:
        return tuple(tokenizer.encode(text, add_special_tokens=False))

    return lambda prompt, order: Renderer(
        lambda text: list(cached(text)),
        chat_format(tokenizer, prompt.date),
        prompt,
        order,
        end_id=tokenizer.eos_token_id,
    )


def expert_episodes(env: EnvConfig, n: int, seed: int) -> Demonstrations:
    """One episode of the expert in each of n fresh games of the size of `env.train`, which are in no shipped panel.

    The expert searches in an order drawn for each game, so that no one search habit is taught.
    Raises ActreError for a shop, whose scripted shopper writes no thoughts.
    """
    if env.name != "alfworld":
        raise ActreError("a warm start needs an expert that writes thoughts, and only ALFWorld has one: --env alfworld")
    from actre.envs.alfworld.env import AlfworldEnv
    from actre.envs.alfworld.expert import Expert, Habits
    from actre.envs.alfworld.panels import generate, write_panel

    size: Literal["small", "full"] = "small" if env.train.startswith("small/") else "full"
    drawn = derive_seed(seed, "warm start games")
    episodes: list[tuple[ExpertStep, ...]] = []
    won = 0
    with tempfile.TemporaryDirectory() as folder:
        games = write_panel(Path(folder) / "fresh.jsonl.gz", generate(size, "train", n, drawn))
        player = AlfworldEnv(games, max_steps=env.max_steps)
        for i, game in enumerate(games):
            text, info = player.reset(options={"game": game})
            expert = Expert(Habits(search="random"), seed=f"{drawn} {i}")
            expert.reset(text, info["task"])
            steps: list[ExpertStep] = []
            over = False
            while not over:
                seen = Observation(text, info["task"], tuple(info["admissible_commands"]))
                decision = expert.act(text)
                steps.append(ExpertStep(seen, decision.thought, decision.action))
                text, _, terminated, truncated, info = player.step(decision.action)
                over = terminated or truncated
            won += bool(info["won"])
            episodes.append(tuple(steps))
    return Demonstrations(tuple(episodes), won, f"{n} generated {size} games of the training floor plans")


def warm_rows(
    demos: Demonstrations,
    prompts: Prompts,
    prompt: PromptConfig,
    *,
    per_episode: int,
    longest: int,
    seed: int,
    orders: Sequence[Order] = ORDERS,
    wordings: Sequence[Wording] = WORDINGS,
) -> Chosen:
    """Rows of places drawn in each episode, shuffled; every place stands in each of the orders, wordings in turn.

    per_episode: so many rows of each episode (where the history grows there is one, the whole episode). A place whose
    row is longer than `longest` tokens in any order is left out in all. Raises ActreError where nothing is left.
    """
    made: list[WarmRow] = []
    too_long = 0
    rng = random.Random(derive_seed(seed, "warm start rows"))
    turn = 0
    for episode in demos.episodes:
        wording: Wording = wordings[turn % len(wordings)]
        asked = replace(prompt, wording=wording, tags="first")
        each = [_rows(episode, prompts(asked, order), wording) for order in orders]
        places = sorted(rng.sample(range(len(each[0])), min(per_episode, len(each[0]))))
        turn += bool(places)
        for place in places:
            alike = [rows[place] for rows in each]
            if max(len(row.ids) for row in alike) > longest:
                too_long += 1
                continue
            made += alike
    if not made:
        raise ActreError(
            f"no row of at most {longest} tokens came out of {len(demos.episodes)} episodes: raise --max-length"
        )
    rng.shuffle(made)
    return Chosen(tuple(made), too_long)


def _rows(episode: Sequence[ExpertStep], renderer: Renderer, wording: Wording) -> list[WarmRow]:
    """An episode's rows in one order: one a step where the history is windowed, else one in all."""
    end = () if renderer.end_id is None else (renderer.end_id,)
    steps: list[Step] = []
    for said in episode:
        prompt = renderer.prompt(steps, said.observation)
        reply = (*renderer.reply_ids(said.thought, said.action), *end)
        logps = (0.0,) * len(reply)
        steps.append(Step(said.observation, prompt, reply, logps, "", said.thought, said.action, (), 0.0))
    last = episode[-1].observation
    played = Trajectory("expert", "", "", renderer.order, 0, tuple(steps), last, won=True, truncated=False)
    opening = renderer.opening_tokens
    return [
        WarmRow(row.ids, _with_openings(row.mask, opening), renderer.order, wording)
        for row in trajectory_rows(played, 0)
    ]


def _with_openings(mask: Sequence[bool], opening: int) -> tuple[bool, ...]:
    """The mask with the `opening` tokens before each reply learned too.

    >>> _with_openings((False, False, False, True, False, False, True), 1)
    (False, False, True, True, False, True, True)
    """
    learned = list(mask)
    for t, sampled in enumerate(mask):
        if sampled and (t == 0 or not mask[t - 1]):
            learned[max(0, t - opening) : t] = [True] * min(opening, t)
    return tuple(learned)
