"""The inspector's scripts and style sheets, joined as a widget or a report loads them."""

from collections.abc import Sequence
from pathlib import Path

SCRIPTS = ("core.js", "panels.js", "live.js", "list.js", "inspector.js")
STYLES = ("core.css", "inspector.css")
"""The inspector's files, in the order of their dependencies."""

_HERE = Path(__file__).parent


def parts(names: Sequence[str]) -> str:
    """Files of this folder joined into one text, because a notebook's page can load a single script only."""
    return "\n".join((_HERE / name).read_text(encoding="utf-8") for name in names)
