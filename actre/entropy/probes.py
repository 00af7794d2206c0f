"""Probe states: fixed sets of states on which models and checkpoints are compared.

A probe is the beginning of an episode, as observations and actions without thoughts, whoever played it; every policy is
asked for the next action. A set is determined by its games, sources, positions and seed.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from actre.config import EnvConfig, EnvName, RunConfig, data_folder, derive_seed
from actre.envs import not_played as notplayed
from actre.envs.outside import BrokenContractError
from actre.envs.worlds import list_games, make_env, players, scripted
from actre.runtime import outputs
from actre.types import ActreError, Observation, Trajectory, jsonl_bytes, read_jsonl

Source = Literal["expert", "random", "policy"]
Position = Literal["early", "late"]
Play = Callable[[list[str]], Sequence[Trajectory]]
"""Plays each game once with a policy and returns the episodes in the games' order."""

SHIPPED = {"small/unseen": "small_unseen.jsonl.gz", "full/unseen": "full_unseen.jsonl.gz"}
"""Panel -> file of its shipped states in data/probes."""
_SHIPPED_SEED = 0


@dataclass(frozen=True)
class Probe:
    """A state and how it was reached: n+1 observations, the last one the state's, and the n actions between them.

    source: who played. position: whether the state is from the first third of the episode or from the rest.
    """

    game: str
    task_type: str
    observations: tuple[Observation, ...]
    actions: tuple[str, ...]
    source: Source
    position: Position

    @property
    def state(self) -> Observation:
        """The state's observation."""
        return self.observations[-1]


