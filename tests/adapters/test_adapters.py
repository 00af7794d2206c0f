"""Adapters: reloaded onto the plain base they give the trained logits; wrong folders and bases are refused."""

import json
import os
import stat
from pathlib import Path

import pytest
import torch
from tiny_models import char_tokenizer, tiny_llama

from actre import adapters
from actre.adapters import trained
from actre.config import ModelConfig
from actre.policies.models import add_lora, load
from actre.types import ActreError


def _base(folder: Path, seed: int = 0) -> ModelConfig:
    tokenizer = char_tokenizer()
    tiny_llama(len(tokenizer), seed=seed).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return ModelConfig(name=str(folder), lora_rank=4)


def _trained(base: ModelConfig, *, change: bool = True):
    model = add_lora(tiny_llama(len(char_tokenizer())), base, seed=1)
    if change:
        generator = torch.Generator().manual_seed(0)
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if "lora_B" in name:
                    parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.05)
    return model


@pytest.fixture
def base(tmp_path: Path) -> ModelConfig:
    return _base(tmp_path / "base")


def test_a_reloaded_adapter_gives_the_trained_logits_and_others_than_the_base(base, tmp_path):
    model = _trained(base)
    adapters.export(model, tmp_path / "out", base, card="two stages")
    check = adapters.check(tmp_path / "out", model, char_tokenizer())
    assert check.passed
    assert check.from_trained <= 1e-4
    assert check.from_base > 1e-2
    assert "two stages" in (tmp_path / "out" / "README.md").read_text()


def test_an_adapter_is_loaded_to_train_it_on_where_that_is_asked_for(base, tmp_path):
    adapters.export(_trained(base), tmp_path / "out", base)
    for trainable in (False, True):
        model, _ = adapters.load(tmp_path / "out", trainable=trainable)
        learning = {name for name, p in model.named_parameters() if p.requires_grad}
        assert bool(learning) is trainable
        assert all("lora_" in name for name in learning)


def test_the_check_fails_for_an_adapter_that_is_not_the_trained_one(base, tmp_path):
    model = _trained(base)
    adapters.export(model, tmp_path / "out", base)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.add_(0.01)
    check = adapters.check(tmp_path / "out", model, char_tokenizer())
    assert not check.same_as_trained
    assert check.differs_from_base


def test_the_check_fails_for_an_adapter_that_changes_nothing(base, tmp_path):
    model = _trained(base, change=False)
    adapters.export(model, tmp_path / "out", base)
    check = adapters.check(tmp_path / "out", model, char_tokenizer())
    assert check.same_as_trained
    assert not check.differs_from_base


def test_a_plain_peft_folder_is_checked_and_loaded_too(base, tmp_path):
    model = _trained(base)
    model.save_pretrained(str(tmp_path / "plain"))
    assert adapters.check(tmp_path / "plain", model, char_tokenizer(), base=base).passed


def test_the_exported_adapter_names_its_base_and_no_path_of_this_machine(tmp_path):
    base = _base(tmp_path / "base")
    adapters.export(_trained(base), tmp_path / "out", ModelConfig(name="smollm2"))
    assert json.loads((tmp_path / "out" / "adapter_config.json").read_text())["base_model_name_or_path"] == "smollm2"
    everything = b"".join(path.read_bytes() for path in (tmp_path / "out").iterdir())
    assert str(tmp_path).encode() not in everything


@pytest.mark.parametrize("umask", [0o022, 0o007])
def test_whoever_may_read_the_card_may_read_the_weights(base, tmp_path, umask):
    """safetensors writes them for their owner alone, and a colleague on a shared machine could not load them."""
    before = os.umask(umask)
    try:
        adapters.export(_trained(base), tmp_path / "out", base)
        adapters.merge(tmp_path / "out", tmp_path / "merged", card="text")
    finally:
        os.umask(before)
    files = [path for name in ("out", "merged") for path in (tmp_path / name).iterdir() if path.is_file()]
    assert sum(path.suffix == ".safetensors" for path in files) == 2
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o666 & ~umask}


