"""Names of the tiny policies: `tiny` stands for the default one, and what was saved under an earlier name is found."""

import json
from dataclasses import asdict
from pathlib import Path

import pytest

from actre.adapters.files import must_be_base, named_base
from actre.config import ModelConfig, data_folder, load_config, save_config
from actre.config.presets import PRESETS, preset
from actre.config.run import RunConfig
from actre.config.saved import config_from_dict
from actre.policies import models


@pytest.mark.parametrize(
    ("typed", "kind"),
    [("tiny", "even-high"), ("tiny/even-high", "even-high"), ("tiny/neutral-v1", "neutral"), ("tiny/narrow", "narrow")],
)
def test_settings_name_a_tiny_policy_in_one_way(typed: str, kind: str) -> None:
    assert ModelConfig(name=typed).name == f"tiny/{kind}"
    if (data_folder() / "tiny" / kind / "config.json").exists():
        assert models.find(typed) == str(data_folder() / "tiny" / kind)


def test_the_default_is_the_policy_that_tiny_stands_for() -> None:
    assert ModelConfig() == ModelConfig(name="tiny")
    assert RunConfig().model == preset("tiny").model == PRESETS["tiny"].model
    assert preset("tiny", "webshop").model.name == "tiny/shopper"


def test_settings_saved_when_tiny_was_the_neutral_policy_still_mean_it(tmp_path: Path) -> None:
    raw = json.loads(json.dumps(asdict(RunConfig())))
    raw["model"]["name"] = "tiny"
    assert config_from_dict(raw).model.name == "tiny/neutral"
    save_config(RunConfig(model=ModelConfig(name="tiny")), tmp_path / "config.json")
    assert load_config(tmp_path / "config.json").model.name == "tiny/even-high"


def test_an_adapter_saved_when_tiny_was_the_neutral_policy_is_loaded_onto_it(tmp_path: Path) -> None:
    (tmp_path / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": "tiny"}))
    base = named_base(tmp_path)
    assert base.name == "tiny/neutral"
    if not (data_folder() / "tiny" / "neutral" / "config.json").exists():
        pytest.skip("the neutral tiny policy is not here")
    first_study = "171adbe6a5ec471af83d06f41f933f615719c61df866195a4466e327316ae5fb"
    (tmp_path / "actre.json").write_text(json.dumps({"base": "tiny", "fingerprint": first_study}))
    must_be_base(tmp_path, models.load(base).model, base.name)
