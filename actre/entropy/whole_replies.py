"""Complete replies at the states of a diagnosis, sampled and parsed as in a rollout, for self_check.py."""

from collections.abc import Sequence
from typing import NamedTuple

from actre.config import derive_seed
from actre.entropy.action_texts import forced
from actre.entropy.probes import Probe
from actre.entropy.records import Settings
from actre.entropy.self_check import blanks_in, listed_index
from actre.orders import END_ACTION, END_THINK, NO_BLANKS, Blanks, Renderer, listed, open_verb
from actre.policies import Policy

BLANK_TOKENS = 4
"""Allowance in tokens for white space around an action."""


class Played(NamedTuple):
    """Complete replies of one order: for each state and reply the index of its action in the list, else None.

    blanks: the kinds of white space around their actions.
    """

    indices: tuple[tuple[int | None, ...], ...]
    blanks: tuple[Blanks, ...]


def play_whole(
    policy: Policy,
    renderer: Renderer,
    probes: Sequence[Probe],
    settings: Settings,
    *,
    force_action_tag: bool,
    seed: int,
) -> Played:
    """Sample `settings.check_replies` replies in each state. force_action_tag: as in `Settings`, for this order."""
    n = settings.check_replies
    if not n:
        return Played(((),) * len(probes), (NO_BLANKS,))
    prompts = [renderer.probe_prompt(p.observations, p.actions) for p in probes for _ in range(n)]
    sample = _forced_texts if force_action_tag else _texts
    texts = sample(policy, renderer, prompts, probes, settings, seed)
    indices = [_index(renderer, probes[r // n], text) for r, text in enumerate(texts)]
    return Played(tuple(tuple(indices[i * n : (i + 1) * n]) for i in range(len(probes))), blanks_in(texts))


def _index(renderer: Renderer, probe: Probe, text: str) -> int | None:
    """Index of the reply's action among the state's, else None. text: the reply with its opening tag."""
    parsed = renderer.parse(text.partition(renderer.opening)[2], probe.state)
    if parsed.action is None or "inadmissible" in parsed.flags:
        return None
    return listed_index(listed(probe.state.admissible), parsed.action)


def _texts(
    policy: Policy,
    renderer: Renderer,
    prompts: Sequence[tuple[int, ...]],
    probes: Sequence[Probe],
    settings: Settings,
    seed: int,
) -> list[str]:
    """Replies with their prefilled tag, sampled up to the end of their action; what follows does not matter here.

    Thoughts may be as long as the scored ones.
    """
    thinks_first = renderer.order == "think_first"
    room = _room(renderer, probes, settings, after_thought=thinks_first) + settings.max_thought_tokens * thinks_first
    replies = policy.generate(
        prompts, max_new_tokens=room, temperature=settings.temperature, stop=END_ACTION, seed=seed
    )
    # decoded together with the tag, for tokenizers that drop a text's leading blank
    opening = renderer.opening_tokens
    return [
        policy.decode((*prompt[len(prompt) - opening :], *reply.token_ids))
        for prompt, reply in zip(prompts, replies, strict=True)
    ]


def _forced_texts(
    policy: Policy,
    renderer: Renderer,
    prompts: Sequence[tuple[int, ...]],
    probes: Sequence[Probe],
    settings: Settings,
    seed: int,
) -> list[str]:
    """The same, with <action> appended after the thought."""
    thoughts = policy.generate(
        prompts,
        max_new_tokens=settings.max_thought_tokens,
        temperature=settings.temperature,
        stop=END_THINK,
        seed=seed,
    )
    begun = [forced(renderer, reply).ids for reply in thoughts]
    acted = policy.generate(
        [(*prompt, *ids) for prompt, ids in zip(prompts, begun, strict=True)],
        max_new_tokens=_room(renderer, probes, settings, after_thought=False),
        temperature=settings.temperature,
        stop=END_ACTION,
        seed=derive_seed(seed, "action"),
    )
    return [renderer.opening + policy.decode((*ids, *reply.token_ids)) for ids, reply in zip(begun, acted, strict=True)]


def _room(renderer: Renderer, probes: Sequence[Probe], settings: Settings, *, after_thought: bool) -> int:
    """Tokens for the longest action with white space around it; a query may be as long as a thought."""
    actions = {action for probe in probes for action in listed(probe.state.admissible)}
    candidates = renderer.candidates(sorted(actions), after_thought=after_thought)
    query = settings.max_thought_tokens if any(map(open_verb, actions)) else 0
    return BLANK_TOKENS + max(map(len, candidates)) + query
