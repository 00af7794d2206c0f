"""A tokenizer's chat template, cut into the pieces that prompts are put together from.

Knows templates only by what they render: conversations of marks go through, and the text between the marks is kept. No
order and no environment. The kit opens its own tags and keeps replies as they were sampled, so of a template it needs
the text around the messages, and that this text is the same at every turn. Two things are put right:

- A thought that the template itself opens behind the assistant's header (<think>, with or without its end) is cut off:
  the order's own tag stands there instead, once.
- The date is not today's but the settings' (`PromptConfig.date`): the same prompts on every day.

What a template does to the messages themselves (dropping earlier thoughts, trimming blanks) is not done: a growing
history holds the replies' ids as they were sampled. What else a template adds is refused, with the text it adds.
"""

import re
from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

from actre.config import PromptConfig
from actre.types import ActreError

_TURNS = (1, 2, 3)
"""Lengths of the conversations that are compared, in messages of the user's: the first, a middle and the last turn."""
_OWN_THOUGHT = re.compile(r"(<think>\s*(</think>\s*)?|</think>\s*)\Z")
_THINKS = re.compile(r"think|thought|reason|analy[sz]", re.IGNORECASE)
_TAG = re.compile(r"<\w+>")
_MARKER = re.compile(r"<\|[^<>|]*\|>")
"""A special token's usual look, for tokenizers that write theirs as plain text."""


class ChatFormat(NamedTuple):
    """A chat template cut into its pieces; a prompt is head, user text, to_assistant, reply, to_user, user text, ...

    to_assistant ends with the assistant's header: no thought is open behind it.
    """

    head: str
    to_assistant: str
    to_user: str


def chat_format(tokenizer: Any, date: str = PromptConfig.date) -> ChatFormat:
    """The pieces of a tokenizer's chat template. date: the day and time given to it, in ISO format.

    Raises ActreError, naming the model and the reason, for a tokenizer without a template, and for a template that
    fails, drops or changes a message, or writes text around the messages that is not the same at every turn or is more
    than the speaker's name.
    """
    if not getattr(tokenizer, "chat_template", None):
        raise ActreError(
            f"{_name(tokenizer)} has no chat template: choose an instruct model, or set tokenizer.chat_template"
        )
    cuts = [_between_marks(tokenizer, turns, date) for turns in _TURNS]
    head = _same(tokenizer, "before the first message", [cut[0] for cut in cuts])
    opened = _same(tokenizer, "before a reply", [cut[-1] for cut in cuts])
    shown = _same(tokenizer, "before an earlier reply", [text for cut in cuts for text in cut[1:-1:2]])
    to_user = _same(tokenizer, "behind a reply", [text for cut in cuts for text in cut[2:-1:2]])
    to_assistant = _OWN_THOUGHT.sub("", opened)
    if to_assistant.rstrip() != _OWN_THOUGHT.sub("", shown).rstrip():
        raise _refused(tokenizer, f"opens a reply with {opened!r}, and shows earlier ones behind {shown!r}")
    if extra := _more_than_a_header(to_assistant, to_user, _special_tokens(tokenizer)):
        raise _refused(tokenizer, f"writes {extra!r} between the assistant's header and the reply ({opened!r})")
    return ChatFormat(head, to_assistant, to_user)


def _between_marks(tokenizer: Any, turns: int, date: str) -> list[str]:
    """What a template writes before, between and behind the messages of a conversation that ends with the user's."""
    # capitals, quotes and brackets: a template that changes or escapes its messages does not give them back
    marks = [f"@@{i} <A> & \"b\"\n'c'@@" for i in range(2 * turns - 1)]
    messages = [{"role": ("user", "assistant")[i % 2], "content": mark} for i, mark in enumerate(marks)]
    text = _rendered(tokenizer, messages, date)
    pattern = "|".join(map(re.escape, marks))
    if re.findall(pattern, text) != marks:
        raise _refused(tokenizer, "drops, repeats or changes a message; it cannot carry a growing history")
    return re.split(pattern, text)


def _rendered(tokenizer: Any, messages: list[dict[str, str]], date: str) -> str:
    """A conversation as the template renders it. Raises ActreError with the reason where it does not."""
    from jinja2 import TemplateError

    # what Python raises in a template's own expressions comes through as it is
    failures = (TemplateError, ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError)
    # passed where it is asked for: a name that is given stands before transformers' own, which asks the clock
    clock = {"strftime_now": datetime.fromisoformat(date).strftime} if "strftime_now" in _source(tokenizer) else {}

    def render(conversation: list[dict[str, str]]) -> str:
        return str(tokenizer.apply_chat_template(conversation, tokenize=False, add_generation_prompt=True, **clock))

    try:
        return render(messages)
    except failures as error:
        said, reason = " ".join(str(error).split()) or type(error).__name__, error
    try:
        render([{"role": "system", "content": "You act."}, *messages])
    except failures:
        turns = (len(messages) + 1) // 2
        raise _refused(tokenizer, f"fails in turn {turns} of a conversation: {said}") from reason
    raise _refused(tokenizer, f"wants a system message first, and the kit writes none: {said}") from reason


def _source(tokenizer: Any) -> str:
    return str(tokenizer.chat_template)


def _same(tokenizer: Any, where: str, texts: Sequence[str]) -> str:
    """The one text. Raises ActreError where there are several."""
    for text in texts:
        if text != texts[0]:
            raise _refused(tokenizer, f"writes one text {where} at one turn, {texts[0]!r}, and another later, {text!r}")
    return texts[0]


def _more_than_a_header(to_assistant: str, to_user: str, special: Sequence[str]) -> str:
    """What stands before a reply and is more than who speaks; empty if nothing does.

    Special tokens and as many words as announce the user may stand there, and nothing that opens a thought.

    >>> _more_than_a_header("<|end|><|assistant|>final: ", "<|end|><|user|>", ())
    'final:'
    """
    words, theirs = _plain(to_assistant, special).split(), _plain(to_user, special).split()
    unmarked = _plain(to_assistant, special) == to_assistant
    if (more := len(words) - max(len(theirs), unmarked)) > 0:
        return " ".join(words[-more:])
    tags = _TAG.findall(" ".join(words))
    if len(tags) > len(_TAG.findall(" ".join(theirs))):
        return str(tags[-1])
    return to_assistant.strip() if _THINKS.search(to_assistant) else ""


def _plain(text: str, special: Sequence[str]) -> str:
    """A text with a blank for each special token."""
    for token in special:
        text = text.replace(token, " ")
    return _MARKER.sub(" ", text)


def _special_tokens(tokenizer: Any) -> list[str]:
    """Special and added tokens, long ones first, so that none is looked for inside another."""
    added: dict[str, int] = getattr(tokenizer, "get_added_vocab", dict)()
    return sorted({*getattr(tokenizer, "all_special_tokens", ()), *added}, key=lambda token: (-len(token), token))


def _refused(tokenizer: Any, why: str) -> ActreError:
    return ActreError(
        f"the chat template of {_name(tokenizer)} {why}. Choose another model, or write a simpler template into its "
        "folder (chat_template.jinja) or into tokenizer.chat_template"
    )


def _name(tokenizer: Any) -> str:
    return getattr(tokenizer, "name_or_path", "") or "this tokenizer"
