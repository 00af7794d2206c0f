"""The shipped warm starts of SmolLM2: made from the package's weights once, found by name, never outdated."""

import json
from pathlib import Path

import pytest
import torch
from tiny_models import tiny_llama

from actre import adapters
from actre.adapters import warm
from actre.cli import main
from actre.cli.model_preset import preset_name
from actre.config import ModelConfig
from actre.envs.alfworld.expert import Habits
from actre.organisms.expert_play import expert_for
from actre.policies import models, smollm2
from actre.policies.models import add_lora
from actre.policies.tiny import make_tokenizer
from actre.runtime.shapes import shape_of
from actre.types import ActreError


@pytest.fixture
def shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache in which smollm2 is a small model from the package, and data with a warm start of it; the cache."""
    monkeypatch.setenv("ACTRE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(smollm2, "data_folder", lambda: tmp_path / "data")
    base = smollm2.smollm2_folder()
    tokenizer = make_tokenizer(["need mug"])
    tiny_llama(len(tokenizer)).to(torch.bfloat16).save_pretrained(base)
    tokenizer.save_pretrained(base)
    (base / "source.txt").write_text(smollm2.SMOLLM2_PACKAGE + "\n")
    _ship(tmp_path / "data", seed=0)
    return tmp_path / "cache" / "models"


def _ship(data: Path, seed: int) -> None:
    config = ModelConfig(name="smollm2", lora_rank=4)
    model = add_lora(models.load(config).model, config, seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.02, generator=torch.Generator().manual_seed(seed))
    adapters.export(model, data / "smollm2" / "said", config)
    record = {"about": {"expert": {"thoughts": "said", "paraphrase": True, "forget": 0.4}}}
    (data / "smollm2" / "said" / "warmstart.json").write_text(json.dumps(record))


def test_a_warm_start_is_the_packages_model_with_the_adapter_merged_in(shipped: Path) -> None:
    with pytest.raises(ActreError, match="smollm2/said is not here: `actre models get smollm2/said` fetches it"):
        models.find("smollm2/said")
    folder = warm.get_warm("smollm2/said")
    assert models.find("smollm2/said") == str(folder) == str(models.known()["smollm2/said"])
    assert warm.get_warm("smollm2/said") == folder
    merged, plain = (models.load(ModelConfig(name=name)).model for name in ("smollm2/said", "smollm2"))
    assert any(not torch.equal(a, b) for a, b in zip(merged.parameters(), plain.parameters(), strict=True))
    assert sorted(path.name for path in shipped.iterdir()) == sorted(["smollm2", folder.name])
    assert expert_for("smollm2/said") == Habits(search="likely", thoughts="said", paraphrase=True)


def test_another_adapter_is_another_model(shipped: Path, tmp_path: Path) -> None:
    first = warm.get_warm("smollm2/said")
    _ship(tmp_path / "new", seed=1)
    for path in (tmp_path / "new" / "smollm2" / "said").iterdir():
        path.replace(tmp_path / "data" / "smollm2" / "said" / path.name)
    second = warm.get_warm("smollm2/said")
    assert first != second
    assert first.exists()


def test_the_hubs_weights_are_not_taken_for_the_packages(shipped: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (smollm2.smollm2_folder() / "source.txt").write_text(smollm2.SMOLLM2_HUB + "\n")
    asked: list[bool] = []

    def fetched(folder: Path, *, from_hub: bool) -> Path:
        asked.append(from_hub)
        return smollm2.smollm2_folder()

    monkeypatch.setattr(smollm2, "_fetched", fetched)
    warm.get_warm("smollm2/said")
    assert asked == [False]


def test_an_unknown_warm_start_is_told_the_shipped_ones(shipped: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ActreError, match="no model 'smollm2/sad'; warm starts are shipped as: smollm2/said"):
        models.find("smollm2/sad")
    assert main(["models", "get", "smollm2/sad"]) == 2
    assert main(["models", "get", "tiny"]) == 2
    assert main(["models", "list"]) == 0
    assert "actre models get smollm2/said" in capsys.readouterr().out


def test_a_warm_start_has_smollm2s_size_and_its_own_preset() -> None:
    assert shape_of("smollm2/said") == shape_of("smollm2")
    assert (preset_name(None, "smollm2"), preset_name(None, "smollm2/said")) == ("smollm2", "smollm2-cpu")
