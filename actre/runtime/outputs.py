"""Where commands write: what a path given by a person holds already, and what of it may be replaced.

Knows files and folders, and by which files the kit's own folders are recognised; makes nothing itself. The rule for
every command: what was saved by something else stays as it is.

    a new path, an empty folder     free
    a folder made as a whole        carries a note (NOTE): the command that made it, of what, and its files' check sums.
                                    The same command replaces it, for the same, while it holds just these files
    a folder that grows, as a       goes on where the command that writes there recognises it as its own
    run's does
    a file                          replaced where the command recognises it as its own
    anything else                   refused, with what is there

A folder or file is replaced as a whole, by one that was written beside it, so that an interruption or a full disk
leaves the old one.
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
"""The file in a folder made as a whole that says what made it."""
_INNER = ("adapter", "checkpoints", "trajectories")
"""Folders of a run into which it alone writes."""
_NAMED = 3
"""So many names are listed at most where a folder holds something else."""


class Made(NamedTuple):
    """What makes a folder: the command, what it makes it of (a run's identity, say), and the option that names it."""

    command: str
    of: str
    option: str = "--out"


# --- places ---


def place(path: str | Path, option: str = "--out") -> Path:
    """The absolute path behind one that a person gave; a symbolic link is followed, so that it stays one.

    Raises ActreError for a path in a folder that is whole as it is: a run's adapter, checkpoints and trajectories, a
    model, an exported adapter, or what carries a NOTE.
    """
    found = Path(path).resolve()
    for inner in (found, *found.parents):
        holder = inner.parent
        if inner.name in _INNER and (holds_settings(holder) or _is_warm_start(holder)):
            raise refusal(path, f"lies in {inner}, into which the run in {holder} alone writes", option)
        if inner != found and ((inner / NOTE).is_file() or _is_model(inner) or _is_adapter(inner)):
            raise refusal(path, f"lies in {inner}, which holds {described(inner)}", option)
    return found


def refusal(path: str | Path, why: str, option: str = "--out") -> ActreError:
    """The error that says why nothing is written to a path, and what to do."""
    return ActreError(f"{path} {why}; nothing was written: name another place ({option}), or move what is there")


def described(folder: Path) -> str:
    """What a folder holds, in a few words."""
    note = _note(folder)
    if note is not None:
        return f"what `{note.get('command')}` made"
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
    """The names in a folder but for the hidden ones; empty where there is none."""
    return {name for name in os.listdir(folder) if not name.startswith(".")} if folder.is_dir() else set()


def holds_settings(folder: Path) -> bool:
    """Whether a folder's config.json is the kit's: that of a run, an evaluation, a diagnosis, or a quickstart."""
    return "config" in _json(folder / "config.json")


def is_trained(folder: Path) -> bool:
    """Whether something was trained in a folder."""
    return (folder / "config.json").is_file() and (folder / "metrics.jsonl").is_file()


def run_id(folder: Path) -> str:
    """What tells the run in a folder from every other one; a run of an earlier version has its settings and its place.

    Raises FileNotFoundError where the folder has no config.json.
    """
    path = folder / "config.json"
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return str(_json(path).get("id") or f"{folder.resolve()} {digest}")


def growing(
    path: str | Path, own: Callable[[Path], bool], option: str = "--out", *, what: str = "what this command began"
) -> Path:
    """The place of a folder into which a command writes file by file.

    own: whether a folder that is not empty is one with which this command goes on. Hidden files count as nothing.
    Raises ActreError for a file and a folder that holds something else, and as `place` does.
    """
    folder = place(path, option)
    if folder.exists() and not folder.is_dir():
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path))
    if visible(folder) and not own(folder):
        raise refusal(path, f"is not empty and holds {described(folder)}, which is not {what}", option)
    return folder


# --- folders made as a whole ---


def must_be_whole(path: str | Path, option: str = "--out") -> Path:
    """The place of a folder that is to be made as a whole, whatever is in it.

    Raises ActreError for a file; for the current folder and those around it, which would be pulled from under the
    shell; for a mount point; and as `place` does.
    """
    folder = place(path, option)
    if folder.exists() and not folder.is_dir():
        raise refusal(path, "is a file, and a folder is to stand there", option)
    if folder.exists() and (folder in (here := Path.cwd().resolve(), *here.parents) or os.path.ismount(folder)):
        why = "is the current folder, around it, or a mount point, and would be replaced as a whole"
        raise refusal(path, why, option)
    return folder


