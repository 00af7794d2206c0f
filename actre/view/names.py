"""What things are called in front of a reader: orders, arms, flags, panels. Knows words only."""

_ARMS = {
    "actre": "ActRe",
    "think_first": "think-first alone",
    "act_first": "act-first alone",
    "no_think": "no-think alone",
    "tfpi": "no-think, then think-first",
}
_ORDERS = {"think_first": "think-first", "act_first": "act-first", "no_think": "no-think"}
_FLAGS = {
    "no_action": "no action sent",
    "wrong_order": "wrong order",
    "no_thought": "no thought",
    "extra_text": "text outside the tags",
    "inadmissible": "not possible here",
    "truncated": "cut at the token limit",
    "env_error": "environment failed",
}
ORDER_CSS = {"act_first": "act", "think_first": "think", "no_think": "neutral"}


def arm_name(arm: str) -> str:
    """What an arm is called: its folder's name, in words where it is a known one."""
    return _ARMS.get(arm, arm.replace("_", " "))


def order_name(order: str) -> str:
    """An order in words."""
    return _ORDERS.get(order, order)


def flag_words(flag: str) -> str:
    """A step's flag in words."""
    return _FLAGS.get(flag, flag)


def arm_css(index: int) -> str:
    """The colour class of the nth arm."""
    return f"arm-{index}" if index < 4 else "neutral"
