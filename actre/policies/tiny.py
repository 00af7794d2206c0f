"""The tiny policy before training: a word tokenizer with a chat template, and a small Llama with fresh weights.

Both are saved as a standard folder for AutoModelForCausalLM and AutoTokenizer. The vocabulary is closed: a word outside
it becomes `<unk>`, and `unknown_words` finds such words.

A name with its number is one token ("cabinet 2"), so that copying a name from the context means copying one token. Only
alfworld's classes count as names; in "You have taken 3 steps" the 3 is its own token.
"""

import re
from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING

from actre.envs.alfworld import rooms, wheel
from actre.orders import ACTION, END_ACTION, END_THINK, THINK

if TYPE_CHECKING:
    from transformers import LlamaForCausalLM, PreTrainedTokenizerFast
    from transformers.models.llama.modeling_llama import LlamaAttention

START, ASSISTANT, END, PAD, UNKNOWN = "<|start|>", "<|assistant|>", "<|end|>", "<pad>", "<unk>"
SPECIAL = (PAD, UNKNOWN, START, ASSISTANT, END)
TAGS = (THINK, END_THINK, ACTION, END_ACTION)

# <|start|>, or the <|end|> of the assistant's turn, opens the user's turn: two special tokens a step instead of four.
CHAT_TEMPLATE = (
    "{{ '" + START + "' }}{% for message in messages %}"
    "{% if message['role'] == 'assistant' %}"
    "{{ '" + ASSISTANT + "' + message['content'] + '" + END + "' }}"
    "{% else %}{{ message['content'] }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '" + ASSISTANT + "' }}{% endif %}"
)

MAX_POSITIONS = 2048
OBJECT_NUMBERS = 6
"""The generator puts at most four objects of a class into a room; official games have a few more."""
STEP_NUMBERS = 50

# Every word of the engine's answers, the goal sentences and the prompts, even if no demonstration uses it.
ENGINE_WORDS = """
welcome to textworld , alfred ! you are in the middle of a room . looking quickly around you see an and nothing on
it is open closed your task : put some clean hot heat cool two find them look at under examine with arrive close
pick up from move the using turn carrying not anything this normal cold sliced off there ' s special about happens
facing next go take use slice inventory help available commands check current location place object receptacle or
something act text world one action time until done reply thought first write then behind else were was read no
have taken steps last saw did now can ; ( ) -= =- ? hold need try
"""


def names() -> tuple[list[str], dict[str, int]]:
    """Lower-case class names, and the highest number of each (of receptacles: in the fullest floor plan)."""
    highest: Counter[str] = Counter()
    for plan in wheel.floor_plans():
        for kind, count in Counter(spot.kind.lower() for spot in rooms.spots(plan)).items():
            highest[kind] = max(highest[kind], count, 4)
        highest |= Counter({name.lower(): OBJECT_NUMBERS for name in wheel.objects_of(plan)})
    for inside in wheel.fits().values():
        highest |= Counter({name.lower(): OBJECT_NUMBERS for name in inside})
    return sorted(highest), dict(sorted(highest.items()))


def make_tokenizer(texts: Iterable[str] = ()) -> "PreTrainedTokenizerFast":
    """A tokenizer over the names with their numbers, the engine's words, and the words of `texts` (thoughts).

    Decoding joins tokens with blanks, which restores every action exactly, since actions have no punctuation.
    """
    from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    classes, highest = names()
    split = _pieces(classes)
    words = set(ENGINE_WORDS.split())
    for text in texts:
        words.update(re.findall(split, text.lower()))
    words -= {*TAGS, *(f"{name} {n}" for name in classes for n in range(1, highest[name] + 1))}
    vocabulary = [*SPECIAL, *TAGS, *(str(n) for n in range(STEP_NUMBERS + 1)), *classes]
    vocabulary += [f"{name} {n}" for name in classes for n in range(1, highest[name] + 1)]
    vocabulary += sorted(words - set(vocabulary))
    core = Tokenizer(models.WordLevel({word: n for n, word in enumerate(vocabulary)}, unk_token=UNKNOWN))
    core.normalizer = normalizers.Lowercase()
    core.pre_tokenizer = pre_tokenizers.Split(Regex(split), behavior="removed", invert=True)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core,
        unk_token=UNKNOWN,
        pad_token=PAD,
        bos_token=START,
        eos_token=END,
        additional_special_tokens=[ASSISTANT],
        clean_up_tokenization_spaces=False,
        model_max_length=MAX_POSITIONS,
        padding_side="right",
    )
    tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer


def _pieces(classes: Iterable[str]) -> str:
    """The pattern of one token: a tag, a name with its number, a word, a number, or one other character."""
    # the longest name first, and none inside a longer word: "desklamp 1" does not contain "lamp 1"
    either = "|".join(sorted(classes, key=lambda name: (-len(name), name)))
    tags = "|".join(re.escape(tag) for tag in TAGS)
    return rf"{tags}|(?<![a-z])(?:{either}) [0-9]+|[a-z]+|[0-9]+|-=|=-|[^\sa-z0-9]"


def unknown_words(tokenizer: "PreTrainedTokenizerFast", text: str) -> Counter[str]:
    """The words of `text` that are not in the vocabulary, with their counts."""
    core = tokenizer.backend_tokenizer
    pieces = core.pre_tokenizer.pre_tokenize_str(core.normalizer.normalize_str(text))
    return Counter(piece for piece, _ in pieces if core.token_to_id(piece) is None)


def name_ids(tokenizer: "PreTrainedTokenizerFast") -> list[int]:
    """The ids of all names with their numbers, in ascending order."""
    found = tokenizer.get_vocab().items()
    return sorted(number for token, number in found if re.fullmatch(r"[a-z]+ [0-9]+", token))


def make_model(
    tokenizer: "PreTrainedTokenizerFast", seed: int, *, layers: int = 4, width: int = 128, heads: int = 2
) -> "LlamaForCausalLM":
    """A Llama with fresh weights: rotary positions, tied embeddings, about 1 M parameters (float32).

    Differs: the initial weights are not Llama's, so that the policy learns early to copy and to rule out names.
    Embeddings have unit variance, and the last norm has a small weight instead (with embeddings of 0.05, the layers'
    outputs soon dominated the names: after 12 M tokens the policy still went where it stood). Layers initially write
    nothing, except the attention of all layers above the first, whose heads alternately subtract and add half of a
    projection of what they attend to: a mimetic initialisation (Trockman & Kolter 2023, arXiv 2305.09828) with both
    signs.
    """
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=width,
        intermediate_size=3 * width,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=heads,
        max_position_embeddings=MAX_POSITIONS,
        tie_word_embeddings=True,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = LlamaForCausalLM(config)
        with torch.no_grad():
            torch.nn.init.normal_(model.model.embed_tokens.weight)
            model.model.norm.weight.fill_(0.1)
            for number, layer in enumerate(model.model.layers):
                layer.self_attn.o_proj.weight.zero_()
                layer.mlp.down_proj.weight.zero_()
                if number > 0:
                    _look_and_copy(layer.self_attn, width, heads)
    return model


def _look_and_copy(attention: "LlamaAttention", width: int, heads: int) -> None:
    """Set values to a random projection and outputs to half of it, with a negative sign for even heads."""
    import torch

    size = width // heads
    for head in range(heads):
        rows = slice(head * size, (head + 1) * size)
        projection = torch.linalg.qr(torch.randn(width, width)).Q[:, :size].T  # (size, width), orthonormal rows
        attention.v_proj.weight[rows] = projection
        attention.o_proj.weight[:, rows] = (0.5 if head % 2 else -0.5) * projection.T
