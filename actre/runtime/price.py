"""What a comparison costs in hours: one arm, both arms of one seed, and a verdict over seeds.

Computed from estimate.py, and no better than that: no GPU has confirmed it. Measuring action entropy during training is
not in it.
"""

import math
from dataclasses import replace
from typing import NamedTuple

from actre.config import RunConfig
from actre.config.presets import GPU_GB
from actre.runtime import official
from actre.runtime.estimate import Device, Estimate, assumed, estimate
from actre.types import ActreError

SEEDS = 5
"""Seeds of a verdict."""
ARMS = 2
"""Arms of a verdict."""
NIGHT_H = 10.0
"""What one night allows."""
LONGEST_ON_CPU_H = 7 * 24.0
"""Training that would take a CPU longer is refused: it was meant for a GPU."""
_ORDERS = 3
"""Orders in which a study evaluates each run."""
_SHIPPED = {"train": 240, "seen": 60, "unseen": 120, "unseen-2": 120}
_LARGE_PANEL = 500
"""Goals of WebShop's test set, and the number assumed for a panel of unknown size."""


class Price(NamedTuple):
    """Hours. iterations: how many the budget of environment steps comes to; train_h: them alone; evaluate_h: every
    panel in every order, once.
    """

    iterations: int
    train_h: float
    evaluate_h: float

    @property
    def arm_h(self) -> float:
        return self.train_h + self.evaluate_h

    @property
    def pair_h(self) -> float:
        """Both arms of one seed, and the untrained policy's evaluation, one after the other."""
        return ARMS * self.arm_h + self.evaluate_h

    @property
    def verdict_h(self) -> float:
        """Both arms of every seed, on one device."""
        return SEEDS * ARMS * self.arm_h


def price(config: RunConfig, device: Device, found: Estimate | None = None) -> Price:
    """The price on one such device. found: the estimate for both, if it was made. Raises ActreError as `estimate`."""
    found = found or estimate(config, device)
    iterations = planned(config)
    train = iterations * (found.rollout_s + found.update_s)
    played = sum(_playing_s(config, device, games_of(panel, config)) for panel in config.evaluation.panels)
    return Price(iterations, train / 3600, _ORDERS * played / 3600)


def planned(config: RunConfig) -> int:
    """The iterations that training takes: those of the stages, or fewer if the environment steps are spent earlier."""
    if config.env_steps is None:
        return config.iterations
    steps = config.optim.groups * config.optim.group_size * assumed(config).steps
    return min(config.iterations, math.ceil(config.env_steps / steps))


def must_end(config: RunConfig, device: Device) -> None:
    """Raises ActreError, naming the command that prices a GPU, if a CPU would train longer than LONGEST_ON_CPU_H."""
    if device.gpu:
        return
    found = estimate(config, device)
    hours = planned(config) * (found.rollout_s + found.update_s) / 3600
    if hours > LONGEST_ON_CPU_H:
        priced = f"actre doctor --preset {config.preset} --gpu-memory {GPU_GB.get(config.preset, 24)}"
        raise ActreError(
            f"there is no GPU here, and training {config.model.name} on {device.name} would take about "
            f"{hours / 24:.0f} days: `{priced}` estimates it for a GPU. "
            "The estimate may be wrong: --force starts anyway"
        )


def games_of(panel: str, config: RunConfig) -> int:
    """Games that an evaluation of this panel ("seen", "unseen", or a source of games) plays."""
    source = {"seen": config.env.seen, "unseen": config.env.unseen}.get(panel, panel)
    owner, _, name = source.partition("/")
    known = {"small": _SHIPPED, "full": _SHIPPED, "official": official.ALFWORLD_SPLITS}.get(owner, {})
    number = known.get(name, _LARGE_PANEL)
    return min(number, config.evaluation.limit_of(panel) or number)


def _playing_s(config: RunConfig, device: Device, games: int) -> float:
    """Seconds of one evaluation of so many games, `evaluation.batch` at a time."""
    at_once = max(2, min(games, config.evaluation.batch))
    alone = replace(config, optim=replace(config.optim, groups=1, group_size=at_once))
    return math.ceil(games / at_once) * estimate(alone, device).rollout_s
