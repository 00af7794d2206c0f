"""The warm start: what is learned is the reply alone, the orders stand alike, and an interrupted one goes on."""

import hashlib
import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tiny_models import tiny_gpt2, tiny_llama
from tokenizers_at_hand import small_tokenizer

from actre import cli
from actre.config import ModelConfig, PromptConfig, RunConfig
from actre.config.presets import preset
from actre.entropy.probes import Probe, probes_for
from actre.envs.alfworld.expert import Habits
from actre.organisms import fine_tune, warmstart
from actre.organisms.fine_tune import WarmConfig
from actre.organisms.packed_sft import PackedSFTTrainer
from actre.organisms.warmstart import warm_up
from actre.organisms.warmstart_rows import (
    WORDINGS,
    Demonstrations,
    ExpertStep,
    WarmRow,
    expert_episodes,
    prompts_of,
    warm_rows,
)
from actre.policies.models import load
from actre.policies.tiny import make_tokenizer
from actre.types import ORDERS, ActreError, Observation

GROWING = PromptConfig()
WINDOWED = PromptConfig(history="windowed", list_admissible=True)
WARM = WarmConfig(steps=4, batch=4, micro_batch=2, save_every=2, states=2, warmup=1, learning_rate=1e-2)


@pytest.fixture(scope="module")
def demos() -> Demonstrations:
    return expert_episodes(preset("tiny").env, 4, seed=0)


@pytest.fixture(scope="module")
def tokenizer(demos: Demonstrations):
    return make_tokenizer(sorted({step.thought for episode in demos.episodes for step in episode}))


