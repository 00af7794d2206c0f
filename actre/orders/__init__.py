"""The three orders: prompts, tags, and parsing of replies.

Files:
    prompts.py  all prompt text; Renderer: prompts and candidates as token ids
    parsing.py  parses replies; checks actions against the admissible list
    chat.py     splits a tokenizer's chat template into the pieces of a prompt
"""

from actre.orders.chat import ChatFormat, chat_format
from actre.orders.parsing import (
    ACTION,
    END_ACTION,
    END_THINK,
    NO_BLANKS,
    THINK,
    Blanks,
    Opened,
    Parsed,
    admits,
    listed,
    open_verb,
    opened,
    parse,
    thought_text,
    tokens_up_to,
    unwritten,
)
from actre.orders.prompts import NO_ACTION_NOTE, ROLE, Renderer

__all__ = [
    "ACTION",
    "END_ACTION",
    "END_THINK",
    "NO_ACTION_NOTE",
    "NO_BLANKS",
    "ROLE",
    "THINK",
    "Blanks",
    "ChatFormat",
    "Opened",
    "Parsed",
    "Renderer",
    "admits",
    "chat_format",
    "listed",
    "open_verb",
    "opened",
    "parse",
    "thought_text",
    "tokens_up_to",
    "unwritten",
]
