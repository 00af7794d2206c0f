"""Settings with another estimator: with the advantage, the settings that belong to its recipe."""

import dataclasses

from actre.config.estimators import ESTIMATORS
from actre.config.presets import PRESETS
from actre.config.run import RunConfig
from actre.types import ActreError


def with_estimator(config: RunConfig, name: str) -> RunConfig:
    """The settings with `optim.advantage` and all that its row of ESTIMATORS sets.

    What the earlier estimator's recipe had set returns to the preset's value. Raises ActreError for an unknown name.

    >>> made = with_estimator(PRESETS["tiny"], "dr_grpo")
    >>> made.optim.advantage, made.optim.normalise, made.optim.clip_high
    ('dr_grpo', 'constant', 0.2)
    >>> with_estimator(made, "grpo") == PRESETS["tiny"]
    True
    """
    if name not in ESTIMATORS:
        raise ActreError(f"unknown estimator {name!r}; the estimators are: {', '.join(ESTIMATORS)}")
    if name == config.optim.advantage:
        return config
    plain = PRESETS.get(config.preset, RunConfig()).optim
    back = {setting: getattr(plain, setting) for setting in ESTIMATORS[config.optim.advantage].sets}
    values = {**back, **ESTIMATORS[name].sets, "advantage": name}
    return dataclasses.replace(config, optim=dataclasses.replace(config.optim, **values))
