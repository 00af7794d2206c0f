"""What a model can hold: episodes are cut before its positions run out, flagged and counted; all else is refused."""

import html
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fake_env import CorridorEnv
from fake_run import build_run
from fake_vllm_server import FakeServer
from tiny_models import char_tokenizer, tiny_gpt2, tiny_llama
from transformers import BloomConfig, Gemma3Config, GPT2Config, LlamaConfig, OPTConfig, Qwen2Config, XLNetConfig

from actre import cli
from actre.adapters.trained import _logits
from actre.cli.evaluate import described
from actre.config import EnvConfig, ModelConfig, PromptConfig, RunConfig, SamplingConfig
from actre.entropy.diagnose import diagnose
from actre.entropy.probes import Probe
from actre.policies.context import held_by, prompt_limit
from actre.policies.hf import HFPolicy
from actre.policies.scripted import ScriptedPolicy, Table
from actre.policies.vllm import ServerPolicy
from actre.rollout import BranchPoint, branch, must_start, rollout
from actre.rollout.evaluate import load_evaluation, play, save_evaluation, summarise
from actre.training import train
from actre.training.runlog import rollout_metrics
from actre.types import ActreError, Observation, Trajectory, read_jsonl, trajectory_from_json, trajectory_to_json
from actre.view import Inspector, report
from actre.view.inspector import annotate

SAMPLING = SamplingConfig(max_reply_tokens=12)
GROWING, WINDOWED = PromptConfig(), PromptConfig(history="windowed", window=2)


def looking(max_context: int | None) -> ScriptedPolicy:
    """Always looks around, so that an episode ends at a limit alone."""
    return ScriptedPolicy(lambda prompt: Table({"hm": 1.0}, {"hm": {"look": 1.0}}), max_context=max_context)


def words_of(page: Path) -> str:
    return " ".join(html.unescape(re.sub("<[^>]+>", " ", page.read_text())).split())


def played(policy: Any, sampling: SamplingConfig, prompt: PromptConfig = GROWING, **changed: Any) -> list[Trajectory]:
    asked = {"temperature": 1.0, "max_steps": 9, "seed": 0, **changed}
    games = asked.pop("games", ["9", "9"])
    envs = [CorridorEnv() for _ in games]
    renderer = policy.renderer(prompt, "think_first")
    return rollout(policy, envs, games, renderer=renderer, sampling=sampling, **asked)


@pytest.mark.parametrize(
    ("config", "held"),
    [
        (LlamaConfig(max_position_embeddings=2048), 2048),
        (Qwen2Config(max_position_embeddings=128, use_sliding_window=True, sliding_window=16), 128),
        (GPT2Config(n_positions=77), 77),
        (OPTConfig(max_position_embeddings=55), 55),
        (Gemma3Config(text_config={"max_position_embeddings": 99}), 99),
        (BloomConfig(), None),
        (XLNetConfig(), None),
    ],
    ids=lambda one: type(one).__name__,
)
def test_what_a_model_holds_is_read_from_its_settings_under_any_name(config: Any, held: int | None) -> None:
    assert held_by(config) == held


@pytest.mark.parametrize("prompt", [GROWING, WINDOWED], ids=["growing", "windowed"])
@pytest.mark.parametrize("allowed", [0, 1, 2, 5])
def test_an_episode_ends_where_its_next_prompt_and_the_longest_reply_are_more_than_the_policy_holds(
    prompt: PromptConfig, allowed: int
) -> None:
    (whole,) = played(looking(None), SAMPLING, prompt, games=["9"])
    lengths = [len(step.prompt_ids) for step in whole.steps]
    held = max(lengths[: allowed + 1]) + SAMPLING.max_reply_tokens
    expected = next((i for i, n in enumerate(lengths) if n + SAMPLING.max_reply_tokens > held), len(lengths))
    (cut,) = played(looking(held), SAMPLING, prompt, games=["9"])
    assert len(cut.steps) == expected
    assert [step.prompt_ids for step in cut.steps] == [step.prompt_ids for step in whole.steps[:expected]]
    assert cut.truncated
    assert not cut.won
    assert cut.cut == (None if expected == len(lengths) else "context")


@pytest.mark.parametrize(("setting", "held", "why"), [(90, 500, "prompt"), (500, 160, "context"), (90, None, "prompt")])
def test_the_smaller_of_setting_and_model_ends_the_episode_and_is_named(
    setting: int, held: int | None, why: str
) -> None:
    sampling = replace(SAMPLING, max_prompt_tokens=setting)
    for one in played(looking(held), sampling):
        assert one.cut == why
        assert one.steps
        assert trajectory_from_json(trajectory_to_json(one)) == one
        assert all(len(s.prompt_ids) <= prompt_limit(sampling, held).tokens for s in one.steps)


