"""Estimates: sizes from the models' shapes, larger settings cost more, what does not fit names what to change."""

import json
from dataclasses import replace
from typing import Literal

import pytest
from tiny_models import char_tokenizer, tiny_llama

from actre.cli import main
from actre.config import RunConfig, save_config
from actre.config.presets import GPU_GB, PRESETS, preset
from actre.runtime import limits
from actre.runtime.estimate import VLLM_SHARE, cpu, estimate, gpu, must_fit, outcome, remedy
from actre.runtime.price import NIGHT_H, must_end, planned, price
from actre.runtime.shapes import SHAPES, shape_of
from actre.types import ActreError

A100 = gpu("NVIDIA A100-SXM4-80GB", 80.0)


@pytest.mark.parametrize(
    ("name", "billions"),
    # the numbers on the models' cards
    [("smollm2", 0.135), ("Qwen/Qwen2.5-1.5B-Instruct", 1.54), ("Qwen/Qwen2.5-7B-Instruct", 7.62)],
)
def test_parameters_follow_from_the_shape(name, billions):
    assert SHAPES[name].parameters / 1e9 == pytest.approx(billions, rel=0.01)


def test_a_folders_own_shape_is_read_and_its_adapter_counted(tmp_path):
    from actre.config import ModelConfig
    from actre.policies.models import add_lora

    model = tiny_llama(len(char_tokenizer()), hidden=64)
    model.save_pretrained(tmp_path)
    shape = shape_of(str(tmp_path))
    norms = sum(p.numel() for name, p in model.named_parameters() if "norm" in name)
    assert shape.parameters == sum(p.numel() for p in model.parameters()) - norms
    adapted = add_lora(model, ModelConfig(lora_rank=4), 0)
    assert shape.adapter(4) == sum(p.numel() for name, p in adapted.named_parameters() if "lora_" in name)


def test_a_model_of_unknown_size_is_said_to_be_unknown():
    with pytest.raises(ActreError, match="hf download owner/model"):
        shape_of("owner/model")


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_fits_the_device_it_is_for(name):
    device = {
        "tiny": cpu(4.0, 2),
        "smollm2": gpu("Tesla T4", 15.0, bf16=False),
        "qwen-0.5b-16gb": gpu("Tesla T4", 15.8, bf16=False),
        "qwen-1.5b-16gb": gpu("Tesla T4", 15.8, bf16=False),
        "qwen-1.5b-24gb": gpu("NVIDIA A10G", 23.7),
    }.get(name, A100)
    assert must_fit(preset(name), device).fits


@pytest.mark.parametrize("name", PRESETS)
def test_a_cpu_is_refused_what_would_take_it_longer_than_a_week_and_a_gpu_nothing(name):
    config = preset(name)
    must_end(config, gpu("Tesla T4", 15.8, bf16=False))
    laptop = cpu(1000.0, 2)
    found = estimate(config, laptop)
    days = planned(config) * (found.rollout_s + found.update_s) / 86400
    if name in ("tiny", "smollm2", "smollm2-cpu", "qwen-0.5b-16gb"):
        assert days < 7
        must_end(config, laptop)
        return
    with pytest.raises(ActreError, match=f"about {days:.0f} days: `actre doctor --preset {name} --gpu-memory") as error:
        must_end(config, laptop)
    assert "there is no GPU here" in str(error.value)
    assert "--force" in str(error.value)


@pytest.mark.parametrize("change", [{"micro_batch_tokens": 65536}, {"groups": 32}, {"group_size": 16}])
def test_more_of_anything_never_takes_less(change):
    plain = preset("qwen-1.5b-16gb")
    small, large = (estimate(one, A100) for one in (plain, replace(plain, optim=replace(plain.optim, **change))))
    assert large.memory_gb > small.memory_gb
    assert large.rollout_s >= small.rollout_s


def test_what_does_not_fit_names_the_setting_and_the_value_that_fits():
    config = preset("qwen-1.5b-80gb")
    card = gpu("NVIDIA A10G", 23.7)
    found = estimate(config, card)
    assert not found.fits
    assert f"--set optim.micro_batch_tokens={found.largest_micro_batch}" in remedy(config, found)
    mended = replace(config, optim=replace(config.optim, micro_batch_tokens=found.largest_micro_batch))
    assert estimate(mended, card).fits
    with pytest.raises(ActreError, match="--force"):
        must_fit(config, card)


