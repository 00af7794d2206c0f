"""Answers the inspector's requests: scores, what-if questions, branches, and episodes that were not sent yet.

A request is a dict with a "kind"; every answer is plain JSON. What a policy would do is measured by
`actre.entropy.episode_states`; the policies themselves are passed in by the caller.
"""

import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

from actre.config import RunConfig, derive_seed
from actre.entropy.episode_states import Asker, Edit, State, asker_for, history, state_at, token_texts
from actre.envs.worlds import make_env
from actre.rollout import BranchPoint, branch
from actre.types import ORDERS, ActreError, Trajectory
from actre.view.inspector import data
from actre.view.inspector.tree import tree

if TYPE_CHECKING:
    from actre.policies import Policy

Policies: TypeAlias = "Policy | Mapping[str, Policy] | None"
"""One policy, or checkpoints by name, in order."""
_MOST_BRANCHES = 32


def named(policy: Policies) -> dict[str, "Policy"]:
    """The policies by name; a single policy is named "policy"."""
    if policy is None:
        return {}
    return {str(k): v for k, v in policy.items()} if isinstance(policy, Mapping) else {"policy": policy}


class Live:
    """The episodes, the policies, and the environment for branches.

    env: None makes the settings' environment when a branch first needs it. Branches are appended to `entries`.
    """

    def __init__(
        self,
        entries: list[data.Entry],
        policies: Mapping[str, "Policy"],
        config: RunConfig,
        *,
        env: Any = None,
        thoughts: int = 8,
        seed: int = 0,
    ) -> None:
        self.entries = entries
        self.policies = dict(policies)
        self.config = config
        self.thoughts = thoughts
        self.seed = seed
        self._env = env
        self._kinds: dict[str, Callable[[dict[str, Any]], Any]] = {
            "episode": self._episode,
            "tokens": self._tokens,
            "scores": self._scores,
            "whatif": self._what_if,
            "branch": self._branch,
        }

    def answer(self, request: dict[str, Any]) -> Any:
        """The answer to a request, as JSON. Raises ActreError, with a message for the reader, if there is none."""
        kind = self._kinds.get(str(request.get("kind")))
        if kind is None:
            raise ActreError(f"unknown kind of request {request.get('kind')!r}; there are: {', '.join(self._kinds)}")
        return kind(request)

    def asker(self, name: object) -> Asker:
        """Scores states with the policy of that name. Raises ActreError if there is no such policy."""
        if not self.policies:
            raise ActreError("there is no policy to measure with: pass one, Inspector(trajectories, policy)")
        if name not in self.policies:
            raise ActreError(f"no policy {name!r}; there are: {', '.join(self.policies)}")
        return asker_for(self.policies[str(name)], self.config, self.thoughts, self.seed)

    def _trajectory(self, request: dict[str, Any]) -> Trajectory:
        return self.entries[_index(request, "episode", len(self.entries))].trajectory

    def _place(self, request: dict[str, Any]) -> tuple[Trajectory, int]:
        trajectory = self._trajectory(request)
        return trajectory, _index(request, "step", len(trajectory.steps))

    def _episode(self, request: dict[str, Any]) -> dict[str, Any]:
        number = _index(request, "episode", len(self.entries))
        return data.episode(number, self.entries[number])

    def _tokens(self, request: dict[str, Any]) -> list[Any]:
        policy = self.asker(request.get("checkpoint")).policy
        return [data.clean(token_texts(policy, step)) for step in self._trajectory(request).steps]

    def _scores(self, request: dict[str, Any]) -> list[dict[str, Any]]:
        trajectory = self._trajectory(request)
        steps = [_index({"step": step}, "step", len(trajectory.steps)) for step in request.get("steps", ())]
        asker = self.asker(request.get("checkpoint"))
        # one by one, so that the thoughts drawn in a state do not depend on the states scored with it
        return [data.clean(asker.score([state_at(trajectory, step)])[0]) for step in steps]

    def _what_if(self, request: dict[str, Any]) -> dict[str, Any]:
        trajectory, number = self._place(request)
        step = trajectory.steps[number]
        edits, thought = _edits(request, number), request.get("thought")
        untouched = thought is not None and thought == step.thought and trajectory.order == "think_first"
        state = State(
            trajectory.steps[:number],
            step.observation,
            trajectory.order,
            None if thought is None else str(thought),
            edits,
            step if untouched else None,
        )
        asker = self.asker(request.get("checkpoint"))
        (scored,) = asker.score([state])
        texts = [edit.thought for edit in edits.values() if edit.thought] + ([] if untouched else [state.thought or ""])
        return {"scores": data.clean(scored), "unknown": unknown_words(asker.policy, " ".join(texts))}

    def _branch(self, request: dict[str, Any]) -> dict[str, Any]:
        trajectory, number = self._place(request)
        n, order = int(request.get("n", 4)), request.get("order", trajectory.order)
        if not 1 <= n <= _MOST_BRANCHES or order not in ORDERS:
            raise ActreError(f"{n} branches, {order!r}: between 1 and {_MOST_BRANCHES}, in one of {', '.join(ORDERS)}")
        asker = self.asker(request.get("checkpoint"))
        env = self.env()
        snapshot = replayed(env, trajectory, number)
        renderer = asker.policy.renderer(self.config.prompt, order)
        steps = trajectory.steps[:number]
        before = tuple(history(asker.policy, renderer, State(steps, trajectory.final, trajectory.order)))
        played = branch(
            asker.policy,
            env,
            BranchPoint(snapshot, before, trajectory.steps[number].observation, trajectory.task_type),
            n,
            renderer=renderer,
            sampling=self.config.sampling,
            temperature=self.config.sampling.temperature,
            max_steps=max(self.config.env.max_steps, number + 1),
            seed=derive_seed(self.seed, "inspector", "branch", trajectory.game, number, int(request.get("again", 0))),
            game=trajectory.game,
        )
        first = len(self.entries)
        run = f"from step {number + 1}, {request.get('checkpoint')}"
        made = [data.Entry(run, t) for t in played]
        self.entries.extend(made)
        return {"tree": tree(played, number, first), "episodes": data.index(made, first), "depth": number}

    def env(self) -> Any:
        """The environment; made at the first call if none was given."""
        if self._env is None:
            self._env = make_env(self.config.env)
        return self._env


