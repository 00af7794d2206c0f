"""The arms of a study by name: which orders are trained in turn, and which settings differ.

Two arms differ in their row of ARMS and in nothing else: budget, seed and everything else come from the settings they
are made of. A row is all that a new arm needs.

actre and tfpi are the same two stages but for what precedes the action in the first one. Three switches separate them:
the prompt and its tag (the stage's order, act_first or no_think), the gradient on the first stage's rationale
(`OptimConfig.train_thought`), and the rationale's presence in later prompts (`PromptConfig.history_thoughts`). With the
latter two off, act_first equals no_think but for its wording.

tfpi is harsher than TFPI (arXiv 2509.26226), whose first stage closes the thought at once but lets the reply write its
work after </think>: here a no_think reply is the bare action. Other rivals are estimators (`actre.config.estimators`).
"""

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

from actre.config.estimators import ESTIMATORS
from actre.config.run import RunConfig, StageConfig
from actre.types import ActreError, Order

FIRST_SHARE = 1 / 3
"""The first stage's share of the iterations, for arms of two stages made of settings with another number of stages."""
MATCH_EVERY = 5
"""think_first_hot: iterations between matches of the temperature."""
HIGH_CLIP = 0.4
"""think_first_clip: clip_high (the presets have DAPO's 0.28 or GRPO's 0.2)."""
BONUS = 0.01
"""think_first_bonus: weight of the entropy bonus."""

MIXED_SHARE = 0.1
"""mixed_orders: the share of each stage's groups in the other stage's order."""


class Arm(NamedTuple):
    """One arm. orders: of its stages; label: its name on pages; sets: what else it changes.

    has: whether settings carry that change, by which `name_of` recognises the arm; None if the orders alone make it.
    """

    orders: tuple[Order, ...]
    label: str
    about: str
    sets: Callable[[RunConfig], RunConfig] = lambda config: config
    has: Callable[[RunConfig], bool] | None = None


def _hot(config: RunConfig) -> RunConfig:
    return replace(config, stages=tuple(replace(stage, match_every=MATCH_EVERY) for stage in config.stages))


def _high_clip(config: RunConfig) -> RunConfig:
    if config.optim.updates_per_batch == 1:
        raise ActreError(
            "think_first_clip equals think_first with one update per batch, because the probability ratio is then 1 "
            "and nothing is clipped: set optim.updates_per_batch to 2 or more, in all arms that are compared"
        )
    return replace(config, optim=replace(config.optim, clip_high=HIGH_CLIP))


def _bonus(config: RunConfig) -> RunConfig:
    return replace(config, optim=replace(config.optim, entropy_coef=BONUS))


def _shuffled(config: RunConfig) -> RunConfig:
    first, *rest = config.stages
    return replace(config, stages=(replace(first, rationale="shuffled"), *rest))


def _mixed(config: RunConfig) -> RunConfig:
    first, second = config.stages
    stages = (
        replace(first, other_order=second.order, other_share=MIXED_SHARE),
        replace(second, other_order=first.order, other_share=MIXED_SHARE),
    )
    return replace(config, stages=stages)


ARMS: dict[str, Arm] = {
    "think_first": Arm(("think_first",), "think-first alone", "reason, then act, throughout: the baseline"),
    "act_first": Arm(("act_first",), "act-first alone", "act, then explain, throughout"),
    "no_think": Arm(("no_think",), "no-think alone", "the action alone, throughout"),
    "tfpi": Arm(
        ("no_think", "think_first"),
        "no-think, then think-first",
        "no thoughts, then think-first (after TFPI, arXiv 2509.26226, whose first stage is milder: its replies have an "
        "empty thought but still write their work after </think>)",
    ),
    "actre": Arm(("act_first", "think_first"), "ActRe", "act-first, then think-first"),
    "actre_shuffled": Arm(
        ("act_first", "think_first"),
        "ActRe, shuffled rationales",
        "ActRe whose first stage gets each rationale from another step: explaining, or regularising? "
        "(after arXiv 2406.14511)",
        _shuffled,
        lambda config: any(stage.rationale == "shuffled" for stage in config.stages),
    ),
    "mixed_orders": Arm(
        ("act_first", "think_first"),
        "ActRe, mixed orders",
        "ActRe whose stages keep 10 % of their groups in the other stage's order (ours, after arXiv 2504.07912)",
        _mixed,
        lambda config: any(stage.other_order is not None for stage in config.stages),
    ),
    "think_first_hot": Arm(
        ("think_first",),
        "think-first, matched temperature",
        "think-first, at the temperature where its action entropy equals act-first's",
        _hot,
        lambda config: any(stage.match_every for stage in config.stages),
    ),
    "think_first_bonus": Arm(
        ("think_first",),
        "think-first, entropy bonus",
        "think-first with an entropy bonus",
        _bonus,
        lambda config: config.optim.entropy_coef != ESTIMATORS[config.optim.advantage].sets.get("entropy_coef", 0.0),
    ),
    "think_first_clip": Arm(
        ("think_first",),
        "think-first, higher clip",
        "think-first with a higher upper clip",
        _high_clip,
        lambda config: config.optim.clip_high == HIGH_CLIP,
    ),
}


def arm(name: str, config: RunConfig) -> RunConfig:
    """The settings of an arm: those of `config`, with the arm's stages and changes.

    The iterations add up to those of `config`. The first of two stages has as many as in `config` if that has two, else
    a third. Raises ActreError for an unknown name, and for settings that already carry another arm's change.

    >>> settings = RunConfig(stages=(StageConfig("act_first", 10), StageConfig("think_first", 20)))
    >>> [(stage.order, stage.iterations) for stage in arm("tfpi", settings).stages]
    [('no_think', 10), ('think_first', 20)]
    >>> arm("think_first_bonus", settings).optim.entropy_coef
    0.01
    """
    if name not in ARMS:
        raise ActreError(f"unknown arm {name!r}; the arms are: {', '.join(ARMS)}")
    chosen = ARMS[name]
    made = chosen.sets(replace(config, stages=_stages(chosen.orders, config)))
    if (other := name_of(made)) not in (name, None):  # None: settings that no arm has
        raise ActreError(
            f"with these settings {name} would be {other}, whose change they already carry: start from a preset, or "
            "from settings without it"
        )
    return made


def _stages(orders: tuple[Order, ...], config: RunConfig) -> tuple[StageConfig, ...]:
    """The config's stages with the arm's orders; if their numbers differ, the last stage keeps its settings."""
    whole, last = config.iterations, config.stages[-1]
    if len(orders) == 1:
        return (replace(last, order=orders[0], iterations=whole),)
    if whole < 2:
        raise ActreError(f"{len(orders)} stages need at least one iteration each, but the settings have {whole}")
    if len(config.stages) == 2:
        first = replace(config.stages[0], order=orders[0])
    else:
        first = StageConfig(orders[0], min(whole - 1, max(1, round(whole * FIRST_SHARE))))
    return first, replace(last, order=orders[1], iterations=whole - first.iterations)


def name_of(config: RunConfig) -> str | None:
    """The name of the arm that these settings make, whatever they were asked for as; None if it has no name.

    >>> name_of(RunConfig(stages=(StageConfig("no_think", 10), StageConfig("think_first", 20))))
    'tfpi'
    """
    orders = tuple(stage.order for stage in config.stages)
    changed = [name for name, one in ARMS.items() if one.has is not None and one.has(config)]
    named = changed[:1] or [name for name, one in ARMS.items() if one.has is None]
    return next((name for name in named if ARMS[name].orders == orders), None)
