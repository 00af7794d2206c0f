"""Generates a shop: products, instructions and noun table in WebShop's official file format. Seeded.

The same seed gives the same shop in every Python version, and a larger shop begins with the products of a smaller one.

Differs: unlike the official files, texts are short and their vocabulary is small, so that a tiny policy can read them;
the human instructions come from templates too; the noun table comes from a word list instead of a tagger; each option
value is a bare {"value": ...}.
"""

import gzip
import hashlib
import json
import random
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

from actre.envs.webshop.wares import BRANDS, KINDS, NOT_NOUNS, Kind
from actre.types import ActreError

SHIPPED_PRODUCTS = 320
SHIPPED_SEED = "v1"
PRODUCTS, INSTRUCTIONS, HUMAN, NOUNS = "items_shuffle", "items_ins_v2", "items_human_ins", "nouns"
"""Names of a shop's four files without their endings; the first three are official names."""
FILES = tuple(f"{name}.json.gz" for name in (PRODUCTS, INSTRUCTIONS, HUMAN, NOUNS))

_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_IS = (
    "{Feature}: a {name} that stays {feature} for years.",
    "{Feature}: our {name} is {feature}, as it should be.",
    "{Feature} by design, so you can enjoy this {name} every day.",
)
_WITH = (
    "{Feature}: made with {feature} for a better {name}.",
    "Comes with {feature}, which you will like from the first day.",
    "{Feature} included: we chose good {feature} with care.",
)
_FOR = (
    "Great for {feature}: a {name} you can count on.",
    "{Feature}: this {name} was made for {feature}.",
    "A good gift for anyone who needs it for {feature}.",
)
_PLAIN = (
    "Our team is here for you: write to us if anything is wrong.",
    "Packed with care and sent within two days.",
    "Please check the size and the color before you order.",
    "A small brand with many happy customers.",
)
_HUMAN = (
    "i am looking for {is_} {query}{with_}{for_}{options}",
    "i need {is_} {query}{for_}{with_}{options}",
    "can you find {query}{with_} that are {is_}{options}",
)


class Drawn(NamedTuple):
    """One product as the files have it. human: an instruction in other words, which few products have."""

    product: dict[str, Any]
    instruction: dict[str, Any]
    human: list[dict[str, Any]]
    nouns: list[str]


class _Traits(NamedTuple):
    is_: list[str]
    with_: list[str]
    for_: list[str]

    @property
    def all(self) -> list[str]:
        return [*self.is_, *self.with_, *self.for_]


def draw(n: int, seed: int | str = SHIPPED_SEED, asins: Sequence[str] = ()) -> Iterator[Drawn]:
    """`n` products, the kinds of wares in turn; one at a time, so that a large shop need not fit in memory.

    asins: names for the first products; the others' names are drawn. Raises ActreError for n < 1.
    """
    if n < 1:
        raise ActreError(f"a shop of {n} products: ask for at least one, as in `actre webshop generate --n 300`")
    known: set[str] = set()
    for i in range(n):
        rng = random.Random(f"actre shop {seed} {i}")
        asin = _asin(rng)
        while asin in known:
            asin = _asin(rng)
        known.add(asin)
        yield _draw(KINDS[i % len(KINDS)], asins[i] if i < len(asins) else asin, i, rng)


