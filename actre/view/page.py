"""The report's page: its sections, its summary, and the HTML document around them.

All text of a model or a game passes through `actre.view.html`, which escapes it. The page's policy forbids loading
anything, and allows no script but the inspector's, by its hash.
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from actre.config.model_names import shown
from actre.config.tiny_names import is_tiny
from actre.entropy.diagnose import Diagnosis
from actre.view import provenance, sections, words
from actre.view.answers import caution_for, findings
from actre.view.blocks import capital, span, tile
from actre.view.collapse import collapse
from actre.view.html import Html, join, tag
from actre.view.inspector.offline import fingerprint
from actre.view.names import order_name
from actre.view.records import EntropyPoint, RunRecord
from actre.view.replies import replies
from actre.view.sections import Start
from actre.view.success import Group, pick, success

_STYLE = Path(__file__).with_name("report.css")
_NOTHING_LOADS = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"


def page(runs: Sequence[RunRecord], folders: Sequence[Path], diagnoses: Mapping[str, Diagnosis] | None = None) -> str:
    """The whole page as text, for the runs of some folders; the others are compared with the first.

    diagnoses: of the untrained policy, by the folder's name; without any, the first run's measurement before training
    is shown.
    """
    starts = sections.starts_of(runs, diagnoses or {})
    title = f"{' and '.join(folder.resolve().name for folder in folders)}: report"
    chosen = sections.episodes(runs)
    block = None if chosen is None else chosen.block
    parts = [
        ("entropy", "Action entropy before training", sections.entropy_start(starts)),
        ("course", "Action entropy through training", sections.entropy_course(runs)),
        ("learning", "Learning", sections.learning(runs)),
        ("collapse", "Signs of collapse", collapse(runs)),
        ("success", "Success before and after", sections.success(runs)),
        ("replies", "How replies were formed", replies(runs)),
        ("episodes", "Episodes, step by step", sections.around_episodes(block, runs)),
        ("settings", "Settings, seeds, versions", provenance.settings(runs, folders)),
    ]
    heading = "Does thinking before acting narrow what this agent tries?"
    script = "" if chosen is None else chosen.script
    return document(title, _kicker(runs), heading, _summary(runs, starts), parts, script)


def document(
    title: str, kicker: str, heading: str, summary: Html, parts: Sequence[tuple[str, str, Html]], script: str = ""
) -> str:
    """A whole page as text. parts: each section's anchor, name and content. script: the only script allowed in it."""
    policy = _NOTHING_LOADS + (f"; script-src '{fingerprint(script)}'" if script else "")
    links = [tag("a", name, href=f"#{key}") for key, name, _ in parts]
    head = tag(
        "head",
        Html('<meta charset="utf-8"/>'),
        tag("meta", http_equiv="Content-Security-Policy", content=policy),
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
    scripts = "its one script steps through the episodes, which are written out too" if script else "runs no script"
    foot = tag("footer", tag("p", f"Made by ActRe Lab. This file is self-contained: it loads nothing; {scripts}."))
    running = tag("script", Html(script), type="module") if script else None
    body = tag("body", top, tag("main", bodies), foot, running)
    return f"<!DOCTYPE html>\n{tag('html', head, body, lang='en')}\n"


def summary(said: Sequence[str], tiles: Sequence[Html], notes: Sequence[object]) -> Html:
    """A page's summary: sentences, tiles, and the notes on the result's limits."""
    return join(
        [
            tag("div", tag("ul", [tag("li", one) for one in said]), class_="lead"),
            tag("dl", tiles, class_="tiles") if tiles else None,
            tag("div", [tag("p", note) for note in notes], class_="caution", role="note"),
        ]
    )


def entropy_tile(name: str, point: EntropyPoint) -> Html:
    """Both orders' action entropy as a tile."""
    low, high = point.think_first_lower.value, point.think_first_upper.value
    upper = f"{high:.2f}" if math.isfinite(high) else "?"
    said = f"act-first / think-first (bracket), {words.measured_on(point)}"
    return tile(name, f"{point.act_first.value:.2f} / {low:.2f}–{upper}", said)


def _kicker(runs: Sequence[RunRecord]) -> str:
    config = runs[0].config
    named = " and ".join(run.name for run in runs) if len(runs) <= 2 else f"{len(runs)} runs"
    facts = ["ActRe Lab", named]
    if config is not None:
        seeds = sorted({run.seed for run in runs if run.seed is not None})
        models = dict.fromkeys(shown(run.config.model.name) for run in runs if run.config is not None)
        said = f"seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, seeds))}"
        facts += [f"model {', '.join(models)}", config.env.name, said]
    return " · ".join(facts)


# --- summary ---


def _summary(runs: Sequence[RunRecord], starts: Sequence[Start]) -> Html:
    said = findings(runs, starts)
    group = sections.primary(runs)
    caution = caution_for(runs)
    notes: list[object] = [[tag("strong", "Limits. "), caution]]
    if any(run.config is not None and is_tiny(run.config.model.name) for run in runs):
        notes.append(words.MODEL_ORGANISM)
    what = "action entropy before training, nats"
    tiles = [entropy_tile(f"{name}: {what}" if name else capital(what), start) for name, start, _ in starts]
    if group is not None:
        tiles += [won for run in runs if (won := _success_tile(run, group)) is not None]
    return summary(said, tiles, notes)


def _success_tile(run: RunRecord, group: Group) -> Html | None:
    before, after = success(pick(run, "before", group)), success(pick(run, "after", group))
    if before is None or after is None:
        return None
    return tile(
        f"{run.name}: {group.panel} games won",
        f"{before.value * 100:.0f}% → {after.value * 100:.0f}%",
        f"{order_name(group.order)}, 95 % interval after: {span(after)}",
    )
