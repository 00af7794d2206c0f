"""How a report's runs were made: commands, seeds, differences between runs, all settings and versions."""

import dataclasses
import math
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from actre.config import RunConfig, load_config
from actre.config.overrides import assignments, in_proportion
from actre.config.presets import PRESETS, preset
from actre.view import words
from actre.view.blocks import capital, folded, table
from actre.view.comparison import flat, settings_that_differ, versions_that_differ
from actre.view.html import Html, join, tag
from actre.view.names import order_name
from actre.view.records import RunRecord

_CHECKED = ("from_trained", "from_base", "tolerance")


def settings(runs: Sequence[RunRecord], folders: Sequence[Path]) -> Html:
    """Commands, seeds, differences between runs, all settings and versions."""
    parts: list[Html] = [tag("p", "Made by, and shown again by:"), tag("pre", "\n".join(_commands(runs, folders)))]
    if len(runs) > 1:
        parts.append(_differences(runs))
    for run in runs:
        stages = run.config.stages if run.config else ()
        plan = ", then ".join(f"{s.iterations} iterations {order_name(s.order)}" for s in stages)
        parts.append(tag("h3", capital(run.name)))
        if run.config is not None:
            parts.append(tag("p", f"Seed {run.config.seed}; preset {run.config.preset}; stages: {plan}."))
            parts += [tag("p", fact) for fact in words.otherwise(run)]
        if run.adapter_check is not None:
            checked = {key: float(run.adapter_check.get(key, math.nan)) for key in _CHECKED}
            parts.append(tag("p", words.adapter_check(**checked)))
        parts.append(all_settings(run.config, run.versions))
    return join(parts)


def all_settings(config: RunConfig | None, versions: Mapping[str, str]) -> Html:
    """Every setting and every package's version, folded."""
    parts = []
    if config is not None:
        every = flat(dataclasses.asdict(config))
        parts.append(folded("All settings", table(["setting", "value"], every, css="settings")))
    if versions:
        parts.append(folded("Versions", table(["package", "version"], list(versions.items()), css="settings")))
    return join(parts)


def _differences(runs: Sequence[RunRecord]) -> Html:
    """The settings and versions that differ between runs."""
    names = ["setting", *(run.name for run in runs)]
    rows = [[name, *values] for name, values in settings_that_differ(runs)]
    other = [[name, *values] for name, values in versions_that_differ(runs)]
    return join(
        [
            tag("h3", "Differences between these runs"),
            table(names, rows, css="settings") if rows else tag("p", "All settings are the same, including the seed."),
            table(["package", *names[1:]], other, css="settings") if other else tag("p", "All versions are the same."),
        ]
    )


def _commands(runs: Sequence[RunRecord], folders: Sequence[Path]) -> list[str]:
    made = [one for folder in folders if (one := _made(runs, folder))]
    return [*made, f"actre report {' '.join(map(str, folders))}"]


def _made(runs: Sequence[RunRecord], folder: Path) -> str | None:
    """The command that made the runs of one folder."""
    here = [run for run in runs if folder in (run.folder, run.folder.parent) and run.config is not None]
    config = here[0].config if here else None
    if config is None:
        return None
    if here[0].folder == folder:
        return f"actre train --config {folder / 'config.json'} --out {folder}-again"
    if not (folder / "config.json").exists():  # separate runs in one folder
        return None
    return _quickstart(load_config(folder / "config.json"), folder)


def _quickstart(config: RunConfig, folder: Path) -> str | None:
    """The command that makes a quickstart with these settings; None if there is none."""
    if config.preset not in PRESETS:
        return None
    default = replace(preset(config.preset, config.env.name), seed=config.seed, env_steps=config.env_steps)
    command = ["actre", "quickstart", "--preset", config.preset]
    if config.env.name != "alfworld":
        command += ["--env", config.env.name]
    if config.env_steps != preset(config.preset, config.env.name).env_steps:
        command += ["--env-steps", str(config.env_steps)]
    if config.stages != default.stages:
        if config.stages != in_proportion(default.stages, config.iterations):
            return None
        command += ["--iterations", str(config.iterations)]
    for text in assignments(config, default):
        command += ["--set", text]
    return shlex.join([*command, "--seed", str(config.seed), "--out", str(folder)])
