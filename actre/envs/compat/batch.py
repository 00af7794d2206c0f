"""Several ALFWorld games at once in one process, as textworld's batch of environments answers them.

Follows textworld 1.7.0 (TextworldBatchGymEnv and what it wraps): texts, scores, dones, infos and the order of games.
Differs: a command that is no string answers "Nothing happens." instead of raising; "extra.gamefile" is given after each
step, too, where textworld has None.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Literal

import numpy as np

from actre.envs.compat.slot import Slot
from actre.types import ActreError

Order = Literal["shuffled", "once"]
"""shuffled: as alfworld, endless, reshuffled after each round. once: the listed order, each game one time."""
Infos = dict[str, list[Any]]


class Batch:
    """Several games at once. reset and step return what textworld's batch does: tuples of texts, scores and dones, and
    infos as lists: "won", "admissible_commands", "extra.gamefile", and "extra.expert_plan" where it was asked for.

    A finished game repeats its last answer until the next reset. Raises ActreError for another number of commands than
    games, a step before reset, and a reset after the last game of order "once".
    """

    def __init__(
        self,
        gamefiles: Sequence[str],
        batch_size: int,
        max_steps: int = 50,
        order: Order = "shuffled",
        expert: bool = False,
    ) -> None:
        if not gamefiles or batch_size < 1:
            raise ActreError(f"{len(gamefiles)} games in batches of {batch_size}: at least one of each is needed")
        self.gamefiles, self.batch_size, self.order = list(gamefiles), batch_size, order
        self._slots = [Slot(max_steps, expert) for _ in range(batch_size)]
        self._playing = 0
        self.seed(1234)  # as textworld does

    def seed(self, seed: int | None = None) -> list[int | None]:
        """Begin again with the order of games of this seed (order "once": with the first game)."""
        self._games = iter(self.gamefiles) if self.order == "once" else _cycle(self.gamefiles, seed)
        return [seed]

    def next_game(self) -> str:
        """The next game of the order, which is then left out."""
        return next(self._games)

    def skip(self, nb_games: int = 1) -> None:
        """Leave out the next games."""
        for _ in range(nb_games):
            next(self._games, None)

    def reset(self) -> tuple[tuple[str, ...], Infos]:
        """Start the next games; fewer than `batch_size` where order "once" has fewer left."""
        games = [game for _, game in zip(self._slots, self._games, strict=False)]
        if not games:
            raise ActreError(f"all {len(self.gamefiles)} games have been played once: seed() begins again")
        return self.start(games)

    def start(self, games: Sequence[str]) -> tuple[tuple[str, ...], Infos]:
        """Start these games, at most `batch_size`, leaving the order of the others as it is."""
        self._playing = len(games)
        texts = tuple([slot.reset(game) for slot, game in zip(self._slots, games, strict=False)])
        return texts, self._infos()

    def step(self, commands: Sequence[str]) -> tuple[tuple[str, ...], tuple[float, ...], tuple[bool, ...], Infos]:
        """Send one command to each game."""
        slots = self._slots[: self._playing]
        if len(commands) != len(slots) or not slots:
            raise ActreError(f"{len(commands)} commands for {len(slots)} games in play: reset, then one for each game")
        for slot, command in zip(slots, commands, strict=True):
            slot.step(command)
        return tuple(s.text for s in slots), tuple(s.score for s in slots), tuple(s.done for s in slots), self._infos()

    def close(self) -> None:
        """Nothing to end."""

    def _infos(self) -> Infos:
        infos = [slot.info for slot in self._slots[: self._playing]]
        return {key: [info[key] for info in infos] for key in infos[0]}


def _cycle(games: Sequence[str], seed: int | None) -> Iterator[str]:
    """The games in textworld's order: shuffled, and shuffled again in place after each round."""
    rng = np.random.RandomState(seed)
    order = list(games)
    while True:
        rng.shuffle(order)
        yield from list(order)
