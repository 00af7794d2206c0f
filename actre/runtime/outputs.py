"""Where commands write: what a given path already holds, and what of it may be replaced.

The rule for every command is that files saved by something else stay as they are.

    a new path, an empty folder     is free
    a folder written as a whole     has a note (NOTE) of the command, its source and the files' checksums. The same
                                    command may replace it for the same source, as long as these files are unchanged
    a growing folder, like a run's  is continued if the command recognises it as its own
    a file                          is replaced if the command recognises it as its own
    anything else                   is refused, with what is there

Folders and files are written next to the old ones and replace them in one step, so that an interruption or a full disk
leaves the old ones.
"""

import errno
import glob
import gzip
import hashlib
import json
import os
import shutil
import tempfile
import uuid
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from actre.types import ActreError

NOTE = "actre-made.json"
"""File in a folder written as a whole that records what wrote it."""
_INNER = ("adapter", "checkpoints", "trajectories")
"""Folders that belong to a run."""
_NAMED = 3
"""At most this many names are listed in a message."""


class Made(NamedTuple):
    """The origin of a folder: the command, its source (such as a run's id), and the option that names the folder."""

    command: str
    of: str
    option: str = "--out"


# --- places ---


def place(path: str | Path, option: str = "--out") -> Path:
    """The absolute path, symbolic links followed, so that a link stays one.

    Raises ActreError for a path inside a folder that must not be added to: a run's adapter, checkpoints and
    trajectories, a model, an exported adapter, or a folder with a NOTE.
    """
    found = Path(path).resolve()
    for inner in (found, *found.parents):
        holder = inner.parent
        if inner.name in _INNER and (holds_settings(holder) or _is_warm_start(holder)):
            raise refusal(path, f"is inside {inner}, which belongs to the run in {holder}", option)
        if inner != found and ((inner / NOTE).is_file() or _is_model(inner) or _is_adapter(inner)):
            raise refusal(path, f"is inside {inner}, which holds {described(inner)}", option)
    return found


def refusal(path: str | Path, why: str, option: str = "--out") -> ActreError:
    """The error for a path to which nothing is written, with the reason and what to do."""
    return ActreError(f"{path} {why}; nothing was written: choose another path ({option}), or move what is there")


def described(folder: Path) -> str:
    """The content of a folder in a few words."""
    note = _note(folder)
    if note is not None:
        return f"the output of `{note.get('command')}`"
    if _is_adapter(folder):
        return "a checkpoint" if (folder / "state.json").is_file() else "an adapter"
    if _is_model(folder):
        return "a model"
    if holds_settings(folder):
        return "a run"
    if _is_warm_start(folder):
        return "a warm start"
    names = sorted(os.listdir(folder))
    return ", ".join(names[:_NAMED]) + (f" and {len(names) - _NAMED} more" if len(names) > _NAMED else "")


def visible(folder: Path) -> set[str]:
    """The names in a folder except hidden ones; empty if it does not exist."""
    return {name for name in os.listdir(folder) if not name.startswith(".")} if folder.is_dir() else set()


def holds_settings(folder: Path) -> bool:
    """Whether a folder has a config.json of this kit: of a run, an evaluation, a diagnosis, or a quickstart."""
    return "config" in _json(folder / "config.json")


def is_trained(folder: Path) -> bool:
    """Whether the folder is that of a training run."""
    return (folder / "config.json").is_file() and (folder / "metrics.jsonl").is_file()


def run_id(folder: Path) -> str:
    """The id of the run in a folder; for a run of an earlier version, its path and the digest of its settings.

    Raises FileNotFoundError if the folder has no config.json.
    """
    path = folder / "config.json"
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return str(_json(path).get("id") or f"{folder.resolve()} {digest}")


