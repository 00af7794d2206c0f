"""Finds the official files of a shop and reads their JSON, streaming large ones.

A file may be gzipped, whatever its name, and in any encoding that JSON allows: UTF-8, UTF-16 or UTF-32, with or without
a byte order mark. NaN and lone surrogates are accepted, as in Python's json. catalogue.py interprets the entries.
"""

import codecs
import gzip
import json
import re
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from actre.types import ActreError

_CHUNK = 1 << 20
_ENTRY_LIMIT = 16 * _CHUNK
_HEAD = 4  # bytes that determine the encoding
_BLANK = re.compile(r"[ \t\r\n]*")
_NAMES = (("items_shuffle_1000.json", "items_ins_v2_1000.json"), ("items_shuffle.json", "items_ins_v2.json"))
_HUMAN, _NOUNS = "items_human_ins.json", "nouns.json"

Progress = Callable[[int], None]
"""Called with the number of bytes of the products file read since the last call."""


@dataclass(frozen=True)
class ShopFiles:
    """The files of one shop. human, nouns: None if absent."""

    products: Path
    instructions: Path
    human: Path | None
    nouns: Path | None

    @property
    def stamp(self) -> dict[str, list[int]]:
        """Name -> size and time of each file: shows whether an import was made from these files."""
        stats = {p.name: p.stat() for p in (self.products, self.instructions, self.human, self.nouns) if p}
        return {name: [stat.st_size, stat.st_mtime_ns] for name, stat in stats.items()}


