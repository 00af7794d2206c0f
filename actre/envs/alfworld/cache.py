"""The cache of translated games on disk: a game translated once loads in milliseconds.

Each game is one gzipped JSON file in `$ACTRE_CACHE/alfworld`, else `$XDG_CACHE_HOME/actre/alfworld`, else
~/.cache/actre/alfworld. Its name is a digest of everything the translation depends on. Files are replaced atomically;
when the folder exceeds LIMIT_BYTES, the least recently used files are deleted. The folder may be deleted at any time.
An unwritable folder or a damaged file only costs time.
"""

import gzip
import hashlib
import json
import os
import tempfile
import zlib
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from actre.config.paths import variable
from actre.types import ActreError

LIMIT_BYTES = 256 * 2**20
# Listing the folder takes longer than writing a file, so prune only every few writes.
_PRUNE_EVERY = 32
_writes = 0


def folder() -> Path:
    """The folder of the cached translations."""
    if root := variable("ACTRE_CACHE"):
        return root / "alfworld"
    return (variable("XDG_CACHE_HOME") or Path.home() / ".cache") / "actre" / "alfworld"


def key(*texts: str) -> str:
    """A digest of the texts and of the versions of the packages that translate them: 40 hexadecimal digits."""
    digest = hashlib.sha256("\0".join(_versions()).encode())
    for text in texts:
        raw = text.encode("utf-8", "surrogatepass")
        digest.update(b"%d\0" % len(raw) + raw)
    return digest.hexdigest()[:40]


@lru_cache(maxsize=1)
def _versions() -> tuple[str, ...]:
    names = ("textworld", "fast-downward-textworld")
    try:
        return tuple(f"{name}=={version(name)}" for name in names)
    except PackageNotFoundError as error:
        raise ActreError(
            f"the ALFWorld engine needs {error.name}, which is not installed: pip install alfworld textworld"
        ) from error


def read(name: str, form: int) -> dict[str, Any] | None:
    """The record cached under a key; None if it is missing, unreadable or of another format version."""
    path = folder() / f"{name}.json.gz"
    try:
        record = json.loads(gzip.decompress(path.read_bytes()))
        os.utime(path)
    except (OSError, EOFError, zlib.error, ValueError):
        return None
    return record if isinstance(record, dict) and record.get("format") == form else None


def write(name: str, record: dict[str, Any]) -> bool:
    """Cache a record. Returns whether it was written; an unwritable folder is not an error."""
    global _writes
    target = folder() / f"{name}.json.gz"
    raw = gzip.compress(json.dumps(record, separators=(",", ":")).encode(), 3, mtime=0)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, part = tempfile.mkstemp(dir=target.parent, suffix=".part")
        try:
            with os.fdopen(handle, "wb") as out:
                out.write(raw)
            os.replace(part, target)
        except OSError:
            os.unlink(part)
            raise
    except OSError:
        return False
    if _writes % _PRUNE_EVERY == 0:
        prune()
    _writes += 1
    return True


def prune(limit_bytes: int | None = None) -> int:
    """Delete the least recently used files until the rest fit. Returns the bytes that remain."""
    limit = LIMIT_BYTES if limit_bytes is None else limit_bytes
    found = []
    try:
        for path in folder().iterdir():
            if path.name.endswith((".json.gz", ".part")):
                stat = path.stat()
                found.append((stat.st_mtime, stat.st_size, path))
    except OSError:
        return 0
    total = sum(size for _, size, _ in found)
    for _, size, path in sorted(found):
        if total <= limit:
            break
        path.unlink(missing_ok=True)
        total -= size
    return total
