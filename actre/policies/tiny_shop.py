"""The tiny shopper's tokenizer: phrases of the generated shop are single tokens, so copying means copying one token.

One token each are the name of a product, the value of an option ("pack of 2"), a trait ("space saving") and a ware
("storage baskets"). The vocabulary is closed: it covers shops that `generate` makes with the given names, and no
others.
"""

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

from actre.envs.webshop.wares import BRANDS, KINDS
from actre.policies.tiny import ASSISTANT, CHAT_TEMPLATE, END, MAX_POSITIONS, PAD, SPECIAL, START, TAGS, UNKNOWN

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

# Fixed parts of a page are one token each, which saves tokens.
PARTS = (
    "webshop [sep] instruction: [sep]",
    "instruction: [sep]",
    "[sep] search",
    "[sep] back to search [sep]",
    "[sep] rating: n.a. [sep] description [sep] features [sep] reviews [sep] buy now",
    "[sep]",
    "total results:",
    "and price lower than",
    "back to search",
    "< prev",
    "next >",
    "buy now",
    "find me",
)
STEP_NUMBERS = 50
# Every word of the prompts, of actions, of the pages' fixed parts and of the shopper's thoughts.
_PROMPT = """
you shop on a web site , one action at a time until have bought what is asked for . the actions are search [ words ]
and click shown reply with thought in first write then behind it nothing else no was read : are
page ( ) to price rating none done find me dollars lower than with : ; $ description features reviews rating n.a
have taken steps last saw did see now did no here all chosen want need try next prev back instruction webshop results
"""


def phrases() -> list[str]:
    """The phrases to copy, in lower case: brands, wares, traits, names and values of options."""
    found = {brand.lower() for brand in BRANDS}
    for kind in KINDS:
        found |= {kind.query, kind.name, *kind.is_, *kind.with_, *kind.for_, *kind.options}
        found |= {value for values in kind.options.values() for value in values}
    return sorted({phrase.lower() for phrase in found})


def _prices() -> list[str]:
    """The parts of prices: whole dollars, cents, and price limits."""
    high = max(kind.high for kind in KINDS)
    cents = [".0", ".00", ".49", ".95", ".99"]
    return [*(f"${n}" for n in range(high + 1)), "$100", *cents, *(f"{n}.00" for n in range(10, high + 50, 10))]


def make_shop_tokenizer(asins: Iterable[str], texts: Iterable[str]) -> "PreTrainedTokenizerFast":
    """A tokenizer over product names, the shop's phrases and the words of `texts` (pages, thoughts).

    Decoding restores every click exactly, and searches with single blanks.
    """
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    split = _pieces()
    names = sorted(asin.lower() for asin in asins)
    words = {word for text in texts for word in re.findall(split, text.lower())}
    numbers = [str(n) for n in range(STEP_NUMBERS + 1)]
    known = [*SPECIAL, *TAGS, *PARTS, *_PROMPT.split(), *numbers, *names, *phrases(), *_prices()]
    known = list(dict.fromkeys([*known, *sorted(words)]))
    core = Tokenizer(models.WordLevel({word: n for n, word in enumerate(known)}, unk_token=UNKNOWN))
    core.normalizer = normalizers.Lowercase()
    core.pre_tokenizer = pre_tokenizers.Split(Regex(split), behavior="removed", invert=True)
    joins = [decoders.WordPiece(prefix="##", cleanup=False), decoders.Fuse()]
    joins += [decoders.Replace(a, b) for a, b in ((" [ ", "["), (" ]", "]"), (" ,", ","), (" :", ":"))]
    core.decoder = decoders.Sequence(joins)
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


def _pieces() -> str:
    """The pattern of one token: a tag, a page's part, a phrase, a limit, a price or its cents, a word, a character."""
    tags = "|".join(re.escape(tag) for tag in TAGS)
    parts = "|".join(re.escape(part) for part in sorted(PARTS, key=len, reverse=True))
    # the longest phrase first, and none inside a longer word: "x-large" does not contain "large"
    either = "|".join(re.escape(phrase) for phrase in sorted(phrases(), key=lambda p: (-len(p), p)))
    numbers = r"[0-9]+\.00|\$[0-9]+|[0-9]+|\.[0-9]+"
    return rf"{tags}|{parts}|(?<![a-z0-9-])(?:{either})(?![a-z0-9-])|{numbers}|b[0-9a-z]{{9}}|[a-z]+|[^\sa-z0-9]"


def shop_name_ids(tokenizer: "PreTrainedTokenizerFast", asins: Iterable[str]) -> list[int]:
    """The ids of everything to copy, product names and phrases, in ascending order."""
    vocabulary = tokenizer.get_vocab()
    return sorted({vocabulary[name] for name in (*(asin.lower() for asin in asins), *phrases())})
