"""What a process needs to know and do on this machine.

Files:
    limits.py         the devices and memory of this machine; estimate.py: what a run will need
    budget.py         how long a command goes on
    ranks.py          several processes that train one policy; processes.py: jobs as child processes
    out_of_memory.py  halve and do again
    outputs.py        what may be written where
    official.py       where the official data lie; game_files.py: the game files of a folder
"""