def growing(
    path: str | Path, own: Callable[[Path], bool], option: str = "--out", *, what: str = "what this command began"
) -> Path:
    """The path of a folder into which a command writes file by file.

    own: whether the command may continue in a folder that is not empty. Hidden files are ignored. Raises
    FileExistsError for a file, ActreError for a folder that holds something else, and as `place` does.
    """
    folder = place(path, option)
    if folder.exists() and not folder.is_dir():
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path))
    if visible(folder) and not own(folder):
        raise refusal(path, f"is not empty and holds {described(folder)}, which is not {what}", option)
    return folder


# --- folders written as a whole ---


def must_be_whole(path: str | Path, option: str = "--out") -> Path:
    """The path of a folder to be written as a whole, whatever it holds now.

    Raises ActreError for a file, for the current folder and its parents, for a mount point, and as `place` does.
    """
    folder = place(path, option)
    if folder.exists() and not folder.is_dir():
        raise refusal(path, "is a file, but a folder is needed", option)
    if folder.exists() and (folder in (here := Path.cwd().resolve(), *here.parents) or os.path.ismount(folder)):
        why = "is the current folder, one of its parents, or a mount point, and would be replaced as a whole"
        raise refusal(path, why, option)
    return folder


def must_be_replaceable(path: str | Path, made: Made) -> Path:
    """The path of a folder to be written as a whole, with a NOTE.

    Raises ActreError for content that this command did not write for the same source, or that was changed since, and as
    `must_be_whole` does.
    """
    folder = must_be_whole(path, made.option)
    if not folder.exists() or not os.listdir(folder):
        return folder
    note, changed = _note(folder) or {}, []
    if note.get("command") != made.command:
        why = f"holds {described(folder)}, which `{made.command}` did not write"
    elif note.get("of") != made.of:
        why = f"holds the output of `{made.command}` for another run"
    else:
        changed = _changed(folder, note)
        why = f"holds {', '.join(changed[:_NAMED])}, changed or added since `{made.command}` wrote it"
        if not changed:
            return folder
    raise refusal(path, f"{why}, and would be replaced as a whole", made.option)


@contextmanager
def replacing(path: str | Path, made: Made | None = None) -> Iterator[Path]:
    """A temporary folder that replaces `path` once everything is written.

    made: its origin; `path` is then checked by `must_be_replaceable` before and after, and gets a NOTE. None: the
    folder is the caller's own. In any case either the old folder or the new one is complete. If the process is killed
    between the two renames, the old folder lies next to `path`, and the next call restores it.
    """
    folder = Path(path).resolve()
    _put_back(folder)
    if made is not None:
        must_be_replaceable(path, made)
    folder.parent.mkdir(parents=True, exist_ok=True)
    beside = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}-"))
    new, old = beside / "new", beside / "old"
    try:
        new.mkdir()
        yield new
        if made is not None:
            must_be_replaceable(path, made)  # it may have changed meanwhile
            _write_note(new, made)
        try:
            if folder.exists():
                os.replace(folder, old)
            os.replace(new, folder)
        except BaseException:
            if old.exists() and not folder.exists():
                os.replace(old, folder)
            raise
    finally:
        if folder.exists() or not old.exists():
            shutil.rmtree(beside, ignore_errors=True)


def clear_unfinished(target: Path) -> None:
    """Remove what a killed process left half written for `target` or target-N, in a folder of the kit's own.

    A folder that it had moved aside but not replaced is restored.
    """
    for path in target.parent.glob(f".{glob.escape(target.name)}-*"):
        _put_back(path.with_name(path.name[1:].rpartition("-")[0]))
        shutil.rmtree(path, ignore_errors=True)


def _put_back(folder: Path) -> None:
    """Undo the first half of a replacement that was killed between its two renames; nothing else is touched."""
    if folder.exists():
        return
    for beside in folder.parent.glob(f".{glob.escape(folder.name)}-????????"):
        if {"old", "new"} == visible(beside):
            os.replace(beside / "old", folder)
            shutil.rmtree(beside, ignore_errors=True)
            return


# --- files ---


