"""Writes a folder's report: one offline HTML file. Knows where it lies and the command line; the pages
are `page`'s (a run, or several) and `diagnosis_page`'s (a diagnosis alone).
"""

import argparse
import os
from collections.abc import Callable, Sequence
from pathlib import Path

from actre.config.paths import place
from actre.runtime import outputs
from actre.types import ActreError

NAME = "report.html"
PLOTS = "plots"
"""Where a diagnosis's figures lie as SVG files."""
_MADE_BY = b"Made by ActRe Lab."
"""Stands at the foot of every page."""


def write(*folders: str | Path, out: Path | None = None) -> Path:
    """Write the report of what the folders hold; returns its path: FOLDER/report.html, or of several folders `out`.

    A folder is one run, or holds runs in its subfolders (as a quickstart's does). One folder alone may hold a diagnosis
    and no run; its figures are then written too. A missing piece is named in the page. Raises ActreError for a folder
    that is none of these, a damaged file, a folder that cannot be written to, and where anything but an earlier report
    of the same would be replaced.
    """
    from actre.view.page import page
    from actre.view.records import holds_runs, read_all, read_diagnoses, read_diagnosis

    places = [Path(folder) for folder in folders]
    if len(places) == 1 and not holds_runs(places[0]) and read_diagnoses(places[0]):
        return _write_diagnosis(places[0], out)
    diagnoses = {place.resolve().name: found for place in places if (found := read_diagnosis(place)) is not None}
    return _put_page(out or _beside(places), page(read_all(places), places, diagnoses), places)


def _beside(folders: list[Path]) -> Path:
    """Where a report goes if nothing is said: into its folder, of several into the one that they have in common."""
    if len(folders) == 1:
        return folders[0] / NAME
    return Path(os.path.commonpath([folder.resolve() for folder in folders])) / NAME


def _write_diagnosis(folder: Path, out: Path | None) -> Path:
    from actre.view.diagnosis_page import page
    from actre.view.diagnosis_plots import figures
    from actre.view.records import read_diagnoses, read_settings
    from actre.view.still import svg_file

    diagnoses = read_diagnoses(folder)
    for found in diagnoses:
        for name, chart in figures(found).items():
            _put(folder / PLOTS / f"{name}_{found.settings.wording}.svg", svg_file(chart), _is_figure)
    return _put_page(out or folder / NAME, page(diagnoses, folder, *read_settings(folder)), [folder])


def _put_page(path: Path, text: str, folders: Sequence[Path]) -> Path:
    """Write a page; one that is there is replaced where it is of the same folders, or lies in its own."""
    of = f"<!-- report of {' '.join(map(_identity, folders))} -->\n"
    within = len(folders) == 1 and path == folders[0] / NAME

    def own(old: bytes) -> bool:
        return old.endswith(of.encode()) or (within and _MADE_BY in old)

    return _put(path, text + of, own)


def _identity(folder: Path) -> str:
    """What tells a run's folder from others; of one without settings, where it is."""
    return outputs.run_id(folder) if (folder / "config.json").is_file() else str(folder.resolve())


def _is_figure(old: bytes) -> bool:
    return old.startswith(b"<svg xmlns=") and b"<style>" in old


def _put(path: Path, text: str, own: Callable[[bytes], bool]) -> Path:
    """Write a file as a whole or not at all; own: whether the content that is there may be replaced."""
    try:
        outputs.put(path, text.encode("utf-8"), own)
    except PermissionError as error:
        raise ActreError(
            f"{path} cannot be written ({error.strerror}): copy the folder to one of yours, or say where: --out FILE"
        ) from error
    return path


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add `actre report`; see `actre.cli`."""
    parser = subparsers.add_parser(
        "report",
        help="write the report of a run, of several side by side, or of a diagnosis, as one offline HTML file",
        description="Reads run folders, folders of runs (runs/quickstart) or a diagnosis; writes one HTML file.",
    )
    parser.add_argument(
        "folders", type=place, nargs="+", metavar="RUN", help="e.g. runs/quickstart; several are compared"
    )
    parser.add_argument(
        "--out", type=place, metavar="FILE", help="default: report.html in the folder (or above several)"
    )
    parser.add_argument(
        "--score",
        action="store_true",
        help="first measure what both orders would do at each step of the episodes shown (loads the runs' policies)",
    )
    parser.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> int:
    if args.score:
        from actre.view.scored import score

        score(args.folders, say=lambda text: print(f"scored {text}"))
    print(write(*args.folders, out=args.out))
    return 0
