"""The building blocks of reports: tables, figures, tiles and notes on what is missing."""

import math
from collections.abc import Sequence

from actre.stats import Interval
from actre.view.html import Html, tag


def tile(name: str, big: str, sub: str) -> Html:
    """One number with its name above and a note below."""
    return tag("div", tag("dt", name), tag("dd", big, class_="big"), tag("dd", sub, class_="sub"), class_="tile")


def missing(sentence: str, why: str) -> Html:
    """A note in place of something that is missing."""
    return tag("p", f"{sentence}: {why}.", class_="soft")


def figure(chart: Html, caption: str) -> Html:
    """A chart with its caption."""
    return tag("figure", chart, tag("figcaption", caption))


def cells(band: Interval) -> list[str]:
    """A value in nats and its interval, as two cells."""
    if math.isnan(band.value):
        return ["not recorded", "–"]
    value = f"{band.value:.3f}" if math.isfinite(band.value) else "no bound"
    both = math.isfinite(band.low) and math.isfinite(band.high)
    return [value, f"{band.low:.3f} to {band.high:.3f}" if both else "–"]


def span(band: Interval) -> str:
    """A share's interval in per cent."""
    return f"{band.low * 100:.0f}–{band.high * 100:.0f}%"


def numbers(names: Sequence[str], rows: Sequence[Sequence[str]]) -> Html:
    """A figure's numbers, collapsed."""
    return folded("The numbers", table(names, rows))


def folded(name: str, content: Html) -> Html:
    """Content collapsed under its name."""
    return tag("details", tag("summary", name), content)


def table(names: Sequence[str], rows: Sequence[Sequence[str]], css: str | None = None) -> Html:
    """A table; columns whose cells all begin with a digit, a sign or a dash are right-aligned."""
    numeric = [all(row[i][:1] in "0123456789−-+–" for row in rows) for i in range(len(names))]
    css_of = ["num" if flag and css is None else None for flag in numeric]
    head = tag("tr", [tag("th", name, scope="col", class_=c) for name, c in zip(names, css_of, strict=True)])
    body = [tag("tr", [tag("td", cell, class_=c) for cell, c in zip(row, css_of, strict=True)]) for row in rows]
    table = tag("table", tag("thead", head), tag("tbody", body), class_=css)
    # tabindex: a scrollable region must be reachable by keyboard
    return tag("div", table, class_="scroll", tabindex=0)


def capital(text: str) -> str:
    """The text with its first letter capitalised."""
    return text[:1].upper() + text[1:]
