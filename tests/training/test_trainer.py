"""The trainer: TRL's loss is the textbook's, slices change nothing, stages do what the config says, and it learns."""

import inspect
import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
import toy_training as toy
import trl

from actre.config import RunConfig, StageConfig, data_folder, load_config
from actre.config.presets import preset
from actre.policies.hf import HFPolicy
from actre.training import StagedTrainer, TrainResult, train
from actre.training.batch import collate, sliced, trl_inputs
from actre.training.rows import trajectory_rows
from actre.training.run import run
from actre.training.stages import Plan, learning_rate_factor, plan
from actre.types import ActreError, read_jsonl, read_trajectories

CPU = torch.device("cpu")
TIMES = {"seconds", "rollout_s", "update_s", "tokens_per_s", "peak_memory_gb"}


def make(
    out: Path,
    config: RunConfig,
    *,
    seed: int = 0,
    windowed: bool = False,
    wrap: Callable[[StagedTrainer], None] = lambda trainer: None,
    **arguments: Any,
) -> StagedTrainer:
    player = partial(toy.Player, windowed=windowed)
    trainer = toy.trainer(out, config, policy=toy.model(seed), player=player, **arguments)
    wrap(trainer)
    return trainer


def metrics(out: Path) -> list[dict[str, Any]]:
    return list(read_jsonl(out / "metrics.jsonl"))


def a_batch(trainer: StagedTrainer, seed: int = 0) -> dict[str, torch.Tensor]:
    """A batch that exercises everything: uneven rows, ratios on both sides of the clip, a changed adapter."""
    with torch.no_grad():
        generator = torch.Generator().manual_seed(seed)
        for name, weights in trainer.policy_model.named_parameters():
            if "lora_B" in name:
                weights.add_(0.3 * torch.randn(weights.shape, generator=generator))
    if trainer.config.optim.advantage == "grpo":
        trainer.advantages = lambda played, groups: torch.randn((len(played), 1), generator=generator)  # type: ignore[method-assign]
    else:
        play = trainer._play  # an untrained toy wins too seldom
        trainer._play = lambda plan: [replace(one, won=i % 3 == 0) for i, one in enumerate(play(plan))]
    batch = trainer._generate_and_score_completions([])
    noise = torch.randn(batch["old_per_token_logps"].shape, generator=generator)
    batch["old_per_token_logps"] = batch["old_per_token_logps"] + 0.4 * noise
    trainer.current_gradient_accumulation_steps = 1
    return batch


def textbook_loss(model: Any, batch: dict[str, torch.Tensor], config: RunConfig) -> torch.Tensor:
    """The loss token by token: DeepSeekMath eq. 3 and 4, DAPO's clip and normaliser, GSPO's ratio, entropy bonus."""
    optim, temperature = config.optim, config.sampling.temperature
    ids = torch.cat([batch["prompt_ids"], batch["completion_ids"]], dim=1)
    present = torch.cat([batch["prompt_mask"], batch["completion_mask"]], dim=1)
    start = batch["prompt_ids"].shape[1]
    total = torch.tensor(0.0)
    for row in range(ids.shape[0]):
        sequence = ids[row, : int(present[row].sum())]
        logps = (model(input_ids=sequence[None]).logits[0] / temperature).log_softmax(-1)
        with model.disable_adapter(), torch.no_grad():
            base = (model(input_ids=sequence[None]).logits[0] / temperature).log_softmax(-1)
        trained = [t for t in range(start, len(sequence)) if batch["tool_mask"][row, t - start]]
        moved = {t: logps[t - 1, sequence[t]] - batch["old_per_token_logps"][row, t - start] for t in trained}
        for t in trained:
            if optim.importance_sampling_level == "sequence":
                ratio = torch.exp(sum(moved.values()) / len(moved))
            else:
                ratio = torch.exp(moved[t])
            clipped = ratio.clamp(1 - optim.clip_low, 1 + optim.clip_high)
            advantage = batch["advantages"][row, t - start]
            surrogate = torch.min(ratio * advantage, clipped * advantage)
            gap = base[t - 1, sequence[t]] - logps[t - 1, sequence[t]]
            kl = torch.exp(gap) - gap - 1
            entropy = -(logps[t - 1].exp() * logps[t - 1]).sum()
            total = total + optim.kl_beta * kl - optim.entropy_coef * entropy - surrogate
    return total / batch["num_items_in_batch"]


