"""The report's sections, one function each: run records to HTML, with a sentence in place of missing data."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from actre.entropy.diagnose import Diagnosis, entropy_record
from actre.entropy.self_check import STANDARD_ERRORS, TOLERANCE
from actre.view import diagnosis_plots, run_plots, words
from actre.view.blocks import capital, cells, figure, folded, missing, numbers, table
from actre.view.episodes import choose
from actre.view.html import Html, join, tag
from actre.view.inspector.data import Entry
from actre.view.inspector.offline import Exhibit, Offline, offline
from actre.view.names import QUANTITIES, order_name, task_name
from actre.view.records import EntropyPoint, RunRecord, entropy_point
from actre.view.still import chart
from actre.view.success import ORDER, Group, difference, groups, pick, task_types
from actre.view.success import success as share_won


class Start(NamedTuple):
    """A folder's measurement before training, with its diagnosis if there is one. name: "" for a single folder."""

    name: str
    point: EntropyPoint
    diagnosis: Diagnosis | None = None


def starts_of(runs: Sequence[RunRecord], diagnoses: Mapping[str, Diagnosis]) -> list[Start]:
    """The diagnoses by their folders' names; without any, the first measurement of a run before training."""
    if diagnoses:
        alone = len(diagnoses) == 1
        return [Start("" if alone else name, entropy_point(entropy_record(d)), d) for name, d in diagnoses.items()]
    return [Start("", p) for run in runs for p in run.entropy if p.iteration == 0][:1]


def ends(low: float, high: float) -> str:
    """A bracket in words."""
    return f"{low:.2f} – {high:.2f}"


def primary(runs: Sequence[RunRecord]) -> Group | None:
    """The panel and order of the primary endpoint (unseen games, think-first), or else the first evaluated ones."""
    found = groups(runs)
    return next((g for g in found if g == ("unseen", ORDER)), found[0] if found else None)


# --- entropy ---


def entropy_start(starts: Sequence[Start]) -> Html:
    """Both orders before training: sentences, the means, and each state if there is a diagnosis."""
    if not starts:
        return missing(
            "No action entropy was measured before training",
            "there is no diagnosis.json, and entropy.jsonl has no line for iteration 0",
        )
    if len(starts) == 1:
        return one_start(starts[0].point, starts[0].diagnosis)
    rows = [
        [
            one.name,
            f"{one.point.act_first.value:.2f}",
            ends(one.point.think_first_lower.value, one.point.think_first_upper.value),
            one.point.verdict,
        ]
        for one in starts
    ]
    each = [folded(one.name, one_start(one.point, one.diagnosis)) for one in starts]
    return join([table(["folder", "act-first, nats", "think-first, nats", "verdict"], rows), *each])


def one_start(start: EntropyPoint, diagnosis: Diagnosis | None) -> Html:
    """One measurement before training: sentences, the means and their chart."""
    said = words.entropy_at_start(start)
    rows = [
        ["act-first, exact", *cells(start.act_first)],
        ["think-first, lower bound", *cells(start.think_first_lower)],
        ["think-first, upper bound", *cells(start.think_first_upper)],
        ["after a given thought, E[H(A|T)]", *cells(start.conditional)],
        ["what the thought decides, I(A;T)", *cells(start.information)],
        *([QUANTITIES[name], *cells(value)] for name, value in start.others.items() if name in QUANTITIES),
    ]
    caption = (
        f"Mean over {start.states} probe states, {start.thoughts} thoughts per state; whiskers are 95 % intervals over "
        "games. The bar is a bracket, not an interval: the true value lies in it in expectation, and more thoughts "
        "narrow it. Only the first two rows may be compared."
    )
    parts = [
        [tag("p", sentence) for sentence in said],
        figure(chart(run_plots.entropy_at_start(start)), caption),
    ]
    if start.words:
        parts.append(tag("p", f"In numbers: {start.words}", class_="soft"))
    if start.self_check:
        parts.append(_self_check(start))
    if diagnosis is not None:
        by_state = chart(diagnosis_plots.entropy_by_state(diagnosis))
        parts += [tag("h3", "State by state"), figure(by_state, "Each probe state, highest act-first entropy on top.")]
    return join([*parts, numbers(["quantity, in nats unless it is a share", "mean", "95 % interval"], rows)])


