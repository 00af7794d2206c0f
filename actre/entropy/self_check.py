"""Checks the exact action probabilities against complete sampled replies (from whole_replies.py).

In each order two frequencies over all states are compared with their exact probabilities: that of a listed action, and
that of the action that is likeliest by the exact distribution. A difference beyond chance means that the scored texts
are not what the policy writes (another spelling of tags or actions, another temperature, other weights). The comparison
of the orders is then void.
"""

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from actre.orders import ACTION, END_ACTION, NO_BLANKS, Blanks, open_verb
from actre.types import Order

REPLIES = 4
"""Sampled replies per state and order."""
TOLERANCE = 0.02
"""Differences in probability up to this are ignored, even if significant: rare spellings."""
STANDARD_ERRORS = 3.3
"""A larger difference occurs by chance once in a thousand checks."""
_MOST_BLANKS = 4
_AROUND = re.compile(re.escape(ACTION) + r"(\s{0,4})\S.*?(\s{0,4})" + re.escape(END_ACTION), re.DOTALL)


@dataclass(frozen=True)
class StateCheck:
    """One state in one order. listed: replies, out of `replies`, with a listed action; p_listed: its probability.

    top: index of the likeliest listed action; p_top: its probability; top_played: replies with it. With sampled
    thoughts, every second thought selects the top action and the others give its probability, which avoids selection
    bias. thoughts, top_thoughts: numbers of thoughts that p_listed and p_top are means over; None for exact
    probabilities. blanks: the white space around actions in the replies.
    """

    replies: int
    listed: int
    p_listed: float
    top: int
    top_played: int
    p_top: float
    thoughts: int | None = None
    top_thoughts: int | None = None
    blanks: tuple[Blanks, ...] = (NO_BLANKS,)

    @staticmethod
    def from_json(record: dict[str, Any]) -> "StateCheck":
        return StateCheck(**{**record, "blanks": tuple((before, after) for before, after in record["blanks"])})


class Agreement(NamedTuple):
    """A frequency and its exact probability, both means over the states. what: "listed" or "top"."""

    order: Order
    what: str
    replies: int
    exact: float
    played: float
    error: float
    """Standard error of their difference, if they are equal."""

    @property
    def gap(self) -> float:
        return abs(self.played - self.exact)

    @property
    def agrees(self) -> bool:
        return self.gap <= max(TOLERANCE, STANDARD_ERRORS * self.error)

    @property
    def words(self) -> str:
        name = "a listed action" if self.what == "listed" else "the likeliest action"
        seen = f"{100 * self.played:.0f} % of {self.replies} whole replies hold {name}"
        return f"{self.order.replace('_', '-')}: {seen}, its exact probability is {100 * self.exact:.0f} %"

    def to_json(self) -> dict[str, Any]:
        numbers = {name: round(getattr(self, name), 6) for name in ("exact", "played", "error")}
        return {"order": self.order, "what": self.what, "replies": self.replies, **numbers, "agrees": self.agrees}


def state_check(
    played: Sequence[int | None], exact: np.ndarray, blanks: Sequence[Blanks], *, sampled: bool
) -> StateCheck:
    """The check of one state. played: for each reply the index of its action in the list, None for anything else.

    exact: (A+1,) the distribution or, if `sampled`, (K, A+1), one per thought.

    >>> check = state_check([0, 1, 0, None], np.array([[0.9, 0.0, 0.1]]), [("", "")], sampled=False)
    >>> check.listed, check.p_listed, check.top, check.top_played, check.p_top
    (3, 0.9, 0, 2, 0.9)
    """
    rows = np.atleast_2d(exact)[:, :-1]
    selecting, measuring = (rows[::2], rows[1::2]) if sampled and len(rows) > 1 else (rows, rows)
    top = int(selecting.mean(axis=0).argmax())
    return StateCheck(
        replies=len(played),
        listed=sum(action is not None for action in played),
        p_listed=float(rows.sum(axis=1).mean()),
        top=top,
        top_played=sum(action == top for action in played),
        p_top=float(measuring[:, top].mean()),
        thoughts=len(rows) if sampled else None,
        top_thoughts=len(measuring) if sampled else None,
        blanks=tuple(blanks),
    )


def agreements(order: Order, checks: Sequence[StateCheck]) -> list[Agreement]:
    """Both frequencies of an order over its states; empty without states or replies."""
    checks = [check for check in checks if check.replies]
    if not checks:
        return []
    return [
        _agreement(order, "listed", [(c.listed, c.replies, c.p_listed, c.thoughts) for c in checks]),
        _agreement(order, "top", [(c.top_played, c.replies, c.p_top, c.top_thoughts) for c in checks]),
    ]


def _agreement(order: Order, what: str, states: Sequence[tuple[int, int, float, int | None]]) -> Agreement:
    """The error combines that of a share of n replies and that of a mean over K thoughts, at most that of K draws."""
    variance = 0.0
    for count, n, p, thoughts in states:
        q = p if thoughts is None else (count + p * thoughts) / (n + thoughts)
        variance += q * (1 - q) * (1 / n + (1 / thoughts if thoughts else 0.0))
    return Agreement(
        order,
        what,
        replies=sum(n for _, n, _, _ in states),
        exact=sum(p for _, _, p, _ in states) / len(states),
        played=sum(count / n for count, n, _, _ in states) / len(states),
        error=math.sqrt(max(0.0, variance)) / len(states),
    )


def listed_index(listed: Sequence[str], action: str) -> int | None:
    """Index of an admissible action in the list: as it is, in lower case, or as an open action with a query.

    >>> listed_index(("search[<query>]", "click[buy now]"), "search[red]"), listed_index(("click[a]",), "click[A]")
    (0, 0)
    """
    if action in listed:
        return listed.index(action)
    if action.lower() in listed:
        return listed.index(action.lower())
    fits = (i for i, one in enumerate(listed) if (verb := open_verb(one)) and action.startswith(f"{verb}["))
    return next(fits, None)


def blanks_in(texts: Sequence[str]) -> tuple[Blanks, ...]:
    """The most frequent kinds of white space around actions in replies; no white space is always among them.

    >>> blanks_in(["<action>\\ngo\\n</action>", "<action>go</action>"])
    (('', ''), ('\\n', '\\n'))
    """
    seen = Counter(found.groups() for text in texts if (found := _AROUND.search(text)))
    common = [(before, after) for (before, after), _ in seen.most_common(_MOST_BLANKS)]
    return tuple(dict.fromkeys([NO_BLANKS, *common]))
