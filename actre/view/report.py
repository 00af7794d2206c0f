"""Writes a run folder's report: one offline HTML file. Knows where it lies and the command line; the page
is `page`'s.
"""

import argparse
import os
from pathlib import Path

from actre.types import ActreError

NAME = "report.html"


def write(folder: str | Path) -> Path:
    """Write FOLDER/report.html from what the folder holds; returns its path.

    The folder is one run, or holds runs in its subfolders (as a quickstart's does). A missing piece is named
    in the page. Raises ActreError for a folder that is no run, a damaged file, and a folder that cannot be
    written to.
    """
    from actre.view.page import page
    from actre.view.records import read_diagnosis, read_runs

    folder = Path(folder)
    text = page(read_runs(folder), folder, read_diagnosis(folder))
    path = folder / NAME
    part = path.with_name(path.name + ".part")
    try:
        part.write_text(text, encoding="utf-8")
        os.replace(part, path)
    except PermissionError as error:
        raise ActreError(f"{path} cannot be written ({error.strerror}): copy the folder to one of yours") from error
    return path


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add `actre report`; see `actre.cli`."""
    parser = subparsers.add_parser(
        "report",
        help="write a run's report as one offline HTML file",
        description="Reads a run folder, or a folder of runs (runs/quickstart), and writes its report.html.",
    )
    parser.add_argument("folder", type=Path, metavar="RUN_FOLDER", help="e.g. runs/quickstart")
    parser.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> int:
    print(write(args.folder))
    return 0
