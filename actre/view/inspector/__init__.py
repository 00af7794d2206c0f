"""The inspector: recorded episodes step by step, in a notebook or in a report, and what a live policy would do in them.

data.py makes the page's data, static.py the HTML without a script, offline.py the part of a report. For a notebook,
view.py is the widget and live.py answers its requests; these two are imported only when used, so reports need no
notebook library.
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
