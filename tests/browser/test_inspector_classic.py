"""The inspector on the older stack, as on Colab: ipywidgets 7.7, anywidget 0.9, the classic notebook 6.5.

That stack cannot share an environment with JupyterLab 4. ACTRE_CLASSIC names a Python that has it; made by
    python -m venv classic && classic/bin/pip install notebook==6.5.7 ipywidgets==7.7.1 anywidget==0.9.21 \\
        ipykernel==6.17.1 "setuptools<80" numpy gymnasium
"""

import os
import sys
from pathlib import Path

import pytest
from browser.chromium import Watched, chromium, findings
from browser.lab import TOKEN, server, write_notebook
from browser.test_inspector_lab import CELLS

pytestmark = pytest.mark.slow
PYTHON = os.environ.get("ACTRE_CLASSIC", "")


@pytest.mark.skipif(not PYTHON, reason="ACTRE_CLASSIC names no Python with notebook 6.5 (see this file's first lines)")
def test_in_the_classic_notebook_it_shows_steps_and_answers(tmp_path: Path) -> None:
    cells = [*CELLS, "import ipywidgets; ipywidgets.__version__"]
    write_notebook(tmp_path / "inspect.ipynb", cells)
    options = ["-m", "notebook", f"--NotebookApp.token={TOKEN}", f"--notebook-dir={tmp_path}"]
    with chromium() as browser, server(PYTHON, options, tmp_path) as address:
        watched = Watched(browser, viewport={"width": 1300, "height": 1000})
        page = watched.page
        page.goto(f"{address}/notebooks/inspect.ipynb?token={TOKEN}")
        page.wait_for_function("window.Jupyter?.notebook?.kernel?.is_connected()")
        page.evaluate("() => Jupyter.notebook.execute_all_cells()")
        widget = page.locator(".output_area .actre")
        widget.locator(".dist").wait_for()
        widget.get_by_role("button", name="next step").click()
        page.keyboard.press("ArrowRight")
        assert widget.locator(".where").inner_text().startswith("step 3 of")
        widget.get_by_role("tab", name="What if").click()
        widget.get_by_role("button", name="Delete the thought").click()
        widget.locator(".result .dist").wait_for()
        assert findings(page, ".actre") == []
        assert page.locator(".output_text", has_text="7.7").count() == 1
        watched.keep("classic")
        assert [one for one in watched.wrong if "actre" in one or "asked for" in one] == []
        page.close()
    assert Path(PYTHON) != Path(sys.executable)
