"""What the light install leaves out: which packages belong to the extra `train`, and the command that installs it."""

from importlib.util import find_spec
from pathlib import Path

from actre.types import ActreError

TRAIN = (
    "accelerate",
    "datasets",
    "gguf",
    "httpx",
    "huggingface_hub",
    "markupsafe",
    "peft",
    "plotly",
    "safetensors",
    "tokenizers",
    "torch",
    "transformers",
    "trl",
)
"""Modules of the extra `train`. The worlds, the orders and the instrument on numbers import none of them (by test)."""


def install(extra: str) -> str:
    """The pip command that installs an extra: in the checkout if this is one, else by name.

    >>> install("train").startswith("pip install ")
    True
    """
    checkout = Path(__file__).resolve().parents[2]
    if (checkout / "constraints.txt").is_file():
        return f"pip install -c constraints.txt -e '.[{extra}]' in {checkout}"
    return f"pip install 'actre[{extra}]'"


def missing(module: str, what: str) -> str:
    """The message for a module of the extra `train` that is not installed. what: the command or function that needs it.

    >>> missing("torch", "actre train").partition(": pip")[0]
    'actre train needs actre[train], and torch is not installed'
    """
    return f"{what} needs actre[train], and {module} is not installed: {install('train')}"


def need_train(what: str) -> None:
    """Raises ActreError, with the command that installs it, if a package of the extra `train` is missing.

    Looks for the packages and imports none.
    """
    for module in ("torch", "transformers", "trl", "peft"):
        if find_spec(module) is None:
            raise ActreError(missing(module, what))
