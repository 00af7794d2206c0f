"""The environments, as gymnasium environments with text in and out. Importing this registers their names.

import gymnasium, actre.envs
env = gymnasium.make("actre/Alfworld-v0", games=["small/train#..."])
"""

import gymnasium

if "actre/Alfworld-v0" not in gymnasium.registry:
    gymnasium.register(id="actre/Alfworld-v0", entry_point="actre.envs.alfworld.env:AlfworldEnv")
