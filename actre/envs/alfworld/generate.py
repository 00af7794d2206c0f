"""Generates rooms: six task types, small and full-size, on the floor plans of a split. Seeded.

The same seed gives the same rooms in every Python version. Every room is solvable by construction: all receptacles are
reachable, what must be changed can be changed, and the goal is not met at the start. The expert also plays the shipped
panels to their end (`actre games check`).
"""

import random
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Literal, NamedTuple, get_args

from actre.envs.alfworld import wheel
from actre.envs.alfworld.places import usual
from actre.envs.alfworld.rooms import Room, content_key, spots
from actre.envs.alfworld.tasks import TASK_TYPES
from actre.types import ActreError

Size = Literal["small", "full"]
Split = Literal["train", "seen", "unseen"]
SIZES: tuple[Size, ...] = get_args(Size)
SPLITS: tuple[Split, ...] = get_args(Split)

_KINDS_OF_ROOM = {
    "pick_and_place_simple": wheel.ROOM_KINDS,
    "look_at_obj_in_light": ("bedroom", "livingroom"),
    "pick_clean_then_place_in_recep": ("kitchen", "bathroom"),
    "pick_heat_then_place_in_recep": ("kitchen",),
    "pick_cool_then_place_in_recep": ("kitchen",),
    "pick_two_obj_and_place": wheel.ROOM_KINDS,
}
_ABLE = {
    "pick_clean_then_place_in_recep": ("Cleanable", "SinkBasin"),
    "pick_heat_then_place_in_recep": ("Heatable", "Microwave"),
    "pick_cool_then_place_in_recep": ("Coolable", "Fridge"),
}
_LAMP_STANDS = ("Desk", "SideTable", "Dresser", "CoffeeTable", "DiningTable", "Shelf")
_SCENERY = ("Chair", "Curtains", "HousePlant", "LightSwitch", "Mirror", "Painting", "Television", "Window")
_TRIES = 200


class Goal(NamedTuple):
    """What a room asks for. source: receptacle classes where the object may lie at the start."""

    task_type: str
    thing: str
    target: str
    source: tuple[str, ...]


def plans(split: Split) -> tuple[int, ...]:
    """The floor plans of a split: "unseen" has the 24 that alfworld holds out, the other splits share 96."""
    held = wheel.held_out_plans()
    return tuple(p for p in wheel.floor_plans() if (p in held) == (split == "unseen"))


@lru_cache(maxsize=256)
def possible_goals(plan: int, task_type: str) -> tuple[Goal, ...]:
    """Every possible goal of one task type on one floor plan, in a fixed order."""
    if wheel.room_kind(plan) not in _KINDS_OF_ROOM[task_type]:
        return ()
    have = sorted({s.kind for s in spots(plan)})
    fits = {r: wheel.fits()[r] for r in have}
    things = sorted(o for o in set().union(*fits.values()) if o in wheel.objects_of(plan) and o not in fits)
    if task_type == "look_at_obj_in_light":
        if not any(r in have for r in _LAMP_STANDS):
            return ()
        sources = {o: tuple(r for r in have if o in fits[r]) for o in things}
        return tuple(Goal(task_type, o, "DeskLamp", sources[o]) for o in things if o != "DeskLamp")
    ability, machine = _ABLE.get(task_type, (None, None))
    if machine and machine not in have:
        return ()
    goals = []
    for thing in things:
        if ability and thing not in wheel.can()[ability]:
            continue
        for target in have:
            # an object that starts in the machine of its own task would make "put a cool pan in fridge" too easy
            source = tuple(r for r in have if thing in fits[r] and r not in (target, machine))
            if thing in fits[target] and target != machine and source:
                goals.append(Goal(task_type, thing, target, source))
    return tuple(goals)


def draw(size: Size, plan: int, task_type: str, game_id: str, rng: random.Random) -> Room | None:
    """One room; None if this plan has no such goal."""
    goals = possible_goals(plan, task_type)
    if not goals:
        return None
    # first the object, then the receptacle, so that classes which fit in many places do not dominate
    thing = rng.choice(sorted({g.thing for g in goals}))
    goal = rng.choice([g for g in goals if g.thing == thing])
    chosen = _choose_small(plan, goal, rng) if size == "small" else tuple(range(len(spots(plan))))
    kinds = [spots(plan)[i].kind for i in chosen]
    objects = _targets(size, goal, kinds, rng) + _others(size, plan, goal, kinds, rng)
    rng.shuffle(objects)
    scenery: list[tuple[str, int]] = []
    if size == "full":
        standing = [k for k in _SCENERY if k in wheel.objects_of(plan)]
        scenery = [(k, rng.randrange(len(chosen))) for k in standing for _ in range(rng.randint(1, 2))]
    sentence = rng.choice(wheel.goals()[task_type][1]).format(
        obj=thing.lower(), recep=goal.target.lower(), toggle=goal.target.lower()
    )
    return Room(game_id, plan, task_type, sentence, thing, goal.target, chosen, tuple(objects), tuple(scenery))


