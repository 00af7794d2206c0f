"""The notebooks: thin, clean, and running from top to bottom on what is shipped."""

import ast
import re
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbformat import NotebookNode
from run_notebook import notebooks, run_notebook

from actre.config import data_folder

ALL = notebooks()
NAMES = [path.stem for path in ALL]

# Small enough for a test, large enough that every cell does its work: about one episode in ten is won at the start,
# and a group in which none is changes nothing, so an adapter needs some groups of some size to differ from the base.
SMALL: dict[str, dict[str, Any]] = {
    "02_exploration_contraction": {"STATES": 6, "THOUGHTS": 4},
    "03_stage1_act_first": {"ITERATIONS": 2, "GROUPS": 3, "GROUP_SIZE": 6, "STATES": 4, "THOUGHTS": 2},
    "04_stage2_think_first": {
        "STAGE1_ITERATIONS": 1,
        "STAGE2_ITERATIONS": 1,
        "GROUPS": 3,
        "GROUP_SIZE": 6,
        "EVAL_GAMES": 6,
    },
    "05_inspect_trajectories": {"GAMES": 6},
    "06_export_adapter": {"ITERATIONS": 2, "GROUPS": 3, "GROUP_SIZE": 6},
}


def read(path: Path) -> NotebookNode:
    return nbformat.read(path, as_version=4)


def code_cells(path: Path) -> list[NotebookNode]:
    return [cell for cell in read(path).cells if cell.cell_type == "code"]


def test_the_notebooks_of_this_kit_are_here() -> None:
    assert set(SMALL) <= set(NAMES)


@pytest.mark.parametrize("path", ALL, ids=NAMES)
class TestForm:
    def test_it_is_a_valid_notebook_for_any_python_3_kernel(self, path: Path) -> None:
        notebook = read(path)
        nbformat.validate(notebook)
        assert notebook.metadata.kernelspec.name == "python3"
        assert set(notebook.metadata) == {"kernelspec", "language_info"}
        assert set(notebook.metadata.language_info) == {"name"}

    def test_it_is_committed_without_outputs(self, path: Path) -> None:
        for cell in code_cells(path):
            assert cell.outputs == []
            assert cell.execution_count is None

    def test_it_opens_with_what_it_shows_what_it_needs_and_how_long_it_takes(self, path: Path) -> None:
        first = read(path).cells[0]
        assert first.cell_type == "markdown"
        for words in ("**What it shows.**", "**What it needs.**", "**How long.**"):
            assert words in first.source

    def test_it_says_what_one_should_see(self, path: Path) -> None:
        assert "## What you should see" in "\n".join(cell.source for cell in read(path).cells)

    def test_one_cell_holds_the_parameters(self, path: Path) -> None:
        (cell,) = [cell for cell in code_cells(path) if "parameters" in cell.metadata.get("tags", ())]
        names = {target.id for node in ast.parse(cell.source).body for target in node.targets}  # type: ignore[attr-defined]
        assert {"PRESET", "SEED"} <= names
        assert set(SMALL[path.stem]) | {"OUT"} <= names

    def test_no_function_in_a_cell_is_longer_than_ten_lines(self, path: Path) -> None:
        for cell in code_cells(path):
            for node in ast.walk(ast.parse(cell.source)):
                if isinstance(node, ast.FunctionDef | ast.Lambda | ast.ClassDef):
                    assert node.end_lineno is not None
                    assert node.end_lineno - node.lineno < 10

    def test_no_cell_names_a_path_of_some_machine(self, path: Path) -> None:
        for cell in code_cells(path):
            texts = [node.value for node in ast.walk(ast.parse(cell.source)) if isinstance(node, ast.Constant)]
            assert not [text for text in texts if isinstance(text, str) and re.match(r"/|~|[A-Za-z]:\\", text)]


@pytest.fixture(scope="module")
def shared_out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder for all, so that a notebook goes on from what the ones before it left."""
    return tmp_path_factory.mktemp("notebooks")


def check_run(path: Path, out: Path) -> NotebookNode:
    if not (data_folder() / "tiny" / "neutral" / "model.safetensors").exists():
        pytest.skip("no tiny policy in data/tiny: `actre pretrain-tiny` makes one")
    done = run_notebook(path, {**SMALL[path.stem], "OUT": str(out)})
    outputs = [output for cell in done.cells if cell.cell_type == "code" for output in cell.outputs]
    assert outputs
    assert not [output for output in outputs if output.output_type == "error"]
    return done


def figures(done: NotebookNode) -> int:
    outputs = [o for cell in done.cells if cell.cell_type == "code" for o in cell.outputs]
    return sum("application/vnd.plotly.v1+json" in o.get("data", {}) for o in outputs)


def test_the_diagnosis_notebook_runs(tmp_path: Path) -> None:
    path = next(path for path in ALL if path.stem.startswith("02_"))
    done = check_run(path, tmp_path)
    assert figures(done) == 5
    assert (tmp_path / "diagnosis.json").exists()


@pytest.mark.slow
@pytest.mark.parametrize("path", ALL[1:], ids=NAMES[1:])
def test_each_notebook_goes_on_from_the_ones_before(path: Path, shared_out: Path) -> None:
    check_run(path, shared_out)


@pytest.mark.slow
@pytest.mark.parametrize("path", [p for p in ALL if p.stem[:2] in ("04", "05", "06")], ids=lambda p: p.stem)
def test_a_notebook_runs_where_none_has_run_before(path: Path, tmp_path: Path) -> None:
    check_run(path, tmp_path)
