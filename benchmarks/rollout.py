"""What a rollout costs: prefixes kept between steps against computed anew, and what action scores cost.

    python benchmarks/rollout.py [--model tiny] [--episodes 48] [--steps 20] [--reply-tokens 25] [--lora]

A fresh model is used where none is shipped, so that replies run to their limit: the worst case. Prints cpu seconds,
tokens a second, ratios, and where the time of the faster one goes.
"""

import argparse
import cProfile
import pstats
import sys
import time
from pathlib import Path
from typing import NamedTuple

# Python puts this file's folder first, where alfworld.py, the benchmark, would pass for the package.
sys.path[:] = [path for path in sys.path if Path(path).resolve() != Path(__file__).resolve().parent]

import numpy as np  # noqa: E402
import torch  # noqa: E402

from actre.config import EnvConfig, ModelConfig, PromptConfig, SamplingConfig  # noqa: E402
from actre.envs.alfworld import list_games  # noqa: E402
from actre.policies.hf import HFPolicy  # noqa: E402
from actre.policies.models import Loaded, add_lora, load  # noqa: E402
from actre.rollout import make_envs, rollout  # noqa: E402
from actre.types import Observation, Trajectory  # noqa: E402

GROUP = 8
THOUGHTS = 8
STATES = 24


class Cost(NamedTuple):
    """cpu seconds, tokens through the model, and the episodes."""

    seconds: float
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


def play(loaded: Loaded, args: argparse.Namespace, games: list[str], *, reuse: bool) -> Cost:
    policy = HFPolicy(*loaded, reuse=reuse)
    envs = make_envs(EnvConfig(), args.episodes)
    start = time.process_time()
    played = rollout(
        policy,
        envs,
        games,
        renderer=policy.renderer(PromptConfig(), "think_first"),
        sampling=SamplingConfig(max_reply_tokens=args.reply_tokens),
        temperature=1.0,
        max_steps=args.steps,
        seed=0,
        group_size=GROUP,
    )
    return Cost(time.process_time() - start, policy.computed_tokens, played)


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


def show(name: str, cost: Cost) -> int:
    """A line of figures; returns the sampled tokens."""
    replies = [len(step.reply_ids) for episode in cost.played for step in episode.steps]
    print(
        f"{name:6} {cost.seconds:7.2f} cpu-s  {len(replies)} steps, {np.mean(replies):.1f} tokens a reply, "
        f"{sum(replies) / cost.seconds:7.0f} sampled tokens/s, {cost.computed} computed"
    )
    return sum(replies)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="random")
    parser.add_argument("--episodes", type=int, default=48)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--reply-tokens", type=int, default=25)
    parser.add_argument("--lora", action="store_true")
    parser.add_argument("--profile", action="store_true", help="where the time goes")
    args = parser.parse_args()
    torch.set_num_threads(1)
    loaded = make_model(args.model, args.lora)
    games = list_games("small/train")[: max(1, args.episodes // GROUP)]
    play(loaded, argparse.Namespace(**{**vars(args), "steps": 1}), games, reuse=True)  # translate the games, warm up
    kept = play(loaded, args, games, reuse=True)
    anew = play(loaded, args, games, reuse=False)
    same = show("kept", kept) == show("anew", anew)
    print(f"ratio: {anew.seconds / kept.seconds:.1f} times less cpu time; same number of tokens: {same}")
    score(loaded, list_games("small/unseen")[:STATES])
    if args.profile:
        with cProfile.Profile() as profile:
            play(loaded, args, games, reuse=True)
        pstats.Stats(profile).sort_stats("tottime").print_stats(12)


if __name__ == "__main__":
    main()
