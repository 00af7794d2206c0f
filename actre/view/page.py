"""The report's page: which sections there are, in which order, and what stands in for a missing piece.

Knows run records, sentences and charts; reads no file and writes none. Everything that comes from a model or a game
passes through `actre.view.html`, which escapes it; the page holds no script and forbids loading anything.
"""

import dataclasses
import math
from collections.abc import Callable, Sequence
from pathlib import Path

from actre.entropy import Interval
from actre.view import charts, words
from actre.view.css import STYLE
from actre.view.episodes import choose, exhibit
from actre.view.html import Html, join, tag
from actre.view.names import arm_name, order_name
from actre.view.records import EntropyPoint, RunRecord
from actre.view.success import ORDER, Group, difference, groups, pick, success, task_types

_NOTHING_LOADS = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"


def page(runs: Sequence[RunRecord], folder: Path) -> str:
    """The whole page as text, for the runs of one folder (the first is the one the others are compared with)."""
    title = f"{folder.resolve().name}: report"
    sections = [
        ("entropy", "Action entropy before training", _entropy_start(runs)),
        ("course", "Action entropy through training", _entropy_course(runs)),
        ("learning", "Learning", _learning(runs)),
        ("success", "Success before and after", _success(runs)),
        ("replies", "How replies were formed", _replies(runs)),
        ("episodes", "Three episodes", _episodes(runs)),
        ("settings", "Settings, seeds, versions", _settings(runs, folder)),
    ]
    links = [tag("a", name, href=f"#{key}") for key, name, _ in sections]
    head = tag(
        "head",
        Html('<meta charset="utf-8"/>'),
        tag("meta", http_equiv="Content-Security-Policy", content=_NOTHING_LOADS),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("title", title),
        tag("style", Html(STYLE)),
    )
    top = tag(
        "header",
        tag("p", _kicker(runs), class_="kicker"),
        tag("h1", "Does thinking before acting narrow what this agent tries?"),
        _summary(runs),
        tag("nav", join(links, " "), aria_label="Sections"),
        class_="top",
    )
    bodies = [tag("section", tag("h2", name), body, id=key) for key, name, body in sections]
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


def _summary(runs: Sequence[RunRecord]) -> Html:
    said: list[str] = []
    start = _start(runs)
    if start is not None:
        said.append(" ".join(words.entropy_at_start(start)[:2]))
    group = _primary(runs)
    if group is not None:
        said += _success_sentences(runs, group)
    if not said:
        said = [
            "This folder holds neither an entropy measurement nor an evaluation yet: there is nothing to sum up."
        ]
    notes = [tag("p", tag("strong", "How far this goes. "), words.CAUTION)]
    if any(run.config is not None and run.config.model.name == "tiny" for run in runs):
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
            _tile(
                "Action entropy before training, nats",
                f"{start.act_first.value:.2f} / {low:.2f}–{upper}",
                "act-first / think-first (bracket)",
            )
        )
    for run in runs if group is not None else ():
        before, after = success(pick(run, "before", group)), success(pick(run, "after", group))  # type: ignore[arg-type]
        if before is not None and after is not None:
            tiles.append(
                _tile(
                    f"{arm_name(run.arm)}: {group.panel} games won",  # type: ignore[union-attr]
                    f"{before.value * 100:.0f}% → {after.value * 100:.0f}%",
                    f"{order_name(group.order)}, 95 % interval after: {_range(after)}",  # type: ignore[union-attr]
                )
            )
    return tag("dl", tiles, class_="tiles") if tiles else None


def _tile(name: str, big: str, sub: str) -> Html:
    return tag(
        "div", tag("dt", name), tag("dd", big, class_="big"), tag("dd", sub, class_="sub"), class_="tile"
    )


def _start(runs: Sequence[RunRecord]) -> EntropyPoint | None:
    """The measurement before training: the first run's that has one."""
    return next((p for run in runs for p in run.entropy if p.iteration == 0), None)


