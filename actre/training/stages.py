"""What each iteration does: its stage, its games, its learning rate; what follows it. Pure functions.

Iterations count from 1; 0 is the time before the first.
"""

import math
import random
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from typing import NamedTuple

from actre.config import OptimConfig, RunConfig, StageConfig, derive_seed
from actre.types import ActreError, Order


class Plan(NamedTuple):
    """One iteration's rollout. stage counts from 0; seed is for sampling; each game is played group_size times.

    order: the stage's. orders: of each game, where not all have the stage's. shuffled: act-first replies get thoughts
    of other episodes (`StageConfig.rationale`).
    """

    iteration: int
    stage: int
    order: Order
    temperature: float
    games: tuple[str, ...]
    seed: int
    orders: tuple[Order, ...] = ()
    shuffled: bool = False


class Span(NamedTuple):
    """A stage's place in the run: its index, the iterations before it, its length."""

    stage: int
    before: int
    length: int


def span_of(stages: Sequence[StageConfig], iteration: int) -> Span:
    """The stage to which an iteration belongs; the last stage where the run has fewer.

    >>> span_of((StageConfig("act_first", 10), StageConfig("think_first", 20)), 11)
    Span(stage=1, before=10, length=20)
    """
    before = 0
    for index, stage in enumerate(stages):
        if iteration <= before + stage.iterations or index == len(stages) - 1:
            return Span(index, before, stage.iterations)
        before += stage.iterations
    raise ActreError("the run has no stage: give RunConfig.stages at least one")


def as_run(stages: Sequence[StageConfig], ended: Sequence[int]) -> tuple[StageConfig, ...]:
    """The stages with their actual lengths. ended: the last iteration of each finished stage.

    The total stays the same: the last stage gets what earlier ones left over.

    >>> planned = (StageConfig("act_first", 10), StageConfig("no_think", 5), StageConfig("think_first", 20))
    >>> [stage.iterations for stage in as_run(planned, [6])]
    [6, 5, 24]
    """
    lengths = [stage.iterations for stage in stages]
    whole = sum(lengths)
    for index, last in enumerate(ended):
        lengths[index] = last - (ended[index - 1] if index else 0)
    lengths[-1] = whole - sum(lengths[:-1])
    return tuple(replace(stage, iterations=n) for stage, n in zip(stages, lengths, strict=True))


class Decision(NamedTuple):
    """What follows an iteration. stage: the one it belonged to."""

    stage: int
    stage_ends: bool
    run_ends: bool
    measure: bool
    save: bool


def after_iteration(
    config: RunConfig,
    stages: Sequence[StageConfig],
    done: int,
    env_steps: int,
    successes: Sequence[float],
    entropy_nats: float | None = None,
) -> Decision:
    """Whether an iteration ends its stage or the run, and whether action entropy is measured and a checkpoint written.

    stages: as they have been or will be (`as_run`). done: iterations so far; successes: of each. entropy_nats: of the
    stage's order where it was measured after this iteration: a stage that ends by its entropy is decided on with it.

    >>> config = RunConfig(stages=(StageConfig("act_first", 2), StageConfig("think_first", 2)))
    >>> after_iteration(config, config.stages, 2, 0, [0.0, 0.1])
    Decision(stage=0, stage_ends=True, run_ends=False, measure=True, save=True)
    """
    span = span_of(stages, done)
    run_ends = done == config.iterations or (config.env_steps is not None and env_steps >= config.env_steps)
    stage_ends = done == span.before + span.length
    if not stage_ends and span.stage < len(stages) - 1:
        stage_ends = ends_early(stages[span.stage], successes[span.before :], entropy_nats)
    measure = run_ends or stage_ends or _is_due(config.probe.every, done)
    save = run_ends or stage_ends or _is_due(config.checkpoint.every, done)
    return Decision(span.stage, stage_ends, run_ends, measure, save)


def _is_due(every: int, done: int) -> bool:
    return bool(every) and done % every == 0


def ends_early(stage: StageConfig, successes: Sequence[float], entropy_nats: float | None) -> bool:
    """Whether what was seen ends the stage, as its `until` says.

    successes: of each of its iterations so far. entropy_nats: the action entropy of its order where it was measured
    after the last of them, else None.

    >>> flat = StageConfig("act_first", 10, until="plateau", plateau_window=2)
    >>> ends_early(flat, [0.1, 0.1, 0.2, 0.2], None), ends_early(flat, [0.1, 0.1, 0.2, 0.2, 0.2, 0.2], None)
    (False, True)
    >>> ends_early(StageConfig("act_first", 10, until="entropy", entropy_below=0.7), [0.1], 0.69)
    True
    """
    if stage.until == "plateau":
        n = stage.plateau_window
        if len(successes) < 2 * n:
            return False
        return sum(successes[-n:]) / n - sum(successes[-2 * n : -n]) / n < stage.plateau_gain
    if stage.until == "entropy":
        return entropy_nats is not None and entropy_nats < stage.entropy_below
    return False


