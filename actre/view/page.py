"""The report's page: which sections there are, in which order, and what stands in for a missing piece.

Knows run records, sentences and charts; reads no file but its style sheet. Everything that comes from a
model or a game passes through `actre.view.html`, which escapes it; the page holds no script and forbids
loading anything.
"""

import math
from collections.abc import Sequence
from pathlib import Path

from actre.diagnose import Diagnosis
from actre.view import sections, words
from actre.view.blocks import span, tile
from actre.view.html import Html, join, tag
from actre.view.names import arm_name, order_name
from actre.view.records import EntropyPoint, RunRecord
from actre.view.success import Group, difference, pick, success

_STYLE = Path(__file__).with_name("report.css")
_NOTHING_LOADS = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"


def page(runs: Sequence[RunRecord], folder: Path, diagnosis: Diagnosis | None = None) -> str:
    """The whole page as text, for the runs of one folder (the first is the one the others are compared with).

    diagnosis: of the untrained policy; without it the first run's measurement before training stands in.
    """
    start = sections.start_of(runs, diagnosis)
    title = f"{folder.resolve().name}: report"
    parts = [
        ("entropy", "Action entropy before training", sections.entropy_start(start, diagnosis)),
        ("course", "Action entropy through training", sections.entropy_course(runs)),
        ("learning", "Learning", sections.learning(runs)),
        ("success", "Success before and after", sections.success(runs)),
        ("replies", "How replies were formed", sections.replies(runs)),
        ("episodes", "Three episodes", sections.episodes(runs)),
        ("settings", "Settings, seeds, versions", sections.settings(runs, folder)),
    ]
    heading = "Does thinking before acting narrow what this agent tries?"
    return document(title, _kicker(runs), heading, _summary(runs, start), parts)


def document(title: str, kicker: str, heading: str, summary: Html, parts: Sequence[tuple[str, str, Html]]) -> str:
    """A whole page as text. parts: each section's anchor, name and content."""
    links = [tag("a", name, href=f"#{key}") for key, name, _ in parts]
    head = tag(
        "head",
        Html('<meta charset="utf-8"/>'),
        tag("meta", http_equiv="Content-Security-Policy", content=_NOTHING_LOADS),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("title", title),
        tag("style", Html(_STYLE.read_text(encoding="utf-8"))),
    )
    top = tag(
        "header",
        tag("p", kicker, class_="kicker"),
        tag("h1", heading),
        summary,
        tag("nav", join(links, " "), aria_label="Sections"),
        class_="top",
    )
    bodies = [tag("section", tag("h2", name), body, id=key) for key, name, body in parts]
    foot = tag(
        "footer",
        tag("p", "Made by ActRe Lab. This file is complete in itself: it loads nothing and runs no script."),
    )
    body = tag("body", top, tag("main", bodies), foot)
    return "<!DOCTYPE html>\n" + tag("html", head, body, lang="en") + "\n"


def _kicker(runs: Sequence[RunRecord]) -> str:
    config = runs[0].config
    facts = ["ActRe Lab", " and ".join(arm_name(run.arm) for run in runs)]
    if config is not None:
        facts += [f"model {config.model.name}", config.env.name, f"seed {config.seed}"]
    return " · ".join(facts)


# --- summary ---


def _summary(runs: Sequence[RunRecord], start: EntropyPoint | None) -> Html:
    said: list[str] = []
    if start is not None:
        said.append(" ".join(words.entropy_at_start(start)[:2]))
    group = sections.primary(runs)
    if group is not None:
        said += _success_sentences(runs, group)
    if not said:
        said = ["This folder holds neither an entropy measurement nor an evaluation yet: there is nothing to sum up."]
    notes = [tag("p", tag("strong", "How far this goes. "), words.CAUTION)]
    if any(run.config is not None and run.config.model.name.startswith("tiny") for run in runs):
        notes.append(tag("p", words.MODEL_ORGANISM))
    return join(
        [
            tag("div", tag("ul", [tag("li", one) for one in said]), class_="lead"),
            _tiles(runs, start, group),
            tag("div", notes, class_="caution", role="note"),
        ]
    )


def _tiles(runs: Sequence[RunRecord], start: EntropyPoint | None, group: Group | None) -> Html | None:
    tiles = []
    if start is not None:
        low, high = start.think_first_lower.value, start.think_first_upper.value
        upper = f"{high:.2f}" if math.isfinite(high) else "?"
        tiles.append(
            tile(
                "Action entropy before training, nats",
                f"{start.act_first.value:.2f} / {low:.2f}–{upper}",
                "act-first / think-first (bracket)",
            )
        )
    if group is not None:
        tiles += [one for run in runs if (one := _success_tile(run, group)) is not None]
    return tag("dl", tiles, class_="tiles") if tiles else None


def _success_tile(run: RunRecord, group: Group) -> Html | None:
    before, after = success(pick(run, "before", group)), success(pick(run, "after", group))
    if before is None or after is None:
        return None
    return tile(
        f"{arm_name(run.arm)}: {group.panel} games won",
        f"{before.value * 100:.0f}% → {after.value * 100:.0f}%",
        f"{order_name(group.order)}, 95 % interval after: {span(after)}",
    )


def _success_sentences(runs: Sequence[RunRecord], group: Group) -> list[str]:
    said = []
    for run in runs:
        before, after = pick(run, "before", group), pick(run, "after", group)
        first, last = success(before), success(after)
        if first is not None and last is not None:
            said.append(words.change(arm_name(run.arm), first, last, difference(before, after), group.panel))
        elif last is not None:
            said.append(f"{arm_name(run.arm)} won {words.share(last)} of the {group.panel} games after training.")
    for run in runs[1:]:
        gap = difference(pick(run, "after", group), pick(runs[0], "after", group))
        if gap is not None:
            said.append(words.arms_compared(arm_name(runs[0].arm), arm_name(run.arm), gap, group.panel))
    return said
