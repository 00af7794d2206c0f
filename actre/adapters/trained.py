"""Trained adapters: export with a card, load onto the plain base model, the check by reloading, merging.

Does not know how an adapter was trained (the card's text comes from outside), which files it is made of
(adapter_files.py), nor what may be replaced (outputs.py).
"""

from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from actre.adapters.files import (
    Held,
    adapter_folder,
    fingerprint,
    full_disk,
    must_be_base,
    named_base,
    weights_digest,
    write,
)
from actre.adapters.readme import merged_card
from actre.config import ModelConfig, RunConfig
from actre.policies.context import held_by
from actre.policies.models import Loaded
from actre.policies.models import load as load_base
from actre.runtime.outputs import Made, must_be_replaceable, replacing
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


def export(
    model: Any,
    folder: str | Path,
    base: ModelConfig,
    *,
    card: str = "",
    held: Held | None = None,
    made: Made | None = None,
) -> Path:
    """Write a PeftModel's adapter: safetensors, settings, fingerprint of its base and card; returns the folder.

    base: the settings its base model was loaded by; `base.name` is what the adapter will ask for, of a local folder
    its absolute path. card: text about the training, put into README.md. held: the weights, where they are not whole
    in the model. The folder is replaced as a whole, once everything is written; made: only where it was made alike.
    Raises ActreError for a model without adapter, and as `outputs.must_be_replaceable` does.
    """
    with replacing(folder, made) as part:
        write(model, part, base, card=card, held=held)
    return Path(folder)


def load(folder: str | Path, base: ModelConfig | None = None, *, trainable: bool = False) -> Loaded:
    """The base model with this adapter, as a PeftModel in eval mode, and the base's tokenizer.

    base: None takes the one the adapter names. trainable: the adapter's weights take gradients, to train it on.
    Raises ActreError for a folder without adapter, a damaged one, or a base whose weights are not those it was trained
    on.
    """
    folder = adapter_folder(folder)
    named = named_base(folder) if base is None else base
    model, tokenizer = load_base(named)
    must_be_base(folder, model, named.name)
    return Loaded(_put_on(folder, model, trainable=trainable), tokenizer)


def load_policy(config: RunConfig, adapter: str | Path | None = None) -> Any:
    """The settings' model as an HFPolicy, with a trained adapter if one is named."""
    from actre.policies.hf import HFPolicy

    if adapter is None:
        return HFPolicy(*load_base(config.model))
    return HFPolicy(*load(adapter, config.model))


def check(folder: str | Path, model: Any, tokenizer: Any, *, base: ModelConfig | None = None) -> Check:
    """Reload the adapter onto a fresh base model; compare logits with the trained `model` and with the bare base.

    model: the trained PeftModel, or None to compare with the base alone. base: None takes the one the adapter names.
    Raises as `load` does; a difference is no error but in the result.
    """
    import torch

    folder = adapter_folder(folder)
    named = named_base(folder) if base is None else base
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


def merge(
    folder: str | Path,
    out: str | Path,
    base: ModelConfig | None = None,
    *,
    card: str | None = None,
    made: Made | None = None,
) -> Path:
    """Save the base model with the adapter merged in, a plain transformers folder with tokenizer; returns it.

    card: text about the training, for its README.md; None: it gets none. The merged model is loaded again before it
    takes its place. made: what may be replaced there; None: what was merged of the same adapter.
    Raises as `load` and `outputs.must_be_replaceable` do, and ActreError for an adapter on 4-bit weights, whose merging
    would make another model, or where the merged model's logits are not those of base and adapter (in bfloat16 and
    float16, where each merged weight is rounded, its distributions: MERGED_NATS).
    """
    import torch

    folder = adapter_folder(folder)
    made = made or Made("actre.adapters.trained.merge", weights_digest(folder), "out")
    must_be_replaceable(out, made)  # before anything is loaded
    base = base or named_base(folder)
    model, tokenizer = load(folder, base)
    if getattr(model.get_base_model(), "is_quantized", False):
        raise ActreError(
            "an adapter on 4-bit weights is not merged: it would become another model. Give the adapter "
            "away as it is, or train with four_bit=False"
        )
    prompts = _prompts(tokenizer)
    trained, dtype, device = _logits(model, prompts), model.dtype, model.device
    digest = fingerprint(model)
    with replacing(out, made) as part:
        with full_disk(part):
            model.merge_and_unload().save_pretrained(part)
        tokenizer.save_pretrained(part)
        if card is not None:
            (part / "README.md").write_text(merged_card(base, card, digest))
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
