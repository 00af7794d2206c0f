"""HTML that escapes by default: text becomes markup only through `tag`, so a hostile string stays a string.

Knows no charts, no records and no files.
"""

import html
import re
from collections.abc import Iterable
from typing import Any


class Html(str):
    """Markup that is already safe. Only `tag` and `join` make it from text; anything else is escaped on
    its way in.
    """

    __slots__ = ()


def text(value: object) -> Html:
    """One child as safe markup: Html as it is, None as nothing, a list or tuple's members laid end to end,
    anything else escaped (quotes too).

    Characters that HTML forbids (control characters, lone surrogates) become U+FFFD, so that the file is
    valid and can be written as UTF-8, and a reader sees that something stood there.
    """
    if isinstance(value, Html):
        return value
    if value is None:
        return Html("")
    if isinstance(value, list | tuple):
        return join(value)
    return Html(html.escape(visible(str(value))))


# Control characters, lone surrogates and noncharacters are no HTML; bidirectional overrides would let a game's text
# rearrange the words around it.
_FORBIDDEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff"
    + "".join(f"{chr(plane + 0xFFFE)}{chr(plane + 0xFFFF)}" for plane in range(0, 0x110000, 0x10000))
    + "]"
)


def visible(value: str) -> str:
    r"""The text with every character that a page may not hold as U+FFFD.

    >>> visible("a\x00b") == "a\ufffdb"
    True
    """
    return _FORBIDDEN.sub("\ufffd", value)


def join(children: Iterable[object], between: str = "") -> Html:
    """Children one after the other, each through `text`."""
    return Html(str(text(between)).join(text(child) for child in children))


_VOID = frozenset({"br", "meta", "line", "circle", "rect", "path", "polyline", "polygon", "col"})


def tag(name: str, /, *children: object, **attributes: Any) -> Html:
    """One element. Attribute names: a trailing _ is dropped, other _ become -; None and False leave one out.

    >>> tag("p", "a < b", tag("b", "!"), class_="note")
    '<p class="note">a &lt; b<b>!</b></p>'
    """
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{text("" if value is True else _number(value))}"'
        for key, value in attributes.items()
        if value is not None and value is not False
    )
    if name in _VOID and not children:
        return Html(f"<{name}{written}/>")
    return Html(f"<{name}{written}>{join(children)}</{name}>")


def _number(value: object) -> object:
    return f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else value
