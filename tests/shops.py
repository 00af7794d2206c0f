"""Small shops for tests: two products in the official format, their files, and catalogues of products like them."""

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from actre.envs.webshop import Catalogue, read_catalogue

SHIRT = {
    "asin": "B000000001",
    "name": "Blue Shirt",
    "full_description": "A soft shirt.",
    "small_description": ["100% cotton", " "],
    "pricing": "$9.99$19.50",
    "images": ["shirt.jpg"],
    "product_category": "Clothing › Men › Shirts",
    "customization_options": {
        "Color": [{"value": " Navy Blue "}, {"value": "red/white"}],
        "Size": [{"value": "Large"}, {"value": "us [10]"}],
        "Fit": None,
    },
    "category": "fashion",
    "query": " Men's Shirts ",
}
SOAP = {
    **SHIRT,
    "asin": "B000000002",
    "name": "Rose Soap",
    "small_description": "gentle soap",
    "pricing": "",
    "customization_options": "",
    "category": "beauty",
    "query": "soaps",
    "product_category": "Beauty › Bath › Soaps",
}
INSTRUCTIONS = {
    "B000000001": {
        "attributes": ["soft cotton"],
        "instruction": "Find me soft cotton shirts",
        "instruction_attributes": ["soft cotton"],
    },
    "B000000002": {
        "attributes": [],
        "instruction": "Find me gentle soap",
        "instruction_attributes": ["gentle"],
    },
}
HUMAN = {
    "B000000001": [{"instruction": "a soft shirt.", "instruction_attributes": ["soft"], "instruction_options": ["red"]}]
}
NOUNS = {"B000000001": ["shirt"], "B000000002": ["rose", "soap"]}


def write(folder: Path, **files: Any) -> Path:
    """A folder of official files: those above, but for the ones given."""
    held = {"items_shuffle": [SHIRT, SOAP], "items_ins_v2": INSTRUCTIONS, "items_human_ins": HUMAN, "nouns": NOUNS}
    for name, content in (held | files).items():
        (folder / f"{name}.json").write_text(content if isinstance(content, str) else json.dumps(content))
    return folder


def catalogue_of(products: Sequence[dict[str, Any]], **files: Any) -> Catalogue:
    """The catalogue of some entries; every product without nouns of its own has those of a soap."""
    nouns = {product["asin"]: ["soap"] for product in products} | NOUNS
    with tempfile.TemporaryDirectory() as folder:
        return read_catalogue(write(Path(folder), items_shuffle=list(products), nouns=nouns, **files))
