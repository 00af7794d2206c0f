"""A diagnosis: settings, states, means with intervals, and verdict; also as JSON. diagnose.py makes them."""

import gzip
import json
import math
import zlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from actre.config import PromptConfig
from actre.entropy.breakdown import PARTS, Part, parts
from actre.entropy.estimators import Contraction, CountMethod, Decomposition, contraction, normalised
from actre.entropy.self_check import Agreement, StateCheck, agreements
from actre.entropy.states import StateDiagnosis, state_from_json
from actre.runtime import outputs
from actre.stats import Interval, bootstrap
from actre.types import ORDERS, ActreError, Order

SCHEMA_VERSION = 1
PSEUDO_THOUGHTS = 0.1
"""Weight of the uniform distribution in the upper bound, in thoughts. It keeps the bound finite if only one thought is
unfinished, and loosens it by at most log(1 + 0.1 / (K-1)) nats (0.014 at K = 8)."""

FILES = {"shared": "diagnosis", "instructed": "diagnosis_instructed"}
"""Wording -> NAME of its files: NAME.json is the result, NAME.jsonl the log of finished states."""


@dataclass(frozen=True)
class Settings:
    """Everything a diagnosis depends on except the weights; measurements are comparable if these agree.

    wording: "shared" is the controlled comparison (one prompt, only the forced opening tag differs); "instructed"
    describes each order. force_action_tag: <action> is appended after the thought (which is closed if necessary), for
    models that do not write tags. states: the number requested; an incomplete diagnosis has fewer. adapter: its
    folder's name. check_replies: replies sampled per state and order to check the exact probabilities; 0 in older
    records, in which a thought ended at its closing tag and actions were scored in one spelling. date: see
    `PromptConfig`.
    """

    model: str
    probes: str
    states: int
    thoughts: int
    seed: int
    temperature: float
    max_thought_tokens: int
    wording: Literal["shared", "instructed"]
    history: str
    window: int
    list_admissible: bool
    force_action_tag: bool
    count_method: CountMethod
    pseudo_thoughts: float = PSEUDO_THOUGHTS
    adapter: str | None = None
    check_replies: int = 0
    date: str = PromptConfig.date


@dataclass(frozen=True)
class Diagnosis:
    """All states of a diagnosis, their means with intervals over games, and the verdict.

    summary: name -> mean over the states. act_first, think_first_lower, think_first_upper, no_think, conditional,
    information, equal_n_act_first, equal_n_think_first, js, token_thought, token_action_act_first,
    token_action_think_first, query_act_first, query_think_first in nats; other_act_first, other_think_first,
    other_no_think, unfinished, normalised_act_first, normalised_think_first as shares. conditional is NOT comparable
    with act_first (docs/entropy.md); token_* are other quantities. listed_*: among the listed actions only (`Listed`),
    with a comparison of its own in `listed`, None unless measured in every state.
    """

    settings: Settings
    states: tuple[StateDiagnosis, ...]
    summary: dict[str, Interval]
    contraction: Contraction
    listed: Contraction | None = None
    self_check: tuple[Agreement, ...] = ()
    """For each order, the frequency of listed actions and of the likeliest one in replies, with its exact value."""

    @property
    def complete(self) -> bool:
        """Whether all states were measured; a diagnosis that was stopped holds only the first ones."""
        return len(self.states) == self.settings.states

    @property
    def verdict(self) -> str:
        return self.contraction.verdict

    @property
    def words(self) -> str:
        """The verdict in a sentence."""
        return self.contraction.words

    def to_json(self) -> dict[str, Any]:
        """A plain dict, for diagnosis.json."""
        return {
            "schema": SCHEMA_VERSION,
            "settings": asdict(self.settings),
            "complete": self.complete,
            "states_done": len(self.states),
            **_contraction_json(self.contraction),
            "listed": None if self.listed is None else _contraction_json(self.listed),
            "summary": {name: interval_json(value) for name, value in self.summary.items()},
            "self_check": [one.to_json() for one in self.self_check],
            "parts": {by: [_part_json(part) for part in parts(self.states, by, self.settings.seed)] for by in PARTS},
            "states": [asdict(state) for state in self.states],
        }

    @staticmethod
    def from_json(record: dict[str, Any]) -> "Diagnosis":
        """The inverse of `to_json`; recomputes means and verdict. Raises ActreError for another record."""
        if record.get("schema") != SCHEMA_VERSION:
            raise ActreError(f"diagnosis schema {record.get('schema')!r} is not {SCHEMA_VERSION}: diagnose again")
        try:
            settings = Settings(**record["settings"])
            states = [state_from_json(state) for state in record["states"]]
        except (KeyError, TypeError) as error:
            raise ActreError(f"not a diagnosis ({error!r}): run `actre diagnose` again") from error
        return summarised(settings, states)


def entropy_record(diagnosis: Diagnosis) -> dict[str, Any]:
    """A diagnosis as the fields of one line of entropy.jsonl; the trainer adds iteration, stage and order."""
    return {
        "states": len(diagnosis.states),
        "k": diagnosis.settings.thoughts,
        **{name: interval_json(value) for name, value in diagnosis.summary.items()},
        "verdict": diagnosis.verdict,
        "words": diagnosis.words,
        **({"self_check": [one.to_json() for one in diagnosis.self_check]} if diagnosis.self_check else {}),
    }