def _primary(runs: Sequence[RunRecord]) -> Group | None:
    """The panel and order of the primary endpoint, unseen games thought first, or the nearest there is."""
    found = groups(runs)
    return next((g for g in found if g == ("unseen", ORDER)), found[0] if found else None)


def _success_sentences(runs: Sequence[RunRecord], group: Group) -> list[str]:
    said = []
    for run in runs:
        before, after = pick(run, "before", group), pick(run, "after", group)
        first, last = success(before), success(after)
        if first is not None and last is not None:
            said.append(words.change(arm_name(run.arm), first, last, difference(before, after), group.panel))
        elif last is not None:
            said.append(
                f"{arm_name(run.arm)} won {words.share(last)} of the {group.panel} games after training."
            )
    for run in runs[1:]:
        gap = difference(pick(run, "after", group), pick(runs[0], "after", group))
        if gap is not None:
            said.append(words.arms_compared(arm_name(runs[0].arm), arm_name(run.arm), gap, group.panel))
    return said


# --- entropy ---


def _entropy_start(runs: Sequence[RunRecord]) -> Html:
    start = _start(runs)
    if start is None:
        return _missing(
            "No action entropy was measured before training.", "entropy.jsonl has no line for iteration 0"
        )
    said = words.entropy_at_start(start)
    rows = [
        ["act-first, exact", *_cells(start.act_first)],
        ["think-first, lower bound", *_cells(start.think_first_lower)],
        ["think-first, upper bound", *_cells(start.think_first_upper)],
        ["after a given thought, E[H(A|T)]", *_cells(start.conditional)],
        ["what the thought decides, I(A;T)", *_cells(start.information)],
    ]
    caption = (
        f"Mean over {start.states} probe states, {start.thoughts} thoughts a state; whiskers are 95 % intervals over "
        "games. The bar is a bracket, not an interval: the true value lies in it in expectation, and more thoughts "
        "close it. Only the first two rows may be compared."
    )
    return join(
        [
            [tag("p", sentence) for sentence in said],
            _figure(charts.both(lambda width: charts.entropy_at_start(start, width)), caption),
            _table(["quantity, nats", "mean", "95 % interval"], rows),
        ]
    )


def _entropy_course(runs: Sequence[RunRecord]) -> Html:
    measured = [run for run in runs if run.entropy]
    if not measured:
        return _missing("Action entropy was not measured during training.", "there is no entropy.jsonl")
    top = charts.entropy_top(measured)
    figures: list[Html] = []
    for run in measured:
        draw: Callable[[float], Html] = lambda width, run=run: charts.entropy_through_training(
            run, width, top
        )  # type: ignore[misc]
        figures += [tag("h3", _capital(arm_name(run.arm))), charts.both(draw)]
    caption = (
        "Act-first is exact (the band: 95 % interval over games); think-first lies between the two edges of its band. "
        "All measurements use the same probe states, prompt and temperature. A dashed line marks a change of order in "
        "training."
    )
    rows = [
        [
            arm_name(run.arm),
            str(p.iteration),
            f"{p.env_steps:,}",
            f"{p.act_first.value:.2f}",
            f"{p.think_first_lower.value:.2f} – {p.think_first_upper.value:.2f}",
            p.verdict,
        ]
        for run in measured
        for p in run.entropy
    ]
    names = ["run", "iteration", "env. steps", "act-first", "think-first", "verdict"]
    return join(
        [
            [tag("p", words.entropy_through_training(run.arm, run.entropy)) for run in measured],
            tag("figure", figures, tag("figcaption", caption)),
            _table(names, rows),
        ]
    )


# --- learning and success ---


