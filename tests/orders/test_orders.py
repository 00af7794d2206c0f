"""Orders: prompts built piece by piece, replies read strictly, hostile text included."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actre.config import PromptConfig
from actre.orders import (
    ACTION,
    END_ACTION,
    END_THINK,
    NO_ACTION_NOTE,
    THINK,
    Renderer,
    parse,
)
from actre.orders.chat import ChatFormat
from actre.types import ORDERS, Observation, Order, Step

PLAIN = st.text(st.characters(blacklist_characters="<>", blacklist_categories=("Cs",)), min_size=1).filter(str.strip)
PIECES = st.lists(
    st.one_of(st.sampled_from([THINK, END_THINK, ACTION, END_ACTION, "<", ">", "</", " "]), st.text(max_size=6))
).map("".join)


def observation(text: str, admissible: tuple[str, ...] = ("go", "look")) -> Observation:
    return Observation(text, "find the mug", admissible)


def renderer(order: Order, **settings: object) -> Renderer:
    """Characters as tokens, so that ids can be read back."""
    return Renderer(
        lambda text: [ord(c) for c in text],
        ChatFormat("[U]", "[A]", "[E][U]"),
        PromptConfig(**settings),
        order,
        ord("$"),
    )


def text(ids: tuple[int, ...] | list[int]) -> str:
    return "".join(map(chr, ids))


def step_of(r: Renderer, prompt: tuple[int, ...], seen: Observation, thought: str | None, action: str) -> Step:
    reply = r.reply_ids(thought, action)
    return Step(seen, prompt, tuple(reply), (0.0,) * len(reply), text(reply), thought, action, (), 0.0)


@pytest.mark.parametrize("order", ORDERS)
@given(thought=PLAIN, action=PLAIN)
def test_a_reply_as_demonstrated_is_read_back_without_a_flag(order: Order, thought: str, action: str) -> None:
    r = renderer(order)
    reply = text(r.reply_ids(thought, action))
    parsed = r.parse(reply, observation("o", (action.strip(),)))
    assert parsed.flags == ()
    assert parsed.action == action.strip()
    assert parsed.thought == (None if order == "no_think" else thought.strip())


@pytest.mark.parametrize("order", ORDERS)
@given(reply=PIECES, truncated=st.booleans())
def test_an_action_is_exactly_what_the_only_tags_hold_or_nothing(order: Order, reply: str, truncated: bool) -> None:
    parsed = parse(reply, order, truncated=truncated)
    if parsed.action is None:
        assert "no_action" in parsed.flags
    else:
        assert reply.count(ACTION) == reply.count(END_ACTION) == 1
        assert reply.split(ACTION)[1].split(END_ACTION)[0].strip() == parsed.action
        assert not any(tag in parsed.action for tag in (THINK, END_THINK, ACTION, END_ACTION))
    if not parsed.flags:
        thought = "" if order == "no_think" else f"{THINK}{parsed.thought}{END_THINK}"
        written = f"{ACTION}{parsed.action}{END_ACTION}"
        whole = written + thought if order == "act_first" else thought + written
        assert "".join(reply.split()) == "".join(whole.split())


@pytest.mark.parametrize(
    ("reply", "order", "action", "flags"),
    [
        ("<action>a</action><think>t</think>", "think_first", "a", ("wrong_order",)),
        ("<think>t</think><action>a</action>", "act_first", "a", ("wrong_order",)),
        ("<action>a</action>", "think_first", "a", ("no_thought",)),
        ("<think>t</think><action>a</action>", "no_think", "a", ("extra_text",)),
        ("<think>t</think><action> </action>", "think_first", None, ("no_action", "extra_text")),
        ("<think>t</think><action>a<action>b</action>", "think_first", None, ("no_action", "extra_text")),
        ("<think><action>a</action></think>", "think_first", "a", ("no_thought", "extra_text")),
        ("go to shelf 1", "no_think", None, ("no_action", "extra_text")),
        ("", "think_first", None, ("no_action", "no_thought")),
        ("</action>a<action>", "no_think", None, ("no_action", "extra_text")),
    ],
)
def test_each_failure_has_its_flag(reply: str, order: Order, action: str | None, flags: tuple[str, ...]) -> None:
    assert parse(reply, order)[1:] == (action, flags)


def test_a_reply_cut_by_the_token_limit_says_so() -> None:
    assert parse("<think>on and on", "think_first", truncated=True).flags == (
        "no_action",
        "no_thought",
        "truncated",
    )


def test_an_inadmissible_action_is_flagged_and_kept_as_written() -> None:
    parsed = renderer("act_first").parse("fly</action><think>t</think>", observation("o"))
    assert (parsed.action, parsed.flags) == ("fly", ("inadmissible",))


def test_a_growing_prompt_extends_the_previous_prompt_and_reply_to_the_id() -> None:
    r = renderer("think_first")
    first = r.prompt([], observation("room"))
    done = step_of(r, first, observation("room"), "hm", "go")
    second = r.prompt([done], observation("hall"))
    assert second[: len(first) + len(done.reply_ids)] == first + done.reply_ids
    assert text(second).endswith("<think>hm</think><action>go</action>[E][U]hall[A]<think>")


def test_a_reply_without_action_is_answered_by_the_note_not_by_the_environment() -> None:
    r = renderer("act_first")
    failed = Step(observation("room"), r.prompt([], observation("room")), (ord("x"),), (0.0,), "x", None, None, (), 0.0)
    assert text(r.prompt([failed], observation("room"))).endswith(f"[E][U]{NO_ACTION_NOTE}[A]<action>")


def test_a_free_reply_that_ends_its_turn_gets_no_second_end_mark() -> None:
    r = Renderer(
        lambda s: [ord(c) for c in s],
        ChatFormat("U", "A", "$U"),
        PromptConfig(tags="free"),
        "act_first",
        ord("$"),
    )
    ended = Step(observation("room"), (1,), tuple(map(ord, "x$")), (0.0, 0.0), "x$", None, "go", (), 0.0)
    assert text(r.prompt([ended], observation("hall"))[1:]) == "x$UhallA"


def test_the_shared_wording_differs_between_the_orders_by_the_opening_tag_alone() -> None:
    think, act = (renderer(order).prompt([], observation("room")) for order in ("think_first", "act_first"))
    assert text(think).removesuffix(THINK) == text(act).removesuffix(ACTION)
    instructed = {
        renderer(order, wording="instructed", tags="free").prompt([], observation("room")) for order in ORDERS
    }
    assert len(instructed) == len(ORDERS)


def test_a_probe_prompt_holds_observations_and_actions_and_no_thought() -> None:
    seen = [observation("room"), observation("hall")]
    think, act = (renderer(order).probe_prompt(seen, ["go"]) for order in ("think_first", "act_first"))
    assert text(think).removesuffix(THINK) == text(act).removesuffix(ACTION)
    assert "[A]<action>go</action>[E][U]hall" in text(act)
    assert text(act).count(THINK) == 1  # in the instruction


def test_the_windowed_history_shows_the_last_pairs_only() -> None:
    r = renderer("think_first", history="windowed", window=2, list_admissible=True)
    steps = [step_of(r, (), observation(f"room {i}"), "secret", f"go {i}") for i in range(4)]
    shown = text(r.prompt(steps, observation("end", ("help", "go 9"))))
    assert "room 2" in shown and "go 3" in shown and "room 1" not in shown and "secret" not in shown  # noqa: PT018
    assert "You can: go 9" in shown
    assert "4 steps" in shown


def test_candidates_after_a_thought_begin_with_the_opening_tag() -> None:
    r = renderer("think_first")
    assert [text(c) for c in r.candidates(["go"], after_thought=True)] == ["<action>go</action>"]
    assert [text(c) for c in r.candidates(["go"], after_thought=False)] == ["go</action>"]
