"""The products of a large shop on disk, read one at a time, so that a shop need not fit in memory.

A `StoredCatalogue` behaves like a `Catalogue`. It keeps in memory only the asins, the offsets, the search index and the
products used last. importer.py writes the store.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from functools import lru_cache
from pathlib import Path
from typing import Any, overload

import numpy as np

from actre.envs.webshop.catalogue import Catalogue, HumanInstruction, Product
from actre.envs.webshop.search import Index
from actre.types import ActreError

_KEPT_PRODUCTS = 4096
_BODIES, _OFFSETS, _ASINS = "products.jsonl", "offsets.npy", "asins.txt"
_FIELDS = tuple(field.name for field in fields(Product))
_TUPLES = ("bullets", "pricing", "attributes", "instruction_attributes")


class StoreWriter:
    """Writes products one by one; a context manager. The store is complete if the block ends without an error."""

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self._offsets = [0]

    def __enter__(self) -> "StoreWriter":
        # a store is complete only with its offsets, so an interrupted one has none
        (self.folder / _OFFSETS).unlink(missing_ok=True)
        self._bodies = (self.folder / _BODIES).open("wb")
        self._asins = (self.folder / _ASINS).open("w", encoding="ascii")
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        self._bodies.close()
        self._asins.close()
        if kind is None:
            np.save(self.folder / _OFFSETS, np.array(self._offsets, np.int64))

    def add(self, product: Product, nouns: Sequence[str] | None = None) -> None:
        """Append a product. nouns: those of its name, None without a noun table."""
        record = [getattr(product, name) for name in _FIELDS]
        line = json.dumps([record, nouns], ensure_ascii=False).encode("utf-8", "surrogatepass") + b"\n"
        self._bodies.write(line)
        self._asins.write(json.dumps(product.asin)[1:-1] + "\n")
        self._offsets.append(self._offsets[-1] + len(line))


class StoredProducts(Sequence[Product]):
    """The products of a store by position. Raises ActreError if the store is missing or damaged."""

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        try:
            self._offsets = np.load(self.folder / _OFFSETS)
            lines = (self.folder / _ASINS).read_text(encoding="utf-8").split("\n")[:-1]
            # each line is a JSON string without its quotes, since an asin may contain a line break
            self.asins: list[str] = json.loads('["' + '","'.join(lines) + '"]') if lines else []
            self._bodies = np.memmap(self.folder / _BODIES, np.uint8, "r")
        except (OSError, ValueError) as error:
            raise ActreError(
                f"{folder}: the store of products is missing or incomplete ({error}): `actre webshop import` makes it"
            ) from error
        if len(self._bodies) != self._offsets[-1] or len(self.asins) != len(self._offsets) - 1:
            raise ActreError(f"{folder}: the store's files do not match: `actre webshop import` makes it again")
        self.record = lru_cache(_KEPT_PRODUCTS)(self._record)

    def __len__(self) -> int:
        return len(self.asins)

    @overload
    def __getitem__(self, index: int) -> Product: ...
    @overload
    def __getitem__(self, index: slice) -> list[Product]: ...
    def __getitem__(self, index: int | slice) -> Product | list[Product]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        # the index may be negative, or numpy's
        return self.record(range(len(self))[int(index)])[0]

    def __iter__(self) -> Iterator[Product]:
        # without the cache, which iterating over all products would flush
        return (self._record(i)[0] for i in range(len(self)))

    def _record(self, index: int) -> tuple[Product, tuple[str, ...] | None]:
        line = self._bodies[self._offsets[index] : self._offsets[index + 1]].tobytes()
        record, nouns = json.loads(line.decode("utf-8", "surrogatepass"))
        return _product(record), None if nouns is None else tuple(nouns)


class _ByAsin(Mapping[str, Product]):
    """asin -> product, without holding the products."""

    def __init__(self, products: StoredProducts) -> None:
        self._products = products
        self._at = {asin: i for i, asin in enumerate(products.asins)}

    def __getitem__(self, asin: str) -> Product:
        return self._products[self._at[asin]]

    def __iter__(self) -> Iterator[str]:
        return iter(self._at)

    def __len__(self) -> int:
        return len(self._at)

    def __contains__(self, asin: object) -> bool:
        return asin in self._at

    def nouns(self, asin: str) -> tuple[str, ...] | None:
        return self._products.record(self._at[asin])[1]


class _Nouns(Mapping[str, Sequence[str]]):
    """asin -> the nouns of its name, for products with recorded nouns."""

    def __init__(self, by_asin: _ByAsin) -> None:
        self._by_asin = by_asin

    def __getitem__(self, asin: str) -> Sequence[str]:
        found = self._by_asin.nouns(asin)
        if found is None:
            raise KeyError(asin)
        return found

    def __iter__(self) -> Iterator[str]:
        return (asin for asin in self._by_asin if self._by_asin.nouns(asin) is not None)

    def __len__(self) -> int:
        return sum(1 for _ in self)


class StoredCatalogue(Catalogue):
    """A catalogue whose products stay on disk."""

    def __init__(self, folder: str | Path, index: Index, source: str) -> None:
        products = StoredProducts(folder)
        by_asin = _ByAsin(products)
        self.products: Any = products
        self.by_asin: Any = by_asin
        self.nouns = _Nouns(by_asin)
        self.source = source
        self.index = index
        if len(index) != len(products):
            raise ActreError(
                f"{source}: there are {len(products)} products, but {len(index)} in the index: "
                "`actre webshop import` makes both again"
            )


def _product(record: list[Any]) -> Product:
    values = dict(zip(_FIELDS, record, strict=True))
    for name in _TUPLES:
        values[name] = tuple(values[name])
    values["options"] = {name: tuple(options) for name, options in values["options"].items()}
    values["human"] = tuple(HumanInstruction(text, tuple(a), tuple(o)) for text, a, o in values["human"])
    return Product(**values)
