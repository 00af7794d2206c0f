"""How many thoughts a state a diagnosis needs: read off the calibration's table of bracket widths.

Knows the table (data/results/calibration.json), no policy. A pilot of a few thoughts says how wide a policy's bracket
is with so many; the table says how brackets of that width close as thoughts are added.
"""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from actre.config import data_folder
from actre.types import ActreError

SCHEMA_VERSION = 1
WIDTH_NATS = 0.1
"""The bracket wanted if nothing else is said: half of the 0.2 nats that "equivalent" allows, intervals included."""


class Curve(NamedTuple):
    """How one scripted state's mean bracket closes: widths in nats at K thoughts, K rising."""

    actions: int
    thoughts: tuple[int, ...]
    widths: tuple[float, ...]

    def width(self, k: float) -> float:
        """The width at K thoughts: straight lines in log K and log width, the last one going on."""
        x, y = np.log(self.thoughts), np.log(self.widths)
        if k > self.thoughts[-1]:
            slope = (y[-1] - y[-2]) / (x[-1] - x[-2])
            return float(np.exp(y[-1] + slope * (math.log(k) - x[-1])))
        return float(np.exp(np.interp(math.log(k), x, y)))


class Pilot(NamedTuple):
    """What a few thoughts showed: K, and the mean over the states of upper - lower, in nats."""

    thoughts: int
    width: float


class Choice(NamedTuple):
    """K, the width in nats to be expected with it, and how it was chosen in plain words."""

    thoughts: int
    width: float
    words: str


def thoughts_for(
    width: float, actions: float, pilot: Pilot, curves: Sequence[Curve], *, at_least: int = 8, at_most: int = 64
) -> Choice:
    """The least K whose bracket is expected to be at most `width` nats wide, between at_least and at_most.

    actions: mean number of admissible actions in the states. curves: `load_curves()`. Rule: of the curves of scripted
    states with the nearest numbers of actions (one below, one above), take those whose width at the pilot's K lies
    next to the pilot's own, above and below it; scale each to start from the pilot's width; the one that closes more
    slowly decides. Beyond the table's last K its last slope goes on.
    Raises ValueError for a width or pilot that is not positive, a pilot of fewer than 2 thoughts, at_most < at_least,
    no curves.

    >>> curve = Curve(30, (4, 8, 16), (0.8, 0.4, 0.2))
    >>> thoughts_for(0.1, 30, Pilot(8, 0.3), [curve])[:2]
    (24, 0.1)
    """
    if not (width > 0 and pilot.width >= 0 and pilot.thoughts >= 2):
        raise ValueError(f"width {width}, {pilot}: widths must be positive and a pilot have at least 2 thoughts")
    if not 2 <= at_least <= at_most:
        raise ValueError(f"between {at_least} and {at_most} thoughts: at least 2, and at_least <= at_most")
    near = _neighbours(_of_size(curves, actions), pilot)

    def expected(k: int) -> float:
        return max(pilot.width * curve.width(k) / curve.width(pilot.thoughts) for curve in near)

    # the slack: 24 thoughts for exactly 0.1 nats are not to become 25 by rounding
    needed = next((k for k in range(at_least, 4096) if expected(k) <= width * (1 + 1e-9)), None)
    chosen = min(needed or at_most, at_most)
    start = f"{pilot.thoughts} thoughts a state leave the bracket {pilot.width:.2f} nats wide"
    if needed is not None and needed <= at_most:
        words = f"{start}; {chosen} should bring it to {expected(chosen):.2f}"
    else:
        number = "thousands" if needed is None else f"about {needed}"
        words = f"{start}; {width:g} would take {number}, so {chosen}, the most allowed, leave about "
        words += f"{expected(chosen):.2f}"
    return Choice(chosen, round(expected(chosen), 4), words)


def load_curves(path: str | Path | None = None) -> list[Curve]:
    """The width curves of diffuse and decisive thoughts (None: the shipped calibration). Errors: `load_calibration`.

    Rare thoughts are left out: a pilot seldom meets them, so its width could not tell where on their curve it is.
    """
    rows = [row for row in load_calibration(path)["estimators"] if row["k"] > 1 and row["kind"] != "rare"]
    found = []
    for kind, openness, actions in dict.fromkeys((r["kind"], r["openness"], r["actions"]) for r in rows):
        own = [r for r in rows if (r["kind"], r["openness"], r["actions"]) == (kind, openness, actions)]
        own.sort(key=lambda r: r["k"])
        found.append(Curve(actions, tuple(r["k"] for r in own), tuple(r["width"] for r in own)))
    return found


def calibration_file() -> Path:
    """Where the shipped calibration lies."""
    return data_folder() / "results" / "calibration.json"


def load_calibration(path: str | Path | None = None) -> dict[str, Any]:
    """What `actre calibrate` wrote (None: the shipped one). Raises ActreError for a missing, damaged or older file."""
    path = Path(path) if path is not None else calibration_file()
    if not path.exists():
        raise ActreError(f"{path} does not exist: `actre calibrate` makes it, or give --thoughts a number")
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise ActreError(f"{path} is damaged ({error}); `actre calibrate` makes it again") from error
    if not isinstance(record, dict) or record.get("schema") != SCHEMA_VERSION:
        raise ActreError(f"{path} is no calibration of schema {SCHEMA_VERSION}; `actre calibrate` makes one")
    return record


def _of_size(curves: Sequence[Curve], actions: float) -> list[Curve]:
    """The curves with the numbers of actions next to `actions`: one below or equal, one above."""
    sizes = sorted({curve.actions for curve in curves})
    if not sizes:
        raise ValueError("no curves to choose by")
    below = [size for size in sizes if size <= actions][-1:]
    above = [size for size in sizes if size > actions][:1]
    return [curve for curve in curves if curve.actions in (*below, *above)]


def _neighbours(curves: Sequence[Curve], pilot: Pilot) -> list[Curve]:
    """The curve just below and the one just above the pilot's width at the pilot's K; the last one beyond an end."""
    ranked = sorted(curves, key=lambda curve: curve.width(pilot.thoughts))
    above = sum(curve.width(pilot.thoughts) < pilot.width for curve in ranked)
    return ranked[max(above - 1, 0) : above + 1]
