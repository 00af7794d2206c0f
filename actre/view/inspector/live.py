"""Answers the inspector's requests with a live policy: scores, what-if, branches, and episodes that were not sent yet.

Knows the request and answer records, policies by name, and environments through `actre.rollout`; no widget and no
page. A request is a dict with a "kind"; every answer is plain JSON. What cannot be answered raises ActreError, in words
for a reader.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from actre.config import RunConfig, derive_seed
from actre.config.presets import preset
from actre.envs.worlds import make_env
from actre.policies import Policy
from actre.rollout import BranchPoint, branch
from actre.types import ORDERS, ActreError, Trajectory
from actre.view.inspector import data
from actre.view.inspector.scores import Asker, Edit, State, retell, state_at, token_texts
from actre.view.inspector.tree import tree

Policies = Policy | Mapping[str, Policy] | None
_MOST_BRANCHES = 32


def named(policy: Policies) -> dict[str, Policy]:
    """The policies by name: one is called "policy"; a mapping (checkpoints, in order) keeps its names."""
    if policy is None:
        return {}
    return {str(k): v for k, v in policy.items()} if isinstance(policy, Mapping) else {"policy": policy}


def settings_for(env: str) -> RunConfig:
    """The tiny preset's settings for an environment's name, where none are given."""
    return preset("tiny", "webshop" if "webshop" in env.lower() else "alfworld")


class Live:
    """The episodes, the policies, and the environment that branches are played in.

    env: None makes one of the settings' kind when it is first needed. Episodes that branching makes are appended to
    `entries`.
    """

    def __init__(
        self,
        entries: list[data.Entry],
        policies: Mapping[str, Policy],
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
        """What a request asks for. Raises ActreError where it cannot be had."""
        kind = self._kinds.get(str(request.get("kind")))
        if kind is None:
            raise ActreError(f"no request of the kind {request.get('kind')!r}; there are: {', '.join(self._kinds)}")
        return kind(request)

    def asker(self, name: object) -> Asker:
        """What scores states with the policy of that name."""
        if not self.policies:
            raise ActreError("there is no policy to ask: Inspector(trajectories, policy) takes one")
        if name not in self.policies:
            raise ActreError(f"no policy {name!r}; there are: {', '.join(self.policies)}")
        sampling = self.config.sampling
        return Asker(
            self.policies[str(name)],
            self.config.prompt,
            thoughts=self.thoughts,
            max_thought_tokens=sampling.max_reply_tokens,
            temperature=sampling.temperature,
            seed=self.seed,
        )

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
        # one by one: which thoughts are drawn in a state must not depend on what else was asked with it
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
        told = tuple(retell(asker.policy, renderer, State(steps, trajectory.final, trajectory.order)))
        played = branch(
            asker.policy,
            env,
            BranchPoint(snapshot, told, trajectory.steps[number].observation),
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
        made = [data.Entry(run, replace(t, task_type=trajectory.task_type)) for t in played]
        self.entries.extend(made)
        return {"tree": tree(played, number, first), "episodes": data.index(made, first), "depth": number}

    def env(self) -> Any:
        """The environment, made when it is first needed."""
        if self._env is None:
            self._env = make_env(self.config.env)
        return self._env


def replayed(env: Any, trajectory: Trajectory, number: int) -> Any:
    """Bring an environment to the state before a step; returns its snapshot there.

    Raises ActreError where the environment answers otherwise than it did in the episode.
    """
    text, _ = env.reset(seed=trajectory.seed, options={"game": trajectory.game})
    for at, step in enumerate(trajectory.steps[: number + 1]):
        if text != step.observation.text:
            raise ActreError(
                f"{trajectory.game} no longer plays as it did when the episode was recorded (it differs at step "
                f"{at + 1}): another version of the game, or settings of another environment. Give "
                "Inspector the run's settings: config=load_config(RUN/config.json)"
            )
        if at < number and step.action is not None:
            text = env.step(step.action)[0]
    if not callable(getattr(env.unwrapped, "snapshot", None)):
        raise ActreError(
            f"{type(env.unwrapped).__name__} cannot return to a state, so no branch can be played: "
            "give it snapshot() and restore(snapshot)"
        )
    return env.unwrapped.snapshot()


def unknown_words(policy: Policy, text: str) -> list[str]:
    """The words of a text that a policy's tokenizer cannot write, each once: a closed vocabulary has gaps."""
    words = dict.fromkeys(re.findall(r"\w+", text))
    return [word for word in words if word not in policy.decode(policy.encode(word))]


def annotate(
    trajectories: Sequence[Trajectory],
    policy: Policy,
    *,
    config: RunConfig | None = None,
    thoughts: int = 8,
    seed: int = 0,
    progress: Callable[[int], None] | None = None,
) -> list[Trajectory]:
    """The trajectories with every step's distributions in both orders and its tokens' texts in `meta`.

    They then show, and can be written to JSONL, without the policy. A step at the end of a policy's context, which
    holds no more than its own reply, has none. progress: called with 1 after each episode.
    """
    if not trajectories:
        return []
    config = config or settings_for(trajectories[0].env)
    asker = Live([], {"policy": policy}, config, thoughts=thoughts, seed=seed).asker("policy")
    done = []
    for trajectory in trajectories:
        states = [state_at(trajectory, i) for i in range(len(trajectory.steps))]
        scored = [data.clean(asker.score([one])[0]) if asker.holds(one) else None for one in states]
        tokens = [token_texts(policy, step) for step in trajectory.steps]
        with_scores = data.with_records(trajectory, data.SCORES, scored)
        done.append(data.with_records(with_scores, data.TOKENS, tokens))
        if progress:
            progress(1)
    return done


def _index(request: Mapping[str, Any], name: str, count: int) -> int:
    value = request.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < count:
        raise ActreError(f"there is no {name} {value!r}: they are numbered from 0 to {count - 1}")
    return value


def _edits(request: Mapping[str, Any], steps: int) -> dict[int, Edit]:
    """What was done to the steps before: {"step", "keep", "thought"} each."""
    found = {}
    for edit in request.get("edits", ()):
        thought = edit.get("thought")
        found[_index(edit, "step", steps)] = Edit(
            bool(edit.get("keep", True)), None if thought is None else str(thought)
        )
    return found
