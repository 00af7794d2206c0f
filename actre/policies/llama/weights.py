"""The weights of a transformers Llama or Qwen2 as plain tensors, and which models cannot be read so.

The weights of a small model are copied: adapters merged, products with the same input joined, and the norms' gains, the
scale of attention and the order of rotary pairs folded into them. Those of a larger model are used in place, with
adapters beside them, so that no memory is needed.
"""

from collections.abc import Iterable
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from peft import PeftModel
from peft.tuners.lora import LoraLayer
from peft.tuners.lora.layer import Linear as LoraLinear
from torch import Tensor, nn
from transformers import LlamaForCausalLM, Qwen2ForCausalLM

from actre.runtime import ranks

FAMILY = (LlamaForCausalLM, Qwen2ForCausalLM)
_FIXED_ROTARY = ("default", "linear", "llama3", "yarn")  # others change their angles with the length


class Product(NamedTuple):
    """x @ weight.T + bias, plus x @ down.T @ up.T of each adapter. x is cast to the weight's type, the result back."""

    weight: Tensor  # (out, in)
    bias: Tensor | None = None
    adapters: tuple[tuple[Tensor, Tensor], ...] = ()  # (rank, in), (out, rank) with the scaling

    def __call__(self, x: Tensor) -> Tensor:
        if self.weight.dtype == x.dtype:
            result = F.linear(x, self.weight, self.bias)
        else:
            result = F.linear(x.to(self.weight.dtype), self.weight).to(x.dtype)
            result = result if self.bias is None else result.add_(self.bias)
        for down, up in self.adapters:
            result = torch.addmm(result, x @ down.T, up.T)
        return result

    def added_to(self, total: Tensor, x: Tensor) -> Tensor:
        """total + product, in one operation where there is nothing else to add."""
        if self.bias is None and not self.adapters and self.weight.dtype == x.dtype:
            return torch.addmm(total, x, self.weight.T)
        return total + self(x)


class Layer(NamedTuple):
    """One block. Joined products are one product whose outputs follow one another. Gains are None if folded."""

    gain: Tensor | None  # (width,)
    qkv: tuple[Product, ...]
    out: Product
    mlp_gain: Tensor | None
    gate_up: tuple[Product, ...]
    down: Product


class Weights(NamedTuple):
    """A model. The norm of x is x / hypot(|x|, floor) * gain."""

    embedding: Tensor  # (V, width)
    layers: tuple[Layer, ...]
    gain: Tensor | None
    head: Product
    floor: Tensor  # ()
    heads: int
    kv_heads: int
    head_size: int
    scale: float
    """Still to multiply with queries."""
    paired: bool
    """The two numbers of a rotary pair follow one another in queries and keys."""
    rotary: Any


def outside_family(base: Any) -> str | None:
    """Why a model does not compute what a Llama or Qwen2 does; None: it does."""
    if type(base) not in FAMILY:
        return f"{type(base).__name__} is neither Llama nor Qwen2"
    activation, rotary = base.config.hidden_act, base.config.rope_parameters["rope_type"]
    if activation != "silu" or rotary not in _FIXED_ROTARY:
        return f"activation {activation}, rotary positions {rotary}"
    return None


def reason_against(model: Any) -> str | None:
    """Why this model has to run through its own modules; None: it can be read."""
    base: Any = model.get_base_model() if isinstance(model, PeftModel) else model
    if foreign := outside_family(base):
        return foreign
    if model.device.type != "cpu":
        return "on a GPU the modules are as fast"
    if ranks.cuts_weights():
        return "the weights are sharded"
    if len({p.dtype for layer in base.modules() for p in layer._parameters.values() if p is not None}) > 1 or (
        base.dtype not in (torch.float32, torch.bfloat16)
    ):
        return f"{base.dtype}, or several types"
    others = {type(module) for module in _products(base)} - {nn.Linear, LoraLinear}
    if others or type(base.model.embed_tokens) is not nn.Embedding:
        return "quantised or replaced layers"
    return next((why for module in base.modules() if (why := _against(module))), None)


def _products(base: Any) -> list[Any]:
    """The modules whose weights are read as products."""
    found = [base.lm_head]
    for block in base.model.layers:
        attention, mlp = block.self_attn, block.mlp
        found += [attention.q_proj, attention.k_proj, attention.v_proj, attention.o_proj]
        found += [mlp.gate_proj, mlp.up_proj, mlp.down_proj]
    return found


def _against(module: Any) -> str | None:
    if module._forward_hooks or module._forward_pre_hooks or "forward" in vars(module):
        return "a hook sees or changes its activations"
    if isinstance(module, LoraLayer):
        if type(module) is not LoraLinear or type(module.base_layer) is not nn.Linear or module.fan_in_fan_out:
            return f"an adapter of type {type(module).__name__}"
        if any(getattr(module, "lora_variant", {}).values()) or any(module.lora_bias.values()):
            return "a variant of LoRA"
    elif isinstance(module, nn.Module) and type(module).__module__.startswith("peft."):
        return f"an adapter of type {type(module).__name__}"
    return None