def test_a_merged_model_is_judged_by_the_size_of_its_logits(tmp_path):
    """Large logits are rounded more coarsely: SmolLM2's, of about 30, came out 1.1e-4 apart."""
    tokenizer, model = char_tokenizer(), tiny_llama(len(char_tokenizer()))
    with torch.no_grad():
        model.lm_head.weight.mul_(1000.0)
    model.save_pretrained(tmp_path / "base")
    tokenizer.save_pretrained(tmp_path / "base")
    base = ModelConfig(name=str(tmp_path / "base"), lora_rank=4)
    trained_model = add_lora(model, base, seed=1)
    with torch.no_grad():
        for name, parameter in trained_model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.05, generator=torch.Generator().manual_seed(0))
    adapters.export(trained_model, tmp_path / "out", base)
    merged, _ = load(ModelConfig(name=str(adapters.merge(tmp_path / "out", tmp_path / "merged"))))
    ids = torch.arange(5, 25)[None]
    with torch.no_grad():
        ours, theirs = merged(ids).logits, trained_model(ids).logits
    assert trained.TOLERANCE < (ours - theirs).abs().max() < 0.1 * trained.TOLERANCE * theirs.abs().max()


def test_merging_gives_a_plain_model_with_the_same_logits(base, tmp_path):
    from transformers import AutoModelForCausalLM

    model = _trained(base)
    adapters.export(model, tmp_path / "out", base)
    merged = AutoModelForCausalLM.from_pretrained(adapters.merge(tmp_path / "out", tmp_path / "merged"))
    ids = torch.arange(5, 25)[None]
    with torch.no_grad():
        assert torch.allclose(merged(ids).logits, model(ids).logits, atol=1e-4)


def test_an_adapter_is_not_put_on_another_base_of_the_same_shape(base, tmp_path):
    adapters.export(_trained(base), tmp_path / "out", base)
    with pytest.raises(ActreError, match="does not fit the weights"):
        adapters.load(tmp_path / "out", _base(tmp_path / "other", seed=5))


def test_the_fingerprint_is_the_same_with_an_adapter_and_in_bfloat16():
    model = tiny_llama(50).to(torch.bfloat16).float()
    plain = adapters.fingerprint(model)
    assert adapters.fingerprint(tiny_llama(50).to(torch.bfloat16)) == plain
    assert adapters.fingerprint(add_lora(model, ModelConfig(), 0)) == plain
    assert adapters.fingerprint(tiny_llama(50, seed=1)) != plain


def test_the_fingerprint_sees_the_first_2048_numbers_of_every_parameter():
    model = tiny_llama(100)
    plain = adapters.fingerprint(model)
    for name, parameter in model.named_parameters():
        numbers = parameter.data.view(-1)
        for place in {0, min(numbers.numel(), 2048) - 1}:
            kept = numbers[place].item()
            numbers[place] = kept + 1
            assert adapters.fingerprint(model) != plain, (name, place)
            numbers[place] = kept
    assert adapters.fingerprint(model) == plain


@pytest.mark.parametrize("missing", ["adapter_config.json", "adapter_model.safetensors"])
def test_a_folder_without_adapter_is_refused(base, tmp_path, missing):
    adapters.export(_trained(base), tmp_path / "out", base)
    (tmp_path / "out" / missing).unlink()
    with pytest.raises(ActreError, match="holds no adapter"):
        adapters.load(tmp_path / "out")


def test_a_truncated_adapter_is_refused(base, tmp_path):
    adapters.export(_trained(base), tmp_path / "out", base)
    weights = tmp_path / "out" / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:500])
    with pytest.raises(ActreError, match="cannot be loaded onto this model"):
        adapters.load(tmp_path / "out")


def test_a_base_of_another_shape_is_refused(base, tmp_path):
    _trained(base).save_pretrained(str(tmp_path / "plain"))
    tokenizer = char_tokenizer()
    tiny_llama(len(tokenizer), hidden=16).save_pretrained(tmp_path / "small")
    tokenizer.save_pretrained(tmp_path / "small")
    with pytest.raises(ActreError, match="cannot be loaded onto this model"):
        adapters.load(tmp_path / "plain", ModelConfig(name=str(tmp_path / "small")))


def test_a_model_without_adapter_is_not_exported(tmp_path, base):
    with pytest.raises(ActreError, match="no adapter to export"):
        adapters.export(tiny_llama(50), tmp_path / "out", base)
    assert not (tmp_path / "out").exists()


def test_exporting_again_replaces_the_folder_as_a_whole(base, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "old.txt").write_text("old")
    adapters.export(_trained(base), tmp_path / "out", base)
    assert not (tmp_path / "out" / "old.txt").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["base", "out"]


