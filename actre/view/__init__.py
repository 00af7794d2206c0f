"""What people look at: figures, reports, and in a notebook the inspector and the play widget.

Knows records of runs and episodes; never trains. The widgets are loaded when they are asked for, so that reading a run
needs no notebook library.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from actre.view.inspector import Inspector
    from actre.view.play import Play

__all__ = ["Inspector", "Play"]


def __getattr__(name: str) -> Any:
    if name == "Inspector":
        from actre.view.inspector import Inspector

        return Inspector
    if name == "Play":
        from actre.view.play import Play

        return Play
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