def replayed(env: Any, trajectory: Trajectory, number: int) -> Any:
    """Replay an episode up to a step; returns the environment's snapshot before that step.

    Raises ActreError if the environment's texts differ from the recorded ones.
    """
    text, _ = env.reset(seed=trajectory.seed, options={"game": trajectory.game})
    for at, step in enumerate(trajectory.steps[: number + 1]):
        if text != step.observation.text:
            raise ActreError(
                f"{trajectory.game} differs from the recorded episode at step {at + 1}: the game's version or the "
                "environment's settings have changed. Pass the run's settings to the inspector: "
                "config=load_config(RUN/config.json)"
            )
        if at < number and step.action is not None:
            text = env.step(step.action)[0]
    if not callable(getattr(env.unwrapped, "snapshot", None)):
        raise ActreError(
            f"{type(env.unwrapped).__name__} cannot return to a state, so no branch can be played: "
            "give it snapshot() and restore(snapshot)"
        )
    return env.unwrapped.snapshot()


def unknown_words(policy: "Policy", text: str) -> list[str]:
    """The words of a text that are outside a closed vocabulary: the policy's tokenizer does not reproduce them."""
    words = dict.fromkeys(re.findall(r"\w+", text))
    return [word for word in words if word not in policy.decode(policy.encode(word))]


def _index(request: Mapping[str, Any], name: str, count: int) -> int:
    value = request.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < count:
        raise ActreError(f"there is no {name} {value!r}: they are numbered from 0 to {count - 1}")
    return value


def _edits(request: Mapping[str, Any], steps: int) -> dict[int, Edit]:
    """The edits to earlier steps, each {"step", "keep", "thought"}."""
    found = {}
    for edit in request.get("edits", ()):
        thought = edit.get("thought")
        found[_index(edit, "step", steps)] = Edit(
            bool(edit.get("keep", True)), None if thought is None else str(thought)
        )
    return found
