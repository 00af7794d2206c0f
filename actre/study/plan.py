"""What a study is: parts, their runs with whole settings, and what is compared. Reads no file, runs nothing."""

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

from actre.config import RunConfig

UNTRAINED = "untrained"
"""An arm that is not trained: where the others begin."""
PRIMARY = ("unseen", "think_first")
"""The panel and order of the primary endpoint."""
Evidence = Literal["confirmatory", "exploratory", "demonstration"]


class Contrast(NamedTuple):
    """Two conditions that are compared: `then` minus `first`."""

    then: str
    first: str
    confirmatory: bool


@dataclass(frozen=True)
class Run:
    """One run to be: an arm with an estimator, perhaps in a variant, and a seed."""

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
        """What all seeds of it share, e.g. "actre-grpo", "actre-grpo-masked" or "untrained"."""
        names = (self.arm, self.estimator if self.trained else "", self.variant)
        return "-".join(name for name in names if name)

    @property
    def key(self) -> str:
        """Its name within the study, e.g. "neutral/actre-grpo-seed-3"."""
        return f"{self.part}/{self.condition}-seed-{self.seed}"

    @property
    def digest(self) -> str:
        """Names everything that determines the run but the weights and games it meets: equal means the same run."""
        return digest_of(self.trained, self.config)


@dataclass(frozen=True)
class Part:
    """One policy in one environment: its runs, in the order in which they are made, and what is compared.

    fingerprint: of the untrained policy's weights, where the file fixes them.
    """

    name: str
    about: str
    evidence: Evidence
    seeds: tuple[int, ...]
    runs: tuple[Run, ...]
    contrasts: tuple[Contrast, ...]
    fingerprint: str | None = None

    @property
    def conditions(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(run.condition for run in self.runs))

    @property
    def shop(self) -> bool:
        return self.runs[0].config.env.name == "webshop"

    @property
    def tiny(self) -> bool:
        """Whether its policy is one of the kit's own tiny ones."""
        return self.runs[0].config.model.name.split("/")[0] == "tiny"


@dataclass(frozen=True)
class Study:
    """A whole study file. shares: names of studies whose records count here where a run is the same. protocol: the page
    that fixed beforehand how it is judged, if there is one.
    """

    name: str
    about: str
    shares: tuple[str, ...]
    parts: tuple[Part, ...]
    protocol: Path | None = None

    @property
    def runs(self) -> tuple[Run, ...]:
        return tuple(run for part in self.parts for run in part.runs)


def digest_of(trained: bool, config: RunConfig) -> str:
    """A run's digest. Computed from the settings there are today and never stored: a setting that has come since
    leaves runs as they were, for its default says what was done before.
    """
    settings = dataclasses.asdict(config)
    for name in ("checkpoint", "report_to"):  # where a run may be taken up again, and who is told, does not change it
        settings.pop(name, None)
    text = json.dumps({"trained": trained, "config": settings}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
