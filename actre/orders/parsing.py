"""Parses replies (tags, thought, action) and checks actions against the admissible list."""

import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

from actre.types import Flag, Order, Reply, parse_action, parse_click

THINK, END_THINK = "<think>", "</think>"
ACTION, END_ACTION = "<action>", "</action>"
_TAGS = (THINK, END_THINK, ACTION, END_ACTION)

_OPEN = re.compile(r"(?!click\[)(\w+)\[<\w+>\]")


def open_verb(action: str) -> str | None:
    """The verb of an open action, one that stands for all its fillings in a list of admissible actions; else None.

    A click is never open: its argument is a text of the page, even if it looks like a placeholder.

    >>> open_verb("search[<query>]"), open_verb("click[buy now]"), open_verb("click[<b>]")
    ('search', None, None)
    """
    match = _OPEN.fullmatch(action)
    return match[1] if match else None


def admits(admissible: Sequence[str], action: str) -> bool:
    """Whether an action is in the list, fills an open action of it, or clicks a listed text, by the shop's own parsing.

    So clicks match in any case, text after the closing bracket is ignored, and a search that the shop would ignore (two
    actions in one, a line break, an opening bracket within the words) is not admitted.

    >>> admits(("search[<query>]",), "search[red socks]"), admits(("search[<query>]",), "search[]")
    (True, False)
    >>> admits(("search[<query>]",), "search[red] click[b]"), admits(("search[<query>]",), "search[[red]]")
    (False, False)
    >>> admits(("click[buy now]",), "click[Buy Now]"), admits(("look",), "Look")
    (True, False)
    """
    if action in admissible:
        return True
    verb, argument = parse_action(action)
    if argument is not None and verb in map(open_verb, admissible):
        return True
    return parse_click(action, lambda what: f"click[{what}]" in admissible) is not None


def listed(admissible: Sequence[str]) -> tuple[str, ...]:
    """The admissible actions without repetitions: an action listed twice is still one outcome."""
    return tuple(dict.fromkeys(admissible))


class Opened(NamedTuple):
    """Ids after which an action follows. The last one completes the opening tag; written: its text beyond the tag, with
    which the action then begins."""

    ids: tuple[int, ...]
    written: str


Blanks = tuple[str, str]
"""The white space between the opening tag and the action, and between the action and the closing tag."""
NO_BLANKS: Blanks = ("", "")


def opened(reply: Reply) -> Opened | None:
    """The ids of a reply that was sampled up to its opening <action> tag; None if the tag was never written.

    >>> opened(Reply((7, 8, 9), (0.0, 0.0, 0.0), "so</think> <action>go"))
    Opened(ids=(7, 8, 9), written='go')
    """
    _, tag, written = reply.text.partition(ACTION)
    return Opened(reply.token_ids, written) if tag else None


def thought_text(reply_text: str) -> str:
    """The thought of a reply that was sampled up to its action or to the end of the thought.

    >>> thought_text("need mug </think> <action>")
    'need mug'
    """
    return reply_text.partition(ACTION)[0].partition(END_THINK)[0].strip()


def tokens_up_to(text: str, ids: Sequence[int], decode: Callable[[Sequence[int]], str]) -> int:
    """The number of leading tokens whose decoding contains a text; all of them if it never does.

    >>> tokens_up_to("b", [0, 1, 2], lambda ids: "".join("abc"[i] for i in ids))
    2
    """
    if text not in decode(ids):
        return len(ids)
    low, high = 1, len(ids)
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if text in decode(ids[:middle]) else (middle + 1, high)
    return low


def unwritten(text: str, begun: str) -> str:
    """The rest of `text` after the longest beginning of it that `begun` ends with.

    >>> unwritten("<action>", "</think><"), unwritten("<action>", "</think> ")
    ('action>', '<action>')
    """
    held = next((n for n in range(len(text), 0, -1) if begun.endswith(text[:n])), 0)
    return text[held:]


class Parsed(NamedTuple):
    """A strictly parsed reply. `action` is the text between its tags (outer blanks stripped), None if there is none."""

    thought: str | None
    action: str | None
    flags: tuple[Flag, ...]


def parse(text: str, order: Order, *, truncated: bool = False) -> Parsed:
    """Parse a whole reply, with its forced opening tag.

    There is an action only if the text has exactly one <action>...</action>, which is not blank and contains no other
    tag. It is then sent unchanged. Everything wrong with the reply becomes a flag.

    >>> parse("<think>find mug</think> <action>go to shelf 1</action>", "think_first")
    Parsed(thought='find mug', action='go to shelf 1', flags=())
    >>> parse("<action>go to shelf 1</action> hm", "no_think")
    Parsed(thought=None, action='go to shelf 1', flags=('extra_text',))
    >>> parse("<action>a</action><action>b</action>", "no_think").action is None
    True
    """
    flags: list[Flag] = []
    action, action_at = _between(text, ACTION, END_ACTION)
    thought, thought_at = _between(text, THINK, END_THINK)
    if action is None:
        flags.append("no_action")
    if order != "no_think":
        if thought is None:
            flags.append("no_thought")
        elif action is not None and (thought_at < action_at) != (order == "think_first"):
            flags.append("wrong_order")
    rest = _without(text, ACTION, END_ACTION) if action is not None else text
    if thought is not None and order != "no_think":
        rest = _without(rest, THINK, END_THINK)
    if rest.strip() and not truncated:
        flags.append("extra_text")
    if truncated:
        flags.append("truncated")
    return Parsed(thought, action, tuple(flags))


def _between(text: str, opening: str, closing: str) -> tuple[str | None, int]:
    """The stripped text between the only pair of these tags and its position; (None, -1) without exactly one pair."""
    if text.count(opening) != 1 or text.count(closing) != 1:
        return None, -1
    start, end = text.index(opening), text.index(closing)
    inner = text[start + len(opening) : end].strip()
    if end < start or not inner or _has_tags(inner):
        return None, -1
    return inner, start


def _without(text: str, opening: str, closing: str) -> str:
    return text[: text.index(opening)] + text[text.index(closing) + len(closing) :]


def _has_tags(text: str) -> bool:
    return any(tag in text for tag in _TAGS)
