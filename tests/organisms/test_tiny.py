"""The tiny policy's tokenizer and model: exact actions back, pieces that join, a closed vocabulary that says so."""

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from actre.config import PromptConfig, data_folder
from actre.envs.alfworld.games import read_rooms
from actre.orders import ACTION, END_ACTION, END_THINK, THINK, Renderer, parse
from actre.orders.chat import chat_format
from actre.policies.tiny import END, MAX_POSITIONS, START, make_model, make_tokenizer, names, unknown_words
from actre.types import ORDERS, Observation, Step

TOKENIZER = make_tokenizer(["look around . go to drawer 1"])
CLASSES, HIGHEST = names()
SHIPPED = data_folder() / "tiny" / "neutral"
FIRST = (
    "-= Welcome to TextWorld, ALFRED! =-\n\nYou are in the middle of a room. Looking quickly around you, you see a "
    "cabinet 2, a cabinet 1, a fridge 1, and a sinkbasin 1.\n\nYour task is to: put a clean mug in fridge."
)


def encode(text: str) -> list[int]:
    return TOKENIZER.encode(text, add_special_tokens=False)


named = st.sampled_from(CLASSES).flatmap(lambda c: st.integers(1, HIGHEST[c]).map(lambda number: f"{c} {number}"))
actions = st.one_of(
    named.map(lambda r: f"go to {r}"),
    named.map(lambda r: f"open {r}"),
    st.tuples(named, named).map(lambda pair: f"take {pair[0]} from {pair[1]}"),
    st.tuples(named, named).map(lambda pair: f"move {pair[0]} to {pair[1]}"),
    st.tuples(st.sampled_from(["heat", "clean", "cool"]), named, named).map(
        lambda three: f"{three[0]} {three[1]} with {three[2]}"
    ),
    st.sampled_from(["look", "inventory", "help"]),
)


@given(actions)
def test_decoding_gives_back_every_action_exactly(action: str) -> None:
    assert TOKENIZER.decode(encode(action)) == action
    assert not unknown_words(TOKENIZER, action)


@given(named)
def test_a_name_with_its_number_is_one_token(name: str) -> None:
    assert len(encode(name)) == 1


@given(st.lists(st.one_of(actions, st.sampled_from([THINK, END_THINK, ACTION, END_ACTION, END, ".", "\n"]))))
def test_pieces_encode_as_the_whole_does(pieces: list[str]) -> None:
    whole = encode(" ".join(pieces))
    assert whole == [token for piece in pieces for token in encode(piece)]


@pytest.mark.parametrize("order", ORDERS)
def test_a_reply_of_one_token_a_tag_is_read_back_without_a_flag(order: str) -> None:
    renderer = Renderer(encode, chat_format(TOKENIZER), PromptConfig(), order)  # type: ignore[arg-type]
    text = TOKENIZER.decode(renderer.reply_ids("need mug . try cabinet 1", "go to cabinet 1"))
    parsed = parse(renderer.opening + text, renderer.order)
    assert (parsed.action, parsed.flags) == ("go to cabinet 1", ())
    assert len(encode(THINK + ACTION + END_ACTION + END_THINK)) == 4


def test_a_step_of_a_growing_history_costs_two_marks() -> None:
    chat = chat_format(TOKENIZER)
    assert [len(encode(piece)) for piece in chat] == [1, 1, 1]


def test_a_growing_history_is_what_the_chat_template_renders() -> None:
    renderer = Renderer(encode, chat_format(TOKENIZER), PromptConfig(), "no_think", TOKENIZER.eos_token_id)
    seen = Observation(FIRST, "put a clean mug in fridge.", ())
    prompt = renderer.prompt([], seen)
    reply = renderer.reply_ids(None, "go to cabinet 1")
    step = Step(seen, prompt, tuple(reply), (), "", None, "go to cabinet 1", (), 0.0)
    after = Observation("You arrive at cabinet 1. The cabinet 1 is closed.", seen.task, ())
    built = renderer.prompt([step], after)
    first = TOKENIZER.decode(prompt[1:-2])
    messages = [
        {"role": "user", "content": first},
        {"role": "assistant", "content": "<action>go to cabinet 1</action>"},
        {"role": "user", "content": after.text},
    ]
    text = TOKENIZER.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    assert encode(text + ACTION) == list(built)
    assert text.startswith(START)


