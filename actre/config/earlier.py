"""Settings that earlier versions had under another name, or at all: their files still load.

Names are unique over all groups of settings, but for `thoughts`: a stage once had it as well as its order.
"""

from typing import Any

from actre.config.tiny_names import saved_name

RENAMED = {"handover": "weight_sync"}
"""Earlier name of a setting -> today's."""
REMOVED = ("reference_at_switch",)
"""Settings that no longer exist; they had one value."""

_SINCE_RECIPES = "covariance"
"""A setting that all files have in which an estimator is a whole recipe."""


def in_todays_names(group: dict[str, Any]) -> dict[str, Any]:
    """A saved group of settings in today's names, without those that no longer exist.

    A stage without thoughts is a no_think stage. What was once called dr_grpo is Dr. GRPO's advantage alone; such a
    group lacks the settings that came with the recipes. The model called tiny was the neutral policy.

    >>> in_todays_names({"handover": "merged", "reference_at_switch": "base"})
    {'weight_sync': 'merged'}
    >>> in_todays_names({"order": "act_first", "iterations": 3, "thoughts": False})
    {'order': 'no_think', 'iterations': 3}
    >>> in_todays_names({"advantage": "dr_grpo"})
    {'advantage': 'grpo_no_std'}
    >>> in_todays_names({"name": "tiny", "lora_rank": 16})
    {'name': 'tiny/neutral', 'lora_rank': 16}
    """
    found = {RENAMED.get(name, name): value for name, value in group.items() if name not in REMOVED}
    if "order" in found and found.pop("thoughts", True) is False:
        found["order"] = "no_think"
    if found.get("advantage") == "dr_grpo" and _SINCE_RECIPES not in found:
        found["advantage"] = "grpo_no_std"
    if "lora_rank" in found and "name" in found:
        found["name"] = saved_name(found["name"])
    return found
