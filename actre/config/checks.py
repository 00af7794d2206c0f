"""Whether values are what settings and options ask for: their type, and between which numbers. Knows no setting.

A kind of number is a type with its range beside it, as `Count`; a dataclass's field is annotated with it, and an option
of a command takes `of(Count)` as its type.
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
    """The numbers from `least` to `most`, both among them unless `above`: then the least is not. also: one more.

    whole: only whole ones. unit: as it stands behind a number. As the type of an option it reads a text.
    """

    least: float
    most: float
    whole: bool = False
    above: bool = False
    also: float | None = None
    unit: str = ""

    def holds(self, value: Any) -> bool:
        """Whether the number is one of them; NaN and infinities are not.

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
        """What it takes, in words.

        >>> Range(1, 1000, whole=True).words
        'at least 1 is needed (a whole number, at most 1,000)'
        >>> Range(0, 1, above=True).words, Range(0.5, 2, also=0).words
        ('above 0 is needed (a number, at most 1)', '0 or at least 0.5 is needed (a number, at most 2)')
        """
        least = f"{'above' if self.above else 'at least'} {_plain(self.least)}{self.unit}"
        also = "" if self.also is None else f"{_plain(self.also)} or "
        kind = "a whole number" if self.whole else "a number"
        return f"{also}{least} is needed ({kind}, at most {_plain(self.most)})"

    def __call__(self, text: str) -> Any:
        """The number that an option's text stands for. Raises ActreError, in a sentence, for another text."""
        try:
            value = int(text) if self.whole else float(text)
        except ValueError:
            value = None
        if value is None or not self.holds(value):
            raise ActreError(f"{shortened(text)}: {self.words}")
        return value


Count = Annotated[int, Range(1, 10**6, whole=True)]
Natural = Annotated[int, Range(0, 10**6, whole=True)]
Several = Annotated[int, Range(2, 10**6, whole=True)]
"""Of what is compared with one another, so that one alone says nothing."""
Large = Annotated[int, Range(1, 10**12, whole=True)]
"""Of steps and tokens, which are counted over a run."""
Seed = Annotated[int, Range(0, 2**32 - 1, whole=True)]
Processes = Annotated[int, Range(1, 1024, whole=True)]
Rank = Annotated[int, Range(1, 4096, whole=True)]
Share = Annotated[float, Range(0, 1)]
Weight = Annotated[float, Range(0, 10**6)]
Signed = Annotated[float, Range(-(10**6), 10**6)]
Positive = Annotated[float, Range(0, 10**6, above=True)]
Nats = Annotated[float, Range(0, 10**6, above=True, unit=" nats")]
Rate = Annotated[float, Range(0, 1e30, above=True)]
"""A learning rate. Which one is too high a run finds out, and says: its loss is then no number."""
Temperature = Annotated[float, Range(0.001, 100)]
"""Nothing below: divided by it, logits of ordinary size have no softmax."""
TemperatureOrZero = Annotated[float, Range(0.001, 100, also=0)]
"""0: the likeliest token."""


def of(kind: Any) -> Range:
    """The range of a kind of number, as an option's type.

    >>> of(Count)("3")
    3
    """
    (found,) = _ranges_in(kind)
    return found


class Ranged:
    """The base of a frozen dataclass of settings: ActreError for a number that is not in the range of its field."""

    def __post_init__(self) -> None:
        own: Any = type(self)
        for name, range_ in _ranges(own).items():
            value = getattr(self, name)
            # non-numeric values are checked where a file is read
            if isinstance(value, numbers.Real) and not range_.holds(value):
                raise ActreError(f"{type(self).__name__}.{name} is {_shown(value)}: {range_.words}")


def shortened(text: str) -> str:
    """A text as it stands in a complaint: its beginning, where it is long."""
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def must_fit(part: Any) -> None:
    """Raises ActreError for a value of another type than the setting's: what is misspelt would be taken for another."""
    kinds = typing.get_type_hints(type(part))
    for each in dataclasses.fields(part):
        value, kind = getattr(part, each.name), kinds[each.name]
        if not _fits(value, kind):
            options = f"one of {', '.join(map(str, get_args(kind)))}" if get_origin(kind) is Literal else f"of {kind}"
            raise ActreError(f"{type(part).__name__}.{each.name} is {value!r}; it has to be {options}")


def _fits(value: Any, kind: Any) -> bool:
    origin, inner = get_origin(kind), get_args(kind)
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
    """The fields that are numbers, with what they take."""
    kinds = typing.get_type_hints(settings, include_extras=True)
    return {name: range_ for name, kind in kinds.items() for range_ in _ranges_in(kind)}


def _ranges_in(kind: Any) -> Iterator[Range]:
    """The range of a kind, or of one in a union."""
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
    """A number as it is, or how long it is: Python writes no whole number of over 4,300 digits."""
    if isinstance(value, int) and value.bit_length() > 100:
        return f"a whole number of about {round(value.bit_length() * 0.30103):,} digits"
    return str(value)
