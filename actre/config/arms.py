"""Arms by name: what is trained first and what then, and which settings differ. Plain settings; plays and trains
nothing.

All arms take the budget, the seed and everything else from the settings they are made of, so that two arms differ in
what their names say and in nothing more.

actre and tfpi are the same two stages but for what stands before the action tag in the first one. What can separate
them is in three places, each a switch: the prompt and tag (the stage's order, act_first or no_think), the gradient on
the first stage's rationale (`OptimConfig.train_thought`), and the rationale's presence in later prompts
(`PromptConfig.history_thoughts`). With both of the latter off, act_first is no_think but for its wording.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

from actre.config.run import RunConfig, StageConfig
from actre.types import ActreError, Order

FIRST_SHARE = 1 / 3
"""Share of the iterations that the first of two stages takes where the settings name none."""
MATCH_EVERY = 5
"""think_first_hot: iterations after which the temperature is matched again."""
WIDE_CLIP = 0.4
"""think_first_clip: the upper end of the ratio's range is 1 + this (the presets have DAPO's 0.28 or GRPO's 0.2)."""
BONUS = 0.01
"""think_first_bonus: weight of the entropy bonus."""


class Arm(NamedTuple):
    """The orders of the stages, what the arm is for, and what else it sets."""

    orders: tuple[Order, ...]
    about: str
    sets: Callable[[RunConfig], RunConfig] = lambda config: config


def _hot(config: RunConfig) -> RunConfig:
    return replace(config, stages=tuple(replace(stage, match_every=MATCH_EVERY) for stage in config.stages))


def _wide_clip(config: RunConfig) -> RunConfig:
    if config.optim.updates_per_batch == 1:
        raise ActreError(
            "think_first_clip is think_first as long as there is one update a batch, for the ratio is then 1 and "
            "nothing is clipped: set optim.updates_per_batch to 2 or more, in all arms that are compared"
        )
    return replace(config, optim=replace(config.optim, clip_high=WIDE_CLIP))


def _bonus(config: RunConfig) -> RunConfig:
    return replace(config, optim=replace(config.optim, entropy_coef=BONUS))


ARMS: dict[str, Arm] = {
    "think_first": Arm(("think_first",), "reason, then act, throughout: the baseline"),
    "act_first": Arm(("act_first",), "act, then explain, throughout"),
    "no_think": Arm(("no_think",), "the action alone, throughout"),
    "tfpi": Arm(("no_think", "think_first"), "no thoughts, then think-first (after TFPI, arXiv 2509.26226)"),
    "actre": Arm(("act_first", "think_first"), "act-first, then think-first"),
    "think_first_hot": Arm(
        ("think_first",), "think-first, at the temperature where its action entropy equals act-first's", _hot
    ),
    "think_first_clip": Arm(("think_first",), "think-first with a wider clip upwards", _wide_clip),
    "think_first_bonus": Arm(("think_first",), "think-first with an entropy bonus", _bonus),
}


def arm(name: str, config: RunConfig) -> RunConfig:
    """The settings of an arm: those of `config` with the arm's stages and what it sets.

    The arm's stages take as many iterations together as the config's; the first of two as many as the config's first of
    two, else a third. Raises ActreError for a name there is not, or settings with which the arm would be another one.

    >>> settings = RunConfig(stages=(StageConfig("act_first", 10), StageConfig("think_first", 20)))
    >>> [(stage.order, stage.iterations) for stage in arm("tfpi", settings).stages]
    [('no_think', 10), ('think_first', 20)]
    >>> arm("think_first_bonus", settings).optim.entropy_coef
    0.01
    """
    if name not in ARMS:
        raise ActreError(f"no arm {name!r}; there are: {', '.join(ARMS)}")
    chosen = ARMS[name]
    made = chosen.sets(replace(config, stages=_stages(chosen.orders, config)))
    if name_of(made) not in (name, None):  # None: an arm with something of one's own beside, which has no name
        raise ActreError(
            f"with these settings {name} would be {name_of(made)}: they hold what that arm sets (a stage's match_every "
            "or thoughts=false, optim.entropy_coef, optim.clip_high); give a preset, or settings without it"
        )
    return made


def _stages(orders: tuple[Order, ...], config: RunConfig) -> tuple[StageConfig, ...]:
    """The config's stages with the arm's orders; where they are not as many, the last one's settings stay."""
    whole, last = config.iterations, config.stages[-1]
    if len(orders) == 1:
        return (replace(last, order=orders[0], iterations=whole),)
    if whole < 2:
        raise ActreError(f"{len(orders)} stages need at least one iteration each, and the settings have {whole}")
    if len(config.stages) == 2:
        first = replace(config.stages[0], order=orders[0])
    else:
        first = StageConfig(orders[0], min(whole - 1, max(1, round(whole * FIRST_SHARE))))
    return first, replace(last, order=orders[1], iterations=whole - first.iterations)


def name_of(config: RunConfig) -> str | None:
    """The name of the arm that a run with these settings is, None where it is none of them.

    What a run does decides and not what it was asked for: with the first stage's thoughts skipped, actre is tfpi.

    >>> skipped = (StageConfig("act_first", 10, thoughts=False), StageConfig("think_first", 20))
    >>> name_of(RunConfig(stages=skipped))
    'tfpi'
    """
    orders = [stage.order for stage in config.stages]
    if any(stage.match_every for stage in config.stages):
        return "think_first_hot" if orders == ["think_first"] else None
    if config.optim.entropy_coef:
        return "think_first_bonus" if orders == ["think_first"] else None
    if config.optim.clip_high == WIDE_CLIP:
        return "think_first_clip" if orders == ["think_first"] else None
    return next((name for name, one in ARMS.items() if list(one.orders) == orders), None)
