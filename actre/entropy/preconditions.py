"""Whether a comparison of arms could show anything on a policy: the preconditions, their thresholds, and the verdict.

Acting first in stage 1 can help thinking only if thinking is contracted, if acting first learns by reinforcement, and
if what it learns reaches thinking. Numbers in, words out; `actre.study.preconditions` measures them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from actre.entropy.transfer import HIGH, LOW, Gains, Level
from actre.entropy.verdict import MARGIN_NATS
from actre.stats import Interval
from actre.types import Order

ADMISSIBLE_AT_LEAST = 0.90
SUCCESS_BETWEEN = (0.15, 0.40)
SPREAD_AT_MOST = 0.08
"""Largest difference in success between orders, for a policy that is not contracted."""
LEARNS_AT_LEAST, LEARNS_ABOVE = 0.15, 0.05
"""Learnability: the gain in success must reach the first, and its interval lie above the second."""
LEARNS_SEEDS = 3
"""Learnability is open with fewer trainings: their interval does not cover what training varies."""
CONTRACTED_NATS = 0.3
"""Contracted: thinking narrows the choice by at least this much at the lower end of the bracket."""

Answer = Literal["yes", "no", "open", "not measured"]
Way = Literal["sft", "rl"]
Measure = Literal["logp", "p", "success"]
TRAINED: tuple[Order, ...] = ("act_first", "think_first")
_WAYS: dict[Way, str] = {"sft": "supervised training", "rl": "reinforcement"}
_MEASURES: dict[Measure, str] = {
    "logp": "log-probability of the expert's action",
    "p": "probability of the expert's action",
    "success": "success",
}
_NAMES: dict[Order, str] = {"act_first": "act-first", "think_first": "think-first", "no_think": "no-think"}


class Narrowing(NamedTuple):
    """The diagnosis: its verdict, and act-first minus think-first action entropy at both ends of the bracket (nats)."""

    verdict: str
    lower: Interval
    upper: Interval


class Start(NamedTuple):
    """The untrained policy in one order: shares of games won and of actions that are admissible."""

    success: Interval
    admissible: Interval


class Learned(NamedTuple):
    """Reinforcement in one order alone: what it did to success in that order, over `seeds` trainings.

    ended_early: how many of them ended at a loss or gradient that was not finite, and count as their last checkpoint.
    """

    gain: Interval
    seeds: int
    ended_early: int = 0

    @property
    def early(self) -> str:
        """What is to be said of trainings that ended early, behind the gain."""
        return f" ({self.ended_early} of {self.seeds} ended early: not finite)" if self.ended_early else ""


class Transfer(NamedTuple):
    """Gains after training one order alone, by one way, in one measure (logp in nats; p and success are shares)."""

    trained: Order
    way: Way
    measure: Measure
    gains: Gains


@dataclass(frozen=True)
class Preconditions:
    """Everything measured on one policy. None and missing keys: not measured.

    model, fingerprint, env: of the policy. apart: act-first minus think-first success before training. budget: how much
    training and measuring went into it.
    """

    model: str
    fingerprint: str
    env: str
    contraction: Narrowing | None = None
    start: Mapping[Order, Start] = field(default_factory=dict)
    apart: Interval | None = None
    learned: Mapping[Order, Learned] = field(default_factory=dict)
    transfers: tuple[Transfer, ...] = ()
    budget: Mapping[str, Any] = field(default_factory=dict)

    def gains(self, trained: Order, way: Way, measure: Measure) -> Gains | None:
        """The gains of one kind of training in one measure; None: not measured."""
        return next((t.gains for t in self.transfers if t[:3] == (trained, way, measure)), None)

    def transfer(self, trained: Order) -> Transfer | None:
        """The transfer out of this order that decides: the first determined one, supervised training and the
        log-probability first.

        The same gain in the expert's action's logit in both orders is the same gain in log-probability wherever the
        action is unlikely. Its gain in probability is in proportion to p (1 - p), and so is lost where a narrow choice
        of other actions leaves it little.
        """
        order = [(way, measure) for way in _WAYS for measure in _MEASURES]
        own = sorted((t for t in self.transfers if t.trained == trained), key=lambda t: order.index((t.way, t.measure)))
        return next((t for t in own if t.gains.ratio is not None), own[0] if own else None)


class Check(NamedTuple):
    """One line of the table: what was measured, its value, the threshold, and whether it is met; for a transfer, which
    may be meant to be high or low, what it is.
    """

    what: str
    value: str
    threshold: str
    met: Answer | Level


def contracted(found: Narrowing | None) -> Answer:
    """Whether thinking narrows the choice by CONTRACTED_NATS or more. no: equivalent, widened, or less at both ends."""
    if found is None:
        return "not measured"
    if found.verdict == "withheld":
        return "open"
    if found.verdict == "narrowed" and found.lower.value >= CONTRACTED_NATS:
        return "yes"
    return "no" if found.verdict in ("equivalent", "widened") or found.upper.high < CONTRACTED_NATS else "open"


def learns(found: Learned | None) -> Answer:
    """Whether reinforcement in an order alone teaches it. no: the gain's interval lies below LEARNS_AT_LEAST."""
    if found is None:
        return "not measured"
    if found.seeds < LEARNS_SEEDS:
        return "open"
    if found.gain.value >= LEARNS_AT_LEAST and found.gain.low > LEARNS_ABOVE:
        return "yes"
    return "no" if found.gain.high < LEARNS_AT_LEAST else "open"


