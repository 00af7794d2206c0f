"""The data in alfworld's wheel, read without importing alfworld: domain, grammar, constants, goals, floor plans.

`import alfworld` creates folders in the home directory and loads textworld, so the package is located by its spec and
its data modules are executed separately.
"""

import importlib.util
import json
import re
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

from actre.types import ActreError

ROOM_KINDS = ("kitchen", "livingroom", "bedroom", "bathroom")
SINGLE_POINT = (
    "CoffeeMachine",
    "GarbageCan",
    "HandTowelHolder",
    "StoveBurner",
    "Toaster",
    "Toilet",
    "ToiletPaperHanger",
    "TowelHolder",
)


class Pose(NamedTuple):
    """The agent's pose at a receptacle: x and z in quarter metres, turn in quarter turns, horizon in degrees."""

    x: int
    z: int
    turn: int
    horizon: int


class Spot(NamedTuple):
    """A receptacle of a floor plan: class, id in ALFRED's form (`Cabinet|+00.68|+00.50|-02.20`), pose."""

    kind: str
    name: str
    pose: Pose


@lru_cache(maxsize=1)
def wheel() -> Path:
    """The folder of the installed alfworld package. Raises ActreError if it is not installed."""
    spec = importlib.util.find_spec("alfworld")
    if spec is None or not spec.submodule_search_locations:
        raise ActreError("alfworld is not installed; games need its domain and grammar: pip install alfworld==0.4.2")
    return Path(next(iter(spec.submodule_search_locations)))


def _text(*parts: str) -> str:
    path = wheel().joinpath(*parts)
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ActreError(
            f"{path} is missing, so alfworld has another version: pip install --force-reinstall alfworld==0.4.2"
        ) from None


@lru_cache(maxsize=1)
def domain() -> str:
    """The PDDL domain that all games share."""
    return _text("data", "alfred.pddl")


@lru_cache(maxsize=1)
def blank_grammar() -> str:
    """The text grammar, with `UNKNOWN GOAL` as its task sentence."""
    return _text("data", "alfred.twl2")


def grammar(task: str) -> str:
    """The grammar of one game, as in game.tw-pddl files. The template already has the full stop."""
    return blank_grammar().replace("UNKNOWN GOAL", task)


def _module(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"_alfworld_{name}", wheel() / "gen" / f"{name}.py")
    if spec is None or spec.loader is None:
        raise ActreError(f"alfworld's gen/{name}.py cannot be read: pip install --force-reinstall alfworld==0.4.2")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@lru_cache(maxsize=1)
def fits() -> dict[str, frozenset[str]]:
    """Receptacle class -> the object classes it can contain, without movable receptacles and slices."""
    constants = _module("constants")
    table: dict[str, set[str]] = constants.VAL_RECEPTACLE_OBJECTS
    movable = constants.MOVABLE_RECEPTACLES_SET
    return {
        r: frozenset(o for o in objects if not o.endswith("Sliced"))
        for r, objects in sorted(table.items())
        if r not in movable
    }


@lru_cache(maxsize=1)
def can() -> dict[str, frozenset[str]]:
    """Ability (Heatable, Coolable, Cleanable, Toggleable, Sliceable) -> object classes."""
    return {k: frozenset(v) for k, v in sorted(_module("constants").VAL_ACTION_OBJECTS.items())}


@lru_cache(maxsize=1)
def kinds() -> dict[str, frozenset[str]]:
    """The classes of "openable" receptacles and of "movable" ones (bowls, cups ...)."""
    constants = _module("constants")
    return {
        "openable": frozenset(constants.OPENABLE_CLASS_SET),
        "movable": frozenset(constants.MOVABLE_RECEPTACLES_SET),
    }


@lru_cache(maxsize=1)
def goals() -> dict[str, tuple[str, tuple[str, ...]]]:
    """Task type -> (the goal in PDDL with the fields {obj}, {recep}, {toggle}; the sentence templates)."""
    return {k: (v["pddl"], tuple(v["templates"])) for k, v in _module("goal_library").gdict.items()}


@lru_cache(maxsize=1)
def held_out_plans() -> frozenset[int]:
    """The 24 floor plans (six for each kind of room) in the wheel's TEST constant; the other 96 are for training."""
    return frozenset(_module("constants").TEST_SCENE_NUMBERS)


@lru_cache(maxsize=1)
def floor_plans() -> tuple[int, ...]:
    """The numbers of all 120 floor plans."""
    found = (re.fullmatch(r"FloorPlan(\d+)-openable\.json", p.name) for p in (wheel() / "gen/layouts").iterdir())
    return tuple(sorted(int(m[1]) for m in found if m))


def room_kind(plan: int) -> str:
    """The kind of room of a floor plan: kitchen 1-30, livingroom 201-230, bedroom 301-330, bathroom 401-430."""
    return ROOM_KINDS[max(0, plan // 100 - 1)]


@lru_cache(maxsize=128)
def objects_of(plan: int) -> frozenset[str]:
    """The object and receptacle classes in a floor plan's scene."""
    return frozenset(json.loads(_text("gen", "layouts", f"FloorPlan{plan}-objects.json")))


@lru_cache(maxsize=128)
def receptacles_of(plan: int) -> tuple[Spot, ...]:
    """A floor plan's receptacles in a fixed order: those with a pose in the wheel, then those without.

    The latter (stove burners, coffee machine, toaster, holders, bins) get locations outside the wheel's grid, so that
    no two coincide by accident; the four burners are placed in pairs.
    """
    poses = json.loads(_text("gen", "layouts", f"FloorPlan{plan}-openable.json"))
    spots = []
    for name in sorted(poses):
        x, z, turn, horizon = poses[name]
        last = name.rpartition("|")[2]
        kind = last if last.endswith("Basin") else name.partition("|")[0]
        if kind in fits():
            spots.append(Spot(kind, name, Pose(round(x * 4), round(z * 4), round(turn / 90) % 4, round(horizon))))
    have = {s.kind for s in spots}
    missing = [k for k in SINGLE_POINT if k in objects_of(plan) and k not in have]
    for row, kind in enumerate(missing):
        for n in range(4 if kind == "StoveBurner" else 1):
            name = f"{kind}|{20 + 0.25 * n:+06.2f}|+00.90|{row - 2:+06.2f}"
            # two burners share a location, as on a real stove
            spots.append(Spot(kind, name, Pose(80 + n // 2, 4 * row - 8, row % 4, 30)))
    return tuple(spots)