def must_be_replaceable(path: str | Path, made: Made) -> Path:
    """The place of a folder that is to be made as a whole and carries a NOTE.

    Raises ActreError where something is there that was not made by this command of the same, or was changed since; and
    as `must_be_whole` does.
    """
    folder = must_be_whole(path, made.option)
    if not folder.exists() or not os.listdir(folder):
        return folder
    note, changed = _note(folder) or {}, []
    if note.get("command") != made.command:
        why = f"holds {described(folder)}, which `{made.command}` has not made"
    elif note.get("of") != made.of:
        why = f"holds what `{made.command}` made of another run"
    else:
        changed = _changed(folder, note)
        why = f"holds {', '.join(changed[:_NAMED])}, changed or put there since `{made.command}` made it"
        if not changed:
            return folder
    raise refusal(path, f"{why}, and would be replaced as a whole", made.option)


@contextmanager
def replacing(path: str | Path, made: Made | None = None) -> Iterator[Path]:
    """A folder to write into that takes the place of `path` when everything is written.

    made: what makes it; it is then checked by `must_be_replaceable`, before and after, and gets its NOTE. None: it is
    the caller's own. However this ends, the old folder or the new one is there, as a whole; killed between two
    renamings, the old one lies beside it, and the next call puts it back.
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
            must_be_replaceable(path, made)  # somebody may have written there meanwhile
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
    """In a folder of the kit's own: remove what a killed process left half written on the way to `target` or target-N.

    What it had moved aside, and not replaced yet, is put back.
    """
    for path in target.parent.glob(f".{glob.escape(target.name)}-*"):
        _put_back(path.with_name(path.name[1:].rpartition("-")[0]))
        shutil.rmtree(path, ignore_errors=True)


def _put_back(folder: Path) -> None:
    """Undo the first half of a replacement that was killed between its two renamings; nothing else is touched."""
    if folder.exists():
        return
    for beside in folder.parent.glob(f".{glob.escape(folder.name)}-????????"):
        if {"old", "new"} == visible(beside):
            os.replace(beside / "old", folder)
            shutil.rmtree(beside, ignore_errors=True)
            return


# --- files ---


def must_be_own(path: str | Path, own: Callable[[bytes], bool], option: str = "--out") -> Path:
    """The place of a file that is to be written. own: whether the content of one that is there is this command's.

    Raises ActreError for a folder and for a file that is not, and as `place` does.
    """
    file = place(path, option)
    if file.is_dir():
        raise refusal(path, "is a folder, and a file is to stand there", option)
    if file.exists() and file.stat().st_size and not own(file.read_bytes()):
        raise refusal(path, "is a file that this command has not made of the same", option)
    return file


def put(path: str | Path, data: bytes, own: Callable[[bytes], bool] | None = None, option: str = "--out") -> Path:
    """Write a file as a whole or not at all; returns its place.

    own: see `must_be_own`; None: only one that holds the same is its own. Raises as that does.
    """
    file = must_be_own(path, own or partial(same, data), option)
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
    """A folder to write files into, which go into the folder `path` once all are written.

    names: what alone may stand there; a file that is there already has to have the very same content. Raises ActreError
    where it has not, with nothing moved, and as `growing` does.
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
    """Whether two files hold the same; one that is gzipped counts as what is in it.

    >>> same(gzip.compress(b"a", 1), gzip.compress(b"a", 9)), same(b"a", b"b")
    (True, False)
    """
    return _unzipped(one) == _unzipped(other)


def _unzipped(data: bytes) -> bytes:
    try:
        return gzip.decompress(data) if data.startswith(b"\x1f\x8b") else data
    except (OSError, EOFError, zlib.error):  # damaged, so that it is nothing but its bytes
        return data


# --- what is there ---


def _json(path: Path) -> dict[str, Any]:
    """A file's JSON object; empty where there is none."""
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
    """Files that are others than the note says, or are not in it."""
    wanted, there = note.get("files") or {}, _digests(folder)
    there.pop(NOTE, None)
    return sorted(name for name in there if wanted.get(name) != there[name])


def _digests(folder: Path) -> dict[str, str]:
    """Each file's path in the folder, and its sha256; of a link and an empty folder that they are there."""
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
