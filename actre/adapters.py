"""Trained adapters: export with a card, load onto the plain base model, the check by reloading, merging.

Knows PEFT's folder (adapter_config.json, adapter_model.safetensors) and what is written beside it: README.md, the
card, and actre.json, which names the base model and holds a fingerprint of its weights, so that an adapter is not
put on another base by mistake. Does not know how an adapter was trained; the card's text comes from outside.
"""

import errno
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from actre.config import ModelConfig, versions
from actre.policies.context import held_by
from actre.policies.models import Loaded
from actre.policies.models import load as load_base
from actre.types import ActreError

TOLERANCE = 1e-4
"""Largest difference of a logit after reloading, in float32."""
TOLERANCE_HALF = 5e-2
"""The same in bfloat16 and float16."""
MERGED_NATS = 0.02
"""Largest mean KL, nats a token, of a merged model in bfloat16 or float16, whose weights were rounded once more, from
base and adapter. Single logits say little there: SmolLM2's moved by up to 1.7 of 34 at a KL of 0.002."""
_SAMPLE = (
    "You act in a text world, one action at a time, until the task is done.",
    "You are in the middle of a room. Looking quickly around you, you see a shelf 1.\nYour task is to: ",
    "<think>",
)
_FINGERPRINT_NUMBERS = 2048


class Check(NamedTuple):
    """What reloading showed, over `tokens` next-token distributions: largest absolute differences of a logit.

    from_trained: reloaded against trained; from_base: reloaded against the bare base model.
    """

    from_trained: float
    from_base: float
    tolerance: float
    tokens: int

    @property
    def same_as_trained(self) -> bool:
        return self.from_trained <= self.tolerance

    @property
    def differs_from_base(self) -> bool:
        return self.from_base > self.tolerance

    @property
    def passed(self) -> bool:
        """The adapter on disk is the trained one, and it does something."""
        return self.same_as_trained and self.differs_from_base


class Held(NamedTuple):
    """An adapter whose model is cut over several processes: its weights by the model's own names, its base's hash."""

    weights: dict[str, Any]
    fingerprint: str


def export(model: Any, folder: str | Path, base: ModelConfig, *, card: str = "", held: Held | None = None) -> Path:
    """Write a PeftModel's adapter: safetensors, settings, fingerprint of its base and card; returns the folder.

    base: the settings its base model was loaded by; `base.name` is what the adapter will ask for. card: text about
    the training, put into README.md. held: the weights, where they are not whole in the model. The folder is replaced
    as a whole, once everything is written.
    Raises ActreError for a model without adapter.
    """
    with replacing(Path(folder)) as part:
        write(model, part, base, card=card, held=held)
    return Path(folder)


def write(model: Any, folder: Path, base: ModelConfig, *, card: str = "", held: Held | None = None) -> None:
    """Write the files of `export` into a folder that is there.

    Raises ActreError for a model without adapter, OSError where the disk is full.
    """
    from peft import PeftModel
    from safetensors import SafetensorError

    if not isinstance(model, PeftModel):
        raise ActreError("this model has no adapter to export: add_lora gives it one")
    try:
        model.save_pretrained(str(folder), state_dict=None if held is None else held.weights)
    except SafetensorError as error:
        if "No space left" not in str(error):
            raise
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder)) from error
    settings = json.loads((folder / "adapter_config.json").read_text())
    settings["base_model_name_or_path"] = base.name  # not a path of this machine
    (folder / "adapter_config.json").write_text(json.dumps(settings, indent=2, sort_keys=True) + "\n")
    digest = fingerprint(model) if held is None else held.fingerprint
    about = {"base": base.name, "four_bit": base.four_bit, "fingerprint": digest, "versions": versions()}
    (folder / "actre.json").write_text(json.dumps(about, indent=1) + "\n")
    (folder / "README.md").write_text(_card(base, card))


def must_be_base(folder: Path, model: Any, name: str) -> None:
    """Raises ActreError if the adapter in `folder` was trained on a base model with other weights than this one."""
    path = folder / "actre.json"
    if not path.exists():  # an adapter that was not exported here
        return
    try:
        about = json.loads(path.read_text())
        wanted, base = about["fingerprint"], about["base"]
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise ActreError(f"{path} is damaged: {error!r}") from error
    if wanted != fingerprint(model):
        raise ActreError(
            f"the adapter in {folder} was trained on {base!r}{' in 4 bits' if about.get('four_bit') else ''} and does "
            f"not fit the weights of {name!r}: another model, another version of it, or in 4 bits the one and not the "
            "other. Load the base it was trained on"
        )


