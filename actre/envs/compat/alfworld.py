"""alfworld's own interface on the fast engine: `get_environment(type)(config, train_eval).init_env(batch_size)`.

Follows alfworld 0.4.2 (AlfredTWEnv) and textworld 1.7.0 (TextworldBatchGymEnv): the same answers, the same order of
games for the same files and seed, all games in one process.

Differs: games are found as `actre.runtime.game_files` says (a game without the mark "solvable" is played); a path may
also name a panel; the expert's plan is this project's (`actre.envs.alfworld.expert`), because the stock one looks for a
command that its grammar no longer has; a command that is no string answers "Nothing happens.".
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from actre.envs.alfworld import list_games, read_game
from actre.envs.compat.batch import Batch, Order
from actre.runtime.game_files import DATA, GAME, find_games, task_data
from actre.types import ActreError

SPLITS = {
    "train": "data_path",
    "eval_in_distribution": "eval_id_data_path",
    "eval_out_of_distribution": "eval_ood_data_path",
}
SHIPPED = {"train": "full/train", "eval_in_distribution": "full/seen", "eval_out_of_distribution": "full/unseen"}
TASK_TYPES = {
    1: "pick_and_place_simple",
    2: "look_at_obj_in_light",
    3: "pick_clean_then_place_in_recep",
    4: "pick_heat_then_place_in_recep",
    5: "pick_cool_then_place_in_recep",
    6: "pick_two_obj_and_place",
}


def get_environment(env_type: str) -> "type[AlfredTWEnv]":
    """alfworld's look-up. Raises ActreError for another type than "AlfredTWEnv"."""
    if env_type != "AlfredTWEnv":
        raise ActreError(f"the environment type {env_type!r} is not here: only the text worlds (AlfredTWEnv) are")
    return AlfredTWEnv


class AlfredTWEnv:
    """The games of one split; `init_env` plays them in batches.

    config: alfworld's (the dict in its YAML file). A path in it may also name a panel ("small/train",
    "official/train"). None: the shipped full-size panels with alfworld's default settings. train_eval: "train",
    "eval_in_distribution" or "eval_out_of_distribution".
    """

    def __init__(self, config: Mapping[str, Any] | None = None, train_eval: str = "train") -> None:
        if train_eval not in SPLITS:
            raise ActreError(f"train_eval is {train_eval!r}: it is one of {', '.join(SPLITS)}")
        self.config, self.train_eval = config, train_eval
        data = {} if config is None else config["dataset"]
        source = data.get(SPLITS[train_eval], SHIPPED[train_eval])
        kinds = {1, 2, 3, 4, 5, 6} if config is None else config["env"]["task_types"]
        self.game_files = _collect(str(source), {TASK_TYPES[kind] for kind in kinds if kind in TASK_TYPES})
        most = int(data.get("num_train_games" if train_eval == "train" else "num_eval_games", -1))
        self.game_files = self.game_files[:most] if most > 0 else self.game_files
        self.num_games = len(self.game_files)
        if config is not None and train_eval == "train" and config["env"].get("domain_randomization"):
            raise ActreError("domain_randomization renames the objects of a game, which is not here: set it to False")

    def init_env(self, batch_size: int, order: Order = "shuffled") -> Batch:
        """An environment that plays `batch_size` games at once."""
        method = "dqn" if self.config is None else self.config["general"]["training_method"]
        if method not in ("dqn", "dagger"):
            raise ActreError(f"training_method is {method!r}: it is dqn or dagger")
        limit = 50
        if self.config is not None:
            training = self.config["dagger" if method == "dagger" else "rl"]["training"]
            limit = training["max_nb_steps_per_episode"]
        return Batch(self.game_files, batch_size, limit, order, method == "dagger" and self.train_eval == "train")


def _collect(source: str, kinds: set[str]) -> list[str]:
    """The games of a folder in the order in which alfworld finds them, or of a panel in its own."""
    folder = os.path.expandvars(os.path.expanduser(source))
    if not os.path.isdir(folder):
        return [game for game in list_games(source) if read_game(game).task_type in kinds]
    kept = {str(path) for path in find_games(Path(folder)).games}
    walked = [os.path.join(place, GAME) for place, _, names in os.walk(folder, topdown=False) if DATA in names]
    games = [path for path in walked if path in kept and task_data(Path(path)).get("task_type") in kinds]
    return games or [path for path in list_games(folder) if read_game(path).task_type in kinds]