@pytest.mark.parametrize("kl_beta", [0.0, 0.5])
@pytest.mark.parametrize("temperature", [1.0, 0.7])
@pytest.mark.parametrize("windowed", [False, True])
def test_trls_loss_is_the_textbook_loss(tmp_path, kl_beta, temperature, windowed):
    config = toy.config(kl_beta=kl_beta)
    config = replace(config, sampling=replace(config.sampling, temperature=temperature))
    trainer = make(tmp_path, config, windowed=windowed)
    batch = a_batch(trainer)
    loss = trainer.compute_loss(trainer.policy_model.train(), batch)
    wanted = textbook_loss(trainer.policy_model, batch, config)
    assert abs(wanted.item()) > 1e-3
    assert loss.item() == pytest.approx(wanted.item(), abs=1e-6)
    assert 0.05 < trainer._metrics["train"]["clip_ratio/region_mean"][0] < 0.95


VARIANTS: list[dict[str, Any]] = [
    {"importance_sampling_level": "sequence"},
    {"entropy_coef": 0.3},
    {"advantage": "grpo_no_std", "clip_high": 0.2},
    {"advantage": "rloo", "groups_without_signal": "drop"},
    {"advantage": "gigpo"},
    {"advantage": "gigpo_no_std", "normalise": "episode"},
    {"advantage": "gigpo", "importance_sampling_level": "sequence", "entropy_coef": 0.1, "kl_beta": 0.1},
]


@pytest.mark.parametrize("optim", VARIANTS, ids=str)
@pytest.mark.parametrize("windowed", [False, True])
def test_every_variant_of_the_loss_is_the_textbooks_gradient_included(tmp_path, optim, windowed):
    trainer = make(tmp_path, toy.config(**optim), windowed=windowed)
    batch = a_batch(trainer)
    if optim.get("advantage", "grpo").startswith("gigpo") and not windowed:
        rows = [row[on] for row, on in zip(batch["advantages"], batch["tool_mask"].bool(), strict=True)]
        assert any(len(row.unique()) > 1 for row in rows), "steps of one row do not differ: nothing is tried here"
    wanted = textbook_loss(trainer.policy_model, batch, trainer.config)
    wanted.backward()
    wanted_gradient = gradient(trainer)
    loss = trainer.compute_loss(trainer.policy_model.train(), batch)
    loss.backward()
    assert abs(wanted.item()) > 1e-4
    assert loss.item() == pytest.approx(wanted.item(), abs=1e-6)
    assert (gradient(trainer) - wanted_gradient).norm() <= 1e-5 * wanted_gradient.norm()
    assert 0.02 < trainer._metrics["train"]["clip_ratio/region_mean"][0] < 0.95


@pytest.mark.parametrize("filtering", ["keep", "drop"])
def test_groups_without_signal_count_in_the_mean_or_do_not(tmp_path, filtering):
    trainer = make(tmp_path, toy.config(groups_without_signal=filtering))
    trainer.advantages = lambda played, groups: torch.where(groups == 0, 1.0, 0.0)[:, None]  # type: ignore[method-assign]
    batch = trainer._generate_and_score_completions([])
    assert trainer._line["groups_without_signal"] == 1
    assert 0 <= trainer._line["zero_variance_groups"] <= 1 <= trainer._line["distinct_trajectories"] <= 8
    assert int(batch["tool_mask"].sum()) == 8 * 4, "8 episodes of 2 steps of 2 tokens have a signal"
    assert int(batch["num_items_in_batch"]) == {"keep": 64, "drop": 32}[filtering]


