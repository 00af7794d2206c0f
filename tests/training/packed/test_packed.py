"""Packed rows give transformers' log-probabilities and gradients, with fewer tokens."""

from itertools import pairwise
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM

from actre.training.packed import attention as attentions
from actre.training.packed.layers import Adapted, gated, linear, normed
from actre.training.packed.llama import logps, reason_against
from actre.training.packed.pack import Pack, Packable, common, pack, packables, packed_slices

SIZES: dict[str, Any] = {
    "vocab_size": 50,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
}


def adapted(base: Any, **lora: Any) -> PeftModel:
    torch.manual_seed(0)
    settings = {"r": 4, "lora_alpha": 8, "target_modules": "all-linear", "task_type": "CAUSAL_LM", **lora}
    model = get_peft_model(base, LoraConfig(**settings))
    with torch.no_grad():
        for name, weights in model.named_parameters():
            if "lora_B" in name:
                weights.normal_(std=0.2)
    return model


def llama(**changes: Any) -> PeftModel:
    torch.manual_seed(1)
    return adapted(LlamaForCausalLM(LlamaConfig(**{**SIZES, "initializer_range": 0.2, **changes})))


def qwen() -> PeftModel:
    torch.manual_seed(1)
    base = Qwen2ForCausalLM(Qwen2Config(**SIZES, initializer_range=0.2))
    with torch.no_grad():
        for layer in base.model.layers:
            layer.self_attn.q_proj.bias.normal_()
    return adapted(base)


def rows_of_groups(lengths: list[tuple[int, int]], per_group: int = 2) -> tuple[torch.Tensor, list[int], torch.Tensor]:
    """For each (prompt, reply) length a group of rows with one prompt and replies of different lengths."""
    generator = torch.Generator().manual_seed(3)
    rows, trained = [], []
    for prompt, reply in lengths:
        start = torch.randint(50, (prompt,), generator=generator)
        for i in range(per_group):
            rows.append(torch.cat([start, torch.randint(50, (reply + 3 * i,), generator=generator)]))
            mask = torch.zeros(len(rows[-1]), dtype=torch.bool)
            mask[prompt:] = torch.rand(len(mask) - prompt, generator=generator) < 0.6
            trained.append(mask)
    ids = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
    return ids, [len(row) for row in rows], torch.nn.utils.rnn.pad_sequence(trained, batch_first=True)


def packed(ids: torch.Tensor, lengths: list[int], counted: torch.Tensor) -> Pack:
    (families,) = packed_slices(packables(ids, lengths, counted), 10**9)
    return pack(families, ids, counted)


def plainly(model: PeftModel, ids: torch.Tensor, temperature: float) -> tuple[torch.Tensor, torch.Tensor]:
    """(B, T) log-probabilities of each token and entropies, by transformers; 0 in the first column."""
    every = (model(input_ids=ids).logits[:, :-1] / temperature).log_softmax(-1)
    chosen = every.gather(2, ids[:, 1:, None])[..., 0]
    zero = torch.zeros(len(ids), 1)
    return torch.cat([zero, chosen], 1), torch.cat([zero, -(every.exp() * every).sum(-1)], 1)


def gradient(model: PeftModel) -> torch.Tensor:
    parts = [p.grad.flatten() for p in model.parameters() if p.grad is not None]
    model.zero_grad()
    return torch.cat(parts)


@pytest.mark.parametrize("make", [llama, qwen], ids=["llama", "qwen2"])
@pytest.mark.parametrize(("block", "kept"), [(128, 1 << 22), (16, 1 << 22), (16, 0)])
def test_log_probabilities_and_gradients_are_transformers(make, block, kept, monkeypatch):
    monkeypatch.setattr(attentions, "_BLOCK", block)
    monkeypatch.setattr(attentions, "_KEPT", kept)
    model = make()
    ids, lengths, counted = rows_of_groups([(20, 30), (1, 40), (35, 1)])
    whole = packed(ids, lengths, counted)
    weights = torch.randn(len(whole.places), generator=torch.Generator().manual_seed(0))
    found = logps(model, whole, temperature=0.7, products=torch.float32, entropy=True)
    assert found.entropies is not None
    (found.logps + found.entropies).mul(weights).sum().backward()
    mine = gradient(model)
    chosen, entropies = (one.flatten()[whole.places] for one in plainly(model, ids, 0.7))
    (chosen + entropies).mul(weights).sum().backward()
    theirs = gradient(model)
    assert torch.allclose(found.logps, chosen, atol=2e-5)
    assert torch.allclose(found.entropies, entropies, atol=2e-5)
    assert (mine - theirs).norm() <= 1e-5 * theirs.norm()
    assert theirs.norm() > 1.0


