"""What changes while a run goes on: a stage that ends early, a temperature that is matched, environments that fail,
trackers that listen.
"""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import toy_training as toy
from transformers import TrainerCallback

from actre.config import CheckpointConfig, ProbeConfig, PromptConfig, RunConfig, StageConfig
from actre.stats import Interval
from actre.training import StagedTrainer, matching, trackers
from actre.training.matching import CLOSE_NATS, Matched, search
from actre.training.run import run
from actre.training.stages import Plan, as_run, learning_rate_factor
from actre.types import ActreError, Order, Trajectory, read_jsonl


def metrics(out: Path) -> list[dict[str, Any]]:
    return list(read_jsonl(out / "metrics.jsonl"))


def stages_of(out: Path) -> list[int]:
    return [line["stage"] for line in metrics(out)]


def with_successes(trainer: StagedTrainer, successes: list[float]) -> StagedTrainer:
    play = trainer._play

    def playing(wanted: Plan) -> list[Trajectory]:
        played = play(wanted)
        wins = successes[wanted.iteration - 1] * len(played)
        return [replace(one, won=i < wins) for i, one in enumerate(played)]

    trainer._play = playing
    return trainer


# --- a stage that ends early ---

PLATEAU = StageConfig("act_first", 6, until="plateau", plateau_window=2, plateau_gain=0.1)
SUCCESSES = [0.0, 0.25, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5]


def plateau(**optim: Any) -> RunConfig:
    config = replace(toy.config(**optim), stages=(PLATEAU, StageConfig("think_first", 2)))
    return replace(config, checkpoint=CheckpointConfig(every=1, keep=9))


def test_a_plateau_ends_the_stage_and_the_last_one_takes_what_is_left(tmp_path: Path) -> None:
    config = plateau(schedule="linear", schedule_at_switch="restart", optimizer_at_switch="reset")
    # means of two: after the fifth iteration 0.5 is 0.125 above 0.375, after the sixth no more above 0.5
    run(with_successes(toy.trainer(tmp_path, config), SUCCESSES))
    assert stages_of(tmp_path) == [0, 0, 0, 0, 0, 0, 1, 1]
    earlier = replace(config, stages=(replace(PLATEAU, plateau_gain=0.2), config.stages[1]))
    run(with_successes(toy.trainer(tmp_path / "earlier", earlier), SUCCESSES))
    assert stages_of(tmp_path / "earlier") == [0, 0, 0, 0, 0, 1, 1, 1]
    rates = [line["learning_rate"] for line in metrics(tmp_path / "earlier")]
    ran = as_run(earlier.stages, [5])
    assert rates[5:] == pytest.approx([1e-2 * learning_rate_factor(earlier.optim, ran, i) for i in (6, 7, 8)])
    assert rates[5] == 1e-2, "the schedule begins anew where the stage really begins"


def test_a_run_interrupted_around_its_early_switch_goes_on_as_it_would_have(tmp_path: Path) -> None:
    config = replace(plateau(), stages=(replace(PLATEAU, plateau_gain=0.2), StageConfig("think_first", 2)))
    run(with_successes(toy.trainer(tmp_path / "whole", config), SUCCESSES))
    for stop in (4, 6):  # a part of the window, and the switch itself, are behind it
        trainer = with_successes(toy.trainer(tmp_path / str(stop), config), SUCCESSES)
        with pytest.raises(KeyboardInterrupt):
            run(toy.stop_at(trainer, stop))
        run(with_successes(toy.trainer(tmp_path / str(stop), config, resume=True), SUCCESSES))
        assert stages_of(tmp_path / str(stop)) == stages_of(tmp_path / "whole")
        weights = [tmp_path / name / "adapter" / "adapter_model.safetensors" for name in ("whole", str(stop))]
        assert weights[0].read_bytes() == weights[1].read_bytes()


def test_the_action_entropy_of_the_stages_own_order_ends_it(tmp_path: Path) -> None:
    stages = (
        StageConfig("act_first", 4, until="entropy", entropy_below=0.7),
        StageConfig("think_first", 2, until="entropy", entropy_below=0.7),
        StageConfig("no_think", 1),
    )
    config = replace(toy.config(), stages=stages)
    config = replace(config, probe=replace(config.probe, every=2))

    def measure(done: int, stage: int) -> dict[str, Any]:
        nats = {"act_first": 1.0 - 0.2 * done, "think_first_lower": 0.5, "think_first_upper": 1.0 if done < 4 else 0.8}
        return {name: {"value": value, "low": 0.0, "high": 9.0} for name, value in nats.items()} | {"states": 3}

    run(toy.trainer(tmp_path, config, measure=measure))
    # act-first is at 0.6 after two; the middle of think-first's bracket at 0.65 after four
    assert stages_of(tmp_path) == [0, 0, 1, 1, 2, 2, 2]


def test_what_cannot_end_a_stage_is_told_before_anything_is_played(tmp_path: Path) -> None:
    stages = (StageConfig("act_first", 4, until="entropy"), StageConfig("think_first", 2))
    with pytest.raises(ActreError, match=r"set probe\.every above 0"):
        toy.trainer(tmp_path, replace(toy.config(), stages=stages))
    with pytest.raises(ActreError, match="no `match` function"):
        toy.trainer(tmp_path / "hot", replace(toy.config(), stages=(StageConfig("think_first", 2, match_every=1),)))