def test_export_of_a_run_folder_writes_a_card_with_its_settings(base, tmp_path, capsys):
    from dataclasses import replace

    from actre.cli import main
    from actre.config import save_config
    from actre.config.presets import preset

    _trained(base).save_pretrained(str(tmp_path / "run" / "adapter"))
    save_config(replace(preset("tiny"), model=base), tmp_path / "run" / "config.json")
    assert main(["export", str(tmp_path / "run"), "--merge", str(tmp_path / "merged")]) == 0
    assert "act_first" in (tmp_path / "run" / "export" / "README.md").read_text()
    assert (tmp_path / "merged" / "config.json").exists()
    assert "reloaded" in capsys.readouterr().out


def test_an_adapter_whose_training_weights_are_not_the_reloaded_ones_is_refused(base, tmp_path):
    """As one would be that was made under kernels or weights which others do not get."""
    model = _trained(base)
    adapters.export(model, tmp_path / "out", base)
    assert adapters.must_reload(tmp_path / "out", model, char_tokenizer(), base).passed
    with torch.no_grad():
        model.get_base_model().model.embed_tokens.weight.add_(0.05)
    with pytest.raises(ActreError, match=r"model\.loader=plain"):
        adapters.must_reload(tmp_path / "out", model, char_tokenizer(), base)


def test_a_merged_model_that_answers_differently_is_not_written(base, tmp_path, monkeypatch):
    adapters.export(_trained(base), tmp_path / "out", base)
    plain = trained.load_base

    def another(named: ModelConfig):
        model, tokenizer = plain(named)
        if named.name != base.name:
            with torch.no_grad():
                model.lm_head.weight.add_(0.1)
        return trained.Loaded(model, tokenizer)

    monkeypatch.setattr(trained, "load_base", another)
    with pytest.raises(ActreError, match="not saved"):
        adapters.merge(tmp_path / "out", tmp_path / "merged", base)
    assert not (tmp_path / "merged").exists()


def _run(base: ModelConfig, folder: Path, *, change: bool = True) -> Path:
    from dataclasses import replace

    from actre.config import save_config
    from actre.config.presets import preset

    _trained(base, change=change).save_pretrained(str(folder / "adapter"))
    save_config(replace(preset("tiny"), model=base), folder / "config.json")
    return folder


def test_a_card_has_results_with_intervals_or_says_that_there_are_none(base, tmp_path, capsys):
    from actre.cli import main
    from actre.rollout.evaluate import EpisodeResult, save_evaluation

    run = _run(base, tmp_path / "run")
    card = run / "export" / "README.md"
    assert main(["export", str(run)]) == 0
    assert "was not evaluated" in card.read_text()
    played = [EpisodeResult("unseen", "think_first", f"game {i}", "look", i < 9, 5, 0.0) for i in range(10)]
    save_evaluation(run / "evaluation.jsonl", played, "after")
    (run / "metrics.jsonl").write_text('{"stage": 0, "env_steps": 1200, "success": 0.5, "parse_rate": 0.75}\n')
    assert main(["export", str(run), "--merge", str(tmp_path / "merged")]) == 0
    for text in (card.read_text(), (tmp_path / "merged" / "README.md").read_text()):
        assert "9 of 10" in text
        assert "0.596" in text or "0.60" in text  # Wilson's lower end
        assert "small/train" in text
        assert "1,200 environment steps" in text
        assert "act_first, 1 iterations (" in text, "the stage as long as it was, not as it was planned"


def test_what_did_not_pass_the_check_is_not_pushed(base, tmp_path, capsys, monkeypatch):
    from actre.adapters import hub
    from actre.cli import main

    pushed: list[tuple[object, ...]] = []
    monkeypatch.setattr(hub, "push", lambda folder, name, private: pushed.append((folder, name, private)) or "address")
    assert main(["export", str(_run(base, tmp_path / "idle", change=False)), "--push", "me/it"]) == 2
    assert pushed == []
    run = _run(base, tmp_path / "run")
    assert main(["export", str(run), "--push", "me/it"]) == 0
    assert main(["export", str(run), "--push", "me/it", "--public", "--merge", str(tmp_path / "merged")]) == 0
    assert pushed == [(run / "export", "me/it", True), (tmp_path / "merged", "me/it", False)]
