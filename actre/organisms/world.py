"""What pretraining must know of an environment, as one value. Knows no environment itself; house.py and shop.py do."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from actre.config import RunConfig
from actre.envs.demo import Demo
from actre.organisms.rows import Reader


class Play(Protocol):
    """Plays an expert of certain habits."""

    def __call__(
        self, games: int, habits: Any, seed: int, max_steps: int, *, episodes: int, work: Path
    ) -> Iterable[Demo]:
        """`episodes` of each of `games` fresh games, the same for the same seed; what is made on the way is kept in
        `work`."""


class StartGames(Protocol):
    """Makes the games on which the start is measured."""

    def __call__(self, n: int, work: Path, *, seed: int, games: int) -> list[str]:
        """`n` of them, in no shipped panel and not among the `games` that pretraining with `seed` plays."""


@dataclass(frozen=True)
class World:
    """An environment, as pretraining sees it."""

    config: RunConfig
    """How the start is played."""
    play: Play
    tokenizer: Callable[[Sequence[Demo]], Any]
    """Demonstrations -> a tokenizer that knows every word of them."""
    names: Callable[[Any], list[int]]
    """Tokenizer -> the ids of all that is copied."""
    reader: Reader
    start_games: StartGames
    one_token: str
    """What is one token, for the card."""
    games: str
    """What was played, for the card; {n} stands for the number of games."""
    start: str
    """What the start was measured on, for the card."""
