"""What every test may count on: one thread, no network, the same examples, and where the real data lie."""

import os
import signal
from pathlib import Path

import pytest
from environments import Colab, like_colab
from hypothesis import settings

from actre.config.paths import variable

ROOT = Path(__file__).resolve().parents[1]

# Before anything loads torch: spinning thread pools slow each other down; one thread makes runs repeatable.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MKL_NUM_THREADS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
# A test that wants a model hub is a mistake; it fails at once instead of waiting for a network.
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_DATASETS_OFFLINE", "1")
os.environ.setdefault("ACTRE_SHARED", str(ROOT.parent / "shared"))
# With ~ and $VARIABLE filled in, for all that ask for them.
os.environ.update({name: str(path) for name in ("ACTRE_SHARED", "ACTRE_VLLM_PYTHON") if (path := variable(name))})

# Some tests press Ctrl-C, which a shell's background job does not hear.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# The same examples everywhere, so that a failure can be seen again; no deadline, for the machines are shared.
settings.register_profile("house", deadline=None, derandomize=True)
settings.load_profile("house")


@pytest.fixture(scope="session")
def root() -> Path:
    """The checkout."""
    return ROOT


@pytest.fixture(scope="session")
def colab_like(tmp_path_factory: pytest.TempPathFactory) -> Colab:
    """An environment made like Colab's, in which the install cell has run; only slow tests may ask for it."""
    made = like_colab(tmp_path_factory.mktemp("colab"))
    brought = made.packages()
    return Colab(made, brought, made.install_cell(colab=True))


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with the benchmarks' real data ($ACTRE_SHARED, else ../shared); skips without it."""
    folder = Path(os.environ["ACTRE_SHARED"])
    if not folder.is_dir():
        pytest.skip(f"no real data: {folder} is no folder; point ACTRE_SHARED at it")
    return folder