def write(
    folder: str | Path, n: int = SHIPPED_PRODUCTS, seed: int | str = SHIPPED_SEED, asins: Sequence[str] = ()
) -> list[Path]:
    """Write a shop's four files (gzipped JSON) into `folder`; returns their paths.

    Products are written one by one, so memory use does not grow with n.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / name for name in FILES]
    parts = [path.with_name(path.name + ".part") for path in paths]
    with ExitStack() as stack:
        raws = [stack.enter_context(part.open("wb")) for part in parts]
        # no time and no file name inside, so that the same shop gives the same bytes
        files = [stack.enter_context(gzip.GzipFile("", "wb", 9, raw, mtime=0)) for raw in raws]
        between = [opening.encode() for opening in "[{{{"]
        for drawn in draw(n, seed, asins):
            for k, value in enumerate((drawn.product, drawn.instruction, drawn.human, drawn.nouns)):
                if value:
                    key = "" if k == 0 else f"{json.dumps(drawn.product['asin'])}: "
                    files[k].write(between[k] + f"\n{key}{json.dumps(value, ensure_ascii=False)}".encode())
                    between[k] = b","
        for file, opening, closing in zip(files, between, "]}}}", strict=True):
            # nothing has been written for an empty table
            file.write((b"" if opening == b"," else opening) + f"\n{closing}\n".encode())
    for part, path in zip(parts, paths, strict=True):
        part.replace(path)
    return paths


def _asin(rng: random.Random) -> str:
    return "B" + "".join(rng.choice(_ALPHABET) for _ in range(9))


def _draw(kind: Kind, asin: str, i: int, rng: random.Random) -> Drawn:
    brand = rng.choice(BRANDS)
    traits = _Traits(
        rng.sample(kind.is_, rng.choice((2, 3))),
        rng.sample(kind.with_, rng.choice((1, 2))),
        rng.sample(kind.for_, rng.choice((1, 2))),
    )
    options = _options(kind, rng)
    title = _title(kind, brand, traits, rng)
    bullets = _bullets(kind, traits, rng)
    told = rng.sample(traits.all, rng.choice((0, 1, 2)))
    description = " ".join([f"The {brand} {kind.name} {_joined(told)}.", rng.choice(_PLAIN)]) if told else ""
    product = {
        "name": title,
        "full_description": description,
        "small_description": bullets,
        "pricing": _pricing(kind, rng),
        "images": [f"https://example.com/{asin}.jpg"],
        "product_category": kind.path,
        "average_rating": rng.choice(("", 3.6, 3.9, 4.2, 4.4, 4.5, 4.7, 4.8)),
        "customization_options": {name: [{"value": v} for v in values] for name, values in options.items()} or "",
        "asin": asin,
        "category": kind.category,
        "query": kind.query,
        "page": 1 + i // len(KINDS),
    }
    instruction: dict[str, Any] = {"attributes": traits.all}
    human: list[dict[str, Any]] = []
    if rng.random() < 0.9:
        asked = _Traits(
            rng.sample(traits.is_, rng.choice((1, 1, 2))),
            rng.sample(traits.with_, rng.choice((0, 1))),
            rng.sample(traits.for_, rng.choice((0, 1))),
        )
        instruction |= {"instruction": _asked(kind, asked), "instruction_attributes": asked.all}
        if rng.random() < 0.25:
            human = [_human(kind, asin, traits, asked, options, rng)]
    return Drawn(product, instruction, human, _nouns(title))


def _options(kind: Kind, rng: random.Random) -> dict[str, list[str]]:
    """Up to three of the kind's options, each with two to six of its values, in the kind's order."""
    names = list(kind.options)
    count = min(len(names), rng.choice((0, 1, 1, 2, 2, 2, 2, 3, 3)))
    chosen = sorted(rng.sample(names, count), key=names.index)
    drawn = {name: set(rng.sample(v := kind.options[name], rng.randint(2, min(6, len(v))))) for name in chosen}
    return {name: [value for value in kind.options[name] if value in drawn[name]] for name in chosen}


def _title(kind: Kind, brand: str, traits: _Traits, rng: random.Random) -> str:
    """A title with only some of the traits, so that titles alone do not determine what to buy."""
    parts = [brand, *(trait.title() for trait in traits.is_[: rng.choice((0, 1, 1, 2))]), kind.name]
    if rng.random() < 0.5:
        parts += ["with", traits.with_[0].title()]
    if rng.random() < 0.4:
        parts += ["for", traits.for_[0].title()]
    return " ".join(parts)


def _bullets(kind: Kind, traits: _Traits, rng: random.Random) -> list[str]:
    """A sentence for each trait in random order, and a plain one. As in the original, search indexes only the first."""
    lines = [
        rng.choice(sentences).format(Feature=trait.capitalize(), feature=trait, name=kind.name.lower())
        for sentences, group in zip((_IS, _WITH, _FOR), traits, strict=True)
        for trait in group
    ]
    rng.shuffle(lines)
    return [*lines, rng.choice(_PLAIN)]


def _pricing(kind: Kind, rng: random.Random) -> str:
    def amount() -> str:
        return f"{rng.randint(kind.low, kind.high)}.{rng.choice(('99', '99', '49', '95', '00'))}"

    style = rng.random()
    if style < 0.06:
        return ""
    if style < 0.16:
        low, high = sorted((amount(), amount()), key=float)
        return f"${low}${high}"
    return f"${amount()}"


def _asked(kind: Kind, asked: _Traits) -> str:
    text = f"Find me {', '.join(asked.is_)} {kind.query}"
    text += f" with {', '.join(asked.with_)}" if asked.with_ else ""
    return text + (f" for {', '.join(asked.for_)}" if asked.for_ else "")


def _human(
    kind: Kind, asin: str, traits: _Traits, asked: _Traits, options: dict[str, list[str]], rng: random.Random
) -> dict[str, Any]:
    wanted = {name: rng.choice(values) for name, values in options.items() if rng.random() < 0.8}
    text = rng.choice(_HUMAN).format(
        is_=" and ".join(asked.is_),
        query=kind.query,
        with_=f" with {' and '.join(asked.with_)}" if asked.with_ else "",
        for_=f" for {' and '.join(asked.for_)}" if asked.for_ else "",
        options="".join(f", {value}" if name in value else f", in {name} {value}" for name, value in wanted.items()),
    )
    # one of the templates leaves out the "for" traits
    said = [trait for trait in asked.all if trait in text]
    return {
        "asin": asin,
        "instruction": f"{text}.",
        "attributes": traits.all,
        "options": list(wanted.values()) or [""],
        "instruction_attributes": said,
        "instruction_options": list(wanted.values()),
        "assignment_id": "generated",
        "worker_id": "generated",
    }


def _joined(traits: list[str]) -> str:
    return f"is known for {'one thing' if len(traits) == 1 else 'two things'}: {' and '.join(traits)}"


def _nouns(title: str) -> list[str]:
    return [word for word in title.lower().replace("'s", "").split() if word not in NOT_NOUNS and not word.isdigit()]


def digest(folder: str | Path) -> str:
    """The first 12 hexadecimal digits of the SHA-256 of a shop's four files, decompressed.

    The compressed bytes differ between machines.
    """
    files = (Path(folder) / f"{name}.json.gz" for name in (PRODUCTS, INSTRUCTIONS, HUMAN, NOUNS))
    return hashlib.sha256(b"".join(gzip.decompress(file.read_bytes()) for file in files)).hexdigest()[:12]
