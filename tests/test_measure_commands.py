"""The commands probes, diagnose and evaluate: what they write, and that a second call goes on."""

import json
from pathlib import Path

import pytest

from actre import cli
from actre.config import data_folder, load_config, preset
from actre.diagnose import diagnose, load_diagnosis, training_measure
from actre.evaluate import load_evaluation, load_policy
from actre.probes import load_probes, shipped_probes
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
def test_the_tiny_policy_measured_in_training_and_by_hand_agree(tmp_path: Path) -> None:
    from dataclasses import replace

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
        (["diagnose", "--preset", "huge"], "no preset"),
        (["diagnose", "--probes", "none.jsonl"], "does not exist"),
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
