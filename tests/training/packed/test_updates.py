"""An update through packed rows is the update through transformers."""

import dataclasses
from typing import Any

import pytest
import torch
import toy_training as toy

from actre.policies.llama.weights import reason_against
from actre.training import trl_settings
from actre.training.packed.padded import is_packed
from actre.training.run import run
from actre.types import ActreError, read_jsonl


def updated(folder: Any, forward: str, updates: int, **player: Any) -> tuple[torch.Tensor, list[dict[str, Any]]]:
    """The trained weights after that many updates on the same episodes, and the lines of metrics."""
    config = toy.config(forward=forward, learning_rate=1e-3)
    config = dataclasses.replace(config, stages=(dataclasses.replace(config.stages[0], iterations=updates),))
    played: list[Any] = []
    made = toy.trainer(folder, config)
    play = made._play
    # the episodes of the first policy for both, so that no sample differs by rounding
    made._play = lambda plan: played or played.extend(play(plan)) or played
    run(made)
    weights = [p.detach().flatten() for p in made.policy_model.parameters() if p.requires_grad]
    return torch.cat(weights), list(read_jsonl(folder / "metrics.jsonl"))


@pytest.mark.parametrize(("updates", "most"), [(1, 1e-5), (3, 1e-4)])
def test_weights_and_metrics_are_those_of_transformers(tmp_path, updates, most):
    (mine, my_lines), (theirs, their_lines) = (
        updated(tmp_path / forward, forward, updates) for forward in ("auto", "transformers")
    )
    assert (mine - theirs).norm() <= most * theirs.norm()
    assert len(my_lines) == updates
    for my, their in zip(my_lines, their_lines, strict=True):
        for name in ("loss", "grad_norm", "kl_nats", "clip_rate", "adapter_shift_nats"):
            assert my[name] == pytest.approx(their[name], rel=1e-3, abs=1e-6), name
        assert my["engine_gap_nats"] < 1e-4


def test_products_in_bfloat16_are_refused_where_rows_are_not_packed():
    with pytest.raises(ActreError, match=r"optim\.products=bfloat16 needs the packed forward pass"):
        is_packed(toy.config(forward="transformers", products="bfloat16"), toy.model())
    assert is_packed(toy.config(products="bfloat16"), toy.model())


def test_a_large_model_that_trains_through_packed_rows_samples_from_its_plain_weights(tmp_path, monkeypatch):
    """transformers' gradient checkpointing hooks the embeddings, and a model with hooks runs through its modules."""
    monkeypatch.setattr(trl_settings, "_is_large", lambda model: True)
    made = toy.trainer(tmp_path / "packed", toy.config())
    assert reason_against(made.policy_model) is None
    assert not made.args.gradient_checkpointing
    other = toy.trainer(tmp_path / "transformers", toy.config(forward="transformers"))
    assert other.args.gradient_checkpointing
    assert "hook" in reason_against(other.policy_model)
