"""What a study's page consists of."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from actre.study.pages.tables import Table
from actre.view.html import Html


class Link(NamedTuple):
    """A sentence that ends in a link to a file."""

    text: str
    target: Path


class Paragraph(NamedTuple):
    """Sentences; Markdown has one per line."""

    said: tuple[str | Link, ...]


class Items(NamedTuple):
    """A list of sentences."""

    said: tuple[str, ...]


class Contents(NamedTuple):
    """Sections by title, linked, each with a list of what it found."""

    sections: tuple[tuple[str, tuple[str, ...]], ...]


class Figure(NamedTuple):
    """A chart, drawn for HTML only; None if there is nothing to draw."""

    draw: Callable[[], Html | None]


Block = Paragraph | Items | Contents | Figure | Table


class Section(NamedTuple):
    """A heading with its blocks."""

    title: str
    blocks: tuple[Block, ...]
