"""Plays many episodes at once: groups of one game, and branches from one state.

Episodes advance together, with one batched `generate` per step; finished ones leave the batch. A bad rollout is data: a
reply without an action, a prompt that is too long, or an environment that fails in one episode is recorded on that
episode, and the others go on. A prompt is too long if it exceeds the setting's limit or leaves no room for the longest
reply in the policy's context.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import gymnasium

from actre.config import EnvConfig, SamplingConfig, derive_seed
from actre.envs.outside import BrokenContractError
from actre.envs.worlds import make_env
from actre.orders import Renderer
from actre.policies import Policy
from actre.policies.context import SHORTER, must_hold, prompt_limit
from actre.rollout.shuffle import with_thoughts_of_others
from actre.types import ActreError, Cut, Flag, Observation, Reply, Step, Trajectory

_FAILURES = (ActreError, OSError)
"""Errors that end an episode but not the run: those of environments for a game, and of files and processes. Any other
error is a bug and is raised."""

_TRIED_STARTS = 4


@dataclass(frozen=True)
class Play:
    """How episodes are played, except for games and seed."""

    policy: Policy
    renderer: Renderer
    sampling: SamplingConfig
    temperature: float
    max_steps: int
    shuffled: bool = False


class BranchPoint(NamedTuple):
    """A state to continue from: the environment's snapshot, the episode so far, and its task type ("" if unknown)."""

    snapshot: Any
    steps: tuple[Step, ...]
    observation: Observation
    task_type: str = ""


def rollout(
    policy: Policy,
    envs: Sequence[gymnasium.Env],
    games: Sequence[str],
    *,
    renderer: Renderer,
    sampling: SamplingConfig,
    temperature: float,
    max_steps: int,
    seed: int,
    group_size: int = 1,
    progress: Callable[[int], None] | None = None,
    must_start: bool = True,
    shuffled: bool = False,
) -> list[Trajectory]:
    """Play each game `group_size` times. Returns the episodes in the games' order, a group's members together.

    `Trajectory.group` is the game's index, or None if group_size is 1 and nothing is compared. shuffled: act-first
    replies get the thoughts of other episodes (shuffle.py). As many episodes run at once as there are environments.
    progress: called with the number of newly finished episodes. The same seed, policy, games and number of environments
    give the same trajectories. If an environment raises ActreError or OSError, its episode ends with the flag
    "env_error" and the text in meta["env_error"]; if the reset fails, the episode has no steps. An episode whose prompt
    is too long ends before its next step, with the reason in meta["cut"]. Raises ActreError if no episode starts,
    unless must_start is False.
    """
    if not envs:
        raise ActreError("no environments: make some with make_envs(config, n)")
    play = Play(policy, renderer, sampling, temperature, max_steps, shuffled)
    wanted = [(group, game, member) for group, game in enumerate(games) for member in range(group_size)]
    done: list[Trajectory] = []
    for first in range(0, len(wanted), len(envs)):
        wave = [
            _start(env, game, group, derive_seed(seed, "episode", group, member))
            for env, (group, game, member) in zip(envs, wanted[first : first + len(envs)], strict=False)
        ]
        _advance(play, wave, derive_seed(seed, "wave", first), progress)
        done += [episode.trajectory(renderer, grouped=group_size > 1) for episode in wave]
    failed = [t.meta["env_error"] for t in done if not t.steps and "env_error" in t.meta]
    if must_start and done and len(failed) == len(done):  # not a bad game, but a bad installation or path
        raise ActreError(f"none of the {len(done)} episodes could be started: {failed[0]}")
    return done


