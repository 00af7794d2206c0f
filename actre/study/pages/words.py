"""A study's findings as sentences, computed from its records with every number."""

import math
from collections.abc import Sequence

from actre.config.estimators import ESTIMATORS
from actre.stats import Interval
from actre.study.findings import MATTERS, Comparison, Found, Lines, of_condition
from actre.study.mediation import closed_share, no_gain, start_of
from actre.study.plan import UNTRAINED, Contrast, Part

_MEANINGS = {
    "support": "higher",
    "harm": "lower",
    "equivalent": f"equivalent: no difference of more than {100 * MATTERS:.0f} points either way",
    "no worthwhile help": f"no gain of {100 * MATTERS:.0f} points or more",
    "inconclusive": "inconclusive: a difference that matters is neither shown nor ruled out",
}
"""A finding about the first of two compared arms; the part before a colon is its short form."""
MATCHED = "think_first_hot"
"""The arm whose entropy is matched to act-first's, without an act-first stage."""


def name_of(condition: str) -> str:
    """A condition in words.

    >>> name_of("actre-grpo"), name_of("think_first_clip-grpo-two-updates"), name_of("untrained")
    ('actre, GRPO', 'think_first_clip, GRPO, two updates', 'untrained')
    """
    arm, *rest = condition.split("-")
    if arm == UNTRAINED:
        rest = ["", *rest] if rest else []
    return ", ".join(
        [
            arm,
            *(ESTIMATORS[one].label if one in ESTIMATORS else one for one in rest[:1]),
            *([" ".join(rest[1:])] if rest[1:] else []),
        ]
    )


def contrast_name(contrast: Contrast) -> str:
    """A contrast as a difference; words that both sides share appear once.

    >>> contrast_name(Contrast("actre-grpo", "tfpi-grpo", True)), contrast_name(Contrast("a-grpo", "untrained", False))
    ('actre − tfpi, GRPO', 'a, GRPO − untrained')
    """
    then, first = map(name_of, contrast[:2])
    (then_arm, _, rest), (first_arm, _, other) = then.partition(", "), first.partition(", ")
    return f"{then_arm} − {first_arm}, {rest}" if rest and rest == other else f"{then} − {first}"


def games(part: Part) -> str:
    """The word for what a part's episodes are played on."""
    return "goals" if part.shop else "games"


def sentences(found: Found) -> list[str]:
    """The findings of a part, after how many of its runs are finished."""
    part, lines, compared = found.part, found.lines, found.compared
    done = [run for run in part.runs if run.key in lines]
    if not done:
        return ["No run of this part is finished yet."]
    confirmatory = [one for one in compared if one.contrast.confirmatory]
    said = [f"{len(done)} of {len(part.runs)} runs are finished.", *_seeds_done(part, lines)]
    said += [_sentence(one, part) for one in confirmatory]
    said += _claim(part, confirmatory)
    said += _explained(part, lines, confirmatory)
    said += _exploratory(part, compared, "Exploratory: " if any(c.confirmatory for c in part.contrasts) else "")
    said += _noise(compared)
    said += [_matched(name, of) for name in part.conditions if (of := _with_matches(part, lines, name))]
    said += [f"Training of {key} ended early: {why}." for run in done if (why := lines[key := run.key].get("trouble"))]
    if part.evidence == "demonstration":
        said.append("This policy was made to contract: this part is a demonstration, not evidence.")
    return said


def in_short(found: Found) -> list[str]:
    """A part's result: the claim, then its contrasts grouped by finding, confirmatory ones first."""
    part = found.part
    confirmatory, exploratory = (
        [one for one in found.compared if one.contrast.confirmatory is k] for k in (True, False)
    )
    asked = sum(contrast.confirmatory for contrast in part.contrasts)
    others = _by_finding(exploratory, len(part.contrasts) - asked)
    if not asked:
        return others or ["no contrast is planned"]
    return [
        *_claim(part, confirmatory),
        *_explained(part, found.lines, confirmatory),
        *(f"confirmatory: {one}" for one in _by_finding(confirmatory, asked)),
        *(f"exploratory: {one}" for one in others),
    ]