def test_an_episode_recorded_before_cuts_were_noted_still_reads() -> None:
    record = trajectory_to_json(played(looking(160), SAMPLING)[0])
    del record["meta"]["cut"]
    assert trajectory_from_json(record).cut is None


def test_a_branch_is_cut_like_an_episode() -> None:
    env = CorridorEnv()
    text, info = env.reset(options={"game": "9"})
    seen = Observation(text, info["task"], tuple(info["admissible_commands"]))
    policy = looking(160)
    asked = {"renderer": policy.renderer(GROWING, "think_first"), "sampling": SAMPLING, "temperature": 1.0}
    made = branch(policy, env, BranchPoint(env.snapshot(), (), seen), 2, max_steps=9, seed=0, **asked)
    assert [one.cut for one in made] == ["context"] * 2


# --- learned positions ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def gpt2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("gpt2")
    tokenizer = char_tokenizer()
    tiny_gpt2(len(tokenizer), positions=300).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def learned(positions: int) -> HFPolicy:
    tokenizer = char_tokenizer()
    return HFPolicy(tiny_gpt2(len(tokenizer), positions=positions), tokenizer)


@pytest.mark.parametrize("prompt", [GROWING, WINDOWED], ids=["growing", "windowed"])
def test_a_model_with_learned_positions_plays_up_to_its_last_one(prompt: PromptConfig) -> None:
    first = len(learned(900).renderer(prompt, "think_first").prompt((), Observation("x" * 90, "t", ())))
    policy = learned(first + 150)
    cut = played(policy, SAMPLING, prompt, games=["9"] * 4, max_steps=30)
    assert {one.cut for one in cut} == {"context"}
    assert max(len(s.prompt_ids) + len(s.reply_ids) for one in cut for s in one.steps) <= policy.max_context


def test_the_last_position_is_used() -> None:
    policy = learned(40)
    (reply,) = policy.generate([[5] * 30], max_new_tokens=10, temperature=1.0, stop=None, seed=0)
    assert len(reply.token_ids) <= 10
    (scores,) = policy.action_logprobs([[5] * 30], [[[6] * 10]])
    assert scores.shape == (1,)
    for many in (10, 11):
        with pytest.raises(ActreError, match=r"31 tokens and \d+ new ones are more than the 40"):
            policy.generate([[5] * 31], max_new_tokens=many, temperature=1.0, stop=None, seed=0)
    with pytest.raises(ActreError, match="41 tokens is more than the 40"):
        policy.action_logprobs([[5] * 31], [[[6] * 10]])


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("llama")
    tokenizer = char_tokenizer()
    model = tiny_llama(len(tokenizer))
    model.config.max_position_embeddings = 700
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def server(llama: Path) -> Iterator[FakeServer]:
    with FakeServer(llama, max_tokens=650) as made:
        yield made


@pytest.mark.parametrize("prompt", [GROWING, WINDOWED], ids=["growing", "windowed"])
@pytest.mark.parametrize("limit", [500, 600, 4096])
def test_the_engines_cut_at_the_same_step(llama: Path, server: FakeServer, prompt: PromptConfig, limit: int) -> None:
    from actre.policies.models import load

    here = HFPolicy(*load(ModelConfig(name=str(llama))))
    here.max_context = 650
    there = ServerPolicy(str(llama), server.url)
    assert there.max_context == 650  # the server has less room than the model has positions
    sampling = replace(SAMPLING, max_prompt_tokens=limit)
    alike = [played(one, sampling, prompt, temperature=0.0, max_steps=5, games=["9"]) for one in (here, there)]
    assert [[len(t.steps), t.cut] for t in alike[0]] == [[len(t.steps), t.cut] for t in alike[1]]


def test_a_vllm_engine_in_training_holds_what_settings_and_model_allow(llama: Path) -> None:
    from actre.policies.models import load
    from actre.training.engines import _tokens

    model = load(ModelConfig(name=str(llama))).model
    for limit in (500, 687, 688, 689, 4096):
        sampling = replace(SAMPLING, max_prompt_tokens=limit)
        room = _tokens(RunConfig(sampling=sampling), model)
        assert room == min(limit + 12, 700)
        assert prompt_limit(sampling, room) == prompt_limit(sampling, held_by(model.config))


# --- what is refused before anything is played ------------------------------------------------------------------------