def read_weights(model: Any, *, small: bool, products: torch.dtype | None = None) -> Weights:
    """The weights of a model without a `reason_against`; small: copied and joined, adapters merged.

    products: the type of the layers' products. Their weights are copied in it, with adapters beside them in their own,
    as in the packed forward pass (training/packed/layers.py), whose rounding it then has; the head keeps its type.
    """
    base: Any = model.get_base_model() if isinstance(model, PeftModel) else model
    config, body = base.config, base.model
    width = config.hidden_size
    size = getattr(config, "head_dim", None) or width // config.num_attention_heads
    small = small and products is None
    read = _merged if small else _in_place
    layers = []
    for block in body.layers:
        attention, mlp = block.self_attn, block.mlp
        gain = block.input_layernorm.weight * width**0.5
        mlp_gain = block.post_attention_layernorm.weight * width**0.5
        q, k, v = (read(module) for module in (attention.q_proj, attention.k_proj, attention.v_proj))
        gate, up = read(mlp.gate_proj), read(mlp.up_proj)
        layer = Layer(gain, (q, k, v), read(attention.o_proj), mlp_gain, (gate, up), read(mlp.down_proj))
        if small:
            q = _scaled(_in_pairs(q, size), size**-0.5)
            qkv = _joined((q, _in_pairs(k, size), v), gain)
            layer = layer._replace(gain=None, qkv=(qkv,), mlp_gain=None, gate_up=(_joined((gate, up), mlp_gain),))
        layers.append(layer if products is None else _in_type(layer, products))
    head, last = read(base.lm_head), body.norm.weight * width**0.5
    return Weights(
        embedding=body.embed_tokens.weight.detach().clone() if small else body.embed_tokens.weight.detach(),
        layers=tuple(layers),
        gain=None if small else last,
        head=_joined((head,), last) if small else head,
        floor=torch.tensor((width * body.norm.variance_epsilon) ** 0.5),
        heads=config.num_attention_heads,
        kv_heads=config.num_key_value_heads,
        head_size=size,
        scale=1.0 if small else size**-0.5,
        paired=small,
        rotary=body.rotary_emb,
    )


def _in_place(module: Any) -> Product:
    """A linear layer's own tensors, and its active adapters."""
    linear: Any = module.base_layer if isinstance(module, LoraLinear) else module
    bias = None if linear.bias is None else linear.bias.detach()
    return Product(linear.weight.detach(), bias, tuple(_adapters(module)))


def _adapters(module: Any) -> Iterable[tuple[Tensor, Tensor]]:
    if not isinstance(module, LoraLinear) or module.disable_adapters or module.merged:
        return
    for name in module.active_adapters:
        if name in module.lora_A:
            down, up = (getattr(module, half)[name].weight.detach() for half in ("lora_A", "lora_B"))
            yield down, up * module.scaling[name]


def _merged(module: Any) -> Product:
    """A linear layer with its adapters added to its weight, which is then a copy."""
    product = _in_place(module)
    weight = product.weight
    for down, up in product.adapters:
        weight = weight + up @ down
    return Product(weight, product.bias)


def _joined(products: tuple[Product, ...], gain: Tensor) -> Product:
    """One product with the outputs of all; the gain of its input folded in."""
    weight = torch.cat([product.weight for product in products]) * gain
    if all(product.bias is None for product in products):
        return Product(weight)
    biases = [p.weight.new_zeros(len(p.weight)) if p.bias is None else p.bias for p in products]
    return Product(weight, torch.cat(biases))


def _in_type(layer: Layer, dtype: torch.dtype) -> Layer:
    """The layer with weights in that type."""
    qkv, gate_up = (tuple(_cast(one, dtype) for one in several) for several in (layer.qkv, layer.gate_up))
    return layer._replace(qkv=qkv, out=_cast(layer.out, dtype), gate_up=gate_up, down=_cast(layer.down, dtype))


def _cast(product: Product, dtype: torch.dtype) -> Product:
    return product._replace(weight=product.weight.to(dtype))


def _scaled(product: Product, factor: float) -> Product:
    return Product(product.weight * factor, None if product.bias is None else product.bias * factor)


def _in_pairs(product: Product, size: int) -> Product:
    """The outputs of each head reordered from 0, 1, ..., size - 1 to 0, size / 2, 1, size / 2 + 1, ..."""
    order = torch.arange(size).view(2, -1).T.flatten()
    rows = (torch.arange(0, len(product.weight), size)[:, None] + order).flatten()
    return Product(product.weight[rows], None if product.bias is None else product.bias[rows])
