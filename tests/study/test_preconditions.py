"""Preconditions measured on policies of known truth, and the order of work: what runs, and what is not run again."""

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scripted_orders import ScriptedOrders, probes

from actre import cli
from actre.config import RunConfig
from actre.config.presets import preset
from actre.entropy.expert_scores import ExpertState, expert_scores
from actre.entropy.preconditions import learns, verdict
from actre.study.preconditions import PARTS, Budget, budget_for, measure, runner
from actre.study.preconditions.budget import jobs
from actre.study.preconditions.results import of_scores, summarise
from actre.types import ActreError, Order

ACTIONS = ("left", "right", "wait")
GAMES = 40
STATES = [ExpertState(probe, "left") for probe in probes(ACTIONS, games=GAMES)]
BUDGET = Budget(seeds=3)
Heads = dict[Order, float]
"""The probability of the expert's action in each order: the two heads of a policy."""

UNTRAINED: Heads = {"act_first": 0.2, "think_first": 0.3}


def shared(trained: Order, by: float) -> Heads:
    """One head for both orders: in both the expert's action becomes likelier by the same factor."""
    return {order: min(0.8, p * (1 + by / UNTRAINED[trained])) for order, p in UNTRAINED.items()}


def apart(trained: Order, by: float) -> Heads:
    """A head for each order."""
    return {**UNTRAINED, trained: UNTRAINED[trained] + by}


def policy(heads: Heads) -> ScriptedOrders:
    """Acts by its heads. A thought shifts the choice, but not its mean."""
    act, think = heads["act_first"], heads["think_first"]
    rest = lambda p: (p, (1 - p) / 2, (1 - p) / 2)  # noqa: E731
    thoughts = {"sure": 0.5, "unsure": 0.5}
    return ScriptedOrders(ACTIONS, rest(act), thoughts, {"sure": rest(1.2 * think), "unsure": rest(0.8 * think)})


@lru_cache
def scores(*heads: float) -> dict[str, tuple[float, ...]]:
    made = policy(dict(zip(UNTRAINED, heads, strict=True)))
    return expert_scores(made, STATES, preset("tiny"), thoughts=16, seed=0)._asdict()


def result(heads: Heads, seed: int, repeated: int = 0) -> dict[str, Any]:
    """What a job of this policy leaves: a game is won with the probability of the expert's action."""
    rng = np.random.default_rng(seed)

    def play(order: Order) -> list[int]:
        return (rng.random(GAMES) < heads[order]).astype(int).tolist()

    won = {order: [play(order) for _ in range(repeated)] if repeated else play(order) for order in heads}
    full = {order: [[1.0] * GAMES] * repeated if repeated else [1.0] * GAMES for order in heads}
    return {
        "fingerprint": "f",
        "games": [f"game {g}" for g in range(GAMES)],
        "won": won,
        "admissible": full,
        "state_games": [state.probe.game for state in STATES],
        "scores": scores(*heads.values()),
    }


def measured(after: Callable[[Order, float], Heads], by: float, rl_by: float) -> Any:
    """The preconditions of a policy whose heads, trained in an order, become `after`."""
    found = {"start": result(UNTRAINED, 0, repeated=3)}
    for n, order in enumerate(UNTRAINED):
        found[f"sft-{order}-0"] = result(after(order, by), 10 + n)
        for seed in range(3):
            found[f"rl-{order}-{seed}"] = result(after(order, rl_by), 100 * n + seed + 20)
    return summarise(preset("tiny"), BUDGET, found)


@pytest.mark.parametrize("trained", UNTRAINED)
@pytest.mark.parametrize(("after", "ratio", "level"), [(shared, 1.0, "high"), (apart, 0.0, "low")])
def test_heads_that_share_everything_transfer_all_and_heads_that_share_nothing_none(
    trained: Order, after: Any, ratio: float, level: str
) -> None:
    found = measured(after, 0.3, 0.3).transfer(trained)
    assert (found.way, found.measure) == ("sft", "logp")
    assert found.gains.ratio.value == pytest.approx(ratio, abs=0.05)
    assert found.gains.level == level


def test_a_frozen_policy_learns_nothing_and_its_transfer_is_undetermined() -> None:
    found = measured(apart, 0.0, 0.0)
    assert learns(found.learned["act_first"]) != "yes"
    assert found.learned["act_first"].gain.low < 0 < found.learned["act_first"].gain.high
    assert found.transfer("act_first").gains.ratio is None
    assert "transfer undetermined" in verdict(found)


def test_a_frozen_policy_that_is_measured_without_noise_learns_exactly_nothing() -> None:
    start = result(UNTRAINED, 0, repeated=1)
    same = {**start, "won": {o: w[0] for o, w in start["won"].items()}}
    found = summarise(preset("tiny"), BUDGET, {"start": start, **{f"rl-act_first-{k}": same for k in range(3)}})
    assert found.learned["act_first"].gain == (0.0, 0.0, 0.0)
    assert "it learns nothing" in verdict(found)


def test_reinforcement_that_works_is_found_to_learn_and_to_reach_the_other_order() -> None:
    found = measured(shared, 0.3, 0.4)
    assert found.learned["act_first"].gain.value > 0.25
    assert found.learned["act_first"].seeds == 3
    rl = next(t for t in found.transfers if (t.trained, t.way, t.measure) == ("act_first", "rl", "logp"))
    assert rl.gains.level == "high"