def test_a_first_prompt_that_cannot_fit_is_refused_with_the_numbers() -> None:
    for held, limit, said in ((60, 4096, "60 that this policy holds"), (None, 30, "sampling.max_prompt_tokens=30")):
        policy = looking(held)
        sampling = replace(SAMPLING, max_prompt_tokens=limit)
        renderer = policy.renderer(GROWING, "think_first")
        with pytest.raises(ActreError, match=f"first prompt of .*{said}"):
            must_start(policy, CorridorEnv(), ["1", "2", "broken"], renderer=renderer, sampling=sampling)
        with pytest.raises(ActreError, match=f"first prompt of .*{said}"):
            evaluated(policy, sampling)


def test_one_game_that_fits_is_enough_to_start() -> None:
    class Long(CorridorEnv):
        def reset(self, **more: Any) -> tuple[str, dict[str, Any]]:
            text, info = super().reset(**more)
            return text + " long" * (100 if self.goal < 3 else 0), info

    policy = looking(130)
    renderer = policy.renderer(GROWING, "think_first")
    asked: dict[str, Any] = {"renderer": renderer, "sampling": SAMPLING}
    must_start(policy, Long(), ["1", "2", "3", "4"], **asked)
    with pytest.raises(ActreError, match="first prompt"):
        must_start(policy, Long(), ["1", "2"], **asked)
    both = rollout(policy, [Long(), Long()], ["1", "3"], temperature=1.0, max_steps=9, seed=0, **asked)
    assert [(len(t.steps) > 0, t.cut) for t in both] == [(False, "context"), (True, "context")]


def evaluated(policy: Any, sampling: SamplingConfig, games: tuple[str, ...] = ("9", "1")) -> Any:
    from unittest.mock import patch

    config = RunConfig(sampling=sampling, env=EnvConfig(max_steps=9))
    with patch("actre.rollout.evaluate.panel_games", lambda *_: list(games)):
        return play(policy, [CorridorEnv()] * len(games), "seen", order="think_first", config=config, seed=0)


def states(text: str = "You are at door 0.") -> list[Probe]:
    seen = Observation(text, "leave", ("go left", "go right", "look"))
    return [Probe(str(game), "walk", (seen,), (), "expert", "early") for game in range(3)]


@pytest.mark.parametrize("forced", [False, True])
@pytest.mark.parametrize("wording", ["shared", "instructed"])
def test_a_diagnosis_needs_room_for_prompt_thought_and_action(wording: Any, forced: bool) -> None:
    config = RunConfig(sampling=SAMPLING)
    asked: dict[str, Any] = {"thoughts": 4, "seed": 0, "wording": wording, "force_action_tag": forced}
    for history in ("growing", "windowed"):
        there = replace(config, prompt=replace(config.prompt, history=history))
        with pytest.raises(ActreError, match=r"longest thought and action of (\d+) tokens is more than the 50") as said:
            diagnose(learned(50), states(), there, **asked)
        needed = int(str(said.value).split(" action of ")[1].split()[0])
        assert len(diagnose(learned(needed), states(), there, **asked).states) == 3
        with pytest.raises(ActreError, match=f"of {needed} tokens is more than the {needed - 1}"):
            diagnose(learned(needed - 1), states(), there, **asked)


# --- the commands --------------------------------------------------------------------------------------------------


def settings(model: Path, **sampling: int) -> RunConfig:
    from actre.config.presets import preset

    tiny = preset("tiny")
    return replace(
        tiny,
        model=ModelConfig(name=str(model), lora_rank=2),
        env=replace(tiny.env, max_steps=4),
        sampling=SamplingConfig(**{"max_reply_tokens": 8, **sampling}),
        stages=(tiny.stages[0],),
        optim=replace(tiny.optim, groups=1, group_size=2),
        env_steps=None,
    )


def test_evaluate_and_diagnose_say_what_does_not_fit(gpt2: Path, tmp_path: Path, capsys: Any) -> None:
    for command in (["evaluate", "--panels", "small/unseen", "--limit", "1"], ["diagnose", "--thoughts", "2"]):
        out = tmp_path / command[0]
        assert cli.main([*command, "--model", str(gpt2), "--out", str(out)]) == 2
        said = capsys.readouterr().err
        assert "more than the 300 that this policy holds at once" in said
        assert "Traceback" not in said


def test_training_is_refused_before_its_first_iteration(gpt2: Path, tmp_path: Path) -> None:
    with pytest.raises(ActreError, match=r"first prompt of \d+ tokens.*more than the 300"):
        train(settings(gpt2), tmp_path / "r", progress=False)
    assert not (tmp_path / "r" / "metrics.jsonl").exists()


