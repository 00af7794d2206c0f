"""Small chat templates that imitate those of model families, tokenizers that carry them, and a clock to turn."""

import datetime
from typing import NamedTuple

import pytest
from tiny_models import char_tokenizer
from transformers import PreTrainedTokenizerFast
from transformers.utils import chat_template_utils

from actre.orders.chat import ChatFormat

CHATML = (
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
CHATML_PIECES = ("<|im_end|>\n<|im_start|>assistant\n", "<|im_end|>\n<|im_start|>user\n")
_HEADERS = "{{ '<|start_header_id|>' + m.role + '<|end_header_id|>\n\n' + m.content|trim + '<|eot_id|>' }}"
_LLAMA_END = "{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"
_LLAMA_PIECES = tuple(f"<|eot_id|><|start_header_id|>{who}<|end_header_id|>\n\n" for who in ("assistant", "user"))
DATED = (
    "{% if not date_string is defined %}{% set date_string = strftime_now('%d %b %Y, %H:%M') %}{% endif %}"
    "{{ '<|start|>today is ' + date_string + '\n' }}"
    "{% for m in messages %}{% if m.role == 'assistant' %}{{ '<|reply|>' + m.content + '<|end|>' }}"
    "{% else %}{{ m.content }}{% endif %}{% endfor %}{% if add_generation_prompt %}{{ '<|reply|>' }}{% endif %}"
)


class Family(NamedTuple):
    """A template, its pieces by hand, and what stands behind a reply's header that the pieces leave out.

    opened: in the generation prompt; shown: before replies in the history.
    """

    template: str
    pieces: ChatFormat
    opened: str = ""
    shown: str = ""


FAMILIES = {
    "R1 distill": Family(
        "{{ bos_token }}{% for m in messages %}{% if m.role == 'user' %}{{ '<｜User｜>' + m.content }}"
        "{% else %}{{ '<｜Assistant｜>' + m.content.split('</think>')[-1] + '<｜end▁of▁sentence｜>' }}{% endif %}"
        "{% endfor %}{% if add_generation_prompt %}{{ '<｜Assistant｜><think>\n' }}{% endif %}",
        ChatFormat("<|start|><｜User｜>", "<｜Assistant｜>", "<｜end▁of▁sentence｜><｜User｜>"),
        opened="<think>\n",
    ),
    "DeepSeek V3.1": Family(
        "{{ bos_token }}{% for m in messages %}{% if m.role == 'user' %}{{ '<｜User｜>' + m.content }}"
        "{% else %}{{ '<｜Assistant｜></think>' + m.content + '<｜end▁of▁sentence｜>' }}{% endif %}"
        "{% endfor %}{% if add_generation_prompt %}{{ '<｜Assistant｜></think>' }}{% endif %}",
        ChatFormat("<|start|><｜User｜>", "<｜Assistant｜>", "<｜end▁of▁sentence｜><｜User｜>"),
        opened="</think>",
        shown="</think>",
    ),
    "Qwen2.5": Family(
        "{% if messages[0].role != 'system' %}{{ '<|im_start|>system\nYou help.<|im_end|>\n' }}{% endif %}" + CHATML,
        ChatFormat("<|im_start|>system\nYou help.<|im_end|>\n<|im_start|>user\n", *CHATML_PIECES),
    ),
    "Qwen3": Family(
        CHATML.replace(
            "m.content",
            "(m.content.split('</think>')[-1].lstrip('\n') if '</think>' in m.content else "
            "'<think>\n\n</think>\n\n' + m.content if loop.last and m.role == 'assistant' else m.content)",
        ),
        ChatFormat("<|im_start|>user\n", *CHATML_PIECES),
    ),
    "Qwen3, thinking off": Family(
        CHATML.replace("assistant\n' }}", "assistant\n<think>\n\n</think>\n\n' }}"),
        ChatFormat("<|im_start|>user\n", *CHATML_PIECES),
        opened="<think>\n\n</think>\n\n",
    ),
    "Qwen3.5": Family(
        CHATML.replace("assistant\n' }}", "assistant\n<think>\n' }}"),
        ChatFormat("<|im_start|>user\n", *CHATML_PIECES),
        opened="<think>\n",
    ),
    "GLM 4.5": Family(
        "[gMASK]<sop>{% for m in messages %}{% if m.role == 'user' %}{{ '<|user|>\n' + m.content }}"
        "{% else %}{{ '<|assistant|>\n<think></think>\n' + m.content }}{% endif %}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}",
        ChatFormat("[gMASK]<sop><|user|>\n", "<|assistant|>", "<|user|>\n"),
        shown="\n<think></think>\n",
    ),
    "Llama 3": Family(
        "{{ bos_token }}{% for m in messages %}" + _HEADERS + "{% endfor %}" + _LLAMA_END,
        ChatFormat("<|start|><|start_header_id|>user<|end_header_id|>\n\n", *_LLAMA_PIECES),
    ),
    "Llama 3.1": Family(
        "{{ bos_token }}{% if not date_string is defined %}{% set date_string = '26 Jul 2024' %}{% endif %}"
        "{{ 'Today: ' + date_string }}{% for m in messages %}" + _HEADERS + "{% endfor %}" + _LLAMA_END,
        ChatFormat("<|start|>Today: 26 Jul 2024<|start_header_id|>user<|end_header_id|>\n\n", *_LLAMA_PIECES),
    ),
    "Llama 3.2": Family(
        "{{ bos_token }}{% if strftime_now is defined %}{% set date = strftime_now('%d %b %Y') %}{% endif %}"
        "{{ 'Today: ' + date }}{% for m in messages %}" + _HEADERS + "{% endfor %}" + _LLAMA_END,
        ChatFormat("<|start|>Today: 01 Jan 2026<|start_header_id|>user<|end_header_id|>\n\n", *_LLAMA_PIECES),
    ),
    "Gemma": Family(
        "{{ bos_token }}{% if messages[0].role == 'system' %}{{ raise_exception('no system') }}{% endif %}"
        "{% for m in messages %}{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('turns') }}"
        "{% endif %}{{ '<start_of_turn>' + ('model' if m.role == 'assistant' else 'user') + '\n' }}"
        "{{ m.content | trim + '<end_of_turn>\n' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}",
        ChatFormat(
            "<|start|><start_of_turn>user\n",
            "<end_of_turn>\n<start_of_turn>model\n",
            "<end_of_turn>\n<start_of_turn>user\n",
        ),
    ),
    "Mistral": Family(
        "{{ bos_token }}{% for m in messages %}{% if m.role == 'user' %}{{ '[INST] ' + m.content + ' [/INST]' }}"
        "{% else %}{{ ' ' + m.content + eos_token }}{% endif %}{% endfor %}",
        ChatFormat("<|start|>[INST] ", " [/INST]", "<|end|>[INST] "),
        shown=" ",
    ),
    "Mistral Small": Family(
        "{% set day = strftime_now('%Y-%m-%d') %}{{ bos_token + '[SYSTEM_PROMPT]It is ' + day + '[/SYSTEM_PROMPT]' }}"
        "{% for m in messages %}{{ '[INST]' + m.content + '[/INST]' if m.role == 'user' else m.content + eos_token }}"
        "{% endfor %}",
        ChatFormat("<|start|>[SYSTEM_PROMPT]It is 2026-01-01[/SYSTEM_PROMPT][INST]", "[/INST]", "<|end|>[INST]"),
    ),
    "SmolLM2": Family(
        "{% for m in messages %}{% if loop.first and m.role != 'system' %}"
        "{{ '<|im_start|>system\nYou are a helper.<|im_end|>\n' }}{% endif %}"
        "{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}",
        ChatFormat("<|im_start|>system\nYou are a helper.<|im_end|>\n<|im_start|>user\n", *CHATML_PIECES),
    ),
    "Phi": Family(
        "{% for m in messages %}{{ '<|' + m.role + '|>\n' + m.content + '<|end|>\n' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% else %}{{ eos_token }}{% endif %}",
        ChatFormat("<|user|>\n", "<|end|>\n<|assistant|>\n", "<|end|>\n<|user|>\n"),
    ),
    "ChatML without an end behind replies": Family(
        CHATML.replace("'<|im_end|>\n' }}", "('' if m.role == 'assistant' else '<|im_end|>') + '\n' }}"),
        ChatFormat("<|im_start|>user\n", CHATML_PIECES[0], "\n<|im_start|>user\n"),
    ),
    "ChatML without an end behind the last reply": Family(
        CHATML.replace("'<|im_end|>\n' }}", "('' if loop.last and m.role == 'assistant' else '<|im_end|>\n') }}"),
        ChatFormat("<|im_start|>user\n", *CHATML_PIECES),
    ),
    "Vicuna": Family(
        "A chat. {% for m in messages %}{% if m.role == 'user' %}{{ 'USER: ' + m.content }}"
        "{% else %}{{ ' ASSISTANT: ' + m.content + eos_token }}{% endif %}{% endfor %}"
        "{% if add_generation_prompt %}{{ ' ASSISTANT:' }}{% endif %}",
        ChatFormat("A chat. USER: ", " ASSISTANT:", "<|end|>USER: "),
        shown=" ",
    ),
    "no mark for the user": Family(
        "{% for m in messages %}{% if m.role == 'user' %}{{ m.content }}{% else %}{{ '\nAnswer: ' + m.content + '\n' }}"
        "{% endif %}{% endfor %}{% if add_generation_prompt %}{{ '\nAnswer: ' }}{% endif %}",
        ChatFormat("", "\nAnswer: ", "\n"),
    ),
}
"""Family -> a template in its manner; not the family's own."""


def with_template(template: object, name: str = "owner/model") -> PreTrainedTokenizerFast:
    """A tokenizer of one token a character that carries a template."""
    tokenizer = char_tokenizer()
    tokenizer.bos_token = "<|start|>"
    tokenizer.chat_template = template
    tokenizer.name_or_path = name
    return tokenizer


def turn_clock_to(monkeypatch: pytest.MonkeyPatch, *now: int) -> None:
    """Give this time to templates that ask for it (year, month, day and so on)."""

    class Clock(datetime.datetime):
        @classmethod
        def now(cls, tz: datetime.tzinfo | None = None) -> datetime.datetime:
            return datetime.datetime(*now)

    monkeypatch.setattr(chat_template_utils, "datetime", Clock)
