"""A study's page as one sequence of sentences, lists, figures and tables; `printing` writes it as Markdown or HTML."""

import os
from collections.abc import Mapping, Sequence

from actre.config.model_names import shown
from actre.entropy import precondition_files as files
from actre.study.across import Between, beside, between
from actre.study.findings import Found, find
from actre.study.pages import forecasts
from actre.study.pages.across import section, sentence
from actre.study.pages.blocks import Block, Contents, Figure, Items, Link, Paragraph, Section
from actre.study.pages.charts import figures
from actre.study.pages.entropy_tables import entropy_tables
from actre.study.pages.tables import Table, tables
from actre.study.pages.words import in_short, sentences
from actre.study.plan import Part, Run, Study
from actre.study.record import Record

TINY = "Tiny policies are model organisms: what they do is evidence about themselves, not about pretrained models."
_UNIT = "Differences are in points of success, think-first, on the unseen panel; each part gives the intervals."


def page(studies: Sequence[Study], records: Sequence[Mapping[str, Record]], command: str | None) -> list[Section]:
    """The page's sections, from records alone; the first is the page's own title and opening.

    records: of each study, run key -> its record. command: the one that writes the page, named in the opening.
    """
    across = [between(study, done) for study, done in zip(studies, records, strict=True)]
    made = zip(studies, records, across, strict=True)
    parts = [found for study, done, every in made for found in _found(study, done, every)]
    return [
        Section(f"What the study {studies[0].name} found", _opening(studies, command)),
        Section("In short", (Paragraph((_UNIT,)), Contents(tuple((title, _in_short(f)) for title, f in parts)))),
        *(section(study.name, found) for study, found in zip(studies, across, strict=True) if found is not None),
        *(_part(title, found) for title, found in parts),
    ]


def answers(study: Study, lines: Mapping[str, Record]) -> list[str]:
    """What came out, in the page's own words: each part's short findings, their unit, and what they hold for."""
    every = between(study, lines)
    said = [sentence(every.interaction)] if every is not None and every.interaction is not None else []
    said += [f"{found.part.name}: {one}" for _, found in _found(study, lines, every) for one in _in_short(found)]
    return [*said, f"{_UNIT} {_scope([study])}"]


def _found(study: Study, lines: Mapping[str, Record], every: Between | None) -> list[tuple[str, Found]]:
    """Each part's title and findings. every: the contrast between parts."""
    return [
        (f"{study.name}: {part.name} ({part.evidence})", find(part, lines, beside(every, part))) for part in study.parts
    ]


def _scope(studies: Sequence[Study]) -> str:
    tiny = all(part.tiny for study in studies for part in study.parts)
    return TINY if tiny else "The findings hold for this policy, budget and environment."


def _opening(studies: Sequence[Study], command: str | None) -> tuple[Paragraph, ...]:
    made: list[str | Link] = [f"Made by `{command}` from the runs' records; do not edit."] if command else []
    for protocol in dict.fromkeys(study.protocol for study in studies):
        if protocol is not None:
            made.append(Link("The rules for judging it were fixed before it ran: ", protocol))
    complete = "Tables hold the finished runs only: the list at the start of a part gives each arm's seeds."
    names = "Findings in tables: support (higher), harm (lower), no worthwhile help (no gain of the size that matters)."
    return tuple(Paragraph(tuple(said)) for said in (made, (_scope(studies), complete, names)) if said)


def _part(title: str, found: Found) -> Section:
    part = found.part
    blocks: list[Block] = []
    if part.about:
        blocks.append(Paragraph((part.about if part.about[-1] in ".?!" else f"{part.about}.",)))
    if part.fingerprint is not None:
        blocks.append(Paragraph((f"Untrained weights: fingerprint {part.fingerprint[:16]}, the same in every run.",)))
    blocks.append(Paragraph((_preconditions(part),)))
    blocks.append(Items((*_misses(part), *sentences(found), *forecasts.said(found))))
    expected = [table for table in (forecasts.table(found),) if table.rows]
    return Section(title, (*blocks, *map(Figure, figures(found)), *expected, *tables(found), *entropy_tables(found)))


def _in_short(found: Found) -> tuple[str, ...]:
    return (*_misses(found.part), *in_short(found), *forecasts.said(found))


def _misses(part: Part) -> list[str]:
    return [f"The policy misses what the protocol asks for: {part.misses}."] if part.misses else []


def _preconditions(part: Part) -> str:
    """The verdict on the part's untrained policy, from the shipped records."""
    config = part.runs[0].config
    model = shown(config.model.name)
    return files.said(files.find(model, part.fingerprint, config.env.name), model, config.env.name)


def how_made(study: Study, lines: Mapping[str, Record]) -> Section:
    """The commands, settings, weights and commits behind each part's numbers."""
    rows = [("command", command) for command in sorted({lines[run.key]["command"] for run in _done(study.runs, lines)})]
    if study.protocol is not None:
        rows.append(("rules, fixed before it ran", os.path.normpath(study.protocol)))
    for part in study.parts:
        there = [lines[run.key] for run in _done(part.runs, lines)]
        config = part.runs[0].config
        facts = {
            "policy, environment": f"{config.model.name}, {config.env.name}",
            "untrained weights": ", ".join(sorted({one["model"][:16] for one in there})) or "–",
            "environment steps per run": f"{config.env_steps:,}" if config.env_steps else "not limited",
            "seeds": ", ".join(map(str, part.seeds)),
            "commits of the kit": ", ".join(sorted({one["versions"].get("commit", "–")[:10] for one in there})) or "–",
        }
        rows += [(f"{part.name}: {name}", value) for name, value in facts.items()]
    return Section("How it was made", (Table("", "", ("what", "value"), tuple(rows)),))


def _done(runs: Sequence[Run], lines: Mapping[str, Record]) -> list[Run]:
    return [run for run in runs if run.key in lines]
