'''The environments, as gymnasium environments with text in and out. Importing this registers the two that are built in.

import gymnasium, actre.envs
env = gymnasium.make("actre/Alfworld-v0", games=["small/train#..."])
env = gymnasium.make("actre/Webshop-v0", catalogue="data/webshop")

The setting `env.name` selects one: "alfworld", "webshop", or an environment from outside the package, as an import path
("my_module:factory") or a gymnasium id ("my_package:My/Env-v0"). Such an environment keeps this contract:

class Corridor(gymnasium.Env):
    """Made without arguments."""

    def games(self, source: str) -> list[str]:
        """The games of a source, which is the value of the setting env.train, env.seen or env.unseen."""

    def reset(self, *, seed=None, options=None):
        """Start the game options["game"], the same for the same name and seed; return (text, info)."""

    def step(self, action: str):
        """Return (text, reward, terminated, truncated, info). The text also answers an action that is not possible."""

After reset and after each step, `info` has "admissible_commands", the list of actions possible now; "won", a bool;
"task", what the episode asks for; and, if games are of several types, "task_type". An ActreError or OSError from reset
or step ends the episode and is recorded; any other exception ends the run. `games` raises ActreError for an unknown
source. The settings limit the steps of an episode. Branches from one state (in the inspector) need `snapshot()` and
`restore(snapshot)` too.
'''

import gymnasium

if "actre/Alfworld-v0" not in gymnasium.registry:
    gymnasium.register(id="actre/Alfworld-v0", entry_point="actre.envs.alfworld.env:AlfworldEnv")
if "actre/Webshop-v0" not in gymnasium.registry:
    gymnasium.register(id="actre/Webshop-v0", entry_point="actre.envs.webshop.env:WebshopEnv")