def test_training_on_cut_episodes_counts_them(tmp_path: Path) -> None:
    tokenizer = char_tokenizer()
    folder = tmp_path / "model"
    tiny_gpt2(len(tokenizer), positions=430).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    config = replace(settings(folder), stages=(replace(settings(folder).stages[0], iterations=2),))
    train(config, tmp_path / "r", progress=False)
    lines = list(read_jsonl(tmp_path / "r" / "metrics.jsonl"))
    assert [line["cut_context"] for line in lines] == [2, 2]
    assert [line["cut_prompt"] for line in lines] == [0, 0]
    assert "cut because the model's context was full: 4 training ones" in words_of(report.write(tmp_path / "r"))


# --- where it is counted ----------------------------------------------------------------------------------------------


def test_metrics_count_cut_episodes_by_reason() -> None:
    some = played(looking(160), SAMPLING, games=["9"] * 3)
    some += played(looking(None), replace(SAMPLING, max_prompt_tokens=80))
    some += played(looking(None), SAMPLING, games=["1"])
    line = rollout_metrics(some, RunConfig())
    assert (line["cut_context"], line["cut_prompt"]) == (3, 2)


def test_an_evaluation_counts_and_shows_cut_episodes(tmp_path: Path) -> None:
    found = evaluated(looking(160), SAMPLING)
    (row, _) = summarise(found.results)
    assert (row.cut_context, row.cut_prompt) == (2, 0)
    assert "; 2 cut because the model's context was full" in described([row])
    save_evaluation(tmp_path / "evaluation.jsonl", found.results, "after")
    assert load_evaluation(tmp_path / "evaluation.jsonl", "after") == found.results
    whole = evaluated(looking(None), SAMPLING)
    assert "cut because" not in described(summarise(whole.results))


def test_an_evaluation_recorded_before_still_reads(tmp_path: Path) -> None:
    found = evaluated(looking(160), SAMPLING)
    save_evaluation(tmp_path / "e.jsonl", found.results, "after")
    lines = [{k: v for k, v in line.items() if k != "cut"} for line in read_jsonl(tmp_path / "e.jsonl")]
    (tmp_path / "e.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert [result.cut for result in load_evaluation(tmp_path / "e.jsonl")] == [None, None]


def test_report_and_inspector_say_which_episodes_were_cut(tmp_path: Path) -> None:
    run = build_run(tmp_path, "actre")
    assert "were cut because" not in words_of(report.write(run))
    lines = [{**line, "cut": "context"} for line in read_jsonl(run / "evaluation.jsonl")]
    (run / "evaluation.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert f"context was full: {len(lines):,} evaluated ones" in words_of(report.write(run))
    assert "Cut here: the model's context was full" in html.unescape(Inspector(played(looking(160), SAMPLING)).static())


def test_a_cut_episode_is_scored_as_far_as_the_policy_holds_its_states() -> None:
    (episode,) = played(learned(600), SAMPLING, games=["9"], max_steps=30)
    assert episode.cut == "context"
    policy = learned(len(episode.steps[-1].prompt_ids) + SAMPLING.max_reply_tokens)  # no token left for an action
    for one in annotate([episode], policy, config=RunConfig(sampling=SAMPLING), thoughts=2):
        scores = one.meta["orders"]
        assert [bool(score) for score in scores] == sorted((bool(score) for score in scores), reverse=True)
        assert scores[0]
        assert not scores[-1]
        assert "What it would do here" in Inspector([one]).static()


def test_an_exported_adapter_is_compared_on_as_much_as_the_model_holds() -> None:
    assert len(_logits(tiny_gpt2(20, positions=8), [[1] * 30, [2] * 5])) == 8 + 5


def test_an_iteration_without_a_single_step_changes_nothing_and_goes_on(tmp_path: Path) -> None:
    import toy_training as toy

    trainer = toy.trainer(tmp_path / "r", toy.config())
    play_ = trainer._play
    trainer._play = lambda wanted: [
        replace(one, steps=(), won=False, truncated=True, meta={"cut": "context"}) if wanted.iteration == 1 else one
        for one in play_(wanted)
    ]
    trainer.train()
    lines = list(read_jsonl(tmp_path / "r" / "metrics.jsonl"))
    assert len(lines) == 4
    assert [line["cut_context"] for line in lines] == [16, 0, 0, 0]


def test_a_training_row_that_the_model_cannot_hold_is_refused(tmp_path: Path) -> None:
    import toy_training as toy

    trainer = toy.trainer(tmp_path / "r", toy.config())
    play_ = trainer._play

    def too_long(wanted: Any) -> list[Trajectory]:
        return [
            replace(one, steps=tuple(replace(step, prompt_ids=(2,) * 80) for step in one.steps))
            for one in play_(wanted)
        ]

    trainer._play = too_long
    with pytest.raises(ActreError, match=r"a training row of 82 tokens is more than the 64"):
        trainer.train()
