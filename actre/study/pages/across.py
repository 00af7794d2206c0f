"""The page's section on a contrast between parts: the interaction, the map, and the parts side by side."""

from functools import partial
from typing import Any

from actre.stats import Interval
from actre.study.across import Between, Interaction, Side
from actre.study.pages.blocks import Figure, Items, Section
from actre.study.pages.tables import Table, seeds_of
from actre.study.pages.words import contrast_name, meaning, p_value, points, signed
from actre.view import blocks
from actre.view.html import Html
from actre.view.map_plot import Place, gain_map
from actre.view.still import chart

_EXPLORATORY = "The map is exploratory: its places are what was measured before training, not what was intended."


def section(study: str, found: Between) -> Section:
    """The section's blocks."""
    name = contrast_name(found.across.contrast)
    said = [sentence(found.interaction)] if found.interaction is not None else []
    return Section(
        f"{study}: {name} in every part", (Items((*said, _EXPLORATORY)), Figure(partial(_map, found)), _table(found))
    )


def sentence(one: Interaction) -> str:
    """The interaction in words."""
    name, others = contrast_name(one.across.contrast), ", ".join(one.across.others)
    start = f"Confirmatory: {name} in {one.across.largest_in} minus its mean in {others}"
    if one.test is None or one.finding == "interim":
        seeds = "no test yet" if one.test is None else f"interim, {points(Interval(*one.test[:3]))}"
        return f"{start}: {seeds}, as planned seeds are missing; nothing is concluded."
    found = f"{points(Interval(*one.test[:3]))} over seeds, Holm's p {p_value(one.p_holm)}"
    return f"{start}: {found}: {meaning(one.finding)}."


def _narrowing(side: Side) -> Interval | None:
    """The bracket of act-first minus think-first entropy, and its middle."""
    found = side.preconditions.contraction if side.preconditions is not None else None
    if found is None:
        return None
    low, high = found.lower.value, found.upper.value
    return Interval((low + high) / 2, low, high)


def _transfer(side: Side) -> Interval | None:
    found = side.preconditions.transfer("act_first") if side.preconditions is not None else None
    return None if found is None else found.gains.ratio


def figure(found: Between) -> Any:
    """The map, a plotly figure; None if no policy's contraction and transfer are known."""
    places = []
    for side in found.sides:
        narrowing, transfer = _narrowing(side), _transfer(side)
        if narrowing is None or transfer is None:
            continue
        gain, words = None, "not compared yet"
        if side.compared is not None:
            gain = Interval(*side.compared.both[:3])
            words = f"{signed(100 * gain.value)} ({len(side.compared.seeds)} seeds)"
        places.append(Place(side.part.name, narrowing, transfer, gain, words))
    return gain_map(places, f"When does it help? {contrast_name(found.across.contrast)}") if places else None


def _map(found: Between) -> Html | None:
    drawn = figure(found)
    return drawn and blocks.figure(
        chart(drawn),
        "Each policy at its contraction (bar: the bracket's ends) and transfer (bar: 95 % interval) before training. "
        "Blue: a gain, orange: a loss, in points of success; a diamond: the 95 % interval excludes 0. Open: the arms "
        "have not been compared in it yet.",
    )


def _table(found: Between) -> Table:
    rows = tuple(
        (
            side.part.name,
            _shown(_narrowing(side)),
            _shown(_transfer(side)),
            points(side.compared.both) if side.compared is not None else "–",
            seeds_of(side.compared) if side.compared is not None else "–",
        )
        for side in found.sides
    )
    note = (
        "Contraction: action entropy, act-first minus think-first, before training, in nats: the middle of the bracket "
        "[its two ends, no interval]. Transfer: the gain in think-first over the gain in act-first, after supervised "
        "training on act-first alone [95 %]. Difference: in points of success, with the 95 % interval over seeds and "
        "games."
    )
    return Table("By policy", note, ("part", "contraction", "transfer", "difference", "seeds"), rows)


def _shown(value: Interval | None) -> str:
    return "–" if value is None else str(value)
