"""Paths as people write them: `~`, `~name`, `$VARIABLE` and `${VARIABLE}` become what they stand for.

Every path that comes from a command line, a setting or an environment variable goes through here: a shell expands none
of these inside quotes, in a configuration file or behind an equals sign. Knows no command and no setting.
"""

import os
import re
from pathlib import Path

from actre.types import ActreError

_VARIABLE = re.compile(r"\$(?:\{([^}]*)\}|([A-Za-z_][A-Za-z0-9_]*))")
_DEPTH = 8
"""How often what a variable holds may name further variables."""


def expand(text: str) -> str:
    """A path, or a name that may be a path, with its variables and its home folder filled in; anything else as it is.

    Raises ActreError for a variable that is not set (or empty) and for a user that there is not, unless something lies
    under the very name: `$` and `~` are allowed in names.

    >>> os.environ["SOME_DISK"] = "/mnt/disk"
    >>> expand("$SOME_DISK/games"), expand("${SOME_DISK}"), expand("small/train"), expand("cost_5$")
    ('/mnt/disk/games', '/mnt/disk', 'small/train', 'cost_5$')
    """
    found = text
    for _ in range(_DEPTH):
        names = [braced or plain for braced, plain in _VARIABLE.findall(found)]
        if not names:
            break
        unset = next((name for name in names if not os.environ.get(name)), None)
        if unset is not None:
            if os.path.lexists(found):
                return found
            raise ActreError(
                f"the path {text!r} names the variable {unset or '${}'}, which is not set: "
                f"`export {unset or 'NAME'}=FOLDER`, or write the path out"
            )
        found = _VARIABLE.sub(lambda match: os.environ[match[1] or match[2]], found)
    else:
        raise ActreError(f"the path {text!r} names variables that name each other: write the path out")
    home = os.path.expanduser(found)
    if not home.startswith("~") or os.path.lexists(home):
        return home
    user = home[1:].partition("/")[0]
    why = f"there is no user {user!r} here" if user else "the home folder is not known here: `export HOME=FOLDER`"
    raise ActreError(f"the path {text!r} begins with a home folder, and {why}; a folder of that name is ./{home}")


def place(text: str | Path) -> Path:
    """The path that a text stands for (see `expand`); argparse's `type` for every path of a command line."""
    return Path(expand(str(text)))


def variable(name: str) -> Path | None:
    """The path that an environment variable holds; None where it is not set or empty. Raises ActreError as `expand`."""
    text = os.environ.get(name)
    if not text:
        return None
    try:
        return place(text)
    except ActreError as error:
        raise ActreError(f"{name}: {error}") from error
