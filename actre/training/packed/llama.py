"""A Llama's forward pass over packed rows, up to the log-probabilities of trained tokens; and which models it takes."""

from typing import Any, NamedTuple

import torch
from peft import PeftModel
from peft.tuners.lora import LoraLayer
from peft.tuners.lora.layer import Linear as LoraLinear
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from actre.policies.llama.weights import outside_family
from actre.runtime import ranks
from actre.training.packed.attention import Heads, attention
from actre.training.packed.layers import Adapted, gated, linear, normed
from actre.training.packed.pack import Pack

_KEPT_BYTES = 2_500_000_000
"""Activations of a slice that are kept for its backward pass. Those of further layers are computed twice."""


class Logps(NamedTuple):
    """Of the trained tokens (M,), in nats: log-probability, and entropy where it was asked for."""

    logps: Tensor
    entropies: Tensor | None


def reason_against(model: Any) -> str | None:
    """Why a model in training uses transformers' forward pass; None: this file's."""
    base: Any = model.get_base_model() if isinstance(model, PeftModel) else model
    if foreign := outside_family(base):
        return foreign
    if {p.device.type for p in model.parameters()} != {"cpu"}:
        return "it is on a GPU"
    if ranks.count() > 1:
        return "several processes train it"
    if {p.dtype for p in model.parameters()} != {torch.float32}:
        return "its weights are not float32"
    if base.config.attention_dropout:
        return "its attention has dropout"
    if getattr(base.config, "use_sliding_window", False):
        return "its attention has a window"
    return next((why for module in base.modules() if (why := _against(module))), None)


def _against(module: Any) -> str | None:
    if isinstance(module, LoraLayer):
        plain = type(module) is LoraLinear and type(module.base_layer) is nn.Linear
        if not plain or any(module.lora_variant.values()) or any(module.lora_bias.values()):
            return f"an adapter of type {type(module).__name__}"
        if len(module.active_adapters) != 1 or any(type(p) is not nn.Identity for p in module.lora_dropout.values()):
            return "several adapters, or LoRA dropout"
        return "its base is trained" if module.base_layer.weight.requires_grad else None
    if type(module).__module__.startswith("peft."):
        return f"{type(module).__name__} is trained, or changes what is computed"
    frozen = not any(p is not None and p.requires_grad for p in module._parameters.values())
    is_lora = type(module) is nn.Linear and module.weight.requires_grad  # LoRA's own matrices
    return None if frozen or is_lora else f"{type(module).__name__} is trained"


def logps(model: PeftModel, pack: Pack, *, temperature: float, products: torch.dtype, entropy: bool = False) -> Logps:
    """Log-probabilities of the packed rows' trained tokens at a temperature, as the model is now: adapter on or off.

    products: the type of the layers' products; attention, the head, sums and everything else are float32.
    """
    base: Any = model.get_base_model()
    # several rows may predict their first token from their common beginning's last
    asking, where = torch.unique(pack.predicts, return_inverse=True)
    final = _hidden(base, pack, asking, products)
    head = _adapted(base.get_output_embeddings())
    logits = linear(final.index_select(0, where), [head], torch.float32)
    if temperature != 1.0:
        logits = logits / temperature
    total = torch.logsumexp(logits, 1)
    chosen = logits.gather(1, pack.targets[:, None])[:, 0]
    entropies = total - (torch.softmax(logits, 1) * logits).sum(1) if entropy else None
    return Logps(chosen - total, entropies)


def _hidden(base: Any, pack: Pack, asking: Tensor, products: torch.dtype) -> Tensor:
    """(Q, width): the last norm's output for the packed tokens `asking` (Q,). The last layer computes the others' keys
    and values only: nothing else of them is seen.
    """
    config, body = base.config, base.model
    size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    heads = Heads(config.num_attention_heads, config.num_key_value_heads, size)
    x = body.embed_tokens(pack.ids)
    cos, sin = (angles[0] for angles in body.rotary_emb(x, pack.positions[None]))

    def through(block: Any, x: Tensor, some: Tensor | None) -> Tensor:
        mixer, mlp, eps = block.self_attn, block.mlp, config.rms_norm_eps
        h = normed(x, block.input_layernorm.weight, eps)
        qkv = linear(h, [_adapted(one) for one in (mixer.q_proj, mixer.k_proj, mixer.v_proj)], products)
        seen = attention(qkv, cos, sin, pack.parts, heads, some)
        x = x if some is None else x.index_select(0, some)
        x = x + linear(seen, [_adapted(mixer.o_proj)], products)
        h = normed(x, block.post_attention_layernorm.weight, eps)
        both = linear(h, [_adapted(mlp.gate_proj), _adapted(mlp.up_proj)], products)
        return x + linear(gated(both), [_adapted(mlp.down_proj)], products)

    kept = _layers_kept(config, heads, len(pack.ids))
    for number, block in enumerate(body.layers, 1):
        some = asking if number == len(body.layers) else None
        if number <= kept or not torch.is_grad_enabled():
            x = through(block, x, some)
        else:
            x = checkpoint(through, block, x, some, use_reentrant=False)
    return normed(x, body.norm.weight, config.rms_norm_eps)


def _layers_kept(config: Any, heads: Heads, tokens: int) -> int:
    """How many layers' activations are kept for the backward pass."""
    numbers = 5 * config.hidden_size + 3 * config.intermediate_size + 2 * (2 * heads.heads + 2 * heads.kv) * heads.size
    return int(_KEPT_BYTES // (4 * tokens * numbers))


def _adapted(module: Any) -> Adapted:
    """A linear layer of the model as it computes now."""
    if not isinstance(module, LoraLayer):
        return Adapted(module.weight, module.bias, None, None, 0.0)
    layer: Any = module
    base = layer.base_layer
    if layer.disable_adapters or layer.merged:
        return Adapted(base.weight, base.bias, None, None, 0.0)
    (name,) = layer.active_adapters
    down, up = layer.lora_A[name].weight, layer.lora_B[name].weight
    return Adapted(base.weight, base.bias, down, up, float(layer.scaling[name]))