# --- a temperature that is matched ---


@pytest.mark.parametrize("order", ["think_first", "no_think"])
def test_an_order_is_matched_to_act_first_at_the_runs_temperature(
    monkeypatch: pytest.MonkeyPatch, order: Order
) -> None:
    asked = []

    def measured(
        _: object, __: object, config: RunConfig, *, thoughts: int, seed: int, wording: str, check_replies: int
    ) -> SimpleNamespace:
        t = config.sampling.temperature
        asked.append((t, thoughts, seed, wording))
        values = {"act_first": t, "think_first_lower": t / 2 - 0.2, "think_first_upper": t / 2 + 0.2, "no_think": t / 2}
        return SimpleNamespace(summary={name: Interval(v, v, v) for name, v in values.items()}, self_check=())

    monkeypatch.setattr(matching, "diagnose", measured)
    config = replace(toy.config(), probe=ProbeConfig(thoughts=5), prompt=PromptConfig(wording="instructed"))
    found = matching.matched_temperature(None, [], config, order, seed=7)  # type: ignore[arg-type]
    assert found.target_nats == 1.0  # act-first at the run's temperature, not at the one that is tried
    assert found.temperature == pytest.approx(2.0, abs=2 * CLOSE_NATS)
    assert {one[1:] for one in asked} == {(5, 7, "instructed")}


def test_the_temperature_is_matched_every_n_iterations_of_a_stage_and_sampled_and_trained_at(tmp_path: Path) -> None:
    stages = (StageConfig("act_first", 1), StageConfig("think_first", 5, match_every=2))
    config = replace(toy.config(), stages=stages, checkpoint=CheckpointConfig(every=1, keep=9))
    asked: list[tuple[int, float | None]] = []

    def match(wanted: Plan, last: float | None) -> Matched:
        asked.append((wanted.iteration, last))
        return Matched(1.0 + (wanted.iteration if wanted.iteration < 6 else -0.5) / 10, 1.5, 1.49)

    trainer = toy.trainer(tmp_path / "run", config, match=match)
    trained_at: list[float] = []
    compute = trainer.compute_loss
    trainer.compute_loss = lambda *a, **k: trained_at.append(trainer.temperature) or compute(*a, **k)  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        run(toy.stop_at(trainer, 5))
    run(toy.trainer(tmp_path / "run", config, resume=True, match=match))
    wanted = [1.0, 1.2, 1.2, 1.4, 1.4, 0.95]
    assert [m["temperature"] for m in metrics(tmp_path / "run")] == pytest.approx(wanted)
    assert list(dict.fromkeys(trained_at)) == pytest.approx(wanted[:1] + wanted[1:4:2])
    assert asked == [(2, None), (4, 1.2), (6, 1.4)], "a resumed run knows its temperature"
    lines = [json.loads(line) for line in (tmp_path / "run" / "temperature.jsonl").read_text().splitlines()]
    assert [(line["iteration"], line["target_nats"]) for line in lines] == [(1, 1.5), (3, 1.5), (5, 1.5)]


@pytest.mark.parametrize("target", [0.5, 0.9, 1.0, 1.4, 2.2])
def test_a_search_meets_its_target_up_or_down_and_stays_in_range(target: float) -> None:
    found = search(lambda t: 2.0 * t / (1.0 + t), target, known={1.0: 1.0})
    if target < 1.5:  # temperature 3 reaches 1.5
        assert abs(found.reached_nats - target) <= CLOSE_NATS
        assert found.reached_nats == pytest.approx(2.0 * found.temperature / (1.0 + found.temperature))
        assert (found.temperature > 1.0) == (target > 1.0)
    else:
        assert found.temperature == 3.0


# --- environments that fail ---


def test_an_episode_whose_environment_failed_is_counted_and_teaches_nothing(tmp_path: Path) -> None:
    def failing(trainer: StagedTrainer) -> StagedTrainer:
        play = trainer._play
        trainer._play = lambda wanted: [
            replace(one, meta={"env_error": "fell in"}, won=True) if i in (1, 9) else one
            for i, one in enumerate(play(wanted))
        ]
        return trainer

    def without(trainer: StagedTrainer) -> StagedTrainer:
        play = trainer._play
        trainer._play = lambda wanted: [one for i, one in enumerate(play(wanted)) if i not in (1, 9)]
        return trainer

    run(failing(toy.trainer(tmp_path / "failing", toy.config())))
    run(without(toy.trainer(tmp_path / "without", toy.config())))
    ours, theirs = metrics(tmp_path / "failing"), metrics(tmp_path / "without")
    assert [m["env_errors"] for m in ours] == [2] * 4
    assert [m["env_errors"] for m in theirs] == [0] * 4
    for name in ("success", "return", "steps", "loss", "grad_norm"):
        assert [m[name] for m in ours] == [m[name] for m in theirs], name
    assert ours[-1]["env_steps"] == 4 * 32, "the steps were taken"


