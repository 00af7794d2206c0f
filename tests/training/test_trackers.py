"""Trackers hold what metrics.jsonl holds: the real ones, each read back from what it wrote, where it is installed.

trackio and wandb are run by hand (docs/training.md says with which versions); TensorBoard comes with the test extra.
"""

import importlib.util
import json
import math
import sqlite3
import struct
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import toy_training as toy

from actre.training import trackers
from actre.training.run import run
from actre.types import read_jsonl

Told = dict[str, dict[int, float]]
"""Name -> step -> value."""


def tensorboard(out: Path) -> Told:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    (folder,) = (out / "runs").iterdir()
    events = EventAccumulator(str(folder))
    events.Reload()
    return {tag: {event.step: event.value for event in events.Scalars(tag)} for tag in events.Tags()["scalars"]}


def by_step(lines: Iterator[dict[str, Any]]) -> Told:
    told: Told = {}
    for line in lines:
        for name, value in line.items():
            # what TRL profiles goes to trackio and wandb too, several times a step
            if name.startswith("train/") and isinstance(value, int | float):
                assert told.setdefault(name, {}).setdefault(int(line["train/global_step"]), value) == value, name
    return told


def trackio(out: Path) -> Told:
    with sqlite3.connect(out.parent / "trackio" / "actre.db") as store:
        rows = store.execute("select metrics from metrics where run_name = ? order by id", (out.name,)).fetchall()
    return by_step(json.loads(row[0]) for row in rows)


def wandb(out: Path) -> Told:
    from wandb.proto import wandb_internal_pb2 as messages

    def lines() -> Iterator[dict[str, Any]]:
        (file,) = (out.parent / "wandb").glob("offline-run-*/*.wandb")
        for data in leveldb_records(file.read_bytes()):
            record = messages.Record()
            record.ParseFromString(data)
            if record.WhichOneof("record_type") == "history":
                yield {
                    item.key or ".".join(item.nested_key): json.loads(item.value_json) for item in record.history.item
                }

    return by_step(lines())


def leveldb_records(data: bytes) -> Iterator[bytes]:
    """The records of a LevelDB log behind a header of 7 bytes: blocks of 32 KiB; of each record's parts crc (4 bytes),
    length (2) and type (1): whole, first, middle, last.
    """
    at, parts = 7, b""
    while at + 7 <= len(data):
        left = 32768 - at % 32768
        if left < 7:  # too short for a part: filled up
            at += left
            continue
        _, length, kind = struct.unpack("<IHB", data[at : at + 7])
        parts = (b"" if kind in (1, 2) else parts) + data[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):
            yield parts


READERS: dict[str, Callable[[Path], Told]] = {"tensorboard": tensorboard, "trackio": trackio, "wandb": wandb}


def train(out: Path, name: str, **optim: Any) -> None:
    run(toy.trainer(out, replace(toy.config(**optim), report_to=(name,))))


@pytest.mark.parametrize("name", READERS)
def test_a_tracker_holds_the_numbers_of_metrics_jsonl(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    if importlib.util.find_spec(name) is None:
        pytest.skip(f"{name} is not installed: pip install {name}")
    for variable, folder in {"WANDB_DIR": ".", "WANDB_CACHE_DIR": "cache", "WANDB_CONFIG_DIR": "config"}.items():
        monkeypatch.setenv(variable, str(tmp_path / folder))
    if name == "trackio":  # reads TRACKIO_DIR when it is imported, which may have been
        import trackio.sqlite_storage as storage

        (tmp_path / "trackio").mkdir()
        monkeypatch.setattr(storage, "TRACKIO_DIR", tmp_path / "trackio")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    monkeypatch.delenv("TENSORBOARD_LOGGING_DIR", raising=False)
    updates = 2
    train(tmp_path / "run", name, updates_per_batch=updates)
    told = READERS[name](tmp_path / "run")
    lines = list(read_jsonl(tmp_path / "run" / "metrics.jsonl"))
    assert len(lines) == 4
    each_update = ("loss", "grad_norm", "learning_rate")  # TRL tells these itself, of each update
    for line in lines:
        step = line["iteration"] * updates
        for key, value in line.items():
            if isinstance(value, int | float):
                found = told[f"train/{key}"]
                if key in each_update:
                    value_told = sum(found[step - i] for i in range(updates)) / updates
                else:
                    value_told = found[step]
                # TensorBoard keeps 32 bits
                assert math.isclose(value_told, value, rel_tol=1e-6, abs_tol=1e-9), (key, value_told, value)


def test_a_wandb_run_that_training_began_ends_with_it_and_one_that_was_there_stays(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Wandb:
        run: object | None = None

        def finish(self) -> None:
            self.run = None

    fake = Wandb()
    monkeypatch.setattr(trackers.importlib, "import_module", {"wandb": fake}.__getitem__)
    with trackers.ended_with_the_run(["wandb"]):
        fake.run = "begun by the integration"
    assert fake.run is None
    fake.run = "the user's"
    with trackers.ended_with_the_run(["wandb"]):
        pass
    assert fake.run == "the user's"
    with trackers.ended_with_the_run(["tensorboard"]):  # wandb is not even imported
        pass
