"""Environments from outside the package: found by their name in the settings, and held to the contract of `actre.envs`.

A name is an import path ("my_module:factory") or a gymnasium id ("my_package:My/Env-v0", or a registered "My/Env-v0").
"""

import importlib
import inspect
from collections.abc import Callable
from typing import Any, SupportsFloat

import gymnasium
import numpy as np

from actre.types import ActreError

_SEE = "see help(actre.envs)"
_BOOL = (bool, np.bool_)


class BrokenContractError(ActreError):
    """An environment's answer is not of the form that `actre.envs` describes: a bug in it, not a bad game."""


class Checked(gymnasium.Wrapper[str, str, str, str]):
    """Passes everything on, and raises BrokenContractError for an answer that breaks the contract."""

    def __init__(self, env: gymnasium.Env[str, str], name: str) -> None:
        super().__init__(env)
        self.name = name

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        """As the environment's own; `task_type` is "" where it has none."""
        answer = self.env.reset(seed=seed, options=options)
        self._must(isinstance(answer, tuple) and len(answer) == 2, "reset() has to return (text, info)", answer)
        text, info = answer
        return text, self._info("reset()", text, info)

    def step(self, action: str) -> tuple[str, SupportsFloat, bool, bool, dict[str, Any]]:
        """As the environment's own; `task_type` is "" where it has none."""
        answer = self.env.step(action)
        form = "step() has to return (text, reward, terminated, truncated, info)"
        self._must(isinstance(answer, tuple) and len(answer) == 5, form, answer)
        text, reward, terminated, truncated, info = answer
        self._must(isinstance(reward, SupportsFloat), "step() has to return a number as the reward", reward)
        for flag in (terminated, truncated):
            self._must(isinstance(flag, _BOOL), "step() has to return bools as terminated and truncated", flag)
        return text, reward, terminated, truncated, self._info("step()", text, info)

    def _info(self, call: str, text: Any, info: Any) -> dict[str, Any]:
        self._must(isinstance(text, str), f"{call} has to return a str as the observation", text)
        self._must(isinstance(info, dict), f"{call} has to return a dict as info", info)
        for key in ("admissible_commands", "won", "task"):
            self._must(key in info, f"{call} has to return info with {key!r}", sorted(info))
        listed = info["admissible_commands"]
        strings = isinstance(listed, (list, tuple)) and all(isinstance(action, str) for action in listed)
        self._must(strings, f"{call} has to list strings in info['admissible_commands']", listed)
        self._must(isinstance(info["task"], str), f"{call} has to have a str in info['task']", info["task"])
        self._must(isinstance(info["won"], _BOOL), f"{call} has to have a bool in info['won']", info["won"])
        return {"task_type": "", **info}

    def _must(self, kept: bool, rule: str, found: Any) -> None:
        if not kept:
            shown = repr(found)
            shown = shown if len(shown) <= 80 else f"{shown[:80]}..."
            raise BrokenContractError(f"the environment {self.name} breaks the contract: {rule}, not {shown}; {_SEE}")


def make(name: str) -> gymnasium.Env[str, str]:
    """An environment of that name, its answers checked.

    Raises ActreError if the name leads to none. Raises BrokenContractError if what it leads to cannot be called without
    arguments, makes something other than a gymnasium.Env, has no `games`, or does not take `reset(seed=, options=)`.
    """
    factory = _from_path(name) if _is_path(name) else _from_registry(name)
    env = factory()
    if not isinstance(env, gymnasium.Env):
        raise BrokenContractError(f"{name} made {env!r}, which is not a gymnasium.Env; {_SEE}")
    if not callable(getattr(env.unwrapped, "games", None)):
        raise BrokenContractError(
            f"the environment {name} does not say what its games are: give {type(env.unwrapped).__name__} a method "
            f"games(source: str) -> list[str]; {_SEE}"
        )
    _must_take(env.unwrapped.reset, {"seed": 0, "options": {}}, f"reset() of {name} has to take seed and options")
    return Checked(env, name)


def list_games(name: str, source: str) -> list[str]:
    """The result of the environment's own `games(source)`.

    Raises ActreError as `make`, and if the result is not a list of strings, or is empty.
    """
    env: Any = make(name)
    try:
        games = env.unwrapped.games(source)
    finally:
        env.close()
    if not (isinstance(games, (list, tuple)) and all(isinstance(game, str) for game in games)):
        raise BrokenContractError(
            f"the environment {name} breaks the contract: games({source!r}) has to return a list of strings, not "
            f"{games!r}; {_SEE}"
        )
    if not games:
        raise ActreError(f"the environment {name} has no games in {source!r}: choose other games in the settings (env)")
    return list(games)


def _is_path(name: str) -> bool:
    """Whether a name is an import path; otherwise it is a gymnasium id.

    >>> _is_path("my.module:Factory"), _is_path("my_package:My/Env-v0"), _is_path("My/Env-v0")
    (True, False, False)
    """
    module, colon, attribute = name.partition(":")
    return bool(module and colon) and all(part.isidentifier() for part in attribute.split("."))


def _from_path(name: str) -> Callable[[], Any]:
    module, _, attribute = name.partition(":")
    found: Any = _imported(module, name)
    for part in attribute.split("."):
        if not hasattr(found, part):
            raise ActreError(f"no environment {name!r}: {module} has no {attribute}; set env.name to MODULE:FACTORY")
        found = getattr(found, part)
    _must_make(found, {}, name)
    return found  # type: ignore[no-any-return]


def _from_registry(name: str) -> Callable[[], Any]:
    module, _, known = name.rpartition(":")
    if module:
        _imported(module, name)
    try:
        spec = gymnasium.spec(known)
    except gymnasium.error.Error as error:
        raise ActreError(
            f"no environment {name!r}: {error} Set env.name to PACKAGE:ID, where importing PACKAGE registers the id"
        ) from error
    creator: Any = spec.entry_point
    if isinstance(creator, str):
        home, _, attribute = creator.partition(":")
        creator = getattr(_imported(home, name), attribute)
    _must_make(creator, spec.kwargs, name)
    # without its own step limit: rollout counts the steps, and branches take many steps between resets
    return lambda: gymnasium.make(spec, max_episode_steps=-1, disable_env_checker=True)


def _imported(module: str, name: str) -> Any:
    if not all(part.isidentifier() for part in module.split(".")):
        raise ActreError(
            f"no environment {name!r}: {module!r} is not a module name; set env.name to MODULE:FACTORY or PACKAGE:ID"
        )
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ActreError(
            f"the environment {name!r} cannot be imported: {error}. Install what is missing, or put its folder on "
            "PYTHONPATH: PYTHONPATH=FOLDER actre ..."
        ) from error


def _must_make(factory: Any, given: dict[str, Any], name: str) -> None:
    if not callable(factory):
        raise BrokenContractError(f"{name} is {factory!r}, which cannot be called; {_SEE}")
    _must_take(factory, given, f"{name} has to make an environment without arguments")


def _must_take(function: Callable[..., Any], given: dict[str, Any], rule: str) -> None:
    try:
        inspect.signature(function).bind(**given)
    except TypeError as error:
        raise BrokenContractError(f"{rule} ({error}); {_SEE}") from error
