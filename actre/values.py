"""Whether a dataclass's values are what its fields ask for. Knows no setting."""

import dataclasses
import types
import typing
from typing import Any, Literal, get_args, get_origin

from actre.types import ActreError


def at_least(part: Any, **least: int) -> None:
    """Raises ActreError for a number below what a setting needs, NaN too; what is no number is told elsewhere."""
    for name, number in least.items():
        value = getattr(part, name)
        if isinstance(value, (int, float)) and not value >= number:
            raise ActreError(f"{type(part).__name__}.{name} is {value}: it has to be {number} at least")


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
