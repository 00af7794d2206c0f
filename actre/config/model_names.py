"""What a model is called: as settings and adapters keep it, and as a card shows it.

Knows names and whether a folder is there; where a model with a name of its own lies, and how it is loaded, is
policies/models.py's.
"""

import os
import re
from dataclasses import replace
from pathlib import Path

from actre.config.paths import place
from actre.config.run import ModelConfig, RunConfig

_HUB_NAME = re.compile(r"[\w-][\w.-]*/[\w.-]+")


def is_own(name: str) -> bool:
    """Whether the kit itself knows where the model of that name is."""
    return name in ("tiny", "smollm2") or name.startswith("tiny/")


def folder_of(name: str) -> Path:
    """The folder that a name would be, with ~ and variables expanded."""
    return place(name)


def settled(name: str) -> str:
    """The name by which the model is found from every working folder: a local folder's is its absolute path, links
    followed; any other stays.
    """
    if is_own(name) or not folder_of(name).is_dir():
        return name
    return str(folder_of(name).resolve())


def is_on_hub(name: str) -> bool:
    """Whether it is a name for a hub, owner/model, and no folder here."""
    return not is_own(name) and bool(_HUB_NAME.fullmatch(name)) and not folder_of(name).is_dir()


def is_local(name: str) -> bool:
    """Whether it is a folder's name, which a hub cannot know."""
    return not is_own(name) and not is_on_hub(name)


def shown(name: str) -> str:
    """The name for others than this machine: a local folder's own name, without the path.

    >>> shown("/home/somebody/my-model"), shown("owner/model"), shown("tiny/narrow")
    ('my-model', 'owner/model', 'tiny/narrow')
    """
    return folder_of(name).resolve().name if is_local(name) else name


def looked_for(name: str) -> str:
    """Where a folder was looked for in vain, and how to say where it is."""
    folder = folder_of(name)
    relative = "" if folder.is_absolute() else ", for a relative path is looked up from the current folder"
    return (
        f"there is no folder {os.path.abspath(folder)}{relative}. Give the folder's full path; where it is a run that "
        "names the model, put that into the run's config.json ('name' under 'model'); whether it is the model that was "
        "trained, its weights will show"
    )


def settle(config: RunConfig) -> RunConfig:
    """The settings with their model's name `settled`."""
    return replace(config, model=settle_model(config.model))


def settle_model(model: ModelConfig) -> ModelConfig:
    """The same of a model's settings alone."""
    return replace(model, name=settled(model.name))
