"""Every setting as text: its dotted name, type, default and docstring, read from actre/config/run.py."""

import ast
import dataclasses
import inspect
import textwrap
import typing
from collections.abc import Iterator
from typing import Any, NamedTuple

from actre.config import run
from actre.config.arms import ARMS, FIRST_SHARE
from actre.config.checks import words_of
from actre.config.estimators import ESTIMATORS, Estimator
from actre.config.run import RunConfig, StageConfig

_STAGE = "stages[]"
"""What a stage's settings are called; on a command line they stand behind the stage's order and iterations."""


class Setting(NamedTuple):
    """One setting. name: dotted; kind: its type or range in words; default: as `--set` takes it."""

    name: str
    kind: str
    default: str
    about: str


def settings(kind: Any = RunConfig, prefix: str = "") -> Iterator[Setting]:
    """All settings of a dataclass and of the groups within it, in order.

    >>> next(settings(run.ProbeConfig, "probe.")).name
    'probe.every'
    """
    about, hints = _docstrings()[kind.__name__], typing.get_type_hints(kind, include_extras=True)
    for field in dataclasses.fields(kind):
        name, hint = f"{prefix}{field.name}", hints[field.name]
        if dataclasses.is_dataclass(hint):
            yield from settings(hint, f"{name}.")
        elif hint == tuple[StageConfig, ...]:
            shown = ",".join(f"{stage.order}:{stage.iterations}" for stage in RunConfig.stages)
            yield Setting(name, "--stages ORDER:ITERATIONS:NAME=VALUE:...,...", shown, about[field.name])
            yield from settings(StageConfig, f"{_STAGE}.")
        else:
            default = "required" if field.default is dataclasses.MISSING else _shown(field.default)
            yield Setting(name, words_of(hint), default, about[field.name])


def described() -> str:
    """All settings for a terminal. The defaults are RunConfig's; a preset changes some."""
    indent = "    "
    blocks = [
        f"{one.name}  (default: {one.default})\n{indent}{one.kind}\n"
        f"{textwrap.fill(one.about, 104, initial_indent=indent, subsequent_indent=indent)}"
        for one in settings()
    ]
    head = (
        "Every setting of a run. --set NAME=VALUE changes one; --stages changes those of stages[]. A preset\n"
        "(--preset) sets some to other values than the defaults shown here."
    )
    return "\n\n".join([head, *blocks])


def arms_and_estimators() -> str:
    """The arms and the estimators for a terminal: names, equations and sources."""
    rows = [f"arms (--arm), {FIRST_SHARE:.0%} of the iterations in the first of two stages unless --stages says more:"]
    rows += [_entry(name, one.about) for name, one in ARMS.items()]
    rows += ["", "estimators (--estimator). A: advantage, R: return of an episode, rho: probability ratio of a token:"]
    rows += [_entry(name, f"{one.about} [{one.source}]{_sets(one)}") for name, one in ESTIMATORS.items()]
    return "\n".join(rows)


def _entry(name: str, about: str) -> str:
    return textwrap.fill(f"{name:<18}{about}", 108, initial_indent="  ", subsequent_indent=" " * 20)


def _sets(row: Estimator) -> str:
    return (
        "; sets "
        + ", ".join(
            f"{name}={value:g}" if isinstance(value, float) else f"{name}={value}" for name, value in row.sets.items()
        )
        if row.sets
        else ""
    )


def _shown(value: Any) -> str:
    """
    >>> _shown(None), _shown(True), _shown(("seen", "unseen")), _shown(())
    ('none', 'true', 'seen,unseen', 'empty')
    """
    if isinstance(value, tuple):
        return ",".join(map(str, value)) or "empty"
    return str(value).lower() if value is None or isinstance(value, bool) else str(value)


def _docstrings() -> dict[str, dict[str, str]]:
    """Class -> field -> the docstring under the field, as one line."""
    found: dict[str, dict[str, str]] = {}
    for cls in ast.parse(inspect.getsource(run)).body:
        if isinstance(cls, ast.ClassDef):
            found[cls.name] = {
                field.target.id: " ".join(text.value.value.split())
                for field, text in zip(cls.body, cls.body[1:], strict=False)
                if isinstance(field, ast.AnnAssign)
                and isinstance(field.target, ast.Name)
                and isinstance(text, ast.Expr)
                and isinstance(text.value, ast.Constant)
                and isinstance(text.value.value, str)
            }
    return found
