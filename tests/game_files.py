"""Game files for tests: a generated game written as alfworld writes one, with what is asked of it changed."""

import json
from functools import lru_cache
from pathlib import Path
from typing import Any

from actre.envs.alfworld import games

OFFICIAL_NAME = "pick_and_place_simple-Mug-None-Shelf-1"


@lru_cache(maxsize=64)
def generated(task_type: str | None = None) -> games.Game:
    """The first shipped small unseen game, of a type if one is named."""
    found = (games.read_game(path) for path in games.list_games("small/unseen"))
    return next(game for game in found if task_type in (None, game.task_type))


def write(folder: Path, task: str | None = None, data: Any = None, game: games.Game | None = None, **raw: Any) -> Path:
    """A game file in a folder, asking for `task`; data: what traj_data.json beside it says; raw: other fields."""
    game = game or generated()
    folder.mkdir(parents=True, exist_ok=True)
    grammar = game.grammar if task is None else game.grammar.replace(game.task, task)
    fields = {"pddl_domain": game.pddl_domain, "grammar": grammar, "pddl_problem": game.pddl_problem}
    (folder / "game.tw-pddl").write_text(json.dumps({**fields, "solvable": True, **raw}))
    if data is not None:
        (folder / "traj_data.json").write_text(data if isinstance(data, str) else json.dumps(data))
    return folder / "game.tw-pddl"