def _self_check(start: EntropyPoint) -> Html:
    """How often whole replies contain a listed action and the most probable one, beside the exact probabilities."""
    names = {"listed": "a listed action", "top": "the most probable action"}
    rows = [
        [
            str(one["order"]).replace("_", "-"),
            names[one["what"]],
            f"{100 * one['played']:.0f} % of {one['replies']}",
            f"{100 * one['exact']:.0f} %",
            "yes" if one["agrees"] else "NO",
        ]
        for one in start.self_check
    ]
    said = (
        "Self-check of the measurement: the frequency in whole sampled replies, beside the computed probability. They "
        f"agree if they differ by at most {100 * TOLERANCE:g} points or {STANDARD_ERRORS:g} standard errors: chance "
        "exceeds that once in a thousand checks."
    )
    return join([tag("p", said), table(["order", "the reply contains", "sampled", "computed", "agrees"], rows)])


def entropy_course(runs: Sequence[RunRecord]) -> Html:
    """Both orders through training, one chart per run, on one scale."""
    measured = [run for run in runs if run.entropy]
    if not measured:
        return missing("Action entropy was not measured during training", "there is no entropy.jsonl")
    top = run_plots.entropy_top(measured)
    overlaid = [_overlaid(measured, top)] if len(measured) > 1 else []
    each: list[Html] = []
    for run in measured:
        title = f"How broad is the choice through training? {capital(run.name)}"
        drawn = run_plots.entropy_through_training(run.entropy, title, run.switches, top)
        each += [tag("h3", capital(run.name)), chart(drawn)]
    figures = each if len(measured) <= 2 else [folded("Each run by itself", join(each))]
    caption = (
        "Act-first is exact (whiskers: 95 % interval over games); think-first lies between the two edges "
        "of its band. All measurements use the same probe states, prompt and temperature "
        f"({words.measured_on(measured[0].entropy[0])}; a measurement of another size has a bracket of another width). "
        "A dotted line marks a change of order in training."
    )
    rows = [
        [
            run.name,
            str(p.iteration),
            f"{p.env_steps:,}",
            f"{p.act_first.value:.2f}",
            ends(p.think_first_lower.value, p.think_first_upper.value),
            p.verdict,
        ]
        for run in measured
        for p in run.entropy
    ]
    names = ["run", "iteration", "env. steps", "act-first", "think-first", "verdict"]
    return join(
        [
            [tag("p", words.entropy_through_training(run.name, run.entropy)) for run in measured],
            overlaid,
            tag("figure", figures, tag("figcaption", caption)),
            numbers(names, rows),
        ]
    )


def _overlaid(runs: Sequence[RunRecord], top: float) -> Html:
    """All runs in one chart per order."""
    drawn = [chart(run_plots.entropy_overlaid(runs, order, top)) for order in ("act_first", "think_first")]
    caption = "All runs on one scale: act-first entropy (exact), and below it think-first's brackets."
    return tag("figure", tag("h3", "The runs together"), drawn, tag("figcaption", caption))


# --- learning and success ---


