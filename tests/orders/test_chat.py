"""A chat template's pieces are what it renders itself, a thought of its own is cut off, and the rest is refused."""

import json
import lzma
from collections.abc import Sequence
from datetime import datetime
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from chat_templates import CHATML, CHATML_PIECES, FAMILIES, Family, with_template
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_models import tiny_llama
from transformers import AutoTokenizer

from actre.config import PromptConfig
from actre.orders.chat import ChatFormat, chat_format
from actre.policies.hf import HFPolicy
from actre.types import ORDERS, ActreError, Observation, Order, Step

TURNS = (1, 2, 3)
MODEL = tiny_llama(len(with_template(CHATML)))
JANUARY = datetime(2026, 1, 1)
# no blanks outside, which several templates trim; no brackets, so that no text is a tag
TEXT = st.text(st.characters(codec="utf-8", exclude_characters="<>"), min_size=1).map(str.strip).filter(bool)
named = pytest.mark.parametrize("family", [pytest.param(family, id=name) for name, family in FAMILIES.items()])


def rendered(tokenizer: Any, texts: Sequence[str], **given: Any) -> str:
    """What the template itself makes of a conversation, the user's turn first and last."""
    messages = [{"role": ("user", "assistant")[i % 2], "content": text} for i, text in enumerate(texts)]
    return str(tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True, **given))


def joined(chat: ChatFormat, texts: Sequence[str], opened: str = "", shown: str = "") -> str:
    """The pieces with the messages between them, and what they leave out put back."""
    return "".join([*pieces_of(chat, texts, shown), opened])


def pieces_of(chat: ChatFormat, texts: Sequence[str], shown: str = "") -> list[str]:
    parts = [chat.head, texts[0]]
    for i, text in enumerate(texts[1:]):
        parts += [chat.to_user, text] if i % 2 else [chat.to_assistant, shown, text]
    return [*parts, chat.to_assistant]


@named
def test_a_template_is_cut_into_the_pieces_it_is_made_of(family: Family) -> None:
    assert chat_format(with_template(family.template)) == family.pieces


@named
@settings(max_examples=15)
@given(conversation=st.sampled_from(TURNS).flatmap(lambda n: st.lists(TEXT, min_size=2 * n - 1, max_size=2 * n - 1)))
def test_the_pieces_put_together_are_the_templates_own_rendering(family: Family, conversation: list[str]) -> None:
    own = rendered(with_template(family.template), conversation, strftime_now=JANUARY.strftime)
    assert joined(family.pieces, conversation, family.opened, family.shown) == own


@pytest.mark.parametrize("order", ORDERS)
@named
def test_behind_the_header_stands_the_orders_own_tag_once(family: Family, order: Order) -> None:
    tokenizer = with_template(family.template)
    policy = HFPolicy(MODEL, tokenizer)
    for tags in ("first", "free"):
        renderer = policy.renderer(PromptConfig(tags=tags), order)  # type: ignore[arg-type]
        end = tokenizer.decode(renderer.encode(f"a room{family.pieces.to_assistant}{renderer.opening}"))
        assert policy.decode(renderer.prompt([], Observation("a room", "find it", ()))).endswith(end)


def test_earlier_replies_stand_as_they_were_sampled_though_the_template_drops_their_thoughts() -> None:
    tokenizer = with_template(FAMILIES["Qwen3"].template)
    renderer = HFPolicy(MODEL, tokenizer).renderer(PromptConfig(), "think_first")
    seen = Observation("a room", "find it", ())
    first, reply = renderer.prompt([], seen), renderer.reply_ids("hm", "go")
    step = Step(seen, first, tuple(reply), (), "", "hm", "go", (), 0.0)
    assert renderer.prompt([step], seen)[: len(first) + len(reply)] == (*first, *reply)
    assert "hm" not in rendered(tokenizer, ["a room", "<think>hm</think><action>go</action>", "a room"])


@pytest.mark.parametrize(
    "added",
    [
        "<reasoning>\n",
        "<|channel|>analysis<|message|>",
        "<think>\nOkay, ",
        "<think>\n\n</think>\n\n<answer>",
        "◁think▷",
        "[THINK]",
        "<|START_THINKING|>",
        "Final: ",
        "<",
    ],
)
def test_what_a_template_adds_to_the_next_reply_alone_is_refused_and_shown(added: str) -> None:
    template = CHATML.replace("'<|im_start|>assistant\n'", repr("<|im_start|>assistant\n" + added))
    with pytest.raises(ActreError, match="owner/model opens a reply with ") as refused:
        chat_format(with_template(template))
    assert repr(CHATML_PIECES[0] + added) in str(refused.value)


