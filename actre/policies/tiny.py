"""The tiny policy's body: a word tokenizer with a chat template, and a small Llama with fresh weights.

Knows the classes of alfworld's wheel and the words of its engine; does not train (pretrain.py does) and does not
load (policies/models.py does: what is saved here is a standard folder that AutoModelForCausalLM and AutoTokenizer
read). The vocabulary is closed: a word outside it becomes `<unk>`, and `unknown_words` says which.

A name with its number is one token ("cabinet 2"), so that copying a name from the context is copying one token.
Only names of known classes count as names; in "You have taken 3 steps" the 3 is its own token.
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

# A user's turn is opened by <|start|> or by the <|end|> of the assistant's: two marks a step, not four.
CHAT_TEMPLATE = (
    "{{ '" + START + "' }}{% for message in messages %}"
    "{% if message['role'] == 'assistant' %}"
    "{{ '" + ASSISTANT + "' + message['content'] + '" + END + "' }}"
    "{% else %}{{ message['content'] }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '" + ASSISTANT + "' }}{% endif %}"
)

MAX_POSITIONS = 2048
OBJECT_NUMBERS = 6
"""The generator puts at most four things of a class into a room; official games go a little further."""
STEP_NUMBERS = 50

# Every word of the engine's answers, the goal sentences and the prompts, whether a demonstration uses it or not.
ENGINE_WORDS = """
welcome to textworld , alfred ! you are in the middle of a room . looking quickly around you see an and nothing on
it is open closed your task : put some clean hot heat cool two find them look at under examine with arrive close
pick up from move the using turn carrying not anything this normal cold sliced off there ' s special about happens
facing next go take use slice inventory help available commands check current location place object receptacle or
something act text world one action time until done reply thought first write then behind else were was read no
have taken steps last saw did now can ; ( ) -= =- ? hold need try
"""


def names() -> tuple[list[str], dict[str, int]]:
    """Lower-case class names, and how high each is numbered (receptacles: as in the fullest floor plan)."""
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

    Decoding joins tokens by blanks, which gives back every action exactly (they hold no punctuation).
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
    """The pattern of one token: a tag, a name with its number, a word, a number, or one other mark."""
    # the longest name first, and none inside a longer word: "desklamp 1" is no "lamp 1"
    either = "|".join(sorted(classes, key=lambda name: (-len(name), name)))
    tags = "|".join(re.escape(tag) for tag in TAGS)
    return rf"{tags}|(?<![a-z])(?:{either}) [0-9]+|[a-z]+|[0-9]+|-=|=-|[^\sa-z0-9]"


def unknown_words(tokenizer: "PreTrainedTokenizerFast", text: str) -> Counter[str]:
    """How often each word of `text` occurs that the tokenizer does not know; empty if it knows them all."""
    core = tokenizer.backend_tokenizer
    pieces = core.pre_tokenizer.pre_tokenize_str(core.normalizer.normalize_str(text))
    return Counter(piece for piece, _ in pieces if core.token_to_id(piece) is None)


def name_ids(tokenizer: "PreTrainedTokenizerFast") -> list[int]:
    """The ids of all names with their numbers, in order."""
    found = tokenizer.get_vocab().items()
    return sorted(number for token, number in found if re.fullmatch(r"[a-z]+ [0-9]+", token))


def make_model(
    tokenizer: "PreTrainedTokenizerFast", seed: int, *, layers: int = 4, width: int = 128, heads: int = 2
) -> "LlamaForCausalLM":
    """A Llama with fresh weights: rotary positions, tied embeddings, about 1 M parameters (float32).

    Differs from Llama's initial weights, so that names are copied and ruled out early: embeddings have unit variance,
    and the last norm a small weight instead (with embeddings of 0.05, what layers wrote soon drowned the names: after
    12 M tokens the policy still went where it stood); layers write nothing at first, but for the attention of all
    layers above the first, whose heads in turn subtract and add half of a projection of what they look at. That is a
    mimetic start (Trockman & Kolter 2023, arXiv 2305.09828), here with both signs.
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
    """Values are a random projection; what is written is half of it, with the sign of even heads turned."""
    import torch

    size = width // heads
    for head in range(heads):
        rows = slice(head * size, (head + 1) * size)
        projection = torch.linalg.qr(torch.randn(width, width)).Q[:, :size].T  # (size, width), orthonormal rows
        attention.v_proj.weight[rows] = projection
        attention.o_proj.weight[:, rows] = (0.5 if head % 2 else -0.5) * projection.T
