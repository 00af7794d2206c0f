"""The inspector: recorded episodes step by step, in a notebook or in a report, and what a live policy would do in them.

Knows its parts: data.py what is shown, static.py what shows where no script runs, offline.py the page of a report; and
for a notebook view.py the widget, live.py what is answered. The latter two are loaded when they are asked for: a report
is read and written without a notebook library.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from actre.view.inspector.live import annotate
    from actre.view.inspector.view import Inspector

__all__ = ["Inspector", "annotate"]


def __getattr__(name: str) -> Any:
    if name == "Inspector":
        from actre.view.inspector.view import Inspector

        return Inspector
    if name == "annotate":
        from actre.view.inspector.live import annotate

        return annotate
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
