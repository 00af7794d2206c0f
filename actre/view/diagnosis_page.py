"""A diagnosis's page: what was found in each wording, by state and by part, one state's distributions, settings.

Knows diagnoses, sentences and charts; reads no file. Everything that comes from a model or a game passes through
`actre.view.html`, which escapes it.
"""

import dataclasses
import math
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from actre.config import RunConfig
from actre.config.model_names import shown
from actre.entropy.diagnose import PARTS, Diagnosis, Part, StateDiagnosis, entropy_record, parts
from actre.stats import Interval
from actre.view import charts, diagnosis_charts, sections, words
from actre.view.blocks import figure, folded, numbers, table, tile
from actre.view.comparison import flat
from actre.view.html import Html, join, tag
from actre.view.names import task_name
from actre.view.page import document
from actre.view.records import entropy_point

_THOUGHTS_SHOWN = 4
_PARTIAL = "This is a partial result: {done} of {wanted} states were measured before the time allowed was up. "
_WORDING = {
    "shared": "Both orders had one and the same prompt; only the forced opening tag differed.",
    "instructed": "Each order was described in its own words, so the two orders' prompts differ in wording too; what "
    "differs between them is then not the order alone.",
}
_FORCED = (
    "The action's opening tag was written for the model after each thought (and the thought closed for it where it did "
    "not end by itself): this model does not write the tags, and without them everything would count as “anything "
    "else”. It is measured as it acts inside this frame."
)
_LISTED = (
    "Among the listed actions only, each distribution renormalised over them, as for a policy whose choice is "
    "constrained to the list (another policy than the one that acts freely): "
)
_OTHER = (
    "On average {act} of the probability act-first and {think} think-first lie outside the listed actions. Entropies "
    "count all of that as one outcome, so where it is large they say little about which action is chosen."
)


def page(found: Sequence[Diagnosis], folder: Path, config: RunConfig | None, versions: dict[str, str]) -> str:
    """The whole page as text. found: at least one; the first, the shared wording if it is there, is the main one."""
    main = found[0]
    sections_: list[tuple[str, str, Html]] = []
    for one in found:
        key = one.settings.wording
        sections_.append((key, _names(one), _measured(one)))
    sections_ += [
        ("states", "State by state", _by_state(main)),
        ("parts", "Early and late, sources, task types", _by_part(main)),
        ("one", "One state in both orders", _one_state(main)),
        ("settings", "Settings, seeds, versions", _settings(main, folder, config, versions)),
    ]
    s = main.settings
    adapter = [] if s.adapter is None else [f"adapter {s.adapter}"]
    kicker = " · ".join(["ActRe Lab", "diagnosis", f"model {shown(s.model)}", *adapter, f"seed {s.seed}"])
    heading = "Does thinking first narrow what this policy would do?"
    return document(f"{folder.resolve().name}: diagnosis", kicker, heading, _summary(found), sections_)


def _names(one: Diagnosis) -> str:
    return {"shared": "One prompt for both orders", "instructed": "Each order in its own words"}[one.settings.wording]


def _summary(found: Sequence[Diagnosis]) -> Html:
    said = [tag("li", f"{_names(one)}: {_partial(one)}{one.words}") for one in found]
    s = found[0].settings
    notes = [
        "The target is the mean over the kind of states the set was drawn from, at one temperature and in one prompt; "
        "it says nothing about other states, and nothing about what training would do."
    ]
    if s.force_action_tag:
        notes.append(_FORCED)
    if s.model == "tiny" or s.model.startswith("tiny/"):
        notes.append(words.MODEL_ORGANISM)
    tiles = [_tile(one) for one in found]
    return join(
        [
            tag("div", tag("ul", said), class_="lead"),
            tag("dl", tiles, class_="tiles"),
            tag("div", [tag("p", note) for note in notes], class_="caution", role="note"),
        ]
    )


def _partial(one: Diagnosis) -> str:
    return "" if one.complete else _PARTIAL.format(done=len(one.states), wanted=one.settings.states)


def _tile(one: Diagnosis) -> Html:
    mean = one.summary
    big = f"{mean['act_first'].value:.2f} / {mean['think_first_lower'].value:.2f}–{mean['think_first_upper'].value:.2f}"
    return tile(f"{_names(one)}, nats", big, "act-first / think-first (bracket)")


def _measured(one: Diagnosis) -> Html:
    """Words, the means and the decomposition of one wording."""
    point = entropy_point(entropy_record(one))
    other = {order: f"{100 * one.summary[f'other_{order}_first'].value:.0f}%" for order in ("act", "think")}
    said = [_partial(one) + _WORDING[one.settings.wording]]
    split = charts.both(partial(diagnosis_charts.decomposition, one))
    told = (
        "Think-first, the whole is what is left after a thought plus what the thought decides, to be found between the "
        "second bar's and the third bar's end. Only the whole may be compared with act-first."
    )
    return join(
        [
            [tag("p", sentence) for sentence in said],
            sections.one_start(point, None),
            tag("p", _OTHER.format(**other)),
            None if one.listed is None else tag("p", _LISTED + one.listed.words),
            tag("h3", "Where the choice lies"),
            figure(split, told),
        ]
    )


