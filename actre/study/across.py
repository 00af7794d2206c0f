"""One contrast between the parts of a study: side by side, against what was measured beforehand, and as an interaction.

The interaction is the difference in one part minus the mean of the differences in the others. Parts are independent,
so the test over their seeds is Welch's.
"""

from collections.abc import Mapping
from typing import NamedTuple

from actre.entropy import precondition_files as files
from actre.entropy.preconditions import Preconditions
from actre.stats import PairedTest, combined_means, holm, paired_t
from actre.study.findings import Comparison, Finding, Lines, compare, judged, rates
from actre.study.plan import PRIMARY, Across, Contrast, Part, Study


class Side(NamedTuple):
    """One part's difference, and the preconditions of its untrained policy, if they are recorded."""

    part: Part
    compared: Comparison | None
    preconditions: Preconditions | None


class Interaction(NamedTuple):
    """The difference in one part minus the mean of the others'. test: None until every part has 2 seeds."""

    across: Across
    test: PairedTest | None
    complete: bool
    p_holm: float

    @property
    def finding(self) -> Finding:
        """As `Comparison.finding`."""
        if self.test is None or not self.complete:
            return "interim"
        return judged(self.test.low, self.test.high, self.p_holm)


class Between(NamedTuple):
    """Everything a page shows about a contrast between parts."""

    across: Across
    sides: tuple[Side, ...]
    interaction: Interaction | None


def between(study: Study, lines: Lines) -> Between | None:
    """The study's contrast between parts; None if it plans none."""
    across = study.across
    if across is None:
        return None
    able = [part for part in study.parts if set(across.contrast[:2]) <= set(part.conditions)]
    sides = tuple(Side(part, compare(part, lines, across.contrast, *PRIMARY), _preconditions(part)) for part in able)
    return Between(across, sides, _interaction(across, {part.name: part for part in able}, lines))


def beside(found: Between | None, part: Part) -> tuple[float, ...]:
    """The interaction's p for Holm's correction in the part that it is about; NaN until it is complete."""
    one = found.interaction if found is not None else None
    if one is None or one.across.largest_in != part.name:
        return ()
    return (one.test.p if one.test is not None and one.complete else float("nan"),)


def _interaction(across: Across, parts: Mapping[str, Part], lines: Lines) -> Interaction | None:
    if not across.largest_in:
        return None
    names = (across.largest_in, *across.others)
    gains = [_gains(parts[name], lines, across.contrast) for name in names]
    complete = all(_complete(parts[name], lines, across.contrast) for name in names)
    if min(map(len, gains)) < 2:
        return Interaction(across, None, False, float("nan"))
    test = combined_means(gains, [1.0, *[-1 / len(across.others)] * len(across.others)])
    own = parts[across.largest_in]
    family = [_p(own, lines, contrast) for contrast in own.contrasts if contrast.confirmatory]
    return Interaction(across, test, complete, holm([*family, test.p if complete else float("nan")])[-1])


def _gains(part: Part, lines: Lines, contrast: Contrast) -> list[float]:
    then, first = (rates(part, lines, name, *PRIMARY) for name in contrast[:2])
    return [then[seed] - first[seed] for seed in then if seed in first]


def _complete(part: Part, lines: Lines, contrast: Contrast) -> bool:
    then, first = ({r.seed for r in part.runs if r.condition == name} for name in contrast[:2])
    return len(_gains(part, lines, contrast)) == len(then & first)


def _p(part: Part, lines: Lines, contrast: Contrast) -> float:
    """The contrast's p over seeds; NaN until it is complete."""
    return paired_t(_gains(part, lines, contrast)).p if _complete(part, lines, contrast) else float("nan")


def _preconditions(part: Part) -> Preconditions | None:
    config = part.runs[0].config
    return files.find(config.model.name, part.fingerprint, config.env.name)
