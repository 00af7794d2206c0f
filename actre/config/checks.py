"""Types and ranges of settings and command-line options.

A kind of number is a type with its range, such as `Count`. A dataclass field is annotated with it; a command's option
takes `of(Count)` as its type.
"""

import dataclasses
import numbers
import types
import typing
from collections.abc import Iterator
from functools import lru_cache
from typing import Annotated, Any, Literal, get_args, get_origin

from actre.types import ActreError

_SHOWN = 40


@dataclasses.dataclass(frozen=True)
class Range:
    """The numbers from `least` to `most`. Called with a text, as the type of an option, it parses it.

    whole: whole numbers only. above: excludes `least` itself. also: one further allowed number. unit: of the numbers.
    why: the reason for the range, where a message gives it.
    """

    least: float
    most: float
    whole: bool = False
    above: bool = False
    also: float | None = None
    unit: str = ""
    why: str = ""

    def holds(self, value: Any) -> bool:
        """Whether the number is in the range; NaN and infinities are not.

        >>> Range(0, 1).holds(0.5), Range(0, 1, above=True).holds(0.0), Range(1, 9, whole=True).holds(1.5)
        (True, False, False)
        """
        if self.whole and not isinstance(value, numbers.Integral):
            return False
        if self.also is not None and value == self.also:
            return True
        return bool(self.least <= value <= self.most) and not (self.above and value == self.least)

    @property
    def words(self) -> str:
        """The range in words.

        >>> Range(1, 1000, whole=True).words
        'a whole number, at least 1 and at most 1,000'
        >>> Range(0, 1, above=True).words, Range(0.5, 2, also=0).words
        ('a number, above 0 and at most 1', 'a number, 0 or at least 0.5 and at most 2')
        """
        kind = "a whole number" if self.whole else "a number"
        also = "" if self.also is None else f"{_plain(self.also)} or "
        least = f"{'above' if self.above else 'at least'} {_plain(self.least)}"
        return f"{kind}, {also}{least} and at most {_plain(self.most)}{self.unit}"

    def __call__(self, text: str) -> Any:
        """The number in an option's text. Raises ActreError if it is not one of this range."""
        try:
            value = int(text) if self.whole else float(text)
        except ValueError:
            value = None
        if value is None or not self.holds(value):
            raise ActreError(f"{shortened(text)}: it must be {self.words}")
        return value


Count = Annotated[int, Range(1, 10**6, whole=True)]
Natural = Annotated[int, Range(0, 10**6, whole=True)]
Several = Annotated[int, Range(2, 10**6, whole=True)]
"""Numbers of things that are compared with each other, so that one alone is too few."""
Large = Annotated[int, Range(1, 10**12, whole=True)]
"""Steps and tokens, counted over a run."""
Seed = Annotated[int, Range(0, 2**32 - 1, whole=True)]
Processes = Annotated[int, Range(1, 1024, whole=True)]
Rank = Annotated[int, Range(1, 4096, whole=True)]
Share = Annotated[float, Range(0, 1)]
Weight = Annotated[float, Range(0, 10**6)]
Signed = Annotated[float, Range(-(10**6), 10**6)]
Positive = Annotated[float, Range(0, 10**6, above=True)]
Nats = Annotated[float, Range(0, 10**6, above=True, unit=" nats")]
Rate = Annotated[float, Range(0, 1e30, above=True)]
"""A learning rate. One that is too high shows in the run, whose loss is then NaN."""
_NOT_GREEDY = (
    "; without chance (0) all episodes of a game are the same and there is nothing to learn from; evaluations may be "
    "greedy: sampling.eval_temperature=0"
)
Temperature = Annotated[float, Range(0.001, 100, why=_NOT_GREEDY)]
"""Logits divided by less than the minimum overflow the softmax."""
TemperatureOrZero = Annotated[float, Range(0.001, 100, also=0)]
"""0: greedy."""


def of(kind: Any) -> Range:
    """The range of a kind of number, for use as an option's type.

    >>> of(Count)("3")
    3
    """
    (found,) = _ranges_in(kind)
    return found


class Ranged:
    """Base class of settings. Raises ActreError for a number outside the range of its field."""

    def __post_init__(self) -> None:
        own: Any = type(self)
        for name, range_ in _ranges(own).items():
            value = getattr(self, name)
            # values of other types are checked by `must_fit` when a file is read
            if isinstance(value, numbers.Real) and not range_.holds(value):
                raise ActreError(
                    f"{type(self).__name__}.{name} is {_shown(value)}: it must be {range_.words}{range_.why}"
                )


def shortened(text: str) -> str:
    """The text, or its beginning if it is long, for use in a message."""
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def must_fit(part: Any) -> None:
    """Raises ActreError for a value whose type is not the setting's, such as a misspelt choice."""
    for name, kind in typing.get_type_hints(type(part), include_extras=True).items():
        value = getattr(part, name)
        if not _fits(value, kind):
            raise ActreError(f"{type(part).__name__}.{name} is {value!r}: it must be {words_of(kind)}")


def words_of(kind: Any) -> str:
    """A setting's type in words.

    >>> words_of(Share | None), words_of(tuple[str, ...])
    ('a number, at least 0 and at most 1, or none', 'a comma-separated list')
    """
    origin, inner = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return of(kind).words
    if origin is Literal:
        return f"one of {', '.join(map(str, inner))}"
    if origin in (typing.Union, types.UnionType):
        return f"{words_of(inner[0])}, or none"
    if origin is tuple:
        return "a comma-separated list" + ("" if inner[0] is str else f", each {words_of(inner[0])}")
    return {bool: "true or false", str: "text"}.get(kind, getattr(kind, "__name__", str(kind)))


def _fits(value: Any, kind: Any) -> bool:
    origin, inner = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return _fits(value, inner[0])
    if origin is Literal:
        return value in inner
    if origin in (typing.Union, types.UnionType):
        return any(_fits(value, one) for one in inner)
    if origin is tuple:
        return isinstance(value, tuple) and all(_fits(one, inner[0]) for one in value)
    if kind is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    return isinstance(value, kind) and (kind is not int or not isinstance(value, bool))


@lru_cache
def _ranges(settings: Any) -> dict[str, Range]:
    """The ranges of the numeric fields, by name."""
    kinds = typing.get_type_hints(settings, include_extras=True)
    return {name: range_ for name, kind in kinds.items() for range_ in _ranges_in(kind)}


def _ranges_in(kind: Any) -> Iterator[Range]:
    """The range of a kind, or those within a union."""
    if get_origin(kind) is Annotated:
        yield from (one for one in kind.__metadata__ if isinstance(one, Range))
    elif get_origin(kind) in (typing.Union, types.UnionType):
        for one in get_args(kind):
            yield from _ranges_in(one)


def _plain(number: float) -> str:
    """
    >>> _plain(4294967295), _plain(0.001), _plain(-1000000), _plain(1e30)
    ('4,294,967,295', '0.001', '-1,000,000', '1e+30')
    """
    return f"{number:,}" if number == int(number) and number < 10**15 else f"{number:g}"


def _shown(value: Any) -> str:
    """A number, or its length: Python refuses to write a whole number of over 4,300 digits."""
    if isinstance(value, int) and value.bit_length() > 100:
        return f"a whole number of about {round(value.bit_length() * 0.30103):,} digits"
    return str(value)
