'''The environments, as gymnasium environments with text in and out. Importing this registers the two that are built in.

import gymnasium, actre.envs
env = gymnasium.make("actre/Alfworld-v0", games=["small/train#..."])
env = gymnasium.make("actre/Webshop-v0", catalogue="data/webshop")

The setting `env.name` selects one: "alfworld", "webshop", or an environment from outside the package, as an import path
("my_module:factory") or a gymnasium id ("my_package:My/Env-v0"). Such an environment keeps this contract:

class Corridor(gymnasium.Env):
    """Made without arguments."""

    def games(self, source: str) -> list[str]:
        """The games of a source: what the settings env.train, env.seen and env.unseen say, as "train"."""

    def reset(self, *, seed=None, options=None):
        """Start the game options["game"], the same for the same name and seed; return (text, info)."""

    def step(self, action: str):
        """Return (text, reward, terminated, truncated, info). The text also answers an action that is not possible."""

`info` holds, after reset and after each step: "admissible_commands", the list of actions possible now; "won", a bool;
"task", what the episode asks for; and, if games are of several types, "task_type". An ActreError or OSError raised in a
game ends that episode and is recorded; any other exception ends the run. The settings limit the steps of an episode.
Branches from one state (the inspector, play) need `snapshot()` and `restore(snapshot)` too.
'''

import gymnasium

if "actre/Alfworld-v0" not in gymnasium.registry:
    gymnasium.register(id="actre/Alfworld-v0", entry_point="actre.envs.alfworld.env:AlfworldEnv")
if "actre/Webshop-v0" not in gymnasium.registry:
    gymnasium.register(id="actre/Webshop-v0", entry_point="actre.envs.webshop.env:WebshopEnv")