def load_diagnosis(path: str | Path) -> Diagnosis:
    """Read a diagnosis.json (or .json.gz). Raises ActreError for a missing, damaged or foreign file."""
    path = Path(path)
    if not path.exists():
        raise ActreError(f"{path} does not exist; `actre diagnose` writes one")
    try:
        record = json.loads(gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes())
    except (json.JSONDecodeError, UnicodeDecodeError, EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise ActreError(f"{path} is damaged ({error}); run `actre diagnose` again") from error
    return Diagnosis.from_json(record if isinstance(record, dict) else {})


def save_diagnosis(path: str | Path, diagnosis: Diagnosis) -> None:
    """Write a diagnosis.json (or .json.gz), deterministically."""
    path = Path(path)
    text = (json.dumps(diagnosis.to_json(), ensure_ascii=False) + "\n").encode()
    outputs.write_whole(path, gzip.compress(text, mtime=0) if path.suffix == ".gz" else text)


def summarised(settings: Settings, states: Sequence[StateDiagnosis]) -> Diagnosis:
    """The means with intervals over games, and the verdict; deterministic."""
    values: dict[str, list[float | None]] = {
        "act_first": [s.act_first for s in states],
        "think_first_lower": [s.lower for s in states],
        "think_first_upper": [s.upper for s in states],
        "conditional": [s.conditional for s in states],
        "information": [s.information for s in states],
        "no_think": [s.no_think for s in states],
        "equal_n_act_first": [s.equal_n_act_first for s in states],
        "equal_n_think_first": [s.equal_n_think_first for s in states],
        "normalised_act_first": [normalised(s.act_first_p) for s in states],
        "normalised_think_first": [normalised(s.think_first_p) for s in states],
        "other_act_first": [s.act_first_p[-1] for s in states],
        "other_think_first": [s.think_first_p[-1] for s in states],
        "other_no_think": [s.no_think_p[-1] if s.no_think_p else None for s in states],
        "unfinished": [s.unfinished / len(s.thoughts) for s in states],
        "js": [s.js for s in states],
        "token_thought": [s.token_thought for s in states],
        "token_action_act_first": [s.token_action_act_first for s in states],
        "token_action_think_first": [s.token_action_think_first for s in states],
        **{
            f"listed_{name}": [None if s.listed is None else getattr(s.listed, name) for s in states]
            for name in ("act_first", "lower", "upper", "conditional")
        },
        "query_act_first": [s.query_act_first for s in states],
        "query_think_first": [s.query_think_first for s in states],
    }
    summary = {}
    for name, column in values.items():
        known = [(v, s.game) for v, s in zip(column, states, strict=True) if v is not None]
        # a quantity measured in fewer than two games has no interval and is left out
        if len({game for _, game in known}) > 1:
            summary[name] = bootstrap([v for v, _ in known], [game for _, game in known], seed=settings.seed)
    compared = contraction(
        [s.act_first for s in states],
        [s.decomposition for s in states],
        [s.game for s in states],
        equal_n=([s.equal_n_act_first for s in states], [s.equal_n_think_first for s in states]),
        seed=settings.seed,
    )
    checked = tuple(one for order in ORDERS for one in agreements(order, _checks(states, order)))
    among_listed = _listed(settings, states)
    if wrong := [one for one in checked if not one.agrees]:
        compared = _withheld(compared, wrong)
        among_listed = None if among_listed is None else _withheld(among_listed, wrong)
    return Diagnosis(settings, tuple(states), summary, compared, among_listed, checked)


def _checks(states: Sequence[StateDiagnosis], order: Order) -> list[StateCheck]:
    return [state.checks[order] for state in states if state.checks and order in state.checks]


def _withheld(compared: Contraction, wrong: Sequence[Agreement]) -> Contraction:
    """The comparison without a verdict, because the exact probabilities do not match the policy's replies."""
    why = "; ".join(one.words for one in wrong)
    words = (
        f"No verdict: the exact probabilities are not those of what this policy writes ({why}). What is scored is "
        "spelled, tagged or sampled otherwise than its replies; look at some of them (actre evaluate, actre report)."
    )
    return replace(compared, verdict="withheld", words=words, thoughts_needed=None, games_needed=None)


def _listed(settings: Settings, states: Sequence[StateDiagnosis]) -> Contraction | None:
    """The comparison among the listed actions only; None unless every state has it."""
    found = [s.listed for s in states if s.listed is not None]
    if len(found) < len(states):
        return None
    return contraction(
        [one.act_first for one in found],
        [Decomposition(x.lower, x.upper, x.conditional, x.lower - x.conditional, x.thoughts) for x in found],
        [s.game for s in states],
        equal_n=([one.equal_n_act_first for one in found], [one.equal_n_think_first for one in found]),
        seed=settings.seed,
    )


def _contraction_json(c: Contraction) -> dict[str, Any]:
    return {
        "verdict": c.verdict,
        "words": c.words,
        "difference": {
            "lower": interval_json(c.lower),
            "upper": interval_json(c.upper),
            "equal_n": None if c.equal_n is None else interval_json(c.equal_n),
        },
        "thoughts_needed": c.thoughts_needed,
        "games_needed": c.games_needed,
    }


def _part_json(part: Part) -> dict[str, Any]:
    return {k: interval_json(v) if isinstance(v, Interval) else v for k, v in part._asdict().items()}


def interval_json(interval: Interval) -> dict[str, float | None]:
    """An interval as JSON; None for what is not finite."""
    return {name: or_none(value) for name, value in interval._asdict().items()}


def or_none(value: float) -> float | None:
    """The value, or None if it is not finite, which JSON cannot hold."""
    return value if math.isfinite(value) else None
