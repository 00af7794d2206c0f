"""Virtual environments for tests: a bare one, and one made like Colab's. PyTorch is linked in from this Python's own.

Needs a package index, as an installation does. Measured with wheels at hand: half a minute of one core each.
"""

import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

from packaging.requirements import Requirement

from actre.lessons import form

ROOT = Path(__file__).resolve().parents[1]

COLAB = (
    # the published image's own versions (list of 2026-08), as near as one can come without its Python 3.13 and CUDA
    "anywidget==0.9.21",
    "ipykernel==6.17.1",
    "ipython==7.34.0",
    "ipywidgets==7.7.1",
    "notebook==6.5.7",
    "peft==0.20.0",
    "plotly==5.24.1",
    "transformers==5.15.0",
    # and what such an image holds of other packages that we ask for, older than what we tested
    "datasets==4.7.0",
    "gymnasium==1.2.0",
    "numpy<2.1",
    "setuptools<80",
)
_TORCH = ("torch", "functorch", "nvidia", "triton")


class Environment(NamedTuple):
    """A virtual environment's Python, and a copy of the checkout to install from."""

    python: Path
    checkout: Path

    def run(self, *arguments: str, colab: bool = False, timeout_s: float = 1200) -> str:
        """What `python ARGUMENTS` says, run in the checkout's notebooks/. Fails with its stderr where it fails."""
        place = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "VIRTUAL_ENV")}
        place["PATH"] = f"{self.python.parent}{os.pathsep}{place['PATH']}"
        place["ACTRE_PIP_ARGS"] = "--no-compile"
        if colab:
            place["COLAB_RELEASE_TAG"] = "release-colab"
        done = subprocess.run(
            [str(self.python), *arguments],
            cwd=self.checkout / "notebooks",
            env=place,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-4000:]
        return done.stdout

    def packages(self) -> dict[str, str]:
        """What is installed: name -> version."""
        lines = self.run("-m", "pip", "list", "--format=freeze", "--disable-pip-version-check").splitlines()
        return dict(line.split("==", 1) for line in lines if "==" in line)

    def install_cell(self, *, colab: bool = False) -> str:
        """What the notebooks' install cell says here."""
        return self.run("-c", form.install_cell() + "\nimport actre, plotly, anywidget", colab=colab)

    def notebook(self, name: str, out: Path, *, colab: bool = False) -> str:
        """Run a notebook on the small budget."""
        return self.run("-m", "actre", "notebooks", name, "--budget=small", "--check", f"--out={out}", colab=colab)


class Colab(NamedTuple):
    """An environment like Colab's: what it brought, and what the install cell said."""

    environment: Environment
    brought: dict[str, str]
    said: str


def fresh(folder: Path) -> Environment:
    """A new virtual environment that holds PyTorch alone."""
    subprocess.run([sys.executable, "-m", "venv", str(folder / "venv")], check=True)
    python = folder / "venv" / "bin" / "python"
    asked = "import sysconfig; print(sysconfig.get_paths()['purelib'])"
    there = Path(subprocess.run([python, "-c", asked], text=True, capture_output=True, check=True).stdout.strip())
    for found in Path(sysconfig.get_paths()["purelib"]).iterdir():
        if found.name.startswith(_TORCH):
            (there / found.name).symlink_to(found)
    checkout = folder / "checkout"
    checkout.mkdir()
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, text=True, capture_output=True, check=True).stdout.split()
    for name in listed:
        if name.startswith(("actre/", "notebooks/")) or "/" not in name:
            (checkout / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, checkout / name)
    (checkout / "data").symlink_to(ROOT / "data")
    return Environment(python, checkout)


def like_colab(folder: Path) -> Environment:
    """A new virtual environment with what Colab brings, and nothing of ours."""
    made = fresh(folder)
    made.run("-m", "pip", "install", "--quiet", "--no-compile", *COLAB)
    return made


def only(folder: Path, *names: str) -> Path:
    """The Python of a new virtual environment with these packages and those they require, linked in from this one's."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder / "venv")], check=True)
    python = folder / "venv" / "bin" / "python"
    there = next((folder / "venv" / "lib").glob("python*")) / "site-packages"
    for name in sorted(set(_required(names))):
        package = metadata.distribution(name)
        for top in {file.parts[0] for file in package.files or () if file.parts[0] != ".."}:
            if top != "__pycache__" and not (there / top).exists():
                (there / top).symlink_to(Path(str(package.locate_file(top))))
    return python


def _required(names: Iterable[str]) -> Iterator[str]:
    """These packages and, through all levels, those they require here."""
    left, seen = list(names), set[str]()
    while left:
        name = left.pop().lower().replace("_", "-")
        if name not in seen:
            seen.add(name)
            yield name
            asked = [Requirement(line) for line in metadata.requires(name) or ()]
            left += [one.name for one in asked if one.marker is None or one.marker.evaluate({"extra": ""})]


_ASKED = """
import socket, sys
asked = []
def refuse(host, *rest, **named):
    asked.append(host)
    raise socket.gaierror("no network here")
socket.getaddrinfo = refuse
from actre.cli import main
code = main(sys.argv[1:])
assert not asked, f"asked for {asked}"
sys.exit(code)
"""


def asks_no_hub(*words: str) -> str:
    """The stderr of an actre command that may ask a hub, has no network, and must end well without asking anyone."""
    env = {name: value for name, value in os.environ.items() if name not in ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE")}
    done = subprocess.run([sys.executable, "-c", _ASKED, *words], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stderr
