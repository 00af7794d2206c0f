"""What is measured during training to see a collapse while it happens, beside the action entropies.

Retrieval (retrieval.py), and every order played on a small fixed panel (`actre.rollout.pass_at`). Each has a random
stream of its own, so that neither changes the entropies, nor training.
"""

from collections.abc import Callable, Sequence
from typing import Any

import gymnasium

from actre.config import RunConfig, derive_seed
from actre.entropy.probes import Probe
from actre.entropy.records import interval_json
from actre.entropy.retrieval import measured
from actre.policies import Policy
from actre.rollout import make_envs
from actre.rollout.evaluate import panel_env, panel_games
from actre.rollout.pass_at import PassAt, play_often, summarised
from actre.types import ORDERS

PANEL = "unseen"
"""The panel of the games that are played."""


def collapse_measure(config: RunConfig, probes: Sequence[Probe]) -> Callable[[Policy, int], dict[str, Any]]:
    """A function (policy, iterations done) -> further fields of a line of entropy.jsonl, as `config.probe` asks.

    thought_state_information (nats) and retrieval_accuracy: intervals over states; retrieval_chance, retrieval_states.
    orders: a list with success, pass@k, admissible and distinct trajectories of each order on the panel.
    """
    envs: list[gymnasium.Env] = []

    def measure(policy: Policy, iteration: int) -> dict[str, Any]:
        found: dict[str, Any] = {}
        if config.probe.retrieval_states:
            seed = derive_seed(config.seed, "retrieval", iteration)
            found |= _retrieval(policy, probes, config, seed)
        if config.probe.panel_games:
            envs.extend(make_envs(panel_env(config, PANEL), _at_once(config) - len(envs)))
            found["orders"] = [order_record(one) for one in every_order(policy, envs, config, iteration)]
        return found

    return measure


def every_order(policy: Policy, envs: Sequence[gymnasium.Env], config: RunConfig, iteration: int) -> list[PassAt]:
    """Each order on the fixed panel, at the temperature of training, with pass@k for k = 1, 2, 4, ..."""
    games, episodes = chosen(panel_games(config, PANEL), config.probe.panel_games), config.probe.panel_episodes
    found = []
    for order in ORDERS:
        found += play_often(
            policy,
            envs,
            games,
            panel=PANEL,
            renderer=policy.renderer(config.prompt, order),
            config=config,
            temperature=config.sampling.temperature,
            episodes=episodes,
            seed=derive_seed(config.seed, "panel", iteration, order),
        )
    return summarised(found, powers(episodes))


def chosen(games: Sequence[str], n: int) -> list[str]:
    """n games at equal distances in the panel, or all if there are fewer.

    >>> chosen(["a", "b", "c", "d", "e", "f"], 3)
    ['a', 'c', 'e']
    """
    n = min(n, len(games))
    return [games[i * len(games) // n] for i in range(n)]


def powers(most: int) -> list[int]:
    """1, 2, 4, ... up to `most`.

    >>> powers(6)
    [1, 2, 4]
    """
    return [2**i for i in range(most.bit_length())]


def order_record(one: PassAt) -> dict[str, Any]:
    """One order's result as JSON; success is pass@1."""
    return {
        "order": one.order,
        "games": one.games,
        "episodes": one.episodes,
        "success": interval_json(one.pass_at[1]),
        "pass_at": {str(k): interval_json(band) for k, band in one.pass_at.items()},
        "admissible": one.admissible,
        "distinct_trajectories": one.distinct,
        "steps": one.steps,
    }


def _retrieval(policy: Policy, probes: Sequence[Probe], config: RunConfig, seed: int) -> dict[str, Any]:
    found = measured(policy, probes, config, seed=seed)
    return {
        "thought_state_information": interval_json(found.information),
        "retrieval_accuracy": interval_json(found.accuracy),
        "retrieval_chance": found.chance,
        "retrieval_states": found.states,
    }


def _at_once(config: RunConfig) -> int:
    return min(config.evaluation.batch, config.probe.panel_games * config.probe.panel_episodes)
