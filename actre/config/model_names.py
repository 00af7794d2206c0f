"""Names of models: in settings and adapters, and as a model card shows them. policies/models.py loads the models."""

import os
import re
from dataclasses import replace
from pathlib import Path

from actre.config.paths import place
from actre.config.run import ModelConfig, RunConfig
from actre.config.tiny_names import is_tiny

_HUB_NAME = re.compile(r"[\w-][\w.-]*/[\w.-]+")


def is_own(name: str) -> bool:
    """Whether the name is one of the kit's own (`actre models list`)."""
    return is_smollm2(name) or is_tiny(name)


def is_smollm2(name: str) -> bool:
    """Whether it is SmolLM2 as the kit fetches it, or one of its shipped warm starts ("smollm2/STYLE")."""
    return name == "smollm2" or name.startswith("smollm2/")


def folder_of(name: str) -> Path:
    """The name as a folder, with ~ and variables expanded."""
    return place(name)


def settled(name: str) -> str:
    """The name that works from every working directory: a local folder's absolute path, links followed, else `name`."""
    if is_own(name) or not folder_of(name).is_dir():
        return name
    return str(folder_of(name).resolve())


def is_on_hub(name: str) -> bool:
    """Whether it is a hub name, owner/model, and not a local folder."""
    return not is_own(name) and bool(_HUB_NAME.fullmatch(name)) and not folder_of(name).is_dir()


def is_local(name: str) -> bool:
    """Whether it is the name of a local folder."""
    return not is_own(name) and not is_on_hub(name)


def shown(name: str) -> str:
    """The name to publish: of a local folder only its last part, without the path.

    >>> shown("/home/somebody/my-model"), shown("owner/model"), shown("tiny/narrow")
    ('my-model', 'owner/model', 'tiny/narrow')
    """
    return folder_of(name).resolve().name if is_local(name) else name


def looked_for(name: str) -> str:
    """The message for a model's folder that does not exist."""
    folder = folder_of(name)
    relative = "" if folder.is_absolute() else " (a relative path starts from the current folder)"
    return (
        f"there is no folder {os.path.abspath(folder)}{relative}. Give the folder's full path; if a run names the "
        "model, put the path into the run's config.json ('name' under 'model'). The weights are compared with the run's"
    )


def settle(config: RunConfig) -> RunConfig:
    """The settings with the model's name `settled`."""
    return replace(config, model=settle_model(config.model))


def settle_model(model: ModelConfig) -> ModelConfig:
    """The same for a model's settings."""
    return replace(model, name=settled(model.name))