def test_normalised_by_episode_the_loss_is_the_mean_over_episodes_of_their_mean_over_tokens(tmp_path):
    config = toy.config(normalise="episode")
    trainer = make(tmp_path, config)
    played = trainer._play(trainer._plan)
    # lengths of two steps and of one; all have an advantage, for rows without one are left out
    played = [replace(one, steps=one.steps[: 1 + i % 2]) for i, one in enumerate(played)]
    advantages = torch.linspace(-1, 2, len(played))
    trainer._line = {}
    batch = trainer._batch(played, advantages[:, None], torch.tensor([one.group for one in played]))
    trainer.current_gradient_accumulation_steps = 1
    loss = trainer.compute_loss(trainer.policy_model.train(), batch)
    # on policy every ratio is 1, so a token's surrogate is its episode's advantage
    assert loss.item() == pytest.approx(-advantages.mean().item(), abs=1e-5)
    lengths = torch.tensor([2.0 * len(one.steps) for one in played])
    by_token = -(advantages * lengths).sum() / lengths.sum()
    assert abs(by_token.item() + advantages.mean().item()) > 1e-2, "the two would agree here anyway"


def gradient(trainer: StagedTrainer) -> torch.Tensor:
    parts = [p.grad.flatten() for p in trainer.policy_model.parameters() if p.grad is not None]
    trainer.policy_model.zero_grad()
    return torch.cat(parts)


@pytest.mark.parametrize("most_tokens", [1, 40, 10_000])
@pytest.mark.parametrize("optim", [{"kl_beta": 0.1}, VARIANTS[-1]], ids=str)
def test_slices_sum_to_the_loss_and_the_gradient_of_the_whole(tmp_path, most_tokens, optim, monkeypatch):
    config = toy.config(micro_batch_tokens=most_tokens, **optim)
    trainer = make(tmp_path, config)
    batch = a_batch(trainer)
    whole = trainer.compute_loss(trainer.policy_model.train(), batch)
    whole.backward()
    wanted = gradient(trainer)
    trainer._metrics["train"].clear()
    monkeypatch.setattr(trainer, "_prepare_inputs", lambda inputs: inputs)
    loss = trainer.training_step(trainer.policy_model, batch)
    assert loss.item() == pytest.approx(whole.item(), abs=1e-6)
    assert torch.allclose(gradient(trainer), wanted, atol=1e-6)


def test_rows_left_out_for_lack_of_signal_change_neither_loss_nor_gradient(tmp_path):
    trainer = make(tmp_path, toy.config())
    played = trainer._play(trainer._plan)
    rows = [row for i, one in enumerate(played) for row in trajectory_rows(one, i)]
    advantages = torch.tensor([1.0, -1.0, *[0.0] * (len(played) - 2)])
    trainer.current_gradient_accumulation_steps = 1
    results = []
    for some in (rows, rows[:2]):
        total = sum(sum(row.mask) for row in rows)
        batch = trl_inputs(collate(some, advantages, pad_id=0, multiple=5), total, CPU)
        batch["old_per_token_logps"] = batch["old_per_token_logps"] - 0.1
        loss = trainer.compute_loss(trainer.policy_model.train(), batch)
        loss.backward()
        results.append((loss.item(), gradient(trainer)))
    assert results[0][0] == pytest.approx(results[1][0], abs=1e-7)
    assert torch.allclose(results[0][1], results[1][1], atol=1e-7)


def test_sampled_logps_are_those_of_the_training_forward(tmp_path):
    trainer = make(tmp_path, toy.config(micro_batch_tokens=200))
    policy = HFPolicy(trainer.policy_model, toy.tokenizer())
    prompts = [list(toy.ids("game one act")), list(toy.ids("you game two you said act"))] * 3
    steps = []
    for temperature in (1.0, 0.6):
        trainer.temperature = temperature
        played = trainer._play(trainer._plan)[: len(prompts)]
        replies = policy.generate(prompts, max_new_tokens=5, temperature=temperature, stop=None, seed=1)
        for one, prompt, reply in zip(played, prompts, replies, strict=True):
            step = replace(one.steps[0], prompt_ids=tuple(prompt), reply_ids=reply.token_ids, reply_logps=reply.logps)
            steps.append(replace(one, steps=(step,)))
        rows = [row for i, one in enumerate(steps) for row in trajectory_rows(one, i)]
        batch = trl_inputs(collate(rows, torch.ones(len(rows)), pad_id=0), 1, CPU)
        steps.clear()
        for _, piece in sliced(batch, 40):
            with torch.no_grad():
                gap = trainer._logps(piece) - piece["old_per_token_logps"]
            assert gap[piece["tool_mask"].bool()].abs().max() < 1e-4


