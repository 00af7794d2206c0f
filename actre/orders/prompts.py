"""The three orders: prompts, the tags to open and to stop at, and the candidates to score.

The only file with prompt text. A tokenizer enters as an `encode` function and the pieces of its chat template
(chat.py). Each text is tokenised whole, because tokenising pieces separately gives tokens that a model does not write:
most tokenizers have one token `><` for the end of one tag and the beginning of the next. Sampled ids are never
tokenised again: a growing history is the previous prompt, the reply's own ids, and the ids of the text that follows.
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
"""World -> the policy's role, and the text before the task."""
_REPLY_SHARED = f"Reply with a thought in {THINK} {END_THINK} and one action in {ACTION} {END_ACTION}."
_REPLY: dict[Order, str] = {
    "think_first": f"First write a thought in {THINK} {END_THINK}, then one action in {ACTION} {END_ACTION}.",
    "act_first": f"First write one action in {ACTION} {END_ACTION}, then the thought behind it in {THINK} {END_THINK}.",
    "no_think": f"Write one action in {ACTION} {END_ACTION} and nothing else.",
}
NO_ACTION_NOTE = "No action was read."
"""Shown to the policy instead of an observation if its reply had no action."""
_OPENING: dict[Order, str] = {"think_first": THINK, "act_first": ACTION, "no_think": ACTION}
_STOP: dict[Order, str] = {"think_first": END_ACTION, "act_first": END_THINK, "no_think": END_ACTION}


@dataclass(frozen=True)
class Renderer:
    """Prompts and candidates of one order, as token ids.

    encode: text to ids, without special tokens. end_id: the tokenizer's end-of-turn id, or None. If a free reply ends
    with it, the template's own is not repeated.
    """

    encode: Callable[[str], list[int]]
    chat: ChatFormat
    config: PromptConfig
    order: Order
    end_id: int | None = None

    @property
    def opening(self) -> str:
        """The prefilled tag; "" if tags are free."""
        return _OPENING[self.order] if self.config.tags == "first" else ""

    @property
    def stop(self) -> str | None:
        """The string that ends a reply; None (free tags): only the end-of-turn token does."""
        return _STOP[self.order] if self.config.tags == "first" else None

    @property
    def opening_tokens(self) -> int:
        """The number of tokens of the prefilled tag at the end of a prompt."""
        return len(self.encode(self.chat.to_assistant + self.opening)) - len(self.encode(self.chat.to_assistant))

    def prompt(self, steps: Sequence[Step], observation: Observation, *, opening: str | None = None) -> tuple[int, ...]:
        """The ids of the prompt for the next step of an episode, with the forced opening tag.

        opening: a tag instead of the order's own, "" for none.
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
        """A prompt whose history has only observations and actions; orders differ only in the opening tag.

        observations: n+1 of them; actions: the n between. In a growing history each past reply is its action in its
        tags, without a thought.
        """
        steps = [_bare_step(o, a) for o, a in zip(observations, actions, strict=False)]
        if self.config.history == "windowed":
            return self._first(self._windowed_text(steps, observations[-1]), self.opening)
        return self._without_thoughts(steps, observations[-1], self.opening)

    def continued(self, text: str) -> list[int]:
        """The ids of a text that follows other text. Some tokenizers' `encode` puts a blank before every text."""
        # usually a tag precedes it; if the end of the tag and the text would share a token, try a line break
        for before in (">", "\n", "|"):
            own, both = self.encode(before), self.encode(before + text)
            if both[: len(own)] == own:
                return both[len(own) :]
        return self.encode(text)

    def candidates(self, actions: Sequence[str], *, after_thought: bool = False) -> list[Spelling]:
        """Each action with its closing tag. after_thought: they begin with the opening <action> tag.

        The candidate of an open action is its verb and bracket, whose probability is that of all its fillings together.
        So all searches are one class.
        """
        opening = ACTION if after_thought else ""
        return [Spelling(self.continued(opening + _in_tags(action, NO_BLANKS))) for action in actions]

    def continuation(self, action: str, written: str, blanks: Blanks = NO_BLANKS) -> Spelling | None:
        """The rest of an action of which `written` already follows the opening tag.

        Empty if all of it is written; None if the action does not begin like this. Blanks before it are ignored.
        """
        text = _in_tags(action, blanks)
        begun = written.lstrip()
        if begun.startswith(text):
            return Spelling()
        if not text.startswith(begun):
            return None
        return Spelling(self.continued(("" if written else blanks[0]) + text[len(begun) :]))

    def filling(self, action: str, written: str = "") -> list[int] | None:
        """The ids after which a policy writes the filling of an open action: "[red socks]</action>" after "search".

        None if the text `written` after the opening tag is not a beginning of the action.
        """
        verb = open_verb(action) or action
        begun = written.lstrip()
        if begun.startswith(verb):
            return []
        return self.continued(verb[len(begun) :]) if verb.startswith(begun) else None

    def reply_ids(self, thought: str | None, action: str, *, opening: str = "") -> list[int]:
        """The ids of a well-formed reply in this order, after the forced opening tag; used for demonstrations.

        opening: the first tag, if the reply writes it itself.
        """
        acted = action + END_ACTION
        if self.order == "no_think" or thought is None:
            return self.continued(opening + acted)
        if self.order == "think_first":
            return self.continued(opening + thought + END_THINK + ACTION + acted)
        return self.continued(opening + acted + THINK + thought + END_THINK)

    def parse(self, reply_text: str, observation: Observation, *, truncated: bool = False) -> Parsed:
        """Parse a reply to one of these prompts; adds the flag "inadmissible" if the list does not admit the action."""
        parsed = parse(self.opening + reply_text, self.order, truncated=truncated)
        if parsed.action is not None and not admits(observation.admissible, parsed.action):
            return parsed._replace(flags=(*parsed.flags, "inadmissible"))
        return parsed

    def _first(self, user_text: str, opening: str) -> tuple[int, ...]:
        return tuple(self.encode(self.chat.head + user_text + self.chat.to_assistant + opening))

    def _instruction(self) -> str:
        # no_think asks for no thought, so it cannot share the wording of the other two
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
        """A prompt with a growing history in which each past reply is its action in its tags."""
        seen = [step.observation for step in steps] + [observation]
        text = self._opening_text(seen[0])
        for step, after in zip(steps, seen[1:], strict=True):
            said = ACTION + step.action + END_ACTION if step.action else ""
            answer = (after.text if step.action else NO_ACTION_NOTE) + self._admissible_text(after)
            text += self.chat.to_assistant + said + self.chat.to_user + answer
        return self._first(text, opening)


def _in_tags(action: str, blanks: Blanks) -> str:
    """An action up to the end of its closing tag; for an open one, the common beginning of its fillings."""
    verb = open_verb(action)
    return f"{verb}[" if verb else action + blanks[1] + END_ACTION


def _bare_step(observation: Observation, action: str) -> Step:
    return Step(observation, (), (), (), "", None, action, (), 0.0)


def _without_banner(text: str) -> str:
    """The text without the banner line that begins ALFWorld's first observation."""
    return re.sub(r"\A-=.*=-\s*", "", text)
