"""The report's section on compliance: how replies were formed in training, and every step of the evaluated episodes.

Knows run records and the flags of steps; draws no chart.
"""

from collections import Counter
from collections.abc import Sequence

from actre.types import ORDERS, Step
from actre.view.blocks import missing, table
from actre.view.html import Html, join, tag
from actre.view.names import flag_words, order_name
from actre.view.records import RunRecord

_NO_FAULT_OF_FORMAT = frozenset({"inadmissible", "env_error"})


def replies(runs: Sequence[RunRecord]) -> Html:
    """How many replies were well-formed and how many actions possible, at both ends of training."""
    rows = []
    for run in runs:
        for name, key in (("tags well-formed", "parse_rate"), ("action admissible", "admissible_rate")):
            curve = run.curve(key)
            if curve:
                ends = [sum(y for _, y in part) / len(part) for part in (curve[:5], curve[-5:])]
                rows.append([run.name, name, *(f"{end * 100:.1f}%" for end in ends)])
    played = _played(runs)
    if not rows and not played:
        return missing("How replies were formed was not recorded", "metrics.jsonl is missing or empty")
    note = "Share of training steps; the opening tag is given to the policy, so the order of a reply is forced."
    config = runs[0].config
    if config is not None and config.prompt.tags == "free":
        note = "Share of training steps; no tag is given to the policy, so a wrong order counts as badly formed."
    parts: list[Html] = []
    if rows:
        parts += [tag("p", note), table(["run", "share", "first five iterations", "last five"], rows)]
    if played:
        names = ["run", "evaluated", "order", "steps", "well-formed", "admissible", "what was wrong, in steps"]
        told = "Every step of the episodes that were evaluated, at evaluation temperature; one can have several faults."
        parts += [tag("h3", "In the evaluation"), tag("p", told), table(names, played)]
    return join(parts)


def _played(runs: Sequence[RunRecord]) -> list[list[str]]:
    """A row for each run, time and order that was evaluated with its episodes kept."""
    rows = []
    for run in runs:
        for when, episodes in (("before", run.before), ("after", run.after)):
            for order in ORDERS:
                steps = [step for t in episodes if t.order == order for step in t.steps]
                if steps:
                    rows.append([run.name, when, order_name(order), f"{len(steps):,}", *_shares(steps)])
    return rows


def _shares(steps: Sequence[Step]) -> list[str]:
    """Well-formed, admissible, and the faults by how often they occur."""
    formed = sum(not set(step.flags) - _NO_FAULT_OF_FORMAT for step in steps)
    possible = sum(step.action is not None and "inadmissible" not in step.flags for step in steps)
    faults = Counter(flag for step in steps for flag in step.flags).most_common()
    told = ", ".join(f"{flag_words(flag)} {count:,}" for flag, count in faults)
    return [f"{formed / len(steps) * 100:.1f}%", f"{possible / len(steps) * 100:.1f}%", told or "nothing"]
