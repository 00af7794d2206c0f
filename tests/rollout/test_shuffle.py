"""Exchanged thoughts: every reply stays readable, whatever tokens its tags are made of."""

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from actre.orders.parsing import parse
from actre.rollout.shuffle import with_thoughts_of_others
from actre.types import Reply

# two spellings of the end of one tag and the beginning of the next
WORDS = ("go", "wait", "</action", "><", ">", "<", "think>", " because", " for fun", "</think>")
JOINED, APART = (2, 3, 6), (2, 4, 5, 6)


def decode(ids: Sequence[int]) -> str:
    return "".join(WORDS[i] for i in ids)


def reply(action: int, spelling: tuple[int, ...], thought: int) -> Reply:
    ids = (action, *spelling, thought, 9)
    return Reply(ids, (-1.0,) * len(ids), decode(ids))


@given(st.lists(st.tuples(st.sampled_from([0, 1]), st.sampled_from([JOINED, APART]), st.sampled_from([7, 8]))))
def test_an_exchange_keeps_every_reply_whole(drawn: list[tuple[int, tuple[int, ...], int]]) -> None:
    replies = [reply(*one) for one in drawn]
    made = with_thoughts_of_others(replies, decode)
    read = [parse("<action>" + one.text, "act_first") for one in made]
    assert all(not one.flags for one in read)
    assert [one.action for one in read] == [decode(before.token_ids[:1]) for before in replies]
    assert sorted(str(one.thought) for one in read) == sorted(
        decode(before.token_ids[-2:-1]).strip() for before in replies
    )


def test_thoughts_move_among_replies_that_are_written_alike() -> None:
    replies = [reply(0, JOINED, 7), reply(1, APART, 8), reply(1, JOINED, 8)]
    made = with_thoughts_of_others(replies, decode)
    assert [one.token_ids[-2] for one in made] == [8, 8, 7]