@pytest.mark.parametrize("panel", ["small/train", "small/unseen", "full/seen"])
def test_every_name_and_task_of_the_shipped_games_is_known(panel: str) -> None:
    for room in read_rooms(panel):
        text = " ".join([room.task, *(thing.lower() for thing, _ in (*room.objects, *room.scenery))])
        assert not unknown_words(TOKENIZER, text), room.id


@pytest.mark.parametrize("wording", ["shared", "instructed"])
@pytest.mark.parametrize("history", ["growing", "windowed"])
def test_every_word_of_the_prompts_is_known(wording: str, history: str) -> None:
    config = PromptConfig(wording=wording, history=history, list_admissible=True)  # type: ignore[arg-type]
    for order in ORDERS:
        renderer = Renderer(encode, chat_format(TOKENIZER), config, order)
        seen = Observation(FIRST, "put a clean mug in fridge.", ("go to cabinet 1", "look"))
        steps = [Step(seen, (), (), (), "", None, None, ("no_action",), 0.0)] * 3
        ids = [*renderer.prompt([], seen), *renderer.prompt(steps, seen)]
        assert TOKENIZER.unk_token_id not in ids


def test_unknown_words_are_counted_and_named() -> None:
    assert unknown_words(TOKENIZER, "The zeppelin 3 is near the zeppelin 4.") == {"zeppelin": 2, "near": 1}


def test_a_number_counts_as_part_of_a_name_only_after_a_known_class() -> None:
    assert TOKENIZER.convert_ids_to_tokens(encode("you have taken 3 steps")) == [
        "you",
        "have",
        "taken",
        "3",
        "steps",
    ]


def test_saving_and_loading_changes_neither_tokens_nor_logits(tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = make_model(TOKENIZER, 0, layers=1).eval()
    model.save_pretrained(tmp_path)
    TOKENIZER.save_pretrained(tmp_path)
    again = AutoTokenizer.from_pretrained(tmp_path)
    ids = encode(FIRST)
    assert again.encode(FIRST, add_special_tokens=False) == ids
    assert again.chat_template == TOKENIZER.chat_template
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path).eval()
    with torch.no_grad():
        assert torch.equal(loaded(torch.tensor([ids])).logits, model(torch.tensor([ids])).logits)


def test_fresh_weights_depend_on_the_seed_alone() -> None:
    torch.manual_seed(5)
    one = make_model(TOKENIZER, 3, layers=1).state_dict()
    torch.manual_seed(6)
    two = make_model(TOKENIZER, 3, layers=1).state_dict()
    other = make_model(TOKENIZER, 4, layers=1).state_dict()
    assert all(torch.equal(one[key], two[key]) for key in one)
    assert any(not torch.equal(one[key], other[key]) for key in one)


@pytest.mark.skipif(not SHIPPED.exists(), reason="no tiny policy is shipped in this checkout")
def test_the_shipped_policy_is_small_and_standard() -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    weights = SHIPPED / "model.safetensors"
    assert weights.stat().st_size <= 8_000_000
    model = AutoModelForCausalLM.from_pretrained(SHIPPED)
    tokenizer = AutoTokenizer.from_pretrained(SHIPPED)
    assert type(model).__name__ == "LlamaForCausalLM"
    assert model.dtype == torch.float32
    assert model.config.vocab_size == len(tokenizer)
    assert model.config.max_position_embeddings == MAX_POSITIONS
    assert model.get_input_embeddings().weight is model.get_output_embeddings().weight
