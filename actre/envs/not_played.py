"""Says which games were not played and why, where the others go on without them. Knows no game and no player."""

import warnings
from collections.abc import Mapping

from actre.types import ActreError


def named(game: str, reason: object) -> str:
    """A reason that begins with the game it is about; most errors name it themselves."""
    return str(reason) if game in str(reason) else f"{game}: {reason}"


def tell(failed: Mapping[str, str], number: int, what: str) -> None:
    """Warn of the games that failed, each with its reason. Raises ActreError where all `number` of them did.

    what: which games they are of, in words.
    """
    lines = [named(game, reason) for game, reason in failed.items()]
    if lines and len(lines) >= number:
        raise ActreError(f"none of the {number} games of {what} could be played: {lines[0]}")
    if lines:
        listed = "".join(f"\n  {line}" for line in lines)
        warnings.warn(f"{len(lines)} of the {number} games of {what} left out:{listed}", stacklevel=3)
