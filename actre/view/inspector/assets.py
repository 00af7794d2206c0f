"""The page's parts as one script and one style sheet, as a widget and a report load them. Knows files, no Jupyter."""

from collections.abc import Sequence
from pathlib import Path

SCRIPTS = ("core.js", "panels.js", "live.js", "list.js", "inspector.js")
STYLES = ("core.css", "inspector.css")
"""What the inspector is made of, in the order in which its parts need each other."""

_HERE = Path(__file__).parent


def parts(names: Sequence[str]) -> str:
    """Files of this folder, one after the other: a notebook's page can load one script and no file beside it."""
    return "\n".join((_HERE / name).read_text(encoding="utf-8") for name in names)
