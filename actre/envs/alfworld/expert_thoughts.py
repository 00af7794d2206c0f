"""An expert's thought as a function of what the text has shown, the task, and the action: it reveals no hidden mode.

A thought written by the plan itself can name what the action does not show, such as that a step has no purpose, or that
the expert forgot part of the task. Reinforcement then finds the mode's words in thinking, and nothing like them in
acting first.
"""

import re
from typing import Literal

from actre.envs.alfworld.memory import MACHINE, Memory, kind
from actre.envs.alfworld.tasks import DONE, Task

_NAME = re.compile(r"[a-z]+ [0-9]+")


def thought_for(action: str, memory: Memory, task: Task, thoughts: Literal["other", "needs", "plain", "said"]) -> str:
    """The thought before an action. memory: what was seen before it; it must know nothing but the text.

    other: as plain, but in other words than the action's ("shelf ( 1 )" for the name "shelf 1"), and without its verb;
    needs: the reason alone, without the names in the action; plain: the reason, then what is acted on; said: the
    action, then the reason.

    >>> task = Task("", "mug", "shelf", None, 1, None)
    >>> room = Memory("you see a drawer 1, and a shelf 1.")
    >>> [thought_for("go to shelf 1", room, task, how) for how in ("other", "needs", "plain", "said")]
    ['need mug . try shelf ( 1 )', 'need mug', 'need mug . try shelf 1', 'go to shelf 1 . need mug']
    """
    reason, plain = _plain(action, memory, task)
    if thoughts == "other":
        if plain.startswith(action.partition(" ")[0]):
            plain = ""
        return _NAME.sub(_described, f"{reason} . {plain}" if plain else reason)
    if thoughts == "said":
        return f"{action} . {reason}"
    if thoughts == "needs":
        return _NAME.sub(lambda name: "it" if name[0] in _NAME.findall(action) else name[0], reason)
    return f"{reason} . {plain}" if plain else reason


def _described(name: re.Match[str]) -> str:
    kind, number = name[0].rsplit(" ", 1)
    return f"{kind} ( {number} )"


def _plain(action: str, memory: Memory, task: Task) -> tuple[str, str]:
    """The reason, and what is done, both in the plan's own words."""
    verb, names = action.partition(" ")[0], _NAME.findall(action)
    if verb == "go" and names:
        return _going(names[0], memory, task)
    if verb == "open":
        return f"{names[0]} is closed", "open it"
    if verb == "examine" and names:
        return f"{names[0]} is here", "examine it"
    if verb == "take":
        return f"{names[0]} is here", "take it"
    if verb == "move":
        if kind(names[0]) != task.thing:
            return f"no need for {names[0]}", f"put it at {names[1]}"
        return f"{names[1]} is here", f"put {names[0]}"
    if verb in MACHINE:
        return f"{names[1]} is here", f"{verb} {names[0]}"
    if verb == "use":
        return f"{names[0]} is here", "use it"
    return "look around", ""


def _going(spot: str, memory: Memory, task: Task) -> tuple[str, str]:
    held = memory.holding
    if held and kind(held) != task.thing:
        return f"no need for {held}", f"bring it to {spot}"
    if held and task.verb and held not in memory.changed and kind(spot) == MACHINE[task.verb]:
        return f"i hold {held}", f"{task.verb} it at {spot}"
    if held and kind(spot) == task.receptacle:
        return (f"{held} is {DONE[task.verb]}" if task.verb and held in memory.changed else f"i hold {held}"), (
            f"bring it to {spot}"
        )
    wanted = (task.lamp or task.receptacle or task.thing) if held else task.thing
    seen = next((thing for thing in memory.seen.get(spot, ()) if kind(thing) == wanted), None)
    return (f"{seen} is at {spot}", "go there") if seen else (f"need {wanted}", f"try {spot}")
