"""The cost of a rollout, with cached prefixes and without, and of action scores.

    python benchmarks/rollout.py [--model tiny] [--episodes 48] [--steps 20] [--reply-tokens 25] [--lora]

Without a shipped model a fresh one is used, whose replies run to their limit: the worst case. Prints cpu seconds,
tokens a second, ratios, the environments' share of the time, and where the time of the faster one goes. --out FILE
writes the figures as JSON.

--overlap: the environments' share of an act-first rollout, which is the most that could be saved by generating
act-first's thoughts while the environment takes its step.
"""

import argparse
import cProfile
import json
import os
import pstats
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

# Python puts this file's folder first, where alfworld.py, the benchmark, would hide the package.
sys.path[:] = [path for path in sys.path if Path(path).resolve() != Path(__file__).resolve().parent]

import gymnasium  # noqa: E402
import numpy as np  # noqa: E402
import torch  # noqa: E402

from actre.config import EnvConfig, ModelConfig, PromptConfig, SamplingConfig, versions  # noqa: E402
from actre.envs.alfworld import list_games  # noqa: E402
from actre.policies.hf import HFPolicy  # noqa: E402
from actre.policies.models import Loaded, add_lora, load  # noqa: E402
from actre.rollout import make_envs, rollout  # noqa: E402
from actre.runtime.limits import processor  # noqa: E402
from actre.types import Observation, Order, Trajectory  # noqa: E402

GROUP = 8
THOUGHTS = 8
STATES = 24


class Cost(NamedTuple):
    """cpu seconds, those in environments, tokens through the model, and the episodes."""

    seconds: float
    stepping: float
    computed: int
    played: list[Trajectory]


def make_model(name: str, lora: bool) -> Loaded:
    """The named model, or "random": the tiny policy's shape with fresh weights."""
    if name == "random":
        from actre.policies import tiny

        tokenizer = tiny.make_tokenizer()
        loaded = Loaded(tiny.make_model(tokenizer, 0).eval(), tokenizer)
    else:
        loaded = load(ModelConfig(name=name))
    return Loaded(add_lora(loaded.model, ModelConfig(), 0), loaded.tokenizer) if lora else loaded


class Timed(gymnasium.Wrapper):
    """An environment that counts the cpu seconds of its steps."""

    spent = 0.0

    def step(self, action: Any) -> Any:
        begun = time.process_time()
        try:
            return self.env.step(action)
        finally:
            self.spent += time.process_time() - begun


def play(loaded: Loaded, args: argparse.Namespace, games: list[str], *, reuse: bool, order: Order) -> Cost:
    policy = HFPolicy(*loaded, reuse=reuse)
    envs = [Timed(env) for env in make_envs(EnvConfig(), args.episodes)]
    start = time.process_time()
    played = rollout(
        policy,
        envs,
        games,
        renderer=policy.renderer(PromptConfig(), order),
        sampling=SamplingConfig(max_reply_tokens=args.reply_tokens),
        temperature=1.0,
        max_steps=args.steps,
        seed=0,
        group_size=GROUP,
    )
    seconds = time.process_time() - start
    return Cost(seconds, sum(env.spent for env in envs), policy.computed_tokens, played)


def score(loaded: Loaded, games: list[str]) -> None:
    """cpu seconds of a probe measurement: K thoughts a state, and every admissible action after each."""
    policy = HFPolicy(*loaded)
    renderer = policy.renderer(PromptConfig(), "think_first")
    (env,) = make_envs(EnvConfig(), 1)
    prompts, candidates = [], []
    for game in games:
        text, info = env.reset(options={"game": game})
        seen = Observation(text, info["task"], tuple(info["admissible_commands"]))
        prompts += [renderer.probe_prompt([seen], [])] * THOUGHTS
        candidates += [renderer.candidates(seen.admissible, after_thought=True)] * THOUGHTS
    start = time.process_time()
    thoughts = policy.generate(prompts, max_new_tokens=20, temperature=1.0, stop="</think>", seed=0)
    said = time.process_time()
    prefixes = [(*prompt, *reply.token_ids) for prompt, reply in zip(prompts, thoughts, strict=True)]
    policy.action_logprobs(prefixes, candidates)
    done = time.process_time()
    policy.reset()
    policy.action_logprobs(prefixes, candidates)
    anew = time.process_time() - done
    count = sum(map(len, candidates))
    print(f"probe: {len(games)} states x {THOUGHTS} thoughts, {count} candidates")
    print(f"  thoughts {said - start:6.2f} cpu-s")
    print(f"  scores   {done - said:6.2f} cpu-s ({count / (done - said):.0f} candidates/s)")
    print(f"  scores, prefixes anew {anew:6.2f} cpu-s: ratio {anew / (done - said):.1f}")


def samples(cost: Cost) -> list[tuple[int, ...]]:
    """Every reply's tokens."""
    return [step.reply_ids for episode in cost.played for step in episode.steps]


def show(name: str, cost: Cost) -> None:
    """A line of figures."""
    replies = [len(step.reply_ids) for episode in cost.played for step in episode.steps]
    print(
        f"{name:6} {cost.seconds:7.2f} cpu-s  {len(replies)} steps, {np.mean(replies):.1f} tokens a reply, "
        f"{sum(replies) / cost.seconds:7.0f} sampled tokens/s, {cost.computed} computed, "
        f"environments {cost.stepping:.2f} cpu-s"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="random")
    parser.add_argument("--episodes", type=int, default=48)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--reply-tokens", type=int, default=25)
    parser.add_argument("--lora", action="store_true")
    parser.add_argument("--overlap", action="store_true", help="what overlapping thoughts and steps could save")
    parser.add_argument("--out", type=Path, help="write the figures of these rollouts to this JSON file")
    parser.add_argument("--profile", action="store_true", help="where the time goes")
    args = parser.parse_args()
    torch.set_num_threads(1)
    loaded = make_model(args.model, args.lora)
    games = list_games("small/train")[: max(1, args.episodes // GROUP)]
    play(
        loaded, argparse.Namespace(**{**vars(args), "steps": 1}), games, reuse=True, order="think_first"
    )  # translate the games, warm up
    kept = play(loaded, args, games, reuse=True, order="think_first")
    anew = play(loaded, args, games, reuse=False, order="think_first")
    show("kept", kept)
    show("anew", anew)
    ratio, same = anew.seconds / kept.seconds, samples(kept) == samples(anew)
    print(f"ratio: {ratio:.1f} times less cpu time; same samples: {same}")
    record: dict[str, Any] = {"kept_s": kept.seconds, "anew_s": anew.seconds, "ratio": ratio, "same_samples": same}
    if args.overlap:
        cost = play(loaded, args, games, reuse=True, order="act_first")
        show("act-first", cost)
        share = cost.stepping / cost.seconds
        print(f"overlap: environments take {share:.1%} of it; nothing beyond could be saved")
        record |= {"act_first_s": cost.seconds, "environments_s": cost.stepping, "environments_share": share}
    if args.out is not None:
        settings = {name: getattr(args, name) for name in ("model", "lora", "episodes", "steps", "reply_tokens")}
        machine = {"processor": processor(), "cores": os.cpu_count()}
        record |= {"settings": settings, "machine": machine, "versions": versions()}
        args.out.write_text(json.dumps(record, indent=1) + "\n")
    if args.overlap:
        return
    score(loaded, list_games("small/unseen")[:STATES])
    if args.profile:
        with cProfile.Profile() as profile:
            play(loaded, args, games, reuse=True, order="think_first")
        pstats.Stats(profile).sort_stats("tottime").print_stats(12)


if __name__ == "__main__":
    main()
