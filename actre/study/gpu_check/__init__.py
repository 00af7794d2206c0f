"""`actre gpu-check`: does what the kit does with a GPU work on this machine, and do the estimates hold?

Nobody who wrote this had a GPU. One command runs every check, each in a process of its own, on a GPU or, with the same
code, on a CPU; its record is one JSON file that a person can send in (benchmarks/gpu_check.py makes a page of them).

Files:
    row.py        a check, where it runs, and what it leaves
    command.py    a command of the kit as a child process; waiting for a server
    loading.py    models in each number type
    training.py   one iteration of each order by every engine
    failures.py   out of memory, SIGKILL and resume, two processes
    checks.py     the table of checks
    runner.py     runs them, resumably, and writes the record
"""

from actre.study.gpu_check.checks import CHECKS
from actre.study.gpu_check.row import Row
from actre.study.gpu_check.runner import RECORD, record, run, table

__all__ = ["CHECKS", "RECORD", "Row", "record", "run", "table"]
"""CHECKS: the checks, by name. run: does them. record, table: the results as JSON and as text. RECORD: its file.

Importing this loads no torch, so that a broken one is a row of the table.
"""
