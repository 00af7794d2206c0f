"""How many thoughts per state a diagnosis needs, from the calibration's bracket widths (data/results/calibration.json).

A pilot measures the width of a policy's bracket with a few thoughts; the calibration shows how brackets of that width
narrow with more thoughts.
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
"""Default target width of the bracket: half of the 0.2 nats that "equivalent" allows, intervals included."""


class Curve(NamedTuple):
    """Mean bracket widths (nats) of one scripted state at increasing numbers of thoughts."""

    actions: int
    thoughts: tuple[int, ...]
    widths: tuple[float, ...]

    def width(self, k: float) -> float:
        """The width at K thoughts, interpolated linearly in log K and log width and extrapolated beyond the last K."""
        x, y = np.log(self.thoughts), np.log(self.widths)
        if k > self.thoughts[-1]:
            slope = (y[-1] - y[-2]) / (x[-1] - x[-2])
            return float(np.exp(y[-1] + slope * (math.log(k) - x[-1])))
        return float(np.exp(np.interp(math.log(k), x, y)))


class Pilot(NamedTuple):
    """A pilot: its K, and the mean width of the bracket over the states, in nats."""

    thoughts: int
    width: float


class Choice(NamedTuple):
    """K, its expected width in nats, and a sentence on the choice."""

    thoughts: int
    width: float
    words: str


def thoughts_for(
    width: float, actions: float, pilot: Pilot, curves: Sequence[Curve], *, at_least: int = 8, at_most: int = 64
) -> Choice:
    """The smallest K between at_least and at_most whose expected bracket is at most `width` nats wide.

    actions: mean number of admissible actions in the states. curves: `load_curves()`. Rule: of the curves of scripted
    states with the nearest numbers of actions (one below, one above), take the two whose widths at the pilot's K are
    next to the pilot's, above and below; scale them to the pilot's width; the one that narrows more slowly decides.
    Beyond the last K the last slope is extrapolated. Raises ValueError for a width or pilot that is not positive, a
    pilot of fewer than 2 thoughts, at_most < at_least, and no curves.

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

    # the slack keeps rounding from turning 24 thoughts for exactly 0.1 nats into 25
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
    """The width curves of diffuse and decisive thoughts (None: the shipped calibration). Raises as `load_calibration`.

    Rare thoughts are left out, because a pilot seldom samples them and so cannot be placed on their curves.
    """
    rows = [row for row in load_calibration(path)["estimators"] if row["k"] > 1 and row["kind"] != "rare"]
    found = []
    for kind, openness, actions in dict.fromkeys((r["kind"], r["openness"], r["actions"]) for r in rows):
        own = [r for r in rows if (r["kind"], r["openness"], r["actions"]) == (kind, openness, actions)]
        own.sort(key=lambda r: r["k"])
        found.append(Curve(actions, tuple(r["k"] for r in own), tuple(r["width"] for r in own)))
    return found


def calibration_file() -> Path:
    """The path of the shipped calibration."""
    return data_folder() / "results" / "calibration.json"


def load_calibration(path: str | Path | None = None) -> dict[str, Any]:
    """A record of `actre calibrate` (None: the shipped one). Raises ActreError for a missing, damaged or older file."""
    path = Path(path) if path is not None else calibration_file()
    if not path.exists():
        raise ActreError(f"{path} does not exist: make it with `actre calibrate`, or set --thoughts to a number")
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise ActreError(f"{path} is damaged ({error}); `actre calibrate` makes it again") from error
    if not isinstance(record, dict) or record.get("schema") != SCHEMA_VERSION:
        raise ActreError(f"{path} is not a calibration of schema {SCHEMA_VERSION}; `actre calibrate` makes one")
    return record


def _of_size(curves: Sequence[Curve], actions: float) -> list[Curve]:
    """The curves with the nearest numbers of actions: one below or equal, one above."""
    sizes = sorted({curve.actions for curve in curves})
    if not sizes:
        raise ValueError("no curves to choose by")
    below = [size for size in sizes if size <= actions][-1:]
    above = [size for size in sizes if size > actions][:1]
    return [curve for curve in curves if curve.actions in (*below, *above)]


def _neighbours(curves: Sequence[Curve], pilot: Pilot) -> list[Curve]:
    """The curves just below and above the pilot's width at the pilot's K, or the outermost one."""
    ranked = sorted(curves, key=lambda curve: curve.width(pilot.thoughts))
    above = sum(curve.width(pilot.thoughts) < pilot.width for curve in ranked)
    return ranked[max(above - 1, 0) : above + 1]
