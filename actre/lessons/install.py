"""Installs what a notebook needs and keeps what is there. Runs before the kit is installed, so it needs only Python.

    python actre/lessons/install.py [--dry-run]

The requirements are those of pyproject.toml (the kit and its extras `train` and `lab`). If all are present in accepted
versions, nothing is installed. On Colab, Colab's own packages stay (torch, transformers, ipywidgets, plotly, the
notebook server: constraints-colab.txt pins none of them); elsewhere constraints.txt pins the tested versions.
`ACTRE_PIP_ARGS` is passed to pip, for example to select PyTorch's CPU wheels.
"""

import importlib
import importlib.util
import os
import re
import shlex
import subprocess
import sys
import time
import tomllib
from importlib import metadata
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
EXTRAS = ("train", "lab")
_SHOWN = ("Collecting", "Downloading", "Using cached", "Building wheel", "Installing", "Successfully", "ERROR")
"""Beginnings of pip's lines that show how far it is."""
_LAST_LINES = 30
NOT_ON_COLAB = ("jupyterlab",)
"""Not installed on Colab, where they would replace parts of its own notebook server."""


def wanted(root: Path = ROOT) -> list[str]:
    """The requirements of the kit and its notebooks in pyproject.toml's form: "torch>=2.8" and so on."""
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    return [*project["dependencies"], *_extra(project)]


def _extra(project: dict[str, Any]) -> list[str]:
    left_out = NOT_ON_COLAB if on_colab() else ()
    listed = [one for extra in EXTRAS for one in project["optional-dependencies"][extra]]
    return [one for one in listed if not one.startswith(left_out)]


def lacking(requirements: list[str]) -> list[str]:
    """The requirements that are not installed in an accepted version.

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
    except ModuleNotFoundError:  # a bare environment: pip checks the versions
        return False
    return SpecifierSet(versions).contains(version, prereleases=True)


def on_colab() -> bool:
    """Whether this is Google Colab, or an environment that claims to be."""
    return bool(os.environ.get("COLAB_RELEASE_TAG")) or "google.colab" in sys.modules


def kit_is_here(root: Path = ROOT) -> bool:
    """Whether `import actre` imports this checkout."""
    spec = importlib.util.find_spec("actre")
    return spec is not None and spec.origin is not None and Path(spec.origin).resolve().parent == root / "actre"


def command(root: Path = ROOT) -> list[str]:
    """pip's command line for this Python; its paths are relative to the checkout."""
    more = shlex.split(os.environ.get("ACTRE_PIP_ARGS", ""))
    pip = [sys.executable, "-m", "pip", "install", *more]
    if on_colab():
        project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
        return [*pip, "-c", "constraints-colab.txt", "-e", ".", *_extra(project)]
    return [*pip, "-c", "constraints.txt", "-e", f".[{','.join(EXTRAS)}]"]


def shown(words: list[str], env: dict[str, str] | None = None) -> None:
    """Run pip in the checkout and print, with the seconds so far, each package that it collects, builds or installs.

    Through Python's own output, which a notebook shows, as it may not show a child process's. Raises
    CalledProcessError, after pip's last lines, if it fails.
    """
    started, said = time.monotonic(), list[str]()
    env = {**(os.environ if env is None else env), "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(
        words, cwd=ROOT, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    ) as pip:
        for line in pip.stdout or ():
            said.append(line)
            if line.strip().startswith(_SHOWN):
                print(f"{time.monotonic() - started:5.0f} s  {line.strip()[:100]}", flush=True)
    if pip.returncode:
        print("".join(said[-_LAST_LINES:]), flush=True)
        raise subprocess.CalledProcessError(pip.returncode, words)


def main(arguments: list[str]) -> None:
    """Install what is missing; afterwards the kit can be imported, in this process too."""
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
        # the planner's build calls `python`, which some systems have only under another name
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
        shown(command(), {**os.environ, "PATH": path})
        print("installed")
    if "actre" not in sys.modules and str(ROOT) not in sys.path:
        sys.path.insert(0, str(ROOT))  # a running process does not see new editable installs
    importlib.invalidate_caches()


if __name__ == "__main__":
    main(sys.argv[1:])
