"""Sizes of models, from which estimate.py computes memory and time: known ones by name, others from config.json."""

import json
from typing import NamedTuple

from actre.config import data_folder
from actre.config.model_names import folder_of, is_smollm2
from actre.config.tiny_names import is_tiny, whole_name
from actre.types import ActreError


class Shape(NamedTuple):
    """Sizes of a Llama-like model. tied: the output layer shares the embedding's weights."""

    layers: int
    hidden: int
    intermediate: int
    heads: int
    kv_heads: int
    head_dim: int
    vocabulary: int
    tied: bool

    @property
    def linear(self) -> int:
        """Parameters of all layers' matrices."""
        q, kv = self.heads * self.head_dim, self.kv_heads * self.head_dim
        return self.layers * (self.hidden * (2 * q + 2 * kv) + 3 * self.hidden * self.intermediate)

    @property
    def parameters(self) -> int:
        """All parameters except those of norms."""
        return self.linear + self.vocabulary * self.hidden * (1 if self.tied else 2)

    def adapter(self, rank: int) -> int:
        """Parameters of a LoRA adapter on every matrix of the layers."""
        q, kv = self.heads * self.head_dim, self.kv_heads * self.head_dim
        sides = 2 * (self.hidden + q) + 2 * (self.hidden + kv) + 3 * (self.hidden + self.intermediate)
        return self.layers * rank * sides


SHAPES = {
    "smollm2": Shape(30, 576, 1536, 9, 3, 64, 49152, True),
    "Qwen/Qwen2.5-0.5B-Instruct": Shape(24, 896, 4864, 14, 2, 64, 151936, True),
    "Qwen/Qwen2.5-1.5B-Instruct": Shape(28, 1536, 8960, 12, 2, 128, 151936, True),
    "Qwen/Qwen2.5-3B-Instruct": Shape(36, 2048, 11008, 16, 2, 128, 151936, True),
    "Qwen/Qwen2.5-7B-Instruct": Shape(28, 3584, 18944, 28, 4, 128, 152064, False),
}
"""From the models' config.json. For a folder, its own config.json is read."""


def shape_of(name: str) -> Shape:
    """The sizes of a model by its name or folder. Raises ActreError if they are unknown."""
    if name in SHAPES or is_smollm2(name):
        return SHAPES["smollm2" if is_smollm2(name) else name]
    folder = data_folder() / whole_name(name) if is_tiny(name) else folder_of(name)
    try:
        raw = json.loads((folder / "config.json").read_text())
        heads = raw["num_attention_heads"]
        return Shape(
            raw["num_hidden_layers"],
            raw["hidden_size"],
            raw["intermediate_size"],
            heads,
            raw.get("num_key_value_heads") or heads,
            raw.get("head_dim") or raw["hidden_size"] // heads,
            raw["vocab_size"],
            bool(raw.get("tie_word_embeddings", False)),
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ActreError(
            f"the sizes of {name!r} are unknown, so nothing can be estimated: give the model's folder "
            f"(hf download {name}), or one of {', '.join(SHAPES)}"
        ) from error
