"""A generated room as a specification of a few hundred bytes, and the PDDL problem it defines.

The specification and alfworld's wheel determine the problem, so panels store specifications. Each is stored with the
digest of its problem; `games.read_game` refuses a specification whose problem has another digest.

Differs: unlike the official games, only classes that occur are declared; the contents of bowls and cups are left out
(alfworld's domain has no action for them); every openable receptacle starts closed; floor plans with fewer than 20
receptacles are filled up with drawers, shelves or cabinets, and none has more than 40.
"""

import hashlib
import json
import random
from collections import Counter
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any

from actre.envs.alfworld import wheel
from actre.envs.alfworld.wheel import Pose, Spot
from actre.types import ActreError

# the domain names these even if a room has none
_ALWAYS_RTYPES = ("FridgeType", "MicrowaveType", "SinkBasinType")
_ALWAYS_OTYPES = ("ButterKnifeType", "KnifeType")
_FILL = {
    "kitchen": ("Drawer", "Cabinet"),
    "livingroom": ("Drawer", "Shelf"),
    "bedroom": ("Drawer", "Shelf"),
    "bathroom": ("Drawer", "Cabinet", "Shelf"),
}
_ABILITIES = {
    "cleanable": "Cleanable",
    "heatable": "Heatable",
    "coolable": "Coolable",
    "sliceable": "Sliceable",
}


@dataclass(frozen=True)
class Room:
    """One game: a floor plan, some of its receptacles, what lies in them, and a goal.

    receptacles: indices into `spots(plan)`. objects: (class, position in `receptacles`). scenery: the same, for things
    that stand beside a receptacle and cannot be taken. target: a receptacle class, or the lamp's class.
    """

    id: str
    plan: int
    task_type: str
    task: str
    thing: str
    target: str
    receptacles: tuple[int, ...]
    objects: tuple[tuple[str, int], ...]
    scenery: tuple[tuple[str, int], ...] = ()

    def to_json(self) -> dict[str, Any]:
        """A dict for a panel line, with the digest of the problem."""
        return {**asdict(self), "sha": digest(problem(self))}

    @classmethod
    def from_json(cls, record: dict[str, Any]) -> "Room":
        """The inverse of `to_json`. Raises ActreError if a field is missing or the problem's digest differs."""
        try:
            objects, scenery = (tuple((str(c), int(n)) for c, n in record[k]) for k in ("objects", "scenery"))
            plain = {k: record[k] for k in ("id", "plan", "task_type", "task", "thing", "target")}
            room = cls(**plain, receptacles=tuple(record["receptacles"]), objects=objects, scenery=scenery)
            same = digest(problem(room)) == record["sha"]
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise ActreError(
                f"not a room record of a panel ({error!r}): write the panel again with `actre games generate`"
            ) from error
        if not same:
            raise ActreError(
                f"game {room.id} is not the one its panel was made with: alfworld or the generator has another "
                "version. pip install alfworld==0.4.2, or make the panel again: actre games generate"
            )
        return room


def digest(text: str) -> str:
    """The first 12 hexadecimal digits of a text's SHA-256."""
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def content_key(room: Room) -> str:
    """A digest of plan, receptacles, contents and goal: equal for two rooms that differ only in their ids."""
    parts = [room.plan, room.task_type, room.thing, room.target, room.receptacles, sorted(room.objects)]
    return digest(json.dumps(parts))


@lru_cache(maxsize=256)
def spots(plan: int) -> tuple[Spot, ...]:
    """A floor plan's receptacles, at least 20 and at most 40, in a fixed order."""
    found = list(wheel.receptacles_of(plan))
    while len(found) > 40:
        # remove from the commonest class, last ones first, so that no class is lost
        kind = Counter(s.kind for s in found).most_common(1)[0][0]
        found.pop(max(i for i, s in enumerate(found) if s.kind == kind))
    fill = _FILL[wheel.room_kind(plan)]
    for n in range(20 - len(found)):
        kind = fill[n % len(fill)]
        name = f"{kind}|{-20 - 0.25 * n:+06.2f}|{0.3 + 0.2 * (n % 3):+06.2f}|{0.5 * n:+06.2f}"
        found.append(Spot(kind, name, Pose(-80 - n, 2 * n, n % 4, 30)))
    return tuple(found)


