"""Takes the official files in: checks them, makes search index and noun table once, and keeps both beside them.

Knows files and caches; what an entry means is catalogue.py's knowledge, how it is found search.py's. Files of any
size: products are read, checked, indexed and stored one at a time. A shop of more than `IN_MEMORY` products is then
read from disk (store.py).
"""

import gzip
import io
import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

from actre import outputs
from actre.envs.webshop.catalogue import Catalogue, Product, ProductReader, read_catalogue, read_nouns
from actre.envs.webshop.search import Index
from actre.envs.webshop.store import StoredCatalogue, StoreWriter
from actre.types import ActreError

IN_MEMORY = 20_000
"""Products up to which a catalogue is held in memory."""
CACHE = "actre-cache"
"""The folder beside the official files in which an import is kept."""
_META, _INDEX = "import.json", "index.npz"
_STARTED = ".actre-import"
"""Stands in a cache from the first moment on, so that an interrupted import is known as one."""
_FORMAT = 1
_CHUNK = 1 << 20
_ENTRY_LIMIT = 16 * _CHUNK
_BLANK = re.compile(r"[ \t\r\n]*")
_NAMES = (("items_shuffle_1000.json", "items_ins_v2_1000.json"), ("items_shuffle.json", "items_ins_v2.json"))

Progress = Callable[[int], None]
"""Told how many bytes of the products file have been read since it was last told."""


@dataclass(frozen=True)
class ShopFiles:
    """The files of one shop. human, nouns: None where there are none."""

    products: Path
    instructions: Path
    human: Path | None
    nouns: Path | None

    @property
    def stamp(self) -> dict[str, list[int]]:
        """Name, size and time of each file: tells whether an import is of these files."""
        stats = {p.name: p.stat() for p in (self.products, self.instructions, self.human, self.nouns) if p}
        return {name: [stat.st_size, stat.st_mtime_ns] for name, stat in stats.items()}


class Problem(NamedTuple):
    """Something wrong with one entry, in words that name file, entry and field."""

    number: int
    words: str


@dataclass(frozen=True)
class Report:
    """What an import or a check found. skipped: entries that the original passes over (asin 'nan', too long or
    repeated).
    """

    products: int
    skipped: int
    instructions: int
    human: int
    with_nouns: int
    problems: tuple[Problem, ...] = ()