def _learning(runs: Sequence[RunRecord]) -> Html:
    trained = [run for run in runs if run.curve("success")]
    if not trained:
        return _missing("No training iteration was recorded.", "metrics.jsonl is missing or empty")
    caption = (
        "Thin: each iteration (its own games, at training temperature). Strong: mean of the last five iterations. "
        "These are training games in the order of the stage, so they show learning; what counts is the evaluation below."
    )
    parts = [
        tag("h3", "Success"),
        charts.both(lambda width: charts.learning_curves(trained, "success", "share of episodes won", width)),
        tag("h3", "Return"),
        charts.both(
            lambda width: charts.learning_curves(trained, "return", "mean return, penalties included", width)
        ),
    ]
    rows = []
    for run in trained:
        last, seconds = run.metrics[-1], sum(value for _, value in run.curve("seconds"))
        taken = [f"{last.get(key, 0):,}" for key in ("iteration", "env_steps", "generated_tokens")]
        rows.append([arm_name(run.arm), *taken, f"{seconds:,.0f} s"])
    names = ["run", "iterations", "env. steps", "generated tokens", "time"]
    return join([tag("figure", parts, tag("figcaption", caption)), _plain_table(names, rows)])


def _success(runs: Sequence[RunRecord]) -> Html:
    primary = _primary(runs)
    if primary is None:
        return _missing("No evaluation was recorded.", "evaluation.jsonl is missing or empty")
    found = groups(runs)
    chart = charts.both(lambda width: charts.success_rows(runs, width))
    caption = "Each game of a panel once, at evaluation temperature. Open: before training; filled: after. 95 % Wilson intervals."
    parts = [_figure(chart, caption)]
    if any(charts.differences(runs, g) for g in found if g.order == primary.order):
        gaps = charts.both(lambda width: charts.difference_rows(runs, primary.order, width))
        words_ = f"Paired on the same games, {order_name(primary.order)}; 95 % bootstrap intervals over games. Right of zero: more games won."
        parts += [tag("h3", "Differences on the same games"), _figure(gaps, words_)]
    types = task_types(runs)
    if len(types) > 1:
        by_type = charts.both(lambda width: charts.task_rows(runs, primary, width))
        few = f"{_capital(primary.panel)} games, {order_name(primary.order)}. Few games a type: the intervals are wide, and differences between types are exploratory."
        parts += [tag("h3", "By task type"), _figure(by_type, few)]
    return join(
        [
            *parts,
            _table(
                ["run", "panel, order", "task type", "games", "before", "after", "difference"],
                _success_table(runs),
            ),
        ]
    )


def _success_table(runs: Sequence[RunRecord]) -> list[list[str]]:
    rows = []
    for run in runs:
        for group in groups(runs):
            for task_type in [None, *task_types(runs)]:
                before, after = (pick(run, when, group, task_type) for when in ("before", "after"))
                if not (before or after):
                    continue
                first, last, gap = success(before), success(after), difference(before, after)
                rows.append(
                    [
                        arm_name(run.arm),
                        f"{group.panel}, {order_name(group.order)}",
                        "all" if task_type is None else task_type.replace("_", " "),
                        str(max(len(before), len(after))),
                        words.share(first) if first else "–",
                        words.share(last) if last else "–",
                        words.points(gap) if gap else "–",
                    ]
                )
    return rows


def _replies(runs: Sequence[RunRecord]) -> Html:
    rows = []
    for run in runs:
        for name, key in (("tags well-formed", "parse_rate"), ("action admissible", "admissible_rate")):
            curve = run.curve(key)
            if curve:
                ends = [sum(y for _, y in part) / len(part) for part in (curve[:5], curve[-5:])]
                rows.append([arm_name(run.arm), name, *(f"{end * 100:.1f}%" for end in ends)])
    if not rows:
        return _missing("How replies were formed was not recorded.", "metrics.jsonl is missing or empty")
    note = (
        "Share of training steps; the opening tag is given to the policy, so the order of a reply is forced."
    )
    config = runs[0].config
    if config is not None and config.prompt.tags == "free":
        note = (
            "Share of training steps; no tag is given to the policy, so a wrong order counts as badly formed."
        )
    return join([tag("p", note), _plain_table(["run", "", "first five iterations", "last five"], rows)])


# --- episodes, settings ---


