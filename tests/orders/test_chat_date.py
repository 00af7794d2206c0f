"""A template that writes today's date is told the settings' day: prompts, runs and records are the same on any day."""

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from chat_templates import DATED, FAMILIES, turn_clock_to, with_template
from fake_env import CorridorEnv
from scripted_orders import probes
from tiny_models import tiny_llama

from actre.cli.diagnose import keep_settings
from actre.config import (
    ModelConfig,
    PromptConfig,
    RunConfig,
    SamplingConfig,
    config_from_dict,
    load_config,
    save_config,
)
from actre.config.overrides import changed
from actre.entropy.diagnose import diagnose
from actre.entropy.probes import Probe
from actre.orders.chat import chat_format
from actre.policies.hf import HFPolicy
from actre.policies.models import add_lora
from actre.rollout import rollout
from actre.training import train
from actre.types import ORDERS, ActreError, Observation, read_trajectories

NOVEMBER, DECEMBER = (2026, 11, 30, 23, 59), (2026, 12, 1, 0, 1)
TOKENIZER = with_template(DATED)
MODEL = tiny_llama(len(TOKENIZER))
CONFIG = RunConfig(sampling=SamplingConfig(max_reply_tokens=4))
SEEN = Observation("a room", "find it", ())
LATER = replace(CONFIG, prompt=replace(CONFIG.prompt, date="2026-12-24"))


def policy() -> HFPolicy:
    return HFPolicy(MODEL, TOKENIZER)


def test_the_clock_that_is_turned_here_is_the_one_that_templates_ask(monkeypatch: pytest.MonkeyPatch) -> None:
    def own() -> str:
        said = TOKENIZER.apply_chat_template([{"role": "user", "content": "hi"}], tokenize=False)
        return str(said).removeprefix("<|start|>today is ").partition("\n")[0]

    turn_clock_to(monkeypatch, *NOVEMBER)
    assert own() == "30 Nov 2026, 23:59"
    turn_clock_to(monkeypatch, *DECEMBER)
    assert own() == "01 Dec 2026, 00:01"


@pytest.mark.parametrize("order", ORDERS)
def test_a_prompt_is_the_same_on_every_day_and_at_every_time(monkeypatch: pytest.MonkeyPatch, order: Any) -> None:
    prompts = []
    for now in (NOVEMBER, DECEMBER, (2031, 7, 4, 12)):
        turn_clock_to(monkeypatch, *now)
        prompts.append(policy().renderer(PromptConfig(), order).prompt([], SEEN))
    assert prompts[0] == prompts[1] == prompts[2]
    assert policy().decode(prompts[0]).startswith("<|start|>today is 01 Jan 2026, 00:00\n")


@pytest.mark.parametrize(
    ("date", "told"),
    [
        ("2026-12-24", "24 Dec 2026, 00:00"),
        ("2026-12-24T18:30", "24 Dec 2026, 18:30"),
        ("20270203", "03 Feb 2027, 00:00"),
    ],
)
def test_the_day_that_is_told_is_a_setting(date: str, told: str) -> None:
    config = changed(RunConfig(), [f"prompt.date={date}"])
    assert chat_format(TOKENIZER, config.prompt.date).head == f"<|start|>today is {told}\n"


@pytest.mark.parametrize("date", ["", "today", "24 Dec 2026", "2026-02-30", "2026"])
def test_what_is_no_day_is_refused(date: str) -> None:
    with pytest.raises(ActreError, match=r"PromptConfig\.date .*such as 2026-01-01"):
        changed(RunConfig(), [f"prompt.date={date}"])


@pytest.mark.parametrize("name", [name for name, family in FAMILIES.items() if "strftime_now" not in family.template])
def test_a_template_that_writes_no_date_or_one_of_its_own_is_told_none(name: str) -> None:
    assert chat_format(with_template(FAMILIES[name].template), "2026-12-24") == FAMILIES[name].pieces


def test_a_template_is_told_the_day_inside_its_macros_too() -> None:
    inside = "{% macro today() %}{{ strftime_now('%A') }}{% endmacro %}{{ today() }} "
    assert chat_format(with_template(inside + DATED)).head.startswith("Thursday <|start|>today is 01 Jan 2026")


