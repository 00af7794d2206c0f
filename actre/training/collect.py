"""An iteration's episodes: each process plays its share of the games, and all processes get all episodes.

Next: batch.py.
"""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace

from actre.config import RunConfig, derive_seed
from actre.envs.not_played import named
from actre.policies import Policy
from actre.rollout import make_envs, must_start, rollout
from actre.runtime import ranks
from actre.runtime.out_of_memory import EpisodesAtOnce
from actre.training.engines import Engine
from actre.training.sharded.replicated import Replicated, TornError
from actre.training.stages import Plan
from actre.types import ActreError, Trajectory

Play = Callable[[Plan], list[Trajectory]]
"""Plays every game of a plan group_size times with the current weights, and sets `Trajectory.group`."""


def player(config: RunConfig, engine: Engine) -> Play:
    """A `Play` function with its own environments, as many as this process's share needs.

    When a GPU runs out of memory, half as many episodes are played at once from then on (see EpisodesAtOnce).
    """
    share = ranks.part_of(range(config.optim.groups), ranks.rank(), ranks.count())[1]
    envs = make_envs(config.env, max(1, len(share)) * config.optim.group_size)
    at_once = EpisodesAtOnce(len(envs), ranks.count())

    def play(wanted: Plan) -> list[Trajectory]:
        engine.refresh()
        if not wanted.games:
            return []
        played = [one for part in parts_of(wanted) for one in play_part(*part, shuffled=wanted.shuffled)]
        engine.rest()
        return sorted(played, key=lambda one: one.group or 0)  # stable: a group's members keep their places

    def play_part(part: Plan, places: Sequence[int], *, shuffled: bool) -> list[Trajectory]:
        played = rollout(
            engine.policy,
            envs[: at_once.most],
            part.games,
            renderer=engine.policy.renderer(config.prompt, part.order),
            sampling=config.sampling,
            temperature=part.temperature,
            max_steps=config.env.max_steps,
            seed=part.seed,
            group_size=config.optim.group_size,
            must_start=False,  # all games of one share may be bad; the trainer handles it
            shuffled=shuffled,
        )
        return [replace(one, group=places[one.group or 0]) for one in played]

    return lambda wanted: at_once.run(lambda _: play(wanted), undo=engine.rest)


def parts_of(plan: Plan) -> list[tuple[Plan, list[int]]]:
    """The plan by order: for each order a plan of its own, and the places of its games in the whole.

    >>> from actre.training.stages import Plan
    >>> parts = parts_of(Plan(1, 0, "act_first", 1.0, ("a", "b"), 7, ("act_first", "no_think")))
    >>> [(part.order, part.games, places) for part, places in parts]
    [('act_first', ('a',), [0]), ('no_think', ('b',), [1])]
    """
    orders = plan.orders or (plan.order,) * len(plan.games)
    found = []
    for order in dict.fromkeys(orders):
        places = [i for i, one in enumerate(orders) if one == order]
        seed = plan.seed if order == plan.order else derive_seed(plan.seed, order)
        games = tuple(plan.games[i] for i in places)
        found.append((plan._replace(order=order, games=games, seed=seed, orders=()), places))
    return found


def must_begin(config: RunConfig, policy: Policy, games: Sequence[str]) -> None:
    """Raises ActreError if the first prompt is already too long in the order of some stage."""
    (env,) = make_envs(config.env, 1)
    orders = (order for stage in config.stages for order in (stage.order, stage.other_order) if order is not None)
    for order in dict.fromkeys(orders):
        must_start(policy, env, games, renderer=policy.renderer(config.prompt, order), sampling=config.sampling)


def collect(play: Play, plan: Plan, weights: Replicated) -> list[Trajectory]:
    """The plan's episodes. Each process plays its share of the games, and all processes get all episodes.

    weights: of the playing model. A process without games still contributes its shard of the weights. If one process
    cannot play, ActreError is raised in all of them.
    """
    if ranks.count() == 1:
        return play(plan)
    before, games = ranks.part_of(plan.games, ranks.rank(), ranks.count())
    _, orders = ranks.part_of(plan.orders, ranks.rank(), ranks.count())
    seed = derive_seed(plan.seed, "rank", ranks.rank())
    share = plan._replace(games=tuple(games), seed=seed, orders=tuple(orders))
    failed: ActreError | None = None
    played: list[Trajectory] = []
    try:
        with weights.in_step():
            played = play(share)
    except TornError:
        raise
    except ActreError as error:  # passed on: the other processes wait for these episodes
        failed = error
    shares = ranks.all_of((played, before, failed))
    errors = [error for _, _, error in shares if error is not None]
    if errors:
        raise errors[0]
    return [one for some, first, _ in shares for one in in_groups_from(first, some)]


def in_groups_from(first: int, played: Sequence[Trajectory]) -> list[Trajectory]:
    """The episodes with their groups' numbers raised by `first`, so that they join no group of earlier ones."""
    return [replace(one, group=(one.group or 0) + first) for one in played]


def warn_of_failed(played: Sequence[Trajectory], known: frozenset[str]) -> frozenset[str]:
    """Warn once about each game that could not be played, with the reason; returns all games warned about so far."""
    failed = {one.game: str(one.meta["env_error"]) for one in played if "env_error" in one.meta}
    for game, reason in failed.items():
        if game not in known:
            warnings.warn(f"an episode failed and is not trained on: {named(game, reason)}", stacklevel=2)
    return known | failed.keys()