def test_where_episodes_do_not_fit_fewer_groups_are_named_and_fit():
    config = preset("qwen-7b")
    card = gpu("NVIDIA A10G", 23.7)
    words = remedy(config, estimate(config, card))
    groups = int(words.partition("optim.groups=")[2].partition(",")[0])
    fewer = replace(config, optim=replace(config.optim, groups=groups))
    assert estimate(fewer, card).rollout_gb <= card.memory_gb
    assert "model.four_bit=true" in words


def test_four_bits_make_the_weights_about_a_third():
    plain = preset("qwen-7b")
    four = replace(plain, model=replace(plain.model, four_bit=True))
    assert 0.2 < estimate(four, A100).weights_gb / estimate(plain, A100).weights_gb < 0.45


def test_the_tiny_presets_estimate_is_near_what_was_measured():
    """The quickstart's medians on one core of an EPYC: 5.7 s playing, 3.0 s updating. It was adjusted to them."""
    found = estimate(preset("tiny"), cpu(16.0, 1))
    assert 0.5 < found.rollout_s / 5.7 < 2
    assert 0.5 < found.update_s / 3.0 < 2


def test_doctor_estimates_a_preset_and_fails_where_it_does_not_fit(capsys):
    assert main(["doctor", "--preset", "tiny", "--gpu-memory", "8"]) == 0
    assert "it fits" in capsys.readouterr().out
    assert main(["doctor", "--preset", "qwen-7b", "--gpu-memory", "2"]) == 1
    assert "does NOT fit" in capsys.readouterr().out


@pytest.mark.parametrize("gb", [16, 24, 80])
def test_a_preset_for_a_gpu_is_said_to_fit_it_on_a_machine_that_has_none(capsys, monkeypatch, gb):
    monkeypatch.setattr(limits.shutil, "which", lambda name: None)
    assert main(["doctor", "--preset", f"qwen-1.5b-{gb}gb", "--gpu-memory", str(gb)]) == 0
    assert f"on a GPU (speeds of an A10), {gb} GB" in capsys.readouterr().out


def with_vllm(name: str, engine: Literal["vllm", "vllm-server"] = "vllm") -> RunConfig:
    config = preset(name)
    return replace(config, model=replace(config.model, engine=engine))


@pytest.mark.parametrize("name", [name for name in PRESETS if name.startswith("qwen")])
def test_vllm_in_the_same_process_takes_its_share_from_episodes_and_updates(name):
    card = gpu("a card", float(GPU_GB[name]))
    plain, beside = estimate(preset(name), card), estimate(with_vllm(name), card)
    assert beside.engine_gb == pytest.approx(VLLM_SHARE * card.memory_gb)
    assert beside.update_gb == pytest.approx(plain.update_gb + beside.engine_gb)
    assert beside.rollout_gb > beside.engine_gb + beside.weights_gb, "the trainer holds the base as well"
    assert beside.largest_micro_batch < plain.largest_micro_batch
    elsewhere = estimate(with_vllm(name, "vllm-server"), card)
    assert (elsewhere.engine_gb, elsewhere.update_gb) == (0.0, plain.update_gb)


def test_a_share_in_which_vllm_cannot_hold_the_base_does_not_fit_and_says_so():
    card = gpu("NVIDIA L4", 24.0)
    config = replace(with_vllm("qwen-7b"), optim=replace(preset("qwen-7b").optim, micro_batch_tokens=256, groups=1))
    found = estimate(config, card)
    assert found.engine_needs_gb > found.engine_gb
    assert not found.fits
    assert "model.engine=hf" in remedy(config, found)