@pytest.mark.parametrize("added", ["<reasoning>\n", "Final: ", "[THINK]", "<|START_THINKING|>", "<answer>", "Thought:"])
@pytest.mark.parametrize("header", ["<|im_start|>assistant\n", "<|assistant|>", "Assistant: ", "\n\n### Assistant:\n"])
def test_what_a_template_adds_to_every_reply_is_refused_and_shown(header: str, added: str) -> None:
    user = header.replace("assistant", "user").replace("Assistant", "User")

    def template(opening: str) -> str:
        return (
            f"{{% for m in messages %}}{{{{ ({user!r} if m.role == 'user' else {opening!r}) + m.content + '\\n' }}}}"
            f"{{% endfor %}}{{% if add_generation_prompt %}}{{{{ {opening!r} }}}}{{% endif %}}"
        )

    assert chat_format(with_template(template(header))) == ChatFormat(user, "\n" + header, "\n" + user)
    with pytest.raises(ActreError, match="between the assistant's header and the reply") as refused:
        chat_format(with_template(template(header + added)))
    assert str(refused.value).startswith("the chat template of owner/model writes ")
    assert added.strip() in str(refused.value)


def test_a_template_that_begins_no_reply_is_refused() -> None:
    with pytest.raises(ActreError, match="opens a reply with '', and shows earlier ones after"):
        chat_format(with_template("{% for m in messages %}{{ '<|' + m.role + '|>' + m.content }}{% endfor %}"))


@pytest.mark.parametrize(
    "template",
    [
        CHATML.replace("m.content", "m.content|upper"),
        CHATML.replace("m.content", "m.content|tojson"),
        CHATML.replace("m.content", "m.content|e"),
        CHATML.replace("m.content", "m.content.replace('\n', ' ')"),
        CHATML.replace("m.content", "m.content.text|string"),
        CHATML.replace("m.content", "m.content + m.content"),
        CHATML.replace("in messages", "in messages[-1:]"),
        CHATML.replace("in messages", "in messages|reverse"),
        CHATML.replace("in messages", "in messages if m.role == 'user'"),
    ],
)
def test_a_template_that_does_not_keep_the_messages_as_they_are_is_refused(template: str) -> None:
    with pytest.raises(ActreError, match="owner/model drops, repeats or changes a message"):
        chat_format(with_template(template))


@pytest.mark.parametrize(
    ("template", "where"),
    [
        ("{{ messages|length }} messages: " + CHATML, "before the first message"),
        (CHATML.replace("{% if add", "{% if messages|length > 4 %}Hurry.{% endif %}{% if add"), "before a reply"),
        (CHATML.replace("'<|im_start|>'", "loop.index|string"), "before an earlier reply"),
        (CHATML.replace("'<|im_end|>\n'", "('.' if loop.index == 2 else '<|im_end|>\n')"), "after a reply"),
    ],
)
def test_text_that_changes_from_turn_to_turn_is_refused_and_shown(template: str, where: str) -> None:
    with pytest.raises(ActreError, match=f"owner/model writes one text {where} at one turn"):
        chat_format(with_template(template))


RAISES = "{{ raise_exception('not so') }}"


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        (RAISES, "turn 1 of a conversation: not so"),
        (CHATML + "{% if messages|length > 1 %}" + RAISES + "{% endif %}", "turn 2 of a conversation: not so"),
        (CHATML + "{% if messages|length > 3 %}" + RAISES + "{% endif %}", "turn 3 of a conversation: not so"),
        (CHATML + "{% if not tools %}" + RAISES + "{% endif %}", "turn 1 .*: not so"),
        (CHATML + "{{ tools|length }}", "turn 1 .*NoneType"),
        (CHATML + "{{ knowledge.cutoff }}", "turn 1 .*'knowledge' is undefined"),
        (CHATML + "{{ 1 // 0 }}", "turn 1 .*by zero"),
        (CHATML + "{{ messages[9].content }}", "turn 1 .*no element 9"),
        (CHATML + "{{ m.content + 1 }}", "turn 1 "),
        (CHATML + "{{ [].append(1) }}", "turn 1 .*unsafe|turn 1 .*not safely callable"),
        (CHATML + "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", "turn 1 .*recursion"),
        (CHATML + "{{ strftime_now(1) }}", "turn 1 "),
        (CHATML + "{% endfor %}", "turn 1 .*endfor"),
        ({"tool_use": CHATML}, "turn 1 "),
    ],
)
def test_a_template_that_fails_is_named_with_its_model_and_the_reason(template: object, reason: str) -> None:
    with pytest.raises(ActreError, match=rf"owner/model fails in {reason}"):
        chat_format(with_template(template))


