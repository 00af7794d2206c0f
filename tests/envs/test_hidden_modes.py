"""No thought reveals a hidden mode of its expert: wandering, forgetting, or which of two experts plays."""

import math
import random
import re
from collections import Counter
from collections.abc import Hashable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import pytest

from actre.envs.alfworld.env import AlfworldEnv
from actre.envs.alfworld.expert import Expert, Habits, Thoughts
from actre.envs.alfworld.panels import generate, write_panel
from actre.envs.webshop import shopper
from actre.envs.webshop.env import WebshopEnv
from actre.envs.webshop.panels import shop_catalogue

LEAKS_NATS = 0.02
_NAME = re.compile(r"([a-z]+) [0-9]+")
_CONTENT = re.compile(r"(?:On the|The) (\w+ \d+)(?: is open\. In it)?, you see ([^.]*)\.")


class Said(NamedTuple):
    """One step: what could be known before it, the action, the thought without numbers, and the hidden modes."""

    state: Hashable
    action: str
    thought: str
    modes: tuple[Hashable, ...]


def information(steps: Sequence[Said], mode: int) -> float:
    """I(thought; mode | state, action) in nats, plug-in: 0 wherever the thought follows from state and action."""
    alone = Counter((s.state, s.action) for s in steps)
    thoughts = Counter((s.state, s.action, s.thought) for s in steps)
    modes = Counter((s.state, s.action, s.modes[mode]) for s in steps)
    both = Counter((s.state, s.action, s.thought, s.modes[mode]) for s in steps)
    return sum(
        n * math.log(n * alone[state, action] / (thoughts[state, action, thought] * modes[state, action, hidden]))
        for (state, action, thought, hidden), n in both.items()
    ) / len(steps)


def without_numbers(text: str) -> str:
    return _NAME.sub(r"\1", re.sub(r" \( [0-9]+ \)", "", text))


class Reader:
    """What the text says, read independently of the expert: the state as far as a thought may depend on it."""

    def __init__(self, task: str) -> None:
        self.task, self.held, self.changed = without_numbers(task), "", False
        self.there: dict[str, list[str]] = {}

    def state(self, action: str) -> Hashable:
        """Holding what, changed or not, and which kinds of things were last seen at the action's place."""
        place = re.findall(r"[a-z]+ [0-9]+", action)[-1:]
        seen = sorted({without_numbers(t) for t in self.there.get(place[0], ())} if place else ())
        return self.task, without_numbers(self.held), self.changed, tuple(seen)

    def read(self, action: str, answer: str) -> None:
        if answer.startswith("Nothing happens"):
            if action.startswith("take"):
                for things in self.there.values():
                    things[:] = [t for t in things if t != " ".join(action.split()[1:3])]
            return
        verb, names = action.split()[0], re.findall(r"[a-z]+ [0-9]+", action)
        if verb == "take":
            self.held, self.changed = names[0], False
            for things in self.there.values():
                things[:] = [t for t in things if t != names[0]]
        elif verb == "move":
            self.there.setdefault(names[1], []).append(names[0])
            self.held = ""
        elif verb in ("clean", "heat", "cool"):
            self.changed = True
        for place, things in _CONTENT.findall(answer):
            self.there[place] = re.findall(r"\ban? (\w+ \d+)", things)


