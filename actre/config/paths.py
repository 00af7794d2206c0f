"""Expands `~`, `~name`, `$VARIABLE` and `${VARIABLE}` in paths that people write.

Every path from a command line, a setting or an environment variable goes through here: a shell expands none of these
inside quotes, in a configuration file or after an equals sign.
"""

import os
import re
from pathlib import Path

from actre.types import ActreError

_VARIABLE = re.compile(r"\$(?:\{([^}]*)\}|([A-Za-z_][A-Za-z0-9_]*))")
_DEPTH = 8
"""How deep variables may refer to other variables."""


def expand(text: str) -> str:
    """Expand the variables and the home folder in a path, or in a name that may be a path.

    Raises ActreError for a variable that is unset or empty and for an unknown user, unless a file of that very name
    exists: `$` and `~` are allowed in file names.

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
                f"the path {text!r} uses the variable {unset or '${}'}, which is not set: "
                f"`export {unset or 'NAME'}=FOLDER`, or write the path out"
            )
        found = _VARIABLE.sub(lambda match: os.environ[match[1] or match[2]], found)
    else:
        raise ActreError(f"the path {text!r} uses variables that refer to each other: write the path out")
    home = os.path.expanduser(found)
    if not home.startswith("~") or os.path.lexists(home):
        return home
    user = home[1:].partition("/")[0]
    why = f"there is no user {user!r}" if user else "the home folder is unknown: `export HOME=FOLDER`"
    raise ActreError(
        f"the path {text!r} starts with a home folder, but {why}; for a folder of that name write ./{home}"
    )


def place(text: str | Path) -> Path:
    """The expanded path (see `expand`); argparse's `type` for every path on a command line."""
    return Path(expand(str(text)))


def variable(name: str) -> Path | None:
    """The path in an environment variable; None if it is unset or empty. Raises ActreError as `expand` does."""
    text = os.environ.get(name)
    if not text:
        return None
    try:
        return place(text)
    except ActreError as error:
        raise ActreError(f"{name}: {error}") from error


def data_root() -> Path:
    """Where shipped data belong: $ACTRE_DATA, else data/ of the checkout, or its copy inside an installed package.

    The folder need not exist. A wheel holds the games, the shop, the probes, the studies and the tiny policies that
    the quickstart needs (setup.py, pyproject.toml); the rest is in the checkout only.
    """
    package = Path(__file__).resolve().parents[1]
    copy = package / "_data"
    return variable("ACTRE_DATA") or (copy if copy.is_dir() else package.parent / "data")


def data_folder() -> Path:
    """The folder of shipped data (see `data_root`). Raises ActreError if it is not a folder."""
    folder = data_root()
    if not folder.is_dir():
        raise ActreError(
            f"{folder} is not a folder, so the shipped games and policies are missing: "
            "install the package again, or set ACTRE_DATA to the data folder of a checkout"
        )
    return folder