def load(folder: str | Path, base: ModelConfig | None = None, *, trainable: bool = False) -> Loaded:
    """The base model with this adapter, as a PeftModel in eval mode, and the base's tokenizer.

    base: None takes the one the adapter names. trainable: the adapter's weights take gradients, to train it on.
    Raises ActreError for a folder without adapter, a damaged one, or a base whose weights are not those it was trained
    on.
    """
    folder = _adapter_folder(folder)
    named = _named_base(folder) if base is None else base
    model, tokenizer = load_base(named)
    must_be_base(folder, model, named.name)
    return Loaded(_put_on(folder, model, trainable=trainable), tokenizer)


def check(folder: str | Path, model: Any, tokenizer: Any, *, base: ModelConfig | None = None) -> Check:
    """Reload the adapter onto a fresh base model; compare logits with the trained `model` and with the bare base.

    model: the trained PeftModel, or None to compare with the base alone. base: None takes the one the adapter names.
    Raises as `load` does; a difference is no error but in the result.
    """
    import torch

    folder = _adapter_folder(folder)
    named = _named_base(folder) if base is None else base
    bare, _ = load_base(named)
    must_be_base(folder, bare, named.name)
    prompts = _prompts(tokenizer)
    without = _logits(bare, prompts)
    reloaded_model = _put_on(folder, bare)
    reloaded = _logits(reloaded_model, prompts)
    trained = reloaded if model is None else _logits(model, prompts)
    tolerance = TOLERANCE if reloaded_model.dtype == torch.float32 else TOLERANCE_HALF
    return Check(
        from_trained=float((reloaded - trained).abs().max()),
        from_base=float((reloaded - without).abs().max()),
        tolerance=tolerance,
        tokens=len(reloaded),
    )


def merge(folder: str | Path, out: str | Path, base: ModelConfig | None = None, *, card: str = "") -> Path:
    """Save the base model with the adapter merged in, a plain transformers folder with tokenizer; returns it.

    card: its README.md. The merged model is loaded again before it takes its place. Raises as `load` does, and
    ActreError for an adapter on 4-bit weights, whose merging would make another model, or where the merged model's
    logits are not those of base and adapter (in bfloat16 and float16, where each merged weight is rounded, its
    distributions: MERGED_NATS).
    """
    import torch

    model, tokenizer = load(folder, base)
    if getattr(model.get_base_model(), "is_quantized", False):
        raise ActreError(
            "an adapter on 4-bit weights is not merged: it would become another model. Give the adapter "
            "away as it is, or train with four_bit=False"
        )
    prompts = _prompts(tokenizer)
    trained, dtype, device = _logits(model, prompts), model.dtype, model.device
    with replacing(Path(out)) as part:
        model.merge_and_unload().save_pretrained(part)
        tokenizer.save_pretrained(part)
        if card:
            (part / "README.md").write_text(card)
        again, _ = load_base(ModelConfig(name=str(part), dtype=str(dtype).removeprefix("torch.")))  # type: ignore[arg-type]
        off = _logits(again.to(device), prompts)
        if dtype == torch.float32:
            far, allowed = float((off - trained).abs().max()), TOLERANCE
        else:
            far, allowed = float(_kl_nats(trained, off)), MERGED_NATS
        if not far <= allowed:
            raise ActreError(
                f"the merged model is not base and adapter ({far:.1e}, allowed: {allowed:.0e}): not written"
            )
    return Path(out)


def _prompts(tokenizer: Any) -> list[list[int]]:
    """What models are compared on."""
    prompts = [tokenizer.encode(text, add_special_tokens=False) for text in _SAMPLE]
    return [ids for ids in prompts if ids]


def must_reload(folder: str | Path, model: Any, tokenizer: Any, base: ModelConfig) -> Check:
    """`check` on the plain loader; raises ActreError where the adapter on disk is not the trained one.

    For adapters made with unsloth's kernels or on 4-bit weights: what was trained there must be what others get.
    """
    found = check(folder, model, tokenizer, base=replace(base, loader="plain"))
    if not found.same_as_trained:
        raise ActreError(
            f"the adapter in {folder} is refused: reloaded onto the plain base model its logits differ by "
            f"{found.from_trained:.1e} from the trained model's (allowed: {found.tolerance:.0e}). It was trained with "
            f"loader {base.loader!r}{' in 4 bits' if base.four_bit else ''}: train it with loader='plain' instead"
        )
    return found


