"""verl-agent's WebShop environments in one process; verl_agent.py says what is kept and what differs."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from actre.envs.compat.webshop import WebAgentTextEnv
from actre.types import ActreError

WIN = 10.0
"""What a win pays, in both worlds."""


class WebshopEnvs:
    """env_num goals, each played by group_n slots. See `build_webshop_envs`."""

    def __init__(self, seed: int, env_num: int, group_n: int, is_train: bool, env_kwargs: Mapping[str, Any]):
        given = {"observation_mode": "text", **env_kwargs}
        first = WebAgentTextEnv(**given)
        self.num_processes, self.env_num, self.group_n = env_num * group_n, env_num, group_n
        self._workers = [first]
        self._workers += [WebAgentTextEnv(**{**given, "server": first.server}) for _ in range(self.num_processes - 1)]
        self._over = [True] * self.num_processes
        self._rng = np.random.RandomState(seed)
        self.goal_idxs = range(500, len(first.server.goals)) if is_train else range(500)

    def reset(self) -> tuple[list[str], list[dict[str, Any]]]:
        """(texts, infos) of goals drawn without repetition."""
        drawn = self._rng.choice(self.goal_idxs, size=self.env_num, replace=False)
        return self.start(np.repeat(drawn, self.group_n).tolist())

    def start(self, goals: Sequence[int]) -> tuple[list[str], list[dict[str, Any]]]:
        """(texts, infos) of these goals, one for each slot."""
        must_be(len(goals), self.num_processes)
        self._over = [False] * self.num_processes
        texts = [worker.reset(session=goal)[0] for worker, goal in zip(self._workers, goals, strict=True)]
        return texts, [{"available_actions": worker.get_available_actions(), "won": False} for worker in self._workers]

    def step(self, actions: Sequence[str]) -> tuple[list[str], list[float], list[bool], list[dict[str, Any]]]:
        """(texts, rewards, dones, infos); `task_score` is the purchase's own reward."""
        must_be(len(actions), self.num_processes)
        rows = [self._one(slot, action) for slot, action in enumerate(actions)]
        texts, dones, infos = (list(column) for column in zip(*rows, strict=True))
        return texts, [WIN * info["won"] for info in infos], dones, infos

    def close(self) -> None:
        """Nothing to end."""

    def _one(self, slot: int, action: Any) -> tuple[str, bool, dict[str, Any]]:
        worker = self._workers[slot]
        text, score, done, _ = worker.step("" if self._over[slot] else action)
        self._over[slot] |= done
        won = done and score == 1.0
        return text, done, {"available_actions": worker.get_available_actions(), "task_score": score, "won": won}


def build_webshop_envs(
    seed: int,
    env_num: int,
    group_n: int,
    resources_per_worker: Any = None,
    is_train: bool = True,
    env_kwargs: Mapping[str, Any] | None = None,
) -> WebshopEnvs:
    """env_kwargs: those of `WebAgentTextEnv`; without file_path it is the shipped shop."""
    return WebshopEnvs(seed, env_num, group_n, is_train, env_kwargs or {})


def must_be(given: int, slots: int) -> None:
    """Raises ActreError unless there is one action or goal for each slot."""
    if given != slots:
        raise ActreError(f"{given} actions or goals for {slots} slots: give one for each")
