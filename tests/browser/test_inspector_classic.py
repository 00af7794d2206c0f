"""The inspector on the older stack, as on Colab: ipywidgets 7.7, anywidget 0.9, the classic notebook 6.5.

That stack cannot share an environment with JupyterLab 4, so it has its own (tests/environments.py).
"""

from pathlib import Path

import pytest
from browser.chromium import Watched, chromium, findings
from browser.lab import TOKEN, server, write_notebook
from browser.test_inspector_lab import CELLS
from environments import Colab
from playwright.sync_api import TimeoutError

pytestmark = [pytest.mark.slow, pytest.mark.timeout(2400)]  # its environment may have to be made first

READY = """() => {
  const kernel = window.Jupyter?.notebook?.kernel;
  return kernel?.is_connected() && "jupyter.widget" in (kernel.comm_manager?.targets ?? {});
}"""
"""The kernel hears, and the widgets' extension, which comes after it, does too: what runs before shows no widget."""


def test_in_the_classic_notebook_it_shows_steps_and_answers(colab_like: Colab, tmp_path: Path) -> None:
    cells = [*CELLS, "import ipywidgets; ipywidgets.__version__"]
    write_notebook(tmp_path / "inspect.ipynb", cells)
    options = ["-m", "notebook", f"--NotebookApp.token={TOKEN}", f"--notebook-dir={tmp_path}"]
    python = str(colab_like.environment.python)
    with chromium() as browser, server(python, options, tmp_path) as address:
        watched = Watched(browser, viewport={"width": 1300, "height": 1000})
        page = watched.page
        page.goto(f"{address}/notebooks/inspect.ipynb?token={TOKEN}")
        page.wait_for_function(READY)
        widget = page.locator(".output_area .actre")
        for last in (False, False, True):  # a cell that ran while the page was still loading shows none: run it again
            page.evaluate("() => Jupyter.notebook.execute_all_cells()")
            try:
                widget.locator(".dist").first.wait_for(timeout=30_000)
                break
            except TimeoutError:
                if last:
                    page.screenshot(path=tmp_path / "classic.png")
                    raise
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
