"""Settings survive JSON, presets are known by name, seeds are streams."""

import dataclasses
import inspect
import json
import typing
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from actre.config import RunConfig, StageConfig, config_from_dict, derive_seed, load_config, overrides, run, save_config
from actre.config.checks import words_of
from actre.config.describe import described, settings
from actre.config.presets import PRESETS, preset
from actre.types import ActreError


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_comes_back_equal_from_its_file(tmp_path: Path, name: str) -> None:
    assert preset(name).preset == name
    save_config(preset(name), tmp_path / "config.json")
    assert load_config(tmp_path / "config.json") == preset(name)
    assert "python" in json.loads((tmp_path / "config.json").read_text())["versions"]


def test_an_unknown_preset_is_told_the_names_there_are() -> None:
    with pytest.raises(ActreError, match="qwen-7b"):
        preset("huge")


def test_an_unknown_setting_is_refused() -> None:
    raw = dataclasses.asdict(preset("tiny"))
    raw["optim"]["lr"] = 1.0
    with pytest.raises(ActreError, match="lr"):
        config_from_dict(raw)


def test_settings_of_earlier_versions_load_quietly_and_are_changed_with_a_warning(recwarn: Any) -> None:
    raw = asdict(preset("tiny"))
    raw["optim"]["reference_at_switch"] = "base"
    raw["model"]["handover"] = raw["model"].pop("weight_sync")
    raw["stages"] = [{**stage, "thoughts": True} for stage in raw["stages"]]
    assert config_from_dict(raw) == preset("tiny")
    assert not recwarn
    with pytest.warns(FutureWarning, match="handover is now called weight_sync"):
        assert overrides.changed(RunConfig(), ["model.handover=merged"]).model.weight_sync == "merged"
    with pytest.warns(FutureWarning, match="no longer exists"):
        assert overrides.changed(RunConfig(), ["optim.reference_at_switch=base"]) == RunConfig()


def test_the_help_lists_every_setting_with_its_type_default_and_docstring() -> None:
    shown = {one.name: one for one in settings()}
    groups = {f.name: getattr(RunConfig(), f.name) for f in dataclasses.fields(RunConfig)}
    wanted = {
        f"{name}.{f.name}": (type(part), f)
        for name, part in groups.items()
        if dataclasses.is_dataclass(part)
        for f in dataclasses.fields(part)
    }
    wanted |= {f"stages[].{f.name}": (run.StageConfig, f) for f in dataclasses.fields(run.StageConfig)}
    alone = {name for name, part in groups.items() if not dataclasses.is_dataclass(part)}
    assert set(shown) == {*wanted, *alone}
    for name, (kind, field) in wanted.items():
        assert shown[name].kind == words_of(typing.get_type_hints(kind, include_extras=True)[field.name])
    assert shown["optim.clip_high"][1:3] == ("a number, at least 0 and at most 1,000,000", "0.28")
    assert shown["evaluation.panels"].default == "seen,unseen"
    source = " ".join(inspect.getsource(run).split())
    for one in shown.values():
        assert one.about.endswith("."), one
        assert f'"""{one.about}"""' in source
        assert one.name in described()


def test_training_without_chance_is_refused_with_the_reason() -> None:
    for part, name in ((run.SamplingConfig, "SamplingConfig"), (lambda **t: StageConfig("no_think", 1, **t), "Stage")):
        with pytest.raises(ActreError, match=rf"{name}.*temperature is 0.*nothing to learn.*eval_temperature=0"):
            part(temperature=0.0)
    assert run.SamplingConfig(eval_temperature=0.0).eval_temperature == 0.0
    with pytest.raises(ActreError, match="needs an act_first stage"):
        StageConfig("think_first", 1, rationale="shuffled")


def test_a_damaged_settings_file_is_an_error_of_ours(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(ActreError, match="does not hold a run's settings"):
        load_config(tmp_path / "config.json")
    with pytest.raises(ActreError, match="does not exist"):
        load_config(tmp_path / "none.json")


def test_seeds_differ_by_stream_and_are_pinned() -> None:
    seeds = {derive_seed(s, name, i) for s in range(3) for name in ("rollout", "probe") for i in range(50)}
    assert len(seeds) == 300
    assert all(0 <= seed < 2**31 for seed in seeds)
    assert derive_seed(0, "rollout", 0) == 1337405893


@pytest.mark.parametrize(
    ("part", "name", "value"),
    [
        ("optim", "schedule", "linaer"),
        ("optim", "groups", "6"),
        ("optim", "group_size", 1),
        ("optim", "updates_per_batch", 0),
        ("checkpoint", "keep", 0),
        ("model", "four_bit", 1),
        ("env", "name", "alfwrold"),
        ("env", "max_steps", 0),
        ("prompt", "window", -2),
        ("sampling", "max_prompt_tokens", -1),
        ("sampling", "temperature", -0.5),
        ("optim", "max_grad_norm", -1.0),
        ("optim", "learning_rate", float("nan")),
        ("evaluation", "limit", -3),
    ],
)
def test_a_value_that_a_setting_cannot_have_is_refused(part: str, name: str, value: object) -> None:
    raw = asdict(preset("tiny"))
    raw[part][name] = value
    with pytest.raises(ActreError, match=f"{name} is {value!r}"):
        config_from_dict(raw)


@pytest.mark.parametrize(
    ("name", "value"), [("order", "thinkfirst"), ("until", "platau"), ("iterations", 1.5), ("plateau_window", 0)]
)
def test_a_stage_that_is_misspelt_is_refused(name: str, value: object) -> None:
    raw = asdict(preset("tiny"))
    raw["stages"][0][name] = value
    with pytest.raises(ActreError, match=name):
        config_from_dict(raw)