def houses(panel: Path, demos: int, thoughts: Thoughts, seed: int = 0) -> Iterator[Said]:
    """Steps of two experts of the shipped recipe in fresh games; modes: wanders, forgets, which of the two."""
    both = (
        Habits(search="random", random_moves=0.33, forget=0.65, thoughts=thoughts),
        Habits(search="listed", order_noise=0.3, random_moves=0.33, forget=0.65, thoughts=thoughts),
    )
    games = write_panel(panel, generate("small", "train", max(2, demos // 8), seed))
    env = AlfworldEnv(games, max_steps=20)
    for n in range(demos):
        text, info = env.reset(options={"game": games[n // 8 % len(games)]})
        expert = Expert(both[n % 2], seed=n)
        expert.reset(text, info["task"])
        reader, over = Reader(info["task"]), False
        while not over:
            said = expert.act(text)
            state = reader.state(said.action)
            hidden = (*expert.mode, n % 2)
            yield Said(state, without_numbers(said.action), without_numbers(said.thought), hidden)
            text, _, terminated, truncated, info = env.step(said.action)
            reader.read(said.action, text)
            over = terminated or truncated


def shops(demos: int, seed: int = 0) -> Iterator[Said]:
    """Steps of three shoppers in the shipped shop; modes: which of them, and hasty or not."""
    kinds = (
        shopper.Habits(hit="first", careful=0.5, terms=0.8, forget=0.1),
        shopper.Habits(hit="match", careful=0.5),
        shopper.Habits(hit="first", hasty=0.5),
    )
    env = WebshopEnv(shop_catalogue("shop"), 8)
    goals = random.Random(seed).choices(list(env.goals), k=demos)
    for n, goal in enumerate(goals):
        page, info = env.reset(options={"goal": goal})
        player = shopper.Shopper(kinds[n % 3], n)
        player.reset(info["task"])
        chosen, over = frozenset[str](), False
        while not over:
            said = player.act(page, info["admissible_commands"])
            shown = tuple(sorted(value for value in shopper.Wish(info["task"]).values if value in page.lower()))
            state = (len(shown), len(shopper.Wish(info["task"]).values), len(chosen))
            told = re.sub(r"b[0-9a-z]{9}", "it", said.thought)
            for value in shopper.Wish(info["task"]).values:
                told = told.replace(value, "value")
            action = said.action.partition("[")[0] if said.action.startswith("search") else _clicked(said.action, shown)
            yield Said(state, action, told.replace(shopper.Wish(info["task"]).ware, "ware"), (n % 3,))
            if action == "click value":
                chosen |= {said.action}
            page, _, terminated, truncated, info = env.step(said.action)
            over = terminated or truncated


def _clicked(action: str, values: Sequence[str]) -> str:
    what = action.removeprefix("click[").removesuffix("]")
    if what in values:
        return "click value"
    return "click hit" if re.fullmatch(r"b[0-9a-z]{9}", what) else f"click {what}"


TELLING: tuple[Thoughts, ...] = ("other", "needs", "plain", "said")
MODES = ("wandering", "forgetting", "which expert plays")


@pytest.mark.parametrize("thoughts", TELLING)
@pytest.mark.parametrize("demos", [64, pytest.param(2000, marks=pytest.mark.slow)])
def test_no_thought_reveals_a_mode_of_the_expert(thoughts: Thoughts, demos: int, tmp_path: Path) -> None:
    steps = list(houses(tmp_path / "games.jsonl.gz", demos, thoughts))
    found = {name: information(steps, n) for n, name in enumerate(MODES)}
    assert max(found.values()) < LEAKS_NATS, found


def test_the_marked_thoughts_of_earlier_policies_reveal_wandering(tmp_path: Path) -> None:
    """So that the test above can fail: the same estimate on the thoughts that name the mode."""
    steps = list(houses(tmp_path / "games.jsonl.gz", 64, "marked"))
    assert information(steps, 0) > 10 * LEAKS_NATS


@pytest.mark.parametrize("demos", [200, pytest.param(2000, marks=pytest.mark.slow)])
def test_no_thought_reveals_a_mode_of_the_shopper(demos: int) -> None:
    assert information(list(shops(demos)), 0) < LEAKS_NATS


def test_the_dial_sets_how_much_of_the_action_a_thought_says(tmp_path: Path) -> None:
    """0: none of the names it acts on; 1: it begins with the whole action; the same actions at every setting."""
    share, actions = {}, {}
    for thoughts in TELLING:
        decisions = []
        games = write_panel(tmp_path / f"{thoughts}.jsonl.gz", generate("small", "train", 4, 0))
        env = AlfworldEnv(games, max_steps=20)
        for n, game in enumerate(games):
            text, info = env.reset(options={"game": game})
            expert, over = Expert(Habits(random_moves=0.3, thoughts=thoughts), seed=n), False
            expert.reset(text, info["task"])
            while not over:
                decisions.append(expert.act(text))
                text, _, terminated, truncated, info = env.step(decisions[-1].action)
                over = terminated or truncated
        actions[thoughts] = [d.action for d in decisions]
        named = [
            (d, re.findall(r"[a-z]+ [0-9]+", d.action.replace("go to ", "").replace(" from", ";"))) for d in decisions
        ]
        share[thoughts] = sum(all(n in d.thought for n in names) for d, names in named if names) / len(decisions)
        if thoughts == "other":
            assert all(not set(d.action.split()[:1]) & set(d.thought.split()) for d in decisions if d.action != "look")
        if thoughts == "said":
            assert all(d.thought.startswith(f"{d.action} . ") for d in decisions)
    assert actions["other"] == actions["needs"] == actions["plain"] == actions["said"]
    assert share["other"] == share["needs"] == 0
    assert share["needs"] < share["plain"] <= share["said"]


def test_information_is_that_of_a_table_computed_by_hand() -> None:
    """Half the steps are told by mode, half are not: half of log 2."""
    told = [Said("s", "a", str(m), (m,)) for m in (0, 1)] + [Said("t", "a", "x", (m,)) for m in (0, 1)]
    assert information(told, 0) == pytest.approx(math.log(2) / 2)
