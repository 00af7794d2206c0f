"""The README.md of an exported adapter and of a merged model: which base it is for, and how it is loaded.

Knows the base model's name and fingerprint; what was trained, and what came of it, is text from outside (cards.py).
"""

from actre.config import ModelConfig, versions
from actre.config.model_names import is_local, is_on_hub, shown


def adapter_card(base: ModelConfig, text: str, fingerprint: str) -> str:
    """The card of an adapter. fingerprint: of the base model's weights, see `adapters.fingerprint`."""
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

{text.strip()}

## Loading it

    from actre.adapters.trained import load
    {where}model, tokenizer = {load}

`load` refuses a base model whose weights are not those the adapter was trained on (actre.json). Without ActRe Lab:
`peft.PeftModel.from_pretrained(base_model, "this folder")`.

{_written()}
"""


def merged_card(base: ModelConfig, text: str, fingerprint: str) -> str:
    """The card of a merged model."""
    return f"""---
{_base_model(base)}library_name: transformers
tags: [actre]
---
# {shown(base.name)} with a LoRA adapter merged in, trained with ActRe Lab

{_base(base, fingerprint)}

{text.strip()}

{_written()}
"""


def _base_model(base: ModelConfig) -> str:
    """A hub looks this line up, so that only a hub's name may stand there."""
    return f"base_model: {base.name}\n" if is_on_hub(base.name) else ""


def _base(base: ModelConfig, fingerprint: str) -> str:
    kind = "which comes with, or through, ActRe Lab"
    if is_local(base.name):
        kind = "a local folder where this was trained"
    elif is_on_hub(base.name):
        kind = "from the model hub"
    bits = ", in 4 bits" if base.four_bit else ""
    return f"Base model: {shown(base.name)}, {kind}{bits}; fingerprint of its weights: {fingerprint}."


def _written() -> str:
    return f"Written with {', '.join(f'{name} {version}' for name, version in versions().items())}."
