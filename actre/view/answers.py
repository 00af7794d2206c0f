"""What came out, in sentences: the summary of a report, and the last lines of a command.

from actre.view.answers import answers
print("\\n".join(answers("runs/quickstart")))
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from actre.entropy import precondition_files
from actre.entropy.diagnose import Diagnosis
from actre.view import words
from actre.view.episodes import compared
from actre.view.records import RunRecord, read_all, read_diagnosis
from actre.view.sections import Start, primary, starts_of
from actre.view.success import Group, difference, pick, success


def answers(*folders: str | Path) -> list[str]:
    """The findings of the runs in some folders, their entropies through training, and the limits of both.

    Raises ActreError for a folder without runs, and for a damaged file.
    """
    places = [Path(folder) for folder in folders]
    runs = read_all(places)
    found = findings(runs, starts_of(runs, diagnoses_of(places)))
    course = [words.entropy_through_training(run.name, run.entropy) for run in runs if len(run.entropy) > 1]
    return [*found, *course, caution_for(runs)]


def diagnoses_of(folders: Sequence[Path]) -> Mapping[str, Diagnosis]:
    """The diagnosis of each folder that has one, by the folder's name."""
    return {place.resolve().name: found for place in folders if (found := read_diagnosis(place)) is not None}


def findings(runs: Sequence[RunRecord], starts: Sequence[Start]) -> list[str]:
    """Entropy before training with its verdict, success before and after, and the difference between compared runs."""
    said: list[str] = []
    for one in starts:
        before = f"{one.name}: " if one.name else ""
        said.append(before + " ".join(words.entropy_at_start(one.point)[:2]))
    group = primary(runs)
    if group is not None:
        said += _success(runs, group)
    return said or ["This folder has no entropy measurement and no evaluation yet, so there is no summary."]


def caution_for(runs: Sequence[RunRecord]) -> str:
    """What the number of seeds leaves open."""
    seeds = len({run.seed for run in runs})
    return words.CAUTION if seeds <= 1 else words.SEVERAL_SEEDS.format(count=seeds)


def _success(runs: Sequence[RunRecord], group: Group) -> list[str]:
    said = []
    for run in runs:
        before, after = pick(run, "before", group), pick(run, "after", group)
        first, last = success(before), success(after)
        if first is not None and last is not None:
            said.append(words.change(run.name, first, last, difference(before, after), group.panel))
        elif last is not None:
            said.append(f"{run.name} won {words.share(last)} of the {group.panel} games after training.")
    for one, other in compared(runs):
        gap = difference(pick(other, "after", group), pick(one, "after", group))
        if gap is not None:
            said.append(words.arms_compared(one.name, other.name, gap, group.panel))
    compared_on = {precondition_files.beside(run.folder, run.config): None for run in runs if run.config is not None}
    return [*said, *(compared_on if len(runs) > 1 else ())]
