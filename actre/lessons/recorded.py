"""The shipped records of a study's runs, for notebooks that show what takes too long to run."""

from typing import Any

from actre.config.paths import data_folder
from actre.entropy.precondition_files import find
from actre.entropy.preconditions import Preconditions
from actre.study import across
from actre.study.file import load_study
from actre.study.findings import of_condition
from actre.study.pages import across as across_page
from actre.study.record import Record, finished
from actre.types import ActreError


def recorded(study: str, part: str) -> dict[str, list[Record]]:
    """Condition -> the records of its finished runs, by seed, of one part of a shipped study.

    Raises ActreError for an unknown part, and where no run is there: a wheel has no records, a checkout has them.

    >>> len(recorded("tiny", "neutral")["actre-grpo"])
    5
    """
    planned = load_study(data_folder() / "studies" / f"{study}.toml")
    found = next((one for one in planned.parts if one.name == part), None)
    if found is None:
        names = ", ".join(one.name for one in planned.parts)
        raise ActreError(f"the study {study} has no part {part!r}; its parts are: {names}")
    folder = data_folder() / "results" / "study"
    lines = finished(planned, folder)
    runs = {name: list(of_condition(found, lines, name).values()) for name in found.conditions}
    if not any(runs.values()):
        raise ActreError(
            f"{folder} has no finished run of {study}, {part}: take a checkout of the kit, or make them with "
            f"`actre study {data_folder() / 'studies' / study}.toml --results {folder}`"
        )
    return {name: of for name, of in runs.items() if of}


def recorded_preconditions(*kinds: str) -> dict[str, Preconditions]:
    """Kind of tiny policy -> the shipped record of its preconditions in ALFWorld.

    Raises ActreError for a kind without one.

    >>> recorded_preconditions("contracted-high")["contracted-high"].model
    'tiny/contracted-high'
    """
    found = {}
    for kind in kinds:
        one = find(f"tiny/{kind}", None, "alfworld")
        if one is None:
            raise ActreError(
                f"no record of the preconditions of tiny/{kind} is here: take a checkout of the kit, or measure them: "
                f"`actre preconditions --model tiny/{kind}`"
            )
        found[kind] = one
    return found


def recorded_map(study: str) -> Any:
    """The map of a shipped study, a plotly figure: its contrast in each policy, at what was measured before training.

    Raises ActreError for a study without a contrast between parts, and where no policy's measurements are at hand.
    """
    planned = load_study(data_folder() / "studies" / f"{study}.toml")
    found = across.between(planned, finished(planned, data_folder() / "results" / "study"))
    if found is None:
        raise ActreError(f"the study {study} compares no contrast between its parts, so it has no map")
    drawn = across_page.figure(found)
    if drawn is None:
        raise ActreError(
            f"{data_folder() / 'results' / 'preconditions'} says nothing of the policies of {study}: take a checkout "
            "of the kit, or measure them with `actre preconditions`"
        )
    return drawn
