"""The common form of all notebooks: badge, install cell, and how an executed notebook is saved."""

import copy
import json
import re
from pathlib import Path
from typing import Any

from actre.runtime import outputs

REPOSITORY = ""
"""The kit's address, https://github.com/OWNER/NAME; "" until it is published. It is set here only: `actre notebooks
--form` then writes it into every notebook, and the badges into these and into README.md."""

BRANCH = "main"
_BADGE_MARK = "colab-badge.svg"
_WIDGET = "application/vnd.jupyter.widget-view+json"

_INSTALL = """\
# Sets up what is missing, once, and leaves alone what is here (on Colab: torch, transformers, ipywidgets, plotly).
# On Colab: if REPOSITORY is empty, write the address that you opened this from behind it (installing takes minutes).
# There, OUT = "drive:FOLDER" in the cell above keeps the runs in your Google Drive, beyond the session.
import os
import runpy
import subprocess

REPOSITORY = "{repository}"
if not os.path.exists("../actre/lessons/install.py"):  # opened without the kit, as Colab does: fetch it
    if not os.path.exists("actre-lab"):
        assert REPOSITORY, "put the kit's address behind REPOSITORY = (https://github.com/OWNER/NAME), and run again"
        print("fetching", REPOSITORY, flush=True)
        subprocess.run(["git", "clone", "--depth=1", REPOSITORY, "actre-lab"], check=True)
    os.chdir("actre-lab/notebooks")
_ = runpy.run_path("../actre/lessons/install.py", run_name="__main__")"""

INSTALL_TAG = "install"


def folder() -> Path:
    """The checkout's notebooks/."""
    return Path(__file__).resolve().parents[2] / "notebooks"


def paths() -> list[Path]:
    """Every notebook, in order."""
    return sorted(folder().glob("[0-9][0-9]_*.ipynb"))


def install_cell(repository: str = REPOSITORY) -> str:
    """The source of the install cell, the same in every notebook."""
    return _INSTALL.format(repository=repository)


def badge(name: str, repository: str = REPOSITORY) -> str:
    """The Colab badge of a notebook as a line of Markdown; "" without an address.

    >>> badge("00_tour", "")
    ''
    >>> badge("00_tour", "https://github.com/OWNER/NAME").endswith("/OWNER/NAME/blob/main/notebooks/00_tour.ipynb)")
    True
    """
    if not repository:
        return ""
    place = repository.removeprefix("https://github.com/").strip("/")
    target = f"https://colab.research.google.com/github/{place}/blob/{BRANCH}/notebooks/{name}.ipynb"
    return f"[![Open in Colab](https://colab.research.google.com/assets/{_BADGE_MARK})]({target})"


def with_form(notebook: dict[str, Any], name: str, repository: str = REPOSITORY) -> dict[str, Any]:
    """The notebook with the current badge above its title and the current install cell; nothing else changes."""
    done = copy.deepcopy(notebook)
    opening = done["cells"][0]
    text = "\n".join(line for line in _text(opening).split("\n") if _BADGE_MARK not in line).lstrip("\n")
    first = badge(name, repository)
    opening["source"] = _lines(f"{first}\n\n{text}" if first else text)
    for cell in done["cells"]:
        if INSTALL_TAG in cell["metadata"].get("tags", ()):
            cell["source"] = _lines(install_cell(repository))
    return done


def readme_with_badge(text: str, repository: str = REPOSITORY) -> str:
    """README's text with the tour's badge between its two marks; nothing between them without an address.

    >>> readme_with_badge("a <!-- badge -->old<!-- /badge --> b", "")
    'a <!-- badge --><!-- /badge --> b'
    """
    inner = badge("00_tour", repository)
    return re.sub("(<!-- badge -->).*?(<!-- /badge -->)", lambda marks: marks[1] + inner + marks[2], text, count=1)


def as_committed(notebook: dict[str, Any]) -> dict[str, Any]:
    """An executed notebook as it is committed: outputs without widget state, warnings, timings and machine paths.

    A widget's output keeps its text/html, which needs no kernel, and is dropped without one. stderr (libraries'
    warnings, with their paths) is left out.
    """
    done = copy.deepcopy(notebook)
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    done["metadata"] = {"kernelspec": kernel, "language_info": {"name": "python"}}
    for cell in done["cells"]:
        tags = cell["metadata"].get("tags")
        cell["metadata"] = {"tags": tags} if tags else {}
        if cell["cell_type"] == "code":
            cell["outputs"] = _joined([kept for output in cell["outputs"] if (kept := _kept(output))])
    return done


def _joined(outputs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The outputs with consecutive pieces of one stream merged: where a stream is split depends on timing."""
    joined: list[dict[str, Any]] = []
    for output in outputs:
        before = joined[-1] if joined else {}
        if output["output_type"] == "stream" and before.get("output_type") == "stream":
            joined[-1] = {**before, "text": "".join(before["text"]) + "".join(output["text"])}
        else:
            joined.append(output)
    return joined


def _kept(output: dict[str, Any]) -> dict[str, Any] | None:
    if output["output_type"] == "stream" and output["name"] == "stderr":
        return None
    if "data" in output:
        if _WIDGET in output["data"] and "text/html" not in output["data"]:
            return None  # a progress bar: without its state its text shows only the start
        data = {kind: value for kind, value in output["data"].items() if kind != _WIDGET}
        if not data:
            return None
        return {**output, "data": data, "metadata": {}}
    return output


def read(path: Path) -> dict[str, Any]:
    """The notebook's JSON."""
    return json.loads(path.read_text(encoding="utf-8"))


def write(path: Path, notebook: dict[str, Any]) -> None:
    """Write a notebook as Jupyter does: texts as lists of lines, so that diffs are small."""
    lined = {**notebook, "cells": [_in_lines(cell) for cell in notebook["cells"]]}
    text = json.dumps(lined, indent=1, ensure_ascii=False, sort_keys=True) + "\n"
    outputs.put(path, text.encode(), lambda old: True)  # atomic, so that a full disk leaves the old file


def _in_lines(cell: dict[str, Any]) -> dict[str, Any]:
    cell = {**cell, "source": _lines(_text(cell))}
    if cell["cell_type"] == "code":
        cell["outputs"] = [_output_in_lines(output) for output in cell["outputs"]]
    return cell


def _output_in_lines(output: dict[str, Any]) -> dict[str, Any]:
    if "text" in output:
        return {**output, "text": _lines("".join(output["text"]))}
    if "data" not in output:
        return output
    data = {kind: _lines(value) if isinstance(value, str) else value for kind, value in output["data"].items()}
    return {**output, "data": data}


def _text(cell: dict[str, Any]) -> str:
    return cell["source"] if isinstance(cell["source"], str) else "".join(cell["source"])


def _lines(text: str) -> list[str]:
    return text.splitlines(keepends=True)