def find_files(folder: str | Path, *, full: bool = False) -> ShopFiles:
    """The official files in a folder, each with or without .gz. full: prefer the full set if both sets are there.

    Raises ActreError if products or instructions are missing.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise ActreError(f"{folder} is not a folder: give the one with {_NAMES[1][0]} or {_NAMES[0][0]}")
    for products, instructions in reversed(_NAMES) if full else _NAMES:
        found = _there(folder / products)
        if found is None:
            continue
        beside = _there(folder / instructions)
        if beside is None:
            raise ActreError(f"{folder} holds {found.name} but no {instructions}: fetch it too (docs/webshop.md)")
        return ShopFiles(found, beside, _there(folder / _HUMAN), _there(folder / _NOUNS))
    raise ActreError(
        f"{folder} holds neither {_NAMES[0][0]} nor {_NAMES[1][0]} (.gz or not): docs/webshop.md says where "
        "the official files are. Or generate a shop: actre webshop generate --out FOLDER"
    )


def stream(path: str | Path, progress: Progress | None = None) -> Iterator[Any]:
    """The values of a JSON list, one at a time: only one entry is in memory, however large the file.

    Raises ActreError, with file, entry and position, if the file is not JSON or not a list.
    """
    with _Text(Path(path), progress) as text:
        if text.peek() != "[":
            raise text.no_list()
        text.take()
        number = 0
        mark = text.peek()
        while mark != "]":
            yield text.value(f"entry {number}: ")
            mark = text.peek()
            if mark not in (",", "]"):
                raise text.wrong(f"after entry {number}: {repr(mark) if mark else 'the end'} where , or ] should be")
            number += 1
            if mark == ",":
                text.take()
        text.take()
        text.end()


def read_json(path: str | Path) -> Any:
    """The value in a JSON file. Raises ActreError, with file and position, if it is not JSON."""
    with _Text(Path(path)) as text:
        text.all()
        value = text.value()
        text.end()
        return value


def kind(value: Any) -> str:
    """The type of a JSON value, for a message.

    >>> kind(None), kind([])
    ('null', 'a list')
    """
    return "null" if value is None else f"a {type(value).__name__}"


def _there(path: Path) -> Path | None:
    return next((p for p in (path, path.with_name(path.name + ".gz")) if p.exists()), None)


class _Text:
    """A JSON text read in chunks; a context manager. Keeps the text not consumed yet and its position."""

    def __init__(self, path: Path, progress: Progress | None = None) -> None:
        self.path, self._progress = path, progress
        self._buffer, self._at, self._ended = "", 0, False
        self._chars, self._line, self._column = 0, 1, 0  # of the consumed text
        self._reported, self._bytes = 0, 0
        self._decoder: codecs.IncrementalDecoder | None = None
        self._encoding = "utf-8"
        self._parse = json.JSONDecoder().raw_decode

    def __enter__(self) -> "_Text":
        try:
            self._raw = self.path.open("rb")
            zipped = self._raw.read(2) == b"\x1f\x8b"
            self._raw.seek(0)
        except FileNotFoundError:
            raise ActreError(
                f"{self.path}: no such file: give the folder of the official files, or make a shop: "
                "actre webshop generate"
            ) from None
        except OSError as error:
            raise ActreError(f"{self.path}: cannot be read ({error})") from error
        self._binary: Any = gzip.GzipFile(fileobj=self._raw) if zipped else self._raw
        return self

    def __exit__(self, *_: object) -> None:
        self._raw.close()

    def peek(self) -> str:
        """The next non-blank character; "" at the end."""
        while True:
            match = _BLANK.match(self._buffer, self._at)
            self._at = match.end() if match else self._at
            if self._at < len(self._buffer):
                return self._buffer[self._at]
            if not self._more():
                return ""

    def take(self) -> None:
        """Consume the character that `peek` returned."""
        self._at += 1

    def value(self, where: str = "") -> Any:
        """Consume and return the next JSON value."""
        if not self.peek() and not where:
            raise self.wrong("it is empty")
        while True:
            try:
                value, end = self._parse(self._buffer, self._at)
            except (ValueError, RecursionError) as error:
                # cut off at the end of the chunk, or invalid: read more and try again
                if len(self._buffer) - self._at > _ENTRY_LIMIT or not self._more():
                    at = error.pos if isinstance(error, json.JSONDecodeError) else self._at
                    why = error.msg if isinstance(error, json.JSONDecodeError) else str(error)
                    raise self.wrong(f"{where}{why}", at) from error
            else:
                # a number at the end of the chunk may continue, as 1 does in "1.5" and "1e+5"
                if end < len(self._buffer) - len("e+") or not self._more():
                    self._at = end
                    return value

    def end(self) -> None:
        """Raises ActreError if anything but blanks is left."""
        if mark := self.peek():
            raise self.wrong(f"{mark!r} after its end")

    def all(self) -> None:
        """Read the whole text, so that a single value is parsed only once."""
        self._buffer += "".join(iter(self._chunk, ""))

    def wrong(self, why: str, at: int | None = None) -> ActreError:
        """The error for invalid text at a position (default: the next character)."""
        at = self._at if at is None else at
        before = self._buffer[:at]
        line = self._line + before.count("\n")
        column = at - before.rfind("\n") if "\n" in before else self._column + at + 1
        place = f"line {line} column {column} (char {self._chars + at})"
        return ActreError(f"{self.path}: is not JSON ({why}: {place}): fetch it again")

    def no_list(self) -> ActreError:
        """The error for a text that does not begin with a list."""
        mark = self.peek()
        if not mark:
            return self.wrong("it is empty, and holds no list of products")
        what = "a dict" if mark == "{" else kind(self.value())
        return ActreError(
            f"{self.path}: holds {what}, not a list of products: is it the products file? (Convert a file with one "
            "product a line into one list: [first, second, ...])"
        )

    def _more(self) -> bool:
        chunk = self._chunk()
        if not chunk:
            return False
        taken, self._at = self._buffer[: self._at], 0
        self._chars += len(taken)
        self._line += taken.count("\n")
        self._column = len(taken) - taken.rfind("\n") - 1 if "\n" in taken else self._column + len(taken)
        self._buffer = self._buffer[len(taken) :] + chunk
        return True

    def _chunk(self) -> str:
        """The next piece of the text; "" at the end."""
        text = ""
        while not text and not self._ended:
            try:
                raw = self._binary.read(max(_CHUNK, _HEAD))
                read = self._raw.tell()
            except (OSError, EOFError, zlib.error) as error:
                raise ActreError(f"{self.path}: cannot be read ({error}): fetch it again") from error
            self._ended = not raw
            text = self._decoded(raw)
            if self._progress and read > self._reported:
                self._progress(read - self._reported)
                self._reported = read
        return text

    def _decoded(self, raw: bytes) -> str:
        if self._decoder is None:
            self._encoding = json.detect_encoding(raw)
            if self._encoding == "utf-8-sig":
                raw, self._encoding, self._bytes = raw[len(codecs.BOM_UTF8) :], "utf-8", len(codecs.BOM_UTF8)
            self._decoder = codecs.getincrementaldecoder(self._encoding)("surrogatepass")
        start = self._bytes - len(self._decoder.getstate()[0])
        self._bytes += len(raw)
        try:
            return self._decoder.decode(raw, final=self._ended)
        except UnicodeDecodeError as error:
            byte, at = error.object[error.start], start + error.start
            raise ActreError(
                f"{self.path}: is not {self._encoding.upper()} (byte 0x{byte:02x} at position {at}: {error.reason}): "
                "save it as UTF-8, or fetch it again"
            ) from error
