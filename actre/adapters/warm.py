"""SmolLM2 after one of the shipped warm starts, as a local folder."""

import os
import tempfile
from pathlib import Path

from actre.adapters.trained import merge
from actre.config import ModelConfig
from actre.policies.smollm2 import get_package_smollm2, warm_adapters, warm_folder

RECORD = "warmstart.json"
"""How a warm start was made: beside its adapter and in its merged model."""


def get_warm(name: str) -> Path:
    """The model "smollm2/STYLE": the package's SmolLM2 with the shipped adapter merged in, in bfloat16; its folder.

    Does nothing if it is there. Raises ActreError for a name that is not shipped, if the package cannot be fetched, and
    if its weights are not those that the adapter was trained on.
    """
    folder = warm_folder(name)
    if (folder / "config.json").exists():
        return folder
    base = ModelConfig(name=str(get_package_smollm2()), dtype="bfloat16")
    folder.parent.mkdir(parents=True, exist_ok=True)
    shipped = warm_adapters()[name]
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix="warm-") as made:
        merge(shipped, Path(made) / "model", base, records={RECORD: (shipped / RECORD).read_text(encoding="utf-8")})
        os.replace(Path(made) / "model", folder)
    return folder
