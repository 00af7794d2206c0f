"""Which preset a command starts from, where it names a model and may name no preset.

A pretrained model never gets the tiny preset's settings by default: its learning rate is a hundred times too high for
one, its replies are too short, and nothing would say so.
"""

from actre.config.model_names import is_on_hub, is_own, is_smollm2
from actre.config.presets import GPU_GB, PRESETS
from actre.runtime.shapes import shape_of
from actre.types import ActreError

_WARM = "smollm2-cpu"
"""The preset of the shipped warm starts: in its rooms, and with its prompt, they were made."""
PRETRAINED = 20_000_000
"""Parameters from which on a model in a folder counts as pretrained; the tiny policies have one or two million."""


def preset_name(named: str | None, model: str | None) -> str:
    """The preset's name: the one given, else the only one that is for this model, else tiny.

    Raises ActreError for a pretrained model that no preset, or several, are for, with the presets to choose from.

    >>> preset_name(None, None), preset_name(None, "tiny/narrow"), preset_name(None, "Qwen/Qwen2.5-0.5B-Instruct")
    ('tiny', 'tiny', 'qwen-0.5b-16gb')
    """
    if named is not None or model is None:
        return named or "tiny"
    own = [name for name, config in PRESETS.items() if config.model.name == model]
    if is_smollm2(model) and not own:
        return _WARM
    if is_own(model) or not _is_pretrained(model) or len(own) == 1:
        return next(iter(own), "tiny")
    sizes = ", ".join(f"{name} ({gb} GB)" for name, gb in GPU_GB.items() if name in own or not own)
    if own:
        raise ActreError(
            f"{model} has several presets, which differ in hours and memory: choose one, for a GPU of so many GB: "
            f"{sizes}. Its price: actre doctor --preset NAME"
        )
    raise ActreError(
        f"{model} needs a preset: games, prompt, reply length and learning rate depend on it, and those of tiny do not "
        f"fit a pretrained model. For a GPU of so many GB: {sizes}. Example: --preset qwen-0.5b-16gb --model {model}"
    )


def _is_pretrained(model: str) -> bool:
    if is_own(model):
        return False
    if is_on_hub(model):
        return True
    try:
        return shape_of(model).parameters >= PRETRAINED
    except ActreError:  # no folder, or no model in it: loading it says which
        return False
