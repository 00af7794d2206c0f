"""What a study is: parts, their runs with full settings, and the contrasts between arms."""

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

from actre.config import RunConfig

UNTRAINED = "untrained"
"""The arm that is not trained: the start of the others."""
PRIMARY = ("unseen", "think_first")
"""The panel and order of the primary endpoint."""
Evidence = Literal["confirmatory", "exploratory", "demonstration"]


class Contrast(NamedTuple):
    """A comparison of two conditions: `then` minus `first`."""

    then: str
    first: str
    confirmatory: bool


class Forecast(NamedTuple):
    """What was expected of a contrast before it ran.

    points: the range that holds the mean difference over the planned seeds with 80 %, in points of success. above: the
    probability that it is above 0. because: what it was derived from.
    """

    then: str
    first: str
    points: tuple[float, float]
    above: float
    because: str


@dataclass(frozen=True)
class Run:
    """One planned run: an arm with an estimator, a seed, and possibly a variant of the settings."""

    part: str
    arm: str
    estimator: str
    variant: str
    config: RunConfig

    @property
    def seed(self) -> int:
        return self.config.seed

    @property
    def trained(self) -> bool:
        return self.arm != UNTRAINED

    @property
    def condition(self) -> str:
        """The name that all its seeds share, e.g. "actre-grpo", "actre-grpo-masked" or "untrained"."""
        names = (self.arm, self.estimator if self.trained else "", self.variant)
        return "-".join(name for name in names if name)

    @property
    def key(self) -> str:
        """The run's name within the study, e.g. "neutral/actre-grpo-seed-3"."""
        return f"{self.part}/{self.condition}-seed-{self.seed}"

    @property
    def digest(self) -> str:
        """A hash of all that determines the run, except weights and games: equal digests are the same run."""
        return digest_of(self.trained, self.config)


@dataclass(frozen=True)
class Part:
    """One policy in one environment: its runs, in the order they are made, and its contrasts.

    fingerprint: of the untrained policy's weights, if the file fixes them. misses: what the policy lacks of what the
    protocol asks for.
    """

    name: str
    about: str
    evidence: Evidence
    seeds: tuple[int, ...]
    runs: tuple[Run, ...]
    contrasts: tuple[Contrast, ...]
    fingerprint: str | None = None
    forecasts: tuple[Forecast, ...] = ()
    misses: str = ""

    @property
    def conditions(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(run.condition for run in self.runs))

    @property
    def shop(self) -> bool:
        return self.runs[0].config.env.name == "webshop"

    @property
    def tiny(self) -> bool:
        """Whether the policy is one of the kit's tiny ones."""
        return self.runs[0].config.model.name.split("/")[0] == "tiny"


class Across(NamedTuple):
    """A contrast compared between parts.

    largest_in, others: confirmatory, whether the part's difference exceeds the mean of the others'; empty: not tested.
    """

    contrast: Contrast
    largest_in: str = ""
    others: tuple[str, ...] = ()


@dataclass(frozen=True)
class Study:
    """A whole study file. shares: names of studies whose records count here if the run is the same. protocol: the page
    that fixed the rules for judging the study before it ran, if there is one. across: what is compared between parts.
    """

    name: str
    about: str
    shares: tuple[str, ...]
    parts: tuple[Part, ...]
    protocol: Path | None = None
    across: Across | None = None

    @property
    def runs(self) -> tuple[Run, ...]:
        return tuple(run for part in self.parts for run in part.runs)


def digest_of(trained: bool, config: RunConfig) -> str:
    """A run's digest. It is never stored but computed from today's settings, so a setting added later leaves old runs
    valid: its default is what they did.
    """
    settings = dataclasses.asdict(config)
    for name in ("checkpoint", "report_to"):  # checkpoints and trackers do not change a run
        settings.pop(name, None)
    text = json.dumps({"trained": trained, "config": settings}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