def _by_finding(compared: Sequence[Comparison], planned: int) -> list[str]:
    """Each finding with its contrasts and their differences in points, then the number of incomplete contrasts."""
    said = []
    for finding, meaning in _MEANINGS.items():
        these = [one for one in compared if one.finding == finding]
        if these:
            names = "; ".join(f"{contrast_name(one.contrast)} ({signed(100 * one.both.value)})" for one in these)
            said.append(f"{meaning.partition(':')[0]}: {names}")
    waiting = planned - sum(one.finding != "interim" for one in compared)
    return [*said, *([f"waiting for seeds: {waiting} of {planned} contrasts"] if waiting else [])]


def _seeds_done(part: Part, lines: Lines) -> list[str]:
    there = {c: tuple(of_condition(part, lines, c)) for c in part.conditions}
    said = []
    for seeds in sorted(set(there.values()), key=lambda s: (-len(s), s)):
        names = "; ".join(name_of(c) for c in part.conditions if there[c] == seeds)
        which = (
            f"seeds {', '.join(map(str, seeds))}" if len(seeds) > 1 else f"seed {seeds[0]}" if seeds else "not run yet"
        )
        said.append(f"{which[0].upper()}{which[1:]}: {names}.")
    return said


def _sentence(one: Comparison, part: Part) -> str:
    then, first = name_of(one.contrast.then), name_of(one.contrast.first)
    over = f"seeds and {games(part)}" if len(one.seeds) > 1 else games(part)
    where = f"{one.panel} {games(part)}, {one.order.replace('_', '-')}"
    start = f"{then} minus {first}, {where}: {points(one.both)} over {over}"
    seeds = f"{len(one.seeds)} of {one.planned} seeds"
    if one.finding == "interim":
        return f"{start}; interim, {seeds}, so nothing is concluded."
    return f"{start}, Holm's p {p_value(one.p_holm)}, {seeds}: {_MEANINGS[one.finding]}."


def _noise(compared: Sequence[Comparison]) -> list[str]:
    """Contrasts that two estimators give which differ by a constant: how far the study's differences scatter."""
    known = {one.contrast[:2]: one for one in compared if one.finding != "interim"}
    said = []
    for pair, one in known.items():
        alike = tuple(_with_estimator_of_constant(name) for name in pair)
        if None not in alike and (other := known.get((str(alike[0]), str(alike[1])))):
            names = [ESTIMATORS[condition.split("-")[1]] for condition in (pair[0], str(alike[0]))]
            gap = 100 * abs(one.both.value - other.both.value)
            said.append(
                f"A noise estimate, not two findings: {names[0].label} is a constant times {names[1].label}, which "
                f"Adam all but removes, and yet {contrast_name(one.contrast)} came out "
                f"{signed(100 * one.both.value)} and {contrast_name(other.contrast)} "
                f"{signed(100 * other.both.value)}: {gap:.1f} points apart with {len(one.seeds)} seeds."
            )
    return said


def _with_estimator_of_constant(condition: str) -> str | None:
    """
    >>> _with_estimator_of_constant("actre-rloo-masked"), _with_estimator_of_constant("actre-grpo")
    ('actre-grpo_no_std-masked', None)
    """
    arm, *rest = condition.split("-")
    times = ESTIMATORS[rest[0]].times if rest and rest[0] in ESTIMATORS else None
    return None if times is None else "-".join([arm, times, *rest[1:]])


def _exploratory(part: Part, compared: Sequence[Comparison], label: str) -> list[str]:
    complete = [one for one in compared if not one.contrast.confirmatory and one.finding != "interim"]
    said = [f"{label}{_sentence(one, part)}" for one in complete]
    waiting = sum(not contrast.confirmatory for contrast in part.contrasts) - len(complete)
    if waiting:
        verb = "contrast waits" if waiting == 1 else "contrasts wait"
        said.append(f"{label}{waiting} {verb} for seeds; nothing is concluded yet.")
    return said


def _claim(part: Part, confirmatory: Sequence[Comparison]) -> list[str]:
    """What the confirmatory contrasts together say about ActRe, in the protocol's terms; nothing if they do not ask."""
    planned = [c for c in part.contrasts if c.confirmatory]
    asked = {tuple(name.split("-")[0] for name in c[:2]): c for c in reversed(planned)}
    if ("actre", "think_first") not in asked:
        return []
    found = {one.contrast: one.finding for one in confirmatory}
    if any(found.get(c, "interim") == "interim" for c in planned):
        return ["The confirmatory question stays open until all seeds are finished."]
    first, start = found[asked["actre", "think_first"]], "For this policy and budget"
    if first != "support":
        return [f"{start} the claim that ActRe helps is not supported ({first})."]
    if ("actre", "tfpi") not in asked:
        return [f"{start} ActRe helps; no contrast asks whether it helps beyond leaving out thoughts at first."]
    beyond = {
        "support": ", also beyond leaving out thoughts at first",
        "equivalent": ", and so does leaving out thoughts at first: tfpi's claim, not that acting first is needed",
    }
    otherwise = ", but it is not shown to help beyond leaving out thoughts at first"
    return [f"{start} ActRe helps{beyond.get(found[asked['actre', 'tfpi']], otherwise)}."]