def test_layers_computed_twice_have_the_same_gradient_bit_for_bit(monkeypatch):
    model = llama()
    whole = packed(*rows_of_groups([(20, 30)]))
    gradients = []
    for kept in (2_500_000_000, 0):
        monkeypatch.setattr("actre.training.packed.llama._KEPT_BYTES", kept)
        logps(model, whole, temperature=1.0, products=torch.float32).logps.sum().backward()
        gradients.append(gradient(model))
    assert torch.equal(*gradients)


def test_without_the_adapter_it_is_the_base_model():
    model = llama()
    ids, lengths, counted = rows_of_groups([(20, 30)])
    whole = packed(ids, lengths, counted)
    with torch.no_grad(), model.disable_adapter():
        base = logps(model, whole, temperature=1.0, products=torch.float32).logps
        wanted = plainly(model, ids, 1.0)[0].flatten()[whole.places]
    with torch.no_grad():
        on = logps(model, whole, temperature=1.0, products=torch.float32).logps
    assert torch.allclose(base, wanted, atol=2e-5)
    assert (on - base).abs().max() > 0.1


def test_products_in_bfloat16_round_to_its_precision_and_weights_stay_float32():
    model = llama()
    whole = packed(*rows_of_groups([(20, 30)]))
    by = {}
    for products in (torch.float32, torch.bfloat16):
        found = logps(model, whole, temperature=1.0, products=products).logps
        found.sum().backward()
        assert found.dtype == torch.float32
        assert all(p.grad.dtype == torch.float32 for p in model.parameters() if p.grad is not None)
        by[products] = (found.detach(), gradient(model))
    for full, half in zip(by[torch.float32], by[torch.bfloat16], strict=True):
        assert 1e-4 < (half - full).norm() / full.norm() < 5e-2


@given(
    lengths=st.lists(st.tuples(st.integers(1, 8), st.integers(1, 9)), min_size=1, max_size=5),
    most=st.integers(1, 60),
    per_group=st.integers(1, 4),
)
@settings(max_examples=60, deadline=None)
def test_slices_hold_each_row_once_within_the_bound_and_each_token_sees_its_own_row(lengths, most, per_group):
    ids, sizes, counted = rows_of_groups(lengths, per_group)
    rows = packables(ids, sizes, counted)
    slices = packed_slices(rows, most)
    assert sorted(row for one in slices for family in one for row in family.rows) == list(range(len(rows)))
    for families in slices:
        assert sum(f.tokens for f in families) <= most or sum(len(f.rows) for f in families) == 1
        for family in families:
            beginnings = {rows[i].ids[: family.shared] for i in family.rows}
            assert len(beginnings) == 1
            assert all(family.shared <= rows[i].first for i in family.rows)
        whole = pack(families, ids, counted)
        assert len(whole.ids) == len(whole.positions) == whole.parts[-1].stop <= sum(f.tokens for f in families)
        seen = dict(zip(whole.places.tolist(), whole.predicts.tolist(), strict=True))
        for family in families:
            for row in family.rows:
                for column in counted[row].nonzero().flatten().tolist():
                    at = seen[row * ids.shape[1] + column]
                    assert context(whole, at)[:column] == ids[row, :column].tolist()


def context(whole: Pack, at: int) -> list[int]:
    """The tokens that the packed token number `at` sees, its own included."""
    part = next(p for p in whole.parts if p.start <= at < p.stop)
    seen = [*range(*part.before), *range(part.start, at + 1)]
    assert whole.positions[seen].tolist() == list(range(len(seen)))
    return whole.ids[seen].tolist()


def test_rows_of_a_group_follow_one_another_and_their_prompt_is_computed_once():
    prompt = tuple(range(20))
    rows = [Packable((*prompt, *[30 + i] * 5), 20) for i in range(3)]
    other = [Packable((99, *prompt, 7), 21), Packable((99, *prompt, 8, 9), 21)]
    mixed = [rows[0], other[0], rows[1], other[1], rows[2]]
    (families,) = packed_slices(mixed, 1000)
    assert [(f.rows, f.shared, f.tokens) for f in families] == [([0, 2, 4], 20, 35), ([1, 3], 21, 24)]
    assert sum(f.tokens for f in families) < sum(len(row.ids) for row in mixed)


