"""Pretraining on ALFWorld: the expert's episodes, the vocabulary, and new games for the measurement."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from actre.config import derive_seed
from actre.config.presets import preset
from actre.envs.alfworld.demos import demonstrations
from actre.envs.alfworld.expert import Habits
from actre.envs.alfworld.panels import generate, write_panel
from actre.envs.alfworld.rooms import content_key
from actre.envs.demo import Demo
from actre.organisms.rows import Place
from actre.organisms.world import World
from actre.policies.tiny import make_tokenizer, name_ids

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

GAMES_SEED = "start"


def play(games: int, habits: Habits, seed: int, max_steps: int, *, episodes: int, work: Path) -> Iterable[Demo]:
    """Episodes of one expert in new games, which are kept in `work`."""
    panel = work / f"games-{seed}-{games}.jsonl.gz"
    return demonstrations(games, habits, derive_seed(seed, "pretrain games"), max_steps, episodes=episodes, panel=panel)


def tokenizer(played: Sequence[Demo]) -> "PreTrainedTokenizerFast":
    """A tokenizer with the words of the engine and of the thoughts."""
    return make_tokenizer(sorted({step.thought for demo in played for step in demo.steps}))


def played_games(seed: int, games: int) -> set[str]:
    """Content keys of all games that pretraining with this seed plays."""
    return {content_key(room) for room in generate("small", "train", games, derive_seed(seed, "pretrain games"))}


def start_games(n: int, work: Path, *, seed: int, games: int) -> list[str]:
    """`n` new small games on training floor plans, in no shipped panel and not in pretraining."""
    fresh = generate("small", "train", n, GAMES_SEED, exclude=played_games(seed, games))
    return write_panel(work / "start-games.jsonl.gz", fresh, own=lambda old: True)


HOUSE = World(
    config=preset("tiny"),
    play=play,
    tokenizer=tokenizer,
    names=name_ids,
    reader=Place,
    start_games=start_games,
    one_token='a name with its number ("cabinet 2")',
    games="{n} generated small games that are in no shipped panel",
    start="Fresh games in no shipped panel and not in pretraining",
)
