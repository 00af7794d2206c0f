"""Tiny random models and character tokenizers for everyone's tests: no file, no network, milliseconds to make."""

import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
)

TAGS = ("<think>", "</think>", "<action>", "</action>")
CHARACTERS = "\n !\"#$%&'()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[]_abcdefghijklmnopqrstuvwxyz|"
TEMPLATE = (
    "{{ '<|start|>' }}{% for m in messages %}"
    "{% if m['role'] == 'assistant' %}{{ '<|reply|>' + m['content'] + '<|end|>' }}"
    "{% else %}{{ m['content'] }}{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|reply|>' }}{% endif %}"
)


def char_tokenizer(*, tags_are_tokens: bool = True) -> PreTrainedTokenizerFast:
    """One token a character; the four tags one token each, or spelled out (a stop string of several tokens)."""
    words = ["<pad>", "<unk>", "<|start|>", "<|reply|>", "<|end|>"]
    vocabulary = {word: i for i, word in enumerate([*words, *CHARACTERS])}
    core = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.Split(Regex("."), "isolated")
    core.decoder = decoders.Fuse()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core,
        pad_token="<pad>",
        unk_token="<unk>",
        eos_token="<|end|>",
        additional_special_tokens=["<|start|>", "<|reply|>"],
    )
    if tags_are_tokens:
        tokenizer.add_tokens(list(TAGS))
    tokenizer.chat_template = TEMPLATE
    return tokenizer


def tiny_llama(vocabulary: int, *, seed: int = 0, hidden: int = 32, layers: int = 2) -> LlamaForCausalLM:
    """A random Llama whose next-token distributions are far from uniform, in eval mode."""
    config = LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=hidden,
        intermediate_size=2 * hidden,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=4096,
        initializer_range=0.3,
        tie_word_embeddings=True,
        eos_token_id=None,
        bos_token_id=None,
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return LlamaForCausalLM(config).eval()


def tiny_qwen(vocabulary: int, *, seed: int = 0) -> Qwen2ForCausalLM:
    """A random Qwen2: grouped heads, biases, untied embeddings."""
    config = Qwen2Config(
        vocab_size=vocabulary,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=4096,
        initializer_range=0.3,
        tie_word_embeddings=False,
        eos_token_id=None,
        bos_token_id=None,
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return Qwen2ForCausalLM(config).eval()


def tiny_gpt2(vocabulary: int, *, positions: int, seed: int = 0) -> GPT2LMHeadModel:
    """A random GPT-2: its positions are learned, and there are so many and no more."""
    config = GPT2Config(
        vocab_size=vocabulary,
        n_positions=positions,
        n_embd=32,
        n_layer=2,
        n_head=2,
        initializer_range=0.3,
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        eos_token_id=None,
        bos_token_id=None,
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return GPT2LMHeadModel(config).eval()


def byte_tokenizer() -> PreTrainedTokenizerFast:
    """One token a byte, as the smallest byte-level BPE has it: a character outside ASCII is several tokens."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {word: i for i, word in enumerate(["<pad>", "<|end|>", *letters])}
    core = Tokenizer(models.BPE(vocabulary, []))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, pad_token="<pad>", eos_token="<|end|>")
    tokenizer.chat_template = TEMPLATE
    return tokenizer
