"""Each estimator's loss equals its paper's equation, worked by hand; and what a recipe sets cannot be changed."""

import math
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
import toy_training as toy

from actre.config import RunConfig, config_from_dict
from actre.config.estimators import ESTIMATORS
from actre.config.overrides import changed
from actre.config.presets import preset
from actre.config.recipes import with_estimator
from actre.training import StagedTrainer, terms
from actre.training.batch import batch_of
from actre.training.rows import Row
from actre.training.tokens import covariances, drawn, focus, largest, weighed
from actre.types import ActreError

CPU = torch.device("cpu")
# Two episodes of one row each. The first is won: advantage 1, two tokens with the ratios 1.1 and 1.5. The second is
# lost: advantage -1, four tokens with the ratios 1, 1, 0.9 and 0.5. The base model is twice as sure of the won tokens.
ADVANTAGES = torch.tensor([[1.0], [-1.0]])
RATIOS = [[1.1, 1.5], [1.0, 1.0, 0.9, 0.5]]
GAPS = [[math.log(2)] * 2, [0.0] * 4]
LONGEST = 10
# min(rho A, clip(rho) A), clipped at 0.8 and 1.28: 1.1 + 1.28 and -1 - 1 - 0.9 - 0.8
BY_TOKEN = -(2.38 - 3.7) / 6
KL = 2 - math.log(2) - 1

EQUATIONS = {
    "grpo": BY_TOKEN,
    # (1.1 + 1.2) / 2 and -3.7 / 4, their mean; 0.04 times the mean of KL and 0
    "grpo_published": -(1.15 - 0.925) / 2 + 0.04 * (KL + 0) / 2,
    "grpo_no_std": BY_TOKEN,
    # the sum over tokens, divided by 2 episodes of at most 10 tokens
    "dr_grpo": -(2.3 - 3.7) / (2 * LONGEST),
    "rloo": BY_TOKEN,
    # s = sqrt(1.1 * 1.5) = 1.285, clipped to 1.0004; s = (0.9 * 0.5) ** (1/4) = 0.819, clipped to 0.9997
    "gspo": -(1.0004 - 0.9997) / 2,
    "gigpo": BY_TOKEN,
    "gigpo_no_std": BY_TOKEN,
    "gigpo_published": BY_TOKEN,
    "hgpo": BY_TOKEN,
    "epo": BY_TOKEN,  # and two terms of entropies, below
    # unclipped: 1.1 + 1.5 and -1 - 1 - 0.9 - 0.5; 0.1 |log 1.5| on the one marked token
    "kl_cov": -(2.6 - 3.4) / 6 + 0.1 * math.log(1.5) / 6,
    # the first token is drawn and has no loss; clipped at 1.2
    "clip_cov": -(1.2 - 3.7) / 6,
    # 0.1 on the first token, 1.5 on the second; 0.1, 0.1, 1.2, 1.2
    "actfocus": -(0.11 + 1.5 * 1.28 - 0.2 - 1.2 * 1.7) / 6,
}


def toy_of(name: str, out: Path) -> StagedTrainer:
    return toy.trainer(out, with_estimator(toy.config(updates_per_batch=2), name))


def a_batch(trainer: StagedTrainer, rows: list[Row]) -> dict[str, torch.Tensor]:
    """The rows' batch, with old and base log-probabilities that make the ratios and gaps above."""
    optim = trainer.config.optim
    groups = torch.tensor([0, 0])
    batch = batch_of(rows, ADVANTAGES, groups, optim, pad_id=0, device=CPU, longest=LONGEST)
    now, on = trainer._batch_logps(batch), batch["tool_mask"].bool()
    batch["old_per_token_logps"] = now.masked_scatter(on, now[on] - torch.tensor([*RATIOS[0], *RATIOS[1]]).log())
    if optim.kl_beta:
        batch["ref_per_token_logps"] = now.masked_scatter(on, now[on] + torch.tensor([*GAPS[0], *GAPS[1]]))
    trainer.current_gradient_accumulation_steps = 1
    return batch


