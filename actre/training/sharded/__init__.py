"""Weights and moments that are cut over the processes: computed with, held whole for checkpoints, put back.

Knows the ways of cutting that `accelerate launch` sets up with TRL's configs; no episodes, no files.

    launch.py   which of them a launch asks for, and what is refused
    whole.py    nothing is cut: one process, DDP
    step.py     computing with cut weights where processes differ in how often they compute
    fsdp.py     FSDP 2
    zero.py     DeepSpeed ZeRO 1, 2, 3
"""
