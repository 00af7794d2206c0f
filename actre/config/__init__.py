"""The settings of a run, and everything that names them: presets, arms, command-line overrides, paths.

Files:
    run.py          RunConfig and its parts; saved as JSON; the seed of every random stream
    presets.py      settings by name
    arms.py         which orders are trained, by name
    overrides.py    NAME=VALUE on a command line
    checks.py       types and ranges of values
    paths.py        `~` and `$VARIABLE` in paths
    model_names.py  models by hub name, shipped name or folder
    env_names.py    environments by built-in name, gymnasium id or import path
"""

from actre.config.env_names import ENV_HELP, ENV_NAMES, EnvName
from actre.config.run import (
    CheckpointConfig,
    EnvConfig,
    EvalConfig,
    ModelConfig,
    OptimConfig,
    ProbeConfig,
    PromptConfig,
    RunConfig,
    SamplingConfig,
    StageConfig,
    config_from_dict,
    data_folder,
    derive_seed,
    differences,
    load_config,
    save_config,
    versions,
)

__all__ = [
    "ENV_HELP",
    "ENV_NAMES",
    "CheckpointConfig",
    "EnvConfig",
    "EnvName",
    "EvalConfig",
    "ModelConfig",
    "OptimConfig",
    "ProbeConfig",
    "PromptConfig",
    "RunConfig",
    "SamplingConfig",
    "StageConfig",
    "config_from_dict",
    "data_folder",
    "derive_seed",
    "differences",
    "load_config",
    "save_config",
    "versions",
]
