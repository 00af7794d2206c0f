"""The page of results: studies' records in plain words and tables, as Markdown. Knows no HTML.

It is made by a command and never edited; a test compares it with the records.
"""

import os
import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from actre.runtime import outputs
from actre.study.entropy_tables import entropy_tables
from actre.study.file import load_study
from actre.study.findings import Found, find
from actre.study.plan import Part, Study
from actre.study.record import Record, finished
from actre.study.tables import Table, tables
from actre.study.words import in_short, sentences
from actre.types import ActreError

_MADE_BY = re.compile(r"^Made by `actre study (.*)` from the runs' records; do not edit\.", re.MULTILINE)
TINY = "Tiny policies are model organisms: what they do is evidence about themselves, not about pretrained models."


def write(path: Path, files: Sequence[Path], results: Path) -> Path:
    """Write the page; returns its path. Raises ActreError where no run of these studies is finished, and
    where anything but an earlier page of the same studies would be replaced.
    """
    studies = [load_study(file) for file in files]
    records = [finished(study, results) for study in studies]
    if not any(records):
        raise ActreError(
            f"{results} holds no finished run of {', '.join(study.name for study in studies)}, so {path} was left as "
            "it is; the shipped studies' runs are in data/results/study (--results data/results/study)"
        )
    command = " ".join(["actre study", *map(str, files), f"--results {results}", f"--write {path}"])
    text = page(studies, records, command, path)
    outputs.put(path, text.encode(), partial(_is_page_of, files), "--write")
    return path


def _is_page_of(files: Sequence[Path], old: bytes) -> bool:
    """Whether a file's content is the page of the same studies, by the command it names."""
    command = _MADE_BY.search(old.decode(errors="replace"))
    words = command[1].split(" --")[0].split() if command else []
    return [Path(word).name for word in words] == [file.name for file in files]


def page(studies: Sequence[Study], records: Sequence[dict[str, Record]], command: str, path: Path) -> str:
    """The page's text, from the records alone; path is where it will stand."""
    lines = ["# What the study found", "", f"Made by `{command}` from the runs' records; do not edit."]
    for protocol in dict.fromkeys(study.protocol for study in studies):
        if protocol is not None:
            link = os.path.relpath(protocol.resolve(), path.resolve().parent)
            lines.append(f"How it was to be judged was fixed before it ran: [{protocol.name}]({link}).")
    lines.append("")
    if all(part.tiny for study in studies for part in study.parts):
        lines.append(TINY)
    lines += [
        "Tables are only as complete as the runs are: the list that opens a part says which seeds each arm has.",
        "",
    ]
    every = [
        (_title(study, part), find(part, done))
        for study, done in zip(studies, records, strict=True)
        for part in study.parts
    ]
    lines += [
        "## In short",
        "",
        "Differences are in points of success, think-first, on what was not trained on; intervals stand in each part.",
        "",
    ]
    for title, found in every:
        lines += [f"- [{title}](#{_anchor(title)})", *(f"    - {one}" for one in in_short(found))]
    lines.append("")
    for title, found in every:
        lines += _part(title, found)
    return "\n".join(lines).rstrip() + "\n"


def _title(study: Study, part: Part) -> str:
    return f"{study.name}: {part.name} ({part.evidence})"


def _anchor(title: str) -> str:
    """The heading's anchor, as GitHub makes it.

    >>> _anchor("tiny: neutral (confirmatory)")
    'tiny-neutral-confirmatory'
    """
    return re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-")


def _part(title: str, found: Found) -> list[str]:
    part = found.part
    lines = [f"## {title}", ""]
    if part.about:
        lines += [part.about if part.about[-1] in ".?!" else f"{part.about}.", ""]
    if part.fingerprint is not None:
        lines += [f"Untrained weights: fingerprint {part.fingerprint[:16]}, the same in every run.", ""]
    lines += [f"- {sentence}" for sentence in sentences(found)]
    lines.append("")
    for table in (*tables(found), *entropy_tables(found)):
        lines += _table(table)
    return lines


def _table(table: Table) -> list[str]:
    rows = [table.names, tuple("---" for _ in table.names), *table.rows]
    text = [table.note, "", *(f"| {' | '.join(row)} |" for row in rows), ""]
    if table.long:
        return [f"<details><summary>{table.title}</summary>", "", *text, "</details>", ""]
    return [f"### {table.title}", "", *text]
