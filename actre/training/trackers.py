"""The trackers of `report_to`: whether they are installed, and which numbers they get.

transformers' own integrations do the sending.
"""

import importlib
import importlib.util
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from actre.types import ActreError

_LOGGED_BY_TRL = ("loss", "grad_norm", "learning_rate")


def reported(line: dict[str, Any]) -> dict[str, float]:
    """The numbers of a line of metrics.jsonl that trackers get; what TRL logs itself is left out.

    >>> reported({"iteration": 3, "order": "act_first", "success": 0.5, "loss": 0.1})
    {'iteration': 3, 'success': 0.5}
    """
    return {k: v for k, v in line.items() if isinstance(v, int | float) and k not in _LOGGED_BY_TRL}


def must_be_installed(names: Sequence[str]) -> None:
    """Raises ActreError for a tracker that is not installed."""
    missing = [name for name in names if importlib.util.find_spec(name) is None]
    if missing:
        raise ActreError(
            f"report_to names {', '.join(missing)}, which is not installed: pip install {' '.join(missing)}, or leave "
            "it out; metrics.jsonl is always written"
        )


@contextmanager
def ended_with_the_run(names: Sequence[str]) -> Iterator[None]:
    """End the wandb run that training started, so that the next training in this process gets its own.

    transformers' integration starts one if there is none, and leaves it open. A run that was open before stays open.
    """
    wandb = importlib.import_module("wandb") if "wandb" in names else None
    ours = wandb is not None and wandb.run is None
    try:
        yield
    finally:
        if wandb is not None and ours and wandb.run is not None:
            wandb.finish()
