"""Exact probabilities of actions as texts, given the tokens sampled up to the opening <action> tag.

A text is measured, not one tokenisation of it. A thought is everything up to and including the opening tag, as sampled;
an action's probability is that of its text through the closing tag after exactly those tokens. If the last sampled
token already contains the beginning of an action, only actions with that beginning can follow; the closing tag may end
inside a longer token (`types.Spelling`). Within an action only the tokenizer's own spelling is scored; self_check.py
detects policies for which others matter.
"""

from collections.abc import Sequence

import numpy as np

from actre.orders import ACTION, END_THINK, NO_BLANKS, Blanks, Opened, Renderer, opened, unwritten
from actre.policies import Policy
from actre.types import Reply, Spelling


def forced(renderer: Renderer, reply: Reply) -> Opened:
    """The reply with its thought closed, if necessary, and the opening tag appended."""
    ids, tag = reply.token_ids, ACTION
    if END_THINK in reply.text:
        tag = unwritten(ACTION, reply.text.partition(END_THINK)[2])
    else:
        # drop the end-of-turn token, if the reply has one, before the closing tag is appended
        ids = ids if reply.truncated else ids[:-1]
        tag = END_THINK + ACTION
    return Opened((*ids, *renderer.continued(tag)), "")


def after_reply(renderer: Renderer, reply: Reply, *, force_action_tag: bool) -> Opened | None:
    """Where the action begins in a reply sampled up to there; None if it never opened the tag."""
    return forced(renderer, reply) if force_action_tag else opened(reply)


def thought_stop(*, force_action_tag: bool) -> str:
    """The stop string for sampling a thought."""
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
    """For each place (its ids are the whole prefix), the log-probabilities (A,) in nats of its actions' texts.

    blanks: the kinds of white space that may surround an action; their probabilities are added.
    """
    spelled = _Spelled(renderer, blanks)
    ways = [[spelled.ways(action, place.written) for action in own] for place, own in zip(places, actions, strict=True)]
    asked = [list({tuple(way): way for of_action in own for way in of_action if way}.values()) for own in ways]
    rows = [i for i, candidates in enumerate(asked) if candidates]
    scored = policy.action_logprobs([places[i].ids for i in rows], [asked[i] for i in rows], temperature=temperature)
    known: list[dict[tuple[int, ...], float]] = [{(): 0.0} for _ in places]  # text that is already written is certain
    for i, logps in zip(rows, scored, strict=True):
        known[i].update(zip(map(tuple, asked[i]), logps.tolist(), strict=True))
    return [
        np.array([_added([found[tuple(way)] for way in of_action]) for of_action in own], dtype=np.float64)
        for own, found in zip(ways, known, strict=True)
    ]


class _Spelled:
    """The spellings of an action after the text behind the tag; cached, because many thoughts end alike."""

    def __init__(self, renderer: Renderer, blanks: Sequence[Blanks]) -> None:
        self._renderer = renderer
        self._blanks = blanks
        self._known: dict[tuple[str, str], list[Spelling]] = {}

    def ways(self, action: str, written: str) -> list[Spelling]:
        """Distinct ids only, because tokenizers that drop white space spell all ways alike."""
        key = (action, written)
        if key not in self._known:
            each = [self._renderer.continuation(action, written, blanks) for blanks in self._blanks]
            self._known[key] = list({tuple(way): way for way in each if way is not None}.values())
        return self._known[key]


def _added(logps: list[float]) -> float:
    """The logarithm of the sum of probabilities, at most 0; -inf for none."""
    return min(0.0, float(np.logaddexp.reduce(logps))) if logps else -np.inf
