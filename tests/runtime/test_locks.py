"""Locks on folders: one process at a time, and the jobs that it started."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from actre.runtime.locks import LOCK, held, locked
from actre.types import ActreError

PARENT = """
import sys, time
from pathlib import Path
from actre.runtime.locks import locked
from actre.runtime.processes import start
with locked(Path(sys.argv[1]), "is working in"):
    job = start("timeit", ["-n1", "-r1", "import time; time.sleep(60)"], Path(sys.argv[2]))
    print(job.pid, flush=True)
    time.sleep(60)
"""


def test_a_folder_is_locked_once_and_free_afterwards(tmp_path: Path) -> None:
    there = tmp_path / "new" / "out"
    with locked(there, "is working in"):
        assert len(held) == 1
        said = f"another process is working in {there}: wait for it, or end it"
        with pytest.raises(ActreError, match=said), locked(there, "is working in"):
            raise AssertionError
    assert not held
    with locked(there, "is working in"):
        pass
    assert os.listdir(there) == [LOCK]


def test_the_jobs_of_a_killed_process_keep_its_lock(tmp_path: Path) -> None:
    there, log = tmp_path / "out", tmp_path / "job.log"
    parent = subprocess.Popen([sys.executable, "-c", PARENT, str(there), str(log)], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    job = int(parent.stdout.readline())
    try:
        parent.kill()
        parent.wait()
        with pytest.raises(ActreError, match="another process is training in"), locked(there, "is training in"):
            raise AssertionError
    finally:
        os.kill(job, 9)
    for _ in range(100):  # until the job is gone
        try:
            with locked(there, "is training in"):
                return
        except ActreError:
            time.sleep(0.1)
    raise AssertionError("still locked")
