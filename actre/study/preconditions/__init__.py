"""Measures the preconditions of a comparison on one policy (`actre preconditions`).

Files:
    budget.py   how much is trained and measured, and the jobs that this makes
    jobs.py     one job, in a process of its own
    results.py  the jobs' results as `actre.entropy.preconditions.Preconditions`
    runner.py   several jobs at once, resumable
"""

from actre.study.preconditions.budget import PARTS, Budget, Part, budget_for
from actre.study.preconditions.results import collect
from actre.study.preconditions.runner import measure

__all__ = ["PARTS", "Budget", "Part", "budget_for", "collect", "measure"]
