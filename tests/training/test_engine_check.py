"""The engine check tells an engine that uses the adapter from one that does not, and says nothing where it cannot."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
import toy_training as toy

from actre.training.engine_check import BOUND_HALF_NATS, BOUND_NATS, EngineError, compare, must_agree
from actre.training.run import run
from actre.training.stages import Plan
from actre.types import Trajectory, read_jsonl

N = 400


def logps(effect: float, noise: float, *, used: bool, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The engine's, the trainer's and the base's: an adapter of that effect, rounding of that size."""
    generator = torch.Generator().manual_seed(seed)
    base = -torch.rand(N, generator=generator) * 3
    trained = base + effect * torch.randn(N, generator=generator)
    sampled = (trained if used else base) + noise * torch.randn(N, generator=generator)
    return sampled, trained, base


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("effect", "noise", "full"), [(0.3, 1e-5, True), (2e-4, 1e-4, True), (0.05, 0.03, False)])
def test_an_engine_without_the_adapter_is_found_and_one_with_it_is_not(effect, noise, full, seed):
    good = compare(*logps(effect, noise, used=True, seed=seed), full=full)
    assert good.followed == pytest.approx(1, abs=0.2)
    must_agree(good, full=full, iteration=1)
    with pytest.raises(EngineError, match="without the adapter"):
        must_agree(compare(*logps(effect, noise, used=False, seed=seed), full=full), full=full, iteration=1)


def test_an_adapter_that_does_nothing_yet_tells_nothing():
    for used in (True, False):
        found = compare(*logps(0.0, 1e-5, used=used))
        assert found.followed is None
        assert "adapter_followed" not in found.metrics()
        must_agree(found, full=True, iteration=1)


@pytest.mark.parametrize(("full", "bound"), [(True, BOUND_NATS), (False, BOUND_HALF_NATS)])
def test_a_gap_beyond_the_bound_is_an_error_and_one_within_is_not(full, bound):
    trained = -torch.rand(N)
    must_agree(compare(trained + 0.9 * bound, trained, trained, full=full), full=full, iteration=3)
    for off in (1.2 * bound, float("nan")):
        with pytest.raises(EngineError, match="iteration 3"):
            must_agree(compare(trained + off, trained, trained, full=full), full=full, iteration=3)


def test_no_token_is_no_reason_to_stop():
    none = torch.zeros(0)
    must_agree(compare(none, none, none), full=True, iteration=1)


class Forgetful(toy.Player):
    """Plays with the adapter off, as an engine that dropped it would."""

    def __call__(self, plan: Plan) -> list[Trajectory]:
        with self.model.disable_adapter():
            return super().__call__(plan)


def _run(out: Path, player: type[toy.Player]) -> list[dict[str, float]]:
    run(toy.trainer(out, replace(toy.config(), seed=1), player=player, must_agree=True))
    return list(read_jsonl(out / "metrics.jsonl"))


def test_training_logs_that_its_rollouts_follow_the_adapter(tmp_path):
    lines = _run(tmp_path, toy.Player)
    assert all(line["engine_gap_max_nats"] < 1e-4 for line in lines)
    assert "adapter_followed" not in lines[0]  # it is the identity before the first update
    assert lines[-1]["adapter_shift_nats"] > 0
    assert lines[-1]["adapter_followed"] == pytest.approx(1, abs=1e-3)


def test_training_stops_at_the_first_episodes_sampled_without_the_adapter(tmp_path):
    with pytest.raises(EngineError, match="iteration 2"):
        _run(tmp_path, Forgetful)