def reaches(found: Transfer | None) -> Answer:
    """Whether what one order learns reaches the other: yes if transfer is high, no if low, open in between."""
    if found is None:
        return "not measured"
    level = found.gains.level
    return "yes" if level == "high" else "no" if level == "low" else "open"


class _Question(NamedTuple):
    """One of the three preconditions of stage 1: its answer, its name, its value, and what to say if it is not met."""

    answer: Answer
    name: str
    value: str
    lacking: str


def verdict(p: Preconditions) -> str:
    """The verdict on stage 1 (act-first) followed by think-first, in plain words."""
    asked = _questions(p)
    missing = [one.lacking for one in asked if one.answer == "no"]
    left = [f"{one.name} ({one.value})" for one in asked if one.answer in ("open", "not measured")]
    if missing:
        rest = f" Not settled: {'; '.join(left)}." if left else ""
        return f"By the claim's mechanism stage 1 cannot help here: {', and '.join(missing)}.{rest}"
    if left:
        return f"Whether stage 1 can help here is not settled: {'; '.join(left)}."
    learned, reached, narrowed = (one.value for one in asked)
    return (
        f"Stage 1 can help here: acting first learns ({learned}), what it learns reaches thinking ({reached}), and "
        f"thinking is contracted ({narrowed}). A comparison of arms can come out either way."
    )


def _questions(p: Preconditions) -> list[_Question]:
    learned, transfer, found = p.learned.get("act_first"), p.transfer("act_first"), p.contraction
    gain = share = bracket = "not measured"
    how, before, narrow = "nothing", "", "nothing is contracted"
    if learned is not None:
        gain = f"{points(learned.gain)} of success, act-first{learned.early}"
        how = "nothing" if learned.gain.low <= 0 else "too little"
    if transfer is not None:
        ratio = transfer.gains.ratio
        by = f"{_WAYS[transfer.way]}, {_MEASURES[transfer.measure]}"
        unknown = "undetermined, as the trained order's own gain may be 0"
        share = f"transfer {unknown if ratio is None else ratio}, by {by}"
    if found is not None:
        before = "thinking widens the choice: " if found.verdict == "widened" else ""
        if found.verdict == "narrowed":
            narrow = f"too little is contracted, less than {CONTRACTED_NATS:g} nats"
        if found.verdict == "inconclusive":
            narrow = f"a contraction of {CONTRACTED_NATS:g} nats is ruled out"
        bracket = f"act-first minus think-first entropy {found.lower} to {found.upper} nats"
    return [
        _Question(learns(learned), "whether acting first learns", gain, f"it learns {how} ({gain})"),
        _Question(
            reaches(transfer),
            "whether what it learns reaches thinking",
            share,
            f"what it learns does not reach thinking ({share})",
        ),
        _Question(
            contracted(found),
            "whether thinking is contracted",
            bracket,
            f"{narrow} ({before}{bracket})",
        ),
    ]


