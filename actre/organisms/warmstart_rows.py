"""Rows for the warm start: expert episodes as prompts and well-formed replies, the same ones in every order.

Rows are built by the code that acting uses (`Renderer`, `trajectory_rows`). Only the reply's tokens are trained: the
opening tag (which a reply with free tags must choose), the thought, the action, the other tags and the end-of-turn
token. Beside act-first rows, no-think ones are trained only as far as act-first's have the same tokens, so that the two
never ask for different tokens after the same ones: where a thought follows, most tokenizers write `><` for the `>` that
closes the action's tag. Without thoughts a reply is cut at its closing tag anyway.
"""

import itertools
import random
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from actre.config import EnvConfig, PromptConfig, derive_seed
from actre.orders import Renderer
from actre.orders.chat import chat_format
from actre.training.rows import trajectory_rows
from actre.types import ORDERS, ActreError, Observation, Order, Step, Trajectory

if TYPE_CHECKING:
    from actre.envs.alfworld.expert import Habits

Wording = Literal["shared", "instructed"]
WORDINGS: tuple[Wording, ...] = ("shared", "instructed")


Prompts = Callable[[PromptConfig, Order], Renderer]
"""(settings, order) -> a renderer in a tokenizer's ids, as `Policy.renderer`."""


class ExpertStep(NamedTuple):
    """An observation, and the expert's thought and action."""

    observation: Observation
    thought: str
    action: str


class Demonstrations(NamedTuple):
    """Episodes of the expert. won: number of episodes won; games: a description of the games."""

    episodes: tuple[tuple[ExpertStep, ...], ...]
    won: int
    games: str


class WarmRow(NamedTuple):
    """One sequence. learned[t]: whether ids[t] is trained; wording and order: of its prompt."""

    ids: tuple[int, ...]
    learned: tuple[bool, ...]
    order: Order
    wording: Wording


class Chosen(NamedTuple):
    """The rows, and the number of states left out because a row was too long."""

    rows: tuple[WarmRow, ...]
    too_long: int


def prompts_of(tokenizer: Any) -> Prompts:
    """Prompts from a tokenizer alone."""

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


def expert_episodes(env: EnvConfig, n: int, seed: int, habits: "Habits | None" = None) -> Demonstrations:
    """One expert episode in each of n new games of the size of `env.train`, which are in no shipped panel.

    habits: the expert's behaviour; None: it plays as well as it can, and searches in a random order per game, so that
    no particular order is taught. Raises ActreError for WebShop, whose scripted shopper writes no thoughts.
    """
    if env.name != "alfworld":
        raise ActreError(
            "a warm start needs an expert that writes thoughts, which only ALFWorld has: use --env alfworld"
        )
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
            expert = Expert(habits or Habits(search="random"), seed=f"{drawn} {i}")
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
    """Shuffled rows of states drawn from each episode, in every order, alternating between wordings.

    per_episode: states per episode (a growing history gives one row, the whole episode). A state whose row has more
    than `longest` tokens in any order is left out in all. Raises ActreError if no rows are left.
    """
    made: list[WarmRow] = []
    too_long = 0
    rng = random.Random(derive_seed(seed, "warm start rows"))
    turn = 0
    for episode in demos.episodes:
        wording: Wording = wordings[turn % len(wordings)]
        asked = replace(prompt, wording=wording, tags="first")
        longer = prompts(asked, "act_first") if "act_first" in orders else None
        each = [
            _rows(episode, prompts(asked, order), wording, longer if order == "no_think" else None) for order in orders
        ]
        places = sorted(rng.sample(range(len(each[0])), min(per_episode, len(each[0]))))
        turn += bool(places)
        for place in places:
            alike = [rows[place] for rows in each]
            if max(len(row.ids) for row in alike) > longest:
                too_long += 1
                continue
            made += alike
    if not made:
        raise ActreError(f"{len(demos.episodes)} episodes gave no row of at most {longest} tokens: raise --max-length")
    rng.shuffle(made)
    return Chosen(tuple(made), too_long)


def _rows(
    episode: Sequence[ExpertStep], renderer: Renderer, wording: Wording, longer: Renderer | None
) -> list[WarmRow]:
    """An episode's rows in one order: one per step with a windowed history, else one in all.

    longer: replies are learned only as far as its own have the same tokens.
    """
    end = () if renderer.end_id is None else (renderer.end_id,)
    steps: list[Step] = []
    learned: list[int] = []
    for said in episode:
        prompt = renderer.prompt(steps, said.observation)
        reply = (*renderer.reply_ids(said.thought, said.action), *end)
        other = reply if longer is None else longer.reply_ids(said.thought, said.action)
        alike = itertools.takewhile(lambda pair: pair[0] == pair[1], zip(reply, other, strict=False))
        learned.append(len(list(alike)))
        logps = (0.0,) * len(reply)
        steps.append(Step(said.observation, prompt, reply, logps, "", said.thought, said.action, (), 0.0))
    last = episode[-1].observation
    played = Trajectory("expert", "", "", renderer.order, 0, tuple(steps), last, won=True, truncated=False)
    opening, counts = renderer.opening_tokens, iter(learned)
    return [
        WarmRow(row.ids, _with_openings(_beginnings(row.mask, counts), opening), renderer.order, wording)
        for row in trajectory_rows(played, 0)
    ]


def _beginnings(mask: Sequence[bool], counts: Iterator[int]) -> tuple[bool, ...]:
    """The mask with only so many first tokens of each reply.

    >>> _beginnings((False, True, True, False, True), iter([1, 1]))
    (False, True, False, False, True)
    """
    learned, left = [], 0
    for t, sampled in enumerate(mask):
        if sampled and (t == 0 or not mask[t - 1]):
            left = next(counts)
        learned.append(sampled and left > 0)
        left -= 1
    return tuple(learned)


def _with_openings(mask: Sequence[bool], opening: int) -> tuple[bool, ...]:
    """The mask, extended by the `opening` tokens before each reply.

    >>> _with_openings((False, False, False, True, False, False, True), 1)
    (False, False, True, True, False, True, True)
    """
    learned = list(mask)
    for t, sampled in enumerate(mask):
        if sampled and (t == 0 or not mask[t - 1]):
            learned[max(0, t - opening) : t] = [True] * min(opening, t)
    return tuple(learned)
