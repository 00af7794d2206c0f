"""The base of the inspector and the play widget: requests, answers, and a static fallback.

A request is {"id", ...}; its answer is {"re": id, "ok" or "error": ...}.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import anywidget
import traitlets
from IPython.core.getipython import get_ipython

from actre.types import ActreError
from actre.view.html import visible


class AnsweringWidget(anywidget.AnyWidget):  # type: ignore[misc]
    """A widget whose page sends requests to the kernel. `_place` is the reader's position, kept over a reload.

    A subclass answers in `_answer_to` and returns a fallback in `static`. A notebook executed by nbclient (nbconvert,
    papermill) shows the fallback, because the widget's state is sent without a parent cell (`_of_no_cell`).
    """

    _ipython_display_ = None  # ipywidgets 7 displays through this and drops the static fallback
    _place = traitlets.Dict().tag(sync=True)

    def __init__(self, **traits: Any) -> None:
        with _of_no_cell():
            super().__init__(**traits)
        self.on_msg(self._receive)

    def send_state(self, *args: Any, **kwargs: Any) -> None:
        """Send the state, or part of it, to the pages that show the widget."""
        with _of_no_cell():
            super().send_state(*args, **kwargs)

    def _answer_to(self, request: dict[str, Any]) -> Any:
        raise NotImplementedError

    def static(self) -> str:
        """HTML that needs no widget, no script and no kernel."""
        raise NotImplementedError

    def _receive(self, _: Any, request: Any, __: Any) -> None:
        if isinstance(request, dict) and "id" in request:
            self.send(self.answer(request))

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """The answer to one request of the page; an error becomes an answer with its message."""
        try:
            return {"re": request["id"], "ok": self._answer_to(request)}
        except ActreError as error:
            return {"re": request["id"], "error": visible(str(error))}
        except Exception as error:
            # The reader sees the page, not the kernel's log, so any failure must be shown there.
            return {
                "re": request["id"],
                "error": visible(f"The kernel failed on this ({type(error).__name__}: {error}). This is a bug."),
            }

    def _repr_mimebundle_(self, **_: Any) -> Any:
        view = {"version_major": 2, "version_minor": 0, "model_id": self.model_id}
        return {
            "application/vnd.jupyter.widget-view+json": view,
            "text/html": self.static(),
            "text/plain": repr(self),
        }

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


@contextmanager
def _of_no_cell() -> Iterator[None]:
    """Messages that widgets send inside this context have no parent cell.

    JupyterLab and the classic notebook accept every message of a widget, whatever its parent. nbclient reads only
    those with a parent cell, and would store the widget's state in the notebook; nbconvert then prefers the widget to
    the HTML beside it, and the page needs a CDN and scripts. Colab is excluded, because this was not tested there.
    """
    kernel: Any = getattr(get_ipython(), "kernel", None)
    if kernel is None or "google.colab" in sys.modules:
        yield
        return
    parent = kernel.get_parent
    kernel.get_parent = lambda *_: {}
    try:
        yield
    finally:
        kernel.get_parent = parent
