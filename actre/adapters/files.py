"""The files of an adapter, and the fingerprint that identifies its base model.

They are PEFT's (adapter_config.json, adapter_model.safetensors), README.md with the model card, and actre.json, which
names the base model and holds a fingerprint of its weights, so that an adapter is not loaded onto another base. An
export that is to be used without the kit also holds the tokenizer, and base/ if the kit brings the base model.
"""

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from actre.adapters.readme import adapter_card
from actre.adapters.standalone import BASE, Standalone, usage
from actre.config import ModelConfig, versions
from actre.config.model_names import is_on_hub, is_own, settled
from actre.config.tiny_names import saved_name
from actre.policies.models import find
from actre.types import ActreError

_FINGERPRINT_NUMBERS = 2048
_BASE_FILES = ("config.json", "generation_config.json")


class Held(NamedTuple):
    """A gathered adapter of a sharded model: weights by the model's own names, and the base model's fingerprint."""

    weights: dict[str, Any]
    fingerprint: str


def write(
    model: Any,
    folder: Path,
    base: ModelConfig,
    *,
    card: str = "",
    held: Held | None = None,
    alone: Standalone | None = None,
) -> None:
    """Write the files of `export` into an existing folder.

    Raises ActreError for a model without an adapter, OSError for a full disk.
    """
    from peft import PeftModel

    if not isinstance(model, PeftModel):
        raise ActreError("this model has no adapter to export: add one with add_lora")
    base = replace(base, name=settled(base.name))
    with full_disk(folder), _unasked(model, base.name):
        model.save_pretrained(str(folder), state_dict=None if held is None else held.weights)
    open_as_settings(folder, "adapter_config.json")
    settings = json.loads((folder / "adapter_config.json").read_text())
    inside = alone is not None and is_own(base.name)
    settings["base_model_name_or_path"] = BASE if inside else base.name  # not this machine's path
    (folder / "adapter_config.json").write_text(json.dumps(settings, indent=2, sort_keys=True) + "\n")
    digest = fingerprint(model) if held is None else held.fingerprint
    about = {"base": base.name, "four_bit": base.four_bit, "fingerprint": digest, "versions": versions()}
    (folder / "actre.json").write_text(json.dumps(about, indent=1) + "\n")
    how = ""
    if alone is not None:
        alone.tokenizer.save_pretrained(folder)
        how = usage(alone, base, str(model.dtype).removeprefix("torch."))
    if inside:
        _put_base(folder / BASE, Path(find(base.name)))
    (folder / "README.md").write_text(adapter_card(base, card, digest, how), encoding="utf-8")


def open_as_settings(folder: Path, settings: str) -> None:
    """Give the weights in a folder the file mode of its settings: safetensors writes them for their owner alone."""
    for weights in folder.glob("*.safetensors"):
        shutil.copymode(folder / settings, weights)


def _put_base(folder: Path, model: Path) -> None:
    """Copy what loads the base model, without what the kit records beside it."""
    folder.mkdir()
    for file in sorted(model.iterdir()):
        if file.name in _BASE_FILES or file.name.startswith("model"):
            shutil.copyfile(file, folder / file.name)


@contextmanager
def _unasked(model: Any, name: str) -> Iterator[None]:
    """Keep peft from asking the hub about the vocabulary of a base model that is not on the hub.

    peft looks it up by the name in the adapter's settings to see whether it was resized, which the kit never does.
    """
    if is_on_hub(name):
        yield
        return
    names = {key: config.base_model_name_or_path for key, config in model.peft_config.items()}
    try:
        for config in model.peft_config.values():
            config.base_model_name_or_path = ""
        yield
    finally:
        for key, config in model.peft_config.items():
            config.base_model_name_or_path = names[key]


@contextmanager
def full_disk(folder: Path) -> Iterator[None]:
    """Turn safetensors' own error for a full disk into an OSError."""
    from safetensors import SafetensorError

    try:
        yield
    except SafetensorError as error:
        if "No space left" not in str(error):
            raise
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder)) from error


def must_be_base(folder: Path, model: Any, name: str) -> None:
    """Raises ActreError if the adapter in `folder` was trained on a base model with other weights."""
    path = folder / "actre.json"
    if not path.exists():  # not exported by this kit
        return
    try:
        about = json.loads(path.read_text())
        wanted, base = about["fingerprint"], about["base"]
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise ActreError(f"{path} is damaged: {error!r}") from error
    if wanted != fingerprint(model):
        raise ActreError(
            f"the adapter in {folder} was trained on {base!r}{' in 4 bits' if about.get('four_bit') else ''} and does "
            f"not fit the weights of {name!r}: it is another model, another version, or only one of them is in 4 bits. "
            "Load the base model it was trained on"
        )


def fingerprint(model: Any) -> str:
    """A hash of the base model's weights, the same with and without adapters and in every floating-point type.

    4-bit weights have another hash than the original ones. Only the first 2,048 numbers of each parameter are hashed,
    rounded to bfloat16.
    """
    import torch
    from peft import PeftModel

    base = model.get_base_model() if isinstance(model, PeftModel) else model
    digest = hashlib.sha256()
    named = {
        name.replace(".base_layer.", "."): parameter
        for name, parameter in base.named_parameters()
        if "lora_" not in name
    }
    for name in sorted(named):
        numbers = named[name].detach().flatten()[:_FINGERPRINT_NUMBERS]
        if numbers.is_floating_point():
            numbers = numbers.to(torch.bfloat16).view(torch.int16)
        digest.update(f"{name} {tuple(named[name].shape)}\n".encode())
        digest.update(numbers.cpu().numpy().tobytes())
    return digest.hexdigest()


def weights_digest(folder: str | Path) -> str:
    """sha256 of an exported adapter's weights. Raises ActreError if there is none."""
    return hashlib.sha256((adapter_folder(folder) / "adapter_model.safetensors").read_bytes()).hexdigest()


def adapter_folder(folder: str | Path) -> Path:
    """The folder as a Path. Raises ActreError if it holds no adapter."""
    folder = Path(folder)
    missing = [name for name in ("adapter_config.json", "adapter_model.safetensors") if not (folder / name).exists()]
    if missing:
        raise ActreError(
            f"{folder} holds no adapter ({', '.join(missing)} missing): "
            "give the adapter/ folder of a run, or of `actre export`"
        )
    return folder


def named_base(folder: Path) -> ModelConfig:
    """The base model that an adapter names, in 4 bits if it was trained that way."""
    about = folder / "actre.json"
    try:
        said = json.loads(about.read_text()) if about.exists() else {}
        four_bit, own = bool(said.get("four_bit", False)), said.get("base")
    except (json.JSONDecodeError, AttributeError) as error:
        raise ActreError(f"{about} is damaged: {error!r}") from error
    return ModelConfig(name=saved_name(_base_name(folder, own)), four_bit=four_bit)


def _base_name(folder: Path, own: str | None) -> str:
    """The name in peft's settings, and `own` where these name the base by its place in the export."""
    try:
        name = json.loads((folder / "adapter_config.json").read_text())["base_model_name_or_path"]
        name = own if name == BASE and own else name
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise ActreError(f"{folder / 'adapter_config.json'} is damaged: {error!r}") from error
    if not name:
        raise ActreError(f"the adapter in {folder} does not name its base model: pass one")
    return str(name)
