"""The settings of a run: presets, arms, command-line overrides, files, and paths.

Files:
    run.py          RunConfig and its groups of settings; derive_seed
    saved.py        settings as a file (config.json)
    earlier.py      settings under the names of earlier versions
    describe.py     every setting as text, for --help-settings
    presets.py      settings by name
    arms.py         the arms of a study by name
    overrides.py    NAME=VALUE on a command line
    checks.py       types and ranges of values
    paths.py        `~` and `$VARIABLE` in paths; the folder of shipped data
    model_names.py  models by hub name, shipped name or folder; tiny_names.py: the tiny policies'
    estimators.py   advantage estimators by name; recipes.py: the settings that come with one
    env_names.py    environments by built-in name, gymnasium id or import path
"""

from actre.config.env_names import ENV_HELP, ENV_NAMES, EnvName
from actre.config.paths import data_folder
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
    derive_seed,
)
from actre.config.saved import config_from_dict, differences, load_config, save_config, versions

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
