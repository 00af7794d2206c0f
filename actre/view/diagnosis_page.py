"""A diagnosis's page: the result in each wording, by state and by part, one state's distributions, the settings.

Reads no file. All text of a model or a game passes through `actre.view.html`, which escapes it.
"""

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path

from actre.config import RunConfig
from actre.config.model_names import shown
from actre.config.tiny_names import is_tiny
from actre.entropy.diagnose import PARTS, Diagnosis, Part, StateDiagnosis, entropy_record, parts
from actre.stats import Interval
from actre.view import diagnosis_plots as plots
from actre.view import provenance, sections, words
from actre.view.blocks import figure, folded, numbers, table
from actre.view.comparison import flat
from actre.view.diagnosis_plots import most_different, part_name
from actre.view.html import Html, join, tag
from actre.view.names import task_name
from actre.view.page import document, entropy_tile, summary
from actre.view.records import entropy_point
from actre.view.sections import ends
from actre.view.still import chart

_THOUGHTS_SHOWN = 4
_PARTIAL = "This is a partial result: {done} of {wanted} states were measured within the time limit. "
_WORDING = {
    "shared": "Both orders had the same prompt; only the forced opening tag differed.",
    "instructed": "Each order was described in its own words. The prompts therefore differ in wording too, not only in "
    "order.",
}
_FORCED = (
    "This model does not write the tags, and without them every action would count as “anything else”. The action's "
    "opening tag was therefore written for it after each thought, and an unfinished thought was closed for it. The "
    "measurement describes the model inside this frame."
)
_LISTED = (
    "Among the listed actions only, with each distribution renormalised over them. This describes a policy constrained "
    "to the list, not the one that acts freely: "
)
_OTHER = (
    "On average {act} of the act-first and {think} of the think-first probability lies outside the listed actions. The "
    "entropies count all of it as one outcome; where it is large, they say little about which action is chosen."
)


def page(found: Sequence[Diagnosis], folder: Path, config: RunConfig | None, versions: dict[str, str]) -> str:
    """The whole page as text. found: at least one; the first (the shared wording, if measured) is shown in detail."""
    main = found[0]
    parts_ = [
        *((one.settings.wording, _names(one), _measured(one)) for one in found),
        ("states", "State by state", _by_state(main)),
        ("parts", "Early and late, sources, task types", _by_part(main)),
        ("one", "One state in both orders", _one_state(main)),
        ("settings", "Settings, seeds, versions", _settings(main, folder, config, versions)),
    ]
    s = main.settings
    adapter = [] if s.adapter is None else [f"adapter {s.adapter}"]
    kicker = " · ".join(["ActRe Lab", "diagnosis", f"model {shown(s.model)}", *adapter, f"seed {s.seed}"])
    heading = "Does thinking first narrow what this policy would do?"
    return document(f"{folder.resolve().name}: diagnosis", kicker, heading, _summary(found), parts_)


def _names(one: Diagnosis) -> str:
    return {"shared": "One prompt for both orders", "instructed": "Each order in its own words"}[one.settings.wording]


def _summary(found: Sequence[Diagnosis]) -> Html:
    said = [f"{_names(one)}: {_partial(one)}{one.words}" for one in found]
    s = found[0].settings
    notes = [
        "The result is a mean over the kind of states that the set was drawn from, at one temperature and in one "
        "prompt. It does not extend to other states or to the effect of training."
    ]
    if s.force_action_tag:
        notes.append(_FORCED)
    if is_tiny(s.model):
        notes.append(words.MODEL_ORGANISM)
    tiles = [entropy_tile(f"{_names(one)}, nats", entropy_point(entropy_record(one))) for one in found]
    return summary(said, tiles, notes)


def _partial(one: Diagnosis) -> str:
    return "" if one.complete else _PARTIAL.format(done=len(one.states), wanted=one.settings.states)


