"""The stock ALFWorld through its own batch interface, in a process of its own: python stock_batch.py < asked > told.

asked: {"config", "train_eval", "batch_size", "episodes": [[[command of each game] of each step] of each reset]}.
told: for each reset [texts, infos], and for each of its steps [texts, scores, dones, infos].
"""

import contextlib
import json
import sys
from typing import Any


def main() -> None:
    asked = json.load(sys.stdin)
    told: list[Any] = []
    with contextlib.redirect_stdout(sys.stderr):
        from alfworld.agents.environment.alfred_tw_env import AlfredTWEnv

        env = AlfredTWEnv(asked["config"], asked["train_eval"]).init_env(asked["batch_size"])
        for episode in asked["episodes"]:
            told.append([*env.reset()])
            told += [[*env.step(commands)] for commands in episode]
    json.dump(told, sys.stdout)


if __name__ == "__main__":
    main()
