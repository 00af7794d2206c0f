"""Writes a folder's report: one offline HTML file. Knows where it lies and the command line; the pages
are `page`'s (a run, or several) and `diagnosis_page`'s (a diagnosis alone).
"""

import argparse
import os
from pathlib import Path

from actre.types import ActreError

NAME = "report.html"
PLOTS = "plots"
"""Where a diagnosis's figures lie as SVG files."""
_FIGURE_WIDTH = 736.0


def write(folder: str | Path) -> Path:
    """Write FOLDER/report.html from what the folder holds; returns its path.

    The folder is one run, or holds runs in its subfolders (as a quickstart's does), or it holds a diagnosis alone,
    whose figures are then written too. A missing piece is named in the page. Raises ActreError for a folder that is
    none of these, a damaged file, and a folder that cannot be written to.
    """
    from actre.view.page import page
    from actre.view.records import holds_runs, read_diagnoses, read_diagnosis, read_runs

    folder = Path(folder)
    if not holds_runs(folder) and read_diagnoses(folder):
        return _write_diagnosis(folder)
    return _put(folder / NAME, page(read_runs(folder), folder, read_diagnosis(folder)))


def _write_diagnosis(folder: Path) -> Path:
    from actre.view.diagnosis_charts import figures, svg_file
    from actre.view.diagnosis_page import page
    from actre.view.records import read_diagnoses, read_settings

    diagnoses = read_diagnoses(folder)
    for found in diagnoses:
        for name, chart in figures(found, _FIGURE_WIDTH).items():
            _put(folder / PLOTS / f"{name}_{found.settings.wording}.svg", svg_file(chart))
    return _put(folder / NAME, page(diagnoses, folder, *read_settings(folder)))


def _put(path: Path, text: str) -> Path:
    """Write a file as a whole or not at all."""
    part = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_text(text, encoding="utf-8")
        os.replace(part, path)
    except PermissionError as error:
        raise ActreError(f"{path} cannot be written ({error.strerror}): copy the folder to one of yours") from error
    return path


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add `actre report`; see `actre.cli`."""
    parser = subparsers.add_parser(
        "report",
        help="write a run's or a diagnosis's report as one offline HTML file",
        description="Reads a run folder, a folder of runs (runs/quickstart) or a diagnosis; writes its report.html.",
    )
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="e.g. runs/quickstart")
    parser.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> int:
    print(write(args.folder))
    return 0