def must_be_own(path: str | Path, own: Callable[[bytes], bool], option: str = "--out") -> Path:
    """The path of a file to be written. own: whether the content of an existing file is this command's.

    Raises ActreError for a folder and for a file that is not its own, and as `place` does.
    """
    file = place(path, option)
    if file.is_dir():
        raise refusal(path, "is a folder, but a file is needed", option)
    if file.exists() and file.stat().st_size and not own(file.read_bytes()):
        raise refusal(path, "is a file that this command did not write, or for another source", option)
    return file


def put(path: str | Path, data: bytes, own: Callable[[bytes], bool] | None = None, option: str = "--out") -> Path:
    """Write a file completely or not at all; returns its path.

    own: see `must_be_own`; None: only a file of the same content may be replaced. Raises as `must_be_own` does.
    """
    return write_whole(must_be_own(path, own or partial(same, data), option), data)


def write_whole(file: Path, data: bytes) -> Path:
    """Write a file of this kit's completely or not at all, whatever was there; returns its path."""
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_name(f".{file.name}-{uuid.uuid4().hex[:8]}")
    try:
        part.write_bytes(data)
        os.replace(part, file)
    finally:
        part.unlink(missing_ok=True)
    return file


@contextmanager
def filling(path: str | Path, names: Iterable[str], option: str = "--out") -> Iterator[Path]:
    """A temporary folder whose files are moved into the folder `path` once all are written.

    names: the only names allowed in `path`. An existing file must have the same content as the new one; otherwise
    ActreError is raised and nothing is moved. Also raises as `growing` does.
    """
    folder = growing(path, lambda there: visible(there) <= set(names), option)
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".") as made:
        yield Path(made)
        files = [(file, folder / file.relative_to(made)) for file in Path(made).rglob("*") if file.is_file()]
        for file, target in files:
            must_be_own(target, partial(same, file.read_bytes()), option)
        for file, target in files:
            target.parent.mkdir(parents=True, exist_ok=True)
            os.replace(file, target)


def same(one: bytes, other: bytes) -> bool:
    """Whether two files have the same content, gzipped ones unpacked.

    >>> same(gzip.compress(b"a", 1), gzip.compress(b"a", 9)), same(b"a", b"b")
    (True, False)
    """
    return _unzipped(one) == _unzipped(other)


def _unzipped(data: bytes) -> bytes:
    try:
        return gzip.decompress(data) if data.startswith(b"\x1f\x8b") else data
    except (OSError, EOFError, zlib.error):  # damaged: compare the bytes themselves
        return data


# --- content ---


def _json(path: Path) -> dict[str, Any]:
    """A file's JSON object; empty if there is none."""
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _is_warm_start(folder: Path) -> bool:
    return "warm" in _json(folder / "settings.json")


def _is_model(folder: Path) -> bool:
    return "model_type" in _json(folder / "config.json")


def _is_adapter(folder: Path) -> bool:
    return (folder / "adapter_config.json").is_file()


def _note(folder: Path) -> dict[str, Any] | None:
    return _json(folder / NOTE) or None


def _write_note(folder: Path, made: Made) -> None:
    note = {"command": made.command, "of": made.of, "files": _digests(folder)}
    (folder / NOTE).write_text(json.dumps(note, indent=1) + "\n")


def _changed(folder: Path, note: dict[str, Any]) -> list[str]:
    """Files that differ from the note, or are not in it."""
    wanted, there = note.get("files") or {}, _digests(folder)
    there.pop(NOTE, None)
    return sorted(name for name in there if wanted.get(name) != there[name])


def _digests(folder: Path) -> dict[str, str]:
    """Path of each file in the folder -> its sha256; links and empty folders are listed as such."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_symlink():
            found[name] = f"link to {os.readlink(path)}"
        elif path.is_file():
            with path.open("rb") as file:
                found[name] = hashlib.file_digest(file, "sha256").hexdigest()
        elif not any(path.iterdir()):
            found[name] = "an empty folder"
    return found
