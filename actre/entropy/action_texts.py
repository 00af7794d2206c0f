"""The exact probabilities of actions as texts, after whatever was sampled up to the opening <action> tag.

Knows policies by their protocol and prompts through their renderers. What is measured is a text, not one way of
tokenising it: a thought is everything up to and with the opening tag as it was sampled, and an action's probability is
that of its text through the closing tag after exactly those tokens. Where the last of them holds the beginning of an
action, only actions that begin so can follow; the closing tag may end inside a longer token (`types.Spelling`).
Within an action the tokenizer's own way of writing it is the one that is scored; what that misses is for
`_self_check` to notice.
"""

from collections.abc import Sequence

import numpy as np

from actre.orders import ACTION, END_THINK, NO_BLANKS, Blanks, Opened, Renderer, opened, unwritten
from actre.policies import Policy
from actre.types import Reply, Spelling


def forced(renderer: Renderer, reply: Reply) -> Opened:
    """The reply with its thought closed, where it is not, and the opening tag written for the policy."""
    ids, tag = reply.token_ids, ACTION
    if END_THINK in reply.text:
        tag = unwritten(ACTION, reply.text.partition(END_THINK)[2])
    else:
        # an end-of-turn token, if that is what ended it, must not stand before the tag that closes it
        ids = ids if reply.truncated else ids[:-1]
        tag = END_THINK + ACTION
    return Opened((*ids, *renderer.continued(tag)), "")


def after_reply(renderer: Renderer, reply: Reply, *, force_action_tag: bool) -> Opened | None:
    """Where the action begins in a reply that was sampled up to there; None where it never opened its tag."""
    return forced(renderer, reply) if force_action_tag else opened(reply)


def thought_stop(*, force_action_tag: bool) -> str:
    """The string at which sampling a thought ends."""
    return END_THINK if force_action_tag else ACTION


def action_logps(
    policy: Policy,
    renderer: Renderer,
    places: Sequence[Opened],
    actions: Sequence[Sequence[str]],
    *,
    temperature: float,
    blanks: Sequence[Blanks] = (NO_BLANKS,),
) -> list[np.ndarray]:
    """For each place (its ids: the whole prefix), the log-probability in nats of each of its actions' texts: (A,).

    blanks: the ways in which white space may stand around an action; their probabilities are added.
    """
    spelled = _Spelled(renderer, blanks)
    ways = [[spelled.ways(action, place.written) for action in own] for place, own in zip(places, actions, strict=True)]
    asked = [list({tuple(way): way for of_action in own for way in of_action if way}.values()) for own in ways]
    rows = [i for i, candidates in enumerate(asked) if candidates]
    scored = policy.action_logprobs([places[i].ids for i in rows], [asked[i] for i in rows], temperature=temperature)
    known: list[dict[tuple[int, ...], float]] = [{(): 0.0} for _ in places]  # what is written already is certain
    for i, logps in zip(rows, scored, strict=True):
        known[i].update(zip(map(tuple, asked[i]), logps.tolist(), strict=True))
    return [
        np.array([_added([found[tuple(way)] for way in of_action]) for of_action in own], dtype=np.float64)
        for own, found in zip(ways, known, strict=True)
    ]


class _Spelled:
    """The ways to write an action after what stands behind the tag; kept, for many thoughts end alike."""

    def __init__(self, renderer: Renderer, blanks: Sequence[Blanks]) -> None:
        self._renderer = renderer
        self._blanks = blanks
        self._known: dict[tuple[str, str], list[Spelling]] = {}

    def ways(self, action: str, written: str) -> list[Spelling]:
        """Different ids only: tokenizers that drop white space write all ways alike."""
        key = (action, written)
        if key not in self._known:
            each = [self._renderer.continuation(action, written, blanks) for blanks in self._blanks]
            self._known[key] = list({tuple(way): way for way in each if way is not None}.values())
        return self._known[key]


def _added(logps: list[float]) -> float:
    """The logarithm of the sum of probabilities, at most 0; -inf for none."""
    return min(0.0, float(np.logaddexp.reduce(logps))) if logps else -np.inf
