"""Measures both orders' distributions in the episodes that a report shows, with the run's own policy.

The result is kept in RUN/trajectories/scored.jsonl.gz; the report is then written without a policy.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

from actre.types import ActreError, Trajectory, write_trajectories
from actre.view.episodes import identity, to_score
from actre.view.records import SCORED, RunRecord, read_all


def score(folders: Sequence[str | Path], say: Callable[[str], None] = lambda text: None) -> int:
    """Score the chosen episodes of every run in the folders, except those already scored; returns how many it scored.

    K, the thoughts drawn at each step, is the settings' `probe.thoughts`. An episode from before training is scored
    with the untrained policy. say: receives a line for each run. Raises ActreError if a run has no settings or adapter.
    """
    done = 0
    for run, wanted in to_score(read_all(folders)):
        scored = {identity(t) for t in run.scored}
        missing = [t for t in wanted if identity(t) not in scored]
        if missing:
            say(f"{run.name}: {len(missing)} episodes")
            write_trajectories(run.folder / "trajectories" / SCORED, [*run.scored, *_scored(run, missing)])
            done += len(missing)
    return done


def _scored(run: RunRecord, episodes: Sequence[Trajectory]) -> list[Trajectory]:
    from actre.adapters import load_policy
    from actre.entropy.episode_states import annotate

    adapter = run.folder / "adapter"
    if run.config is None or not adapter.is_dir():
        raise ActreError(
            f"{run.folder} has no adapter/ to score its episodes with: the run has not ended. "
            "Finish it, or write the report without --score"
        )
    before = {id(t) for t in run.before}
    found: list[Trajectory] = []
    for untrained in (True, False):
        part = [t for t in episodes if (id(t) in before) == untrained]
        if part:
            policy = load_policy(run.config, None if untrained else adapter)
            found += annotate(part, policy, config=run.config, thoughts=run.config.probe.thoughts, seed=run.config.seed)
    return found