@pytest.mark.parametrize("entropy_coef", [0.0, 0.1])
def test_without_mask_and_unused_entropies_trls_numbers_are_the_same(tmp_path, entropy_coef):
    trainer = make(tmp_path, toy.config(entropy_coef=entropy_coef, forward="transformers"))
    batch = a_batch(trainer)
    ids = torch.cat([batch["prompt_ids"], batch["completion_ids"]], dim=1)
    present = torch.cat([batch["prompt_mask"], batch["completion_mask"]], dim=1)
    assert not present.all(), "nothing is padded: nothing is tried here"
    arguments = (trainer.policy_model, ids, present, batch["completion_ids"].shape[1])
    theirs = trl.GRPOTrainer._get_per_token_logps_and_entropies(trainer, *arguments, compute_entropy=True)
    ours = trainer._get_per_token_logps_and_entropies(*arguments, compute_entropy=True)
    real = batch["completion_mask"].bool()
    assert torch.allclose(ours[0][real], theirs[0][real], atol=1e-6)
    assert torch.equal(ours[1] > 0, (theirs[1] > 0) & (entropy_coef > 0)), "entropies are the bonus's alone"
    assert torch.allclose(ours[1], theirs[1] * (entropy_coef > 0), atol=1e-6)
    assert trainer._get_per_token_logps_and_entropies(*arguments)[1] is None


def test_the_kl_reference_is_the_base_model_and_no_second_adapter_appears(tmp_path):
    trainer = make(tmp_path, toy.config(kl_beta=0.1))
    batch = a_batch(trainer)
    assert list(trainer.policy_model.peft_config) == ["default"]
    base = toy.model().unload()
    ids = torch.cat([batch["prompt_ids"], batch["completion_ids"]], dim=1)
    logps = base(input_ids=ids).logits[:, :-1].log_softmax(-1).gather(2, ids[:, 1:, None])[..., 0]
    wanted = logps[:, batch["prompt_ids"].shape[1] - 1 :]
    on = batch["tool_mask"].bool()
    assert torch.allclose(batch["ref_per_token_logps"][on], wanted[on], atol=1e-5)


def test_trl_still_has_what_is_overridden_and_asks_for_no_other_key(tmp_path):
    assert trl.__version__.startswith("1.14."), "a new minor moves the seam: read its grpo_trainer.py again"
    ours = [cls for cls in StagedTrainer.__mro__ if cls.__module__.startswith("actre.")]
    overridden = [name for cls in ours for name in vars(cls) if name in dir(trl.GRPOTrainer) and name[:2] != "__"]
    assert sorted(overridden) == [
        *("_compute_loss", "_generate_and_score_completions", "_get_per_token_logps_and_entropies"),
        *("create_scheduler", "training_step"),
    ]
    for name in overridden:
        signatures = [inspect.signature(getattr(cls, name)) for cls in (StagedTrainer, trl.GRPOTrainer)]
        assert list(signatures[0].parameters) == list(signatures[1].parameters), name
    batch = make(tmp_path, toy.config())._generate_and_score_completions([])
    assert set(batch) == {
        *("prompt_ids", "prompt_mask", "completion_ids", "completion_mask", "tool_mask"),
        *("advantages", "old_per_token_logps", "num_items_in_batch"),
    }


# --- stages ---


def test_stages_set_order_and_temperature_and_all_arms_meet_the_same_games(tmp_path):
    stages = (StageConfig("act_first", 2), StageConfig("no_think", 1, temperature=0.5))
    trainer = make(tmp_path, replace(toy.config(), stages=stages))
    run(trainer)
    plans: list[Plan] = trainer._play.plans  # type: ignore[attr-defined]
    assert [(p.iteration, p.stage, p.order, p.temperature) for p in plans] == [
        (1, 0, "act_first", 1.0),
        (2, 0, "act_first", 1.0),
        (3, 1, "no_think", 0.5),
    ]
    assert trainer.temperature == 0.5
    other = replace(toy.config(), stages=(StageConfig("think_first", 3),))
    games = list(toy.TARGET)
    assert [plan(other, games, p.iteration).games for p in plans] == [p.games for p in plans]
    assert [(m["iteration"], m["stage"], m["order"]) for m in metrics(tmp_path)] == [
        (p.iteration, p.stage, p.order) for p in plans
    ]
    assert {p.name for p in (tmp_path / "checkpoints").iterdir()} == {"iter-2", "iter-3"}


