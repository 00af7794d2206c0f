"""verl-agent's environments without Ray: `build_alfworld_envs` and `build_webshop_envs`, all games in this process.

The calls, returned forms, rewards (10 for a win, else 0) and draws of goals are those of verl-agent's
agent_system/environments (read in public copies of 2025-26), so its EnvironmentManager works on top unchanged.

Differs: Ray and `resources_per_worker` are not used. Goals are in the order of the published split for every worker;
there each worker shuffles by its own seed, so that test goals are trained on. After a purchase the answer is the page
of the purchase, not the first page of another goal, until the next reset. `env_kwargs={"distinct": True}` plays each
ALFWorld game of a split once before any is repeated.
"""

import importlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from actre.envs.compat.alfworld import AlfredTWEnv
from actre.envs.compat.batch import Batch
from actre.envs.compat.verl_webshop import WIN, WebshopEnvs, build_webshop_envs, must_be
from actre.types import ActreError

__all__ = ["AlfworldEnvs", "WebshopEnvs", "build_alfworld_envs", "build_webshop_envs"]


class AlfworldEnvs:
    """env_num games, each played by group_n slots. See `build_alfworld_envs`."""

    def __init__(
        self, config: Any, seed: int, env_num: int, group_n: int, is_train: bool, env_kwargs: Mapping[str, Any]
    ):
        split = "train" if is_train else env_kwargs.get("eval_dataset", "eval_in_distribution")
        base = AlfredTWEnv(_read(config), split)
        self.num_processes, self.group_n, self.multi_modal = env_num * group_n, group_n, False
        self._workers = [base.init_env(1) for _ in range(self.num_processes)]
        self._distinct: Batch | None = base.init_env(1) if env_kwargs.get("distinct") else None
        if self._distinct is not None:
            self._distinct.seed(seed)
        for number, worker in enumerate(self._workers):
            worker.seed(seed + number // group_n)
        self._commands: list[list[str]] = [[] for _ in self._workers]

    def reset(self) -> tuple[list[str], None, list[dict[str, Any]]]:
        """(texts, None for images, infos)."""
        if self._distinct is None:
            answers = [worker.reset() for worker in self._workers]
        else:
            games = [self._distinct.next_game() for _ in range(self.num_processes // self.group_n)]
            answers = [worker.start([games[k // self.group_n]]) for k, worker in enumerate(self._workers)]
        return [texts[0] for texts, _ in answers], None, self._noted([infos for _, infos in answers])

    def step(self, actions: Sequence[str]) -> tuple[list[str], None, list[float], list[bool], list[dict[str, Any]]]:
        """(texts, None for images, rewards, dones, infos)."""
        must_be(len(actions), self.num_processes)
        answers = [worker.step([action]) for worker, action in zip(self._workers, actions, strict=True)]
        infos = self._noted([answer[3] for answer in answers])
        rewards = [WIN * info["won"] for info in infos]
        return [answer[0][0] for answer in answers], None, rewards, [answer[2][0] for answer in answers], infos

    @property
    def get_admissible_commands(self) -> list[list[str]]:
        """The admissible commands of each slot (a property there, too)."""
        return self._commands

    def close(self) -> None:
        """Nothing to end."""

    def _noted(self, found: Sequence[Mapping[str, list[Any]]]) -> list[dict[str, Any]]:
        infos = [{key: values[0] for key, values in info.items()} for info in found]
        self._commands = [info["admissible_commands"] for info in infos]
        return infos


def build_alfworld_envs(
    alf_config_path: str | Path | Mapping[str, Any] | None,
    seed: int,
    env_num: int,
    group_n: int,
    resources_per_worker: Any = None,
    is_train: bool = True,
    env_kwargs: Mapping[str, Any] | None = None,
) -> AlfworldEnvs:
    """alf_config_path: alfworld's YAML file, what is in it, or None for the shipped games."""
    return AlfworldEnvs(alf_config_path, seed, env_num, group_n, is_train, env_kwargs or {})


def _read(config: Any) -> Mapping[str, Any] | None:
    if not isinstance(config, str | Path):
        return config  # type: ignore[no-any-return]
    try:
        yaml = importlib.import_module("yaml")
    except ModuleNotFoundError as error:
        raise ActreError(
            "reading alfworld's YAML file needs PyYAML: pip install pyyaml, or pass its content"
        ) from error
    return yaml.safe_load(Path(config).read_text())  # type: ignore[no-any-return]
