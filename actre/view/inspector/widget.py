"""What the inspector and the play widget share: requests in, answers out, and what shows where no widget can.

Knows anywidget and the form of a request ({"id", ...} in; {"re": id, "ok" or "error"} out); not what is asked.
"""

from typing import Any

import anywidget
import traitlets

from actre.types import ActreError
from actre.view.html import visible


class AnsweringWidget(anywidget.AnyWidget):  # type: ignore[misc]
    """A widget whose page asks and whose kernel answers. `_place` is where the reader is; a reloaded page stays there.

    A subclass answers in `_answer_to`, and gives its page a fallback in `static`.
    """

    _ipython_display_ = None  # ipywidgets 7 displays by this, and leaves out what shows without a widget
    _place = traitlets.Dict().tag(sync=True)

    def __init__(self, **traits: Any) -> None:
        super().__init__(**traits)
        self.on_msg(self._receive)

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
