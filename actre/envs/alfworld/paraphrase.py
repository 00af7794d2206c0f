"""Other words for an expert's thought, drawn at random: a model that learns from them does not learn fifty sentences.

A paraphrase is a function of the thought and the draw alone, so it reveals nothing that the thought does not. Names
stay as they are.

    need mug . try shelf 1          ->  no mug so far, so I will look at shelf 1
    go to shelf 1 . need mug        ->  go to shelf 1, because I still need a mug
"""

import random
import re
from collections.abc import Mapping, Sequence

_REASONS: Mapping[str, Sequence[str]] = {
    r"need one more (?P<x>.+)": (
        "I need one more {x}",
        "one {x} is still missing",
        "the task wants another {x}",
        "a second {x} is needed",
        "I am short of one {x}",
        "another {x} has to be found",
    ),
    r"need (?P<x>.+)": (
        "I need a {x}",
        "I still need a {x}",
        "I am looking for a {x}",
        "no {x} so far",
        "the task asks for a {x}",
        "I have not found a {x} yet",
        "a {x} is what is missing",
        "the {x} has to be somewhere",
    ),
    r"no need for (?P<x>.+)": (
        "I do not need {x}",
        "{x} is not what the task wants",
        "{x} is of no use here",
        "I picked up {x} for nothing",
        "{x} only keeps my hand full",
        "the task does not ask for {x}",
    ),
    r"(?P<x>.+) is at (?P<s>.+)": (
        "{x} is at {s}",
        "I saw {x} at {s}",
        "{s} has {x}",
        "{x} was at {s}",
        "I know that {x} is at {s}",
        "there is {x} at {s}",
        "I remember {x} at {s}",
    ),
    r"(?P<x>.+) is closed": (
        "{x} is closed",
        "{x} is shut",
        "I cannot see into {x}",
        "the door of {x} is closed",
        "{x} hides what is in it",
        "{x} has not been opened",
    ),
    r"(?P<x>.+) is here": (
        "{x} is here",
        "I am at {x}",
        "here is {x}",
        "{x} is in front of me",
        "I have {x} within reach",
        "{x} is right here",
        "I can reach {x}",
    ),
    r"i hold (?P<x>.+)": (
        "I hold {x}",
        "{x} is in my hand",
        "I have {x}",
        "I am carrying {x}",
        "I picked up {x}",
        "now I have {x}",
    ),
    r"(?P<x>.+) is (?P<done>clean|hot|cool)": (
        "{x} is {done}",
        "{x} is {done} now",
        "now {x} is {done}",
        "{x} has become {done}",
        "I have made {x} {done}",
    ),
    r"look around": ("let me look around", "I look around", "what is here?", "a look around", "first a look"),
}
"""Pattern of a reason -> its paraphrases."""

_DEEDS: Mapping[str, Sequence[str]] = {
    r"try (?P<s>.+)": (
        "try {s}",
        "I will look at {s}",
        "{s} may have it",
        "next is {s}",
        "maybe it is at {s}",
        "let me check {s}",
        "I go and see {s}",
    ),
    r"go there": ("go there", "I go there", "that is where I go", "let me walk there", "on to it", "next I go there"),
    r"open it": ("open it", "I open it", "let me open it", "it has to be opened", "I look inside", "so open it now"),
    r"examine it": ("examine it", "I examine it", "let me see what is on it", "a closer look", "I look at it closely"),
    r"take it": ("take it", "I take it", "let me pick it up", "I pick it up", "grab it", "this one I take"),
    r"use it": ("use it", "I use it", "let me switch it on", "turn it on", "I switch it on"),
    r"put it at (?P<s>.+)": (
        "put it at {s}",
        "I put it back at {s}",
        "it goes to {s}",
        "leave it at {s}",
        "{s} can have it",
    ),
    r"put (?P<x>.+)": (
        "put {x}",
        "I put {x} there",
        "{x} goes here",
        "this is the place for {x}",
        "let me put {x} down",
    ),
    r"bring it to (?P<s>.+)": (
        "bring it to {s}",
        "I bring it to {s}",
        "it belongs at {s}",
        "{s} is where it goes",
        "next stop {s}",
        "carry it to {s}",
    ),
    r"(?P<verb>clean|heat|cool) it at (?P<s>.+)": (
        "{verb} it at {s}",
        "I {verb} it at {s}",
        "it has to go to {s} first, to {verb} it",
        "{s} will {verb} it",
        "to {verb} it I need {s}",
    ),
    r"(?P<verb>clean|heat|cool) (?P<x>.+)": (
        "{verb} {x}",
        "I {verb} {x}",
        "time to {verb} {x}",
        "let me {verb} {x}",
        "now {verb} {x}",
    ),
}
"""Pattern of what is done -> its paraphrases."""

_THEN = (". ", ", so ", "; ", ": ", " -> ", ", then ")
_BECAUSE = (": ", ", because ", ". ", ", as ", "; ", " - ")


def paraphrase(thought: str, rng: random.Random) -> str:
    """Another wording of a thought of the kinds "needs", "plain" or "said" (`Habits.thoughts`).

    Raises ValueError for a thought of another kind.

    >>> sorted({paraphrase("need mug", random.Random(n)) for n in range(9)})[:2]
    ['I am looking for a mug', 'I have not found a mug yet']
    """
    first, dot, second = thought.partition(" . ")
    reason = _worded(first, _REASONS, rng)
    if reason is None:  # the action comes first, in its own words
        because = _worded(second, _REASONS, rng)
        if because is None:
            raise ValueError(f"no other words are known for the thought {thought!r}")
        return first + rng.choice(_BECAUSE) + because
    if not dot:
        return reason
    deed = _worded(second, _DEEDS, rng)
    if deed is None:
        raise ValueError(f"no other words are known for the thought {thought!r}")
    return reason + rng.choice(_THEN) + deed


def _worded(text: str, known: Mapping[str, Sequence[str]], rng: random.Random) -> str | None:
    for pattern, ways in known.items():
        found = re.fullmatch(pattern, text)
        if found:
            return rng.choice(ways).format(**found.groupdict())
    return None
