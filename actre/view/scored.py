"""Measures, with a run's own policy, the episodes that its report shows: both orders' exact distributions at each step.

Knows run folders, how their policies are loaded, and the inspector's `annotate`; no page. What is measured is kept in
RUN/trajectories/scored.jsonl.gz, so that the report is made, and made again, without a policy.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

from actre.types import ActreError, Trajectory, write_trajectories
from actre.view.episodes import identity, to_score
from actre.view.records import SCORED, RunRecord, read_all


def score(folders: Sequence[str | Path], say: Callable[[str], None] = lambda text: None) -> int:
    """Score the chosen episodes of every run in the folders, where that was not done; returns how many were.

    K, the thoughts drawn at each step, is the settings' `probe.thoughts`. say: told in a line which run is scored. An
    episode from before training is scored with the untrained policy. Raises ActreError where a run's settings or its
    adapter are missing.
    """
    runs = read_all(folders)
    done = 0
    for run, wanted in to_score(runs):
        known = {identity(t) for t in run.scored}
        missing = [t for t in wanted if identity(t) not in known]
        if missing:
            say(f"{run.name}: {len(missing)} episodes")
            found = _scored(run, missing)
            write_trajectories(run.folder / "trajectories" / SCORED, [*run.scored, *found])
            done += len(found)
    return done


def _scored(run: RunRecord, episodes: Sequence[Trajectory]) -> list[Trajectory]:
    from actre.adapters import load_policy
    from actre.view.inspector import annotate

    adapter = run.folder / "adapter"
    if run.config is None or not adapter.is_dir():
        raise ActreError(
            f"{run.folder} has no adapter/ to score its episodes with, for the run has not ended; "
            "its report can be made without --score"
        )
    before = {id(t) for t in run.before}
    found: list[Trajectory] = []
    for untrained in (True, False):
        part = [t for t in episodes if (id(t) in before) == untrained]
        if part:
            policy = load_policy(run.config, None if untrained else adapter)
            found += annotate(part, policy, config=run.config, thoughts=run.config.probe.thoughts, seed=run.config.seed)
    return found