def test_a_template_that_wants_a_system_message_is_refused_with_what_it_wants() -> None:
    wants = "{% if messages[0].role != 'system' %}{{ raise_exception('system first') }}{% endif %}" + CHATML
    with pytest.raises(ActreError, match=r"a system message first, and the kit writes none: system first\. Choose"):
        chat_format(with_template(wants))


def test_of_several_templates_the_default_one_counts() -> None:
    found = chat_format(with_template({"default": CHATML, "tool_use": RAISES}))
    assert found == ChatFormat("<|im_start|>user\n", *CHATML_PIECES)


@pytest.mark.parametrize("without", [None, ""])
def test_a_tokenizer_without_a_chat_template_is_refused(without: str | None) -> None:
    with pytest.raises(ActreError, match="owner/model has no chat template"):
        chat_format(with_template(without))
    with pytest.raises(ActreError, match="no chat template"):
        chat_format(object())


class FakeTokenizer:
    """Renders messages as `role:content;`, the assistant's last turn opened; knows no tokens and takes no more."""

    chat_template = "yes"

    def apply_chat_template(self, messages: list[dict[str, str]], tokenize: bool, add_generation_prompt: bool) -> str:
        return "".join(f"{m['role']}:{m['content']};" for m in messages) + "assistant:"


def test_a_tokenizer_of_ones_own_needs_no_more_than_its_template() -> None:
    assert chat_format(FakeTokenizer()) == ChatFormat("user:", ";assistant:", ";user:")


@pytest.mark.parametrize("name", sorted(p.name for p in files("trl").joinpath("chat_templates").iterdir()))
def test_real_templates_are_understood_without_an_open_thought_or_refused_with_the_reason(name: str) -> None:
    if not name.endswith(".jinja"):
        pytest.skip("no template")
    tokenizer = with_template(files("trl").joinpath("chat_templates", name).read_text(encoding="utf-8"), name)
    if name.partition("_training")[0].removesuffix(".jinja") in NOT_UNDERSTOOD:
        with pytest.raises(ActreError, match=name):
            chat_format(tokenizer)
        return
    found = chat_format(tokenizer)
    assert "think" not in found.to_assistant
    assert found.to_user


NOT_UNDERSTOOD = {"gptoss", "muse_glimmer", "idefics3", "llava_next"}
"""A channel or an address behind the assistant's header; contents in parts."""


def unpacked(path: Path) -> bytes:
    return lzma.decompress(path.read_bytes())


def test_real_models_templates_give_their_own_renderings(shared: Path) -> None:
    folders = sorted((shared / "tokenizers").iterdir())
    for folder in folders:
        settings = json.loads(unpacked(folder / "tokenizer_config.json.xz"))
        tokenizer = with_template(settings.get("chat_template"), folder.name)
        tokenizer.bos_token, tokenizer.eos_token = settings["bos_token"], settings["eos_token"]
        if tokenizer.chat_template is None:
            with pytest.raises(ActreError, match=f"{folder.name} has no chat template"):
                chat_format(tokenizer)
            continue
        for turns in TURNS:
            texts = [f"You see shelf {i}.\nAnd a mug." for i in range(2 * turns - 1)]
            assert joined(chat_format(tokenizer), texts) == rendered(tokenizer, texts), folder.name
    assert folders


@pytest.mark.slow  # a vocabulary of 262,144 takes its time
def test_real_models_give_the_same_tokens_piece_by_piece_as_for_the_whole(shared: Path, tmp_path: Path) -> None:
    for folder in sorted((shared / "tokenizers").iterdir()):
        for packed in folder.glob("*.xz"):
            (tmp_path / packed.stem).write_bytes(unpacked(packed))
        tokenizer = AutoTokenizer.from_pretrained(tmp_path)
        if tokenizer.chat_template is None:
            continue
        texts = [f"You see shelf {i}.\nAnd a mug." for i in range(5)]
        pieces = [tokenizer.encode(t, add_special_tokens=False) for t in pieces_of(chat_format(tokenizer), texts)]
        whole = tokenizer.encode(rendered(tokenizer, texts), add_special_tokens=False)
        assert [token for piece in pieces for token in piece] == whole, folder.name
