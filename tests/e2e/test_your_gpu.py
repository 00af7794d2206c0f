"""docs/your-gpu.md: its prices are what the code says, its commands exist, and all of them run on a stand-in.

The stand-in has the shape of what the page is about: a random Qwen2 of two layers with the real tokenizer, games in the
official format, and the preset's own settings but for sizes. What needs a GPU or a network is not run here.
"""

import importlib
import re
import shlex
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest
import torch
from game_files import write
from test_results import benchmark
from tokenizers_at_hand import real_tokenizer
from transformers import Qwen2Config, Qwen2ForCausalLM

from actre import cli
from actre.cli import doctor
from actre.config import RunConfig
from actre.config.overrides import assignments, changed
from actre.config.presets import GPU_GB, PRESETS
from actre.envs.alfworld import games
from actre.runtime.estimate import gpu

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "your-gpu.md").read_text()
LINES = [line for block in re.findall(r"```bash\n(.*?)```", PAGE, re.DOTALL) for line in block.splitlines()]
ROUTES = re.findall(r"`export PRESET=(\S+) PART=(\S+)`", PAGE)
NOT_HERE = ("git clone", "cd ", "make doctor", "source ", "pip install", "alfworld-download", "tensorboard", "export ")
"""Beginnings of lines for a shell, a network, or a viewer; and `export`, which the tests do themselves."""
PRESET = "qwen-1.5b-24gb"


def filled(line: str, preset: str, part: str, out: str) -> list[str]:
    """A line's words with the page's variables filled in."""
    for name, value in {"PRESET": preset, "PART": part, "OUT": out}.items():
        line = line.replace(f"${name}", value)
    return shlex.split(line)


def commands(preset: str, part: str, out: str) -> list[list[str]]:
    return [filled(line, preset, part, out)[1:] for line in LINES if not line.startswith(NOT_HERE)]


@pytest.fixture
def prices() -> ModuleType:
    return benchmark("your_gpu")


def test_the_prices_on_the_page_are_what_the_presets_and_the_estimate_give(prices: ModuleType) -> None:
    assert prices.made(PAGE) == PAGE
    assert prices.prices() in PAGE
    assert prices.steps() in PAGE


def test_the_page_has_a_route_for_each_size_and_says_that_no_gpu_has_run_it(prices: ModuleType) -> None:
    assert {GPU_GB[name] for name, _ in ROUTES} == {16, 24, 80}
    assert {name for name, _ in ROUTES} == {name for *_, name in prices.ROUTES}
    assert "**No GPU has run this page.**" in PAGE


@pytest.mark.parametrize(("preset", "part"), ROUTES)
def test_every_command_on_the_page_is_one_that_its_parser_takes(preset: str, part: str) -> None:
    asked = commands(preset, part, "runs/mine")
    assert {"doctor", "gpu-check", "games", "warmstart", "evaluate", "preconditions", "quickstart", "report"} < {
        words[0] for words in asked
    }
    for words in asked:
        cli.build_parser(words[0]).parse_args(words)


# --- the commands, on a stand-in ---