def test_a_run_that_goes_on_after_midnight_has_the_prompts_it_would_have_had(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    tiny = changed(
        RunConfig(),
        [
            "optim.groups=2",
            "optim.group_size=2",
            "env.max_steps=2",
            "sampling.max_reply_tokens=4",
            "checkpoint.every=1",
        ],
    )
    config = replace(tiny, stages=(replace(tiny.stages[0], iterations=2),), probe=replace(tiny.probe, every=1))

    def run(out: Path, **how: Any) -> None:
        model = add_lora(tiny_llama(len(TOKENIZER)), ModelConfig(lora_rank=2), 0)
        train(config, out, model=model, tokenizer=TOKENIZER, progress=False, **how)

    def measure(asked: Any, done: int, stage: int) -> dict[str, Any]:
        if done == 1:
            raise KeyboardInterrupt
        return {}

    turn_clock_to(monkeypatch, *NOVEMBER)
    run(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "cut", measure=measure)
    turn_clock_to(monkeypatch, *DECEMBER)
    run(tmp_path / "cut", resume=True)
    whole, cut = (prompts_in(tmp_path / name / "trajectories") for name in ("whole", "cut"))
    assert len(whole) == 2
    assert whole == cut
    assert load_config(tmp_path / "cut" / "config.json").prompt.date == PromptConfig.date


def prompts_in(folder: Path) -> list[list[tuple[int, ...]]]:
    files = sorted(folder.glob("train_*.jsonl.gz"))
    return [[step.prompt_ids for one in read_trajectories(path) for step in one.steps] for path in files]


def test_an_episode_played_again_on_another_day_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    def played() -> Any:
        one = policy()
        return rollout(
            one,
            [CorridorEnv(limit=3)],
            ["4"],
            renderer=one.renderer(CONFIG.prompt, "act_first"),
            sampling=CONFIG.sampling,
            temperature=1.0,
            max_steps=3,
            seed=1,
        )

    turn_clock_to(monkeypatch, *NOVEMBER)
    before = played()
    turn_clock_to(monkeypatch, *DECEMBER)
    assert played() == before


def diagnosed(config: RunConfig = CONFIG, **how: Any) -> Any:
    return diagnose(policy(), STATES, config, thoughts=2, seed=0, **how)


STATES: list[Probe] = probes(("left", "right"), games=3)


def test_a_diagnosis_that_goes_on_another_day_is_that_of_one_day(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    turn_clock_to(monkeypatch, *NOVEMBER)
    whole = diagnosed(out=tmp_path / "d.jsonl")
    lines = (tmp_path / "d.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "d.jsonl").write_text("".join(lines[:2]))
    turn_clock_to(monkeypatch, *DECEMBER)
    for again in (diagnosed(out=tmp_path / "d.jsonl"), diagnosed()):
        assert again.settings == whole.settings
        assert [state.thoughts for state in again.states] == [state.thoughts for state in whole.states]
        # up to rounding: what is cached differs
        assert [state.act_first_p for state in again.states] == [pytest.approx(s.act_first_p) for s in whole.states]


def test_measurements_that_were_told_other_days_say_so(tmp_path: Path) -> None:
    found = diagnosed(out=tmp_path / "d.jsonl")
    assert (found.settings.date, diagnosed(LATER).settings.date) == (PromptConfig.date, "2026-12-24")
    with pytest.raises(ActreError, match=r"other settings \(date\)"):
        diagnosed(LATER, out=tmp_path / "d.jsonl")
    keep_settings(CONFIG, tmp_path)
    with pytest.raises(ActreError, match=r"prompt\.date: 2026-01-01 became 2026-12-24"):
        keep_settings(LATER, tmp_path)


def test_settings_and_diagnoses_from_before_there_was_a_date_are_read(tmp_path: Path) -> None:
    raw = json.loads(json.dumps(asdict(CONFIG)))
    del raw["prompt"]["date"]
    assert config_from_dict(raw) == CONFIG
    save_config(CONFIG, tmp_path / "config.json")
    whole = diagnosed(out=tmp_path / "d.jsonl")
    settings, *states = (tmp_path / "d.jsonl").read_text().splitlines(keepends=True)
    older = json.loads(settings)
    del older["settings"]["date"]
    (tmp_path / "d.jsonl").write_text("".join([json.dumps(older) + "\n", *states]))
    assert diagnosed(out=tmp_path / "d.jsonl") == whole
