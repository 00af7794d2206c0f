"""Splits a tokenizer's chat template into the pieces that prompts are assembled from.

A template is only rendered: with conversations of marks as messages, the text between the marks gives the pieces. The
kit writes its own tags and keeps replies as they were sampled, so it needs only the text around the messages, and this
text must be the same at every turn. Two things are corrected:

- A thought that the template opens after the assistant's header (<think>, closed or not) is removed; the order's own
tag takes its place. - The date is that of the settings (`PromptConfig.date`), so that prompts are the same on every
day.

A template's changes to the messages themselves (dropping earlier thoughts, trimming blanks) do not apply: a growing
history holds the replies' ids as they were sampled. Any other text that a template adds is refused and quoted.
"""

import re
from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

from actre.config import PromptConfig
from actre.types import ActreError

_TURNS = (1, 2, 3)
"""Lengths of the compared conversations, in user messages: these give a first, a middle and a last turn."""
_OWN_THOUGHT = re.compile(r"(<think>\s*(</think>\s*)?|</think>\s*)\Z")
_THINKS = re.compile(r"think|thought|reason|analy[sz]", re.IGNORECASE)
_TAG = re.compile(r"<\w+>")
_MARKER = re.compile(r"<\|[^<>|]*\|>")
"""The usual form of a special token, for tokenizers that do not declare theirs."""


class ChatFormat(NamedTuple):
    """The pieces of a chat template; a prompt is head, user text, to_assistant, reply, to_user, user text, ...

    to_assistant ends with the assistant's header, without an opened thought.
    """

    head: str
    to_assistant: str
    to_user: str


def chat_format(tokenizer: Any, date: str = PromptConfig.date) -> ChatFormat:
    """The pieces of a tokenizer's chat template. date: the day and time passed to it, in ISO format.

    Raises ActreError, with the model and the reason, for a tokenizer without a template, and for a template that fails,
    drops or changes a message, or writes text around the messages that differs between turns or is more than the
    speaker's name.
    """
    if not getattr(tokenizer, "chat_template", None):
        raise ActreError(
            f"{_name(tokenizer)} has no chat template: choose an instruct model, or set tokenizer.chat_template"
        )
    cuts = [_between_marks(tokenizer, turns, date) for turns in _TURNS]
    head = _same(tokenizer, "before the first message", [cut[0] for cut in cuts])
    opened = _same(tokenizer, "before a reply", [cut[-1] for cut in cuts])
    shown = _same(tokenizer, "before an earlier reply", [text for cut in cuts for text in cut[1:-1:2]])
    to_user = _same(tokenizer, "after a reply", [text for cut in cuts for text in cut[2:-1:2]])
    to_assistant = _OWN_THOUGHT.sub("", opened)
    if to_assistant.rstrip() != _OWN_THOUGHT.sub("", shown).rstrip():
        raise _refused(tokenizer, f"opens a reply with {opened!r}, and shows earlier ones after {shown!r}")
    if extra := _more_than_a_header(to_assistant, to_user, _special_tokens(tokenizer)):
        raise _refused(tokenizer, f"writes {extra!r} between the assistant's header and the reply ({opened!r})")
    return ChatFormat(head, to_assistant, to_user)


def _between_marks(tokenizer: Any, turns: int, date: str) -> list[str]:
    """The text of a template before, between and after the messages of a conversation that ends with a user message."""
    # capitals, quotes and brackets reveal a template that changes or escapes its messages
    marks = [f"@@{i} <A> & \"b\"\n'c'@@" for i in range(2 * turns - 1)]
    messages = [{"role": ("user", "assistant")[i % 2], "content": mark} for i, mark in enumerate(marks)]
    text = _rendered(tokenizer, messages, date)
    pattern = "|".join(map(re.escape, marks))
    if re.findall(pattern, text) != marks:
        raise _refused(tokenizer, "drops, repeats or changes a message; it cannot carry a growing history")
    return re.split(pattern, text)


def _rendered(tokenizer: Any, messages: list[dict[str, str]], date: str) -> str:
    """A conversation as the template renders it. Raises ActreError, with the reason, if the template fails."""
    from jinja2 import TemplateError

    # jinja2 passes on Python's exceptions from a template's expressions
    failures = (TemplateError, ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError)
    # passed only if the template uses it; it takes precedence over transformers' own, which reads the clock
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
    """The text that all of `texts` equal. Raises ActreError if they differ."""
    for text in texts:
        if text != texts[0]:
            raise _refused(tokenizer, f"writes one text {where} at one turn, {texts[0]!r}, and another later, {text!r}")
    return texts[0]


def _more_than_a_header(to_assistant: str, to_user: str, special: Sequence[str]) -> str:
    """The text before a reply beyond the speaker's name; "" if there is none.

    Allowed are special tokens and as many words as announce the user, but nothing that opens a thought.

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
    """A text with each special token replaced by a blank."""
    for token in special:
        text = text.replace(token, " ")
    return _MARKER.sub(" ", text)


def _special_tokens(tokenizer: Any) -> list[str]:
    """Special and added tokens, long ones first, so that none is matched inside another."""
    added: dict[str, int] = getattr(tokenizer, "get_added_vocab", dict)()
    return sorted({*getattr(tokenizer, "all_special_tokens", ()), *added}, key=lambda token: (-len(token), token))


def _refused(tokenizer: Any, why: str) -> ActreError:
    return ActreError(
        f"the chat template of {_name(tokenizer)} {why}. Choose another model, or write a simpler template into its "
        "folder (chat_template.jinja) or into tokenizer.chat_template"
    )


def _name(tokenizer: Any) -> str:
    return getattr(tokenizer, "name_or_path", "") or "this tokenizer"
