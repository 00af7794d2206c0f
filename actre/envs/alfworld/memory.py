"""What the text of an ALFWorld episode has shown so far: places, things, what is held, closed or changed."""

import re

_THING = re.compile(r"\ban? (\w+ \d+)")
_CONTENT = re.compile(r"(?:On the (\w+ \d+)|The (\w+ \d+) is open\. In it), you see ([^.]*)\.")
_CLOSED = re.compile(r"The (\w+ \d+) is closed\.")
MACHINE = {"clean": "sinkbasin", "heat": "microwave", "cool": "fridge"}
"""Verb -> the class of the receptacle that does it."""


def kind(name: str) -> str:
    """The class of a name: "cabinet" for "cabinet 12"."""
    return name.partition(" ")[0]


class Memory:
    """What the text has shown so far. seen: receptacle -> the objects in it, for receptacles already inspected."""

    def __init__(self, obs: str) -> None:
        self.receptacles = _THING.findall(obs.partition("you see ")[2].partition("Your task")[0])
        self.seen: dict[str, list[str]] = {}
        self.closed: set[str] = set()
        self.beside: dict[str, set[str]] = {}
        self.here: str | None = None
        self.holding: str | None = None
        self.origin: dict[str, str] = {}
        self.changed: set[str] = set()
        self.failed: set[str] = set()

    def near(self, receptacle: str) -> bool:
        """Whether the agent stands at a receptacle, or at one that shares its location."""
        return receptacle == self.here or receptacle in self.beside.get(self.here or "", ())

    def where(self, thing: str) -> str | None:
        """The receptacle where a thing was last seen; None if it was not seen."""
        return next((r for r, things in self.seen.items() if thing in things), None)

    def known(self, thing_kind: str) -> list[str]:
        """All things of a class that were seen and not taken; those within reach first."""
        spots = sorted(self.seen, key=lambda r: not self.near(r))
        return [t for r in spots for t in self.seen[r] if kind(t) == thing_kind]

    def observe(self, action: str, obs: str) -> None:
        """Update the memory with the answer to an action."""
        if obs.startswith("Nothing happens"):
            self._failure(action)
            return
        words = action.split()
        verb = words[0] if words else ""
        names = re.findall(r"\w+ \d+", action)
        if verb == "go":
            self.here = names[0]
        elif verb == "close":
            self.closed.add(names[0])
        elif verb == "take":
            self.holding = names[0]
            self.origin[names[0]] = names[1]
            for things in self.seen.values():
                things[:] = [t for t in things if t != names[0]]
        elif verb == "move":
            self.holding = None
            self.seen.setdefault(names[1], []).append(names[0])
        elif verb in MACHINE:
            self.changed.add(names[0])
        for on, inside, things in _CONTENT.findall(obs):
            self.seen[on or inside] = _THING.findall(things)
            self.closed.discard(on or inside)
        self.closed.update(_CLOSED.findall(obs))

    def _failure(self, action: str) -> None:
        names = re.findall(r"\w+ \d+", action)
        if action.startswith("go to") and self.here and names:
            # the engine refuses to go to where the agent already stands, so both are at the same location
            self.beside.setdefault(self.here, set()).add(names[0])
            self.beside.setdefault(names[0], set()).add(self.here)
        elif action.startswith("take"):
            for things in self.seen.values():
                things[:] = [t for t in things if t != names[0]]
        elif action.startswith(("open", "examine")) and names:
            self.closed.discard(names[0])
            self.seen.setdefault(names[0], [])
        self.failed.add(action)
