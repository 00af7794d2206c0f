"""The page of results: studies' records in plain words and tables, as Markdown. Knows no HTML.

It is made by a command and never edited; a test compares it with the records.
"""

import os
from collections.abc import Sequence
from pathlib import Path

from actre.study.findings import find
from actre.study.plan import Part, Study
from actre.study.record import Record, finished
from actre.study.tables import Table, sentences, tables


def write(path: Path, studies: Sequence[Study], results: Path, files: Sequence[Path]) -> Path:
    """Write the page; returns its path."""
    command = " ".join(["actre study", *map(str, files), f"--results {results}", f"--write {path}"])
    text = page(studies, [finished(study, results) for study in studies], command)
    part = path.with_name(path.name + ".part")
    part.write_text(text, encoding="utf-8")
    os.replace(part, path)
    return path


def page(studies: Sequence[Study], records: Sequence[dict[str, Record]], command: str) -> str:
    """The page's text, from the records alone."""
    lines = [
        "# What the study found",
        "",
        f"Made by `{command}` from the committed records; do not edit.",
        "How it was to be judged was fixed before it ran: [protocol.md](protocol.md).",
        "",
        "Tiny policies are model organisms: what they do is evidence about themselves, not about pretrained models.",
        "Tables are only as complete as the runs are; each says which seeds it holds.",
        "",
    ]
    for study, done in zip(studies, records, strict=True):
        for part in study.parts:
            lines += _part(study, part, done)
    return "\n".join(lines).rstrip() + "\n"


def _part(study: Study, part: Part, done: dict[str, Record]) -> list[str]:
    lines = [f"## {study.name}: {part.name} ({part.evidence})", "", f"{part.about}.", ""]
    found = find(part, done)
    lines += [f"- {sentence}" for sentence in sentences(found)]
    lines.append("")
    for table in tables(found):
        lines += _table(table)
    return lines


def _table(table: Table) -> list[str]:
    rows = [table.names, tuple("---" for _ in table.names), *table.rows]
    return [f"### {table.title}", "", table.note, "", *(f"| {' | '.join(row)} |" for row in rows), ""]