def _by_state(one: Diagnosis) -> Html:
    gaps = charts.both(partial(diagnosis_charts.difference_by_state, one))
    told = (
        "Act-first minus think-first, between the two ends of think-first's bracket. On top the mean, its whisker the "
        "95 % interval over games of both ends; right of zero, thinking first narrows."
    )
    each = charts.both(lambda width: charts.entropy_by_state(one.states, width))
    names = ["state", "actions", "act-first", "think-first", "no-think", "outside the list, act / think"]
    rows = [
        [_state_name(s), str(len(s.actions)), f"{s.act_first:.2f}", _bracket(s), _none(s), _outside(s)]
        for s in one.states
    ]
    among = []
    if one.listed is not None:
        drawn = charts.both(lambda width: diagnosis_charts.listed_by_state(one, width) or Html(""))
        among = [figure(drawn, "The same among the listed actions only (another policy: see above).")]
    return join(
        [
            figure(gaps, told),
            figure(each, "The entropies themselves: act-first (dot), think-first's bracket (bar)."),
            *among,
            numbers(names, rows),
        ]
    )


def _state_name(state: StateDiagnosis) -> str:
    return f"{state.game}: {task_name(state.task_type)}, step {state.step} ({state.source}, {state.position})"


def _bracket(state: StateDiagnosis) -> str:
    return f"{state.lower:.2f} – {state.upper:.2f}"


def _none(state: StateDiagnosis) -> str:
    return "–" if state.no_think is None else f"{state.no_think:.2f}"


def _outside(state: StateDiagnosis) -> str:
    return f"{100 * state.act_first_p[-1]:.0f}% / {100 * state.think_first_p[-1]:.0f}%"


def _by_part(one: Diagnosis) -> Html:
    drawn = charts.both(partial(diagnosis_charts.difference_by_part, one))
    told = "Few states a part: intervals are wide, and differences between parts are exploratory; no verdict is given."
    names = ["part", "states", "games", "act-first", "think-first", "no-think", "difference, between"]
    rows = [_part_row(part, by) for by in PARTS for part in parts(one.states, by, one.settings.seed)]
    return join([figure(drawn, told), table(names, rows)])


def _part_row(part: Part, by: str) -> list[str]:
    think = f"{part.think_first_lower.value:.2f} – {part.think_first_upper.value:.2f}"
    none = "–" if part.no_think is None else f"{part.no_think.value:.2f}"
    gap = f"{_banded(part.difference_lower)} and {_banded(part.difference_upper)}"
    name = diagnosis_charts.part_name(part.name, by)
    return [name, str(part.states), str(part.games), f"{part.act_first.value:.2f}", think, none, gap]


def _banded(band: Interval) -> str:
    return str(band) if math.isfinite(band.low) and math.isfinite(band.high) else f"{band.value:.2f}"


def _one_state(one: Diagnosis) -> Html:
    state = diagnosis_charts.most_different(one)
    draw: Callable[[float], Html] = partial(diagnosis_charts.distributions, state)
    told = (
        "In each row from the top: act-first, think-first (the mean over its thoughts), and hollow no-think, where it "
        "was measured. “Anything else” is what lies outside the listed actions."
    )
    shown = [tag("li", thought or "(an empty thought)") for thought in state.thoughts[:_THOUGHTS_SHOWN]]
    return join(
        [
            tag("p", f"{_state_name(state)}: the state in which the two orders lie farthest apart, so no typical one."),
            figure(charts.both(draw), told),
            folded(f"The first {len(shown)} of its {len(state.thoughts)} thoughts", tag("ul", shown, class_="plain")),
        ]
    )


def _settings(one: Diagnosis, folder: Path, config: RunConfig | None, versions: dict[str, str]) -> Html:
    rows = [[name, value] for name, value in flat(dataclasses.asdict(one.settings))]
    made = [
        tag("pre", f"{_command(one, folder)}\nactre report {folder}"),
        table(["setting", "value"], rows, css="settings"),
    ]
    if config is not None:
        every = [[name, value] for name, value in flat(dataclasses.asdict(config))]
        made.append(folded("All settings", table(["setting", "value"], every, css="settings")))
    if versions:
        every = [[name, value] for name, value in versions.items()]
        made.append(folded("Versions", table(["package", "version"], every, css="settings")))
    return join([tag("p", "Made by, and shown again by:"), *made])


def _command(one: Diagnosis, folder: Path) -> str:
    s = one.settings
    asked = f"--model {s.model} --states {s.states} --thoughts {s.thoughts} --seed {s.seed}"
    forced = " --force-action-tag" if s.force_action_tag else ""
    return f"actre diagnose {asked}{forced} --out {folder}"
