"""What a task sentence asks for: task type, object, receptacle, lamp.

Knows the sentence forms of alfworld's goal library; knows no game and no engine.
"""

import re
from typing import NamedTuple

TASK_TYPES = (
    "pick_and_place_simple",
    "look_at_obj_in_light",
    "pick_clean_then_place_in_recep",
    "pick_heat_then_place_in_recep",
    "pick_cool_then_place_in_recep",
    "pick_two_obj_and_place",
)


class Task(NamedTuple):
    """A parsed sentence. verb: "clean", "heat" or "cool" where the object must change first, else None.

    receptacle is None for look_at_obj_in_light, lamp is None for all others.
    """

    task_type: str
    thing: str
    receptacle: str | None
    lamp: str | None
    number: int
    verb: str | None


_VERBS = {"clean": "clean", "hot": "heat", "heat": "heat", "cool": "cool"}
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
    """The task of a sentence, with or without `Your task is to:` and a full stop; None if no form matches.

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
