"""What a task asks for (task type, object, receptacle, lamp), from ALFRED's traj_data.json or from its sentence.

Only the sentence forms of alfworld's goal library are parsed. People word tasks freely, so the data come first, and a
sentence of another form is never guessed at.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from actre.runtime.game_files import MOVABLE_TYPE
from actre.types import ActreError

TASK_TYPES = (
    "pick_and_place_simple",
    "look_at_obj_in_light",
    "pick_clean_then_place_in_recep",
    "pick_heat_then_place_in_recep",
    "pick_cool_then_place_in_recep",
    "pick_two_obj_and_place",
)

OTHER = "other"
"""The task type if neither the game's data nor its folder nor its sentence determines it."""


class NoPlanError(ActreError):
    """The scripted expert cannot tell what a game asks for, or cannot do it; a policy may."""


class Task(NamedTuple):
    """A parsed task. verb: "clean", "heat" or "cool" if the object must be changed first, else None.

    receptacle is None for look_at_obj_in_light, lamp is None for all others.
    """

    task_type: str
    thing: str
    receptacle: str | None
    lamp: str | None
    number: int
    verb: str | None


_VERBS = {"clean": "clean", "hot": "heat", "heat": "heat", "cool": "cool"}
DONE = {"clean": "clean", "heat": "hot", "cool": "cool"}
_FORMS = (
    re.compile(r"put (?P<count>two) (?P<thing>\w+) (?:in|on) (?P<receptacle>\w+)"),
    re.compile(r"find (?P<count>two) (?P<thing>\w+) and put them (?:in|on) (?P<receptacle>\w+)"),
    re.compile(r"put (?:a|an|some) (?P<verb>clean|hot|cool) (?P<thing>\w+) (?:in|on) (?P<receptacle>\w+)"),
    re.compile(r"(?P<verb>clean|heat|cool) some (?P<thing>\w+) and put it (?:in|on) (?P<receptacle>\w+)"),
    re.compile(r"put (?:a|an|some) (?P<thing>\w+) (?:in|on) (?P<receptacle>\w+)"),
    re.compile(r"look at (?:a |an |the |some )?(?P<thing>\w+) under the (?P<lamp>\w+)"),
    re.compile(r"examine the (?P<thing>\w+) with the (?P<lamp>\w+)"),
)


def parse_task(sentence: str) -> Task | None:
    """The task in a sentence, with or without `Your task is to:` and a full stop; None if no form matches.

    >>> parse_task("Your task is to: heat some egg and put it in garbagecan.")[:3]
    ('pick_heat_then_place_in_recep', 'egg', 'garbagecan')
    """
    text = sentence.strip().rpartition("Your task is to:")[2].strip().rstrip(".").lower()
    for form in _FORMS:
        match = form.fullmatch(text)
        if match:
            got = match.groupdict()
            verb = _VERBS[got["verb"]] if got.get("verb") else None
            count = 2 if got.get("count") else 1
            if got.get("lamp"):
                kind = "look_at_obj_in_light"
            elif verb:
                kind = f"pick_{verb}_then_place_in_recep"
            else:
                kind = "pick_two_obj_and_place" if count == 2 else "pick_and_place_simple"
            return Task(kind, got["thing"], got.get("receptacle"), got.get("lamp"), count, verb)
    return None


def sentence_of(task: Task) -> str:
    """A task as a sentence that `parse_task` reads.

    >>> sentence_of(Task("pick_heat_then_place_in_recep", "egg", "garbagecan", None, 1, "heat"))
    'put a hot egg in garbagecan'
    """
    if task.lamp:
        return f"look at {task.thing} under the {task.lamp}"
    which = "two" if task.number == 2 else f"a {DONE[task.verb]}" if task.verb else "a"
    return f"put {which} {task.thing} in {task.receptacle}"


def task_type_of(data: Mapping[str, Any], folders: Iterable[str], parsed: Task | None) -> str:
    """A game's task type: from its traj_data.json, else from an official folder name, else its sentence, else `OTHER`.

    >>> task_type_of({}, ["pick_and_place_simple-Mug-None-Shelf-1"], None)
    'pick_and_place_simple'
    """
    said = data.get("task_type")
    if isinstance(said, str) and re.fullmatch(r"\w+", said):
        return said
    for name in folders:
        if (head := name.partition("-")[0]) in (*TASK_TYPES, MOVABLE_TYPE):
            return head
    return OTHER if parsed is None else parsed.task_type


def goal_of(task_type: str, data: Mapping[str, Any], parsed: Task | None) -> Task | None:
    """The scripted expert's goal: from traj_data.json, else from the sentence if that is of the game's type.

    None if neither gives one, and for what the expert cannot do: slices, movable receptacles, other task types.

    >>> params = {"object_target": "Mug", "parent_target": "Shelf", "toggle_target": "", "object_sliced": False}
    >>> goal_of("pick_heat_then_place_in_recep", {"pddl_params": params}, None)[1:]
    ('mug', 'shelf', None, 1, 'heat')
    """
    params = data.get("pddl_params")
    params = params if isinstance(params, dict) else {}
    if task_type not in TASK_TYPES or params.get("object_sliced") or params.get("mrecep_target"):
        return None
    thing, receptacle, lamp = (_class(params, name) for name in ("object_target", "parent_target", "toggle_target"))
    if task_type == "look_at_obj_in_light":
        if thing and lamp:
            return Task(task_type, thing, None, lamp, 1, None)
    elif thing and receptacle:
        number = 2 if task_type == "pick_two_obj_and_place" else 1
        return Task(task_type, thing, receptacle, None, number, _VERBS.get(task_type.split("_")[1]))
    return parsed if parsed is not None and parsed.task_type == task_type else None


def _class(params: Mapping[str, Any], name: str) -> str | None:
    """A class in the engine's lower case; None if the field has none."""
    value = params.get(name)
    return value.lower() if isinstance(value, str) and re.fullmatch(r"\w+", value) else None
