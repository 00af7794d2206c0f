"""What follows an iteration, decided by a pure function."""

from dataclasses import replace

import pytest

from actre.config import CheckpointConfig, ProbeConfig, RunConfig, StageConfig
from actre.training.stages import Decision, after_iteration

TWO = (StageConfig("act_first", 3), StageConfig("think_first", 3))
RUN = RunConfig(stages=TWO, probe=ProbeConfig(every=2), checkpoint=CheckpointConfig(every=5))


def decide(config: RunConfig, done: int, *, env_steps: int = 0, entropy: float | None = None) -> Decision:
    return after_iteration(config, config.stages, done, env_steps, [0.0] * done, entropy)


@pytest.mark.parametrize(
    ("done", "wanted"),
    [
        (1, Decision(0, stage_ends=False, run_ends=False, measure=False, save=False)),
        (2, Decision(0, stage_ends=False, run_ends=False, measure=True, save=False)),
        (3, Decision(0, stage_ends=True, run_ends=False, measure=True, save=True)),
        (5, Decision(1, stage_ends=False, run_ends=False, measure=False, save=True)),
        (6, Decision(1, stage_ends=True, run_ends=True, measure=True, save=True)),
    ],
)
def test_a_planned_run_measures_and_saves_when_it_is_due_and_where_a_stage_ends(done: int, wanted: Decision) -> None:
    assert decide(RUN, done) == wanted


def test_a_budget_of_environment_steps_ends_the_run_and_not_the_stage() -> None:
    limited = replace(RUN, env_steps=100)
    assert not decide(limited, 1, env_steps=99).run_ends
    assert decide(limited, 1, env_steps=100) == Decision(0, stage_ends=False, run_ends=True, measure=True, save=True)


def test_a_stage_ends_by_its_entropy_once_that_is_measured_and_the_last_stage_never_early() -> None:
    by_entropy = tuple(replace(stage, until="entropy", entropy_below=0.5) for stage in TWO)
    config = replace(RUN, stages=by_entropy)
    assert not decide(config, 2).stage_ends
    assert not decide(config, 2, entropy=0.6).stage_ends
    assert decide(config, 2, entropy=0.4) == Decision(0, stage_ends=True, run_ends=False, measure=True, save=True)
    assert not decide(config, 4, entropy=0.4).stage_ends


@pytest.mark.parametrize("every", [0, 1])
def test_0_means_only_where_a_stage_ends(every: int) -> None:
    config = replace(RUN, probe=ProbeConfig(every=every), checkpoint=CheckpointConfig(every=every))
    decision = decide(config, 1)
    assert (decision.measure, decision.save) == (bool(every), bool(every))