@pytest.mark.parametrize(("name", "card"), [("qwen-0.5b-16gb", "Tesla T4"), ("qwen-1.5b-24gb", "NVIDIA L4")])
@pytest.mark.parametrize("engine", ["hf", "vllm"])
def test_both_arms_of_an_affordable_preset_end_within_one_night(name, card, engine):
    config = preset(name)
    config = replace(config, model=replace(config.model, engine=engine))
    device = gpu(card, GPU_GB[name] * 0.98)
    assert estimate(config, device).fits
    assert price(config, device).pair_h <= NIGHT_H
    assert config.env_steps is not None, "the quickstart compares arms at equal steps"
    assert planned(config) < config.iterations, "steps are spent before the stages are over, so that budgets are equal"


def test_a_price_is_the_sum_of_its_parts_and_env_steps_shorten_it():
    config = preset("qwen-1.5b")
    found = price(config, A100)
    assert found.iterations == config.iterations == 150
    each = estimate(config, A100)
    assert found.train_h == pytest.approx(150 * (each.rollout_s + each.update_s) / 3600)
    assert found.verdict_h == pytest.approx(10 * (found.train_h + found.evaluate_h))
    half = price(replace(config, env_steps=75 * 128 * 40), A100)
    assert half.iterations == 75
    assert half.train_h == pytest.approx(found.train_h / 2)
    fewer = replace(config, evaluation=replace(config.evaluation, limit=60))
    assert price(fewer, A100).evaluate_h < found.evaluate_h


@pytest.mark.parametrize("name", GPU_GB)
def test_without_a_gpu_a_preset_for_one_is_not_priced_on_the_cpu(capsys, monkeypatch, name):
    monkeypatch.setattr(limits.shutil, "which", lambda name: None)
    assert main(["doctor", "--preset", name]) == 1
    said = capsys.readouterr().out
    assert f"no GPU here, and {name} trains on one: actre doctor --preset {name} --gpu-memory {GPU_GB[name]} " in said
    assert " h" not in said.replace(" here", "")
    assert main(["doctor", "--preset", "tiny"]) == 0


def test_doctor_estimates_settings_that_are_set(capsys):
    command = ["doctor", "--preset", "qwen-0.5b-16gb", "--gpu-memory", "16", "--set", "model.engine=vllm"]
    assert main(command) == 0
    assert "of these, vLLM holds 6.4 GB throughout" in capsys.readouterr().out


def test_train_refuses_what_cannot_fit_before_anything_is_loaded(capsys, monkeypatch, tmp_path):
    monkeypatch.setattr("actre.cli.train.here", lambda: gpu("Tesla T4", 15.0))
    command = ["train", "--preset", "qwen-1.5b-80gb", "--out", str(tmp_path / "run")]
    assert main(command) == 2
    assert "optim.micro_batch_tokens=" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_a_runs_estimate_is_compared_with_what_it_took(tmp_path, capsys):
    save_config(preset("tiny"), tmp_path / "config.json")
    with pytest.raises(ActreError, match="train first"):
        outcome(tmp_path, preset("tiny"), cpu(8.0, 1))
    lines = [
        {"steps": 10.0, "rollout_s": s, "update_s": 2 * s, "generated_tokens": 960 * i, "env_steps": 480 * i}
        for i, s in enumerate((1.0, 3.0, 2.0), 1)
    ]
    lines[1]["peak_memory_gb"] = 1.25
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    found = outcome(tmp_path, preset("tiny"), cpu(8.0, 1))
    assert (found.iterations, found.rollout_s, found.update_s, found.memory_gb) == (3, 2.0, 4.0, 1.25)
    assert (found.again.work.steps, found.again.work.reply_tokens) == (10.0, 2.0)
    assert found.again.rollout_s < found.before.rollout_s
    assert main(["doctor", "--run", str(tmp_path)]) == 0
    assert "memory, GB" in capsys.readouterr().out


def test_a_machine_without_a_gpu_is_its_cpu(monkeypatch):
    monkeypatch.setattr(limits.shutil, "which", lambda name: None)
    assert not limits.here().gpu


@pytest.mark.parametrize(("asked", "threads"), [("1", 1), ("1,4", 1), ("", limits.cores()), ("many", limits.cores())])
def test_threads_are_read_as_openmp_does(asked: str, threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", asked)
    monkeypatch.setattr(limits, "gpus", lambda: [])
    assert limits.here().name == f"{threads} CPU thread{'s' * (threads != 1)}"
