"""Trained adapters: export with a model card, load onto the base model, check by reloading, merge."""

from collections.abc import Mapping
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
    open_as_settings,
    weights_digest,
    write,
)
from actre.adapters.readme import merged_card
from actre.adapters.standalone import Standalone, usage
from actre.config import ModelConfig, RunConfig
from actre.policies.context import held_by
from actre.policies.models import Loaded
from actre.policies.models import load as load_base
from actre.runtime.outputs import Made, must_be_replaceable, replacing
from actre.types import ActreError

TOLERANCE = 1e-4
"""Largest allowed difference of a logit after reloading, in float32; of a merged model, whose weights were added up
otherwise, a tenth of it for each unit of the largest logit, where that is more."""
TOLERANCE_HALF = 5e-2
"""The same in bfloat16 and float16."""
MERGED_NATS = 0.02
"""Largest allowed mean KL (nats per token) between a merged model in bfloat16 or float16, whose weights were rounded
once more, and base plus adapter. Logits are no good measure there: SmolLM2's moved by up to 1.7 of 34 at a KL of
0.002."""
_SAMPLE = (
    "You act in a text world, one action at a time, until the task is done.",
    "You are in the middle of a room. Looking quickly around you, you see a shelf 1.\nYour task is to: ",
    "<think>",
)


class Check(NamedTuple):
    """Result of reloading: largest absolute differences of a logit over `tokens` next-token distributions.

    from_trained: reloaded minus trained; from_base: reloaded minus the bare base model.
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
        """The adapter on disk is the trained one, and it changes the base model."""
        return self.same_as_trained and self.differs_from_base


def export(
    model: Any,
    folder: str | Path,
    base: ModelConfig,
    *,
    card: str = "",
    held: Held | None = None,
    made: Made | None = None,
    alone: Standalone | None = None,
) -> Path:
    """Write a PeftModel's adapter: safetensors, settings, its base's fingerprint, and the card; returns the folder.

    base: the settings its base model was loaded with; the adapter will name `base.name`, for a local folder the
    absolute path. card: text about the training, for README.md. held: the gathered weights of a sharded model. The
    folder is replaced as a whole. made: its origin, which an existing folder must share. alone: for use without the
    kit; the folder then also holds the tokenizer, base/ if the base model is one of the kit's own, and a card with
    prompt and code. Raises ActreError for a model without adapter, and as `outputs.must_be_replaceable` does.
    """
    with replacing(folder, made) as part:
        write(model, part, base, card=card, held=held, alone=alone)
    return Path(folder)


def load(folder: str | Path, base: ModelConfig | None = None, *, trainable: bool = False) -> Loaded:
    """The base model with this adapter, as a PeftModel in eval mode, and the base's tokenizer.

    base: None for the one that the adapter names. trainable: the adapter's weights get gradients. Raises ActreError for
    a folder without an adapter, a damaged one, or a base model with other weights than it was trained on.
    """
    folder = adapter_folder(folder)
    named = named_base(folder) if base is None else base
    model, tokenizer = load_base(named)
    must_be_base(folder, model, named.name)
    return Loaded(_put_on(folder, model, trainable=trainable), tokenizer)


def load_policy(config: RunConfig, adapter: str | Path | None = None) -> Any:
    """The settings' model as an HFPolicy, with a trained adapter if one is given. Its weights are frozen."""
    from actre.policies.hf import HFPolicy

    model, tokenizer = load_base(config.model) if adapter is None else load(adapter, config.model)
    # before each call the policy looks whether trainable weights have changed, which a large model is slow to answer
    return HFPolicy(model.requires_grad_(False), tokenizer)