def weights_digest(folder: str | Path) -> str:
    """sha256 of an exported adapter's weights. Raises ActreError where there is none."""
    return hashlib.sha256((_adapter_folder(folder) / "adapter_model.safetensors").read_bytes()).hexdigest()


def fingerprint(model: Any) -> str:
    """A hash of the base model's weights, the same with and without adapters and in every floating type.

    4-bit weights have another one than those they were made of: an adapter is refused where the two are mixed up.
    Differs: of each parameter only the first 2,048 numbers enter, rounded to bfloat16.
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


def _kl_nats(one: Any, other: Any) -> Any:
    """Mean KL between next-token distributions, from their logits."""
    logp, logq = one.log_softmax(-1), other.log_softmax(-1)
    return (logp.exp() * (logp - logq)).sum(-1).mean()


def _logits(model: Any, prompts: list[list[int]]) -> Any:
    """(tokens, V) float32: the logits at every position of each prompt, in eval mode.

    Without the autocast that accelerate puts around a model in half precision: in training it rounds elsewhere.
    """
    import torch

    forward = getattr(model, "_original_forward", model)

    training = model.training
    model.eval()
    try:
        with torch.inference_mode():
            held = held_by(model.config)
            ids = [torch.tensor([prompt[:held]], device=model.device) for prompt in prompts]
            return torch.cat([forward(input_ids=row).logits[0].float().cpu() for row in ids])
    finally:
        model.train(training)


def _put_on(folder: Path, model: Any, *, trainable: bool = False) -> Any:
    from peft import PeftModel
    from safetensors import SafetensorError

    try:
        return PeftModel.from_pretrained(model, str(folder), is_trainable=trainable).eval()
    except (RuntimeError, ValueError, TypeError, SafetensorError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ActreError(
            f"the adapter in {folder} does not go onto this model: {reason}. "
            "It is damaged, or it was trained on another base model; adapter_config.json names its base"
        ) from error


def _adapter_folder(folder: str | Path) -> Path:
    folder = Path(folder)
    missing = [name for name in ("adapter_config.json", "adapter_model.safetensors") if not (folder / name).exists()]
    if missing:
        raise ActreError(
            f"{folder} holds no adapter ({', '.join(missing)} missing): "
            "give the adapter/ folder of a run, or of `actre export`"
        )
    return folder


def _named_base(folder: Path) -> ModelConfig:
    """The base an adapter asks for; in 4 bits where it was trained on it so."""
    about = folder / "actre.json"
    try:
        four_bit = bool(json.loads(about.read_text()).get("four_bit", False)) if about.exists() else False
    except (json.JSONDecodeError, AttributeError) as error:
        raise ActreError(f"{about} is damaged: {error!r}") from error
    return ModelConfig(name=_base_name(folder), four_bit=four_bit)


def _base_name(folder: Path) -> str:
    try:
        name = json.loads((folder / "adapter_config.json").read_text())["base_model_name_or_path"]
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise ActreError(f"{folder / 'adapter_config.json'} is damaged: {error!r}") from error
    if not name:
        raise ActreError(f"the adapter in {folder} does not say which base model it belongs to: name one")
    return str(name)


@contextmanager
def replacing(folder: Path) -> Iterator[Path]:
    """A folder to write into that takes the place of `folder` when everything is written."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as made:
        part = Path(made) / "new"
        part.mkdir()
        yield part
        if folder.exists():
            shutil.move(folder, Path(made) / "old")
        os.replace(part, folder)


def _card(base: ModelConfig, text: str) -> str:
    used = ", ".join(f"{name} {version}" for name, version in versions().items())
    return f"""---
base_model: {base.name}
library_name: peft
tags: [lora, actre]
---
# A LoRA adapter for {base.name}, trained with ActRe Lab

{text.strip()}

## Loading it

    from actre.adapters import load
    model, tokenizer = load("this folder")

`load` refuses a base model whose weights are not those the adapter was trained on (actre.json). Without ActRe Lab:
`peft.PeftModel.from_pretrained(base_model, "this folder")`.

Written with {used}.
"""


def merged_card(base: ModelConfig, text: str) -> str:
    """The card of a merged model."""
    used = ", ".join(f"{name} {version}" for name, version in versions().items())
    return f"""---
base_model: {base.name}
library_name: transformers
tags: [actre]
---
# {base.name} with a LoRA adapter merged in, trained with ActRe Lab

{text.strip()}

Written with {used}.
"""
