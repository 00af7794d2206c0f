"""Sharded weights and optimizer states, as `accelerate launch` sets them up with TRL's configs.

A Replicated or Sharded object computes with them, gathers them for checkpoints, and restores them.

    launch.py      which kind a launch asks for, and what is refused
    replicated.py  every process has everything: one process, DDP
    step.py        sharded weights where processes make different numbers of passes
    fsdp.py        FSDP 2
    zero.py        DeepSpeed ZeRO 1, 2, 3
"""