def _choose_small(plan: int, goal: Goal, rng: random.Random) -> tuple[int, ...]:
    """7 to 9 receptacles at different locations: what the goal needs, two where the object may lie, then any."""
    order = list(range(len(spots(plan))))
    rng.shuffle(order)
    kind = {i: spots(plan)[i].kind for i in order}
    needs: list[tuple[str, ...]] = [_LAMP_STANDS] if goal.task_type == "look_at_obj_in_light" else [(goal.target,)]
    if goal.task_type in _ABLE:
        needs.append((_ABLE[goal.task_type][1],))
    needs += [goal.source, goal.source]
    chosen: list[int] = []
    wanted = rng.randint(7, 9)
    for need in (*needs, *[None] * wanted):
        places = {spots(plan)[i].pose for i in chosen}
        counts = Counter(kind[i] for i in chosen)
        free = [i for i in order if i not in chosen and spots(plan)[i].pose not in places]
        fitting = [i for i in free if need is None or kind[i] in need]
        varied = [i for i in fitting if counts[kind[i]] < 3]
        if len(chosen) < wanted and (varied or fitting):
            chosen.append((varied or fitting)[0])
    return tuple(sorted(chosen))


def _place(thing: str, kinds: list[str], allowed: Iterable[str], rng: random.Random) -> int | None:
    """A position in `kinds` for a thing, weighted by where such things usually are; None if none is allowed."""
    allowed = set(allowed)
    options = [n for n, k in enumerate(kinds) if k in allowed]
    if not options:
        return None
    # divided by the root of their number, or rooms with 20 cabinets would have nearly everything in cabinets
    counts = Counter(kinds)
    weights = [usual(thing.lower(), kinds[n].lower()) / counts[kinds[n]] ** 0.5 for n in options]
    return rng.choices(options, weights)[0]


def _targets(size: Size, goal: Goal, kinds: list[str], rng: random.Random) -> list[tuple[str, int]]:
    need = 2 if goal.task_type == "pick_two_obj_and_place" else 1
    count = need + rng.choice((0, 0, 1) if size == "small" else (0, 1, 2))
    found = [_place(goal.thing, kinds, goal.source, rng) for _ in range(count)]
    things = [(goal.thing, n) for n in found if n is not None]
    if goal.task_type == "look_at_obj_in_light":
        stand = _place("DeskLamp", kinds, _LAMP_STANDS, rng)
        things += [("DeskLamp", stand)] if stand is not None else []
    return things


def _others(size: Size, plan: int, goal: Goal, kinds: list[str], rng: random.Random) -> list[tuple[str, int]]:
    """Objects that the goal does not ask for, at most four of a class."""
    holds = {o: [r for r in set(kinds) if o in wheel.fits()[r]] for o in sorted(wheel.objects_of(plan))}
    classes = [o for o, places in holds.items() if places and o not in (goal.thing, "DeskLamp")]
    wanted = rng.randint(8, 12) if size == "small" else rng.randint(48, 58)
    pool = classes * (2 if size == "small" else 4)
    rng.shuffle(pool)
    placed = ((o, _place(o, kinds, holds[o], rng)) for o in pool[:wanted])
    return [(o, n) for o, n in placed if n is not None]


def solvable_by_construction(room: Room) -> bool:
    """Whether the room has what the goal needs and does not meet the goal at the start.

    A small room lacks its machine if, say, the sink is at the location of a receptacle that was chosen before.
    """
    kinds = [spots(room.plan)[i].kind for i in room.receptacles]
    at = [kinds[n] for thing, n in room.objects if thing == room.thing]
    need = 2 if room.task_type == "pick_two_obj_and_place" else 1
    if room.task_type in _ABLE and _ABLE[room.task_type][1] not in kinds:
        return False
    if room.task_type == "look_at_obj_in_light":
        return len(at) >= 1 and any(thing == room.target for thing, _ in room.objects)
    return len(at) >= need and room.target in kinds and room.target not in at


def rooms(size: Size, split: Split, seed: int | str, exclude: Iterable[str] = ()) -> Iterator[Room]:
    """An endless stream of rooms: the six task types in turn, without repeats and without `content_key`s in `exclude`.

    The stream depends only on size, split and seed. Raises ActreError for an unknown size or split.
    """
    if size not in SIZES or split not in SPLITS:
        raise ActreError(f"no games of size {size!r} and split {split!r}: sizes are {SIZES}, splits {SPLITS}")
    known = set(exclude)
    for n in range(10**9):
        task_type = TASK_TYPES[n % len(TASK_TYPES)]
        rng = random.Random(f"actre games {size} {split} {seed} {n}")
        for _ in range(_TRIES):
            # the room kind first, so that kinds are equally frequent whatever their number of plans
            kind = rng.choice(_KINDS_OF_ROOM[task_type])
            plan = rng.choice([p for p in plans(split) if wheel.room_kind(p) == kind])
            room = draw(size, plan, task_type, f"{size}-{split}-{seed}-{n:04d}", rng)
            if room and solvable_by_construction(room) and content_key(room) not in known:
                known.add(content_key(room))
                yield room
                break
        else:
            raise ActreError(f"no new {size} {task_type} game in {_TRIES} tries: use another seed")
