"""Turns trajectories into the inspector page's data: an index of episodes, and each episode as compact JSON.

Characters that HTML forbids become U+FFFD. Numbers that JSON lacks (nan, infinities) become null.
"""

import json
import zlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from actre.orders import listed
from actre.rollout.pass_at import actions_of
from actre.types import SCORES, TOKENS, ActreError, Step, Trajectory
from actre.view.html import visible
from actre.view.names import cut_words, flag_words, order_name, task_name

PACK_LIMIT = 8 * 2**20
"""Compressed bytes sent with the widget; later episodes are sent when they are opened."""

Runs = Sequence[Trajectory] | Mapping[str, Sequence[Trajectory]]


class Entry(NamedTuple):
    """One episode, the name of its run ("" without a name), and its group in words ("" if that is not known)."""

    run: str
    trajectory: Trajectory
    of_group: str = ""


def entries(trajectories: Runs) -> list[Entry]:
    """All episodes, in the given order. Raises ActreError if there is none."""
    runs = trajectories if isinstance(trajectories, Mapping) else {"": trajectories}
    found = [Entry(str(run), t) for run, episodes in runs.items() for t in episodes]
    if not found:
        raise ActreError(
            "no episode to show: pass trajectories, for example from actre.types.read_trajectories or actre.rollout"
        )
    groups: dict[object, list[Trajectory]] = defaultdict(list)
    for entry in found:
        groups[_group_of(entry)].append(entry.trajectory)
    return [entry._replace(of_group=group_words(groups[_group_of(entry)])) for entry in found]


def group_words(group: Sequence[Trajectory]) -> str:
    """A training group in words: its distinct trajectories (by sequence of actions), and whether it has no variance.

    Empty for a single episode and outside training.
    """
    if len(group) < 2 or group[0].group is None:
        return ""
    advantages = {step.advantage for one in group for step in one.steps}
    flat = ", zero variance: no gradient" if advantages == {0.0} else ""
    return f"group {group[0].group}: {len(set(map(actions_of, group)))} distinct trajectories of {len(group)}{flat}"


def _group_of(entry: Entry) -> object:
    """What the members of a training group share; of an episode outside training, the entry itself."""
    t = entry.trajectory
    return (entry.run, t.meta.get("iteration"), t.group) if t.group is not None and "iteration" in t.meta else id(t)


def index(found: Sequence[Entry], first: int = 0) -> list[dict[str, Any]]:
    """The episodes' entries in the list, numbered from `first`."""
    return [_summary(number, entry) for number, entry in enumerate(found, first)]


def episode(number: int, entry: Entry) -> dict[str, Any]:
    """One whole episode, ready for JSON. `actions` holds every action text once; steps refer to them by index."""
    trajectory = entry.trajectory
    names: dict[str, int] = {}
    recorded = zip(trajectory.steps, _recorded(trajectory, SCORES), _recorded(trajectory, TOKENS), strict=True)
    steps = [_step(step, scores, tokens, names) for step, scores, tokens in recorded]
    return {
        **_summary(number, entry),
        "final": visible(trajectory.final.text),
        "error": visible(str(trajectory.meta.get("env_error", ""))),
        "cut": visible(cut_words(trajectory.cut)),
        "steps": steps,
        "actions": list(map(visible, names)),
    }


def pack(found: Sequence[Entry], limit: int = PACK_LIMIT) -> tuple[bytes, int]:
    """The first episodes as gzipped JSON lines, up to about `limit` bytes, and their number."""
    # one stream, not one member per episode: browsers read only the first member of a gzip file
    squeeze = zlib.compressobj(level=3, wbits=31)
    chunks: list[bytes] = []
    size = count = 0
    for number, entry in enumerate(found):
        if size >= limit:
            break
        line = _dumps(episode(number, entry)).encode() + b"\n"
        chunks.append(squeeze.compress(line) + squeeze.flush(zlib.Z_SYNC_FLUSH))
        size += len(chunks[-1])
        count += 1
    return b"".join(chunks) + squeeze.flush(), count


def surprise(trajectory: Trajectory) -> float | None:
    """Mean -log p of the episode's sampled tokens, in nats per token; None if none was recorded."""
    logps = [logp for step in trajectory.steps for logp in step.reply_logps]
    return -sum(logps) / len(logps) if logps else None


def mean_score(trajectory: Trajectory, order: str, name: str) -> float | None:
    """The mean over steps of one recorded number ("entropy", "lower"); None if no step has it."""
    found = [scores[order][name] for scores in _recorded(trajectory, SCORES) if scores and scores.get(order)]
    known = [value for value in found if value is not None]
    return sum(known) / len(known) if known else None


def _summary(number: int, entry: Entry) -> dict[str, Any]:
    t = entry.trajectory
    task = t.final.task or (t.steps[0].observation.task if t.steps else "")
    return {
        "id": number,
        "run": visible(entry.run),
        "game": visible(t.game),
        "env": visible(t.env),
        "type": visible(task_name(t.task_type)),
        "task": visible(task),
        "order": t.order,
        "order_name": order_name(t.order),
        "won": t.won,
        "truncated": t.truncated,
        "group": t.group,
        "of_group": visible(entry.of_group),
        "seed": t.seed,
        "count": len(t.steps),
        "return": _number(t.env_return),
        "flagged": sum(bool(step.flags) for step in t.steps),
        "surprise": _number(surprise(t)),
        "act_entropy": _number(mean_score(t, "act_first", "entropy")),
        "think_entropy": _number(mean_score(t, "think_first", "lower")),
    }


def _step(step: Step, scores: Any, tokens: Any, names: dict[str, int]) -> dict[str, Any]:
    actions = listed(step.observation.admissible)
    return {
        "seen": visible(step.observation.text),
        "thought": None if step.thought is None else visible(step.thought),
        "action": None if step.action is None else visible(step.action),
        "reply": visible(step.reply_text),
        "flags": [flag_words(flag) for flag in step.flags],
        "reward": _number(step.reward),
        "advantage": _number(step.advantage, 2),
        "admissible": [names.setdefault(action, len(names)) for action in actions],
        "logps": [_number(logp, 3) for logp in step.reply_logps],
        "tokens": None if tokens is None else [visible(str(token)) for token in tokens],
        "scores": None if scores is None else clean(scores),
    }


def _recorded(trajectory: Trajectory, key: str) -> list[Any]:
    """One record per step; None for each if nothing was recorded, or not for every step."""
    values = trajectory.meta.get(key)
    return (
        values if isinstance(values, list) and len(values) == len(trajectory.steps) else [None] * len(trajectory.steps)
    )


def clean(value: Any) -> Any:
    """Any record as JSON for a page: text made visible, numbers rounded, nan and infinities as null."""
    if isinstance(value, str):
        return visible(value)
    if isinstance(value, Mapping):
        return {visible(str(key)): clean(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [clean(one) for one in value]
    return _number(value, 6) if isinstance(value, float) else value


def _number(value: float | None, digits: int = 4) -> float | None:
    if value is None or not abs(value) < float("inf"):
        return None
    return round(float(value), digits)


def _dumps(record: dict[str, Any]) -> str:
    return json.dumps(record, separators=(",", ":"), allow_nan=False)
