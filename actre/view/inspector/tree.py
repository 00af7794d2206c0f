"""Continuations from one state as a tree of actions, with their counts and outcomes."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from actre.types import Trajectory
from actre.view.html import visible

NOTHING = "(no action was read)"


@dataclass
class _Node:
    action: str
    members: list[int] = field(default_factory=list)
    children: dict[str, "_Node"] = field(default_factory=dict)
    ends: list[int] = field(default_factory=list)


def tree(continuations: Sequence[Trajectory], depth: int, first: int = 0) -> dict[str, Any]:
    """The continuations after their common `depth` steps; episodes are numbered from `first`.

    A node: actions (a stretch without a branch), n (continuations through it), won (how many of them were won), ends
    (episodes that end there), children (most frequent first).
    """
    root = _Node("")
    for number, trajectory in enumerate(continuations):
        node = root
        node.members.append(number)
        for step in trajectory.steps[depth:]:
            action = NOTHING if step.action is None else visible(step.action)
            node = node.children.setdefault(action, _Node(action))
            node.members.append(number)
        node.ends.append(number)
    return _as_json(root, continuations, first)


def _as_json(node: _Node, continuations: Sequence[Trajectory], first: int) -> dict[str, Any]:
    members, actions = node.members, [node.action] if node.action else []
    while len(node.children) == 1 and not node.ends:
        (node,) = node.children.values()
        actions.append(node.action)
    children = sorted(node.children.values(), key=lambda child: -len(child.members))
    return {
        "actions": actions,
        "n": len(members),
        "won": sum(continuations[i].won for i in members),
        "ends": [{"id": first + i, "won": continuations[i].won} for i in node.ends],
        "children": [_as_json(child, continuations, first) for child in children],
    }
