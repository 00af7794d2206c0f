"""The worlds under the interfaces of other programs, so that a trainer changes one import.

Files:
    alfworld.py    alfworld's own: get_environment, AlfredTWEnv
    batch.py       its batch of games; slot.py: one of them
    webshop.py     WebShop's own: WebAgentTextEnv
    sessions.py    its shop, goals and sessions
    verl_agent.py  verl-agent's build_alfworld_envs and build_webshop_envs, in one process (verl_webshop.py: the second)
    ragen.py       RAGEN's environment class for each world
    episode.py     an episode as a conversation, for any multi-turn trainer
    tools.py       TRL's environment_factory: a class with tools for each world
    verifiers.py   a taskset and an environment of verifiers
    openenv.py     an OpenEnv server
gymnasium needs none of this: `gymnasium.make_vec` takes the ids that `import actre.envs` registers.

Nothing here is imported before it is asked for. docs/worlds.md has ten lines for each library.
"""
