"""Writes the report of runs (`page`) or of a diagnosis (`diagnosis_page`) as one offline HTML file."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from actre.runtime import outputs
from actre.types import ActreError

NAME = "report.html"
PLOTS = "plots"
"""The subfolder of a diagnosis's figures, as SVG files."""
_MADE_BY = b"Made by ActRe Lab."
"""In the footer of every page."""


def write(*folders: str | Path, out: Path | None = None) -> Path:
    """Write the report of the folders' runs to `out`; returns its path. out: None writes FOLDER/report.html, or for
    several folders report.html in their common parent.

    A folder is one run, or has runs in its subfolders, as a quickstart does. A single folder may instead have a
    diagnosis and no run; its figures are then written too. The page names what is missing. Raises ActreError for a
    folder without runs or a diagnosis, a damaged file, a folder without write permission, and if the file would replace
    anything but an earlier report of the same folders.
    """
    from actre.view.answers import diagnoses_of
    from actre.view.page import page
    from actre.view.records import holds_runs, read_all, read_diagnoses

    places = [Path(folder) for folder in folders]
    if len(places) == 1 and not holds_runs(places[0]) and read_diagnoses(places[0]):
        return _write_diagnosis(places[0], out)
    return _put_page(out or _beside(places), page(read_all(places), places, diagnoses_of(places)), places)


def _beside(folders: list[Path]) -> Path:
    """The default path: in the folder, or in the common parent of several."""
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
    """Write a page; an existing one is replaced if it is of the same folders, or in the folder it describes."""
    of = f"<!-- report of {' '.join(map(_identity, folders))} -->\n"
    within = len(folders) == 1 and path == folders[0] / NAME

    def own(old: bytes) -> bool:
        return old.endswith(of.encode()) or (within and _MADE_BY in old)

    return _put(path, text + of, own)


def _identity(folder: Path) -> str:
    """A run's id; for a folder without settings, its path."""
    return outputs.run_id(folder) if (folder / "config.json").is_file() else str(folder.resolve())


def _is_figure(old: bytes) -> bool:
    return old.startswith(b"<svg xmlns=") and b"<style>" in old


def _put(path: Path, text: str, own: Callable[[bytes], bool]) -> Path:
    """Write a file atomically. own: whether existing content may be replaced."""
    try:
        outputs.put(path, text.encode("utf-8"), own)
    except PermissionError as error:
        raise ActreError(f"{path} cannot be written ({error.strerror}): choose another file, --out FILE") from error
    return path
