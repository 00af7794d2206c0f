"""README.md of an exported adapter and of a merged model: the base model, how to load it, and the card of cards.py."""

from actre.config import ModelConfig, versions
from actre.config.model_names import is_local, is_on_hub, shown


def adapter_card(base: ModelConfig, text: str, fingerprint: str, how: str = "") -> str:
    """README.md of an adapter.

    text: the card. fingerprint: of the base model's weights, see `adapters.fingerprint`. how: the section on its use
    without the kit; "" for an adapter that is not an export.
    """
    how = how or (
        "## Without ActRe Lab\n\n`actre export` writes a folder that holds all this needs: the tokenizer, and code in "
        "plain transformers and peft."
    )
    load = 'load("this folder")'
    where = ""
    if is_local(base.name):
        load = 'load("this folder", ModelConfig(name="the folder of the base model"))'
        where = "from actre.config import ModelConfig\n    "
    return f"""---
{_base_model(base)}library_name: peft
tags: [lora, actre]
---
# A LoRA adapter for {shown(base.name)}, trained with ActRe Lab

{_base(base, fingerprint)}

## With ActRe Lab

    from actre.adapters import load
    {where}model, tokenizer = {load}

`load` refuses a base model with other weights than the adapter was trained on (actre.json).

{how}

## Training

{text.strip()}

{_written()}
"""


def merged_card(base: ModelConfig, text: str, fingerprint: str, how: str = "") -> str:
    """README.md of a merged model. how: the section on its use without the kit."""
    return f"""---
{_base_model(base)}library_name: transformers
tags: [actre]
---
# {shown(base.name)} with a LoRA adapter merged in, trained with ActRe Lab

{_base(base, fingerprint)}

{how}

## Training

{text.strip()}

{_written()}
"""


def _base_model(base: ModelConfig) -> str:
    """The hub resolves this line, so it may only contain a hub name."""
    return f"base_model: {base.name}\n" if is_on_hub(base.name) else ""


def _base(base: ModelConfig, fingerprint: str) -> str:
    kind = "which ActRe Lab ships or downloads"
    if is_local(base.name):
        kind = "a local folder on the training machine"
    elif is_on_hub(base.name):
        kind = "from the model hub"
    bits = ", in 4 bits" if base.four_bit else ""
    return f"Base model: {shown(base.name)}, {kind}{bits}; fingerprint of its weights: {fingerprint}."


def _written() -> str:
    return f"Written with {', '.join(f'{name} {version}' for name, version in versions().items())}."
