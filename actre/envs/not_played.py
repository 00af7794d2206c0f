"""Warns of games that could not be played, while the others are."""

import warnings
from collections.abc import Mapping

from actre.types import ActreError


def named(game: str, reason: object) -> str:
    """The reason, preceded by the game unless it names the game itself."""
    return str(reason) if game in str(reason) else f"{game}: {reason}"


def tell(failed: Mapping[str, str], number: int, what: str) -> None:
    """Warn of the games that failed, with the reasons. Raises ActreError if all `number` games failed.

    what: a name for the whole set of games, such as a panel.
    """
    lines = [named(game, reason) for game, reason in failed.items()]
    if lines and len(lines) >= number:
        raise ActreError(f"none of the {number} games of {what} could be played: {lines[0]}")
    if lines:
        listed = "".join(f"\n  {line}" for line in lines)
        warnings.warn(f"{len(lines)} of the {number} games of {what} are left out:{listed}", stacklevel=3)
