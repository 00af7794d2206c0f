"""Imports the official files: checks them, makes the search index and noun table once, and caches both beside them.

Files may have any size: products are read, checked, indexed and stored one at a time. A shop of more than `IN_MEMORY`
products is then read from disk (store.py).
"""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

from actre.envs.webshop.catalogue import Catalogue, Product, ProductReader, read_catalogue, read_nouns
from actre.envs.webshop.files import Progress, ShopFiles, find_files, stream
from actre.envs.webshop.search import Index
from actre.envs.webshop.store import StoredCatalogue, StoreWriter
from actre.runtime import outputs
from actre.types import ActreError

IN_MEMORY = 20_000
"""A catalogue of at most this many products is held in memory."""
CACHE = "actre-cache"
"""The name of an import's folder, beside the official files."""
_META, _INDEX = "import.json", "index.npz"
_STARTED = ".actre-import"
"""A file created first in the cache, so that an interrupted import is recognised."""
_FORMAT = 1
_LARGE = 200 << 20  # bytes; a larger products file must be imported


class Problem(NamedTuple):
    """An error in one entry; `words` names file, entry and field."""

    number: int
    words: str


@dataclass(frozen=True)
class Report:
    """The result of an import or a check. skipped: entries the original skips (asin 'nan', too long or repeated)."""

    products: int
    skipped: int
    instructions: int
    human: int
    with_nouns: int
    problems: tuple[Problem, ...] = ()


def check(folder: str | Path, *, full: bool = False, most: int = 20, progress: Progress | None = None) -> Report:
    """Read every entry and report what is wrong; stops after `most` problems.

    Raises ActreError if a file cannot be read at all, with the message of an import.
    """
    files = find_files(folder, full=full)
    reader = ProductReader(files.products, files.instructions, human=files.human, strict=False)
    nouns = read_nouns(files.nouns) if files.nouns else {}
    problems: list[Problem] = []
    count = instructions = human = with_nouns = 0
    for number, entry in enumerate(_up_to_damage(stream(files.products, progress), problems)):
        try:
            product = reader.product(number, entry)
        except ActreError as error:
            problems.append(Problem(number, str(error)))
            if len(problems) >= most:
                break
            continue
        if product is not None:
            count += 1
            instructions += product.instruction is not None
            human += len(product.human)
            with_nouns += product.asin in nouns
    if not count and not problems:
        raise reader.no_product()
    return Report(count, reader.skipped, instructions, human, with_nouns, tuple(problems))


def _up_to_damage(entries: Iterable[Any], problems: list[Problem]) -> Iterator[Any]:
    """The entries before any damage to the file. The damage is added to `problems`, or raised if there are none."""
    number = 0
    try:
        for entry in entries:
            yield entry
            number += 1
    except ActreError as error:
        if not problems:
            raise
        problems.append(Problem(number, str(error)))


def import_shop(
    folder: str | Path,
    *,
    full: bool = False,
    tag: Callable[[Iterable[str]], Iterator[Sequence[str]]] | None = None,
    progress: Progress | None = None,
    in_memory: int = IN_MEMORY,
) -> Report:
    """Check a folder's files, index them and store the result in its `actre-cache`; a second call repeats this.

    tag: makes the noun table if the folder has none (see `spacy_tagger`). Without a table products can be viewed, but a
    purchase cannot be scored. Raises ActreError at the first wrong entry (`check` reports all).
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
    """Whether the folder is that of an import, finished or not."""
    return (folder / _STARTED).exists() or "format" in (_meta(folder / _META) or {})


def open_catalogue(folder: str | Path, *, full: bool = False) -> Catalogue:
    """The catalogue of a folder: from its import if there is one of exactly these files, else read and indexed now.

    A large shop (see `IN_MEMORY`) is read from disk. Raises ActreError for a large file that has not been imported.
    """
    files = find_files(folder, full=full)
    cache = _cache(files, full)
    meta = _meta(cache / _META)
    if meta is None or meta.get("format") != _FORMAT or meta.get("stamp") != files.stamp:
        if files.products.stat().st_size > _LARGE:
            flag = " --full" if full else ""
            raise ActreError(f"{files.products} is large and not imported yet: actre webshop import {folder}{flag}")
        return read_catalogue(folder, full=full, strict=False)
    index = Index.load(cache / _INDEX)
    stored = StoredCatalogue(cache, index, str(files.products))
    return stored if meta["stored"] else Catalogue(stored.products, dict(stored.nouns), stored.source, index)


def spacy_tagger() -> Callable[[Iterable[str]], Iterator[list[str]]]:
    """A function from names to their nouns, as in the original: words en_core_web_sm tags NOUN or PROPN, lower-cased.

    Raises ActreError if spaCy or its model is missing.
    """
    try:
        import spacy

        nlp = spacy.load("en_core_web_sm", disable=["parser", "ner", "lemmatizer"])
    except (ImportError, OSError) as error:
        raise ActreError(
            f"the noun table cannot be made ({error}): pip install -e '.[webshop]' in the checkout, and "
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
    # the small and the full set may be in one folder
    return files.products.parent / CACHE / files.products.name.partition(".")[0]


def _meta(path: Path) -> dict[str, Any] | None:
    try:
        meta = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise ActreError(f"{path} is damaged ({error}): import the folder again") from error
    return meta if isinstance(meta, dict) else None