@pytest.fixture(scope="module")
def base(tokenizer, tmp_path_factory) -> ModelConfig:
    folder = tmp_path_factory.mktemp("base")
    tiny_llama(len(tokenizer)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return ModelConfig(name=str(folder), lora_rank=4)


@pytest.fixture
def config(base: ModelConfig) -> RunConfig:
    tiny = preset("tiny")
    return replace(tiny, model=base, sampling=replace(tiny.sampling, max_reply_tokens=4))


@pytest.fixture
def rows(demos, tokenizer) -> tuple[WarmRow, ...]:
    return _rows(demos, tokenizer, WINDOWED)


@pytest.fixture(scope="module")
def probes() -> list[Probe]:
    return probes_for(replace(preset("tiny"), probe=replace(preset("tiny").probe, states=WARM.states)))


def _rows(demos, tokenizer, prompt: PromptConfig, **change) -> tuple[WarmRow, ...]:
    asked = {"per_episode": 2, "longest": 4096, "seed": 0, **change}
    return warm_rows(demos, prompts_of(tokenizer), prompt, **asked).rows


def _weights(run: Path) -> dict[str, torch.Tensor]:
    return load_file(run / "adapter" / "adapter_model.safetensors")


# --- rows ---


def test_every_order_has_the_same_number_of_rows_in_each_wording(rows):
    counts = {(order, wording): 0 for order in ORDERS for wording in WORDINGS}
    for row in rows:
        counts[row.order, row.wording] += 1
    assert set(counts.values()) == {len(rows) // 6}


def test_what_is_learned_of_a_windowed_row_is_its_reply_with_both_tags_and_the_end(rows, tokenizer):
    for row in rows:
        first = row.learned.index(True)
        end = -1 if row.order == "no_think" else None  # act-first's thought would end there too
        assert all(row.learned[first:end])
        assert row.learned[-1] == (row.order != "no_think")
        text = tokenizer.decode(row.ids[first:])
        opening, closing = {
            "think_first": ("<think>", "</action>"),
            "act_first": ("<action>", "</think>"),
            "no_think": ("<action>", "</action>"),
        }[row.order]
        assert text.startswith(opening)
        assert text.removesuffix(tokenizer.eos_token).strip().endswith(closing)
        assert row.ids[-1] == tokenizer.eos_token_id
        assert ("<think>" in text) == (row.order != "no_think")


def test_a_no_think_row_learns_nothing_that_act_firsts_thought_would_contradict(demos):
    """Where `><` is one token, act-first's rows go on with it where a no-think reply has `>`."""
    tokenizer = small_tokenizer("byte-level")
    rows = _rows(demos, tokenizer, WINDOWED)
    learned = {order: [_learned(row) for row in rows if row.order == order] for order in ORDERS}
    for ids in learned["no_think"]:
        text = tokenizer.decode(ids)
        assert text.startswith("<action>")
        assert text.endswith("</action")
        assert any(ids == other[: len(ids)] for other in learned["act_first"])
    alone = _rows(demos, tokenizer, WINDOWED, orders=("no_think",))
    assert all(row.learned[-1] for row in alone)


def _learned(row: WarmRow) -> tuple[int, ...]:
    return tuple(i for i, on in zip(row.ids, row.learned, strict=True) if on)


def test_a_growing_row_is_a_whole_episode_whose_every_reply_is_learned(demos, tokenizer):
    rows = _rows(demos, tokenizer, GROWING)
    assert len(rows) == len(demos.episodes) * len(ORDERS)
    learned = [sum(a and not b for a, b in zip(row.learned, (False, *row.learned), strict=False)) for row in rows]
    assert sorted(learned) == sorted(len(episode) for episode in demos.episodes for _ in ORDERS)
    said = {step.action for episode in demos.episodes for step in episode}
    row = next(row for row in rows if row.order == "no_think")
    replies = tokenizer.decode([i for i, on in zip(row.ids, row.learned, strict=True) if on])
    shown = replies.replace("<action>", "").split("</action>")[0].strip()
    assert shown in said


def test_the_prompt_of_a_row_is_what_acting_would_build(demos, tokenizer):
    one = Demonstrations((demos.episodes[0][:1],), 0, "")
    rows = _rows(one, tokenizer, WINDOWED)
    for row in rows:
        renderer = prompts_of(tokenizer)(replace(WINDOWED, wording=row.wording), row.order)
        prompt = renderer.prompt([], demos.episodes[0][0].observation)
        assert row.ids[: len(prompt)] == prompt


def test_a_place_that_is_too_long_in_one_order_is_left_out_in_all(demos, tokenizer):
    long = max(len(row.ids) for row in _rows(demos, tokenizer, WINDOWED, per_episode=99))
    chosen = warm_rows(demos, prompts_of(tokenizer), WINDOWED, per_episode=99, longest=long - 1, seed=0)
    assert chosen.too_long >= 1
    assert len({sum(row.order == order for row in chosen.rows) for order in ORDERS}) == 1
    with pytest.raises(ActreError, match="--max-length"):
        _rows(demos, tokenizer, WINDOWED, longest=10)


def test_a_shop_has_no_expert_that_writes_thoughts():
    with pytest.raises(ActreError, match="only ALFWorld"):
        expert_episodes(preset("tiny", "webshop").env, 1, 0)


def test_labels_leave_the_prompt_out():
    seen = ExpertStep(Observation("a", "b", ()), "c", "d")
    assert seen.thought == "c"
    row = WarmRow((5, 6, 7), (False, True, True), "no_think", "shared")
    assert fine_tune._dataset([row])[0] == {"input_ids": [5, 6, 7], "labels": [-100, 6, 7]}


# --- the run ---


def test_a_warm_start_leaves_adapter_model_and_record(config, rows, probes, tmp_path):
    record = warm_up(config, WARM, rows, probes, tmp_path / "run", progress=False)
    assert json.loads(json.dumps(record)) == json.loads((tmp_path / "run" / "warmstart.json").read_text())
    assert record["check"]["passed"]
    assert record["training"]["steps"] == WARM.steps
    # four batches of other rows each: whether the loss falls is the slow test's question
    assert all(0 < record["training"][name] < 100 for name in ("loss_first", "loss_last"))
    assert [one["states"] for one in record["after"]] == [WARM.states] * 6
    assert "Wilson" in (tmp_path / "run" / "adapter" / "README.md").read_text()
    assert (tmp_path / "run" / "model" / "config.json").exists()
    assert json.loads((tmp_path / "run" / "model" / "warmstart.json").read_text())["rows"] == record["rows"]
    assert not (tmp_path / "run" / "checkpoints").exists()
    with pytest.raises(ActreError, match="finished warm start"):
        warm_up(config, WARM, rows, probes, tmp_path / "run", progress=False)


def test_a_warm_start_may_go_on_from_another_ones_adapter(config, rows, probes, tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    warm_up(config, WARM, rows, probes, first, progress=False)
    still = replace(WARM, steps=1, learning_rate=1e-12)
    record = warm_up(config, still, rows, probes, second, begin=first / "adapter", merge=False, progress=False)
    ours, theirs = _weights(second), _weights(first)
    assert all(torch.allclose(ours[name], theirs[name], atol=1e-9) for name in theirs)
    assert record["before"] == json.loads((first / "warmstart.json").read_text())["after"]
    assert record["begin"] == hashlib.sha256((first / "adapter" / "adapter_model.safetensors").read_bytes()).hexdigest()
    other = replace(config, model=replace(config.model, lora_rank=8))
    with pytest.raises(ActreError, match=r"has rank 4 and alpha .* ask for 8"):
        warm_up(other, still, rows, probes, tmp_path / "third", begin=first / "adapter", progress=False)


def test_an_interrupted_warm_start_ends_as_an_uninterrupted_one(config, rows, probes, tmp_path, monkeypatch):
    warm_up(config, WARM, rows, probes, tmp_path / "whole", merge=False, progress=False)
    plain = fine_tune._Log.on_log

    def stop_at_3(self, args, state, control, logs=None, **rest):
        plain(self, args, state, control, logs, **rest)
        if state.global_step == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(fine_tune._Log, "on_log", stop_at_3)
    with pytest.raises(KeyboardInterrupt, match="same command continues"):
        warm_up(config, WARM, rows, probes, tmp_path / "cut", merge=False, progress=False)
    monkeypatch.setattr(fine_tune._Log, "on_log", plain)
    with pytest.raises(ActreError, match="other settings"):
        warm_up(replace(config, seed=1), WARM, rows, probes, tmp_path / "cut", merge=False, progress=False)
    warm_up(config, WARM, rows, probes, tmp_path / "cut", merge=False, progress=False)
    one, other = _weights(tmp_path / "whole"), _weights(tmp_path / "cut")
    assert all(torch.equal(one[name], other[name]) for name in one)
    steps = [json.loads(line)["step"] for line in (tmp_path / "cut" / "metrics.jsonl").read_text().splitlines()]
    assert steps == [1, 2, 3, 4]


def test_a_warm_start_begun_before_a_setting_came_goes_on(config, tmp_path):
    settings = {"warm": asdict(WARM), "run": asdict(config), "rows": {}, "begin": None}
    warmstart._begin(tmp_path, settings)
    older = json.loads((tmp_path / "settings.json").read_text())
    del older["run"]["prompt"]["date"], older["begin"]
    (tmp_path / "settings.json").write_text(json.dumps(older))
    warmstart._begin(tmp_path, settings)
    with pytest.raises(ActreError, match=r"other settings \(run\.seed: 0 became 1\)"):
        warmstart._begin(tmp_path, {**settings, "run": asdict(replace(config, seed=1))})
    (tmp_path / "settings.json").write_text("{}")
    with pytest.raises(ActreError, match="damaged"):
        warmstart._begin(tmp_path, settings)


def test_a_warm_start_interrupted_after_its_training_is_not_trained_further(
    config, rows, probes, tmp_path, monkeypatch
):
    plain = warmstart._measured

    def measured(path: Path, *rest):
        if path.name == "after.json":
            raise KeyboardInterrupt
        return plain(path, *rest)

    monkeypatch.setattr(warmstart, "_measured", measured)
    with pytest.raises(KeyboardInterrupt):
        warm_up(config, WARM, rows, probes, tmp_path, merge=False, progress=False)
    saved = load_file(tmp_path / "checkpoints" / "checkpoint-4" / "adapter_model.safetensors")
    monkeypatch.setattr(warmstart, "_measured", plain)
    record = warm_up(config, WARM, rows, probes, tmp_path, merge=False, progress=False)
    assert record["training"]["steps"] == WARM.steps
    assert all(torch.equal(saved[name], weights) for name, weights in _weights(tmp_path).items())


def test_a_damaged_checkpoint_is_named_with_what_mends_it(config, rows, probes, tmp_path, monkeypatch):
    plain = fine_tune._Log.on_log

    def stop_at_3(self, args, state, control, logs=None, **rest):
        if state.global_step == 3:
            raise KeyboardInterrupt
        plain(self, args, state, control, logs, **rest)

    monkeypatch.setattr(fine_tune._Log, "on_log", stop_at_3)
    with pytest.raises(KeyboardInterrupt):
        warm_up(config, WARM, rows, probes, tmp_path, progress=False)
    saved = tmp_path / "checkpoints" / "checkpoint-2" / "adapter_model.safetensors"
    saved.write_bytes(saved.read_bytes()[:100])
    with pytest.raises(ActreError, match=r"rm -r .*checkpoint-2"):
        warm_up(config, WARM, rows, probes, tmp_path, progress=False)


def test_a_loss_that_is_no_number_ends_the_warm_start(config, rows, probes, tmp_path):
    wild = replace(WARM, learning_rate=1e30)
    with pytest.raises(ActreError, match="--learning-rate"):
        warm_up(config, wild, rows, probes, tmp_path, progress=False)


def test_rows_that_a_model_with_learned_positions_cannot_hold_are_refused_with_the_option(
    config, rows, probes, tokenizer, tmp_path
):
    longest = max(len(row.ids) for row in rows)
    tiny_gpt2(len(tokenizer), positions=longest - 1).save_pretrained(tmp_path / "base")
    tokenizer.save_pretrained(tmp_path / "base")
    short = replace(config, model=ModelConfig(name=str(tmp_path / "base"), lora_rank=4))
    with pytest.raises(
        ActreError, match=rf"{longest} tokens is more than the {longest - 1} .*--max-length {longest - 1}"
    ):
        warm_up(short, WARM, rows, probes, tmp_path / "out", progress=False)
    assert not (tmp_path / "out").exists()  # the same command with another --max-length finds nothing in its way
    kept = [row for row in rows if len(row.ids) < longest]
    assert warm_up(short, WARM, kept, probes, tmp_path / "out", progress=False)["check"]["passed"]


def test_fewer_rows_than_a_batch_are_refused(config, rows, probes, tmp_path):
    with pytest.raises(ActreError, match="fewer than a batch"):
        warm_up(config, WARM, rows[:3], probes, tmp_path, progress=False)


def _muddled(folder: Path) -> ModelConfig:
    """The shipped tiny policy with each tag's embedding at the next tag's place: fluent, and never well-formed."""
    model, tokenizer = load(ModelConfig())
    tags = [tokenizer.convert_tokens_to_ids(tag) for tag in ("<think>", "</think>", "<action>", "</action>")]
    with torch.no_grad():
        weights = model.get_input_embeddings().weight
        weights[tags] = weights[tags].roll(1, dims=0)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return ModelConfig(name=str(folder))


@pytest.mark.slow
def test_a_model_that_never_keeps_the_format_keeps_it_often_after_a_warm_start(tmp_path):
    tiny = preset("tiny")
    config = replace(tiny, model=_muddled(tmp_path / "base"))
    warm = WarmConfig(steps=100, batch=8, micro_batch=8, learning_rate=5e-3, states=12, save_every=50)
    rows = _rows(expert_episodes(tiny.env, 60, 0, Habits(thoughts="said")), load(config.model).tokenizer, GROWING)
    states = probes_for(replace(tiny, probe=replace(tiny.probe, states=warm.states)))
    record = warm_up(config, warm, rows, states, tmp_path / "run", merge=False, progress=False)
    free = {when: [one for one in record[when] if one["tags"] == "free"] for when in ("before", "after")}
    found = {when: sum(one["well_formed"] for one in free[when]) for when in free}
    assert found["before"] == 0
    assert found["after"] >= 4 * warm.states / 3, (found, record["training"])  # 25 of 48 where it was written


def _losses(folder: Path) -> list[float]:
    return [json.loads(line)["loss"] for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_packed_rows_give_the_loss_and_the_adapter_that_trls_trainer_gives(config, rows, probes, tmp_path, monkeypatch):
    made: list[type] = []

    class Noted(PackedSFTTrainer):
        def __init__(self, **rest):
            made.append(type(self))
            super().__init__(**rest)

    monkeypatch.setattr(fine_tune, "PackedSFTTrainer", Noted)
    warm_up(config, WARM, rows, probes, tmp_path / "packed", merge=False, progress=False)
    assert made == [Noted]
    monkeypatch.setattr(fine_tune, "is_packed", lambda config, model: False)
    warm_up(config, WARM, rows, probes, tmp_path / "trl", merge=False, progress=False)
    assert len(made) == 1
    assert _losses(tmp_path / "packed") == pytest.approx(_losses(tmp_path / "trl"), abs=1e-4)
    ours, theirs = (load_file(tmp_path / one / "adapter" / "adapter_model.safetensors") for one in ("packed", "trl"))
    for name in theirs:
        torch.testing.assert_close(ours[name], theirs[name], atol=1e-3, rtol=1e-2)


def test_products_in_bfloat16_move_the_loss_little(config, rows, probes, tmp_path):
    for name in ("float32", "bfloat16"):
        warm_up(config, replace(WARM, products=name), rows, probes, tmp_path / name, merge=False, progress=False)
    exact, rounded = _losses(tmp_path / "float32"), _losses(tmp_path / "bfloat16")
    assert exact != rounded
    assert rounded == pytest.approx(exact, rel=0.02)
    half = replace(config, model=replace(config.model, dtype="bfloat16"))
    with pytest.raises(ActreError, match="needs the packed forward pass, and its weights are not float32"):
        warm_up(half, replace(WARM, products="bfloat16"), rows, probes, tmp_path / "no", merge=False, progress=False)


def test_a_line_that_was_not_written_whole_does_not_block_a_warm_start(config, rows, probes, tmp_path, monkeypatch):
    plain = fine_tune._Log.on_log

    def stop_at_3(self, args, state, control, logs=None, **rest):
        if state.global_step == 3:
            with self.path.open("a") as file:
                file.write('{"step": 3, "lo')
            raise KeyboardInterrupt
        plain(self, args, state, control, logs, **rest)

    monkeypatch.setattr(fine_tune._Log, "on_log", stop_at_3)
    with pytest.raises(KeyboardInterrupt):
        warm_up(config, WARM, rows, probes, tmp_path, merge=False, progress=False)
    monkeypatch.setattr(fine_tune._Log, "on_log", plain)
    record = warm_up(config, WARM, rows, probes, tmp_path, merge=False, progress=False)
    assert record["training"]["steps"] == WARM.steps


def test_a_model_that_cannot_be_loaded_is_an_error_of_ours(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("{}")
    assert cli.main(["warmstart", "--model", str(tmp_path / "model"), "--out", str(tmp_path / "w")]) == 2
    assert "could not load the model" in capsys.readouterr().err
