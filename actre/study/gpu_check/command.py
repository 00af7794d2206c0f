"""A command of the kit as a child process of a check, and a vLLM server that a check starts and ends."""

import os
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from actre.config.paths import variable
from actre.study.gpu_check.row import Place
from actre.types import ActreError

if TYPE_CHECKING:
    from actre.policies.vllm.client import Start

_TAIL = 3
_SERVER_S = 240.0
_POLL_S = 0.2


def actre(place: Place, *words: str, launch: Sequence[str] = ()) -> None:
    """`actre WORDS`, with its output in PLACE/log.txt. launch: what comes between Python and `-m actre`.

    Raises ActreError with the end of its output unless it succeeds.
    """
    process = start(place, *words, launch=launch)
    if process.wait() != 0:
        raise ActreError(f"actre {words[0]} ended with code {process.returncode}: {tail(place.folder / 'log.txt')}")


def start(place: Place, *words: str, launch: Sequence[str] = ()) -> "subprocess.Popen[bytes]":
    """The same, without waiting for its end."""
    place.folder.mkdir(parents=True, exist_ok=True)
    with (place.folder / "log.txt").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, *launch, "-m", "actre", *words],
            env=place.environment(),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )


def tail(log: Path) -> str:
    """The last lines of a log in one."""
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return " | ".join(lines[-_TAIL:])[:600]


@contextmanager
def vllm_server(place: Place, made: "Start") -> Iterator[str]:
    """A vLLM server on a free port of this machine; gives its address. It ends with the context.

    Raises ActreError if it ends, or has not answered in time.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = shlex.split(made._replace(port=port).command())
    given = dict(word.split("=", 1) for word in words[: words.index("python")])
    arguments = [*words[words.index("python") + 1 :], "--host", "127.0.0.1"]
    if place.gpu:
        arguments += ["--gpu-memory-utilization", "0.4"]  # the trainer shares the GPU
    log = place.folder / "server.log"
    with log.open("wb") as said:
        server = subprocess.Popen(
            [str(variable("ACTRE_VLLM_PYTHON") or sys.executable), *arguments],
            env={**place.environment(), "VLLM_CPU_OMP_THREADS_BIND": "nobind", **given},
            stdout=said,
            stderr=said,
            start_new_session=True,
        )
    url, until = f"http://127.0.0.1:{port}", time.monotonic() + _SERVER_S
    try:
        while not _answers(url):
            if server.poll() is not None or time.monotonic() > until:
                raise ActreError(f"the vLLM server did not start: {tail(log)}")
            time.sleep(1.0)
        yield url
    finally:
        if server.poll() is None:
            os.killpg(server.pid, signal.SIGKILL)
        server.wait()


def _answers(url: str) -> bool:
    from httpx import HTTPError, get

    try:
        return get(f"{url}/health", trust_env=False).status_code == 200
    except HTTPError:
        return False
