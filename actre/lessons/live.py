"""Training in a notebook cell: a live learning curve, and a run that resumes where it was stopped."""

import contextvars
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from IPython.display import SVG, display

from actre.config import RunConfig, load_config
from actre.training import TrainResult, train
from actre.view import plots
from actre.view.records import read_run
from actre.view.still import svg

_EVERY_S = 2.0


def train_here(config: RunConfig, run: str | Path, **more: Any) -> TrainResult:
    """`actre.training.train` with a live curve; the same call again resumes the run in the folder.

    more: further arguments of `train`. Interrupting the cell leaves a checkpoint; a finished run is not changed.
    Raises ActreError if the folder holds a run with other settings.
    """
    run = Path(run)
    with live_curve(run):
        return train(config, run, resume=(run / "config.json").exists(), **more)


def settings_of(run: str | Path, otherwise: RunConfig) -> RunConfig:
    """The settings of the run in a folder, where another notebook may have left one; else `otherwise`."""
    path = Path(run) / "config.json"
    return load_config(path) if path.exists() else otherwise


@contextmanager
def live_curve(run: str | Path, every_s: float = _EVERY_S) -> Iterator[None]:
    """Shows success in training over environment steps, redrawn after every iteration, and thin over it the shares of
    groups without variance and of distinct trajectories (`actre.view.collapse.READINGS`).

    The figure is a static SVG: it needs no script, and a saved notebook keeps its last state.
    """
    run = Path(run)
    stop = threading.Event()
    shown = display(SVG(_curve(run)), display_id=True)
    draw = (lambda: None) if shown is None else (lambda: shown.update(SVG(_curve(run))))  # None outside a notebook

    def watch() -> None:
        seen = _size(run)
        while not stop.wait(every_s):
            if (now := _size(run)) != seen:
                seen = now
                draw()

    # in the cell's own context, so that the thread's output appears in the cell
    watcher = threading.Thread(target=contextvars.copy_context().run, args=(watch,), daemon=True)
    watcher.start()
    try:
        yield
    finally:
        stop.set()
        watcher.join()
        draw()


def _size(run: Path) -> int:
    path = run / "metrics.jsonl"
    return path.stat().st_size if path.exists() else 0


def _curve(run: Path) -> str:
    """The learning curve so far; an empty frame before the first iteration and while a line is incomplete."""
    try:
        runs = [read_run(run)] if _size(run) else []
    except json.JSONDecodeError:
        runs = []
    return svg(plots.with_signs(plots.learning_curve(runs), runs))
