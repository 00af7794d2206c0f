"""Exports used without the kit: the card's own code gives what the kit's policy gives, and asks no hub."""

import ast
import json
import os
import re
import subprocess
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from environments import asks_no_hub, only
from hypothesis import given
from hypothesis import strategies as st
from tiny_models import char_tokenizer

from actre import adapters
from actre.adapters import standalone
from actre.adapters.standalone import BASE, Standalone, fenced, quoted, usage
from actre.config import EnvConfig, ModelConfig, PromptConfig, RunConfig, SamplingConfig, StageConfig, save_config
from actre.config.presets import preset
from actre.envs.worlds import list_games
from actre.orders import Renderer, chat_format
from actre.policies.models import add_lora, load
from actre.rollout import make_envs
from actre.rollout.episodes import rollout
from actre.types import ORDERS, ActreError, Observation, Order, Step, Trajectory

_NO_GAMES = EnvConfig(unseen="no-such-panel")


def a_run(folder: Path, config: RunConfig) -> Path:
    """A run of a shipped policy whose adapter changes it somewhat."""
    model = add_lora(load(config.model).model, config.model, seed=1)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.01)
    adapters.export(model, folder / "adapter", config.model)
    save_config(config, folder / "config.json")
    return folder


def code_of(card: Path) -> str:
    """The card's first block of Python."""
    found = re.search(r"```python\n(.*?)\n```", card.read_text(encoding="utf-8"), re.DOTALL)
    assert found is not None
    return found[1]


def prompt_in(code: str) -> str:
    (text,) = (
        ast.literal_eval(node.value)
        for node in ast.parse(code).body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "PROMPT"
    )
    return str(text)


def kits_episode(config: RunConfig, adapter: Path, steps: int) -> Trajectory:
    """The first steps of the first unseen game, as the kit's own policy plays them."""
    policy = adapters.load_policy(config, adapter)
    order = config.stages[-1].order
    game = list_games(config.env.name, config.env.unseen)[0]
    played = rollout(
        policy,
        make_envs(config.env, 1),
        [game],
        renderer=policy.renderer(config.prompt, order),
        sampling=config.sampling,
        temperature=config.sampling.eval_temperature,
        max_steps=steps,
        seed=0,
    )
    return played[0]


_PLAY = """
import json, os, socket, sys
asked = []
def refuse(host, *rest, **named):
    asked.append(host)
    raise socket.gaierror("no network here")
socket.getaddrinfo = refuse

def play(folder, code, later, ids, temperature, auto):
    os.chdir(folder)
    space = {"__name__": "card"}
    exec(code, space)
    replies = [space["ids"]]
    for text in later:
        replies.append(space["play"](replies[-1], text)[0])
    torch, model = space["torch"], space["model"]
    if auto:
        from peft import AutoPeftModelForCausalLM
        model = AutoPeftModelForCausalLM.from_pretrained(".")
    with torch.no_grad():
        logps = model(torch.tensor([ids])).logits[0].float().div(temperature or 1.0).log_softmax(-1)
    return {"replies": replies, "logps": [logps[at - 1, token].item() for at, token in enumerate(ids) if at]}

gave = {name: play(**given) for name, given in json.load(open(sys.argv[1])).items()}
try:
    import actre
except ModuleNotFoundError:
    json.dump({"asked": asked, "gave": gave}, open(sys.argv[2], "w"))
"""


