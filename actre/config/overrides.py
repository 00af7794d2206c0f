"""Settings on a command line: NAME=VALUE for a run, ORDER:ITERATIONS:NAME=VALUE for a stage."""

import dataclasses
import difflib
import types
import typing
import warnings
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from actre.config.checks import Count, of, shortened, words_of
from actre.config.earlier import REMOVED, RENAMED
from actre.config.estimators import ESTIMATORS
from actre.config.model_names import settled
from actre.config.recipes import with_estimator
from actre.config.run import RunConfig, StageConfig
from actre.config.saved import differences
from actre.types import ORDERS, ActreError

_ESTIMATOR = "optim.advantage"


def changed(config: RunConfig, assignments: Sequence[str]) -> RunConfig:
    """The settings with each "group.name=value" applied. Raises ActreError for an unknown name or a wrong value.

    An estimator comes first and brings the settings of its recipe (`with_estimator`).

    >>> changed(RunConfig(), ["optim.advantage=gigpo", "seed=3"]).optim.advantage
    'gigpo'
    """
    for text in sorted(assignments, key=lambda text: not text.strip().startswith(_ESTIMATOR)):
        name, equals, value = text.partition("=")
        if not equals:
            raise ActreError(f"--set {text}: write NAME=VALUE, as in --set optim.advantage=gigpo")
        if name.strip() == _ESTIMATOR and value.strip() in ESTIMATORS:
            config = with_estimator(config, value.strip())
        else:
            config = _changed(config, name.strip(), name.strip().split("."), value.strip())
    return config


def stages(text: str) -> tuple[StageConfig, ...]:
    """The stages written as ORDER:ITERATIONS:NAME=VALUE:...,... Raises ActreError for anything else.

    >>> [stage.iterations for stage in stages("act_first:10:until=plateau:plateau_window=3,think_first:20")]
    [10, 20]
    """
    found = []
    for part in text.split(","):
        name, *rest = (piece.strip() for piece in part.split(":"))
        order = next((order for order in ORDERS if order == name), None)
        if order is None:
            raise ActreError(f"unknown order {name!r}; the orders are: {', '.join(ORDERS)}")
        try:
            stage = StageConfig(order, of(Count)(rest[0]))
        except (IndexError, ActreError) as error:
            why = f" ({error})" if rest else ""
            raise ActreError(
                f"{shortened(part)!r}: the number of iterations is missing, as in {name}:10{why}"
            ) from None
        for setting in rest[1:]:
            key, equals, value = setting.partition("=")
            if not equals or key in ("order", "iterations"):
                raise ActreError(f"{part!r}: write NAME=VALUE for {setting!r}, as in {name}:10:until=plateau")
            stage = _changed(stage, key, [key], value)
        found.append(stage)
    return tuple(found)


def in_proportion(stages: Sequence[StageConfig], iterations: int) -> tuple[StageConfig, ...]:
    """The stages in the same proportion, with this many iterations in total. Raises ActreError for too few."""
    whole = sum(stage.iterations for stage in stages)
    if iterations < len(stages):
        raise ActreError(f"--iterations {iterations}: {len(stages)} stages need at least one each")
    lengths, left = [], iterations
    for later, stage in zip(range(len(stages) - 1, 0, -1), stages, strict=False):
        wanted = max(1, round(stage.iterations * iterations / whole))
        lengths.append(min(wanted, left - later))  # one is left for each later stage
        left -= lengths[-1]
    lengths.append(left)
    return tuple(dataclasses.replace(stage, iterations=n) for stage, n in zip(stages, lengths, strict=True))


def assignments(config: RunConfig, default: RunConfig) -> list[str]:
    """What --set needs to make `config` of `default`, as NAME=VALUE; stages are left out.

    >>> assignments(changed(RunConfig(), ["optim.advantage=gigpo", "env.max_steps=9"]), RunConfig())
    ['env.max_steps=9', 'optim.advantage=gigpo']
    """
    return _assignments(dataclasses.asdict(config), dataclasses.asdict(default), "")


def _assignments(values: dict[str, Any], defaults: dict[str, Any], prefix: str) -> list[str]:
    found = []
    for name, value in values.items():
        if isinstance(value, dict):
            found += _assignments(value, defaults[name], f"{prefix}{name}.")
        elif name != "stages" and value != defaults[name]:
            found.append(f"{prefix}{name}={_written(value)}")
    return found


def _written(value: Any) -> str:
    """A value as --set reads it."""
    if isinstance(value, list | tuple):
        return ",".join(map(_written, value))
    return {"None": "none", "True": "true", "False": "false"}.get(str(value), str(value))


def _changed(part: Any, whole: str, path: Sequence[str], value: str) -> Any:
    names = [field.name for field in dataclasses.fields(part)]
    name, *rest = path
    if name not in names:
        if name in RENAMED:
            _warn(f"the setting {name} is now called {RENAMED[name]}")
            return _changed(part, whole, [RENAMED[name], *rest], value)
        if name in REMOVED:
            _warn(f"the setting {name} no longer exists and has no effect")
            return part
        if name == "thoughts" and isinstance(part, StageConfig):
            _warn("write a stage without thoughts as no_think:ITERATIONS")
            return dataclasses.replace(part, order="no_think") if value == "false" else part
        near = difflib.get_close_matches(name, names, n=1)
        hint = f"did you mean {near[0]}?" if near else f"its settings are: {', '.join(names)}"
        raise ActreError(f"unknown setting {whole!r}: {type(part).__name__} has no {name!r}; {hint}")
    old = getattr(part, name)
    if dataclasses.is_dataclass(old) != bool(rest):
        raise ActreError(
            f"{whole!r} is {'a single setting' if rest else 'a group of settings: write GROUP.NAME=VALUE'}"
        )
    if rest:
        return dataclasses.replace(part, **{name: _changed(old, whole, rest, value)})
    kind = typing.get_type_hints(type(part), include_extras=True)[name]
    if kind == tuple[StageConfig, ...]:
        raise ActreError(f"{whole} cannot be set with --set: use --stages")
    try:
        read = _read(kind, value)
    except (KeyError, ValueError):
        raise ActreError(f"{whole}={shortened(value)}: it must be {words_of(kind)}") from None
    return dataclasses.replace(part, **{name: read})


def _warn(text: str) -> None:
    warnings.warn(f"{text}; the old name goes with the next version", FutureWarning, stacklevel=4)


def _read(kind: Any, text: str) -> Any:
    """The value of a type that a text stands for. Raises KeyError or ValueError if there is none."""
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin is Annotated:
        return inner[0](text)
    if origin in (typing.Union, types.UnionType):  # X | None
        return None if text == "none" else _read(inner[0], text)
    if origin is tuple:
        return tuple(_read(inner[0], piece) for piece in text.split(",") if piece)
    if origin is Literal:
        return {str(choice): choice for choice in inner}[text]
    return {"true": True, "false": False}[text] if kind is bool else kind(text)


def unlike(one: RunConfig, other: RunConfig) -> list[str]:
    """The differences that matter to an evaluation: those of model, environment, prompt and sampling."""
    first, second = (
        {
            "model": settled(settings.model.name),
            **{part: dataclasses.asdict(getattr(settings, part)) for part in ("env", "prompt", "sampling")},
        }
        for settings in (one, other)
    )
    return differences(first, second)