def rows_of(name: str) -> list[Row]:
    one = Row((2, 3, 7, 8, 9), (False, False, False, True, True), (0.0,) * 5, 0)
    other = Row((4, 2, 5, 7, 8, 9, 10), (False,) * 3 + (True,) * 4, (0.0,) * 7, 1)
    if name == "kl_cov":
        return [replace(one, marks=(False,) * 4 + (True,)), replace(other, marks=(False,) * 7)]
    if name == "clip_cov":
        return [replace(one, factors=(1, 1, 1, 0, 1)), other]
    if name == "actfocus":
        return [replace(one, factors=(0, 0, 0, 0.1, 1.5)), replace(other, factors=(0, 0, 0, 0.1, 0.1, 1.2, 1.2))]
    return [one, other]


def test_every_estimator_of_the_table_has_its_equation_here() -> None:
    assert set(EQUATIONS) == set(ESTIMATORS)
    for row in ESTIMATORS.values():
        assert row.about
        assert row.source


@pytest.mark.parametrize("name", ESTIMATORS)
def test_the_loss_of_a_recipe_is_its_equation(tmp_path: Path, name: str) -> None:
    trainer = toy_of(name, tmp_path)
    batch = a_batch(trainer, rows_of(name))
    wanted = EQUATIONS[name]
    if name == "epo":
        entropies = token_entropies(trainer, batch)
        trainer.past_entropy, trainer.iteration_now = entropies.mean().item() / 4, 1
        beyond = (entropies - 2 * trainer.past_entropy).clamp(min=0)  # kl is 0: no entropy is below 0
        wanted += (-0.001 * (entropies - 2 * 0.1 * beyond)).mean().item()  # beta_0 = 1 + exp(0) = 2
        assert beyond.min() > 0
    loss = trainer.compute_loss(trainer.policy_model.train(), batch)
    assert loss.item() == pytest.approx(wanted, abs=2e-6)


