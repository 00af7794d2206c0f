"""What a condition's runs went through, as points to draw: mean over seeds, lowest and highest seed.

Each function takes the records of one condition's seeds.
"""

import math
from collections.abc import Sequence

from actre.study.mediation import entropy_at
from actre.study.record import CURVE, GROUPS, Record
from actre.types import ORDERS, Order

Point = tuple[float, float, float, float]
"""x, y, and the lowest and highest seed."""
WINDOW = 3
"""Iterations over which a curve is smoothed."""


def success(records: Sequence[Record], axis: str = "env_steps") -> list[Point]:
    """Success in training, in the stage's order, smoothed. axis: a name of `record.CURVE`."""
    x_at, y_at = CURVE.index(axis), CURVE.index("success")
    return _smoothed([[(p[x_at], p[y_at]) for p in line["curve"]] for line in records])


def without_variance(records: Sequence[Record], first: int | None = None) -> list[Point]:
    """The share of groups whose episodes all return the same, smoothed; [] for records of before it was kept.

    first: these iterations only.
    """
    x_at, y_at = CURVE.index("env_steps"), GROUPS.index("zero_variance_groups")
    whole = [line for line in records if line.get("signs", {}).get("groups")]
    each = [[(p[x_at], g[y_at]) for p, g in zip(r["curve"], r["signs"]["groups"], strict=True)][:first] for r in whole]
    return _smoothed([points for points in each if all(y is not None for _, y in points)])


def entropy(records: Sequence[Record], name: str) -> list[Point]:
    """Action entropy on the probe states, in nats: "act_first", or "think_first", the middle of its bracket."""
    measured = [line for line in records if line["entropy"]]
    points = []
    for iteration in _common([line["entropy"] for line in measured]):
        at = [next(one for one in line["entropy"] if one["iteration"] == iteration) for line in measured]
        seeds = [entropy_at(line, iteration, name) for line in measured]
        points.append(_point([one["env_steps"] for one in at], seeds))
    return points


def every_order(records: Sequence[Record]) -> dict[Order, list[Point]]:
    """Success of each order on the games that are played at each measurement (`probe.panel_games`); {} without them.

    Only measurements that all seeds have, such as the switch and every eighth iteration, and each seed's last one.
    """
    played = [[m for m in line.get("signs", {}).get("measured", ()) if m["orders"]] for line in records]
    played = [measured for measured in played if measured]
    if not played:
        return {}
    at = [[next(m for m in measured if m["iteration"] == i) for measured in played] for i in _common(played)]
    last = [measured[-1] for measured in played]
    if not at or at[-1] != last:
        at.append(last)
    return {
        order: [_point([m["env_steps"] for m in line], [m["orders"][order][0] for m in line]) for line in at]
        for order in ORDERS
        if all(order in m["orders"] for line in at for m in line)
    }


def _common(measured: Sequence[Sequence[Record]]) -> list[int]:
    """The iterations that all have, in order."""
    each = [{one["iteration"] for one in lines} for lines in measured]
    return sorted(set.intersection(*each)) if each else []


def _smoothed(runs: Sequence[Sequence[tuple[float, float]]]) -> list[Point]:
    """Means over the last `WINDOW` iterations, as far as the shortest run goes."""
    length = min(map(len, runs), default=0)
    points = []
    for i in range(WINDOW - 1, length):
        window = range(i - WINDOW + 1, i + 1)
        points.append(
            _point([run[i][0] for run in runs], [math.fsum(run[j][1] for j in window) / WINDOW for run in runs])
        )
    return points


def _point(xs: Sequence[float], ys: Sequence[float]) -> Point:
    return (math.fsum(xs) / len(xs), math.fsum(ys) / len(ys), min(ys), max(ys))
