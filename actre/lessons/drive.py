"""A folder of the user's Google Drive for the notebooks' runs, which then outlive a Colab session.

Tested with a stand-in for google.colab: neither Colab nor Drive has been tried.
"""

from importlib import import_module
from pathlib import Path, PurePosixPath

from actre.types import ActreError

PREFIX = "drive:"
_MOUNT = Path("/content/drive")
_MINE = "MyDrive"


def on_drive(out: str | Path) -> Path | None:
    """The folder that "drive:FOLDER" names, with Drive mounted; None for any other path.

    Colab asks for permission once a session. Raises ActreError outside Colab, and for a FOLDER that is empty, absolute
    or leads out of the Drive.
    """
    if not str(out).startswith(PREFIX):
        return None
    name = PurePosixPath(str(out).removeprefix(PREFIX).strip())
    if not name.parts or name.is_absolute() or ".." in name.parts:
        raise ActreError(f'OUT is {str(out)!r}: write "drive:FOLDER", with the name of a folder in your Drive')
    try:
        drive = import_module("google.colab.drive")  # a part of Colab, not a package to be installed
    except ImportError as error:
        raise ActreError(
            f'OUT is {str(out)!r}, but this is not Colab, so there is no Drive: OUT = "../runs/notebooks"'
        ) from error
    drive.mount(str(_MOUNT))
    return _MOUNT / _MINE / name
