"""Results as plain sentences, in the same form whichever way they came out."""

import math
from collections.abc import Sequence
from typing import get_args

from actre.entropy import MARGIN_NATS
from actre.stats import Interval
from actre.types import Cut
from actre.view.names import cut_words
from actre.view.records import EntropyPoint, RunRecord

CAUTION = (
    "One seed was run, so no interval over seeds exists: those shown are over games. This shows what happened here, "
    "not what the method does in general: another seed may show the opposite. A claim about ActRe needs at least three "
    "seeds per arm, compared at equal environment steps."
)
SEVERAL_SEEDS = (
    "Runs of {count} seeds are shown side by side. Nothing is averaged over them, and the intervals are over games, "
    "not over seeds. A claim about ActRe needs at least three seeds per arm at equal environment steps, with intervals "
    "over seeds; actre study computes those."
)
MODEL_ORGANISM = (
    "The tiny policy is a model organism: a small network pretrained on a scripted expert's episodes. It shows the "
    "method at work within minutes and is not evidence about large language models."
)


def nats(band: Interval) -> str:
    """A value with its interval, in nats.

    >>> nats(Interval(1.5, 1.25, 1.75))
    '1.50 nats [1.25, 1.75]'
    """
    if math.isinf(band.value):
        return "no bound"
    return f"{band.value:.2f} nats{_interval(band)}"


def share(band: Interval) -> str:
    """A share with its interval, in percent.

    >>> share(Interval(0.5, 0.4, 0.61))
    '50% [40, 61]'
    """
    inner = f" [{band.low * 100:.0f}, {band.high * 100:.0f}]" if _bounded(band) else ""
    return f"{band.value * 100:.0f}%{inner}"


def points(band: Interval) -> str:
    """A difference of shares in percentage points, signed.

    >>> points(Interval(-0.05, -0.15, 0.04))
    '−5 points [−15, +4]'
    """
    inner = f" [{signed(band.low)}, {signed(band.high)}]" if _bounded(band) else ""
    return f"{signed(band.value)} points{inner}"


def signed(difference: float) -> str:
    """A difference of shares in whole percentage points.

    >>> signed(-0.05), signed(0.104), signed(0.001)
    ('−5', '+10', '0')
    """
    rounded = round(difference * 100)
    return "0" if rounded == 0 else f"{rounded:+d}".replace("-", "−")


def entropy_at_start(point: EntropyPoint) -> list[str]:
    """The first measurement: both orders, the verdict, and the quantity that must not be compared."""
    low, high = point.think_first_lower, point.think_first_upper
    bracket = f"between {low.value:.2f} and {high.value:.2f} nats"
    if not math.isfinite(high.value):
        bracket = f"at least {low.value:.2f} nats (too few thoughts for an upper bound)"
    said = [
        f"On {point.states} fixed states, the policy's action entropy is {nats(point.act_first)} when it acts first "
        f"(about {math.exp(point.act_first.value):.1f} equally likely actions), and {bracket} when it thinks first."
    ]
    said.append(verdict_words(point))
    if math.isfinite(point.conditional.value):
        said.append(
            f"After a given thought, {nats(point.conditional)} remain. This is a different quantity: compared with "
            "act-first's entropy, it would show a narrowing by construction."
        )
    return said


def verdict_words(point: EntropyPoint) -> str:
    """The recorded verdict as a sentence."""
    thoughts = f"with {point.thoughts} thoughts per state" if point.thoughts else "with these thoughts"
    return {
        "narrowed": "Thinking first narrowed the choice: act-first's entropy lies above think-first's upper bound.",
        "widened": "Thinking first widened the choice: act-first's entropy lies below think-first's lower bound.",
        "equivalent": f"The two orders' entropies are equal within {MARGIN_NATS:g} nats.",
        "inconclusive": f"Inconclusive: {thoughts}, the bracket and the intervals leave both directions possible. "
        "This is not the same as no difference.",
        "withheld": "No verdict is given: the measurement failed its self-check, so its entropies do not describe what "
        "the policy writes.",
    }.get(point.verdict, "No verdict was recorded.")


