"""Loads models by name (tiny, smollm2, a hub name or a folder), plain or through unsloth, and adds LoRA adapters.

The only file that imports unsloth, and only for loader "unsloth".
"""

import difflib
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

from actre.config import ModelConfig, data_folder, derive_seed
from actre.config.model_names import folder_of, is_local, is_on_hub, is_smollm2, looked_for
from actre.config.tiny_names import DEFAULT_TINY, TINY_KINDS, is_tiny, whole_name
from actre.policies.context import held_by
from actre.policies.smollm2 import smollm2_folder, warm_adapters, warm_folder
from actre.runtime import ranks
from actre.types import ActreError

_UNSLOTH_TOKENS = 8192  # unsloth sizes its rotary tables by this maximum sequence length


class Loaded(NamedTuple):
    """A transformers causal LM in eval mode, on its device, and its tokenizer."""

    model: Any
    tokenizer: Any


def load(model: ModelConfig) -> Loaded:
    """The model of that name, on the GPU if there is one, else on the CPU.

    Raises ActreError for an unknown name (with the known ones), a model that has not been fetched, an unreachable hub,
    unsloth without a GPU, and 4 bits without bitsandbytes.
    """
    source = find(model.name)
    import torch

    dtype = choose_dtype(model)
    loaded: Any
    if model.loader == "unsloth":
        return _load_unsloth(model, source, dtype)
    quantized = {"quantization_config": four_bits(dtype)} if model.four_bit else {}
    from safetensors import SafetensorError
    from transformers import AutoModelForCausalLM, AutoTokenizer

    try:
        with _no_bars(model.name):
            tokenizer = AutoTokenizer.from_pretrained(source)
            # sdpa: flash attention does not accept the policies' 4D masks
            loaded = AutoModelForCausalLM.from_pretrained(source, dtype=dtype, attn_implementation="sdpa", **quantized)
    except (OSError, ValueError, SafetensorError) as error:
        raise ActreError(_not_loaded(model.name, error)) from error
    # 4-bit weights are already on the GPU; sharded weights are moved when they are sharded
    if torch.cuda.is_available() and not model.four_bit and not ranks.cuts_weights():
        loaded = loaded.to("cuda")
    return Loaded(loaded.eval(), tokenizer)


def load_tokenizer(name: str) -> Any:
    """Only the tokenizer of a model. Raises ActreError as `load`."""
    source = find(name)
    from transformers import AutoTokenizer

    try:
        with _no_bars(name):
            return AutoTokenizer.from_pretrained(source)
    except (OSError, ValueError) as error:
        raise ActreError(_not_loaded(name, error)) from error


def context_of(name: str) -> int | None:
    """Most tokens a model holds at once, read from its config; None: no limit. Raises ActreError as `load`."""
    source = find(name)
    from transformers import AutoConfig

    try:
        return held_by(AutoConfig.from_pretrained(source))
    except (OSError, ValueError) as error:
        raise ActreError(_not_loaded(name, error)) from error


def four_bits(dtype: Any) -> Any:
    """transformers' settings for 4-bit weights: NF4, constants quantised too, computation in `dtype`.

    Raises ActreError without bitsandbytes.
    """
    try:
        metadata.version("bitsandbytes")
    except metadata.PackageNotFoundError as error:
        raise ActreError(
            "4-bit weights need bitsandbytes, which is not installed: pip install -e '.[train,gpu]' in the checkout, "
            "or set four_bit=False"
        ) from error
    from transformers import BitsAndBytesConfig

    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=dtype,
    )


@contextmanager
def _no_bars(name: str) -> Iterator[None]:
    """No progress bar for the tiny models, which load at once; others keep transformers' bar."""
    from transformers.utils import logging

    if not is_tiny(name):
        yield
        return
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.enable_progress_bar()


def add_lora(model: Any, config: ModelConfig, seed: int) -> Any:
    """The model with a fresh LoRA adapter on every linear layer except the output, as a PeftModel in eval mode.

    The adapter starts as the identity (B is zero); A depends only on `seed`, and the global generators are not changed.
    As in peft, the model is changed in place.
    Raises ActreError for 4-bit weights on a CPU, where bitsandbytes 0.50.2 loses gradients without an error.
    """
    if config.four_bit and model.device.type == "cpu":
        raise ActreError(
            "4-bit weights train on a GPU only: on a CPU bitsandbytes silently loses gradients. Set four_bit=False"
        )
    adapter_seed = derive_seed(seed, "lora")
    if config.loader == "unsloth":
        return _add_lora_unsloth(model, config, adapter_seed)
    import torch
    from peft import LoraConfig, get_peft_model

    lora = LoraConfig(
        r=config.lora_rank,
        lora_alpha=config.lora_alpha,
        lora_dropout=0.0,
        target_modules="all-linear",
        task_type="CAUSAL_LM",
    )
    with torch.random.fork_rng():
        torch.manual_seed(adapter_seed)
        adapted = get_peft_model(model, lora)
    return adapted.eval()


