"""What an environment is called in the settings. `actre.envs` says how the name is looked up."""

import re

from actre.types import ActreError

EnvName = str
"""One of ENV_NAMES, a gymnasium id, or an import path."""
ENV_NAMES: tuple[EnvName, ...] = ("alfworld", "webshop")
"""The built-in environments."""
ENV_HELP = "alfworld, webshop, or another environment: a gymnasium id or an import path, my_module:factory"
"""What the option --env takes, for --help."""

_OUTSIDE = re.compile(r"^\S+[:/]\S+$|^\S+-v\d+$")


def must_name_an_env(name: EnvName) -> None:
    """Raises ActreError for a name that is neither built in nor written like a gymnasium id or an import path."""
    if name not in ENV_NAMES and not (isinstance(name, str) and _OUTSIDE.search(name)):
        raise ActreError(
            f"env.name is {name!r}, which is no environment; there are: {', '.join(ENV_NAMES)}, and any other by its "
            "gymnasium id (my_package:My/Env-v0) or import path (my_module:factory)"
        )
