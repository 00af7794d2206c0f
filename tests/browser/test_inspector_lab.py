"""The inspector in JupyterLab in a real browser, as a user would: step, filter, ask, branch, dark theme, reload."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browser.chromium import Watched, chromium, findings
from browser.lab import command, jupyterlab, open_notebook, run_all, write_notebook

pytestmark = pytest.mark.slow
ROOT = Path(__file__).resolve().parents[2]
CELLS = (
    f"import sys; sys.path[:0] = [{str(ROOT)!r}, {str(ROOT / 'tests')!r}]",
    "from small_world import CONFIG, CorridorEnv, played, policy\nfrom actre.view import Inspector\none = policy()",
    "shown = Inspector({'before': played(one), 'after': played(one, 'act_first')}, {'start': one, 'end': policy()}, "
    "config=CONFIG, env=CorridorEnv(limit=8), thoughts=4)\nshown",
)


@pytest.fixture(scope="module")
def notebook(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Any, str]]:
    pytest.importorskip("jupyterlab", reason="pip install 'actre[train,lab]'")
    folder = tmp_path_factory.mktemp("lab")
    write_notebook(folder / "inspect.ipynb", CELLS)
    with chromium() as browser, jupyterlab(folder) as address:
        yield browser, address


def test_in_jupyterlab_it_works_in_every_view_and_after_a_reload(notebook: tuple[Any, str]) -> None:
    browser, address = notebook
    watched = Watched(browser, viewport={"width": 1500, "height": 1000})
    page = watched.page
    page.on("dialog", lambda dialog: dialog.accept())
    open_notebook(page, address, "inspect.ipynb")
    run_all(page)
    widget = page.locator(".jp-OutputArea-output .actre")
    widget.locator(".dist").wait_for()

    widget.locator(".where").click()
    page.keyboard.press("ArrowRight")
    assert widget.locator(".where").inner_text().startswith("step 2 of")
    for key in "dd":  # what would delete the cell, were the widget to let it through
        page.keyboard.press(key)
    assert widget.count() == 1
    widget.get_by_label("run", exact=True).select_option("after")
    assert widget.locator(".episodes button").count() == 3
    widget.get_by_role("tab", name="What if").click()
    widget.get_by_role("button", name="Delete the thought").click()
    widget.locator(".result .dist").wait_for()
    widget.get_by_role("tab", name="Branch").click()
    widget.get_by_role("button", name="Branch from here").click()
    widget.locator(".tree").wait_for()
    assert findings(page, ".actre") == []
    watched.keep("lab-light")

    command(page, "apputils:change-theme", theme="JupyterLab Dark")
    page.wait_for_selector(".actre[data-theme=dark]")
    assert findings(page, ".actre") == []
    watched.keep("lab-dark")

    command(page, "docmanager:save")
    page.wait_for_timeout(1000)
    page.reload()  # the same kernel goes on
    page.wait_for_timeout(5000)
    watched.keep("lab-reloaded")
    widget.locator(".where", has_text="step 2 of").wait_for()
    assert widget.get_by_label("run", exact=True).input_value() == "after"
    assert watched.wrong == []
    page.close()


def test_a_saved_notebook_reads_without_kernel_or_widget(notebook: tuple[Any, str], tmp_path: Path) -> None:
    nbconvert = pytest.importorskip("nbconvert")
    nbclient = pytest.importorskip("nbclient")
    import nbformat

    browser, _ = notebook
    write_notebook(tmp_path / "saved.ipynb", CELLS)
    saved = nbformat.read(tmp_path / "saved.ipynb", as_version=4)
    nbclient.NotebookClient(saved, store_widget_state=False, timeout=300).execute()
    for cell in saved.cells:  # as committed: no widget's view, its state is not there
        for output in cell.get("outputs", []):
            output.get("data", {}).pop("application/vnd.jupyter.widget-view+json", None)
    exporter = nbconvert.HTMLExporter(template_name="basic")
    html, _ = exporter.from_notebook_node(saved)
    watched = Watched(browser, java_script_enabled=False)
    watched.page.set_content(html)
    assert "6 episodes" in watched.page.inner_text("body")
    assert watched.page.locator(".actre-saved details[open] li").count() > 2
    assert watched.wrong == []
    watched.page.close()
