"""The notebooks: thin, of one form, committed executed, and running from top to bottom on what is shipped."""

import ast
import json
import re
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbformat import NotebookNode

from actre.config import data_folder
from actre.lessons import form
from actre.lessons.runner import SMALL, run

ALL = form.paths()
NAMES = [path.stem for path in ALL]
FAST = ("00_tour", "02_exploration_contraction")
"""Those that README's test command runs; `make notebooks ARGS="--budget small --check"` runs all, in order, in CI."""

WITHOUT_OUTPUTS: set[str] = set()
"""Committed unexecuted, and named here as such."""


def read(path: Path) -> NotebookNode:
    return nbformat.read(path, as_version=4)


def code_cells(path: Path) -> list[NotebookNode]:
    return [cell for cell in read(path).cells if cell.cell_type == "code"]


def tagged(path: Path, tag: str) -> list[NotebookNode]:
    return [cell for cell in code_cells(path) if tag in cell.metadata.get("tags", ())]


def outputs(notebook: Any) -> list[Any]:
    return [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]


def test_the_notebooks_of_this_kit_are_here_and_the_small_budget_knows_each() -> None:
    assert [name[:2] for name in NAMES] == [f"{i:02}" for i in range(10)]
    assert set(SMALL) == set(NAMES)


@pytest.mark.parametrize("path", ALL, ids=NAMES)
class TestForm:
    def test_it_is_a_valid_notebook_for_any_python_3_kernel(self, path: Path) -> None:
        notebook = read(path)
        nbformat.validate(notebook)
        assert notebook.metadata.kernelspec.name == "python3"
        assert set(notebook.metadata) == {"kernelspec", "language_info"}
        assert set(notebook.metadata.language_info) == {"name"}

    def test_it_opens_with_what_it_shows_what_it_needs_and_how_long_it_takes(self, path: Path) -> None:
        first = read(path).cells[0]
        assert first.cell_type == "markdown"
        for words in ("**What it shows.**", "**What it needs.**", "**How long.**"):
            assert words in first.source

    def test_it_says_how_long_in_measured_seconds_and_on_what(self, path: Path) -> None:
        how_long = read(path).cells[0].source.partition("**How long.**")[2]
        assert re.search(r"\d+ (CPU-)?(second|minute)", how_long)
        assert "EPYC" in how_long

    def test_it_says_what_one_should_see_with_recorded_figures(self, path: Path) -> None:
        text = "\n".join(cell.source for cell in read(path).cells if cell.cell_type == "markdown")
        assert re.search(r"\d", text.partition("## What you should see")[2])

    def test_it_holds_an_exercise_that_checks_itself_and_a_folded_answer(self, path: Path) -> None:
        cells = read(path).cells
        at = next(i for i, cell in enumerate(cells) if cell.source.startswith("## Exercise"))
        assert "my_answer = None" in cells[at + 1].source
        assert "judge(my_answer" in cells[at + 1].source
        assert cells[at + 2].source.startswith("<details><summary>Answer</summary>\n\n")
        assert cells[at + 2].source.endswith("</details>")

    def test_one_cell_holds_the_parameters(self, path: Path) -> None:
        (cell,) = tagged(path, "parameters")
        names = {target.id for node in ast.parse(cell.source).body for target in node.targets}  # type: ignore[attr-defined]
        assert {"PRESET", "SEED", "OUT"} | set(SMALL[path.stem]) <= names

    def test_badge_and_install_cell_are_what_the_package_writes(self, path: Path) -> None:
        raw = form.read(path)
        assert form.with_form(raw, path.stem) == raw
        (cell,) = tagged(path, form.INSTALL_TAG)
        assert cell.source == form.install_cell()

    def test_no_function_in_a_cell_is_longer_than_ten_lines(self, path: Path) -> None:
        for cell in code_cells(path):
            for node in ast.walk(ast.parse(cell.source)):
                if isinstance(node, ast.FunctionDef | ast.Lambda | ast.ClassDef):
                    assert node.end_lineno is not None
                    assert node.end_lineno - node.lineno < 10

    def test_no_cell_names_a_path_of_some_machine(self, path: Path) -> None:
        for cell in code_cells(path):
            nodes = list(ast.walk(ast.parse(cell.source)))
            pieces = {id(part) for node in nodes if isinstance(node, ast.JoinedStr) for part in node.values[1:]}
            texts = [node.value for node in nodes if isinstance(node, ast.Constant) and id(node) not in pieces]
            assert not [text for text in texts if isinstance(text, str) and re.match(r"/|~|[A-Za-z]:\\", text)]

    def test_links_lead_to_notebooks_that_are_there(self, path: Path) -> None:
        text = "\n".join(cell.source for cell in read(path).cells if cell.cell_type == "markdown")
        for target in re.findall(r"\]\((\w+\.ipynb)\)", text):
            assert (path.parent / target).exists()

    def test_it_is_committed_executed_from_top_to_bottom(self, path: Path) -> None:
        cells = code_cells(path)
        if path.stem in WITHOUT_OUTPUTS:
            pytest.skip(f"{path.stem} is committed unexecuted: make notebooks ARGS={path.stem[:2]}")
        assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
        assert outputs(read(path))

    def test_its_outputs_hold_no_error_no_widget_state_and_no_path_of_some_machine(self, path: Path) -> None:
        for output in outputs(read(path)):
            assert output.output_type != "error"
            assert not any(kind.startswith("application/vnd.jupyter.widget") for kind in output.get("data", {}))
            text = json.dumps(output)
            assert not re.search(r"(?<![\w.<])/(home|root|work|tmp|usr|Users|content)/", text)
            assert "Traceback" not in text

    def test_every_figure_has_a_still_picture_for_viewers_that_draw_no_plotly(self, path: Path) -> None:
        for output in outputs(read(path)):
            data = output.get("data", {})
            if "application/vnd.plotly.v1+json" in data:
                assert data["image/svg+xml"].startswith("<svg ")
                assert "sendChartToCloud" in str(data["application/vnd.plotly.v1+json"]["config"])

    def test_it_is_small_enough_to_be_shown(self, path: Path) -> None:
        assert path.stat().st_size < 1_000_000


def check_run(name: str, out: Path) -> NotebookNode:
    path = next(path for path in ALL if path.stem.startswith(name))
    if not (data_folder() / "tiny" / "neutral" / "model.safetensors").exists():
        pytest.skip("no tiny policy in data/tiny: `actre pretrain-tiny` makes one")
    done = nbformat.from_dict(run(path, {**SMALL[path.stem], "OUT": str(out)}))
    assert outputs(done)
    assert not [output for output in outputs(done) if output.output_type == "error"]
    return done


def test_the_kernel_says_nothing_alarming(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """It warns of an unencrypted connection, which is a local one, for every notebook."""
    parameters = nbformat.v4.new_code_cell("OUT = ''", metadata={"tags": ["parameters"]})
    nbformat.write(nbformat.v4.new_notebook(cells=[parameters]), tmp_path / "one.ipynb")
    assert run(tmp_path / "one.ipynb", {"OUT": "here"})["cells"][0]["execution_count"] == 1
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("name", FAST)
def test_the_first_lessons_run(name: str, tmp_path: Path) -> None:
    done = check_run(name, tmp_path)
    assert any("application/vnd.plotly.v1+json" in output.get("data", {}) for output in outputs(done))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["04_", "05_", "06_"])
def test_a_notebook_runs_where_none_has_run_before(name: str, tmp_path: Path) -> None:
    check_run(name, tmp_path)
