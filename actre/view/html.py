"""HTML that escapes by default: `tag` builds elements on markupsafe, so a hostile string stays text."""

import re
from collections.abc import Iterable
from typing import Any

from markupsafe import Markup, escape

Html = Markup
"""Safe markup. Text becomes Html only through `text`, `join` and `tag`."""

# Control characters, lone surrogates and noncharacters are not allowed in HTML; bidirectional overrides would let a
# game's text reorder the words around it.
_FORBIDDEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff"
    + "".join(f"{chr(plane + 0xFFFE)}{chr(plane + 0xFFFF)}" for plane in range(0, 0x110000, 0x10000))
    + "]"
)
_VOID = frozenset({"br", "meta", "line", "circle", "rect", "path", "polyline", "polygon", "col"})


def visible(value: str) -> str:
    r"""The text with U+FFFD for every character that a page may not contain; the file is then valid UTF-8.

    >>> visible("a\x00b") == "a\ufffdb"
    True
    """
    return _FORBIDDEN.sub("\ufffd", value)


def text(value: object) -> Html:
    """One child as safe markup: Html unchanged, None as nothing, lists and tuples joined, anything else escaped."""
    if isinstance(value, Html):
        return value
    if value is None:
        return Html()
    return join(value) if isinstance(value, list | tuple) else escape(visible(str(value)))


def join(children: Iterable[object], between: str = "") -> Html:
    """Children one after the other, each through `text`."""
    return text(between).join(text(child) for child in children)


def tag(name: str, /, *children: object, **attributes: Any) -> Html:
    """One element. Attribute names: a trailing _ is dropped, other _ become -; None and False omit the attribute.

    >>> str(tag("p", "a < b", tag("b", "!"), class_="note"))
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
