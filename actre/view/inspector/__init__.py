"""The inspector: recorded episodes step by step, in a notebook or in a report.

data.py     episodes as the JSON that the page reads
static.py   what shows where no script runs
offline.py  the page inside a report
view.py     the notebook widget; loaded on first use, so that a report needs no notebook library
live.py     answers the widget with a live policy
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from actre.view.inspector.view import Inspector

__all__ = ["Inspector"]


def __getattr__(name: str) -> Any:
    if name == "Inspector":
        from actre.view.inspector.view import Inspector

        return Inspector
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
