"""JupyterLab on a free port for tests: a notebook opened and run in a browser as a user would.

Knows how the server is started and ended and how a page is driven; nothing of what the notebooks hold.
"""

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nbformat

TOKEN = "test"
_OPEN = """async (path) => {
  const app = window.jupyterapp;
  await app.restored;
  const panel = await app.commands.execute("docmanager:open", { path, factory: "Notebook" });
  await panel.context.ready;
  await panel.sessionContext.ready;
  await panel.sessionContext.session.kernel.info;
}"""


@contextmanager
def jupyterlab(folder: Path) -> Iterator[str]:
    """JupyterLab over `folder`, its settings in it too; gives its address and ends it afterwards."""
    settings = folder / ".settings" / "@jupyterlab" / "apputils-extension"
    settings.mkdir(parents=True)
    # else a question about news covers the cells
    (settings / "notification.jupyterlab-settings").write_text(json.dumps({"fetchNews": "false"}))
    options = ["-m", "jupyterlab", "--expose-app-in-browser", f"--IdentityProvider.token={TOKEN}"]
    with server(sys.executable, [*options, f"--ServerApp.root_dir={folder}"], folder) as address:
        yield address


@contextmanager
def server(python: str, options: Sequence[str], folder: Path, timeout_s: float = 180) -> Iterator[str]:
    """A Jupyter server of some Python on a free port, whatever it keeps being in `folder`."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    places = {
        "JUPYTER_CONFIG_DIR": ".config",
        "JUPYTER_DATA_DIR": ".data",
        "IPYTHONDIR": ".ipython",
        "JUPYTERLAB_SETTINGS_DIR": ".settings",
        "JUPYTERLAB_WORKSPACES_DIR": ".workspaces",
    }
    env = {**os.environ, **{name: str(folder / place) for name, place in places.items()}}
    command = [python, *options, "--no-browser", "--allow-root", "--ip=127.0.0.1", f"--port={port}"]
    with (folder / "server.log").open("w") as log:
        process = subprocess.Popen(command, env=env, stdout=log, stderr=log)
    try:
        address = f"http://127.0.0.1:{port}"
        _wait(f"{address}/api/status?token={TOKEN}", process, timeout_s)
        yield address
    finally:
        process.terminate()
        process.wait(30)


def _wait(address: str, process: "subprocess.Popen[bytes]", timeout_s: float) -> None:
    end = time.monotonic() + timeout_s
    while time.monotonic() < end and process.poll() is None:
        try:
            with urllib.request.urlopen(address, timeout=5):
                return
        except OSError:
            time.sleep(0.3)
    raise RuntimeError("Jupyter did not start; its log is server.log in its folder")


def write_notebook(path: Path, cells: Sequence[str]) -> None:
    """A notebook of code cells."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(notebook, path)


def open_notebook(page: Any, address: str, name: str) -> None:
    """Open it in JupyterLab, its kernel connected."""
    page.goto(f"{address}/lab?reset&token={TOKEN}")
    page.wait_for_function("window.jupyterapp", timeout=120_000)
    page.evaluate(_OPEN, name)


def run_all(page: Any) -> None:
    """Run every cell; returns when the cells have run."""
    page.evaluate("() => window.jupyterapp.commands.execute('notebook:run-all-cells')")


def command(page: Any, name: str, **arguments: Any) -> None:
    """One of JupyterLab's own commands."""
    page.evaluate("([name, given]) => window.jupyterapp.commands.execute(name, given)", [name, arguments])
