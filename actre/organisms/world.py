"""What pretraining needs from an environment. house.py and shop.py provide it."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from actre.config import RunConfig
from actre.envs.demo import Demo
from actre.organisms.rows import Reader


class Play(Protocol):
    """Plays an expert with certain behaviour."""

    def __call__(
        self, games: int, habits: Any, seed: int, max_steps: int, *, episodes: int, work: Path
    ) -> Iterable[Demo]:
        """`episodes` per game in `games` new games, determined by the seed. Intermediate files are kept in `work`."""


class StartGames(Protocol):
    """Makes the games on which a new policy is measured."""

    def __call__(self, n: int, work: Path, *, seed: int, games: int) -> list[str]:
        """`n` games, in no shipped panel and not among the `games` that pretraining with `seed` plays."""


@dataclass(frozen=True)
class World:
    """An environment for pretraining."""

    config: RunConfig
    """Settings of the measurement."""
    play: Play
    tokenizer: Callable[[Sequence[Demo]], Any]
    """Demonstrations -> a tokenizer with all their words."""
    names: Callable[[Any], list[int]]
    """Tokenizer -> the ids of all names that are copied."""
    reader: Reader
    start_games: StartGames
    one_token: str
    """For the card: what is a single token."""
    games: str
    """For the card: what was played; {n} is the number of games."""
    start: str
    """For the card: the games of the measurement."""
