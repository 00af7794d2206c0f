"""Settings as words on a command line: NAME=VALUE for a run's, ORDER:ITERATIONS:NAME=VALUE for its stages.

Knows the dataclasses of config.py by their fields and types; not what the settings do.
"""

import dataclasses
import difflib
import types
import typing
from collections.abc import Sequence
from typing import Any, Literal

from actre.config.checks import Count, of, shortened
from actre.config.model_names import settled
from actre.config.run import RunConfig, StageConfig, differences
from actre.types import ORDERS, ActreError


def changed(config: RunConfig, assignments: Sequence[str]) -> RunConfig:
    """The settings with what each "part.name=value" says. Raises ActreError for a name or a value there is not.

    >>> changed(RunConfig(), ["optim.advantage=gigpo", "seed=3"]).optim.advantage
    'gigpo'
    """
    for text in assignments:
        name, equals, value = text.partition("=")
        if not equals:
            raise ActreError(f"--set {text}: NAME=VALUE is needed, as in --set optim.advantage=gigpo")
        config = _changed(config, name.strip(), name.strip().split("."), value.strip())
    return config


def stages(text: str) -> tuple[StageConfig, ...]:
    """The stages written as ORDER:ITERATIONS,... each with any of its settings behind. Raises ActreError.

    >>> [stage.iterations for stage in stages("act_first:10:until=plateau:plateau_window=3,think_first:20")]
    [10, 20]
    """
    found = []
    for part in text.split(","):
        name, *rest = (piece.strip() for piece in part.split(":"))
        order = next((order for order in ORDERS if order == name), None)
        if order is None:
            raise ActreError(f"no order {name!r}; there are: {', '.join(ORDERS)}")
        try:
            stage = StageConfig(order, of(Count)(rest[0]))
        except (IndexError, ActreError) as error:
            told = f" ({error})" if rest else ""
            raise ActreError(f"{shortened(part)!r}: how many iterations? e.g. {name}:10{told}") from None
        for setting in rest[1:]:
            key, equals, value = setting.partition("=")
            if not equals or key in ("order", "iterations"):
                raise ActreError(f"{part!r}: {setting!r} is not NAME=VALUE, as in {name}:10:until=plateau")
            stage = _changed(stage, key, [key], value)
        found.append(stage)
    return tuple(found)


def _changed(part: Any, whole: str, path: Sequence[str], value: str) -> Any:
    names = [field.name for field in dataclasses.fields(part)]
    name, *rest = path
    if name not in names:
        near = difflib.get_close_matches(name, names, n=1)
        hint = f"did you mean {near[0]}?" if near else f"there are: {', '.join(names)}"
        raise ActreError(f"no setting {whole!r}: {type(part).__name__} has no {name!r}; {hint}")
    old = getattr(part, name)
    if dataclasses.is_dataclass(old) != bool(rest):
        raise ActreError(f"{whole!r} is {'a group of settings' if not rest else 'no group of settings'}")
    if rest:
        return dataclasses.replace(part, **{name: _changed(old, whole, rest, value)})
    return dataclasses.replace(part, **{name: _read(typing.get_type_hints(type(part))[name], whole, value)})


def _read(kind: Any, name: str, text: str) -> Any:
    """The value of a type that a text stands for."""
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):  # X | None
        return None if text == "none" else _read(inner[0], name, text)
    if origin is Literal:
        if text in inner:
            return text
        raise ActreError(f"{name}={text}: it is one of {', '.join(map(str, inner))}")
    if origin is tuple and inner[0] is not StageConfig:
        return tuple(_read(inner[0], name, piece) for piece in text.split(",") if piece)
    if kind is bool:
        if text in ("true", "false"):
            return text == "true"
        raise ActreError(f"{name}={text}: it is true or false")
    if kind in (int, float):
        try:
            return kind(text)
        except ValueError as error:
            raise ActreError(f"{name}={shortened(text)}: it is {'a whole' if kind is int else 'a'} number") from error
    if kind is str:
        return text
    raise ActreError(f"{name} cannot be set like this (stages: --stages)")


def unlike(one: RunConfig, other: RunConfig) -> list[str]:
    """What differs of the model, environment, prompt and sampling of two settings: what an evaluation depends on."""
    first, second = (
        {
            "model": settled(settings.model.name),
            **{part: dataclasses.asdict(getattr(settings, part)) for part in ("env", "prompt", "sampling")},
        }
        for settings in (one, other)
    )
    return differences(first, second)
