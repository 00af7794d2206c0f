"""What was expected of a part's contrasts before they ran, beside what came out."""

from typing import NamedTuple

from actre.study.findings import Comparison, Found
from actre.study.pages.tables import Table
from actre.study.pages.words import contrast_name, points, signed
from actre.study.plan import Forecast

_GUESS = 0.25
"""The Brier score of always saying 50 %."""


class Scored(NamedTuple):
    """A forecast and its contrast. compared: None until its planned seeds are finished."""

    forecast: Forecast
    compared: Comparison | None

    @property
    def held(self) -> bool | None:
        """Whether the mean difference is in the forecast's range."""
        if self.compared is None:
            return None
        low, high = self.forecast.points
        return low <= round(100 * self.compared.both.value, 9) <= high

    @property
    def brier(self) -> float | None:
        """The squared error of the probability that the difference is above 0: 0 is best, 1 worst, 0.25 a coin's."""
        if self.compared is None:
            return None
        return (self.forecast.above - float(self.compared.both.value > 0)) ** 2


def scored(found: Found) -> list[Scored]:
    """The part's forecasts, in the file's order."""
    complete = {one.contrast[:2]: one for one in found.compared if one.complete}
    return [Scored(one, complete.get((one.then, one.first))) for one in found.part.forecasts]


def said(found: Found) -> list[str]:
    """How the forecasts came out, in a sentence; nothing if there are none."""
    every = scored(found)
    if not every:
        return []
    done = [(one.held, one.brier) for one in every if one.held is not None and one.brier is not None]
    if not done:
        return [f"Forecasts: {len(every)} were fixed beforehand; none can be scored yet."]
    inside, mean = sum(held for held, _ in done), sum(brier for _, brier in done) / len(done)
    waiting = f"; {len(every) - len(done)} wait for seeds" if len(done) < len(every) else ""
    return [
        f"Forecasts, fixed beforehand: {inside} of {len(done)} differences came out within their 80 % ranges; Brier "
        f"score {mean:.2f} (0 is best, a coin has {_GUESS}){waiting}."
    ]


def table(found: Found) -> Table:
    """Each forecast beside its contrast; without rows if there are none."""
    rows = tuple(
        (
            contrast_name(next(c for c in found.part.contrasts if c[:2] == (one.forecast.then, one.forecast.first))),
            f"{signed(one.forecast.points[0], '.0f')} to {signed(one.forecast.points[1], '.0f')}",
            f"{100 * one.forecast.above:.0f} %",
            "–" if one.compared is None else points(one.compared.both),
            "–" if one.held is None else "within" if one.held else "outside",
            "–" if one.brier is None else f"{one.brier:.2f}",
            one.forecast.because,
        )
        for one in scored(found)
    )
    note = (
        "What was expected of each contrast before any run: the range that holds the mean difference with 80 %, and "
        "the probability that it is above 0. Scored once all planned seeds are finished, on success in points with its "
        f"95 % interval. Brier: the squared error of the probability; 0 is best, a coin has {_GUESS}."
    )
    names = ("contrast", "range in points", "above 0", "difference", "came out", "Brier", "because")
    return Table("Forecasts", note, names, rows)
