"""The official WebShop files as an immutable catalogue of products.

Entries are interpreted by the original's loading rules (princeton-nlp/WebShop@64fa2a5, load_products); files.py finds
and reads the files. Any number of environments may share a catalogue: nothing in it changes except bounded caches.
"""

import hashlib
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from actre.envs.webshop.files import find_files, kind, read_json, stream
from actre.envs.webshop.search import Index
from actre.types import ActreError

DUMMY_ATTRIBUTE = "DUMMY_ATTR"
DEFAULT_PRICE = 100.0
_NEVER_PRICE = re.compile(r"[^\d.]")


class HumanInstruction(NamedTuple):
    """A person's instruction for one product."""

    text: str
    attributes: tuple[str, ...]
    options: tuple[str, ...]


@dataclass(frozen=True, eq=False, slots=True)
class Product:
    """One product as the shop lists it. A comment gives the field's name in the files if it differs."""

    asin: str
    name: str
    description: str  # full_description
    bullets: tuple[str, ...]  # small_description
    pricing: tuple[float, ...]  # dollars: one price, or the two ends of a range (not always in order)
    price_tag: str
    options: Mapping[str, tuple[str, ...]]  # customization_options
    attributes: tuple[str, ...]  # from the instructions file; (DUMMY_ATTRIBUTE,) if it has none
    image: str
    category: str
    query: str
    product_category: str
    instruction: str | None = None
    instruction_attributes: tuple[str, ...] = ()
    human: tuple[HumanInstruction, ...] = ()

    @property
    def index_text(self) -> str:
        """The text that is indexed for search."""
        options = ", and ".join(f"{name}: {', '.join(values)}" for name, values in self.options.items())
        return " ".join([self.name, self.description, *(self.bullets[:1] or [""]), options]).lower()


class Catalogue:
    """Products in the order of their file.

    nouns: by asin, the lower-cased nouns of the product's name, in order and with repetitions (words that spaCy tags
    NOUN or PROPN). Scoring a purchase needs those of the product bought and of the goal's product. index: an existing
    search index; None: it is built on first use.

    Raises ActreError if there is no product or an asin repeats.
    """

    def __init__(
        self,
        products: Iterable[Product],
        nouns: Mapping[str, Sequence[str]] | None = None,
        source: str = "catalogue",
        index: Index | None = None,
    ) -> None:
        self.products = tuple(products)
        self.source = source
        self.nouns: Mapping[str, Sequence[str]] = nouns or {}
        self.by_asin = {product.asin: product for product in self.products}
        if not self.products:
            raise _no_product(source)
        if len(self.by_asin) < len(self.products):
            raise ActreError(f"{source}: two products have the same asin: give each its own")
        if index is not None:
            self.index = index

    def __len__(self) -> int:
        return len(self.products)

    def __deepcopy__(self, memo: object) -> "Catalogue":
        return self  # immutable; gymnasium.make copies its arguments

    @cached_property
    def index(self) -> Index:
        """The search index over the products; a hit is a position in `products`."""
        return Index.build((product.asin, product.index_text) for product in self.products)

    @cached_property
    def key(self) -> str:
        """A digest of the asins, 12 hexadecimal digits."""
        return hashlib.sha256("\n".join(self.by_asin).encode("utf-8", "surrogatepass")).hexdigest()[:12]

    def nouns_of(self, asin: str) -> Sequence[str]:
        """The nouns of a product's name. Raises ActreError if the noun table lacks it."""
        try:
            return self.nouns[asin]
        except KeyError:
            raise ActreError(
                f"{self.source}: the noun table lacks {asin}, and a purchase cannot be scored without it: make the "
                "table with `actre webshop import FOLDER`"
            ) from None


def read_catalogue(folder: str | Path, *, full: bool = False, strict: bool = True) -> Catalogue:
    """The catalogue in a folder of official files: products, instructions and, if present, human instructions.

    full: use items_shuffle.json even if the 1,000-product file is there. Files may end in .gz. A file nouns.json
    ({asin: [noun, ...]}) in the folder is the noun table. strict: True raises for an asin that repeats, is 'nan' or is
    longer than 10 characters; False skips such an entry, as the original does. Raises ActreError naming file, entry and
    field.
    """
    files = find_files(folder, full=full)
    reader = ProductReader(files.products, files.instructions, human=files.human, strict=strict)
    nouns = read_nouns(files.nouns) if files.nouns else None
    return Catalogue(reader.read(stream(files.products)), nouns, source=str(files.products))


class ProductReader:
    """Converts entries of the products file into products, one at a time, so that a large file can be streamed.

    `skipped` counts the entries that strict=False has skipped.
    """

    def __init__(
        self, products: str | Path, instructions: str | Path, *, human: str | Path | None = None, strict: bool = True
    ) -> None:
        self._file, self._strict, self.skipped = str(products), strict, 0
        self._seen: set[str] = set()
        self._instructions = _by_asin(instructions, _instruction)
        self._human = {} if human is None else _by_asin(human, _human_instructions)

    def read(self, entries: Iterable[Any]) -> Iterator[Product]:
        """The products of a file's entries, in order. Raises ActreError for a wrong entry or if there is none."""
        products = (self.product(number, entry) for number, entry in enumerate(entries))
        found = False
        for product in products:
            if product is not None:
                found = True
                yield product
        if not found:
            raise self.no_product()

    def product(self, number: int, entry: Any) -> Product | None:
        """The product of the file's next entry; None for a skipped one."""
        asin = _Fields(self._file, f"entry {number}", entry).text("asin")
        fields = _Fields(self._file, f"entry {number} ({asin})", entry)
        repeats = "repeats an earlier entry" if asin in self._seen else ""
        why = "is not an asin" if asin == "nan" or len(asin) > 10 else repeats
        if why and self._strict:
            raise fields.error("asin", f"{asin!r} {why} (strict=False skips such entries, as the original does)")
        if why:
            self.skipped += 1
            return None
        self._seen.add(asin)
        return self._product(asin, fields)

    def no_product(self) -> ActreError:
        """The error for a file without a product."""
        return _no_product(self._file)

    def _product(self, asin: str, fields: "_Fields") -> Product:
        pricing = _pricing(fields)
        attributes, instruction, wanted = self._instructions.get(asin, (None, None, ()))
        images = fields.texts("images")
        return Product(
            asin=asin,
            name=fields.text("name"),
            description=fields.text("full_description"),
            bullets=fields.texts("small_description", or_one=True),
            pricing=pricing,
            price_tag=" to ".join(f"${price}" for price in pricing),
            options=_options(fields),
            attributes=(DUMMY_ATTRIBUTE,) if attributes is None else attributes,
            image=images[0] if images else "",
            category=sys.intern(fields.text("category")),
            query=sys.intern(fields.text("query").lower().strip()),
            product_category=sys.intern(fields.text("product_category")),
            instruction=instruction,
            instruction_attributes=wanted,
            human=self._human.get(asin, ()),
        )


