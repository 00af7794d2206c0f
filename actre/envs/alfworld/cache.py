"""Keeps translated games on disk, so that a known game loads in milliseconds.

Knows files and their sizes; not what is in them. One gzipped JSON file a game in `$ACTRE_CACHE/alfworld`, else
`$XDG_CACHE_HOME/actre/alfworld`, else ~/.cache/actre/alfworld, named by a digest of everything the translation
depends on. Files are replaced as a whole, the least recently used go first when the folder outgrows LIMIT_BYTES,
and the folder may be deleted at any time. A folder that cannot be written, or a damaged file, costs time only.
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
# Looking through the folder takes longer than writing a file: do it now and then.
_PRUNE_EVERY = 32
_writes = 0


def folder() -> Path:
    """Where translations are kept."""
    if root := variable("ACTRE_CACHE"):
        return root / "alfworld"
    return (variable("XDG_CACHE_HOME") or Path.home() / ".cache") / "actre" / "alfworld"


def key(*texts: str) -> str:
    """A digest of the texts and of the versions of the packages that translate them."""
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
    """The record kept under a key, None if there is none, or none that can be read, or it is of another form."""
    path = folder() / f"{name}.json.gz"
    try:
        record = json.loads(gzip.decompress(path.read_bytes()))
        os.utime(path)
    except (OSError, EOFError, zlib.error, ValueError):
        return None
    return record if isinstance(record, dict) and record.get("format") == form else None


def write(name: str, record: dict[str, Any]) -> bool:
    """Keep a record. Returns whether that worked; a folder that cannot be written is no error."""
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
    """Drop the least recently used files until the rest fit. Returns how many bytes remain."""
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