def _episodes(runs: Sequence[RunRecord]) -> Html:
    config = runs[0].config
    shown = choose(runs, config.seed if config is not None else 0)
    if not shown:
        return _missing(
            "No evaluation episode was kept.", "trajectories/eval_after.jsonl.gz is missing or empty"
        )
    parts = [exhibit(one) for one in shown]
    if len(shown) < 3:
        parts.append(
            tag(
                "p",
                "Fewer than three are shown: for the others no episode of this run qualifies.",
                class_="soft",
            )
        )
    note = "Drawn by the seed, not picked. Each step in the order in which it was written; every word is the model's or the game's."
    return join([tag("p", note), *parts])


def _settings(runs: Sequence[RunRecord], folder: Path) -> Html:
    parts: list[Html] = [
        tag("p", "This page is made again by:"),
        tag("pre", f"actre report {folder}"),
    ]
    for run in runs:
        stages = run.config.stages if run.config else ()
        plan = ", then ".join(f"{s.iterations} iterations {order_name(s.order)}" for s in stages)
        parts.append(tag("h3", _capital(arm_name(run.arm))))
        if run.config is not None:
            parts.append(tag("p", f"Seed {run.config.seed}; preset {run.config.preset}; stages: {plan}."))
            rows = [[name, value] for name, value in _flat(dataclasses.asdict(run.config))]
            parts.append(_folded("All settings", _plain_table(["setting", "value"], rows, css="settings")))
        if run.versions:
            rows = [[name, value] for name, value in run.versions.items()]
            parts.append(_folded("Versions", _plain_table(["package", "version"], rows, css="settings")))
    return join(parts)


def _flat(settings: dict[str, object], prefix: str = "") -> list[tuple[str, str]]:
    rows: list[tuple[str, str]] = []
    for key, value in settings.items():
        if isinstance(value, dict):
            rows += _flat(value, f"{prefix}{key}.")
        elif isinstance(value, list | tuple) and value and isinstance(value[0], dict):
            for index, one in enumerate(value):
                rows += _flat(one, f"{prefix}{key}[{index}].")
        else:
            rows.append((f"{prefix}{key}", str(value)))
    return rows


# --- pieces ---


def _missing(sentence: str, why: str) -> Html:
    return tag("p", f"{sentence} ({_capital(why)}.)", class_="soft")


def _figure(chart: Html, caption: str) -> Html:
    return tag("figure", chart, tag("figcaption", caption))


def _cells(band: Interval) -> list[str]:
    if math.isnan(band.value):
        return ["not recorded", "–"]
    value = f"{band.value:.3f}" if math.isfinite(band.value) else "no bound"
    both = math.isfinite(band.low) and math.isfinite(band.high)
    return [value, f"{band.low:.3f} to {band.high:.3f}" if both else "–"]


def _range(band: Interval) -> str:
    return f"{band.low * 100:.0f}–{band.high * 100:.0f}%"


def _table(names: Sequence[str], rows: Sequence[Sequence[str]]) -> Html:
    """A figure's numbers, folded."""
    return _folded("The numbers", _plain_table(names, rows))


def _folded(name: str, content: Html) -> Html:
    return tag("details", tag("summary", name), content)


def _plain_table(names: Sequence[str], rows: Sequence[Sequence[str]], css: str | None = None) -> Html:
    """A table; a column whose every cell begins with a digit, a sign or a dash is set flush right."""
    numeric = [all(row[i][:1] in "0123456789−-+–" for row in rows) for i in range(len(names))]
    css_of = ["num" if flag and css is None else None for flag in numeric]
    head = tag("tr", [tag("th", name, scope="col", class_=c) for name, c in zip(names, css_of, strict=True)])
    body = [
        tag("tr", [tag("td", cell, class_=c) for cell, c in zip(row, css_of, strict=True)]) for row in rows
    ]
    table = tag("table", tag("thead", head), tag("tbody", body), class_=css)
    # tabindex: a region that scrolls must be reachable by keyboard
    return tag("div", table, class_="scroll", tabindex=0)


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
