"""The machine: devices and memory, processes, output folders, and data on disk.

Files:
    limits.py         devices and memory of this machine
    estimate.py       memory and time that a run needs
    shapes.py         sizes of models
    price.py          hours of an arm, a seed, a verdict
    out_of_memory.py  retries with half the batch; peak memory
    budget.py         time limit of a command
    ranks.py          several processes that train one policy
    processes.py      jobs as child processes
    locks.py          one process at a time in a folder
    outputs.py        which files and folders a command may write
    extras.py         what the light install leaves out, and the command that installs it
    official.py       the benchmarks' official data
    game_files.py     the ALFWorld game files below a folder
"""
