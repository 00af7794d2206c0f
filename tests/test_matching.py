"""The temperature that matches an entropy: found where it is, nearest where it cannot be."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
from toy_training import Player, config, model, tokenizer

from actre.config import StageConfig, preset
from actre.matching import CLOSE_NATS, RANGE, TRIES, search, training_match
from actre.runlog import RunLog
from actre.stages import Plan
from actre.trainer import StagedTrainer
from actre.types import ActreError


@pytest.mark.parametrize("wanted", [0.5, 1.0, 2.0])
def test_the_temperature_with_the_wanted_entropy_is_found_up_and_down(wanted: float) -> None:
    found = search(lambda t: 1.0 + math.log(t), 1.0 + math.log(wanted))
    assert abs(found.reached_nats - found.wanted_nats) <= CLOSE_NATS
    assert found.temperature == pytest.approx(wanted, rel=0.03)


@pytest.mark.parametrize(("entropy", "end"), [(0.0, RANGE[1]), (9.0, RANGE[0])])
def test_out_of_reach_it_goes_to_the_end_of_the_range_and_says_what_it_reached(entropy: float, end: float) -> None:
    tried: list[float] = []

    def flat(t: float) -> float:
        tried.append(t)
        return entropy + 0.001 * t

    found = search(flat, 4.0)
    assert len(tried) == TRIES
    assert tried[-1] == pytest.approx(end, rel=0.05)
    assert found.reached_nats == pytest.approx(entropy, abs=0.01)


def test_only_think_first_is_matched_and_only_to_act_first() -> None:
    odd = replace(preset("tiny"), stages=(StageConfig("act_first", 4, match="think_first"),))
    with pytest.raises(ActreError, match="only think_first to act_first"):
        training_match(odd)


def test_a_matched_stage_is_sampled_at_the_temperature_last_found_and_records_it(tmp_path: Path) -> None:
    settings = replace(config(), stages=(StageConfig("think_first", 4, match="act_first", rematch_every=2),))
    net = model()
    player = Player(net, settings.optim.group_size)
    asked: list[int] = []

    def match(iteration: int) -> float:
        asked.append(iteration)
        return 1.0 + iteration / 10

    log = RunLog(tmp_path / "run", settings)
    trainer = StagedTrainer(
        settings, net, tokenizer(), play=player, games=["one", "two"], log=log, match=match, progress=False
    )
    trainer.train()
    assert asked == [1, 3]
    temperatures: list[float] = [plan.temperature for plan in player.plans if isinstance(plan, Plan)]
    assert temperatures == [1.1, 1.1, 1.3, 1.3]
    assert log.last_temperature() == 1.3