def counted(seeds: int) -> str:
    """A number of seeds in words."""
    return f"{seeds} seed{'' if seeds == 1 else 's'}"


def checks(p: Preconditions) -> list[Check]:
    """Every measured value beside its threshold."""
    found = [_contraction_check(p.contraction)]
    for order in TRAINED:
        start = p.start.get(order)
        if start is not None:
            found += _start_checks(order, start)
    if p.apart is not None:
        alike: Answer = "yes" if round(abs(p.apart.value), 6) <= SPREAD_AT_MOST else "no"
        limit = f"within {100 * SPREAD_AT_MOST:.0f} points, where not contracted"
        found.append(Check("success at the start, act-first minus think-first", points(p.apart), limit, alike))
    for order in TRAINED:
        learned = p.learned.get(order)
        value = (
            "–"
            if learned is None
            else f"{points(learned.gain)}, {learned.seeds} seed{'' if learned.seeds == 1 else 's'}{learned.early}"
        )
        limit = f"at least +{100 * LEARNS_AT_LEAST:.0f} points, interval above {100 * LEARNS_ABOVE:.0f}"
        found.append(Check(f"learnability: success after reinforcement {_NAMES[order]}", value, limit, learns(learned)))
    for order in TRAINED:
        own = [t for t in p.transfers if t.trained == order]
        found += [_transfer_check(t) for t in own] or [
            Check(f"transfer from {_NAMES[order]}", "–", _TRANSFER_LIMIT, "not measured")
        ]
    return found


_TRANSFER_LIMIT = f"high from {HIGH:g} on, low up to {LOW:g}"
"""In between it is "some": `Gains.level` says how the interval counts."""


def points(band: Interval) -> str:
    """A difference of shares as points.

    >>> points(Interval(0.03, -0.02, 0.08))
    '+3.0 points [-2.0, +8.0]'
    """
    return f"{100 * band.value:+.1f} points [{100 * band.low:+.1f}, {100 * band.high:+.1f}]"


def _contraction_check(found: Narrowing | None) -> Check:
    limit = f"at least {CONTRACTED_NATS:g} nats (not contracted: equivalent within {MARGIN_NATS:g})"
    what = "contraction: action entropy, act-first minus think-first"
    if found is None:
        return Check(what, "–", limit, "not measured")
    return Check(what, f"{found.verdict}: {found.lower} to {found.upper} nats", limit, contracted(found))


def _start_checks(order: Order, start: Start) -> list[Check]:
    low, high = SUCCESS_BETWEEN
    room: Answer = "yes" if low <= start.success.value <= high else "no"
    form: Answer = "yes" if start.admissible.value >= ADMISSIBLE_AT_LEAST else "no"
    name = _NAMES[order]
    return [
        Check(f"success at the start, {name}", _percent(start.success), f"{100 * low:.0f} to {100 * high:.0f} %", room),
        Check(
            f"admissible actions at the start, {name}",
            _percent(start.admissible),
            f"at least {100 * ADMISSIBLE_AT_LEAST:.0f} %",
            form,
        ),
    ]


def _transfer_check(found: Transfer) -> Check:
    to = _NAMES["think_first" if found.trained == "act_first" else "act_first"]
    what = f"transfer from {_NAMES[found.trained]} to {to}: {_MEASURES[found.measure]}, {_WAYS[found.way]}"
    gained, reached = ((_gain(found.measure, band)) for band in found.gains[:2])
    ratio = "–" if found.gains.ratio is None else f"{found.gains.ratio}"
    return Check(what, f"{ratio} (trained {gained}, untrained {reached})", _TRANSFER_LIMIT, found.gains.level)


def _gain(measure: Measure, band: Interval) -> str:
    return points(band) if measure != "logp" else f"{band.value:+.2f} nats [{band.low:+.2f}, {band.high:+.2f}]"


def _percent(band: Interval) -> str:
    return f"{100 * band.value:.1f} % [{100 * band.low:.1f}, {100 * band.high:.1f}]"
