"""The pages of a study, from its records: docs/results-*.md by `--write`, and study.html in the study's folder."""

import re
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from actre.runtime import outputs
from actre.study.file import load_study
from actre.study.pages.page import how_made
from actre.study.pages.page import page as sections
from actre.study.pages.printing import as_html, as_markdown
from actre.study.plan import Study
from actre.study.record import Record, finished
from actre.types import ActreError

NAME = "study.html"
_MADE_BY = re.compile(r"^Made by `actre study (.*)` from the runs' records; do not edit\.", re.MULTILINE)


def write(path: Path, files: Sequence[Path], results: Path) -> Path:
    """Write the Markdown page of the studies to `path`; returns the path. Raises ActreError if no run is finished, or
    if the file would replace anything but an earlier page of the same studies.
    """
    studies = [load_study(file) for file in files]
    records = [finished(study, results) for study in studies]
    if not any(records):
        raise ActreError(
            f"{results} has no finished run of {', '.join(study.name for study in studies)}, so {path} was not "
            "written; the runs of the shipped studies are in data/results/study (--results data/results/study)"
        )
    command = " ".join(["actre study", *map(str, files), f"--results {results}", f"--write {path}"])
    outputs.put(path, markdown(studies, records, command, path).encode(), partial(_is_page_of, files), "--write")
    return path


def _is_page_of(files: Sequence[Path], old: bytes) -> bool:
    """Whether a file's content is the page of the same studies, by the command it names."""
    command = _MADE_BY.search(old.decode(errors="replace"))
    words = command[1].split(" --")[0].split() if command else []
    return [Path(word).name for word in words] == [file.name for file in files]


def markdown(studies: Sequence[Study], records: Sequence[Mapping[str, Record]], command: str, path: Path) -> str:
    """The Markdown page's text. path: where the page will be, for its links."""
    return as_markdown(sections(studies, records, command), path)


def write_html(study: Study, lines: Mapping[str, Record], folder: Path) -> Path:
    """Write FOLDER/study.html; returns its path."""
    path = folder / NAME
    outputs.put(path, html(study, lines, path).encode(), lambda old: True)
    return path


def html(study: Study, lines: Mapping[str, Record], path: Path) -> str:
    """The HTML page's text: the same sections with charts, and how the runs were made."""
    done = sum(run.key in lines for run in study.runs)
    return as_html(
        [*sections([study], [lines], None), how_made(study, lines)],
        path,
        title=f"{study.name}: study",
        kicker=f"ActRe Lab · study {study.name} · {done} of {len(study.runs)} runs finished",
        heading=study.about or study.name,
    )
