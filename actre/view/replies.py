"""The report's section on compliance: the format of replies in training and in the evaluated episodes."""

from collections import Counter
from collections.abc import Sequence

from actre.types import ORDERS, Step
from actre.view.blocks import missing, table
from actre.view.html import Html, join, tag
from actre.view.names import flag_words, order_name
from actre.view.records import RunRecord

_NO_FAULT_OF_FORMAT = frozenset({"inadmissible", "env_error"})


def replies(runs: Sequence[RunRecord]) -> Html:
    """The shares of well-formed replies and of admissible actions, early and late in training and in the evaluation."""
    rows = []
    for run in runs:
        for name, key in (("tags well-formed", "parse_rate"), ("action admissible", "admissible_rate")):
            curve = run.curve(key)
            if curve:
                ends = [sum(y for _, y in part) / len(part) for part in (curve[:5], curve[-5:])]
                rows.append([run.name, name, *(f"{end * 100:.1f}%" for end in ends)])
    played = _played(runs)
    if not rows and not played:
        return missing("The format of replies was not recorded", "metrics.jsonl is missing or empty")
    note = "Share of training steps. The opening tag is given to the policy, so the order of a reply is forced."
    config = runs[0].config
    if config is not None and config.prompt.tags == "free":
        note = "Share of training steps. No tag is given to the policy, so a wrong order counts as malformed."
    parts: list[Html] = []
    if rows:
        parts += [tag("p", note), table(["run", "share", "first five iterations", "last five"], rows)]
    if played:
        names = ["run", "evaluated", "order", "steps", "well-formed", "admissible", "faults, in steps"]
        scope = "All steps of the evaluated episodes, at evaluation temperature. A step can have several faults."
        parts += [tag("h3", "In the evaluation"), tag("p", scope), table(names, played)]
    return join(parts)


def _played(runs: Sequence[RunRecord]) -> list[list[str]]:
    """A row for each run, time and order of which evaluated episodes were kept."""
    rows = []
    for run in runs:
        for when, episodes in (("before", run.before), ("after", run.after)):
            for order in ORDERS:
                steps = [step for t in episodes if t.order == order for step in t.steps]
                if steps:
                    rows.append([run.name, when, order_name(order), f"{len(steps):,}", *_shares(steps)])
    return rows


def _shares(steps: Sequence[Step]) -> list[str]:
    """The shares of well-formed and of admissible steps, and the faults, most frequent first."""
    formed = sum(not set(step.flags) - _NO_FAULT_OF_FORMAT for step in steps)
    possible = sum(step.action is not None and "inadmissible" not in step.flags for step in steps)
    faults = Counter(flag for step in steps for flag in step.flags).most_common()
    listed = ", ".join(f"{flag_words(flag)} {count:,}" for flag, count in faults)
    return [f"{formed / len(steps) * 100:.1f}%", f"{possible / len(steps) * 100:.1f}%", listed or "none"]