def mangle(name: str) -> str:
    """ALFRED's id in PDDL: `Sink|-01.9` becomes `Sink_bar__minus_01_dot_9`."""
    for sign, word in (("|", "_bar_"), ("-", "_minus_"), ("+", "_plus_"), (".", "_dot_")):
        name = name.replace(sign, word)
    return name


def _location(pose: Pose) -> str:
    return mangle(f"loc|{pose.x}|{pose.z}|{pose.turn}|{pose.horizon}")


def _ids(room: Room) -> list[str]:
    """Distinct ids for objects, then scenery, near their receptacle. Displayed names are numbered by ids."""
    rng = random.Random(f"actre room {room.id}")
    ids: list[str] = []
    for kind, position in (*room.objects, *room.scenery):
        centre = [float(x) for x in spots(room.plan)[room.receptacles[position]].name.split("|")[1:4]]
        name = ""
        while not name or name in ids:
            x, y, z = (c + rng.randrange(-40, 41) / 100 for c in centre)
            name = f"{kind}|{x:+06.2f}|{abs(y):+06.2f}|{z:+06.2f}"
        ids.append(name)
    return [mangle(name) for name in ids]


def problem(room: Room) -> str:
    """The PDDL problem of a room, for alfworld's domain."""
    here = [spots(room.plan)[i] for i in room.receptacles]
    places = [mangle(s.name) for s in here]
    locations = [_location(s.pose) for s in here]
    start = _location(Pose(0, 0, 0, 77))  # the middle of the room; no receptacle has this pose
    ids = _ids(room)
    kinds = [kind for kind, _ in (*room.objects, *room.scenery)]
    rtypes = sorted({f"{s.kind}Type" for s in here} | set(_ALWAYS_RTYPES))
    otypes = sorted({f"{k}Type" for k in kinds} | set(_ALWAYS_OTYPES))
    lines = [
        f"(define (problem plan_{mangle(room.id).replace('/', '_')})",
        "(:domain alfred)",
        "(:objects",
        "agent1 - agent",
    ]
    lines += [f"{t} - otype" for t in otypes] + [f"{t} - rtype" for t in rtypes]
    lines += [f"{i} - object" for i in ids] + [f"{p} - receptacle" for p in places]
    lines += [f"{p} - location" for p in dict.fromkeys((*locations, start))]
    lines += [")", "(:init"]
    lines += [f"(receptacleType {p} {s.kind}Type)" for p, s in zip(places, here, strict=True)]
    lines += [f"(objectType {i} {k}Type)" for i, k in zip(ids, kinds, strict=True)]
    lines += [f"(canContain {r} {o})" for r in rtypes for o in otypes if o[:-4] in wheel.fits()[r[:-4]]]
    lines += _traits(room, ids)
    openable = wheel.kinds()["openable"]
    lines += [f"(openable {p})" for p, s in zip(places, here, strict=True) if s.kind in openable]
    lines += [f"(atLocation agent1 {start})"]
    lines += [f"(inReceptacle {i} {places[n]})" for i, (_, n) in zip(ids, room.objects, strict=False)]
    lines += [f"(receptacleAtLocation {p} {at})" for p, at in zip(places, locations, strict=True)]
    stands = (n for _, n in (*room.objects, *room.scenery))
    lines += [f"(objectAtLocation {i} {locations[n]})" for i, n in zip(ids, stands, strict=True)]
    goal = wheel.goals()[room.task_type][0].format(obj=room.thing, recep=room.target, toggle=room.target)
    return "\n".join([*lines, ")", goal.replace("#", "-").strip(), ""])


def _traits(room: Room, ids: list[str]) -> list[str]:
    lines = []
    for name, (kind, position) in zip(ids, room.objects, strict=False):
        if kind in wheel.can()["Toggleable"]:
            lines.append(f"(toggleable {name})")
            continue  # lamps cannot be taken
        lines.append(f"(pickupable {name})")
        if kind in wheel.kinds()["movable"]:
            lines.append(f"(isReceptacleObject {name})")
        lines += [f"({word} {name})" for word, able in _ABILITIES.items() if kind in wheel.can()[able]]
        inside = spots(room.plan)[room.receptacles[position]].kind
        if inside == "Fridge" and kind in wheel.can()["Coolable"]:
            lines.append(f"(isCool {name})")
    return lines
