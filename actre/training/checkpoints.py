"""Checkpoints of a training run: all that its next iteration depends on, written whole or not at all.

    checkpoints/iter-20/
        adapter_model.safetensors, adapter_config.json, actre.json, README.md    an exported adapter like any other
        training.safetensors    the optimizer's moments, torch's random streams
        state.json              progress, settings, the other random streams, each file's check sum, and its own

No pickle is written or read. A checkpoint is written under a name that begins with a dot and renamed once complete, so
that one with its proper name is complete; check sums show any later damage.
"""

import dataclasses
import errno
import hashlib
import json
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from actre.config import RunConfig, config_from_dict, differences
from actre.runtime.outputs import clear_unfinished, replacing
from actre.types import ActreError

_STATE = "state.json"
_TENSORS = "training.safetensors"
_ADAPTER = "adapter_model.safetensors"


class Progress(NamedTuple):
    """A run's progress after an iteration.

    metrics_bytes and entropy_bytes: lengths of metrics.jsonl and entropy.jsonl. games: how many there are, and a
    digest of their names. stage_ends: the iteration was a stage's last. finished: the run's last. ended: each finished
    stage's last iteration. temperature: the last matched one, None without matching.
    """

    iteration: int
    env_steps: int
    generated_tokens: int
    metrics_bytes: int
    entropy_bytes: int
    games: tuple[int, str]
    stage_ends: bool = False
    finished: bool = False
    ended: tuple[int, ...] = ()
    temperature: float | None = None


class Streams(NamedTuple):
    """The global random streams: Python's and numpy's as JSON, torch's as tensors by name."""

    plain: dict[str, Any]
    tensors: dict[str, Tensor]


class Checkpoint(NamedTuple):
    """A checkpoint as read. adapter: its weights by PEFT's names; optimizer: see `optimizer_tensors`."""

    folder: Path
    progress: Progress
    adapter: dict[str, Tensor]
    optimizer: dict[str, Tensor]
    streams: Streams


def save(
    folder: Path,
    progress: Progress,
    config: RunConfig,
    *,
    write_adapter: Callable[[Path], object],
    optimizer: dict[str, Tensor],
    streams: Streams,
) -> Path:
    """Write the checkpoint folder/iter-N; returns it. Then removes older ones, as `config.checkpoint.keep` says.

    write_adapter: writes an exported adapter into the given folder. Raises OSError, for a full disk above all; nothing
    has changed then.
    """
    target = folder / f"iter-{progress.iteration}"
    with replacing(target) as part:
        write_adapter(part)
        tensors = {**optimizer, **streams.tensors}
        (part / _TENSORS).write_bytes(safetensors.torch.save({k: v.detach().cpu() for k, v in tensors.items()}))
        state = {
            "progress": progress._asdict(),
            "config": dataclasses.asdict(config),
            "random": streams.plain,
            "files": {path.name: _digest(path.read_bytes()) for path in sorted(part.iterdir())},
        }
        text = json.dumps(state, sort_keys=True)
        (part / _STATE).write_text(json.dumps({"sha256": _digest(text.encode()), "state": state}, sort_keys=True))
        for path in part.iterdir():
            _to_disk(path)
    _to_disk(folder)
    _prune(folder, config.checkpoint.keep)
    return target


def latest(folder: Path) -> Path | None:
    """The newest checkpoint, or None. Removes unfinished ones."""
    clear_unfinished(folder / "iter")
    found = [int(path.name[5:]) for path in folder.glob("iter-*") if path.name[5:].isdigit()]
    return folder / f"iter-{max(found)}" if found else None


def holds_adapter(folder: Path, adapter: Path) -> bool:
    """Whether an exported adapter's weights are those of the last checkpoint."""
    last = latest(folder)
    if last is None or not (adapter / _ADAPTER).exists():
        return False
    return (adapter / _ADAPTER).read_bytes() == (last / _ADAPTER).read_bytes()


