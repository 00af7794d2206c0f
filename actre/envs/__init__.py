"""The environments, as gymnasium environments with text in and out. Importing this registers their names.

import gymnasium, actre.envs
env = gymnasium.make("actre/Alfworld-v0", games=["small/train#..."])
env = gymnasium.make("actre/Webshop-v0", catalogue="data/webshop")
"""

import gymnasium

if "actre/Alfworld-v0" not in gymnasium.registry:
    gymnasium.register(id="actre/Alfworld-v0", entry_point="actre.envs.alfworld.env:AlfworldEnv")
if "actre/Webshop-v0" not in gymnasium.registry:
    gymnasium.register(id="actre/Webshop-v0", entry_point="actre.envs.webshop.env:WebshopEnv")
