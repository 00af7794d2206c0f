"""An update's forward and backward pass of a Llama with LoRA on a CPU: packed rows, no padding, few operations.

    pack.py        rows as one sequence of tokens without padding; a beginning that several share is there once
    layers.py      linear layers with LoRA, RMSNorm and the gated activation, each one operation with its own gradient
    attention.py   causal attention over packed rows, with its own gradient
    llama.py       the model up to log-probabilities of trained tokens, in these terms; which models it takes

Every other model, and every GPU, uses transformers' own forward pass (loss.py), which gives the same numbers.

Not used here: torch's flex attention and torch.compile need a C++ compiler at run time on a CPU; nested tensors have no
causal attention with a shared beginning, nor has scaled_dot_product_attention,
whose CPU kernel is about as fast.
"""
