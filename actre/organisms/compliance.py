"""Format compliance: how often a policy's replies are well-formed, with free tags and with the first tag prefilled.

With free tags nothing is prefilled, and only the end-of-turn token ends a reply. If the prompt describes an order
("instructed"), the reply must follow it; with the shared wording either order of thought and action counts.

Where the history grows, the states are the games' first ones: a later state's history would hold actions without
thoughts, which a model continues as it finds them, while in play the history holds its own replies.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Literal, NamedTuple

from actre.config import PromptConfig, RunConfig, SamplingConfig, derive_seed
from actre.entropy.probes import Probe
from actre.policies import Policy
from actre.stats import wilson
from actre.training.returns import FORMAT_FLAGS
from actre.types import ORDERS, Flag, Observation, Order, Reply

Tags = Literal["free", "first"]


class Condition(NamedTuple):
    """How replies are requested. order None: the shared wording with free tags, where either order counts."""

    wording: Literal["shared", "instructed"]
    tags: Tags
    order: Order | None


CONDITIONS = (
    Condition("instructed", "free", "think_first"),
    Condition("instructed", "free", "act_first"),
    Condition("instructed", "free", "no_think"),
    Condition("shared", "free", None),
    Condition("shared", "first", "think_first"),
    Condition("shared", "first", "act_first"),
)
"""The measured conditions: four with free tags, and two as in training."""


ENOUGH = 0.8
"""The share of well-formed replies, in each order as training asks for it, from which on no warm start is needed."""


def in_training(config: RunConfig) -> tuple[Condition, ...]:
    """The conditions under which this training and its evaluation ask for replies, one an order."""
    orders = {stage.order for stage in config.stages} | {"think_first"}
    return tuple(Condition(config.prompt.wording, config.prompt.tags, order) for order in ORDERS if order in orders)


class Compliance(NamedTuple):
    """One condition's result over `states` states, one reply each.

    well_formed: replies without format errors; low, high: 95 % interval of their share (Wilson); admissible: replies
    with a listed action; flags: errors by name; example: one reply.
    """

    wording: str
    tags: str
    order: str
    states: int
    well_formed: int
    low: float
    high: float
    admissible: int
    flags: dict[str, int]
    example: str


def measure(
    policy: Policy,
    probes: Sequence[Probe],
    prompt: PromptConfig,
    sampling: SamplingConfig,
    seed: int,
    conditions: Sequence[Condition] = CONDITIONS,
) -> list[Compliance]:
    """The compliance under each condition, from one reply per state at the sampling temperature."""
    return [_measure(policy, probes, prompt, sampling, seed, condition) for condition in conditions]


def _measure(
    policy: Policy,
    probes: Sequence[Probe],
    prompt: PromptConfig,
    sampling: SamplingConfig,
    seed: int,
    condition: Condition,
) -> Compliance:
    asked = replace(prompt, wording=condition.wording, tags=condition.tags)
    renderer = policy.renderer(asked, condition.order or "think_first")
    if prompt.history == "growing":
        probes = [replace(probe, observations=probe.observations[:1], actions=()) for probe in probes]
    replies = policy.generate(
        [renderer.probe_prompt(probe.observations, probe.actions) for probe in probes],
        max_new_tokens=sampling.max_reply_tokens,
        temperature=sampling.temperature,
        stop=renderer.stop,
        seed=derive_seed(seed, "compliance", *condition),
    )
    orders: tuple[Order, ...] = ("think_first", "act_first") if condition.order is None else (condition.order,)
    faults: Counter[str] = Counter()
    well_formed = admissible = 0
    for probe, reply in zip(probes, replies, strict=True):
        # if either order is allowed, the one with fewer errors counts
        read = [_flags(policy, asked, order, reply, probe.state) for order in orders]
        flags = min(read, key=len)
        well_formed += FORMAT_FLAGS.isdisjoint(flags)
        admissible += not {"no_action", "inadmissible"} & set(flags)
        faults.update(flags)
    share = wilson(well_formed, len(replies))
    return Compliance(
        wording=condition.wording,
        tags=condition.tags,
        order=condition.order or "either",
        states=len(replies),
        well_formed=well_formed,
        low=round(share.low, 4),
        high=round(share.high, 4),
        admissible=admissible,
        flags=dict(sorted(faults.items())),
        example=renderer.opening + replies[0].text if replies else "",
    )


def _flags(policy: Policy, prompt: PromptConfig, order: Order, reply: Reply, state: Observation) -> tuple[Flag, ...]:
    return policy.renderer(prompt, order).parse(reply.text, state, truncated=reply.truncated).flags


def free_share(results: Sequence[Compliance]) -> tuple[int, int]:
    """(well-formed replies, replies) over the conditions with free tags."""
    free = [one for one in results if one.tags == "free"]
    return sum(one.well_formed for one in free), sum(one.states for one in free)


def needs_warm_start(results: Sequence[Compliance]) -> bool:
    """Whether fewer than `ENOUGH` of the replies were well-formed under any of these conditions."""
    return any(one.well_formed < ENOUGH * one.states for one in results)


def table(before: Sequence[Compliance], after: Sequence[Compliance] | None = None) -> str:
    """A Markdown table of well-formed replies with intervals, and of admissible actions."""
    lines = [
        "| prompt | first tag | order | well-formed before" + (" | after" if after else "") + " | admissible before"
        " |" + (" after |" if after else ""),
        "|---|---|---|---|---|" + ("---|---|" if after else ""),
    ]
    for i, one in enumerate(before):
        cells = [one.wording, "free" if one.tags == "free" else "forced", one.order.replace("_", "-"), _share(one)]
        if after:
            cells.append(f"**{_share(after[i])}**")
        cells.append(f"{one.admissible / max(1, one.states):.0%}")
        if after:
            cells.append(f"{after[i].admissible / max(1, after[i].states):.0%}")
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _share(one: Compliance) -> str:
    return f"{one.well_formed / max(1, one.states):.0%} ({one.low:.0%} to {one.high:.0%})"