def must_start(
    policy: Policy, env: gymnasium.Env, games: Sequence[str], *, renderer: Renderer, sampling: SamplingConfig
) -> None:
    """Raises ActreError if even the first prompts of these games are too long, so that no episode could take a step.

    Tries one game and, if its prompt is too long, a few more. A game that fails to start is left to `rollout`.
    """
    longest, cut = prompt_limit(sampling, policy.max_context)
    shortest: int | None = None
    for game in games[:: max(1, len(games) // _TRIED_STARTS)]:
        started = _start(env, game, 0, 0)
        if started.over:
            continue
        first = len(renderer.prompt((), started.observation))
        if first <= longest:
            return
        shortest = min(first, shortest or first)
    if shortest is None:
        return
    if cut == "context":
        must_hold(policy.max_context, [shortest], sampling.max_reply_tokens, "the first prompt", SHORTER)
    raise ActreError(
        f"the first prompt of {shortest} tokens is more than sampling.max_prompt_tokens={longest} allows: "
        f"--set sampling.max_prompt_tokens={2 * shortest}"
    )


def must_be_whole(played: Sequence[Trajectory]) -> None:
    """Raises ActreError if the environment failed in an episode: such a game was not lost, and has no result."""
    failed = next((one for one in played if "env_error" in one.meta), None)
    if failed is not None:
        raise ActreError(
            f"{failed.game} could not be played to its end ({failed.meta['env_error']}), so that this measurement has "
            "no result there: repair the game, or leave it out, and run the same command again"
        )


def branch(
    policy: Policy,
    env: gymnasium.Env,
    point: BranchPoint,
    n: int,
    *,
    renderer: Renderer,
    sampling: SamplingConfig,
    temperature: float,
    max_steps: int,
    seed: int,
    game: str = "",
) -> list[Trajectory]:
    """`n` continuations from one state, in one environment that is restored before each step.

    Returns whole trajectories: the steps so far, then the continuation. max_steps counts from the start of the episode.
    The environment needs `snapshot()` and `restore(snapshot)`.
    """
    play = Play(policy, renderer, sampling, temperature, max_steps)
    episodes = [
        _Episode(
            env=env,
            game=game,
            group=0,
            seed=derive_seed(seed, "branch", i),
            observation=point.observation,
            steps=list(point.steps),
            snapshot=point.snapshot,
            task_type=point.task_type,
        )
        for i in range(n)
    ]
    _advance(play, episodes, derive_seed(seed, "branches"), None)
    return [episode.trajectory(renderer, grouped=n > 1) for episode in episodes]


def make_envs(env: EnvConfig, n: int) -> list[gymnasium.Env]:
    """`n` environments. Raises ActreError if the environment's package or data are missing."""
    return [make_env(env) for _ in range(n)]


@dataclass
class _Episode:
    """An episode in progress."""

    env: Any
    game: str
    group: int
    seed: int
    observation: Observation
    steps: list[Step] = field(default_factory=list)
    task_type: str = ""
    won: bool = False
    truncated: bool = False
    over: bool = False
    error: str | None = None
    cut: Cut | None = None
    snapshot: Any = None
    """The state of a branch; None: the environment is this episode's own."""

    def fail(self, error: Exception) -> None:
        self.over = self.truncated = True
        self.error = str(error) if isinstance(error, ActreError) else repr(error)

    def end_early(self, cut: Cut | None = None) -> None:
        self.over = self.truncated = True
        self.cut = cut

    def trajectory(self, renderer: Renderer, *, grouped: bool) -> Trajectory:
        spec = self.env.spec
        return Trajectory(
            env=spec.id if spec is not None else type(self.env.unwrapped).__name__,
            game=self.game,
            task_type=self.task_type,
            order=renderer.order,
            seed=self.seed,
            steps=tuple(self.steps),
            final=self.observation,
            won=self.won,
            truncated=self.truncated,
            group=self.group if grouped else None,
            meta={name: why for name, why in (("env_error", self.error), ("cut", self.cut)) if why is not None},
        )


def _start(env: gymnasium.Env, game: str, group: int, seed: int) -> _Episode:
    episode = _Episode(env, game, group, seed, Observation("", "", ()))
    try:
        text, info = env.reset(seed=seed, options={"game": game})
    except BrokenContractError:
        raise
    except _FAILURES as error:
        episode.fail(error)
        return episode
    episode.observation = _observation(text, info)
    episode.task_type = info.get("task_type", "")
    return episode


def _advance(play: Play, episodes: list[_Episode], seed: int, progress: Callable[[int], None] | None) -> None:
    """Play these episodes until they end."""
    live = [episode for episode in episodes if not episode.over]
    _report(progress, len(episodes) - len(live))
    longest, cut = prompt_limit(play.sampling, play.policy.max_context)
    turn = 0
    while live:
        asked = []
        for episode in live:
            prompt = play.renderer.prompt(episode.steps, episode.observation)
            if len(episode.steps) >= play.max_steps:
                episode.end_early()
            elif len(prompt) > longest:
                episode.end_early(cut)
            else:
                asked.append((episode, prompt))
        replies = play.policy.generate(
            [prompt for _, prompt in asked],
            max_new_tokens=play.sampling.max_reply_tokens,
            temperature=play.temperature,
            stop=play.renderer.stop,
            seed=derive_seed(seed, "step", turn),
        )
        if play.shuffled:
            replies = with_thoughts_of_others(replies, play.policy.decode)
        for (episode, prompt), reply in zip(asked, replies, strict=True):
            _step(play, episode, prompt, reply)
        left = [episode for episode in live if not episode.over]
        _report(progress, len(live) - len(left))
        live = left
        turn += 1


def _report(progress: Callable[[int], None] | None, ended: int) -> None:
    if progress is not None and ended:
        progress(ended)


def _step(play: Play, episode: _Episode, prompt: tuple[int, ...], reply: Reply) -> None:
    """Parse the reply and, if it contains an action, send it; record the step."""
    seen = episode.observation
    parsed = play.renderer.parse(reply.text, seen, truncated=reply.truncated)
    flags: tuple[Flag, ...] = parsed.flags
    reward = 0.0
    if parsed.action is not None:
        try:
            reward = _send(episode, parsed.action)
        except BrokenContractError:
            raise
        except _FAILURES as error:
            flags = (*flags, "env_error")
            episode.fail(error)
    episode.steps.append(
        Step(
            observation=seen,
            prompt_ids=prompt,
            reply_ids=reply.token_ids,
            reply_logps=reply.logps,
            reply_text=reply.text,
            thought=parsed.thought,
            action=parsed.action,
            flags=flags,
            reward=reward,
        )
    )
    if not episode.over and len(episode.steps) >= play.max_steps:
        episode.end_early()


def _send(episode: _Episode, action: str) -> float:
    """Send the action and return the reward."""
    env = episode.env
    if episode.snapshot is not None:
        env.unwrapped.restore(episode.snapshot)
    text, reward, terminated, truncated, info = env.step(action)
    episode.observation = _observation(text, info)
    episode.won = bool(info["won"])
    episode.over = bool(terminated or truncated)
    episode.truncated = bool(truncated and not terminated)
    if episode.snapshot is not None and not episode.over:
        episode.snapshot = env.unwrapped.snapshot()
    return float(reward)


def _observation(text: str, info: dict[str, Any]) -> Observation:
    return Observation(text, info["task"], tuple(info["admissible_commands"]))