def _measured(one: Diagnosis) -> Html:
    """One wording: sentences, the means and their decomposition."""
    other = {order: f"{100 * one.summary[f'other_{order}_first'].value:.0f}%" for order in ("act", "think")}
    caption = (
        "Think-first's entropy is the sum of what is left after a thought and what the thought decides. The true sum "
        "lies between the lower bound (the filled bars) and the upper bound (the outlined end). Only the sum may be "
        "compared with act-first."
    )
    return join(
        [
            tag("p", _partial(one) + _WORDING[one.settings.wording]),
            sections.one_start(entropy_point(entropy_record(one)), None),
            tag("p", _OTHER.format(**other)),
            None if one.listed is None else tag("p", _LISTED + one.listed.words),
            tag("h3", "Where the choice lies"),
            figure(chart(plots.decomposition(one)), caption),
        ]
    )


def _by_state(one: Diagnosis) -> Html:
    caption = (
        "Act-first minus think-first, between the two ends of think-first's bracket. On top: the mean, with the 95 % "
        "interval over games of both ends. Right of 0, thinking first narrows."
    )
    names = ["state", "actions", "act-first", "think-first", "no-think", "outside the list, act / think"]
    rows = [
        [
            _state_name(s),
            str(len(s.actions)),
            f"{s.act_first:.2f}",
            ends(s.lower, s.upper),
            _or_dash(s.no_think),
            _outside(s),
        ]
        for s in one.states
    ]
    figures = [
        figure(chart(plots.difference_by_state(one)), caption),
        figure(chart(plots.entropy_by_state(one)), "The entropies themselves."),
    ]
    if one.listed is not None:
        among = chart(plots.entropy_by_state(one, listed=True))
        figures.append(figure(among, "The same among the listed actions only (another policy: see above)."))
    return join([*figures, numbers(names, rows)])


def _state_name(state: StateDiagnosis) -> str:
    return f"{state.game}: {task_name(state.task_type)}, step {state.step} ({state.source}, {state.position})"


def _or_dash(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


def _outside(state: StateDiagnosis) -> str:
    return f"{100 * state.act_first_p[-1]:.0f}% / {100 * state.think_first_p[-1]:.0f}%"


def _by_part(one: Diagnosis) -> Html:
    caption = (
        "Each part has few states, so the intervals are large and differences between parts are exploratory. No "
        "verdict is given."
    )
    names = ["part", "states", "games", "act-first", "think-first", "no-think", "difference, between"]
    rows = [_part_row(part) for by in PARTS for part in parts(one.states, by, one.settings.seed)]
    return join([figure(chart(plots.difference_by_part(one)), caption), table(names, rows)])


def _part_row(part: Part) -> list[str]:
    think = ends(part.think_first_lower.value, part.think_first_upper.value)
    none = _or_dash(None if part.no_think is None else part.no_think.value)
    gap = f"{_banded(part.difference_lower)} and {_banded(part.difference_upper)}"
    return [part_name(part.name), str(part.states), str(part.games), f"{part.act_first.value:.2f}", think, none, gap]


def _banded(band: Interval) -> str:
    return str(band) if math.isfinite(band.low) and math.isfinite(band.high) else f"{band.value:.2f}"


def _one_state(one: Diagnosis) -> Html:
    state = most_different(one)
    caption = (
        "Think-first is the mean over its thoughts. No-think is shown where it was measured. “Anything else” is the "
        "probability outside the listed actions."
    )
    shown = [tag("li", thought or "(an empty thought)") for thought in state.thoughts[:_THOUGHTS_SHOWN]]
    return join(
        [
            tag("p", f"{_state_name(state)}: the state in which the two orders differ most, so not a typical one."),
            figure(chart(plots.action_distributions(state)), caption),
            folded(f"The first {len(shown)} of its {len(state.thoughts)} thoughts", tag("ul", shown, class_="plain")),
        ]
    )


def _settings(one: Diagnosis, folder: Path, config: RunConfig | None, versions: dict[str, str]) -> Html:
    return join(
        [
            tag("p", "Made by, and shown again by:"),
            tag("pre", f"{_command(one, folder)}\nactre report {folder}"),
            table(["setting", "value"], flat(dataclasses.asdict(one.settings)), css="settings"),
            provenance.all_settings(config, versions),
        ]
    )


def _command(one: Diagnosis, folder: Path) -> str:
    s = one.settings
    asked = f"--model {s.model} --states {s.states} --thoughts {s.thoughts} --seed {s.seed}"
    forced = " --force-action-tag" if s.force_action_tag else ""
    return f"actre diagnose {asked}{forced} --out {folder}"