def _explained(part: Part, lines: Lines, confirmatory: Sequence[Comparison]) -> list[str]:
    """Whether contraction explains a gain: the protocol asks for contraction, a gain, and the matched arm's gain."""
    start = start_of(part, lines)
    if start is None or UNTRAINED not in part.conditions:
        return []
    narrowed, widened = start.verdicts["narrowed"], start.verdicts["widened"]
    seeds = start.verdicts.total()
    each = [
        f"{narrowed} found that thinking narrows the policy's actions",
        f"{widened} that it widens them",
        f"{start.verdicts['equivalent']} that the orders are equivalent",
        f"{start.verdicts['inconclusive']} were inconclusive",
        *([f"{withheld} failed the self-check"] if (withheld := start.verdicts["withheld"]) else []),
    ]
    measured = (
        f"of {seeds} coarse measurements before training (one per seed; {start.states} states, K = {start.thoughts} "
        f"thoughts), {', '.join(each[:-1])}, and {each[-1]}"
    )
    gap = next((c for c in confirmatory if c.contrast[:2] == ("actre-grpo", "think_first-grpo")), None)
    if gap is None:
        return [f"Contraction: {measured}."]
    share = closed_share(part, lines, gap, f"{MATCHED}-grpo")
    if no_gain(gap):
        effect = "a gain of actre that matters is ruled out, so there is none to explain"
    elif gap.finding != "support":
        effect = "it is open whether actre has a gain to explain"
    elif share is None:
        effect = f"it is open how much of actre's gain {MATCHED} shares"
    else:
        effect = (
            f"without acting first, {MATCHED} has {100 * share:.0f} % of actre's gain over think_first (mean of "
            f"{len(gap.seeds)} seeds, no interval)"
        )
    return [f"Does contraction explain it? Exploratory: {measured}; {effect}."]


def _with_matches(part: Part, lines: Lines, condition: str) -> list[list[list[float]]]:
    return [line["matched"] for line in of_condition(part, lines, condition).values() if line.get("matched")]


def _matched(condition: str, matched: Sequence[Sequence[Sequence[float]]]) -> str:
    ends = [[one[place][1] for one in matched] for place in (0, -1)]
    at_first, at_last = (f"{math.fsum(values) / len(values):.2f} ({seed_range(values, '.2f')})" for values in ends)
    over = f"mean, lowest to highest of {len(matched)} seeds" if len(matched) > 1 else "one seed"
    return (
        f"{name_of(condition)} sampled at temperature {at_first} at the start and {at_last} at the end ({over}), to "
        "match act-first's entropy: below 1 its actions vary less than think_first's, above 1 more."
    )


# --- numbers ---


def points(band: Interval) -> str:
    """A difference of shares in percentage points, with its interval."""
    return f"{signed(100 * band.value)} points [{signed(100 * band.low)}, {signed(100 * band.high)}]"


def signed(value: float, form: str = ".1f") -> str:
    """A number with its sign; zero has none.

    >>> signed(-4.46), signed(-0.01), signed(0.6, ".0f")
    ('-4.5', '0.0', '+1')
    """
    text = format(value, f"+{form}")
    return text[1:] if not text.strip("+-0.") else text


def meaning(finding: str) -> str:
    """What a finding says of the first of two compared."""
    return _MEANINGS[finding]


def p_value(p: float) -> str:
    """A p value with three decimals."""
    return "–" if math.isnan(p) else "< 0.001" if p < 0.001 else f"{p:.3f}"


def seed_range(values: Sequence[float], form: str) -> str:
    """The range of values over seeds.

    >>> seed_range([0.4, 0.25, 0.3], ".2f"), seed_range([7.0], ".0f")
    ('0.25–0.40', '7')
    """
    low, high = format(min(values), form), format(max(values), form)
    return low if low == high else f"{low}–{high}"
