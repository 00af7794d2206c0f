"""Sets up what a notebook needs, and leaves alone what is there. Runs before the kit is installed: needs only Python.

    python actre/lessons/install.py [--dry-run]

Knows pyproject.toml's lists (the kit and its extra `lab`) and the constraints files beside it. Where everything is
present in versions that the lists accept it installs nothing. On Colab what Colab brings stays as it is (torch,
transformers, ipywidgets, plotly, the notebook server: constraints-colab.txt pins none of them); elsewhere the tested
versions are taken. `ACTRE_PIP_ARGS` is passed on to pip, for PyTorch's CPU wheels say.
"""

import importlib
import importlib.util
import os
import re
import shlex
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
EXTRA = "lab"
NOT_ON_COLAB = ("jupyterlab",)
"""Colab has a notebook server of its own, which this would replace parts of."""


def wanted(root: Path = ROOT) -> list[str]:
    """What the kit and its notebooks need, as pyproject.toml has it: "torch>=2.8" and so on."""
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    return [*project["dependencies"], *_extra(project)]


def _extra(project: dict[str, Any]) -> list[str]:
    left_out = NOT_ON_COLAB if on_colab() else ()
    return [one for one in project["optional-dependencies"][EXTRA] if not one.startswith(left_out)]


def lacking(requirements: list[str]) -> list[str]:
    """Those of the requirements that are not there, or not in a version that fits.

    >>> lacking(["pip>=1", "no-such-package-of-ours>=2"])
    ['no-such-package-of-ours>=2']
    """
    return [requirement for requirement in requirements if not _there(requirement)]


def _there(requirement: str) -> bool:
    found = re.match(r"([A-Za-z0-9._-]+)(.*)", requirement)
    assert found is not None, requirement
    name, versions = found.groups()
    try:
        version = metadata.version(name)
    except metadata.PackageNotFoundError:
        return False
    try:
        from packaging.specifiers import SpecifierSet
    except ModuleNotFoundError:  # a bare environment: pip will look at the versions
        return False
    return SpecifierSet(versions).contains(version, prereleases=True)


def on_colab() -> bool:
    """Whether this is Google Colab, or an environment that says so."""
    return bool(os.environ.get("COLAB_RELEASE_TAG")) or "google.colab" in sys.modules


def kit_is_here(root: Path = ROOT) -> bool:
    """Whether `import actre` takes this very checkout."""
    spec = importlib.util.find_spec("actre")
    return spec is not None and spec.origin is not None and Path(spec.origin).resolve().parent == root / "actre"


def command(root: Path = ROOT) -> list[str]:
    """pip's command line for this Python, in the checkout's folder; paths are relative to it."""
    more = shlex.split(os.environ.get("ACTRE_PIP_ARGS", ""))
    pip = [sys.executable, "-m", "pip", "install", "--quiet", *more]
    if on_colab():
        project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
        return [*pip, "-c", "constraints-colab.txt", "-e", ".", *_extra(project)]
    return [*pip, "-c", "constraints.txt", "-e", f".[{EXTRA}]"]


def main(arguments: list[str]) -> None:
    """Install what is lacking; then the kit can be imported, in this process too."""
    missing = lacking(wanted())
    installed = kit_is_here()
    if not missing and installed:
        print(
            "everything is here:", ", ".join(f"{name} {metadata.version(name)}" for name in ("torch", "transformers"))
        )
    else:
        print("to be installed:", ", ".join([*missing, *([] if installed else ["actre"])]), flush=True)
        if "--dry-run" in arguments:
            print(" ".join(["python", *command()[1:]]))
            return
        subprocess.run([sys.executable, "-m", "ensurepip"], check=False, capture_output=True)
        # the planner's build calls `python`, which a system may have under another name only
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
        subprocess.run(command(), check=True, cwd=ROOT, env={**os.environ, "PATH": path})
        print("installed")
    if "actre" not in sys.modules and str(ROOT) not in sys.path:
        sys.path.insert(0, str(ROOT))  # a running process does not see what was installed beside it
    importlib.invalidate_caches()


if __name__ == "__main__":
    main(sys.argv[1:])
