"""Display names of orders, arms, flags, task types and measured quantities."""

from actre.config.arms import ARMS

_ORDERS = {"think_first": "think-first", "act_first": "act-first", "no_think": "no-think"}
DIFFERENCE = "← thinking widens | act-first minus think-first, nats | thinking narrows →"
"""Label of an axis."""
_FLAGS = {
    "no_action": "no action sent",
    "wrong_order": "wrong order",
    "no_thought": "no thought",
    "extra_text": "text outside the tags",
    "inadmissible": "inadmissible",
    "truncated": "cut at the token limit",
    "env_error": "environment failed",
}
_CUTS = {
    "context": "the model's context was full",
    "prompt": "the prompt reached sampling.max_prompt_tokens",
}
_TASKS = {
    "pick_and_place_simple": "put",
    "pick_two_obj_and_place": "put two",
    "pick_clean_then_place_in_recep": "clean, then put",
    "pick_heat_then_place_in_recep": "heat, then put",
    "pick_cool_then_place_in_recep": "cool, then put",
    "look_at_obj_in_light": "look at in light",
}
QUANTITIES = {
    "no_think": "no-think, exact (its prompt asks for no thought)",
    "equal_n_act_first": "act-first, from equally many sampled actions",
    "equal_n_think_first": "think-first, from equally many sampled actions",
    "js": "Jensen-Shannon divergence of the two orders",
    "normalised_act_first": "act-first, share of the largest possible",
    "normalised_think_first": "think-first lower bound, share of the largest possible",
    "other_act_first": "act-first, probability outside the admissible actions",
    "other_think_first": "think-first, probability outside the admissible actions",
    "other_no_think": "no-think, probability outside the admissible actions",
    "listed_act_first": "act-first, among the listed actions only",
    "listed_lower": "think-first, lower bound, among the listed actions only",
    "listed_upper": "think-first, upper bound, among the listed actions only",
    "unfinished": "unfinished thoughts, share",
    "thought_state_information": "what the thought tells of the state, I(T;S)",
    "retrieval_accuracy": "thoughts traced back to their state, share",
    "token_thought": "token entropy of the thought (another quantity)",
    "token_action_act_first": "token entropy of the action, act-first (another quantity)",
    "token_action_think_first": "token entropy of the action, think-first (another quantity)",
}
"""The quantities a diagnosis measures besides the two orders' action entropy."""


def arm_name(arm: str) -> str:
    """An arm's label; for another folder of runs, its name with spaces."""
    return ARMS[arm].label if arm in ARMS else arm.replace("_", " ")


def order_name(order: str) -> str:
    """An order in words."""
    return _ORDERS.get(order, order)


def task_name(task_type: str) -> str:
    """A task type in words."""
    return _TASKS.get(task_type, task_type.replace("_", " "))


def flag_words(flag: str) -> str:
    """A step's flag in words."""
    return _FLAGS.get(flag, flag)


def cut_words(cut: str | None) -> str:
    """Why an episode was cut for its length; empty if it was not cut."""
    return "" if cut is None else _CUTS.get(cut, cut)