def check(folder: str | Path, model: Any, tokenizer: Any, *, base: ModelConfig | None = None) -> Check:
    """Reload the adapter onto a new base model; compare logits with the trained `model` and with the bare base.

    model: the trained PeftModel, or None to compare with the base only. base: None for the one that the adapter names.
    Raises as `load` does, but not for a difference.
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
    config: RunConfig | None = None,
    records: Mapping[str, str] | None = None,
) -> Path:
    """Save the base model with the adapter merged in, as a transformers folder with tokenizer; returns the folder.

    card: text about the training, for README.md; None: no README.md. config: the settings that the policy plays by, for
    a card that says how without the kit. made: the folder's origin, which an existing folder must share; None: merged
    from the same adapter. records: further files, name -> text. The merged model is reloaded and checked before it is
    saved: its logits (by TOLERANCE) in float32, its distributions (MERGED_NATS) in half precision, where merged weights
    are rounded. Raises ActreError if it differs from base plus adapter, and for an adapter on 4-bit weights, whose
    merging would give another model; and as `load` and `outputs.must_be_replaceable` do.
    """
    import torch

    folder = adapter_folder(folder)
    made = made or Made("actre.adapters.trained.merge", weights_digest(folder), "out")
    must_be_replaceable(out, made)  # before anything is loaded
    base = base or named_base(folder)
    model, tokenizer = load(folder, base)
    if getattr(model.get_base_model(), "is_quantized", False):
        raise ActreError(
            "an adapter on 4-bit weights cannot be merged without changing the model. Share the adapter "
            "itself, or train with model.four_bit=false"
        )
    prompts = _prompts(tokenizer)
    trained, dtype, device = _logits(model, prompts), model.dtype, model.device
    digest = fingerprint(model)
    with replacing(out, made) as part:
        with full_disk(part):
            model.merge_and_unload().save_pretrained(part)
        open_as_settings(part, "config.json")
        tokenizer.save_pretrained(part)
        if card is not None:
            how = "" if config is None else usage(Standalone(tokenizer, config), base, "auto", merged=True)
            (part / "README.md").write_text(merged_card(base, card, digest, how), encoding="utf-8")
        for name, text in (records or {}).items():
            (part / name).write_text(text, encoding="utf-8")
        again, _ = load_base(ModelConfig(name=str(part), dtype=str(dtype).removeprefix("torch.")))  # type: ignore[arg-type]
        off = _logits(again.to(device), prompts)
        if dtype == torch.float32:
            far = float((off - trained).abs().max())
            allowed = TOLERANCE * max(1.0, 0.1 * float(trained.abs().max()))
        else:
            far, allowed = float(_kl_nats(trained, off)), MERGED_NATS
        if not far <= allowed:
            raise ActreError(
                f"the merged model differs from base plus adapter ({far:.1e}, allowed: {allowed:.0e}) and was not saved"
            )
    return Path(out)


def _prompts(tokenizer: Any) -> list[list[int]]:
    """Token ids on which models are compared."""
    prompts = [tokenizer.encode(text, add_special_tokens=False) for text in _SAMPLE]
    return [ids for ids in prompts if ids]


def must_reload(folder: str | Path, model: Any, tokenizer: Any, base: ModelConfig) -> Check:
    """`check` with the plain loader. Raises ActreError if the adapter on disk is not the trained one.

    For adapters trained with unsloth's kernels or on 4-bit weights, which must be the same without them.
    """
    found = check(folder, model, tokenizer, base=replace(base, loader="plain"))
    if not found.same_as_trained:
        raise ActreError(
            f"the adapter in {folder} is refused: reloaded onto the plain base model, its logits differ by "
            f"{found.from_trained:.1e} from the trained model's (allowed: {found.tolerance:.0e}). It was trained with "
            f"loader {base.loader!r}{' in 4 bits' if base.four_bit else ''}: train with model.loader=plain instead"
        )
    return found


def _kl_nats(one: Any, other: Any) -> Any:
    """Mean KL between next-token distributions, from their logits."""
    logp, logq = one.log_softmax(-1), other.log_softmax(-1)
    return (logp.exp() * (logp - logq)).sum(-1).mean()


def _logits(model: Any, prompts: list[list[int]]) -> Any:
    """(tokens, V) float32: the logits at every position of each prompt, in eval mode.

    Without accelerate's autocast around a model in half precision, which rounds differently.
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
            f"the adapter in {folder} cannot be loaded onto this model: {reason}. "
            "It is damaged, or was trained on another base model; adapter_config.json names its base"
        ) from error
