"""StateDiagnosis, the measurements in one probe state; also from JSON."""

from dataclasses import MISSING, dataclass, fields
from typing import Any

from actre.entropy.estimators import Decomposition
from actre.entropy.self_check import StateCheck
from actre.types import ActreError, Order


@dataclass(frozen=True)
class Listed:
    """One probe state among its listed actions only: distributions renormalised over them (A outcomes), in nats.

    This describes a different policy, whose choice after the opening tag (after each thought) is constrained to the
    list. Fields as in StateDiagnosis. Thoughts without a distribution are left out.
    """

    act_first: float
    lower: float
    upper: float
    conditional: float
    equal_n_act_first: float
    equal_n_think_first: float
    thoughts: int


@dataclass(frozen=True)
class StateDiagnosis:
    """One probe state. Entropies in nats over A+1 outcomes, the last one "other".

    act_first_p, think_first_p: (A+1,) the exact distribution, and the mean of the K exact ones. lower, upper,
    conditional, information: see `entropy.Decomposition`. equal_n_*: from K sampled actions in each order. unfinished:
    replies that never reach an action (with a forced action tag: that never close the thought). token_*: mean -log p
    per token, which is not an action entropy: of the sampled thoughts, and expected over the listed actions; None
    without such tokens. kl_*: None if infinite. no_think_p, no_think: exact, with a prompt that asks for no thought;
    None in older records. listed: among the listed actions only; None in older records, or with fewer than 2 usable
    thoughts. query_*: entropy of search queries (queries.py); None without an open action. checks: the self-check in
    each order; None if no replies were sampled.
    """

    index: int
    game: str
    task_type: str
    source: str
    position: str
    step: int
    actions: tuple[str, ...]
    act_first_p: tuple[float, ...]
    think_first_p: tuple[float, ...]
    act_first: float
    lower: float
    upper: float
    conditional: float
    information: float
    equal_n_act_first: float
    equal_n_think_first: float
    unfinished: int
    js: float
    kl_act_think: float | None
    kl_think_act: float | None
    token_thought: float | None
    token_action_act_first: float | None
    token_action_think_first: float | None
    thoughts: tuple[str, ...]
    no_think_p: tuple[float, ...] | None = None
    no_think: float | None = None
    listed: Listed | None = None
    query_act_first: float | None = None
    query_think_first: float | None = None
    checks: dict[Order, StateCheck] | None = None

    @property
    def decomposition(self) -> Decomposition:
        """Think-first's bracket."""
        return Decomposition(self.lower, self.upper, self.conditional, self.information, len(self.thoughts))


def state_from_json(record: dict[str, Any]) -> StateDiagnosis:
    """The inverse of asdict; fields that older records lack are None. Raises ActreError for another record."""
    known = {field.name for field in fields(StateDiagnosis)}
    needed = {field.name for field in fields(StateDiagnosis) if field.default is MISSING}
    if not needed <= set(record) <= known:
        wrong = sorted((needed - set(record)) | (set(record) - known))
        raise ActreError(f"not a diagnosed state: {wrong} missing or unknown")
    tuples = ("actions", "act_first_p", "think_first_p", "no_think_p", "thoughts")
    given: dict[str, Any] = {name: tuple(record[name]) for name in tuples if record.get(name) is not None}
    if record.get("listed") is not None:
        given["listed"] = Listed(**record["listed"])
    if record.get("checks") is not None:
        given["checks"] = {order: StateCheck.from_json(one) for order, one in record["checks"].items()}
    return StateDiagnosis(**{**record, **given})