def stand_in(folder: Path, shared: Path) -> Path:
    """A random Qwen2 of two layers, with the tokenizer of the real one."""
    (folder / "tokenizer").mkdir(parents=True)
    tokenizer = real_tokenizer("qwen2.5-like", shared, folder / "tokenizer")
    config = Qwen2Config(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=8192,
        tie_word_embeddings=True,
        eos_token_id=tokenizer.eos_token_id,
        bos_token_id=None,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        Qwen2ForCausalLM(config).save_pretrained(folder / "model")
    tokenizer.save_pretrained(folder / "model")
    return folder / "model"


def official_games(root: Path) -> None:
    """Three games in each official split, as alfworld-download lays them out."""
    found = [games.read_game(path) for path in games.list_games("small/unseen")[:3]]
    for split in ("train", "valid_seen", "valid_unseen"):
        for number, game in enumerate(found):
            write(root / "json_2.1.1" / split / f"{game.task_type}-Mug-None-Shelf-{number}" / "trial_1", game=game)


SMALL = (
    "env.max_steps=3",
    "env_steps=24",
    "optim.groups=2",
    "optim.group_size=2",
    # a random model wins nothing, and an adapter that changed nothing is not exported
    "optim.entropy_coef=0.1",
    "optim.learning_rate=0.01",
    "sampling.max_reply_tokens=12",
    "evaluation.limit=2",
    "probe.states=2",
    "probe.thoughts=2",
    "probe.diagnosis_thoughts=2",
    "probe.retrieval_states=2",
    "probe.retrieval_thoughts=2",
)
NO_BONUS = "optim.entropy_coef=0"
"""Named arms have none; the quickstart's take the preset's settings as they are."""
CHEAPER = {
    "warmstart": ["--states", "2"],
    "warmstart --out": ["--steps", "3", "--episodes", "2", "--states-per-episode", "1", "--batch-size", "2"],
    "preconditions": ["--parts", "contraction", "start", "--states", "1", "--thoughts", "2", "--games", "2"],
    "train": ["--evaluate", "2", "--set", NO_BONUS],
    "quickstart": ["--iterations", "2"],
}
"""Options that make a command small; what the page says is left as it stands."""


def small_study(path: Path, config: RunConfig, part: str) -> Path:
    """A copy of the study with one seed, two arms and the sizes of the stand-in."""
    sizes = {name: value for name, _, value in (text.partition("=") for text in assignments(config, PRESETS[PRESET]))}
    sizes["optim.entropy_coef"] = "0"  # the command reads the file beside the stand-in's preset, which has one
    inside = ", ".join(f'"{name}" = "{value}"' for name, value in sizes.items())
    path.write_text(
        f'name = "qwen"\n[[part]]\nname = "{part}"\npreset = "{PRESET}"\nseeds = [0]\n'
        f"settings = {{ {inside}, iterations = 2, switch = 1 }}\n"
        'exploratory = [["actre-grpo", "think_first-grpo"]]\n[[part.runs]]\narms = ["think_first", "actre"]\n'
    )
    return path


@pytest.fixture
def in_one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Jobs run in this process, by the entry of a job's own program: importing torch anew takes most of their time.

    tests/e2e/test_quickstart.py and test_study.py run them as processes.
    """

    def start(
        module: str, arguments: Sequence[str], log: Path, env: dict[str, str] | None = None
    ) -> "subprocess.Popen[bytes]":
        monkeypatch.setattr(sys, "argv", [module, *arguments])
        code = importlib.import_module(module)._main()
        log.write_text("in the process of the test\n")
        return subprocess.Popen([sys.executable, "-c", f"raise SystemExit({code})"])

    for starter in ("actre.study.quickstart", "actre.study.runner", "actre.study.preconditions.runner"):
        monkeypatch.setattr(importlib.import_module(starter), "start", start)


@pytest.mark.slow
@pytest.mark.usefixtures("in_one_process")
def test_the_pages_commands_run_from_nothing_to_a_verdict_on_a_stand_in(
    shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    part = dict(ROUTES)[PRESET]
    model = stand_in(tmp_path / "qwen", shared)
    official_games(tmp_path / "alfworld")
    monkeypatch.setenv("ALFWORLD_DATA", str(tmp_path / "alfworld"))
    config = changed(PRESETS[PRESET], [f"model.name={model}", *SMALL])
    config = replace(config, stages=tuple(replace(stage, iterations=1) for stage in config.stages))
    study = small_study(tmp_path / "qwen.toml", config, part)
    monkeypatch.setitem(PRESETS, PRESET, config)
    monkeypatch.setattr(doctor, "here", lambda: gpu("NVIDIA L4", 23.7))
    monkeypatch.chdir(tmp_path)
    out = tmp_path / "runs" / "mine"
    for words in commands(PRESET, part, str(out)):
        if words[0] == "gpu-check":  # tests/study/test_gpu_check.py
            continue
        words = [str(study) if word.endswith("qwen.toml") else word for word in words]
        if "--resume" not in words:
            words += CHEAPER.get(words[0], [])
        if words[0] == "warmstart" and "--out" in words:
            words += CHEAPER["warmstart --out"]
        code = cli.main(words)
        said = capsys.readouterr()
        # a random model follows no format, which --check says with its exit code; the estimate's too may say no
        allowed = (0, 1) if "--check" in words or words[:2] == ["doctor"] else (0,)
        assert code in allowed, f"actre {' '.join(words)}: {said.out[-1500:]}{said.err[-1500:]}"
        if "--check" in words:
            assert f"actre warmstart --preset {PRESET}" in said.out
        if words[:2] == ["doctor", "--preset"]:
            assert "it fits" in said.out
        if words[0] == "games":
            assert "3" in said.out
    for left in ("start/evaluation.jsonl", "seed-0/report.html", "both.html", "export/adapter_config.json"):
        assert (out / left).is_file(), left
    assert (out / "study" / "qwen" / "study.html").is_file()
    assert list((out / "seed-0" / "actre").rglob("events.out.tfevents*")), "tensorboard has something to show"
    assert (out / "one" / "adapter").is_dir()