def token_entropies(trainer: StagedTrainer, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    ids = torch.cat([batch["prompt_ids"], batch["completion_ids"]], dim=1)
    logps = trainer.policy_model(input_ids=ids).logits[:, :-1].log_softmax(-1)
    entropies = -(logps.exp() * logps).sum(-1)[:, batch["prompt_ids"].shape[1] - 1 :]
    return entropies[batch["tool_mask"].bool()]


def test_epos_penalty_has_a_gradient_and_none_before_there_is_a_past(tmp_path: Path) -> None:
    trainer = toy_of("epo", tmp_path)
    batch = a_batch(trainer, rows_of("epo"))
    gradients = []
    for past in (None, 1e9, 0.1):
        trainer.past_entropy, trainer.iteration_now = past, 1
        trainer.compute_loss(trainer.policy_model.train(), batch).backward()
        gradients.append(torch.cat([p.grad.flatten() for p in trainer.policy_model.parameters() if p.grad is not None]))
        trainer.policy_model.zero_grad()
    assert torch.equal(gradients[0], gradients[1]), "within the band nothing is added"
    assert not torch.allclose(gradients[0], gradients[2], rtol=0, atol=1e-6)


@pytest.mark.parametrize("most", [1, 16, 10_000])
@pytest.mark.parametrize("name", ["grpo_published", "dr_grpo", "gspo", "epo", "kl_cov"])
def test_slices_do_not_change_a_recipes_loss(tmp_path: Path, name: str, most: int, monkeypatch) -> None:
    trainer = toy_of(name, tmp_path)
    batch = a_batch(trainer, rows_of(name))
    trainer.past_entropy, trainer.iteration_now = 0.1, 1
    whole = trainer.compute_loss(trainer.policy_model.train(), batch)
    monkeypatch.setattr(trainer, "_prepare_inputs", lambda inputs: inputs)
    trainer._metrics["train"].clear()
    trainer.micro_batches.most = most
    assert trainer.training_step(trainer.policy_model, batch).item() == pytest.approx(whole.item(), abs=1e-6)
    if name == "dr_grpo":  # 1.5 and 0.5 of six tokens, whatever the loss is divided by
        assert trainer._updates[-1]["clip_rate"] == pytest.approx(2 / 6)


def test_the_constant_of_dr_grpo_does_not_depend_on_what_was_played(tmp_path: Path) -> None:
    optim = toy_of("dr_grpo", tmp_path).config.optim
    one, other = rows_of("dr_grpo")
    groups = torch.tensor([0, 0])
    totals = [
        batch_of(rows, ADVANTAGES, groups, optim, pad_id=0, device=CPU, longest=LONGEST)["num_items_in_batch"].item()
        for rows in ([one, other], [one, replace(other, mask=(False,) * 6 + (True,))])
    ]
    assert totals == [20, 20]


def test_trl_warns_of_token_weights_only_where_there_are_some(tmp_path: Path, caplog, monkeypatch) -> None:
    warned: list[str] = []
    monkeypatch.setattr("trl.trainer.grpo_trainer.logger.warning", lambda text, *a, **k: warned.append(text))
    toy_of("gspo", tmp_path / "gspo")
    assert not any("importance_sampling_level" in text for text in warned)
    toy.trainer(tmp_path / "tokens", toy.config(importance_sampling_level="sequence"))
    assert any("importance_sampling_level" in text for text in warned)


# --- the settings of a recipe ---


@pytest.mark.parametrize("name", ESTIMATORS)
def test_a_recipe_sets_its_row_and_nothing_else_and_goes_without_a_trace(name: str) -> None:
    plain = preset("tiny")
    made = changed(plain, [f"optim.advantage={name}"])
    assert made == with_estimator(plain, name)
    assert made == replace(plain, optim=replace(plain.optim, advantage=name, **ESTIMATORS[name].sets))
    assert config_from_dict(asdict(made)) == made
    assert with_estimator(made, "grpo") == plain


@pytest.mark.parametrize("name", [name for name, row in ESTIMATORS.items() if row.sets])
def test_what_a_recipe_sets_cannot_be_changed_in_any_order(name: str) -> None:
    setting, value = next((n, v) for n, v in ESTIMATORS[name].sets.items() if isinstance(v, float))
    other = f"optim.{setting}={value + 0.5 if value < 0.5 else value - 0.25}"
    for assignments in ([f"optim.advantage={name}", other], [other, f"optim.advantage={name}"]):
        with pytest.raises(ActreError, match=f"optim.advantage={name} is a whole recipe, which has {setting}="):
            changed(RunConfig(), assignments)


def test_what_was_called_dr_grpo_is_grpo_without_the_deviation() -> None:
    raw = asdict(preset("tiny"))
    new = {"covariance", "normalise"}
    raw["optim"] = {name: value for name, value in raw["optim"].items() if name not in new} | {"advantage": "dr_grpo"}
    assert config_from_dict(raw).optim.advantage == "grpo_no_std"
    assert config_from_dict(asdict(with_estimator(preset("tiny"), "dr_grpo"))).optim.advantage == "dr_grpo"


def test_kl_cov_with_one_update_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ActreError, match="updates_per_batch=2"):
        toy.trainer(tmp_path, with_estimator(toy.config(), "kl_cov"))


# --- single tokens ---


def test_covariance_by_hand_and_what_is_chosen_by_it() -> None:
    advantages, logps = torch.tensor([2.0, -1.0, -1.0, 0.0]), torch.tensor([-1.0, -5.0, -2.0, 0.0])
    # means 0 and -2: 2 * 1, -1 * -3, -1 * 0, 0 * 2
    cov = covariances(advantages, logps)
    assert cov.tolist() == [2.0, 3.0, 0.0, 0.0]
    assert largest(cov, 2e-4).tolist() == [False, True, False, False], "at least one"
    assert drawn(cov, 1.0, 1.0, 5.0, seed=0).tolist() == [True, True, False, False]
    assert drawn(cov, 2e-4, 1.0, 2.5, seed=0).tolist() == [True, False, False, False]
    assert not drawn(cov, 1.0, 3.5, 5.0, seed=0).any(), "none is between"
    assert len({tuple(drawn(cov, 0.25, 1.0, 5.0, seed=seed).tolist()) for seed in range(20)}) == 2, "drawn by chance"


