"""A notebook that nbconvert executes with its default flags shows the widgets' episodes, without script or network."""

import re
from pathlib import Path
from typing import NamedTuple

import pytest

nbconvert = pytest.importorskip("nbconvert", reason="pip install 'actre[train,lab]'")
nbformat = pytest.importorskip("nbformat")
preprocessors = pytest.importorskip("nbconvert.preprocessors")

TESTS = Path(__file__).resolve().parents[1]
STATE = "application/vnd.jupyter.widget-state+json"
VIEW = "application/vnd.jupyter.widget-view+json"
CELLS = (
    f"import sys; sys.path[:0] = [{str(TESTS.parent)!r}, {str(TESTS)!r}]\n"
    "from fake_env import CorridorEnv\nfrom small_world import CONFIG, played, policy\n"
    "from actre.view import Inspector, Play",
    "shown = Inspector({'run': played(policy())}, config=CONFIG)\nshown",
    "game = Play(['2'], env=CorridorEnv(limit=4), config=CONFIG)\n"
    "game.answer({'id': 1, 'kind': 'act', 'action': 'go right', 'step': 0})\ngame",
    "shown._place = {'step': 1}  # a page that is open is sent this\nprint('moved')",
)


class Saved(NamedTuple):
    """The executed notebook, and the page made of it."""

    notebook: "nbformat.NotebookNode"
    html: str

    @property
    def text(self) -> str:
        """The page as one reads it that runs no script."""
        return re.sub(r"<script.*?</script>", "", self.html, flags=re.DOTALL)


def executed(*cells: str) -> Saved:
    """What `jupyter nbconvert --to html --execute` makes of these cells."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    notebook, _ = preprocessors.ExecutePreprocessor().preprocess(notebook, {})
    return Saved(notebook, nbconvert.HTMLExporter().from_notebook_node(notebook)[0])


@pytest.fixture(scope="module")
def saved() -> Saved:
    return executed(*CELLS)


def test_both_widgets_read_without_a_script(saved: Saved) -> None:
    assert "3 episodes" in saved.text
    assert saved.text.count("go right") > 3
    assert "played by hand" in saved.text


def test_the_page_asks_no_network_for_a_widget(saved: Saved) -> None:
    for wanted in ("unpkg", "html-manager", "jupyter-widgets", "widget-view"):
        assert wanted not in saved.html


def test_the_notebook_keeps_no_state_that_would_be_shown_for_the_html(saved: Saved) -> None:
    assert "widgets" not in saved.notebook.metadata
    outputs = [output for cell in saved.notebook.cells for output in cell.outputs]
    shown = [output.data for output in outputs if "data" in output]
    assert len(shown) == 2
    assert all({VIEW, "text/html"} <= set(data) for data in shown)  # a page with the kernel shows the widget
    assert outputs[-1].text == "moved\n"  # what a cell prints is still its own


def test_another_widget_beside_keeps_its_state_and_ours_shows_its_html() -> None:
    one = executed(CELLS[0], CELLS[1], "import ipywidgets\nipywidgets.IntSlider(value=7, description='another')")
    states = one.notebook.metadata.widgets[STATE].state.values()
    assert "IntSliderModel" in {state.model_name for state in states}
    assert "AnyModel" not in {state.model_name for state in states}
    assert "3 episodes" in one.text