def read_nouns(path: str | Path) -> dict[str, tuple[str, ...]]:
    """A noun table: a JSON file {asin: [noun, ...]}."""
    return _by_asin(path, lambda file, asin, entry: _Fields(file, asin, {"nouns": entry}).texts("nouns"))


class _Fields:
    """The fields of one entry of a file, each checked when it is read."""

    def __init__(self, file: str | Path, where: str, entry: Any) -> None:
        if not isinstance(entry, dict):
            raise ActreError(f"{file}: {where}: is {kind(entry)}, not an object of fields")
        self.file, self.where, self.entry = file, where, entry

    def error(self, field: str, why: str) -> ActreError:
        return ActreError(f"{self.file}: {self.where}: field {field!r}: {why}")

    def get(self, field: str) -> Any:
        if field not in self.entry:
            raise self.error(field, "is missing")
        return self.entry[field]

    def text(self, field: str) -> str:
        value = self.get(field)
        if not isinstance(value, str):
            raise self.error(field, f"is {kind(value)}, not a string")
        return value

    def texts(self, field: str, or_one: bool = False) -> tuple[str, ...]:
        value = self.get(field)
        if or_one and isinstance(value, str):
            return (value,)
        if not isinstance(value, list):
            raise self.error(field, f"is {kind(value)}, not a list of strings")
        for number, item in enumerate(value):
            if not isinstance(item, str):
                raise self.error(field, f"value {number} is {kind(item)}, not a string")
        return tuple(value)


def _pricing(fields: _Fields) -> tuple[float, ...]:
    text = fields.entry.get("pricing")
    if not text:
        return (DEFAULT_PRICE,)
    parts = fields.text("pricing").split("$")[1:3]
    try:
        prices = tuple(float(Decimal(_NEVER_PRICE.sub("", part))) for part in parts)
    except InvalidOperation:
        prices = ()
    if not prices:
        raise fields.error("pricing", f"{text!r} is not a price such as '$9.99' or '$5.00$10.00'")
    return prices


def _options(fields: _Fields) -> dict[str, tuple[str, ...]]:
    given = fields.get("customization_options")
    if not given:
        return {}
    if not isinstance(given, dict):
        raise fields.error("customization_options", f"is {kind(given)}, not an object")
    options = {}
    for name, contents in given.items():
        if contents is None:
            continue
        where = f"customization_options: {name}"
        if not isinstance(contents, list):
            raise fields.error(where, f"is {kind(contents)}, not a list of values")
        values = []
        for number, content in enumerate(contents):
            if not isinstance(content, dict) or not isinstance(content.get("value"), str):
                raise fields.error(where, f"value {number} is not an object with a string 'value'")
            values.append(sys.intern(content["value"].strip().replace("/", " | ").lower()))
        options[sys.intern(name.lower())] = tuple(values)
    return options


class _Instruction(NamedTuple):
    attributes: tuple[str, ...] | None
    text: str | None
    wanted: tuple[str, ...]


def _instruction(file: str, asin: str, entry: Any) -> _Instruction:
    fields = _Fields(file, asin, entry)
    attributes = tuple(map(sys.intern, fields.texts("attributes"))) if "attributes" in fields.entry else None
    if fields.entry.get("instruction") is None:
        return _Instruction(attributes, None, ())
    wanted = tuple(map(sys.intern, fields.texts("instruction_attributes")))
    if not wanted:
        raise fields.error("instruction_attributes", "is empty: a goal needs at least one attribute")
    return _Instruction(attributes, fields.text("instruction"), wanted)


def _human_instructions(file: str, asin: str, entry: Any) -> tuple[HumanInstruction, ...]:
    if not isinstance(entry, list):
        raise ActreError(f"{file}: {asin}: is {kind(entry)}, not a list of instructions")
    found = []
    for number, item in enumerate(entry):
        fields = _Fields(file, f"{asin}, instruction {number}", item)
        wanted = fields.texts("instruction_attributes"), fields.texts("instruction_options")
        found.append(HumanInstruction(fields.text("instruction"), *wanted))
    return tuple(found)


def _by_asin(path: str | Path, read: Any) -> dict[str, Any]:
    table = read_json(path)
    if not isinstance(table, dict):
        raise ActreError(
            f"{path}: holds {kind(table)}, not an object with an entry for each asin: is it the right file?"
        )
    return {asin: read(str(path), asin, entry) for asin, entry in table.items()}


def _no_product(source: str) -> ActreError:
    return ActreError(
        f"{source}: holds no product: give a file of the official format, or make one: actre webshop generate"
    )