@pytest.mark.parametrize("name", ["kl_cov", "clip_cov"])
def test_covariance_is_over_the_trained_tokens_of_all_episodes_those_without_signal_included(name: str) -> None:
    # advantages 1, 1, 0, 0 (mean 0.5), log-probabilities -1, -5, -4, -2 (mean -3): 1, -1, 0.5, -0.5
    rows = [
        Row((1, 2, 3), (False, True, True), (0.0, -1.0, -5.0), 0),
        Row((1, 2, 3), (False, True, True), (0.0, -4.0, -2.0), 1),
    ]
    optim = with_estimator(toy.config(), name).optim
    optim = replace(optim, advantage="grpo", cov_low=0.75, cov_high=2.0, cov_share=0.25)
    advantages = torch.tensor([[1.0], [0.0]])
    found = weighed(rows, [], advantages, optim, decode=str, energies=lambda rows: [], seed=0)
    if name == "kl_cov":
        assert [row.marks for row in found] == [(False, True, False), (False, False, False)]
    else:
        assert found[0].spread(advantages[0]).tolist() == [1.0, 0.0, 1.0]
        assert found[1].spread(torch.tensor([2.0])).tolist() == [2.0, 2.0, 2.0]


def test_focus_by_hand() -> None:
    row = Row((1, 2, 3, 4), (False, True, True, True), (0.0,) * 4, 0)
    # energies 1 and 3 of the two trained action tokens: mean 2, std sqrt(2); the first token is not trained
    (found,) = focus([row], [torch.tensor([True, False, True, True])], [torch.tensor([2.0, 99, 1, 3])], 0.1, 2.0)
    high = 2 / (1 + math.exp(-1 / math.sqrt(2)))
    assert found.tolist() == pytest.approx([2.0, 0.1, 1 + 2 - high, 1 + high], abs=1e-6)


def test_plain_settings_leave_rows_as_they_are() -> None:
    rows = [Row((1, 2), (False, True), (0.0, -1.0), 0)]
    optim = toy.config().optim
    assert weighed(rows, [], torch.ones(1, 1), optim, decode=str, energies=lambda rows: [], seed=0) == rows


def test_energies_are_of_the_logits_a_token_was_sampled_from(tmp_path: Path) -> None:
    trainer = toy.trainer(tmp_path, toy.config(micro_batch_tokens=6))
    rows = rows_of("grpo")
    for row, energy in zip(rows, trainer.energies(rows), strict=True):
        logits = trainer.policy_model(input_ids=torch.tensor([row.ids])).logits[0, :-1]
        assert torch.allclose(energy[1:], -logits.exp().sum(-1).log(), atol=1e-5)
        assert len(energy) == len(row.ids)


def test_rescored_rows_have_the_models_log_probabilities(tmp_path: Path) -> None:
    trainer = toy.trainer(tmp_path, toy.config())
    rows = [replace(row, logps=tuple(-99.0 * on for on in row.mask)) for row in rows_of("grpo")]
    for row in trainer.rescored(rows):
        logps = trainer.policy_model(input_ids=torch.tensor([row.ids])).logits[0, :-1].log_softmax(-1)
        wanted = [logps[t - 1, row.ids[t]].item() if on else 0.0 for t, on in enumerate(row.mask)]
        assert list(row.logps) == pytest.approx(wanted, abs=1e-5)


def test_the_smoothing_weight_falls_from_two_to_nearly_one() -> None:
    weights = [terms.smoothing_weight(k, 10, 3.0) for k in range(10)]
    assert weights == sorted(weights, reverse=True)
    assert weights[0] == 2.0
    assert weights[5] == pytest.approx(1 + math.exp(-3.0))
