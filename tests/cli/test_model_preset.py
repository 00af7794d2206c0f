"""A pretrained model gets settings that fit one, or none: never the tiny policies' in silence."""

from collections.abc import Callable
from pathlib import Path

import pytest
from tiny_models import char_tokenizer, tiny_llama

from actre import cli
from actre.cli import diagnose, quickstart, train
from actre.cli.model_preset import preset_name
from actre.config import RunConfig
from actre.config.presets import PRESETS, preset
from actre.runtime.estimate import cpu, gpu
from actre.types import ActreError

HUB = "owner/a-model-of-mine"
READS: dict[str, Callable[..., RunConfig]] = {
    "train": train._config,
    "diagnose": diagnose.policy_config,
    "evaluate": diagnose.policy_config,
    "preconditions": diagnose.policy_config,
    "quickstart": quickstart._config,
}


def read(command: str, *arguments: str) -> RunConfig:
    return READS[command](cli.build_parser(command).parse_args([command, *arguments]))


@pytest.mark.parametrize("command", READS)
def test_a_hub_model_without_a_preset_is_asked_for_one(command: str) -> None:
    with pytest.raises(ActreError, match=rf"(?s){HUB} needs a preset.*qwen-0\.5b-16gb \(16 GB\).*--model {HUB}"):
        read(command, "--model", HUB)
    config = read(command, "--model", HUB, "--preset", "qwen-0.5b-16gb")
    assert config.model.name == HUB
    assert config.optim == PRESETS["qwen-0.5b-16gb"].optim


@pytest.mark.parametrize("command", READS)
@pytest.mark.parametrize("name", ["smollm2", "Qwen/Qwen2.5-0.5B-Instruct", "Qwen/Qwen2.5-7B-Instruct"])
def test_a_model_that_a_preset_is_for_brings_it(command: str, name: str) -> None:
    config = read(command, "--model", name)
    assert config.preset != "tiny"
    assert preset(config.preset).model.name == name
    assert config.optim.learning_rate < 3e-4 < PRESETS["tiny"].optim.learning_rate
    assert config.sampling.max_reply_tokens > PRESETS["tiny"].sampling.max_reply_tokens


@pytest.mark.parametrize("command", READS)
def test_a_model_with_presets_of_very_different_price_is_asked_which(command: str) -> None:
    name = "Qwen/Qwen2.5-1.5B-Instruct"
    with pytest.raises(ActreError, match=r"qwen-1\.5b-24gb \(24 GB\).*actre doctor --preset"):
        read(command, "--model", name)
    assert read(command, "--model", name, "--preset", "qwen-1.5b-24gb").model.name == name


def test_a_folder_is_pretrained_by_its_size(tmp_path: Path) -> None:
    tiny_llama(len(char_tokenizer()), hidden=64).save_pretrained(tmp_path / "small")
    assert preset_name(None, str(tmp_path / "small")) == "tiny"
    assert preset_name(None, str(tmp_path / "nothing")) == "tiny", "loading it says that there is nothing"
    (tmp_path / "large").mkdir()
    sizes = {"num_hidden_layers": 24, "hidden_size": 896, "intermediate_size": 4864, "vocab_size": 151936}
    (tmp_path / "large" / "config.json").write_text(str({**sizes, "num_attention_heads": 14}).replace("'", '"'))
    with pytest.raises(ActreError, match="needs a preset"):
        preset_name(None, str(tmp_path / "large"))
    assert preset_name("smollm2", str(tmp_path / "large")) == "smollm2"


# --- the quickstart on a GPU ---


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[RunConfig, int]]:
    """What the quickstart would have run, and how many jobs at once."""
    found: list[tuple[RunConfig, int]] = []

    def run(config: RunConfig, out: Path, *, at_once: int, say: object) -> Path:
        found.append((config, at_once))
        return out / "report.html"

    monkeypatch.setattr("actre.study.quickstart.quickstart", run)
    monkeypatch.setattr("actre.rollout.evaluate.must_have_games", lambda *given: None)
    monkeypatch.setattr(quickstart, "conclude", lambda folders: None)
    return found


@pytest.mark.parametrize("name", ["qwen-0.5b-16gb", "qwen-1.5b-24gb"])
def test_on_one_gpu_the_quickstart_takes_one_job_at_a_time_and_the_presets_steps(
    name: str, asked: list[tuple[RunConfig, int]], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(quickstart, "here", lambda: gpu("NVIDIA L4", 24.0))
    assert cli.main(["quickstart", "--preset", name, "--engine", "vllm", "--set", "optim.groups=4"]) == 0
    ((config, at_once),) = asked
    assert at_once == 1
    assert config.env_steps == PRESETS[name].env_steps
    assert (config.model.engine, config.optim.groups) == ("vllm", 4)
    said = capsys.readouterr().out
    assert "estimated, not measured" in said
    assert f"actre quickstart --preset {name} --seed 1" in said


@pytest.mark.parametrize("command", [["quickstart"], ["preconditions", "--out", "p"]])
def test_games_that_are_missing_are_named_before_a_model_is_fetched(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ALFWORLD_DATA", str(tmp_path / "nothing"))
    monkeypatch.setattr(quickstart, "here", lambda: gpu("NVIDIA L4", 24.0))
    assert cli.main([*command, "--preset", "qwen-1.5b-24gb"]) == 2
    assert "alfworld-download" in capsys.readouterr().err
    assert not list(tmp_path.iterdir()), "no job has begun"


def test_a_quickstart_that_does_not_fit_is_refused_before_anything_is_made(
    asked: list[tuple[RunConfig, int]], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["quickstart", "--preset", "qwen-1.5b-24gb"]
    for device, said in ((gpu("NVIDIA GTX 1050", 4.0), "model.four_bit"), (cpu(4.0, 2), "there is no GPU here")):
        monkeypatch.setattr(quickstart, "here", lambda device=device: device)
        assert cli.main(command) == 2
        assert said in capsys.readouterr().err
    assert not asked
    assert cli.main([*command, "--force"]) == 0
    assert len(asked) == 1