def test_every_iteration_draws_with_a_seed_of_its_own() -> None:
    config = toy.config()
    seeds = [plan(replace(config, seed=seed), ["g"], i).seed for seed in (0, 1) for i in range(1, 5)]
    assert len(set(seeds)) == len(seeds)


def test_every_game_is_drawn_once_before_any_comes_again():
    config = toy.config(groups=2)
    games = [f"g{i}" for i in range(6)]
    drawn = [plan(config, games, i).games for i in range(1, 7)]
    assert sorted(sum(drawn[:3], ())) == sorted(sum(drawn[3:], ())) == games
    assert drawn[:3] != drawn[3:]


@pytest.mark.parametrize(("at_switch", "steps"), [("keep", [1, 2, 3, 4]), ("reset", [1, 2, 1, 2])])
def test_the_optimizers_moments_are_kept_or_cleared_at_a_stage_change(tmp_path, at_switch, steps):
    seen: list[int] = []

    def wrap(trainer: StagedTrainer) -> None:
        finish = trainer.finish_update

        def noting(logs: dict[str, float]) -> bool:
            assert trainer.optimizer is not None
            seen.append(int(next(iter(trainer.optimizer.state.values()))["step"]))
            return finish(logs)

        trainer.finish_update = noting  # type: ignore[method-assign]

    run(make(tmp_path, toy.config(optimizer_at_switch=at_switch), wrap=wrap))
    assert seen == steps


@pytest.mark.parametrize("at_switch", ["continue", "restart"])
@pytest.mark.parametrize("schedule", ["constant", "linear", "cosine"])
@pytest.mark.parametrize("updates", [1, 2])
def test_the_learning_rate_follows_the_schedule_of_the_config(tmp_path, at_switch, schedule, updates):
    config = toy.config(schedule=schedule, schedule_at_switch=at_switch, warmup_iterations=1, updates_per_batch=updates)
    run(make(tmp_path, config))
    wanted = [1e-2 * learning_rate_factor(config.optim, config.stages, i) for i in (1, 2, 3, 4)]
    assert [m["learning_rate"] for m in metrics(tmp_path)] == pytest.approx(wanted)
    assert wanted[0] == 0.5e-2
    assert (wanted[2] == wanted[0]) == (at_switch == "restart")


def test_several_updates_a_batch_play_once_and_move_away_from_the_sampler(tmp_path):
    config = toy.config(updates_per_batch=4, learning_rate=3e-2)
    trainer = make(tmp_path, config)
    run(trainer)
    assert len(trainer._play.plans) == 4  # type: ignore[attr-defined]
    assert trainer.state.global_step == 16
    assert max(m["clip_rate"] for m in metrics(tmp_path)) > 0


def test_training_ends_with_the_iteration_that_reaches_the_environment_steps(tmp_path):
    config = replace(toy.config(), env_steps=65)  # 32 a iteration
    measured: list[tuple[int, int]] = []

    def measure(iteration: int, stage: int) -> dict[str, Any]:
        measured.append((iteration, stage))
        return {"states": 1}

    result = run(make(tmp_path, config, measure=measure))
    assert (result.iterations, result.env_steps) == (3, 96)
    assert measured == [(0, 0), (2, 0), (3, 1)]
    lines = list(read_jsonl(tmp_path / "entropy.jsonl"))
    assert [(e["iteration"], e["stage"], e["order"], e["states"]) for e in lines] == [
        (0, 0, "act_first", 1),
        (2, 0, "act_first", 1),
        (3, 1, "think_first", 1),
    ]
    assert all(e["measure_s"] >= 0 for e in lines)


def test_action_entropy_is_measured_every_n_iterations(tmp_path):
    config = replace(toy.config(), stages=(StageConfig("act_first", 5),))
    config = replace(config, probe=replace(config.probe, every=2))
    measured: list[int] = []
    run(make(tmp_path, config, measure=lambda iteration, stage: measured.append(iteration) or {}))
    assert measured == [0, 2, 4, 5]