def plan(config: RunConfig, games: Sequence[str], iteration: int) -> Plan:
    """What iteration number `iteration` (from 1) plays.

    The games come from endless shuffled passes over the panel, the same for every run with this seed whatever
    its stages, so that arms meet the same games at the same iteration.
    """
    if not games:
        raise ActreError("there is no game to train on: `actre games list` shows the panels that are here")
    index = span_of(config.stages, iteration).stage
    stage = config.stages[index]
    first = (iteration - 1) * config.optim.groups
    drawn = tuple(_nth_game(config.seed, games, first + i) for i in range(config.optim.groups))
    temperature = config.sampling.temperature if stage.temperature is None else stage.temperature
    seed = derive_seed(config.seed, "rollout", iteration)
    orders = group_orders(stage, first, config.optim.groups)
    return Plan(iteration, index, stage.order, temperature, drawn, seed, orders, stage.rationale == "shuffled")


def group_orders(stage: StageConfig, first: int, groups: int) -> tuple[Order, ...]:
    """The order of each group of an iteration; empty where all have the stage's.

    first: the groups played before it in the run. Of any n groups in a row, n * other_share have the other order, give
    or take one.

    >>> group_orders(StageConfig("act_first", 9, other_order="think_first", other_share=0.5), 1, 3)
    ('think_first', 'act_first', 'think_first')
    """
    if stage.other_order is None:
        return ()
    share = Fraction(str(stage.other_share))  # 0.1 as written, not the float beside it
    others = (math.floor((first + i + 1) * share) - math.floor((first + i) * share) for i in range(groups))
    return tuple(stage.other_order if other else stage.order for other in others)


def _nth_game(seed: int, games: Sequence[str], position: int) -> str:
    lap, place = divmod(position, len(games))
    return random.Random(derive_seed(seed, "games", lap)).sample(games, len(games))[place]


def learning_rate_factor(optim: OptimConfig, stages: Sequence[StageConfig], iteration: int) -> float:
    """The factor on the learning rate in an iteration (from 1): warm-up, then the schedule.

    schedule_at_switch "restart" runs warm-up and schedule anew in each stage, "continue" once over the whole
    run. The last iteration of a linear or cosine schedule still has a rate above 0.

    >>> stages = (StageConfig("act_first", 2), StageConfig("think_first", 2))
    >>> [learning_rate_factor(OptimConfig(schedule="linear"), stages, i) for i in (1, 2, 3, 4)]
    [1.0, 0.75, 0.5, 0.25]
    >>> restart = OptimConfig(schedule="linear", schedule_at_switch="restart")
    >>> [learning_rate_factor(restart, stages, i) for i in (1, 2, 3, 4)]
    [1.0, 0.5, 1.0, 0.5]
    """
    done, length = iteration - 1, sum(stage.iterations for stage in stages)
    if optim.schedule_at_switch == "restart":
        span = span_of(stages, iteration)
        done, length = done - span.before, span.length
    if done < optim.warmup_iterations:
        return (done + 1) / (optim.warmup_iterations + 1)
    if optim.schedule == "constant":
        return 1.0
    share = min(1.0, (done - optim.warmup_iterations) / max(1, length - optim.warmup_iterations))
    return 1.0 - share if optim.schedule == "linear" else 0.5 * (1.0 + math.cos(math.pi * share))


def must_be_possible(config: RunConfig, *, measured: bool, matched: bool) -> None:
    """Raises ActreError for settings that need a measurement where none is made, or that would have no effect."""
    by_entropy = any(stage.until == "entropy" for stage in config.stages[:-1])
    if by_entropy and not (measured and config.probe.every):
        raise ActreError(
            "a stage with until=entropy needs action entropy measured during training: set probe.every above 0, and do "
            "not switch the measurement off"
        )
    if any(stage.match_every for stage in config.stages) and not matched:
        raise ActreError("a stage has match_every above 0, but this trainer was given no `match` function")
    if config.optim.covariance == "kl" and config.optim.updates_per_batch == 1:
        raise ActreError(
            "covariance=kl (the estimator kl_cov) penalises how far the policy has moved since the batch was sampled, "
            "which is nothing at a batch's first update: --set optim.updates_per_batch=2 or more, in all runs compared"
        )
