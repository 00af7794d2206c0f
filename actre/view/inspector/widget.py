"""What the inspector and the play widget share: requests in, answers out, and what shows where no widget can.

Knows anywidget and the form of a request ({"id", ...} in; {"re": id, "ok" or "error"} out); not what is asked.
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
    """A widget whose page asks and whose kernel answers. `_place` is where the reader is; a reloaded page stays there.

    A subclass answers in `_answer_to`, and gives its page a fallback in `static`. The fallback is what a notebook shows
    that nbconvert (or papermill, or anything on nbclient) executes: its state is sent as no cell's (`_of_no_cell`).
    """

    _ipython_display_ = None  # ipywidgets 7 displays by this, and leaves out what shows without a widget
    _place = traitlets.Dict().tag(sync=True)

    def __init__(self, **traits: Any) -> None:
        with _of_no_cell():
            super().__init__(**traits)
        self.on_msg(self._receive)

    def send_state(self, *args: Any, **kwargs: Any) -> None:
        """Send the state, or a part of it, to the pages that show the widget."""
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
        """The answer to one request of the page; an error is an answer, in words."""
        try:
            return {"re": request["id"], "ok": self._answer_to(request)}
        except ActreError as error:
            return {"re": request["id"], "error": visible(str(error))}
        except Exception as error:
            # The reader sits before a page, not before the kernel's log: whatever failed has to be said there.
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
    """What widgets send meanwhile names no request as its cause.

    A page takes every message of a widget (JupyterLab and the classic notebook do), whatever caused it. nbclient reads
    those that a cell caused, and would keep the widget's state in the notebook. nbconvert then prefers the widget to
    the HTML beside it, and the page needs a CDN and scripts to show anything. Colab is left alone: what it does with
    such messages was not tried.
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