def test_what_was_not_done_is_missing_and_not_zero() -> None:
    found = summarise(preset("tiny"), BUDGET, {})
    assert (found.contraction, found.apart, dict(found.start), found.transfers) == (None, None, {}, ())
    alone = {
        "contraction": {"verdict": "widened", "lower": [-0.3] * 3, "upper": [-0.2] * 3, "states": 9, "thoughts": 8}
    }
    assert "thinking widens" in verdict(summarise(preset("tiny"), BUDGET, alone))


def test_every_state_of_a_game_counts_as_one_game() -> None:
    before = {
        "state_games": ["a", "a", "a", "b"],
        "scores": {n: [0.0] * 4 for n in ("act_logp", "think_lower", "think_upper")},
    }
    after = {**before, "scores": {n: [1.0, 1.0, 1.0, 3.0] for n in before["scores"]}}
    assert of_scores("logp", "act_first", before, [after]).trained.value == 2.0


# --- the order of work ---


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Jobs that were started; each writes a result at once."""
    started: list[str] = []

    def start(module: str, arguments: list[str], log: Path) -> "subprocess.Popen[bytes]":
        job, out = arguments
        started.append(job)
        log.write_text("first line\nlast words\n")
        narrowed = {"verdict": "equivalent", "lower": [0.0] * 3, "upper": [0.0] * 3, "states": 9, "thoughts": 8}
        made = narrowed if job == "contraction" else result(UNTRAINED, 0, repeated=3 * (job == "start"))
        code = f"import pathlib, sys; pathlib.Path(sys.argv[1]).write_text({json.dumps(made)!r})"
        return subprocess.Popen([sys.executable, "-c", code, str(Path(out) / f"{job}.json")])

    monkeypatch.setattr(runner, "start", start)
    monkeypatch.setattr(runner, "_POLL_S", 0.02)
    return started


def test_what_is_done_is_not_done_again_and_more_parts_can_follow(ran: list[str], tmp_path: Path) -> None:
    config, budget, out = preset("tiny"), Budget(seeds=1), tmp_path / "p"
    found = measure(config, budget, out, ["contraction"], at_once=1)
    assert ran == ["contraction"]
    assert found.contraction is not None
    assert not found.start
    found = measure(config, budget, out, PARTS, at_once=2)
    assert sorted(ran) == sorted(jobs(budget, PARTS))
    assert found.learned["act_first"].seeds == 1
    measure(config, budget, out, PARTS, at_once=2)
    assert len(ran) == len(jobs(budget, PARTS))


def test_a_folder_with_other_settings_or_anything_else_is_left_alone(ran: list[str], tmp_path: Path) -> None:
    measure(preset("tiny"), Budget(), tmp_path / "p", ["contraction"], at_once=1)
    with pytest.raises(ActreError, match=r"other settings.*rm -r"):
        measure(preset("tiny"), Budget(seeds=2), tmp_path / "p", ["contraction"], at_once=1)
    with pytest.raises(ActreError, match="other settings"):
        measure(replace(preset("tiny"), seed=1), Budget(), tmp_path / "p", ["contraction"], at_once=1)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("precious")
    with pytest.raises(ActreError, match="not empty"):
        measure(preset("tiny"), Budget(), tmp_path / "mine", ["contraction"], at_once=1)


def test_a_failed_job_is_named_with_the_end_of_its_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def start(module: str, arguments: list[str], log: Path) -> "subprocess.Popen[bytes]":
        log.write_text("no such model\n")
        return subprocess.Popen([sys.executable, "-c", "raise SystemExit(2)"])

    monkeypatch.setattr(runner, "start", start)
    with pytest.raises(ActreError, match=r"(?s)contraction ended with code 2.*no such model"):
        measure(preset("tiny"), Budget(), tmp_path / "p", ["contraction"], at_once=1)


def test_the_command_prints_every_value_beside_its_threshold_and_writes_the_record(
    ran: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record = tmp_path / "tiny.json"
    asked = ["preconditions", "--model", "tiny", "--seeds", "1", "--out", str(tmp_path / "p"), "--write", str(record)]
    before = signal.getsignal(signal.SIGTERM)
    try:
        assert cli.main(asked) == 0
    finally:
        signal.signal(signal.SIGTERM, before)
    said = capsys.readouterr().out
    assert "stage 1 cannot help here" in said
    assert "nothing is contracted" in said
    saved = json.loads(record.read_text())
    assert saved["verdict"] in said
    assert all(one["threshold"] for one in saved["checks"])
    assert saved["measured"]["budget"]["seeds"] == 1
    assert str(tmp_path) not in record.read_text()


def test_a_larger_model_has_a_smaller_budget() -> None:
    config: RunConfig = preset("smollm2")
    small, tiny = asdict(budget_for(config)), asdict(budget_for(preset("tiny")))
    assert small["iterations"] < tiny["iterations"]
    assert small["episodes"] < tiny["episodes"]
    assert small["seeds"] == tiny["seeds"] >= 3


def test_the_settings_of_reinforcement_can_be_those_of_a_study_and_stand_in_the_record(
    ran: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    given = ["--set", "optim.learning_rate=4e-4", "--iterations", "40"]
    assert cli.main(["preconditions", "--parts", "start", *given, "--write", "made.json"]) == 0
    record = json.loads((tmp_path / "made.json").read_text())
    assert record["measured"]["budget"]["reinforcement"]["learning_rate"] == 4e-4
    assert record["command"] == ("actre preconditions --iterations 40 --set optim.learning_rate=4e-4 --parts start")
    assert cli.main(["preconditions", "--parts", "start", "--iterations", "40"]) == 2, "other settings, the same folder"