class Elsewhere(NamedTuple):
    """What exports gave in a Python with torch, transformers, peft and what these need, and what was said there."""

    said: str
    asked: list[str]
    gave: dict[str, Any]
    episodes: dict[float, Trajectory]


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Elsewhere:
    from actre.cli import main

    place = tmp_path_factory.mktemp("elsewhere")
    given, episodes = {}, {}
    for temperature in (0.0, 0.4):
        config = replace(preset("tiny"), sampling=replace(preset("tiny").sampling, eval_temperature=temperature))
        run, merged = a_run(place / f"run-{temperature}", config), place / f"merged-{temperature}"
        assert main(["export", str(run), "--merge", str(merged)]) == 0
        episodes[temperature] = episode = kits_episode(config, run / "adapter", 3)
        texts, last = [step.observation.text for step in episode.steps], episode.steps[-1]
        for form, folder in {"adapter": run / "export", "auto": run / "export", "merged": merged}.items():
            code = code_of(folder / "README.md")
            assert texts[0].rsplit("\n", 1)[-1] in prompt_in(code)
            given[f"{form} {temperature}"] = {
                "folder": str(folder),
                "code": code,
                "later": [f"<|end|>{text}<|assistant|><think>" for text in texts[1:] if temperature == 0],
                "ids": [*last.prompt_ids, *last.reply_ids],
                "temperature": temperature,
                "auto": form == "auto",
            }
    (place / "given.json").write_text(json.dumps(given))
    keep = ("PATH", "TMPDIR", "OMP_NUM_THREADS", "PYTHONPYCACHEPREFIX")
    env = {name: os.environ[name] for name in keep if name in os.environ} | {"HOME": str(place)}
    python = only(place, "torch", "transformers", "peft")
    words = [str(python), "-c", _PLAY, str(place / "given.json"), str(place / "gave.json")]
    done = subprocess.run(words, env=env, cwd=place, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return Elsewhere(done.stderr, **json.loads((place / "gave.json").read_text()), episodes=episodes)


@pytest.mark.slow
@pytest.mark.parametrize("form", ["adapter", "auto", "merged"])
def test_the_cards_code_plays_as_the_kits_policy_where_the_kit_is_not(elsewhere: Elsewhere, form: str) -> None:
    greedy = [[*step.prompt_ids, *step.reply_ids] for step in elsewhere.episodes[0.0].steps]
    assert elsewhere.gave[f"{form} 0.0"]["replies"] == greedy
    steps = elsewhere.episodes[0.4].steps
    places = [len(step.prompt_ids) + i - 1 for step in steps for i in range(len(step.reply_ids))]
    theirs = elsewhere.gave[f"{form} 0.4"]["logps"]
    assert [theirs[at] for at in places] == pytest.approx([p for step in steps for p in step.reply_logps], abs=1e-4)


@pytest.mark.slow
def test_there_nothing_is_asked_of_a_hub_and_nothing_alarming_is_said(elsewhere: Elsewhere) -> None:
    assert elsewhere.asked == []
    said = [line for line in re.split(r"[\r\n]", elsewhere.said) if line.strip() and "Loading weights" not in line]
    assert said == []


@pytest.mark.slow
def test_an_export_of_a_shipped_policy_asks_no_hub_and_says_nothing_alarming(tmp_path: Path) -> None:
    run = a_run(tmp_path / "run", preset("tiny"))
    said = asks_no_hub("export", str(run), "--merge", str(tmp_path / "merged"))
    lines = [line for line in re.split(r"[\r\n]", said) if line.strip()]
    assert [line for line in lines if not re.match("(Loading weights|Writing model shards): ", line)] == []


def test_an_exports_own_code_gives_the_kits_greedy_replies(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As above in this process, for a shop, whose second step is played too."""
    shop = preset("tiny", "webshop")
    config = replace(shop, sampling=replace(shop.sampling, eval_temperature=0.0))
    run = a_run(tmp_path / "run", config)
    policy = adapters.load_policy(config, run / "adapter")
    adapters.export(policy.model, tmp_path / "out", config.model, alone=Standalone(policy.tokenizer, config))
    episode = kits_episode(config, run / "adapter", 2)
    monkeypatch.chdir(tmp_path / "out")
    space: dict[str, Any] = {"__name__": "card"}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        exec(code_of(Path("README.md")), space)
    one, two = episode.steps
    assert space["ids"] == [*one.prompt_ids, *one.reply_ids]
    chat = policy.renderer(config.prompt, "think_first").chat
    text = chat.to_user + two.observation.text + chat.to_assistant + "<think>"
    assert space["play"](space["ids"], text)[0] == [*two.prompt_ids, *two.reply_ids]
    assert capsys.readouterr().out == f"<think>{one.reply_text}\n"


def test_an_export_holds_tokenizer_and_base_and_loads_with_the_kit_as_before(tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    config = preset("tiny")
    run = a_run(tmp_path / "run", config)
    model, tokenizer = adapters.load(run / "adapter")
    out = adapters.export(model, tmp_path / "out", config.model, alone=Standalone(tokenizer, config))
    again = AutoModelForCausalLM.from_pretrained(out / "base", dtype="float32")
    assert json.loads((out / "actre.json").read_text())["fingerprint"] == adapters.fingerprint(again)
    assert json.loads((out / "adapter_config.json").read_text())["base_model_name_or_path"] == BASE
    assert adapters.files.named_base(out) == ModelConfig(name="tiny")
    assert adapters.check(out, model, tokenizer).passed
    assert not any(str(tmp_path).encode() in path.read_bytes() for path in out.rglob("*") if path.is_file())


def test_an_export_of_an_earlier_version_names_its_base_in_pefts_settings(tmp_path: Path) -> None:
    config = preset("tiny")
    run = a_run(tmp_path / "run", config)
    about = json.loads((run / "adapter" / "actre.json").read_text())
    del about["base"], about["four_bit"]
    (run / "adapter" / "actre.json").write_text(json.dumps(about))
    assert adapters.files.named_base(run / "adapter") == ModelConfig(name="tiny")
    (run / "adapter" / "actre.json").unlink()
    assert adapters.load(run / "adapter").model is not None


@pytest.mark.parametrize(
    ("base", "loads", "says"),
    [
        (ModelConfig(name="tiny/narrow"), 'FOLDER + "/base"', "base/ is the base model tiny/narrow"),
        (ModelConfig(name="smollm2"), 'FOLDER + "/base"', "base/ is the base model smollm2"),
        (ModelConfig(name="owner/model"), '"owner/model"', "AutoPeftModelForCausalLM.from_pretrained(FOLDER)"),
        (ModelConfig(name="/some/where/mine"), '"THE FOLDER OF mine"', "mine is not part of the export"),
        (ModelConfig(name="owner/model", four_bit=True), "bnb_4bit_compute_dtype=torch.bfloat16", "owner/model"),
    ],
    ids=lambda given: getattr(given, "name", ""),
)
def test_the_code_loads_the_base_from_where_it_is(base: ModelConfig, loads: str, says: str) -> None:
    config = replace(preset("tiny"), env=_NO_GAMES)
    card = usage(Standalone(char_tokenizer(), config), base, "bfloat16")
    assert loads in card
    assert says in card
    assert 'dtype="bfloat16"' in card
    assert "/some/where" not in card
    assert ("BitsAndBytesConfig, " in card) is base.four_bit
    compile(re.findall(r"```python\n(.*?)\n```", card, re.DOTALL)[0], "card", "exec")


# --- the prompt in the card ---

_PROMPTS = [
    PromptConfig(),
    PromptConfig(wording="instructed", list_admissible=True),
    PromptConfig(history_thoughts=False),
    PromptConfig(history="windowed", list_admissible=True),
    PromptConfig(tags="free", wording="instructed"),
]


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("prompt", _PROMPTS, ids=["growing", "listed", "bare", "windowed", "free"])
def test_the_cards_prompts_are_the_kits(prompt: PromptConfig, order: Order) -> None:
    tokenizer = char_tokenizer()
    config = replace(preset("tiny"), prompt=prompt, stages=(StageConfig(order, 1),))
    card = usage(Standalone(tokenizer, config), config.model, "float32")
    text, info = make_envs(config.env, 1)[0].reset(options={"game": list_games("alfworld", config.env.unseen)[0]})
    seen = [Observation(text, info["task"], ("go", "look")), *(Observation(w, info["task"], (w,)) for w in ("b", "c"))]
    chat = chat_format(tokenizer, prompt.date)
    renderer = Renderer(lambda text: tokenizer.encode(text, add_special_tokens=False), chat, prompt, order)
    steps: list[Step] = []
    for number, observation in enumerate(seen, 1):
        ids, reply = renderer.prompt(steps, observation), f"reply {number}"
        said = tuple(renderer.encode(reply))
        steps.append(Step(observation, ids, said, (), reply, None, f"action {number}", (), 0.0))
    bare = text.partition("=-")[2].lstrip()
    code, third = (re.findall(rf"```{kind}\n(.*?)\n```", card, re.DOTALL)[0] for kind in ("python", "text"))
    first = Observation(text, info["task"], tuple(info["admissible_commands"]))
    assert renderer.encode(prompt_in(code)) == list(renderer.prompt((), first))
    third = third.replace("{observation 1, with the task {task}, without its banner line}", bare).replace(
        "{task}", info["task"]
    )
    for number, observation in enumerate(seen, 1):
        third = third.replace(f"{{observation {number}}}", observation.text)
        third = third.replace(f"{{admissible {number}}}", "; ".join(observation.admissible))
    third = re.sub(r"\{(reply|action) (\d)\}", r"\1 \2", third)
    assert renderer.encode(third) == list(steps[2].prompt_ids)


@pytest.mark.parametrize("error", [ActreError("no such package"), FileNotFoundError("no such game")])
def test_where_no_game_can_be_started_the_prompt_says_what_belongs_there(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(env: EnvConfig) -> None:
        raise error

    monkeypatch.setattr(standalone, "make_env", fails)
    config = preset("tiny")
    card = usage(Standalone(char_tokenizer(), config), config.model, "float32")
    assert "{task}\n{observation}" in prompt_in(re.findall(r"```python\n(.*?)\n```", card, re.DOTALL)[0])


@pytest.mark.parametrize(
    ("temperature", "said"), [(0.0, "do_sample=False"), (0.7, "temperature=0.7, top_k=0, top_p=1.0")]
)
def test_the_sampling_settings_are_the_runs(temperature: float, said: str) -> None:
    sampling = SamplingConfig(temperature=0.9, eval_temperature=temperature, max_reply_tokens=77)
    config = replace(preset("tiny"), sampling=sampling, env=_NO_GAMES)
    card = usage(Standalone(char_tokenizer(), config), config.model, "float32")
    assert said in card
    assert "max_new_tokens=77" in card
    assert "0.9 in training" in card


@given(st.text("ab'é \"\\`\n\r\0"))
def test_a_text_stands_between_quotes_and_fences_unchanged(text: str) -> None:
    assert ast.literal_eval(f'"""{quoted(text)}"""') == text
    first, *inside, last = fenced(text, "text").split("\n")
    assert first == f"{last}text"
    assert not any(last in line for line in inside)
