"""Runs the notebooks with nbclient, at full length or on a small budget (`actre notebooks`).

The small budget is for tests and CI: every cell runs, but the resulting figures are meaningless.
"""

import argparse
import os
import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from actre.config.checks import Count, of
from actre.config.paths import place
from actre.lessons import form
from actre.runtime import outputs
from actre.types import ActreError

# Large enough that every cell works: about one episode in ten is won at the start, and a group without a win changes
# nothing, so an adapter differs from the base only after several groups of some size.
SMALL: dict[str, dict[str, Any]] = {
    "00_tour": {},
    "01_environments": {},
    "02_exploration_contraction": {"STATES": 6, "THOUGHTS": 4},
    "03_stage1_act_first": {
        "GAMES": 2,
        "ITERATIONS": 2,
        "GROUPS": 3,
        "GROUP_SIZE": 6,
        "STATES": 4,
        "THOUGHTS": 2,
        "PANEL_GAMES": 1,
    },
    "04_stage2_think_first": {
        "STAGE1_ITERATIONS": 1,
        "STAGE2_ITERATIONS": 1,
        "GROUPS": 3,
        "GROUP_SIZE": 6,
        "EVAL_GAMES": 6,
    },
    "05_inspect_trajectories": {"ITERATIONS": 1, "GROUPS": 2, "GROUP_SIZE": 4, "GAMES": 6},
    "06_export_adapter": {"ITERATIONS": 2, "GROUPS": 3, "GROUP_SIZE": 6},
    "07_webshop": {"GOALS": 8, "STATES": 2, "THOUGHTS": 2},
    "08_scale_up": {"GROUPS": 2},
    "09_design_your_own_study": {"SEEDS": (0, 1), "ITERATIONS": 2, "GROUPS": 2, "GROUP_SIZE": 4, "EVAL_GAMES": 6},
}
"""The small budget: notebook -> parameters that replace its own."""


def run(path: Path, parameters: Mapping[str, Any], timeout_s: int = 900) -> dict[str, Any]:
    """The executed notebook, run in its own folder; no file is written.

    parameters: set in a cell after the notebook's parameters cell, as papermill does; the result lacks that cell.
    Raises nbclient's CellExecutionError if a cell fails, ActreError if nbclient is missing.
    """
    try:
        import nbformat
        from nbclient import NotebookClient
    except ModuleNotFoundError as error:
        raise ActreError(f'{error.name} is missing: pip install -e ".[train,lab]"') from error
    notebook = nbformat.read(path, as_version=4)
    at = next(i for i, cell in enumerate(notebook.cells) if "parameters" in cell.metadata.get("tags", ())) + 1
    lines = "\n".join(f"{name} = {value!r}" for name, value in parameters.items())
    notebook.cells.insert(at, nbformat.v4.new_code_cell(lines))
    env = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    place = {"metadata": {"path": str(path.parent)}}
    client = NotebookClient(
        notebook,
        timeout=timeout_s,
        kernel_name="python3",
        resources=place,
        store_widget_state=False,
        # the kernel warns that its local connection is not encrypted, which sounds as if something could be done
        extra_arguments=["--log-level=ERROR"],
    )
    client.execute(env={**os.environ, **env})
    del notebook.cells[at]
    for number, cell in enumerate((cell for cell in notebook.cells if cell.cell_type == "code"), start=1):
        cell.execution_count = number
        for output in cell.outputs:
            if output.output_type == "execute_result":
                output.execution_count = number
    return notebook


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add `notebooks` to the command line."""
    parser = subparsers.add_parser(
        "notebooks", help="run the notebooks from top to bottom and save their outputs", description=__doc__
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="the beginning of a name, such as 03 (default: all)")
    parser.add_argument("--budget", choices=("full", "small"), default="full", help="small: minutes for all notebooks")
    parser.add_argument("--check", action="store_true", help="run only; the committed notebooks stay unchanged")
    parser.add_argument(
        "--out", type=place, help="folder for their runs (default: ../runs/notebooks, relative to notebooks/)"
    )
    parser.add_argument(
        "--form", action="store_true", help="only write badges (README's too) and install cells; run nothing"
    )
    parser.add_argument("--timeout", type=of(Count), default=3600, help="seconds that a cell may take (default: 3600)")
    parser.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> None:
    chosen = [path for path in form.paths() if not args.names or path.name.startswith(tuple(args.names))]
    if not chosen:
        raise ActreError(
            f"no notebook begins with {' or '.join(args.names)}: {', '.join(p.stem for p in form.paths())}"
        )
    if args.form:
        for path in chosen:
            form.write(path, form.with_form(form.read(path), path.stem))
        readme = form.folder().parent / "README.md"
        outputs.put(readme, form.readme_with_badge(readme.read_text("utf-8")).encode(), lambda old: True)
        return
    if args.budget == "small" and not args.check:
        raise ActreError("the outputs of a small budget are meaningless and must not be saved: add --check")
    if args.out:
        outputs.growing(args.out, _is_notebooks, what="the runs of notebooks")
    for path in chosen:
        parameters = dict(SMALL[path.stem]) if args.budget == "small" else {}
        if args.out:
            parameters["OUT"] = str(args.out.resolve())
        started, used = time.perf_counter(), _cpu_s()
        done = run(path, parameters, args.timeout)
        if not args.check:
            form.write(path, form.as_committed(done))
        print(f"{path.stem}: {time.perf_counter() - started:.0f} s, {_cpu_s() - used:.0f} of the processor", flush=True)


def _is_notebooks(folder: Path) -> bool:
    """Whether a folder holds only the notebooks' runs: one folder for each preset and seed (presets.folder)."""
    return all(re.fullmatch(r"[\w.-]+-\d+", name) and (folder / name).is_dir() for name in outputs.visible(folder))


def _cpu_s() -> float:
    """Processor seconds of the finished kernels; on a shared machine the elapsed time says little."""
    spent = os.times()
    return spent.children_user + spent.children_system
