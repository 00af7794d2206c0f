"""The charts of a study's HTML page."""

import math
from collections.abc import Callable
from functools import partial

from actre.stats import Interval
from actre.study import through_training as through
from actre.study.findings import Found, of_condition, rates
from actre.study.pages.tables import endpoint, over, seeds_of
from actre.study.pages.words import contrast_name, name_of, signed
from actre.study.plan import PRIMARY
from actre.study.record import Record
from actre.view import blocks
from actre.view.html import Html
from actre.view.names import order_name
from actre.view.palette import ARMS, GREY
from actre.view.rows import Mark, Row, row_chart
from actre.view.run_plots import Course, courses
from actre.view.still import chart

_DRAWN = 4
"""The most arms in one chart."""


def figures(found: Found) -> list[Callable[[], Html | None]]:
    """The charts of a part, each drawn when called; None if nothing was recorded for it."""
    return [
        partial(_success, found),
        partial(_contrasts, found),
        *(partial(_training, found, axis) for axis in _AXES),
        partial(_without_variance, found),
        *(partial(_every_order, found, name) for name in _compared(found)),
        *(partial(_entropy, found, name) for name in _ENTROPIES),
    ]


def _success(found: Found) -> Html | None:
    """Each arm's success on the primary endpoint: seeds as open dots, the mean with its interval."""
    rows = []
    for one in found.summaries.get(PRIMARY, {}).values():
        of_seeds = rates(found.part, found.lines, one.condition, *PRIMARY).values()
        seeds = [Mark(Interval(rate, rate, rate), GREY, kind="circle-open", shift=0.3) for rate in of_seeds]
        mean = Mark(Interval(*one.success[:3]), ARMS[0], words=f"{100 * one.success.value:.0f}%")
        rows.append(Row(f"{name_of(one.condition)} ({len(one.seeds)} seeds)", (*seeds, mean)))
    if not rows:
        return None
    title, x = f"Success by arm, {endpoint(found.part)}", f"success, {endpoint(found.part)}"
    drawn = chart(row_chart(rows, title, x, low=0.0, high=1.0, percent=True, row_height=30.0))
    return blocks.figure(drawn, f"Mean with its 95 % interval over {over(found.part)}; open dots: single seeds.")


def _contrasts(found: Found) -> Html | None:
    compared = [one for one in found.compared if math.isfinite(one.both.low)]
    if not compared:
        return None
    rows, kind = [], None
    for one in compared:
        if one.contrast.confirmatory != kind:
            kind = one.contrast.confirmatory
            rows.append(Row("confirmatory" if kind else "exploratory"))
        dot = "circle" if one.complete else "circle-open"
        text = f"{signed(100 * one.both.value)} ({seeds_of(one).partition(':')[0]} seeds)"
        mark = Mark(Interval(*one.both[:3]), ARMS[0] if kind else GREY, kind=dot, words=text)
        rows.append(Row(contrast_name(one.contrast), (mark,)))
    x = "difference in success, points of 100"
    drawn = chart(row_chart(rows, "Differences in success", x, low=-0.1, high=0.1, zero=True, percent=True))
    return blocks.figure(
        drawn,
        f"Differences in success on {endpoint(found.part)}, paired by seed, with the 95 % interval over "
        f"{over(found.part)}, not corrected for multiple contrasts; open dots: interim, some planned seeds are missing "
        "and nothing is concluded.",
    )


# --- through training ---

_AXES = {"env_steps": "environment steps", "generated_tokens": "generated tokens"}
_ENTROPIES = {"act_first": "act-first, exact", "think_first": "think-first, the middle of its bracket"}


def _training(found: Found, axis: str) -> Html | None:
    """Success in training: each arm's smoothed mean over seeds."""
    return _lines(
        found,
        "curve",
        lambda records: through.success(records, axis),
        title=f"Success in training by {_AXES[axis]}",
        y_label="success",
        x_label=_AXES[axis],
        said=f"Success in training by {_AXES[axis]}, smoothed over {through.WINDOW} iterations, at temperature 1 (or "
        "the matched one), in the order of the current stage.",
        share=True,
    )


def _without_variance(found: Found) -> Html | None:
    """The share of groups that teach nothing: each arm's mean over seeds."""
    return _lines(
        found,
        "signs",
        through.without_variance,
        title="How many groups have nothing to learn from? Share without variance",
        y_label="share of groups",
        x_label="environment steps",
        said="Groups whose episodes all have the same return, in training, in the order of the current stage, smoothed "
        f"over {through.WINDOW} iterations.",
        share=True,
    )


def _every_order(found: Found, condition: str) -> Html | None:
    """Success of every order through one arm's training."""
    records = list(of_condition(found.part, found.lines, condition).values())
    series = [Course(order_name(order), points, order) for order, points in through.every_order(records).items()]
    if not series:
        return None
    title = f"What carries over to the other order? {name_of(condition)}"
    config = records[0]["config"]["probe"]
    return blocks.figure(
        chart(courses(series, title, "environment steps", "success", share=True)),
        f"Success in every order on {config['panel_games']} unseen games, each played {config['panel_episodes']} "
        "times, at temperature 1, at the measurements that all seeds have and at the end. Mean over "
        f"{len(records)} seeds; band: lowest to highest seed.",
    )


def _entropy(found: Found, name: str) -> Html | None:
    """Action entropy on the probe states: each arm's mean over seeds."""
    return _lines(
        found,
        "entropy",
        lambda records: through.entropy(records, name),
        title=f"Action entropy through training: {_ENTROPIES[name]}",
        y_label="nats",
        x_label="environment steps",
        said=f"Action entropy on the fixed probe states, {_ENTROPIES[name]}, at temperature 1.",
        share=False,
    )


def _compared(found: Found) -> list[str]:
    """The arms of confirmatory contrasts, in the file's order."""
    named = {name for c in found.part.contrasts if c.confirmatory for name in c[:2]}
    return [c for c in found.part.conditions if c in named]


def _lines(
    found: Found,
    needs: str,
    course: Callable[[list[Record]], list[through.Point]],
    *,
    title: str,
    y_label: str,
    x_label: str,
    said: str,
    share: bool,
) -> Html | None:
    """The arms of confirmatory contrasts, else the first arms: mean over seeds, band from lowest to highest seed."""
    part = found.part
    there = {c: list(of_condition(part, found.lines, c).values()) for c in part.conditions}
    able = [c for c in part.conditions if any(line.get(needs) for line in there[c])]
    named = _compared(found)
    drawn = [c for c in able if c in named or not named][:_DRAWN]
    series = [Course(name_of(c), course(there[c])) for c in drawn]
    if not any(one.points for one in series):
        return None
    figure = chart(courses(series, title, x_label, y_label, share=share))
    others = f" Shown: {len(drawn)} of {len(able)} arms; the tables have all." if len(drawn) < len(able) else ""
    return blocks.figure(
        figure,
        f"{said} Mean over seeds; band: lowest to highest seed; a line ends where its shortest run ends.{others}",
    )
