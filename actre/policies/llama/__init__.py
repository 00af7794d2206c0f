"""Llama and Qwen2 on a CPU without their modules: plain products over their weights and a cache of shared prefixes.

    weights.py   reads the weights of a transformers model, adapters merged; says which models it cannot read
    forward.py   the forward pass over packed tokens (no padding)
    rows.py      keys and values of the sequences; a beginning that several share is stored once
    attention.py attention over these rows, of one token a row and of blocks of new tokens
    runner.py    what cached.py asks for, in these terms

A small model computes a few microseconds an operation, so that calls of modules, masks and copies cost more than its
products; decoding is bound by reading keys and values. Any model that is not supported runs through its own module
(runner.py beside this folder).

Not used here: torch's flex attention on a CPU needs a C++ compiler at run time; nested tensors have no operation for
one query a row against a cache that grows; transformers' StaticCache reads every row to its capacity.
"""