# --- the run folder ---


def test_a_run_folder_holds_metrics_trajectories_settings_and_an_adapter(tmp_path, capfd):
    config = toy.config()
    result = run(make(tmp_path, config))
    assert result == TrainResult(tmp_path / "adapter", tmp_path / "metrics.jsonl", 4, 128, 256)
    assert load_config(tmp_path / "config.json") == config
    lines = metrics(tmp_path)
    assert [m["env_steps"] for m in lines] == [32, 64, 96, 128]
    assert [m["generated_tokens"] for m in lines] == [64, 128, 192, 256]
    for line in lines:
        names = ("success", "return", "steps", "token_entropy_nats", "parse_rate", "admissible_rate")
        names += ("kl_nats", "clip_rate", "loss", "grad_norm", "learning_rate", "groups_without_signal")
        assert {*names, *TIMES, "flag_truncated"} <= set(line)
        assert line["steps"] == 2.0
        assert line["parse_rate"] == line["admissible_rate"] == 1.0
    assert lines[0]["kl_nats"] == pytest.approx(0.0, abs=1e-6)
    assert lines[-1]["kl_nats"] > 0
    played = read_trajectories(tmp_path / "trajectories" / "train_0003.jsonl.gz")
    assert len(played) == 16
    assert played[0].meta == {"iteration": 3, "stage": 1, "order": "think_first", "run_seed": 0}
    assert sum(t.won for t in played) / 16 == lines[2]["success"]
    assert capfd.readouterr() == ("", "")


def test_the_saved_adapter_is_the_trained_one(tmp_path):
    trainer = make(tmp_path, toy.config())
    result = run(trainer)
    loaded = peft.PeftModel.from_pretrained(toy.model().unload(), str(result.adapter))
    ids = torch.tensor([toy.ids("game one act a b c")])
    trained = trainer.policy_model.eval()(input_ids=ids).logits
    assert torch.allclose(loaded(input_ids=ids).logits, trained, atol=1e-6)
    assert not torch.allclose(toy.model()(input_ids=ids).logits, trained, atol=1e-2)


def test_a_folder_that_holds_a_run_is_refused_and_untouched(tmp_path):
    run(make(tmp_path, toy.config()))
    before = (tmp_path / "metrics.jsonl").read_bytes()
    with pytest.raises(ActreError, match=r"choose another --out.*rm -r"):
        make(tmp_path, toy.config())
    assert (tmp_path / "metrics.jsonl").read_bytes() == before


def test_an_interrupted_run_keeps_its_metrics_and_its_adapter(tmp_path):
    with pytest.raises(KeyboardInterrupt, match="stopped after 2 iterations; the adapter and the metrics"):
        run(toy.stop_at(make(tmp_path, toy.config()), 3))
    assert [m["iteration"] for m in metrics(tmp_path)] == [1, 2]
    assert (tmp_path / "adapter" / "adapter_model.safetensors").exists()


def test_a_loss_that_is_no_number_ends_the_run_with_advice_before_it_reaches_the_weights(tmp_path):
    trainer = make(tmp_path, toy.config())
    trainer.advantages = lambda played, groups: torch.full((len(played), 1), torch.nan)  # type: ignore[method-assign]
    with pytest.raises(ActreError, match=r"iteration 1 is nan.*learning_rate"):
        run(trainer)
    assert all(torch.isfinite(p).all() for p in trainer.policy_model.parameters())
    assert not (tmp_path / "adapter").exists()


def test_the_same_seed_gives_the_same_metrics(tmp_path):
    config = toy.config(micro_batch_tokens=40, updates_per_batch=2)
    lines = []
    for name in ("a", "b"):
        run(make(tmp_path / name, config))
        lines.append([{k: v for k, v in m.items() if k not in TIMES} for m in metrics(tmp_path / name)])
    assert json.dumps(lines[0]) == json.dumps(lines[1])
    other = replace(config, seed=1)
    run(make(tmp_path / "c", other))
    assert [m["return"] for m in metrics(tmp_path / "c")] != [m["return"] for m in lines[0]]