def learning(runs: Sequence[RunRecord]) -> Html:
    """Success and return in training, and each run's budget."""
    trained = [run for run in runs if run.curve("success")]
    if not trained:
        return missing("No training iteration was recorded", "metrics.jsonl is missing or empty")
    caption = (
        "Thin: each iteration (its own games, at training temperature). Thick: mean of the last five iterations. These "
        "are training games in the stage's order, so they show learning; runs are compared in the evaluation below."
    )
    parts = []
    for metric in ("success", "return"):
        parts += [tag("h3", capital(metric)), chart(run_plots.learning_curve(trained, metric))]
    rows = []
    for run in trained:
        last, seconds = run.metrics[-1], sum(value for _, value in run.curve("seconds"))
        taken = [f"{last.get(key, 0):,}" for key in ("iteration", "env_steps", "generated_tokens")]
        rows.append([run.name, *taken, f"{seconds:,.0f} s"])
    names = ["run", "iterations", "env. steps", "generated tokens", "time"]
    return join([tag("figure", parts, tag("figcaption", caption)), table(names, rows)])


def success(runs: Sequence[RunRecord]) -> Html:
    """Games won before and after training, the paired differences, and success by task type."""
    main = primary(runs)
    if main is None:
        return missing("No evaluation was recorded", "evaluation.jsonl is missing or empty")
    caption = (
        "Each game of a panel is played once, at evaluation temperature. Open: before training; filled: after. 95 % "
        "Wilson intervals."
    )
    parts: list[Html | None] = [figure(chart(run_plots.success_by_group(runs)), caption)]
    gaps = run_plots.success_differences(runs, main.order)
    if gaps is not None:
        paired = (
            f"Paired on the same games, {order_name(main.order)}; percentage points, with 95 % bootstrap intervals "
            "over games. Right of zero: more games won."
        )
        parts += [tag("h3", "Differences on the same games"), figure(chart(gaps), paired)]
    if len(task_types(runs)) > 1:
        few = (
            f"{capital(main.panel)} games, {order_name(main.order)}. There are few games per type, so the intervals "
            "are large and differences between types are exploratory."
        )
        parts += [tag("h3", "By task type"), figure(chart(run_plots.success_by_task(runs, main)), few)]
    return join(
        [
            *parts,
            numbers(
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
                first, last, gap = share_won(before), share_won(after), difference(before, after)
                rows.append(
                    [
                        run.name,
                        f"{group.panel}, {order_name(group.order)}",
                        "all" if task_type is None else task_name(task_type),
                        str(max(len(before), len(after))),
                        words.share(first) if first else "–",
                        words.share(last) if last else "–",
                        words.points(gap) if gap else "–",
                    ]
                )
    return rows


# --- episodes, settings ---


def episodes(runs: Sequence[RunRecord]) -> Offline | None:
    """The chosen episodes in the inspector; None if no episode was kept."""
    shown = choose(runs)
    entries: dict[int, Entry] = {}  # by identity, because several exhibits may share an episode
    exhibits = []
    for one in shown:
        for name, trajectory in one.episodes:
            entries.setdefault(id(trajectory), Entry(name, trajectory))
        places = list(entries)
        numbers_ = tuple(places.index(id(trajectory)) for _, trajectory in one.episodes)
        exhibits.append(Exhibit(one.title, one.why, numbers_, one.step, one.group))
    return offline(list(entries.values()), exhibits) if entries else None


def around_episodes(block: Html | None, runs: Sequence[RunRecord]) -> Html:
    """The block of `episodes`, with an explanation."""
    if block is None:
        return missing("No episode was kept", "trajectories/eval_after.jsonl.gz is missing or empty")
    note = (
        "The episodes were drawn by the seed or chosen by a measurement, as each line says; none was picked by hand. "
        "Every step is shown as it was written, in the model's and the game's own words. A line opens its episode."
    )
    scored = any(run.scored for run in runs)
    measured = (
        "Each order's distribution at a step is exact over the admissible actions: directly for acting first; for "
        "thinking first as the mean after sampled thoughts, with its entropy in a bracket. “After this thought” is "
        "exact given the written thought, and must not be compared with acting first."
    )
    lacking = (
        "Each order's distribution at a step was not measured: actre report RUN --score does so with the run's policy."
    )
    return join([tag("p", note), tag("p", measured if scored else lacking, class_="soft"), block])
