"""Llama and Qwen2 on a CPU without their modules: plain products over their weights and a cache of shared prefixes.

    weights.py   reads the weights of a transformers model, adapters merged; says which models it cannot read
    forward.py   the forward pass over packed tokens (no padding)
    rows.py      keys and values of the sequences; a beginning that several share is stored once
    attention.py attention over these rows, of one token a row and of blocks of new tokens
    runner.py    what cached.py asks for, in these terms

A small model computes a few microseconds an operation, so that calls of modules, masks and copies cost more than its
products; decoding is bound by reading keys and values. Any model that is not supported runs through its own module
(runner.py beside this folder).

With one query head for each head of keys, decoding's products of a vector and a matrix are numpy's: measured on an
AMD EPYC without AVX512 (30 rows of 300 columns, 2 heads of 64, beside other work), keys and values took 0.8 to 0.9 ms
by numpy, 1.4 ms by `torch.bmm`, 1.5 to 1.9 ms by `scaled_dot_product_attention`, and reading them alone 0.7 to 0.8 ms.
There, keys and values in bfloat16 or float16 took 3 to 5 ms, because that processor has no instructions for them. On
one with AVX512-BF16 and the same shapes, `torch.bmm` took 0.83 ms for scores in bfloat16 and numpy 0.08 in float32
(both from the processor's cache). So a cache has its model's dtype, and `sampling.products` changes the linear layers'
alone.

Sampling does not depend on what is cached but for rounding: a row's products are rounded otherwise in another batch or
after another prefix (about 1e-6 nats), which changes a token where its random number lies that close to a boundary.

Not used here: torch's flex attention on a CPU needs a C++ compiler at run time; nested tensors have no operation for
one query a row against a cache that grows; transformers' StaticCache reads every row to its capacity.
"""
