"""The commands probes, diagnose and evaluate: what they write, and that a second call goes on."""

import json
import shutil
import signal
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_models import char_tokenizer, tiny_llama

from actre import adapters, cli
from actre.adapters import load_policy
from actre.cli import diagnose as diagnose_command
from actre.config import ModelConfig, StageConfig, data_folder, load_config, save_config
from actre.config.presets import preset
from actre.entropy import thoughts
from actre.entropy.diagnose import FILES, diagnose, load_diagnosis, training_measure
from actre.entropy.probes import load_probes, shipped_probes
from actre.entropy.scorer import Scorer
from actre.policies.models import add_lora
from actre.rollout.evaluate import load_evaluation
from actre.runtime import budget as budget_module
from actre.types import ActreError, read_jsonl, read_trajectories

needs_tiny = pytest.mark.skipif(
    not (data_folder() / "tiny" / "neutral" / "config.json").exists(),
    reason="the tiny policy is not in data/tiny/neutral: actre pretrain-tiny makes it",
)


def test_probes_are_made_from_a_panel(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "p.jsonl"
    assert cli.main(["probes", "--panel", "small/seen", "--n", "3", "--seed", "5", "--out", str(out)]) == 0
    probes = load_probes(out)
    assert len(probes) == 3
    assert all(p.game.startswith("small/seen#") for p in probes)
    assert str(out) in capsys.readouterr().out


@needs_tiny
def test_diagnose_writes_its_record_and_goes_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["diagnose", "--states", "8", "--thoughts", "4", "--seed", "2", "--out", str(tmp_path)]
    assert cli.main(command) == 0
    first = capsys.readouterr().out
    found = load_diagnosis(tmp_path / "diagnosis.json")
    assert found.words in first
    assert (found.settings.states, found.settings.thoughts, found.settings.wording) == (8, 4, "shared")
    assert load_config(tmp_path / "config.json").seed == 2
    log = (tmp_path / "diagnosis.jsonl").read_text()
    assert cli.main(command) == 0
    assert capsys.readouterr().out == first
    assert (tmp_path / "diagnosis.jsonl").read_text() == log
    assert cli.main([*command[:-3], "3", "--out", str(tmp_path)]) == 2
    assert "other settings (seed)" in capsys.readouterr().err


@needs_tiny
def test_both_wordings_are_measured_in_turn_unless_one_is_asked_for(tmp_path: Path) -> None:
    command = ["diagnose", "--states", "4", "--thoughts", "2", "--out", str(tmp_path / "both")]
    assert cli.main(command) == 0
    shared, instructed = (load_diagnosis(tmp_path / "both" / f"{name}.json") for name in FILES.values())
    assert (shared.settings.wording, instructed.settings.wording) == ("shared", "instructed")
    assert shared.settings.probes == instructed.settings.probes
    # no-think has its own words, whatever the others' are
    assert shared.summary["no_think"].value == pytest.approx(instructed.summary["no_think"].value, abs=1e-4)
    assert shared.summary["act_first"].value != pytest.approx(instructed.summary["act_first"].value, abs=1e-4)
    report = (tmp_path / "both" / "report.html").read_text()
    assert shared.words in report
    assert instructed.words in report
    drawn = {path.name for path in (tmp_path / "both" / "plots").iterdir()}
    assert {"difference_by_state_shared.svg", "difference_by_state_instructed.svg"} <= drawn
    assert cli.main([*command[:-1], str(tmp_path / "one"), "--wording", "instructed"]) == 0
    made = {path.name for path in (tmp_path / "one").iterdir()}
    records = {"diagnosis_instructed.json", "diagnosis_instructed.jsonl", "config.json", "timing.jsonl"}
    assert made == records | {"report.html", "plots"}
    assert load_diagnosis(tmp_path / "one" / "diagnosis_instructed.json") == instructed


@needs_tiny
def test_a_diagnosis_whose_time_is_up_leaves_a_partial_result_and_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    class ThreeBatches(diagnose_command.Budget):
        asked = 0

        def __call__(self) -> bool:
            self.asked += 1
            self.over = self.asked > 3
            return self.over

    command = ["diagnose", "--states", "8", "--thoughts", "32", "--out", str(tmp_path / "part")]
    with monkeypatch.context() as patched:
        patched.setattr(diagnose_command, "Budget", ThreeBatches)
        assert cli.main([*command, "--budget", "7"]) == 0
    out = capsys.readouterr().out
    assert "PARTIAL, 6 of 8 states" in out
    assert "stopped after the 7 minutes" in out
    assert not (tmp_path / "part" / "diagnosis_instructed.json").exists()
    part = load_diagnosis(tmp_path / "part" / "diagnosis.json")
    assert (len(part.states), part.complete) == (6, False)
    assert "6 of 8 states were measured" in (tmp_path / "part" / "report.html").read_text()
    assert cli.main([*command, "--budget", "7"]) == 0
    assert "partial" not in (tmp_path / "part" / "report.html").read_text()
    assert cli.main([*command[:-1], str(tmp_path / "whole")]) == 0
    for name in FILES.values():
        found = [load_diagnosis(tmp_path / folder / f"{name}.json") for folder in ("part", "whole")]
        assert found[0] == found[1]
        assert found[0].complete


@needs_tiny
def test_ctrl_c_ends_a_diagnosis_with_what_it_has_and_a_second_one_at_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ["diagnose", "--states", "8", "--thoughts", "32", "--out", str(tmp_path / "part")]
    real, batches = Scorer.measure, [0]

    def measure(self: Scorer, *args: Any) -> Any:
        batches[0] += 1
        for _ in range(presses.get(batches[0], 0)):
            signal.raise_signal(signal.SIGINT)
        return real(self, *args)

    monkeypatch.setattr(Scorer, "measure", measure)
    presses = {2: 1}
    before = signal.getsignal(signal.SIGINT)
    assert cli.main(command) == 130
    assert signal.getsignal(signal.SIGINT) is before
    said = capsys.readouterr()
    assert "PARTIAL, 4 of 8 states" in said.out  # the batch that was being measured is in
    assert "stopped by hand; the same command continues from here" in said.out
    assert "Ctrl-C again: at once" in said.err
    assert len(load_diagnosis(tmp_path / "part" / "diagnosis.json").states) == 4
    presses = {3: 2}
    assert cli.main(command) == 130
    assert "interrupted" in capsys.readouterr().err
    assert len(load_diagnosis(tmp_path / "part" / "diagnosis.json").states) == 4


@needs_tiny
def test_ctrl_c_in_the_pilot_or_the_last_batch_says_what_is_left_and_what_is_not(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    real, batches = Scorer.measure, [0]

    def measure(self: Scorer, *args: Any) -> Any:
        batches[0] += 1
        if batches[0] == press_in:
            signal.raise_signal(signal.SIGINT)
        return real(self, *args)

    monkeypatch.setattr(Scorer, "measure", measure)
    press_in = 1  # the pilot's only batch: eight states, eight thoughts each
    pilot = ["diagnose", "--states", "8", "--thoughts", "auto", "--out", str(tmp_path / "pilot")]
    assert cli.main(pilot) == 130
    assert "stopped by hand; the same command continues from here" in capsys.readouterr().out
    assert not (tmp_path / "pilot" / "report.html").exists()
    press_in = batches[0] + 4
    whole = ["diagnose", "--wording", "shared", "--states", "8", "--thoughts", "32", "--out", str(tmp_path / "whole")]
    assert cli.main(whole) == 0
    said = capsys.readouterr()
    assert "Ctrl-C again" in said.err
    assert "stopped" not in said.out
    assert load_diagnosis(tmp_path / "whole" / "diagnosis.json").complete


def test_a_budget_elsewhere_than_in_the_main_thread_leaves_signals_alone() -> None:
    before, errors = signal.getsignal(signal.SIGINT), []

    def work() -> None:
        try:
            with budget_module.Budget(None).ended_by_hand():
                pass
        except ValueError as error:
            errors.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert errors == []
    assert signal.getsignal(signal.SIGINT) is before


def test_no_batch_is_begun_that_would_end_too_late(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 10.0, 110.0, 230.0, 240.0, 250.0])
    monkeypatch.setattr(budget_module.time, "monotonic", lambda: next(clock))
    budget = diagnose_command.Budget(5)
    # begun at 10 s; one batch took 100 s, the next 120 s, and a third might end at 350 s, after the 300 s
    assert [budget(), budget(), budget()] == [False, False, True]
    assert budget()  # it stays over
    assert not diagnose_command.Budget(None)()


@needs_tiny
def test_a_model_folder_with_an_adapter_is_diagnosed_and_the_adapter_matters(tmp_path: Path) -> None:
    tokenizer = char_tokenizer()
    model = tiny_llama(len(tokenizer))
    model.save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    base = ModelConfig(name=str(tmp_path / "model"), lora_rank=4)
    adapted = add_lora(model, base, seed=1)
    with torch.no_grad():
        for name, parameter in adapted.named_parameters():
            if "lora_B" in name:
                parameter.fill_(0.05)
    adapters.export(adapted, tmp_path / "run" / "adapter", base)
    common = ["diagnose", "--model", base.name, "--states", "2", "--thoughts", "2", "--wording", "shared"]
    assert cli.main([*common, "--out", str(tmp_path / "plain")]) == 0
    assert cli.main([*common, "--adapter", str(tmp_path / "run" / "adapter"), "--out", str(tmp_path / "with")]) == 0
    plain, with_it = (load_diagnosis(tmp_path / name / "diagnosis.json") for name in ("plain", "with"))
    assert plain.settings.adapter is None
    assert with_it.settings.adapter is not None
    assert with_it.settings.adapter.endswith("run/adapter")
    assert plain.states[0].act_first_p != pytest.approx(with_it.states[0].act_first_p, rel=1e-3)


def test_a_model_with_a_preset_of_its_own_brings_it() -> None:
    def chosen(*given: str) -> tuple[str, str]:
        config = diagnose_command.policy_config(cli.build_parser("diagnose").parse_args(["diagnose", *given]))
        return config.preset, config.model.name

    assert chosen() == ("tiny", "tiny/even-high")
    assert chosen("--model", "smollm2") == ("smollm2", "smollm2")
    assert chosen("--model", "Qwen/Qwen2.5-7B-Instruct") == ("qwen-7b", "Qwen/Qwen2.5-7B-Instruct")
    with pytest.raises(ActreError, match="owner/model needs a preset"):
        chosen("--model", "owner/model")
    assert chosen("--model", "owner/model", "--preset", "smollm2") == ("smollm2", "owner/model")


@needs_tiny
def test_without_a_number_a_pilot_chooses_how_many_thoughts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    curves = [thoughts.Curve(30, (8, 16), (0.4, 0.2))]
    monkeypatch.setattr(thoughts, "load_curves", lambda: curves)
    command = ["diagnose", "--states", "4", "--width", "0.0001", "--max-thoughts", "10", "--out", str(tmp_path)]
    assert cli.main(command) == 0
    out = capsys.readouterr().out
    found = load_diagnosis(tmp_path / "diagnosis.json")
    assert found.settings.thoughts == load_config(tmp_path / "config.json").probe.thoughts == 10
    assert "pilot on 4 states: 8 thoughts a state leave the bracket" in out
    assert "10, the most allowed" in out
    # the pilot's thoughts are its own: none of them is used again
    pilot = json.loads((tmp_path / "pilot.jsonl").read_text().splitlines()[0])["settings"]
    assert pilot["thoughts"] == 8
    assert pilot["seed"] != found.settings.seed
    # a second call chooses alike, and goes on
    assert cli.main(command) == 0
    assert capsys.readouterr().out == out
    wide = ["diagnose", "--states", "4", "--thoughts", "auto", "--width", "9", "--out", str(tmp_path / "wide")]
    assert cli.main(wide) == 0
    assert load_diagnosis(tmp_path / "wide" / "diagnosis.json").settings.thoughts == 8


@needs_tiny
def test_evaluate_writes_results_and_episodes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    orders = ["no_think", "act_first"]
    command = ["evaluate", "--limit", "2", "--panels", "unseen", "--when", "before", "--orders", *orders]
    assert cli.main([*command, "--out", str(tmp_path)]) == 0
    results = load_evaluation(tmp_path / "evaluation.jsonl", "before")
    assert [(r.order, r.panel) for r in results] == [(order, "unseen") for order in orders for _ in "ab"]
    episodes = read_trajectories(tmp_path / "trajectories" / "eval_before.jsonl.gz")
    assert [(e.game, e.order, e.won) for e in episodes] == [(r.game, r.order, r.won) for r in results]
    assert {e.meta["when"] for e in episodes} == {"before"}
    assert "unseen, act_first" in capsys.readouterr().out


@needs_tiny
def test_evaluating_a_run_plays_by_its_settings_and_leaves_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    policy = load_policy(preset("tiny"))
    run = tmp_path / "run"
    trained = replace(
        preset("tiny"),
        seed=1,
        stages=(StageConfig("think_first", 50),),
        env=replace(preset("tiny").env, max_steps=3),
        evaluation=replace(preset("tiny").evaluation, limit=2),
    )
    adapters.export(add_lora(policy.model, trained.model, seed=0), run / "adapter", trained.model)
    save_config(trained, run / "config.json")
    (run / "metrics.jsonl").touch()
    command = ["evaluate", "--panels", "unseen", "--adapter", str(run / "adapter"), "--out", str(run)]
    assert cli.main(command) == 0
    assert load_config(run / "config.json") == trained
    played = load_evaluation(run / "evaluation.jsonl", "after")
    assert len(played) == 2
    assert max(result.steps for result in played) <= 3
    # the run itself stands for its adapter, and takes the results; more games replace fewer, fewer do not
    for limit, code in (("3", 0), ("2", 2)):
        assert cli.main(["evaluate", "--panels", "unseen", "--adapter", str(run), "--limit", limit]) == code
        assert len(load_evaluation(run / "evaluation.jsonl", "after")) == 3
    assert "not all of which are among the 2" in capsys.readouterr().err
    command += ["--limit", "3"]
    # a checkpoint's adapter is the run's, too
    shutil.copytree(run / "adapter", run / "checkpoints" / "iter-5")
    command[command.index("--adapter") + 1] = str(run / "checkpoints" / "iter-5")
    assert cli.main(command) == 0
    capsys.readouterr()
    # by other settings it is another run's evaluation: refused, and nothing is touched
    assert cli.main([*command, "--preset", "tiny"]) == 2
    assert "env.max_steps: 3 became 20" in capsys.readouterr().err
    assert cli.main(["diagnose", "--preset", "tiny", "--states", "1", "--thoughts", "2", "--out", str(run)]) == 2
    assert load_config(run / "config.json") == trained


@needs_tiny
def test_an_order_that_is_played_later_leaves_the_earlier_episodes(tmp_path: Path) -> None:
    command = ["evaluate", "--limit", "2", "--panels", "unseen", "--out", str(tmp_path), "--orders"]
    for orders in (["no_think"], ["act_first"], ["act_first"]):
        assert cli.main([*command, *orders]) == 0
    played = read_trajectories(tmp_path / "trajectories" / "eval_after.jsonl.gz")
    assert [episode.order for episode in played] == ["no_think"] * 2 + ["act_first"] * 2


@needs_tiny
def test_an_export_takes_no_folder_that_holds_anything_else(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = preset("tiny")
    run = tmp_path / "run"
    adapters.export(add_lora(load_policy(config).model, config.model, seed=0), run / "adapter", config.model)
    save_config(config, run / "config.json")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("words")
    for target in (["--out", str(run)], ["--out", str(tmp_path / "mine")], ["--merge", str(tmp_path / "mine")]):
        assert cli.main(["export", str(run), *target]) == 2
        assert "would be replaced as a whole" in capsys.readouterr().err
    assert (run / "config.json").exists()
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "words"
    for _ in range(2):  # an earlier export may be replaced
        assert cli.main(["export", str(run), "--out", str(tmp_path / "out"), "--merge", str(tmp_path / "whole")]) == 1
        assert "does not change the base model" in capsys.readouterr().out


@needs_tiny
def test_a_diagnosis_that_was_stopped_while_it_began_goes_on(tmp_path: Path) -> None:
    for text in ("", '{"schema": 1, "sett'):
        (tmp_path / "diagnosis.jsonl").write_text(text)
        command = ["diagnose", "--states", "2", "--thoughts", "2", "--wording", "shared", "--out", str(tmp_path)]
        assert cli.main(command) == 0
        assert len(load_diagnosis(tmp_path / "diagnosis.json").states) == 2


def test_baselines_play_a_shop_and_their_scores_are_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["evaluate", "--env", "webshop", "--baselines", "random", "rule", "--limit", "20", "--panels", "unseen"]
    assert cli.main([*command, "--out", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert "unseen, rule" in said
    assert "mean score" in said
    played = list(read_jsonl(tmp_path / "baselines.jsonl"))
    score = {name: sum(r["env_return"] for r in played if r["order"] == name) / 20 for name in ("random", "rule")}
    assert score["rule"] > 0.6 > 0.4 > score["random"]
    assert f"score {score['rule']:.3f}"[:9] in said


def test_baselines_play_rooms_as_well(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["evaluate", "--baselines", "rule", "--limit", "4", "--panels", "seen", "--out", str(tmp_path)]
    assert cli.main(command) == 0
    said = capsys.readouterr().out
    assert "(4 of 4)" in said
    assert "score" not in said


def test_probes_are_made_from_a_shop(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "p.jsonl"
    assert cli.main(["probes", "--env", "webshop", "--n", "4", "--out", str(out)]) == 0
    assert all(p.game.startswith("shop/unseen#") for p in load_probes(out))
    assert "shop/unseen" in capsys.readouterr().out


@needs_tiny
def test_probes_of_a_runs_own_play_are_of_its_environment(tmp_path: Path) -> None:
    config = preset("tiny", "webshop")
    save_config(config, tmp_path / "config.json")
    (tmp_path / "metrics.jsonl").touch()
    model = load_policy(config).model
    adapters.export(add_lora(model, config.model, seed=0), tmp_path / "adapter", config.model)
    out = tmp_path / "p.jsonl"
    command = ["probes", "--n", "2", "--sources", "policy", "--adapter", str(tmp_path / "adapter"), "--out", str(out)]
    assert cli.main(command) == 0
    assert all(p.game.startswith("shop/unseen#") for p in load_probes(out))


@needs_tiny
def test_the_tiny_policy_measured_in_training_and_by_hand_agree(tmp_path: Path) -> None:
    config = preset("tiny")
    config = replace(config, probe=replace(config.probe, states=6, thoughts=4))
    policy = load_policy(config)
    line = training_measure(config)(policy, 3, 0)
    assert json.loads(json.dumps(line, allow_nan=False)) == line
    alone = diagnose(policy, shipped_probes(config), config, thoughts=4, seed=0)
    # act-first is exact: no seed, and no batch, changes it
    assert line["act_first"]["value"] == pytest.approx(alone.summary["act_first"].value, abs=1e-4)
    assert line["think_first_lower"]["value"] <= line["think_first_upper"]["value"]


@pytest.mark.parametrize(
    ("command", "says"),
    [
        (["diagnose", "--preset", "huge"], "unknown preset"),
        (["diagnose", "--probes", "none.jsonl"], "does not exist"),
        (["diagnose", "--states", "4", "--width", "-1"], "above 0 and"),
        (["diagnose", "--states", "4", "--max-thoughts", "1"], "at least 2"),
        (
            ["diagnose", "--preset", "tiny", "--model", "nobody/no-such-model", "--states", "2"],
            "A hub name needs a network",
        ),
        (["evaluate", "--panels", "smal/seen"], "did you mean"),
        (["probes", "--panel", "small/seen", "--n", "0", "--out", "x.jsonl"], "at least 1"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(
    command: list[str], says: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.main(command) == 2
    assert says in capsys.readouterr().err


def test_a_folder_without_adapter_is_no_adapter(tmp_path: Path) -> None:
    with pytest.raises(ActreError):
        load_policy(preset("tiny"), tmp_path)


@needs_tiny
def test_one_evaluation_tells_of_one_policy(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["evaluate", "--limit", "1", "--panels", "unseen", "unseen", "--out", str(tmp_path / "e")]
    assert cli.main([*command, "--orders", "no_think", "no_think"]) == 0
    assert len(load_evaluation(tmp_path / "e" / "evaluation.jsonl", "after")) == 1, "named twice, played once"
    before = (tmp_path / "e" / "evaluation.jsonl").read_bytes()
    capsys.readouterr()
    assert cli.main([*command, "--model", "tiny/narrow", "--orders", "act_first"]) == 2
    assert "model: tiny/even-high became tiny/narrow" in capsys.readouterr().err
    policy = load_policy(preset("tiny"))
    adapters.export(add_lora(policy.model, preset("tiny").model, seed=0), tmp_path / "adapter", preset("tiny").model)
    assert cli.main([*command, "--adapter", str(tmp_path / "adapter"), "--orders", "act_first"]) == 2
    assert "of another adapter" in capsys.readouterr().err
    assert (tmp_path / "e" / "evaluation.jsonl").read_bytes() == before
    assert load_config(tmp_path / "e" / "config.json").model.name == "tiny/even-high"
    # before training and after it may be two policies; each is one, wherever it lies
    shutil.copytree(tmp_path / "adapter", tmp_path / "copy")
    other = load_policy(preset("tiny"))
    adapters.export(add_lora(other.model, preset("tiny").model, seed=1), tmp_path / "other", preset("tiny").model)
    for name, code in (("adapter", 0), ("copy", 0), ("other", 2)):
        asked = ["--adapter", str(tmp_path / name), "--when", "before", "--orders", "act_first"]
        assert cli.main([*command, *asked]) == code, name


@needs_tiny
def test_an_evaluation_that_kept_nothing_leaves_the_folder_to_another_policy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from actre.rollout import evaluate

    def stops(*args: object, **settings: object) -> object:
        raise KeyboardInterrupt

    command = ["evaluate", "--limit", "1", "--panels", "unseen", "--orders", "no_think", "--out", str(tmp_path / "e")]
    with monkeypatch.context() as patched:
        patched.setattr(evaluate, "play", stops)
        assert cli.main(command) == 130
    policy = load_policy(preset("tiny"))
    adapters.export(add_lora(policy.model, preset("tiny").model, seed=0), tmp_path / "adapter", preset("tiny").model)
    assert cli.main([*command, "--adapter", str(tmp_path / "adapter")]) == 0


@needs_tiny
def test_ctrl_c_leaves_results_and_episodes_of_the_same_panels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from actre.rollout import evaluate

    play, calls = evaluate.play, []

    def stops(*args: object, **settings: object) -> object:
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return play(*args, **settings)  # type: ignore[arg-type]

    monkeypatch.setattr(evaluate, "play", stops)
    command = ["evaluate", "--limit", "1", "--panels", "unseen", "--orders", "no_think", "act_first"]
    assert cli.main([*command, "--out", str(tmp_path)]) == 130
    (episode,) = read_trajectories(tmp_path / "trajectories" / "eval_after.jsonl.gz")
    (result,) = load_evaluation(tmp_path / "evaluation.jsonl", "after")
    assert episode.order == result.order == "no_think"