def read(folder: Path, config: RunConfig) -> Checkpoint:
    """Read a checkpoint and check that it is undamaged and of a run with these settings.

    Raises ActreError, saying what is damaged or which settings differ.
    """
    state = _read_state(folder)
    for name, digest in state["files"].items():
        path = folder / name
        if not path.exists():
            raise _damaged(folder, f"{name} is missing")
        if _digest(path.read_bytes()) != digest:
            raise _damaged(folder, f"{name} is not what was written ({path.stat().st_size:,} bytes)")
    then = config_from_dict(state["config"])  # a setting that did not exist then has its default
    # a model may have moved; its fingerprint shows that the weights are the same
    then = dataclasses.replace(then, model=dataclasses.replace(then.model, name=config.model.name))
    changed = differences(dataclasses.asdict(then), dataclasses.asdict(config))
    if changed:
        raise ActreError(
            f"{folder} belongs to a run with other settings ({'; '.join(changed)}): a run is resumed with the settings "
            "it started with. Restore its config.json, or start another run with another --out"
        )
    try:
        tensors = safetensors.torch.load_file(folder / _TENSORS)
        adapter = safetensors.torch.load_file(folder / _ADAPTER)
        lists = {name: tuple(state["progress"].get(name, ())) for name in ("games", "ended")}
        progress = Progress(**{**state["progress"], **lists})
    except (SafetensorError, KeyError, TypeError, OSError) as error:
        raise _damaged(folder, repr(error)) from error
    streams = Streams(state["random"], {k: v for k, v in tensors.items() if k.startswith("random.")})
    optimizer = {k: v for k, v in tensors.items() if not k.startswith("random.")}
    return Checkpoint(folder, progress, adapter, optimizer, streams)


# --- what is in the tensors ---


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The optimizer's state (moments, step counts) as "index.name" -> tensor; parameters are counted through groups."""
    state = optimizer.state_dict()["state"]
    return {f"{index}.{name}": value for index, values in state.items() for name, value in values.items()}


def restore_optimizer(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    """Restore what `optimizer_tensors` returned; the groups' settings stay as they are."""
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        index, _, name = key.partition(".")
        state.setdefault(int(index), {})[name] = value
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def random_streams() -> Streams:
    """The state of the global random streams. The run's own streams are derived from its seed and are not saved."""
    numpy_state = np.random.get_state()  # the global stream, whoever uses it
    plain = {"python": random.getstate(), "numpy": [numpy_state[0], numpy_state[1].tolist(), *numpy_state[2:]]}  # type: ignore[index, union-attr]
    tensors = {"random.cpu": torch.get_rng_state()}
    for i, state in enumerate(torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []):
        tensors[f"random.cuda.{i}"] = state
    return Streams(plain, tensors)


def restore_streams(streams: Streams) -> None:
    """Restore what `random_streams` returned."""
    version, numbers, gauss = streams.plain["python"]
    random.setstate((version, tuple(numbers), gauss))
    name, keys, *rest = streams.plain["numpy"]
    np.random.set_state((name, np.array(keys, dtype=np.uint32), *rest))
    torch.set_rng_state(streams.tensors["random.cpu"])
    for i in range(torch.cuda.device_count() if torch.cuda.is_available() else 0):
        if f"random.cuda.{i}" in streams.tensors:
            torch.cuda.set_rng_state(streams.tensors[f"random.cuda.{i}"], i)


def games_digest(games: list[str]) -> tuple[int, str]:
    """How many games, and a digest of their names; where they lie does not matter."""
    names = ("/".join(Path(game).parts[-3:]) for game in games)
    return len(games), _digest("\n".join(names).encode())


# --- files ---


def _read_state(folder: Path) -> dict[str, Any]:
    path = folder / _STATE
    if not path.exists():
        raise _damaged(folder, f"{_STATE} is missing")
    try:
        raw = json.loads(path.read_bytes())
        state, digest = raw["state"], raw["sha256"]
    except (ValueError, KeyError, TypeError) as error:
        raise _damaged(folder, f"{_STATE} cannot be read ({error})") from error
    if _digest(json.dumps(state, sort_keys=True).encode()) != digest:
        raise _damaged(folder, f"{_STATE} is not what was written")
    return state


def _damaged(folder: Path, what: str) -> ActreError:
    return ActreError(
        f"the checkpoint {folder} is damaged: {what}. To resume from the one before it (or from the beginning, if "
        f"there is none): rm -r {folder}, then the same command again"
    )


def _prune(folder: Path, keep: int) -> None:
    """Remove all but the last `keep` and those that end a stage. Unreadable ones are left alone."""
    for path in _newest_first(folder)[keep:]:
        try:
            stage_ends = _read_state(path)["progress"]["stage_ends"]
        except ActreError:
            continue
        if not stage_ends:
            # renamed first: a folder with a checkpoint's name is always complete
            gone = path.with_name(f".{path.name}-old")
            os.replace(path, gone)
            shutil.rmtree(gone, ignore_errors=True)


def _newest_first(folder: Path) -> list[Path]:
    named = [path for path in folder.glob("iter-*") if path.name[5:].isdigit()]
    return sorted(named, key=lambda path: -int(path.name[5:]))


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _to_disk(path: Path) -> None:
    """fsync a file or folder, so that a power failure loses nothing."""
    if os.name != "posix" and path.is_dir():
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # some file systems know no fsync of a folder
            raise
    finally:
        os.close(handle)
