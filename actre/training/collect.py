"""An iteration's episodes: each process plays its share of the games, and all get all episodes.

Knows engine and environments; not what is done with the episodes.
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
from actre.training.sharded.replicated import TornError, Whole
from actre.training.stages import Plan
from actre.types import ActreError, Trajectory

Play = Callable[[Plan], list[Trajectory]]
"""Plays every game of a plan group_size times, with `Trajectory.group` set, with the weights of now."""


def player(config: RunConfig, engine: Engine) -> Play:
    """Plays in environments of its own, as many as this process' share needs, with what the engine samples.

    Where a GPU's memory does not do, half as many episodes are played at once from then on (see EpisodesAtOnce).
    """
    share = ranks.part_of(range(config.optim.groups), ranks.rank(), ranks.count())[1]
    envs = make_envs(config.env, max(1, len(share)) * config.optim.group_size)
    at_once = EpisodesAtOnce(len(envs), ranks.count())

    def play(wanted: Plan) -> list[Trajectory]:
        engine.refresh()
        if not wanted.games:
            return []
        played = rollout(
            engine.policy,
            envs[: at_once.most],
            wanted.games,
            renderer=engine.policy.renderer(config.prompt, wanted.order),
            sampling=config.sampling,
            temperature=wanted.temperature,
            max_steps=config.env.max_steps,
            seed=wanted.seed,
            group_size=config.optim.group_size,
            must_start=False,  # a share of the games may be bad ones alone; the trainer sees to it
        )
        engine.rest()
        return played

    return lambda wanted: at_once.run(lambda _: play(wanted), undo=engine.rest)


def must_begin(config: RunConfig, policy: Policy, games: Sequence[str]) -> None:
    """Raises ActreError where in the order of some stage even the first prompt is too long."""
    (env,) = make_envs(config.env, 1)
    for order in dict.fromkeys(stage.order for stage in config.stages):
        must_start(policy, env, games, renderer=policy.renderer(config.prompt, order), sampling=config.sampling)


def play_shared(play: Play, plan: Plan, weights: Whole) -> list[Trajectory]:
    """The plan's episodes; of several processes each plays its share of the games, and all get all episodes.

    weights: of the model that plays. A process without games plays none, and gives its part of the weights.
    Raises ActreError in all of them where one of them could not play.
    """
    if ranks.count() == 1:
        return play(plan)
    before, games = ranks.part_of(plan.games, ranks.rank(), ranks.count())
    share = plan._replace(games=tuple(games), seed=derive_seed(plan.seed, "rank", ranks.rank()))
    failed: ActreError | None = None
    played: list[Trajectory] = []
    try:
        with weights.in_step():
            played = play(share)
    except TornError:
        raise
    except ActreError as error:  # the others wait for these episodes, and have to be told
        failed = error
    shares = ranks.all_of((played, before, failed))
    errors = [told for _, _, told in shares if told is not None]
    if errors:
        raise errors[0]
    return [replace(one, group=(one.group or 0) + first) for some, first, _ in shares for one in some]


def tell_of_failed(played: Sequence[Trajectory], known: frozenset[str]) -> frozenset[str]:
    """Warn of the games that could not be played, each once, with its reason; returns them with those known before."""
    failed = {one.game: str(one.meta["env_error"]) for one in played if "env_error" in one.meta}
    for game, reason in failed.items():
        if game not in known:
            warnings.warn(f"an episode failed and teaches nothing: {named(game, reason)}", stacklevel=2)
    return known | failed.keys()
