"""The three orders: prompts, the tags to open and to stop at, candidates to score, and how a reply is read.

The only file with prompt text. Knows no model: a tokenizer comes in as an `encode` function and the pieces of
its chat template (chat.py). Everything is built as token ids, piece by piece, so that a transcript is never tokenised
again: a growing history is the previous prompt, the reply as it was sampled, and the new observation's ids.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from actre.chat import ChatFormat
from actre.chat import chat_format as chat_format  # offered here too: what it makes is what a Renderer takes
from actre.config import PromptConfig
from actre.types import Flag, Observation, Order, Step

THINK, END_THINK = "<think>", "</think>"
ACTION, END_ACTION = "<action>", "</action>"
_TAGS = (THINK, END_THINK, ACTION, END_ACTION)

ROLE = "You act in a text world, one action at a time, until the task is done."
_WORLDS = {
    "text": (ROLE, "Your task is to: "),
    "shop": (
        "You shop on a web site, one action at a time, until you have bought what is asked for. The actions are "
        "search[words] and click[what is shown].",
        "You are asked: ",
    ),
}
"""World -> who the policy is, and what stands before the task."""
_REPLY_SHARED = f"Reply with a thought in {THINK} {END_THINK} and one action in {ACTION} {END_ACTION}."
_REPLY: dict[Order, str] = {
    "think_first": f"First write a thought in {THINK} {END_THINK}, then one action in {ACTION} {END_ACTION}.",
    "act_first": f"First write one action in {ACTION} {END_ACTION}, then the thought behind it in {THINK} {END_THINK}.",
    "no_think": f"Write one action in {ACTION} {END_ACTION} and nothing else.",
}
NO_ACTION_NOTE = "No action was read."
"""What the policy sees when its reply held no action; nothing was sent to the environment."""
_OPEN = re.compile(r"(\w+)\[<\w+>\]")

_OPENING: dict[Order, str] = {"think_first": THINK, "act_first": ACTION, "no_think": ACTION}
_STOP: dict[Order, str] = {"think_first": END_ACTION, "act_first": END_THINK, "no_think": END_ACTION}


def open_verb(action: str) -> str | None:
    """The verb of an open action, which stands in a list of admissible ones for all its fillings; None for any other.

    >>> open_verb("search[<query>]"), open_verb("click[buy now]")
    ('search', None)
    """
    match = _OPEN.fullmatch(action)
    return match[1] if match else None


def admits(admissible: Sequence[str], action: str) -> bool:
    """Whether an action is in the list, or fills an open one of it. Clicks are found in any case, as the shop does.

    >>> admits(("search[<query>]",), "search[red socks]"), admits(("search[<query>]",), "search[]")
    (True, False)
    >>> admits(("click[buy now]",), "click[Buy Now]"), admits(("look",), "Look")
    (True, False)
    """
    if action in admissible:
        return True
    if action.startswith("click["):
        return action.lower() in admissible
    verbs = [verb for verb in map(open_verb, admissible) if verb]
    return any(re.fullmatch(rf"{verb}\[.+\]", action, re.DOTALL) for verb in verbs)


class Parsed(NamedTuple):
    """A reply read strictly. `action` is what the tags hold (outer blanks stripped), None if nothing is to be sent."""

    thought: str | None
    action: str | None
    flags: tuple[Flag, ...]


def parse(text: str, order: Order, *, truncated: bool = False) -> Parsed:
    """Read a whole reply (forced opening tag included).

    The action is taken only where exactly one <action>...</action> stands in the text, holds no other tag and is not
    blank; then it is sent as it is, whatever else is wrong. Whatever is wrong is a flag.

    >>> parse("<think>find mug</think> <action>go to shelf 1</action>", "think_first")
    Parsed(thought='find mug', action='go to shelf 1', flags=())
    >>> parse("<action>go to shelf 1</action> hm", "no_think")
    Parsed(thought=None, action='go to shelf 1', flags=('extra_text',))
    >>> parse("<action>a</action><action>b</action>", "no_think").action is None
    True
    """
    flags: list[Flag] = []
    action, action_at = _between(text, ACTION, END_ACTION)
    thought, thought_at = _between(text, THINK, END_THINK)
    if action is None:
        flags.append("no_action")
    if order != "no_think":
        if thought is None:
            flags.append("no_thought")
        elif action is not None and (thought_at < action_at) != (order == "think_first"):
            flags.append("wrong_order")
    rest = _without(text, ACTION, END_ACTION) if action is not None else text
    if thought is not None and order != "no_think":
        rest = _without(rest, THINK, END_THINK)
    if rest.strip() and not truncated:
        flags.append("extra_text")
    if truncated:
        flags.append("truncated")
    return Parsed(thought, action, tuple(flags))


def _between(text: str, opening: str, closing: str) -> tuple[str | None, int]:
    """The stripped text of the only tag pair and where it starts; (None, -1) if there is no such pair."""
    if text.count(opening) != 1 or text.count(closing) != 1:
        return None, -1
    start, end = text.index(opening), text.index(closing)
    inner = text[start + len(opening) : end].strip()
    if end < start or not inner or _has_tags(inner):
        return None, -1
    return inner, start


def _without(text: str, opening: str, closing: str) -> str:
    return text[: text.index(opening)] + text[text.index(closing) + len(closing) :]


def _has_tags(text: str) -> bool:
    return any(tag in text for tag in _TAGS)


@dataclass(frozen=True)
class Renderer:
    """Prompts and candidates of one order, as token ids.

    encode: text to ids, no special tokens added. end_id: the tokenizer's end-of-turn id, which a free reply may end
    with (the template's own is then not repeated), or None.
    """

    encode: Callable[[str], list[int]]
    chat: ChatFormat
    config: PromptConfig
    order: Order
    end_id: int | None = None

    @property
    def opening(self) -> str:
        """The tag that is prefilled; empty where tags are free."""
        return _OPENING[self.order] if self.config.tags == "first" else ""

    @property
    def stop(self) -> str | None:
        """The string that ends a reply; None: the end-of-turn token alone does (free tags)."""
        return _STOP[self.order] if self.config.tags == "first" else None

    def prompt(self, steps: Sequence[Step], observation: Observation) -> tuple[int, ...]:
        """The prompt's ids for the next step of an episode, the forced opening tag included."""
        if self.config.history == "windowed":
            return self._first(self._windowed_text(steps, observation))
        if not steps:
            return self._first(self._opening_text(observation))
        last = steps[-1]
        seen = (NO_ACTION_NOTE if last.action is None else observation.text) + self._admissible_text(observation)
        if not self.config.history_thoughts:
            return self._without_thoughts(steps, observation)
        between = self.encode(self.chat.to_user)
        if self.end_id is not None and between[:1] == [self.end_id] == list(last.reply_ids[-1:]):
            between = between[1:]
        turn = self.encode(seen) + self.encode(self.chat.to_assistant) + self._opening_ids()
        return (*last.prompt_ids, *last.reply_ids, *between, *turn)

    def probe_prompt(self, observations: Sequence[Observation], actions: Sequence[str]) -> tuple[int, ...]:
        """A prompt whose history is observations and actions only, the same for every order but for the opening tag.

        observations: n+1 of them, actions: the n between. With a growing history each past reply is its bare action
        in its tags; thoughts never appear.
        """
        if self.config.history == "windowed":
            steps = [_bare_step(o, a) for o, a in zip(observations, actions, strict=False)]
            return self._first(self._windowed_text(steps, observations[-1]))
        bare = [_bare_step(o, a) for o, a in zip(observations, actions, strict=False)]
        return self._without_thoughts(bare, observations[-1])

    def candidates(self, actions: Sequence[str], *, after_thought: bool) -> list[list[int]]:
        """Ids of each action with its closing tag; after a thought they begin with the opening <action> tag.

        An open action's are its verb's alone: with their probability a reply begins that holds one of its fillings (or,
        rarely, the bare verb and something else). So all searches are one class.
        """
        opening = self.encode(ACTION) if after_thought else []
        return [opening + self.encode(open_verb(action) or action + END_ACTION) for action in actions]

    def filling(self, action: str, *, after_thought: bool) -> list[int]:
        """Ids after which a policy writes what fills an open action: "[red socks]</action>" after "search"."""
        return self.candidates([action], after_thought=after_thought)[0]

    def reply_ids(self, thought: str | None, action: str) -> list[int]:
        """The ids of a well-formed reply in this order, after the forced opening tag: what demonstrations teach."""
        action_ids = self.encode(action + END_ACTION)
        if self.order == "no_think" or thought is None:
            return action_ids
        thought_ids = self.encode(thought + END_THINK)
        if self.order == "think_first":
            return thought_ids + self.encode(ACTION) + action_ids
        return action_ids + self.encode(THINK) + thought_ids

    def parse(self, reply_text: str, observation: Observation, *, truncated: bool = False) -> Parsed:
        """Read a reply to one of these prompts; adds the flag "inadmissible" where the action is not in the list."""
        parsed = parse(self.opening + reply_text, self.order, truncated=truncated)
        if parsed.action is not None and not admits(observation.admissible, parsed.action):
            return parsed._replace(flags=(*parsed.flags, "inadmissible"))
        return parsed

    def _first(self, user_text: str) -> tuple[int, ...]:
        ids = self.encode(self.chat.head) + self.encode(user_text) + self.encode(self.chat.to_assistant)
        return (*ids, *self._opening_ids())

    def _opening_ids(self) -> list[int]:
        return self.encode(self.opening) if self.opening else []

    def _instruction(self) -> str:
        # no_think has no thought to ask for, so it cannot share the wording of the other two
        shared = self.config.wording == "shared" and self.order != "no_think"
        return _REPLY_SHARED if shared else _REPLY[self.order]

    def _opening_text(self, observation: Observation) -> str:
        role, asked = _WORLDS[self.config.world]
        task = "" if observation.task in observation.text else f"{asked}{observation.task}\n"
        seen = _without_banner(observation.text) + self._admissible_text(observation)
        return f"{role} {self._instruction()}\n{task}{seen}"

    def _windowed_text(self, steps: Sequence[Step], observation: Observation) -> str:
        recent = steps[-self.config.window :] if self.config.window else []
        role, asked = _WORLDS[self.config.world]
        lines = [f"{role} {asked}{observation.task}"]
        if steps:
            lines.append(f"You have taken {len(steps)} steps. The last {len(recent)}:")
            lines += [
                f"You saw: {_without_banner(s.observation.text)}\nYou did: {s.action or NO_ACTION_NOTE}" for s in recent
            ]
        lines.append(f"You see now: {_without_banner(observation.text)}{self._admissible_text(observation)}")
        return "\n".join([*lines, self._instruction()])

    def _admissible_text(self, observation: Observation) -> str:
        if not self.config.list_admissible:
            return ""
        listed = [action for action in observation.admissible if action != "help"]
        return "\nYou can: " + "; ".join(listed)

    def _without_thoughts(self, steps: Sequence[Step], observation: Observation) -> tuple[int, ...]:
        """A growing history in which each past reply is its action in its tags."""
        seen = [step.observation for step in steps] + [observation]
        ids = self.encode(self.chat.head) + self.encode(self._opening_text(seen[0]))
        for step, after in zip(steps, seen[1:], strict=True):
            said = ACTION + step.action + END_ACTION if step.action else ""
            text = (after.text if step.action else NO_ACTION_NOTE) + self._admissible_text(after)
            ids += self.encode(self.chat.to_assistant) + (self.encode(said) if said else [])
            ids += self.encode(self.chat.to_user) + self.encode(text)
        return (*ids, *self.encode(self.chat.to_assistant), *self._opening_ids())


def _bare_step(observation: Observation, action: str) -> Step:
    return Step(observation, (), (), (), "", None, action, (), 0.0)


def _without_banner(text: str) -> str:
    """ALFWorld's first observation begins with a banner line that says nothing."""
    return re.sub(r"\A-=.*=-\s*", "", text)
