"""The three orders: prompts, the tags to open and to stop at, candidates to score, and how a reply is read.

The only file with prompt text. Knows no model: a tokenizer comes in as an `encode` function and the pieces of
its chat template (chat.py). Each text is tokenised once and whole, for pieces tokenised apart are not what a model
writes: most tokenizers have one token `><` for the end of a tag and the beginning of the next. What was sampled stays
as it is: a growing history is the previous prompt, the reply's own ids, and the ids of the text that follows.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from actre.config import PromptConfig
from actre.orders.chat import ChatFormat
from actre.orders.parsing import (
    ACTION,
    END_ACTION,
    END_THINK,
    NO_BLANKS,
    THINK,
    Blanks,
    Parsed,
    admits,
    open_verb,
    parse,
)
from actre.types import Observation, Order, Spelling, Step

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
_OPENING: dict[Order, str] = {"think_first": THINK, "act_first": ACTION, "no_think": ACTION}
_STOP: dict[Order, str] = {"think_first": END_ACTION, "act_first": END_THINK, "no_think": END_ACTION}


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

    @property
    def opening_tokens(self) -> int:
        """How many of a prompt's last tokens are the prefilled tag."""
        return len(self.encode(self.chat.to_assistant + self.opening)) - len(self.encode(self.chat.to_assistant))

    def prompt(self, steps: Sequence[Step], observation: Observation, *, opening: str | None = None) -> tuple[int, ...]:
        """The prompt's ids for the next step of an episode, the forced opening tag included.

        opening: another tag than the order's own, "" for none.
        """
        opening = self.opening if opening is None else opening
        if self.config.history == "windowed":
            return self._first(self._windowed_text(steps, observation), opening)
        if not steps:
            return self._first(self._opening_text(observation), opening)
        last = steps[-1]
        seen = (NO_ACTION_NOTE if last.action is None else observation.text) + self._admissible_text(observation)
        if not self.config.history_thoughts:
            return self._without_thoughts(steps, observation, opening)
        turn = self.continued(self.chat.to_user + seen + self.chat.to_assistant + opening)
        if self.end_id is not None and turn[:1] == [self.end_id] == list(last.reply_ids[-1:]):
            turn = turn[1:]
        return (*last.prompt_ids, *last.reply_ids, *turn)

    def probe_prompt(self, observations: Sequence[Observation], actions: Sequence[str]) -> tuple[int, ...]:
        """A prompt whose history is observations and actions only, the same for every order but for the opening tag.

        observations: n+1 of them, actions: the n between. With a growing history each past reply is its bare action
        in its tags; thoughts never appear.
        """
        steps = [_bare_step(o, a) for o, a in zip(observations, actions, strict=False)]
        if self.config.history == "windowed":
            return self._first(self._windowed_text(steps, observations[-1]), self.opening)
        return self._without_thoughts(steps, observations[-1], self.opening)

    def continued(self, text: str) -> list[int]:
        """The ids of a text behind other text; `encode` puts a blank before every text in some tokenizers."""
        # what stands before it is a tag, as a rule; where its end and the text would share a token, a line break
        for before in (">", "\n", "|"):
            own, both = self.encode(before), self.encode(before + text)
            if both[: len(own)] == own:
                return both[len(own) :]
        return self.encode(text)

    def candidates(self, actions: Sequence[str], *, after_thought: bool = False) -> list[Spelling]:
        """Each action with its closing tag; after a thought that has ended they begin with the opening <action> tag.

        An open action's is its verb and bracket alone: with their probability a reply begins that holds one of its
        fillings. So all searches are one class.
        """
        opening = ACTION if after_thought else ""
        return [Spelling(self.continued(opening + _in_tags(action, NO_BLANKS))) for action in actions]

    def continuation(self, action: str, written: str, blanks: Blanks = NO_BLANKS) -> Spelling | None:
        """What is left to write of an action where `written` already stands behind the opening tag.

        Empty where all of it stands there; None where the action does not begin so. Blanks before it do not count.
        """
        text = _in_tags(action, blanks)
        begun = written.lstrip()
        if begun.startswith(text):
            return Spelling()
        if not text.startswith(begun):
            return None
        return Spelling(self.continued(("" if written else blanks[0]) + text[len(begun) :]))

    def filling(self, action: str, written: str = "") -> list[int] | None:
        """Ids after which a policy writes what fills an open action: "[red socks]</action>" after "search".

        None where what is `written` behind the opening tag is no beginning of it.
        """
        verb = open_verb(action) or action
        begun = written.lstrip()
        if begun.startswith(verb):
            return []
        return self.continued(verb[len(begun) :]) if verb.startswith(begun) else None

    def reply_ids(self, thought: str | None, action: str, *, opening: str = "") -> list[int]:
        """The ids of a well-formed reply in this order, after the forced opening tag: what demonstrations teach.

        opening: a tag before it, where the reply writes its own first one.
        """
        acted = action + END_ACTION
        if self.order == "no_think" or thought is None:
            return self.continued(opening + acted)
        if self.order == "think_first":
            return self.continued(opening + thought + END_THINK + ACTION + acted)
        return self.continued(opening + acted + THINK + thought + END_THINK)

    def parse(self, reply_text: str, observation: Observation, *, truncated: bool = False) -> Parsed:
        """Read a reply to one of these prompts; adds the flag "inadmissible" where the action is not in the list."""
        parsed = parse(self.opening + reply_text, self.order, truncated=truncated)
        if parsed.action is not None and not admits(observation.admissible, parsed.action):
            return parsed._replace(flags=(*parsed.flags, "inadmissible"))
        return parsed

    def _first(self, user_text: str, opening: str) -> tuple[int, ...]:
        return tuple(self.encode(self.chat.head + user_text + self.chat.to_assistant + opening))

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

    def _without_thoughts(self, steps: Sequence[Step], observation: Observation, opening: str) -> tuple[int, ...]:
        """A growing history in which each past reply is its action in its tags."""
        seen = [step.observation for step in steps] + [observation]
        text = self._opening_text(seen[0])
        for step, after in zip(steps, seen[1:], strict=True):
            said = ACTION + step.action + END_ACTION if step.action else ""
            answer = (after.text if step.action else NO_ACTION_NOTE) + self._admissible_text(after)
            text += self.chat.to_assistant + said + self.chat.to_user + answer
        return self._first(text, opening)


def _in_tags(action: str, blanks: Blanks) -> str:
    """An action up to the end of its closing tag; of an open one what all its fillings begin with."""
    verb = open_verb(action)
    return f"{verb}[" if verb else action + blanks[1] + END_ACTION


def _bare_step(observation: Observation, action: str) -> Step:
    return Step(observation, (), (), (), "", None, action, (), 0.0)


def _without_banner(text: str) -> str:
    """ALFWorld's first observation begins with a banner line that says nothing."""
    return re.sub(r"\A-=.*=-\s*", "", text)
