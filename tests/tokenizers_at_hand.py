"""Tokenizers of the kinds that real models have: those of the shared data, and small ones made here."""

import lzma
from functools import lru_cache
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import AutoTokenizer, PreTrainedTokenizerFast

REAL = ("qwen3", "qwen2.5-like", "llama3_1", "gemma3", "llama2")
SMALL = ("byte-level", "never", "first", "always", "legacy")
"""One byte-level BPE, and four that mark where words begin: with a blank before no text, the first, every one, or each
piece between special tokens (Llama-2's)."""
_TEXTS = (
    "go to shelf 1", "take mug 1 from shelf 2", "open drawer 1",
    "<think>need mug</think><action>go to shelf 1</action>",
    "<action>open drawer 1</action><think>so</think>", "You see a shelf 1 and a mug 2.", "search[red socks]",
    "click[buy now]", "First write a thought in <think> </think>, then one action in <action> </action>.",
)  # fmt: skip
_TEMPLATE = (
    "{% for m in messages %}{% if m.role == 'user' %}<|user|>{{ m.content }}<|end|>"
    "{% else %}<|reply|>{{ m.content }}<|end|>{% endif %}{% endfor %}{% if add_generation_prompt %}<|reply|>{% endif %}"
)
_LLAMA2 = (
    "{{ '<s>' }}{% for m in messages %}{% if m.role == 'user' %}{{ '[INST] ' + m.content + ' [/INST]\n' }}"
    "{% else %}{{ m.content + '</s>' }}{% endif %}{% endfor %}"
)


def real_tokenizer(name: str, shared: Path, folder: Path) -> Any:
    """A tokenizer of the shared data, unpacked into `folder`; Llama-2's with one of its kind, for it has none."""
    there = folder / name
    there.mkdir(exist_ok=True)
    for packed in (shared / "tokenizers" / name).glob("*.xz"):
        (there / packed.stem).write_bytes(lzma.decompress(packed.read_bytes()))
    tokenizer = AutoTokenizer.from_pretrained(there)
    if tokenizer.chat_template is None:
        tokenizer.chat_template = _LLAMA2
    return tokenizer


@lru_cache
def small_tokenizer(kind: str) -> Any:
    """A BPE of a few hundred tokens, in which `><` is one."""
    special = ["<|end|>", "<|user|>", "<|reply|>"]
    if kind == "byte-level":
        core = Tokenizer(models.BPE())
        core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        core.decoder = decoders.ByteLevel()
        alphabet = pre_tokenizers.ByteLevel.alphabet()
    else:
        core = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
        special = ["<unk>", *special, *(f"<0x{i:02X}>" for i in range(256))]
        if kind == "legacy":
            core.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
        else:
            core.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme=kind, split=False)
        core.decoder = decoders.Sequence(
            [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
        )
        alphabet = list("abcdefghijklmnopqrstuvwxyzFY<>/[]0123456789.,▁")
    trainer = trainers.BpeTrainer(
        vocab_size=700, special_tokens=special, initial_alphabet=alphabet, max_token_length=8, show_progress=False
    )
    core.train_from_iterator(_TEXTS * 20, trainer)
    made = PreTrainedTokenizerFast(tokenizer_object=core, eos_token="<|end|>", pad_token="<|end|>")
    made.add_special_tokens({"additional_special_tokens": ["<|user|>", "<|reply|>"]})
    made.chat_template = _TEMPLATE
    return made
