"""Episodes: batched rollouts, branches from one state, and evaluation on fixed panels.

Files:
    episodes.py  rollout and branch: a policy in many environments at once
    shuffle.py   act-first replies that exchange their thoughts
    evaluate.py  fixed panels, each game once; success rates with intervals
    pass_at.py   fixed panels, each game several times; pass@k
"""

from actre.rollout.episodes import BranchPoint, Play, branch, make_envs, must_be_whole, must_start, rollout

__all__ = ["BranchPoint", "Play", "branch", "make_envs", "must_be_whole", "must_start", "rollout"]
