"""The axes of a static figure: plotly's data and layout as positions and tick labels in px."""

import html
import math
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import plotly.graph_objects as go


@dataclass
class Axis:
    """One axis. `start` and `end` are the px of its low and its high end; `marks` are (value, label)."""

    log: bool = False
    names: list[str] = field(default_factory=list)
    low: float = 0.0
    high: float = 1.0
    start: float = 0.0
    end: float = 1.0
    marks: list[tuple[float, str]] = field(default_factory=list)

    def value(self, raw: Any) -> float:
        """A datum as a number on this axis; NaN where it cannot be drawn."""
        if isinstance(raw, str):
            return float(self.names.index(raw))
        if raw is None or not math.isfinite(raw):
            return math.nan
        return math.log10(raw) if self.log else float(raw)

    def at(self, raw: Any) -> float:
        """A datum's position in px."""
        return self.px(self.value(raw))

    def px(self, value: float) -> float:
        """The position of a number on this axis, in px."""
        return self.start + (value - self.low) / ((self.high - self.low) or 1.0) * (self.end - self.start)


def axis(figure: go.Figure, which: str, start: float, end: float) -> Axis:
    """The figure's x or y axis from `start` to `end` px, with its ticks."""
    layout = figure.layout[f"{which}axis"]
    found = Axis(log=layout.type == "log", start=start, end=end)
    raw = [value for trace in figure.data for value in along(trace, which)]
    found.names = list(dict.fromkeys(value for value in raw if isinstance(value, str)))
    values = [v for v in map(found.value, _with_errors(figure, which, found)) if math.isfinite(v)]
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    if found.names:
        low, high = -0.6, len(found.names) - 0.4
    else:
        margin = 0.05 * ((high - low) or 1.0)
        low, high = low - margin, high + margin
    if layout.rangemode == "tozero":
        low, high = min(low, 0.0) if min(values, default=0.0) < 0 else 0.0, max(high, 0.0)
    if any(trace.type == "bar" and (trace.orientation == "h") == (which == "x") for trace in figure.data):
        low = min(low, 0.0) if min(values, default=0.0) < 0 else 0.0
    if layout.range:
        low, high = (float(end) for end in layout.range)
    found.low, found.high = (high, low) if layout.autorange == "reversed" else (low, high)
    found.marks = _marks(layout, found)
    return found


def along(trace: Any, which: str) -> Sequence[Any]:
    """A trace's data on one axis."""
    values = trace[which]
    return [] if values is None else list(values)


def error(trace: Any, which: str, n: int) -> tuple[list[float], list[float]]:
    """The lengths of a trace's n error bars below and above; zeros where it has none."""
    bars = trace[f"error_{which}"]
    if bars.array is None:
        return [0.0] * n, [0.0] * n
    above = [float(v or 0.0) for v in bars.array]
    below = above if bars.arrayminus is None else [float(v or 0.0) for v in bars.arrayminus]
    return below, above


def wrapped(label: str, most: float) -> list[str]:
    """A plotly label, which has entities and <br>, as plain lines of at most `most` characters.

    >>> wrapped("heat, then put;<br>step &lt;3&gt;", 80)
    ['heat, then put;', 'step <3>']
    """
    parts = [html.unescape(part) for part in label.split("<br>")]
    return [line for part in parts for line in textwrap.wrap(part, max(int(most), 8)) or [""]]


def ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Round numbers (1, 2, 2.5 or 5 times a power of ten) that cover [low, high], at most about `most`.

    >>> ticks(0, 0.87)
    [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
    >>> ticks(2.0, 2.0)
    [2.0, 2.2, 2.4, 2.6, 2.8, 3.0]
    """
    if not high > low:
        high = low + 1.0
    rough = (high - low) / max(most - 1, 1)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(m * power for m in (1, 2, 2.5, 5, 10) if m * power >= rough * (1 - 1e-9))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    if last == first:
        last += 1
    return [round(i * step, 10) for i in range(first, last + 1)]


def number(value: float, percent: bool = False) -> str:
    """A tick's label.

    >>> number(0.25, percent=True), number(12000.0), number(-0.5), number(2.0)
    ('25%', '12,000', '−0.5', '2')
    """
    if percent:
        return f"{value * 100:.0f}%".replace("-", "−")
    written = f"{value:,.0f}" if abs(value) >= 1000 or value == int(value) else f"{value:g}"
    return written.replace("-", "−")


def _marks(layout: Any, found: Axis) -> list[tuple[float, str]]:
    if layout.tickvals is not None:
        labels = layout.ticktext or [number(float(v)) for v in layout.tickvals]
        return [(found.value(v), str(label)) for v, label in zip(layout.tickvals, labels, strict=True)]
    if found.names:
        return [(float(i), name) for i, name in enumerate(found.names)]
    low, high = sorted((found.low, found.high))
    if found.log:
        powers = [2.0**i for i in range(-10, 40) if low <= math.log10(2.0**i) <= high]
        return [(math.log10(value), number(value)) for value in powers]
    percent = str(layout.tickformat or "").endswith("%")
    marks: list[tuple[float, str]] = []
    for most in range(7, 2, -1):
        marks = [(value, number(value, percent)) for value in ticks(low, high, most) if low <= value <= high]
        if sum(max(7 * len(label) + 10, 24) for _, label in marks) < abs(found.end - found.start):
            break
    return marks


def _with_errors(figure: go.Figure, which: str, found: Axis) -> Iterable[Any]:
    """Every value that must fit: the data, the ends of their error bars, the sums of stacked bars."""
    sums: dict[Any, float] = {}
    for trace in figure.data:
        values = along(trace, which)
        yield from (value for value in values if not isinstance(value, str))
        below, above = error(trace, which, len(values))
        for value, less, more in zip(values, below, above, strict=True):
            if not isinstance(value, str) and value is not None and not found.log:
                yield value - less
                yield value + more
        if trace.type == "bar" and (trace.orientation == "h") == (which == "x"):
            for place, value in zip(along(trace, "y" if which == "x" else "x"), values, strict=True):
                sums[place] = sums.get(place, 0.0) + (value or 0.0)
    if figure.layout.barmode == "stack":
        yield from sums.values()
