"""A run's settings as a file, config.json, with the versions of what the run depends on."""

import dataclasses
import json
import os
import platform
import subprocess
import uuid
from importlib import metadata
from pathlib import Path
from typing import Any

from actre.config.checks import must_fit
from actre.config.earlier import in_todays_names
from actre.config.run import RunConfig, StageConfig
from actre.types import ActreError

_LIBRARIES = (
    "torch",
    "transformers",
    "trl",
    "peft",
    "accelerate",
    "numpy",
    "gymnasium",
    "alfworld",
    "textworld",
)


def versions() -> dict[str, str]:
    """Versions of what a run depends on, and the git commit where there is one."""
    found = {"python": platform.python_version()}
    for name in ("actre", *_LIBRARIES):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    here = Path(__file__).parent
    try:
        commit = subprocess.run(
            ["git", "-C", str(here), "rev-parse", "HEAD"],
            capture_output=True,
            text=True,
            check=False,
            timeout=5,
        )
    except (OSError, subprocess.TimeoutExpired):
        return found
    if commit.returncode == 0:
        found["commit"] = commit.stdout.strip()
    return found


def save_config(config: RunConfig, path: str | Path) -> None:
    """Write the settings, the versions, and a random id that identifies the run wherever its folder is moved.

    The file is replaced in one step: an interrupted write leaves the old one.
    """
    whole = {"config": dataclasses.asdict(config), "versions": versions(), "id": uuid.uuid4().hex}
    text = json.dumps(whole, indent=1) + "\n"
    part = Path(f"{path}.part")
    part.write_text(text)
    os.replace(part, path)


def load_config(path: str | Path) -> RunConfig:
    """Read what `save_config` wrote. Raises ActreError for a missing or damaged file, or an unknown setting."""
    path = Path(path)
    if not path.exists():
        raise ActreError(f"{path} does not exist: give a folder that `actre train` has written")
    try:
        raw = json.loads(path.read_text())["config"]
    except (ValueError, KeyError, TypeError) as error:  # not JSON, or a number with too many digits
        raise ActreError(f"{path} does not hold a run's settings: {error}") from error
    return config_from_dict(raw)


def differences(one: dict[str, Any], other: dict[str, Any], prefix: str = "") -> list[str]:
    """The settings in which two dicts differ, each as "name: a became b".

    >>> differences({"seed": 0, "optim": {"groups": 6, "clip_low": 0.2}}, {"seed": 0, "optim": {"groups": 4}})
    ['optim.clip_low: 0.2 became nothing', 'optim.groups: 6 became 4']
    """
    found = []
    for name in sorted({*one, *other}):
        a, b = (_plain(settings.get(name, "nothing")) for settings in (one, other))
        if isinstance(a, dict) and isinstance(b, dict):
            found += differences(a, b, f"{prefix}{name}.")
        elif a != b:
            found.append(f"{prefix}{name}: {a} became {b}")
    return found


def _plain(value: Any) -> Any:
    """The value as JSON returns it: lists for tuples."""
    return json.loads(json.dumps(value))


def config_from_dict(raw: dict[str, Any]) -> RunConfig:
    """The inverse of dataclasses.asdict for RunConfig. Raises ActreError for an unknown setting or a wrong value."""
    groups: dict[str, Any] = {
        each.name: each.default_factory
        for each in dataclasses.fields(RunConfig)
        if each.default_factory is not dataclasses.MISSING
    }
    try:
        values = {
            name: groups[name](**in_todays_names(value)) if name in groups else value for name, value in raw.items()
        }
        values["stages"] = tuple(StageConfig(**in_todays_names(stage)) for stage in raw["stages"])
        of_panels = values["evaluation"]
        values["evaluation"] = dataclasses.replace(
            of_panels, panels=tuple(of_panels.panels), orders=tuple(of_panels.orders)
        )
        values["report_to"] = tuple(values.get("report_to", ()))
        config = RunConfig(**values)
    except (TypeError, KeyError, AttributeError) as error:
        raise ActreError(f"unknown or missing setting: {error}") from error
    for part in (config, *(getattr(config, name) for name in groups), *config.stages):
        must_fit(part)
    return config