def find_files(folder: str | Path, *, full: bool = False) -> ShopFiles:
    """The official files in a folder, each with or without .gz. full: the whole set where the small one lies there too.

    Raises ActreError where products or instructions are missing.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise ActreError(f"{folder} is no folder: give the one that holds {_NAMES[1][0]} or {_NAMES[0][0]}")
    for products, instructions in reversed(_NAMES) if full else _NAMES:
        found = _there(folder / products)
        if found is None:
            continue
        beside = _there(folder / instructions)
        if beside is None:
            raise ActreError(f"{folder} holds {found.name} but no {instructions}: fetch it, too (docs/webshop.md)")
        return ShopFiles(found, beside, _there(folder / "items_human_ins.json"), _there(folder / "nouns.json"))
    raise ActreError(
        f"{folder} holds neither {_NAMES[0][0]} nor {_NAMES[1][0]} (.gz or not): see docs/webshop.md for where "
        "the official files are, or make a shop of your own: actre webshop generate --out FOLDER"
    )


def stream(path: str | Path, progress: Progress | None = None) -> Iterator[Any]:
    """The values of a JSON list, one at a time: memory holds one entry, however large the file (.gz or not).

    Raises ActreError naming file and entry where it is not JSON, or no list.
    """
    path = Path(path)
    with _Text(path, progress) as text:
        if text.take() != "[":
            raise ActreError(f"{path}: holds no list of products: is it the products file?")
        number = 0
        if text.peek() == "]":
            return
        while True:
            yield text.value(f"entry {number}")
            number += 1
            mark = text.take()
            if mark == "]":
                return
            if mark != ",":
                raise ActreError(f"{path}: after entry {number - 1}: {mark!r} where , or ] should be: fetch it again")


def check(folder: str | Path, *, full: bool = False, most: int = 20, progress: Progress | None = None) -> Report:
    """Read every entry and say what is wrong with it; at most `most` problems, then it stops."""
    files = find_files(folder, full=full)
    reader = ProductReader(files.products, files.instructions, human=files.human, strict=False)
    nouns = read_nouns(files.nouns) if files.nouns else {}
    problems: list[Problem] = []
    count = skipped = instructions = human = with_nouns = 0
    seen: set[str] = set()
    for number, entry in enumerate(stream(files.products, progress)):
        try:
            found = list(reader.read([entry]))
        except ActreError as error:
            # the reader counts what it is given: here always one entry
            problems.append(Problem(number, str(error).replace(": entry 0", f": entry {number}", 1)))
            if len(problems) >= most:
                break
            continue
        if not found or found[0].asin in seen:
            skipped += 1
            continue
        seen.add(found[0].asin)
        count += 1
        instructions += found[0].instruction is not None
        human += len(found[0].human)
        with_nouns += found[0].asin in nouns
    return Report(count, skipped, instructions, human, with_nouns, tuple(problems))


def import_shop(
    folder: str | Path,
    *,
    full: bool = False,
    tag: Callable[[Iterable[str]], Iterator[Sequence[str]]] | None = None,
    progress: Progress | None = None,
    in_memory: int = IN_MEMORY,
) -> Report:
    """Check a folder's files, index them and keep the result in its `actre-cache`; a second call does it anew.

    tag: makes the noun table where the folder has none (see `spacy_tagger`); without either, products can be looked at
    but a purchase cannot be judged. Raises ActreError at the first wrong entry (`check` shows all).
    """
    files = find_files(folder, full=full)
    cache = _cache(files, full)
    outputs.growing(cache, _is_import, "FOLDER", what="an import")
    try:
        cache.mkdir(parents=True, exist_ok=True)
        (cache / _STARTED).touch()
        (cache / _META).unlink(missing_ok=True)
    except OSError as error:
        raise ActreError(
            f"{cache} cannot be written ({error}): copy the official files into a folder of your own"
        ) from error
    reader = ProductReader(files.products, files.instructions, human=files.human, strict=False)
    table = read_nouns(files.nouns) if files.nouns else None
    counts = {"instructions": 0, "human": 0, "with_nouns": 0}
    with StoreWriter(cache) as store:

        def documents() -> Iterator[tuple[str, str]]:
            for product, nouns in _with_nouns(reader.read(stream(files.products, progress)), table, tag):
                store.add(product, nouns)
                counts["instructions"] += product.instruction is not None
                counts["human"] += len(product.human)
                counts["with_nouns"] += nouns is not None
                yield product.asin, product.index_text

        index = Index.build(documents())
    index.save(cache / _INDEX)
    report = Report(len(index), reader.skipped, counts["instructions"], counts["human"], counts["with_nouns"])
    meta = {"format": _FORMAT, "stamp": files.stamp, "stored": len(index) > in_memory, "report": asdict(report)}
    (cache / _META).write_text(json.dumps(meta) + "\n", encoding="utf-8")
    return report


def _is_import(folder: Path) -> bool:
    """Whether an import made, or began, what is in the folder."""
    return (folder / _STARTED).exists() or "format" in (_meta(folder / _META) or {})


def open_catalogue(folder: str | Path, *, full: bool = False) -> Catalogue:
    """The catalogue of a folder: from its import where there is one of these very files, else read and indexed now.

    A large shop (see `IN_MEMORY`) is served from disk and must have been imported. Raises ActreError where it was not.
    """
    files = find_files(folder, full=full)
    cache = _cache(files, full)
    meta = _meta(cache / _META)
    if meta is None or meta.get("format") != _FORMAT or meta.get("stamp") != files.stamp:
        if files.products.stat().st_size > 200 * _CHUNK:
            flag = " --full" if full else ""
            raise ActreError(f"{files.products} is large and not imported yet: actre webshop import {folder}{flag}")
        return read_catalogue(folder, full=full, strict=False)
    index = Index.load(cache / _INDEX)
    stored = StoredCatalogue(cache, index, str(files.products))
    return stored if meta["stored"] else Catalogue(stored.products, dict(stored.nouns), stored.source, index)


def spacy_tagger() -> Callable[[Iterable[str]], Iterator[list[str]]]:
    """Names -> their nouns as the original finds them: words that en_core_web_sm tags NOUN or PROPN, lower-cased.

    Raises ActreError where spaCy or its model is missing.
    """
    try:
        import spacy

        nlp = spacy.load("en_core_web_sm", disable=["parser", "ner", "lemmatizer"])
    except (ImportError, OSError) as error:
        raise ActreError(
            f"no noun table can be made ({error}): pip install -e '.[webshop]' in the checkout, and "
            "`python -m spacy download en_core_web_sm`, or put a nouns.json beside the files"
        ) from error

    def tag(names: Iterable[str]) -> Iterator[list[str]]:
        for doc in nlp.pipe(names, batch_size=256):
            yield [token.text.lower() for token in doc if token.pos_ in ("NOUN", "PROPN")]

    return tag


def _with_nouns(
    products: Iterable[Product],
    table: dict[str, tuple[str, ...]] | None,
    tag: Callable[[Iterable[str]], Iterator[Sequence[str]]] | None,
) -> Iterator[tuple[Product, Sequence[str] | None]]:
    if table is not None or tag is None:
        yield from ((product, (table or {}).get(product.asin)) for product in products)
        return
    batch: list[Product] = []
    for product in products:
        batch.append(product)
        if len(batch) == 1024:
            yield from zip(batch, tag([p.name for p in batch]), strict=True)
            batch = []
    yield from zip(batch, tag([p.name for p in batch]), strict=True)


def _cache(files: ShopFiles, full: bool) -> Path:
    # the small and the full set may lie in one folder
    return files.products.parent / CACHE / files.products.name.partition(".")[0]


def _meta(path: Path) -> dict[str, Any] | None:
    try:
        meta = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise ActreError(f"{path} is damaged ({error}): import the folder again") from error
    return meta if isinstance(meta, dict) else None


def _there(path: Path) -> Path | None:
    return next((p for p in (path, path.with_name(path.name + ".gz")) if p.exists()), None)


class _Text:
    """A JSON text read in chunks; a context manager. Keeps what has not been taken yet."""

    def __init__(self, path: Path, progress: Progress | None) -> None:
        self.path, self._progress = path, progress
        self._buffer, self._at, self._ended, self._told = "", 0, False, 0
        self._decode = json.JSONDecoder().raw_decode

    def __enter__(self) -> "_Text":
        try:
            self._raw = self.path.open("rb")
            zipped = self._raw.read(2) == b"\x1f\x8b"
            self._raw.seek(0)
        except OSError as error:
            raise ActreError(f"{self.path}: cannot be read ({error})") from error
        binary: Any = gzip.GzipFile(fileobj=self._raw) if zipped else self._raw
        self._text = io.TextIOWrapper(binary, encoding="utf-8")
        return self

    def __exit__(self, *_: object) -> None:
        self._text.detach()
        self._raw.close()

    def peek(self) -> str:
        """The next character that is no blank; empty at the end."""
        while True:
            match = _BLANK.match(self._buffer, self._at)
            self._at = match.end() if match else self._at
            if self._at < len(self._buffer):
                return self._buffer[self._at]
            if not self._more():
                return ""

    def take(self) -> str:
        found = self.peek()
        self._at += 1
        return found

    def value(self, where: str) -> Any:
        """The next JSON value, whole."""
        self.peek()
        while True:
            try:
                value, self._at = self._decode(self._buffer, self._at)
                return value
            except json.JSONDecodeError as error:
                # cut short by the chunk's end, or wrong: more text tells
                if len(self._buffer) - self._at > _ENTRY_LIMIT or not self._more():
                    raise ActreError(
                        f"{self.path}: {where}: is not JSON ({error.msg}): fetch the file again"
                    ) from error

    def _more(self) -> bool:
        if self._ended:
            return False
        try:
            chunk = self._text.read(_CHUNK)
            read = self._raw.tell()
        except (OSError, EOFError, ValueError) as error:
            raise ActreError(f"{self.path}: cannot be read ({error}): fetch it again") from error
        self._ended = not chunk
        self._buffer, self._at = self._buffer[self._at :] + chunk, 0
        if self._progress and read > self._told:
            self._progress(read - self._told)
            self._told = read
        return bool(chunk)