# --- it learns ---


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_two_stages_raise_the_return_and_without_advantages_they_do_not(tmp_path, seed):
    stages = (StageConfig("act_first", 8), StageConfig("think_first", 10))
    config = replace(toy.config(group_size=16, micro_batch_tokens=4096), stages=stages, seed=seed)
    gains = {}
    for arm in ("trained", "control"):
        trainer = make(tmp_path / arm, config, seed=seed)
        if arm == "control":
            trainer.advantages = lambda played, groups: torch.zeros(len(played), 1)  # type: ignore[method-assign]
        run(trainer)
        returns = [m["return"] for m in metrics(tmp_path / arm)]
        gains[arm] = sum(returns[-3:]) / 3 - sum(returns[:3]) / 3
    assert gains["trained"] > 0.3
    assert abs(gains["control"]) < 0.15


# --- on the real engine ---


def tiny_run(**optim: Any) -> RunConfig:
    """Two stages of the shipped tiny policy on shipped games, as small as they can be."""
    config = preset("tiny")
    if not (data_folder() / "tiny" / "neutral" / "config.json").exists():
        pytest.skip("no tiny policy in data/tiny/neutral: `actre pretrain-tiny` makes one")
    pytest.importorskip("alfworld")
    return replace(
        config,
        env=replace(config.env, max_steps=3),
        stages=(StageConfig("act_first", 1), StageConfig("think_first", 1)),
        env_steps=None,
        optim=replace(config.optim, groups=2, group_size=3, **optim),
    )


def test_both_stages_train_on_real_games_through_the_real_rollout(tmp_path, monkeypatch):
    config = tiny_run()
    # three steps seldom win: a signal that does not depend on how good the policy is
    alternating = torch.tensor([1.0, -1.0, 0.5]).repeat(2)[:, None]
    monkeypatch.setattr(StagedTrainer, "advantages", lambda self, played, groups: alternating)
    result = train(config, tmp_path / "a", measure=lambda policy, done, stage: {"k": done}, progress=False)
    assert (result.iterations, [m["order"] for m in metrics(tmp_path / "a")]) == (2, ["act_first", "think_first"])
    played = read_trajectories(tmp_path / "a" / "trajectories" / "train_0002.jsonl.gz")
    assert [t.group for t in played] == [0, 0, 0, 1, 1, 1]
    assert len({t.game for t in played}) == 2
    assert all(len(trajectory_rows(t, 0)) == 1 for t in played), "a growing history is one row an episode"
    assert all(m["grad_norm"] > 0 for m in metrics(tmp_path / "a"))
    train(config, tmp_path / "b", progress=False)
    for a, b in zip(metrics(tmp_path / "a"), metrics(tmp_path / "b"), strict=True):
        assert {k: v for k, v in a.items() if k not in TIMES} == {k: v for k, v in b.items() if k not in TIMES}


def test_the_sampler_and_the_training_forward_agree_on_real_episodes(tmp_path):
    config = tiny_run(updates_per_batch=1)
    gaps: list[float] = []
    seen = StagedTrainer._batch

    def batch(self: StagedTrainer, *given: Any) -> dict[str, torch.Tensor]:
        made = seen(self, *given)
        for _, piece in sliced(made, 2048):
            with torch.no_grad():
                gap = self._logps(piece) - piece["old_per_token_logps"]
            gaps.append(gap[piece["tool_mask"].bool()].abs().max().item())
        return made

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(StagedTrainer, "_batch", batch)
        patch.setattr(StagedTrainer, "advantages", lambda self, played, groups: torch.ones(len(played), 1))
        train(config, tmp_path, progress=False)
    assert gaps
    assert max(gaps) < 1e-4


@pytest.mark.parametrize("what", ["keep", "drop"])
def test_a_batch_without_any_signal_goes_by_and_changes_nothing(tmp_path: Path, what: str) -> None:
    optim = {"success_reward": 0.0, "format_penalty": 0.0, "groups_without_signal": what}
    trainer = make(tmp_path, toy.config(**optim))
    before = {name: p.detach().clone() for name, p in trainer.model.named_parameters()}
    run(trainer)
    assert len(metrics(tmp_path)) == 4
    assert all(torch.equal(p, before[name]) for name, p in trainer.model.named_parameters())