def test_a_row_that_agrees_less_joins_only_where_that_saves_tokens():
    many = [Packable((*range(10), 50 + i), 10) for i in range(4)]
    stranger = Packable((*range(3), *[80] * 8), 10)
    (families,) = packed_slices([*many, stranger], 1000)
    assert [(f.rows, f.shared) for f in families] == [([0, 1, 2, 3], 10), ([4], 10)]


def test_common_beginnings_end_at_the_first_difference_or_the_bound():
    for a, b in pairwise([(1, 2, 3), (1, 2, 4, 5), (1, 2, 4, 5, 6), ()]):
        agree = [x == y for x, y in zip(a, b, strict=False)]
        assert common(a, b, 9) == (agree.index(False) if False in agree else len(agree))
    assert common((1, 2, 3), (1, 2, 3), 2) == 2


def test_each_operation_has_the_gradient_of_its_definition():
    generator = torch.Generator().manual_seed(0)

    def some(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64, requires_grad=True)

    x, weight, down, up = some(5, 4), some(6, 4).detach(), some(2, 4), some(6, 2)

    def by_layer(x: torch.Tensor, down: torch.Tensor, up: torch.Tensor) -> torch.Tensor:
        pair = [Adapted(weight, None, down, up, 0.5), Adapted(weight[:3], torch.ones(3).double(), None, None, 0.0)]
        return linear(x, pair, torch.float32)

    assert torch.allclose(by_layer(x, down, up)[:, :6], x @ (weight + 0.5 * up @ down).T)
    assert torch.autograd.gradcheck(by_layer, (x, down, up))
    assert torch.autograd.gradcheck(lambda x: normed(x, weight[0], 1e-5), (x,))
    assert torch.autograd.gradcheck(gated, (x,))


def test_products_in_bfloat16_keep_the_effect_of_a_small_adapter_and_the_gradients_of_the_definition():
    generator = torch.Generator().manual_seed(0)

    def some(*shape: int, scale: float = 1.0) -> torch.Tensor:
        return torch.randn(shape, generator=generator) * scale

    x, weights, biases = some(50, 64), [some(48, 64), some(24, 64), some(16, 64)], [some(48), None, None]
    trained = [some(4, 64), some(48, 4, scale=1e-4), some(2, 64), some(24, 2)]
    found = {}
    for products in (torch.float32, torch.bfloat16):
        inputs, *own = (tensor.clone().requires_grad_() for tensor in (x, *trained))
        pairs = [(own[0], own[1], 0.5), (own[2], own[3], 2.0), (None, None, 0.0)]
        layers = [Adapted(w, b, *pair) for w, b, pair in zip(weights, biases, pairs, strict=True)]
        off = [Adapted(w, b, None, None, 0.0) for w, b in zip(weights, biases, strict=True)]
        y = linear(inputs, layers, products)
        assert y.dtype == torch.float32
        (y**2).sum().backward()
        effect = (y - linear(inputs, off, products)).detach()
        found[products] = [effect[:, :48], effect[:, 48:72], inputs.grad, *(tensor.grad for tensor in own)]
        assert torch.equal(effect[:, 72:], torch.zeros(50, 16))
    for full, half in zip(*found.values(), strict=True):
        assert 1e-4 < (half - full).norm() / full.norm() < 2e-2


@pytest.mark.parametrize(
    ("model", "why"),
    [
        (lambda: llama(), None),
        (qwen, None),
        (lambda: adapted(GPT2LMHeadModel(GPT2Config(n_layer=1, n_embd=8, n_head=2, vocab_size=9))), "GPT2"),
        (lambda: llama().to(torch.bfloat16), "float32"),
        (lambda: llama(hidden_act="gelu"), "gelu"),
        (lambda: adapted(LlamaForCausalLM(LlamaConfig(**SIZES)), lora_dropout=0.1), "dropout"),
        (lambda: adapted(LlamaForCausalLM(LlamaConfig(**SIZES)), use_dora=True), "adapter"),
        (lambda: adapted(LlamaForCausalLM(LlamaConfig(**SIZES)), modules_to_save=["lm_head"]), "trained"),
    ],
)
def test_a_model_that_it_does_not_compute_is_left_to_transformers(model, why):
    found = reason_against(model())
    assert found is None if why is None else why in str(found), found
