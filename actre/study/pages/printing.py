"""Writes a page's sections as Markdown, or as one HTML file that loads nothing."""

import os
import re
from collections.abc import Sequence
from pathlib import Path

from actre.study.pages.blocks import Block, Contents, Figure, Items, Link, Paragraph, Section
from actre.study.pages.tables import Table
from actre.view import blocks
from actre.view.html import Html, join, tag
from actre.view.page import document


def anchor(title: str) -> str:
    """A heading's anchor, as GitHub makes it.

    >>> anchor("tiny: neutral (confirmatory)")
    'tiny-neutral-confirmatory'
    """
    return re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-")


# --- Markdown ---


def as_markdown(sections: Sequence[Section], path: Path) -> str:
    """The page as Markdown; links are relative to `path`, the page's own. Figures are left out."""
    pieces: list[str] = []
    for level, section in zip(("#", *["##"] * len(sections)), sections, strict=False):
        pieces.append(f"{level} {section.title}")
        pieces += [_markdown(block, path) for block in section.blocks if not isinstance(block, Figure)]
    return "\n\n".join(pieces) + "\n"


def _markdown(block: Paragraph | Items | Contents | Table, path: Path) -> str:
    match block:
        case Paragraph(said):
            return "\n".join(one if isinstance(one, str) else _link(one, path) for one in said)
        case Items(said):
            return "\n".join(f"- {one}" for one in said)
        case Contents(parts):
            lines = [[f"- [{title}](#{anchor(title)})", *(f"    - {one}" for one in said)] for title, said in parts]
            return "\n".join(line for part in lines for line in part)
    rows = [block.names, tuple("---" for _ in block.names), *block.rows]
    text = block.note + "\n\n" + "\n".join(f"| {' | '.join(row)} |" for row in rows)
    if block.long:
        return f"<details><summary>{block.title}</summary>\n\n{text}\n\n</details>"
    return f"### {block.title}\n\n{text}"


def _link(link: Link, path: Path) -> str:
    return f"{link.text}[{link.target.name}]({_relative(link, path)})."


def _relative(link: Link, path: Path) -> str:
    return os.path.relpath(link.target.resolve(), path.resolve().parent)


# --- HTML ---


def as_html(sections: Sequence[Section], path: Path, *, title: str, kicker: str, heading: str) -> str:
    """The page as HTML, the first section under `heading` in place of its own title."""
    opening, *others = sections
    parts = [(anchor(one.title), one.title, _body(one, path)) for one in others]
    return document(title, kicker, heading, tag("div", _body(opening, path), class_="lead"), parts)


def _body(section: Section, path: Path) -> Html:
    return join([_html(block, path) for block in section.blocks])


def _html(block: Block, path: Path) -> Html | None:
    match block:
        case Figure(draw):
            return draw()
        case Paragraph(said):
            return tag("p", join((one if isinstance(one, str) else _anchored(one, path) for one in said), " "))
        case Items(said):
            return _list(said)
        case Contents(parts):
            return _list([[tag("a", title, href=f"#{anchor(title)}"), _list(said)] for title, said in parts])
    content = join([tag("p", block.note, class_="soft") if block.note else None, blocks.table(block.names, block.rows)])
    if block.long:
        return blocks.folded(block.title, content)
    return join([tag("h3", block.title) if block.title else None, content])


def _anchored(link: Link, path: Path) -> Html:
    return join([link.text, tag("a", link.target.name, href=_relative(link, path)), "."])


def _list(said: Sequence[object]) -> Html:
    return tag("ul", [tag("li", one) for one in said])
