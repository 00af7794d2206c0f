"""Locks on folders, so that two processes do not overwrite each other's files."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from actre.types import ActreError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

LOCK = ".lock"

held: set[int] = set()
"""Descriptors of the locks that this process holds. Jobs inherit them (processes.start), so that a lock lasts as long
as any job that was started under it, even one whose parent was killed."""


@contextmanager
def locked(folder: Path, doing: str) -> Iterator[None]:
    """Lock a folder, which is made if it is missing; `doing` completes "another process ...".

    Raises ActreError if another process holds it. A file system without locks locks nothing.
    """
    if fcntl is None:
        yield
        return
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / LOCK).open("a") as file:  # closed, and so unlocked, however the process ends
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ActreError(
                f"another process {doing} {folder}: wait for it, or end it (a command that was killed leaves its jobs "
                "running), then the same command again"
            ) from error
        except OSError:
            pass
        held.add(file.fileno())
        try:
            yield
        finally:
            held.discard(file.fileno())