def find(name: str) -> str:
    """The folder of the model of that name, or the name itself for a hub. Raises ActreError for an unknown name."""
    if is_tiny(name):
        folder = data_folder() / whole_name(name)
        if not (folder / "config.json").exists():
            if folder.name not in TINY_KINDS:
                kinds = ", ".join(f"tiny/{kind}" for kind in TINY_KINDS)
                raise ActreError(f"no tiny policy {name!r}; `actre pretrain-tiny --kind KIND` makes: {kinds}")
            raise ActreError(
                f"no tiny policy in {folder}: `actre pretrain-tiny --kind {folder.name} --out {folder}` makes one; a "
                "checkout has all of them (ACTRE_DATA=CHECKOUT/data)"
            )
        return str(folder)
    if is_smollm2(name):
        folder = smollm2_folder() if name == "smollm2" else warm_folder(name)
        if not (folder / "config.json").exists():
            raise ActreError(
                f"{name} is not here: `actre models get {name}` fetches it (about 100 MB, or 270 MB from the hub)"
            )
        return str(folder)
    path = folder_of(name)
    if path.is_dir():
        if (path / "config.json").exists():
            return str(path)
        if (path / "adapter_config.json").exists():
            raise ActreError(f"{name} holds an adapter, not a model: load its base model, then actre.adapters.load")
        raise ActreError(f"{name} is a folder without config.json, so it holds no model: give another folder")
    if is_on_hub(name):
        return name  # owner/model: whether it exists is up to the hub
    if "/" in name or path.is_absolute():
        here = f"there are: {', '.join(known())}"
        raise ActreError(f"no model {name!r}; {here}. If a folder was meant: {looked_for(name)}")
    near = difflib.get_close_matches(name, known(), n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}?" if near else f"there are: {', '.join(known())}."
    raise ActreError(f"no model {name!r}; {hint} A hub name (owner/model) or a folder works too")


def known() -> dict[str, Path]:
    """The models with a name of their own, and their folders, which may not exist yet."""
    tiny = data_folder() / "tiny"
    found = {f"tiny/{folder.parent.name}": folder.parent for folder in sorted(tiny.glob("*/config.json"))}
    warm = {name: warm_folder(name) for name in warm_adapters()}
    return {"tiny": data_folder() / DEFAULT_TINY, **found, "smollm2": smollm2_folder(), **warm}


def choose_dtype(model: ModelConfig) -> Any:
    """The torch dtype of the settings; auto: float32 on a CPU, bfloat16 if the GPU supports it, else float16."""
    import torch

    if model.dtype != "auto":
        return getattr(torch, model.dtype)
    if not torch.cuda.is_available():
        return torch.float32
    # a T4 emulates bfloat16, slowly
    return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16


def _load_unsloth(config: ModelConfig, source: str, dtype: Any) -> Loaded:
    import torch

    if not torch.cuda.is_available():
        raise ActreError("loader 'unsloth' needs a GPU and there is none: use loader='plain'")
    try:
        from unsloth import FastLanguageModel
    except ImportError as error:
        raise ActreError("unsloth is not installed: pip install -e '.[train,gpu]' in the checkout") from error
    try:
        model, tokenizer = FastLanguageModel.from_pretrained(
            source, max_seq_length=_UNSLOTH_TOKENS, dtype=dtype, load_in_4bit=config.four_bit
        )
    except (OSError, ValueError) as error:
        raise ActreError(_not_loaded(config.name, error)) from error
    return Loaded(model.eval(), tokenizer)


def _add_lora_unsloth(model: Any, config: ModelConfig, seed: int) -> Any:
    from unsloth import FastLanguageModel

    return FastLanguageModel.get_peft_model(
        model,
        r=config.lora_rank,
        lora_alpha=config.lora_alpha,
        lora_dropout=0.0,
        target_modules=["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"],
        random_state=seed,
    ).eval()


def _not_loaded(name: str, error: Exception) -> str:
    reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    if is_local(name):
        return f"could not load the model in the folder {name!r}: {reason}"
    missing = f"\nIf a local folder was meant: {looked_for(name)}" if is_on_hub(name) else ""
    return (
        f"could not load the model {name!r}: {reason}\n"
        "A hub name needs a network, and `hf auth login` for gated models. Without one, use the shipped policy "
        f"(--model tiny) or `actre models get smollm2`{missing}"
    )