def entropy_through_training(name: str, measured: Sequence[EntropyPoint]) -> str:
    """The first and the last measurement of one run."""
    name = _capital(name)
    if len(measured) < 2:
        return f"{name}: measured only once, so there is no course to describe."
    first, last = measured[0], measured[-1]
    act = f"from {first.act_first.value:.2f} to {last.act_first.value:.2f} nats acting first"
    return f"{name}: {act}; thinking first from {_bracket(first)} to {_bracket(last)} ({measured_on(last)})."


def measured_on(point: EntropyPoint) -> str:
    """The size of a measurement: brackets of different sizes must not be compared."""
    thoughts = f", K = {point.thoughts} thoughts per state" if point.thoughts else ""
    return f"{point.states} states{thoughts}"


def change(name: str, before: Interval, after: Interval, difference: Interval | None, panel: str) -> str:
    """Success before and after training of one run."""
    text = f"{_capital(name)} won {share(before)} of the {panel} games before training and {share(after)} after"
    if difference is None:
        return f"{text}."
    return (
        f"{text}, paired on the same games {points(difference)}: "
        f"{_direction(difference, 'it got better', 'it got worse', 'no clear change')}."
    )


def arms_compared(first: str, second: str, difference: Interval, panel: str) -> str:
    """One run's success minus the other's on the same games."""
    direction = _direction(
        difference,
        f"{first} won more",
        f"{second} won more",
        "the interval includes zero, so these games show no difference between the two runs",
    )
    return f"After training, {first} minus {second} on the same {panel} games is {points(difference)}: {direction}."


def adapter_check(from_trained: float, from_base: float, tolerance: float) -> str:
    """The check of the exported adapter, reloaded onto the plain base model."""
    passed = from_trained <= tolerance < from_base
    verdict = "it is the trained adapter and has an effect" if passed else "it is NOT the trained one, or has no effect"
    return (
        f"The exported adapter, reloaded onto the plain base: its logits differ by at most {from_trained:.2g} from "
        f"the trained model's and by up to {from_base:.2g} from the base's, so {verdict}."
    )


def _bracket(point: EntropyPoint) -> str:
    low, high = point.think_first_lower.value, point.think_first_upper.value
    return f"between {low:.2f} and {high:.2f}" if math.isfinite(high) else f"at least {low:.2f}"


def _direction(band: Interval, above: str, below: str, open_: str) -> str:
    if not _bounded(band):
        return open_
    return above if band.low > 0 else below if band.high < 0 else open_


def _interval(band: Interval) -> str:
    return f" [{band.low:.2f}, {band.high:.2f}]" if _bounded(band) else ""


def _bounded(band: Interval) -> bool:
    return math.isfinite(band.low) and math.isfinite(band.high)


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def otherwise(run: RunRecord) -> list[str]:
    """Deviations from the settings, one sentence each."""
    found = []
    planned = [stage.iterations for stage in run.config.stages] if run.config else []
    ran = [sum(line.get("stage") == number for line in run.metrics) for number in range(len(planned))]
    if any(a != b for a, b in zip(planned[:-1], ran, strict=False) if b):
        found.append(f"Iterations per stage: {', '.join(map(str, ran))}.")
    failed = sum(line.get("env_errors", 0) for line in run.metrics)
    if failed:
        found.append(
            f"The environment failed in {failed:,} training episodes. They were not trained on and are in no curve."
        )
    for why in get_args(Cut):
        played = sum(line.get(f"cut_{why}", 0) for line in run.metrics)
        evaluated = sum(result.cut == why for result in run.all_results)
        counts = [f"{n:,} {what}" for n, what in ((played, "training"), (evaluated, "evaluated")) if n]
        if counts:
            found.append(f"Episodes cut because {cut_words(why)}: {' and '.join(counts)} ones.")
    return found