def test_a_run_in_which_every_episode_fails_ends_with_the_reason(tmp_path: Path) -> None:
    trainer = toy.trainer(tmp_path, toy.config())
    play = trainer._play
    trainer._play = lambda wanted: [replace(one, meta={"env_error": "no display"}) for one in play(wanted)]
    with pytest.raises(ActreError, match="failed in all 16 episodes of iteration 1: no display"):
        run(trainer)


def test_bad_games_are_named_once_and_others_are_played_in_their_place(tmp_path: Path) -> None:
    """Also where an iteration draws none but bad games; all of it is the same after an interruption."""

    def broken(trainer: StagedTrainer) -> StagedTrainer:
        play, good = trainer._play, set(trainer._games[:1])

        def played(wanted: Plan) -> list[Trajectory]:
            lost = {"meta": {"env_error": "cut short"}, "steps": (), "won": False}
            return [one if one.game in good else replace(one, **lost) for one in play(wanted)]

        trainer._play = played
        return trainer

    config = toy.config(groups=1)
    with pytest.warns(UserWarning, match="cut short") as warned:
        run(broken(toy.trainer(tmp_path / "whole", config)))
    said = [str(one.message) for one in warned if "cut short" in str(one.message)]
    assert len(said) == len(set(said))
    assert sum(m["env_errors"] for m in metrics(tmp_path / "whole")) > 0
    with pytest.raises(KeyboardInterrupt), pytest.warns(UserWarning, match="cut short"):
        run(toy.stop_at(broken(toy.trainer(tmp_path / "run", config)), 2))
    run(broken(toy.trainer(tmp_path / "run", config, resume=True)))
    for name in ("success", "loss", "env_errors", "env_steps"):
        assert [m[name] for m in metrics(tmp_path / "run")] == [m[name] for m in metrics(tmp_path / "whole")], name


def test_a_game_drawn_in_anothers_place_has_a_group_of_its_own(tmp_path: Path) -> None:
    """Episodes cut before their first step, such as by a prompt that is too long, are not compared with its own."""
    trainer = toy.trainer(tmp_path, toy.config(groups=1))
    play, good = trainer._play, set(trainer._games[:1])
    trainer._play = lambda wanted: [one if one.game in good else replace(one, steps=()) for one in play(wanted)]
    seen: list[list[Trajectory]] = []
    advantages = trainer.advantages
    trainer.advantages = lambda played, groups: seen.append(played) or advantages(played, groups)  # type: ignore[method-assign,func-returns-value]
    run(trainer)
    drawn = [played for played in seen if len({one.game for one in played}) > 1]
    assert drawn, "some iteration began with another game"
    for played in drawn:
        assert len({(one.game, one.group) for one in played}) == len({one.group for one in played})


def test_a_run_without_a_game_that_can_be_played_ends_with_the_reason(tmp_path: Path) -> None:
    trainer = toy.trainer(tmp_path, toy.config())
    play = trainer._play
    trainer._play = lambda wanted: [replace(t, steps=(), meta={"env_error": "no display"}) for t in play(wanted)]
    with pytest.raises(ActreError, match=r"failed in all .* episodes of iteration 1: no display"), pytest.warns():
        run(trainer)


# --- trackers ---


def test_trackers_get_each_iterations_numbers_and_none_is_on_by_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[dict[str, float]] = []

    class Tracker(TrainerCallback):
        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
            heard.append(dict(logs))

    assert toy.config().report_to == ()
    assert toy.trainer(tmp_path / "off", toy.config()).args.report_to == []
    monkeypatch.setattr(
        "transformers.trainer.get_reporting_integration_callbacks", lambda names: [Tracker] * len(names)
    )
    run(toy.trainer(tmp_path / "on", replace(toy.config(), report_to=("trackio",))))
    told = [logs for logs in heard if "success" in logs]
    assert [logs["env_steps"] for logs in told] == [32, 64, 96, 128]
    assert all(isinstance(value, int | float) for logs in told for value in logs.values())
    assert len([logs for logs in heard if "grad_norm" in logs]) == 4, "what TRL logs is told once"


def test_a_tracker_that_is_not_installed_is_named_with_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trackers.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ActreError, match="pip install wandb"):
        trackers.must_be_installed(["wandb"])


def test_a_tracker_hears_the_same_losses_of_a_run_that_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[float] = []

    class Tracker(TrainerCallback):
        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
            if "grad_norm" in logs:
                heard.append(logs["loss"])

    monkeypatch.setattr(
        "transformers.trainer.get_reporting_integration_callbacks", lambda names: [Tracker] * len(names)
    )
    config = replace(toy.config(entropy_coef=1.0), report_to=("trackio",))  # a loss far from 0
    run(toy.trainer(tmp_path / "whole", config))
    whole = list(heard)
    heard.clear()
    with pytest.raises(KeyboardInterrupt):
        run(toy.stop_at(toy.trainer(tmp_path / "run", config), 3))
    run(toy.trainer(tmp_path / "run", config, resume=True))
    assert heard == pytest.approx(whole)
    assert abs(whole[2]) > 1e-3