def make_probes(
    games: Sequence[str],
    env: Any,
    n: int,
    seed: int,
    sources: Sequence[Source] = ("expert", "random"),
    max_steps: int = 20,
    play: Play | None = None,
    name: EnvName = "alfworld",
) -> list[Probe]:
    """n states on distinct games (or on all games, if there are fewer), alternating between sources and positions.

    env: a gymnasium environment with `reset(options={"game": ...})`, such as AlfworldEnv. name: its kind, which selects
    the scripted players for the sources "expert" and "random" (`worlds.scripted`). For "policy", `play` is called once
    with all its games. The same arguments give the same probes. A game that cannot be played, or that the expert has no
    plan for, is replaced by another if one is left, with a warning.
    Raises ActreError for no playable games, n below 1, no or unknown sources, and "policy" without `play`.
    """
    if not games or n < 1:
        raise ActreError(f"{n} probes from {len(games)} games: both must be at least 1")
    if not sources or not set(sources) <= set(get_args(Source)) or ("policy" in sources and play is None):
        raise ActreError(f"sources {tuple(sources)}: use expert, random and, with a policy to play, policy")
    order = np.random.default_rng(derive_seed(seed, "probes", "games")).permutation(len(games))
    drawn = [games[order[i % len(games)]] for i in range(n)]
    spare = [games[i] for i in order[n:]]
    theirs = [i for i in range(n) if sources[i % len(sources)] == "policy"]
    played = dict(zip(theirs, play([drawn[i] for i in theirs]), strict=True)) if play is not None and theirs else {}

    def probe(i: int, game: str) -> Probe:
        # each source alternates between early and late states
        position: Position = "early" if (i // len(sources)) % 2 == 0 else "late"
        stream = derive_seed(seed, "probes", game, i)
        rng = np.random.default_rng(stream)
        if i in played:
            return _from_trajectory(played[i], position, rng)
        source = sources[i % len(sources)]
        observations, actions, task_type = _episode(env, game, source, stream, max_steps, name)
        at = _cut(len(actions), position, rng)
        return Probe(game, task_type, tuple(observations[: at + 1]), tuple(actions[:at]), source, position)

    return _with_spares(drawn, spare, played, probe)


def _with_spares(
    drawn: Sequence[str], spare: list[str], played: Mapping[int, Trajectory], probe: Callable[[int, str], Probe]
) -> list[Probe]:
    """A probe for each drawn game, or for a spare one if that fails and no policy has `played` it."""
    probes: list[Probe] = []
    failed: dict[str, str] = {}
    for i, game in enumerate(drawn):
        one: str | None = game
        while one is not None:
            try:
                probes.append(probe(i, one))
                break
            except BrokenContractError:
                raise
            except (ActreError, OSError) as error:
                failed[one] = str(error)
                one = spare.pop(0) if spare and i not in played else None
    notplayed.tell(failed, len(failed) + len(probes), "the panel")
    return probes


def _from_trajectory(trajectory: Trajectory, position: Position, rng: np.random.Generator) -> Probe:
    """A state of a policy's episode, the first if it sent no action. Raises ActreError without any step."""
    if not trajectory.steps:
        raise ActreError(
            f"the policy took no step in {trajectory.game}: "
            f"{trajectory.meta.get('env_error') or f'the first prompt is too long ({trajectory.cut})'}"
        )
    sent = [step for step in trajectory.steps if step.action is not None]
    at = _cut(len(sent), position, rng)
    seen = tuple(step.observation for step in (sent or trajectory.steps)[: at + 1])
    done = tuple(str(step.action) for step in sent[:at])
    return Probe(trajectory.game, trajectory.task_type, seen, done, "policy", position)


def save_probes(path: str | Path, probes: Iterable[Probe]) -> None:
    """Write probes as JSONL (gzipped if the name ends in .gz); the same probes give the same bytes.

    Raises ActreError if the file exists with other content, because measurements on those probes refer to it.
    """
    outputs.put(path, jsonl_bytes(path, (asdict(probe) for probe in probes)))


def load_probes(path: str | Path) -> list[Probe]:
    """Read what `save_probes` wrote. Raises ActreError on a missing or damaged file."""
    probes = []
    try:
        for record in read_jsonl(path):
            raw = record["observations"]
            seen = tuple(Observation(o["text"], o["task"], tuple(o["admissible"])) for o in raw)
            actions = tuple(record["actions"])
            probes.append(Probe(**{**record, "observations": seen, "actions": actions}))
    except (KeyError, TypeError) as error:
        raise ActreError(f"{path} holds no probes ({error!r}); `actre probes` makes them") from error
    if not all(len(p.observations) == len(p.actions) + 1 for p in probes):
        raise ActreError(f"{path}: a probe lacks an observation or an action; make the file again (actre probes)")
    return probes


def shipped_probes(config: RunConfig) -> list[Probe]:
    """The first `config.probe.states` of the shipped states on `config.env.unseen`.

    Raises ActreError if none are shipped for that panel, or too few.
    """
    panel = config.env.unseen
    if panel not in SHIPPED:
        raise ActreError(
            f"no probe states are shipped for {panel!r}, only for {', '.join(SHIPPED)}: "
            f"make some with `actre probes --panel {panel}`"
        )
    return first_probes(load_probes(data_folder() / "probes" / SHIPPED[panel]), config.probe.states)


def probes_for(config: RunConfig) -> list[Probe]:
    """`shipped_probes` if there are any; else as many new ones on the games of `config.env.unseen`."""
    env = config.env
    if env.name == "alfworld" and env.unseen in SHIPPED:
        return shipped_probes(config)
    return panel_probes(env.unseen, config.probe.states, _SHIPPED_SEED, name=env.name)


def panel_probes(
    panel: str,
    n: int,
    seed: int,
    sources: Sequence[Source] | None = None,
    name: EnvName = "alfworld",
    play: Play | None = None,
) -> list[Probe]:
    """`make_probes` on a panel's games with `panel_steps`; games of a shipped panel are named PANEL#ID.

    sources: None takes all scripted players of the environment, in turn.
    """
    from actre.envs.alfworld.games import SHIPPED as PANELS

    steps = panel_steps(panel, name)
    games = list_games(name, panel)
    if name == "alfworld" and panel in PANELS:
        games = [f"{panel}#{game.partition('#')[2]}" for game in games]
    env = make_env(EnvConfig(name, train=panel, max_steps=steps))
    return make_probes(games, env, n, seed, players(name) if sources is None else sources, steps, play, name)


def panel_steps(panel: str, name: EnvName = "alfworld") -> int:
    """Steps after which an episode on this panel is truncated: 15 in a shop, 20 in small games, else 50."""
    return 15 if name == "webshop" else 20 if panel.startswith("small/") else 50


def first_probes(probes: Sequence[Probe], n: int) -> list[Probe]:
    """The first n probes. Raises ActreError if there are fewer."""
    if not 0 < n <= len(probes):
        raise ActreError(f"there are {len(probes)} probe states instead of {n}: `actre probes` makes more")
    return list(probes[:n])


def digest(probes: Sequence[Probe]) -> str:
    """A short digest of the probes."""
    return sha256(repr(tuple(probes)).encode()).hexdigest()[:12]


def _cut(steps: int, position: Position, rng: np.random.Generator) -> int:
    """The number of steps before the state: always before the last step, after which the episode may be over."""
    third = max(1, steps // 3)
    low, high = (0, third) if position == "early" else (third, steps)
    return int(rng.integers(low, high)) if high > low else max(0, steps - 1)


def _episode(
    env: Any, game: str, source: Source, seed: int, max_steps: int, name: EnvName
) -> tuple[list[Observation], list[str], str]:
    """Observations (one more than actions), actions, and the task type of an episode."""
    text, info = env.reset(options={"game": game})
    task_type = info.get("task_type", "")
    seen = [Observation(text, info["task"], tuple(info["admissible_commands"]))]
    act = scripted(name, "expert" if source == "expert" else "random", seen[0], seed, game)
    done: list[str] = []
    over = False
    while not over and len(done) < max_steps:
        action = act(seen[-1])
        text, _, terminated, truncated, info = env.step(action)
        over = terminated or truncated
        seen.append(Observation(text, info["task"], tuple(info["admissible_commands"])))
        done.append(action)
    return seen, done, task_type
