"""What several tests of environments start from."""

import gzip
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from actre.envs.webshop import panels


@pytest.fixture(scope="module")
def small_set(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The real 1,000 products, with the noun table of the vectors."""
    real = Path(os.environ["ACTRE_SHARED"]) / "webshop"
    if not (real / "items_shuffle_1000.json.gz").exists():
        pytest.skip(f"no real products at {real}: set ACTRE_SHARED")
    folder = tmp_path_factory.mktemp("small")
    for path in real.glob("items_*"):
        shutil.copy(path, folder)
    nouns = json.loads((real / "vectors" / "small_vectors.json").read_bytes())["name_nouns"]
    (folder / "nouns.json.gz").write_bytes(gzip.compress(json.dumps(nouns).encode()))
    yield folder
    panels._catalogue.cache_clear()
