"""Translates one game's PDDL and grammar into a plain-JSON `Program` that machine.py and text.py run.

Fast Downward's translator (fast-downward-textworld 20.6.4) parses, normalises and grounds the game, with the options of
textworld.envs.pddl (no invariants, nothing filtered).

Differs: unlike textworld.envs.pddl.PddlEnv,
- it translates once, where load and reset translate twice each (the optimised translation is only for the planner);
- it uses the ground actions directly, without writing and rereading SAS text. That text has one binary variable per
  fluent fact, so an action without conditional effects can be copied; one with conditional effects goes through the
  translator's own function. A test compares the result with the SAS text;
- it does not reorder variables, which only matters to the planner.

The Program (`i` indexes `names`, `v` indexes `variables`, a literal is v+1 if true, -(v+1) if false):
    names, types, shown  [str]   per entity: PDDL id, declared type, displayed name (null: in no initial fact)
    variables   [[predicate, i...]]   one per fluent ground fact
    initial     [v]   those true at the start, without derived ones
    asked       [predicate]   those in the grammar's queries
    static      [[predicate, i...]]   constant facts of those predicates
    rules       [[layer, v, [literal...]]]   derived facts;  goal: [literal...]
    operators   {v or "": str}   JSON text of [[action, [i...], [v...], [v...], [effect...]]...], parsed on first use:
                the operators with precondition v ("": those with none), the other facts that must be true, and
                those that must be false. effect: literal, or [literal, [condition literal...]]
    actions     [[name, [[placeholder, type]...], template nodes, feedback nodes]]
    grammar     {symbol: [[query or null, nodes]...]}   (nodes, query: see grammar.py)
"""

import contextlib
import gc
import io
import json
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from typing import Any, NamedTuple

from actre.envs.alfworld.grammar import asked_predicates, read_grammar
from actre.types import ActreError

Program = dict[str, Any]
FORMAT = 4

# The translator keeps its options in a module, reads them from sys.argv on import, and prints while it works.
_TRANSLATOR = threading.Lock()
# What the translator raises for invalid PDDL, besides its own ParseError.
_NO_GAME = (StopIteration, SystemExit, AssertionError, ValueError, LookupError, TypeError, AttributeError)


class GroundOperator(NamedTuple):
    """A ground action: its name and arguments, literals, and effects (a literal, or [literal, conditions])."""

    name: tuple[str, ...]
    preconditions: list[int]
    effects: list[Any]


def translate(pddl_domain: str, pddl_problem: str, grammar: str) -> Program:
    """The Program of one game. Raises ActreError if the engine cannot play the game."""
    with _quiet_translator():
        program, task = _read_pddl(pddl_domain, pddl_problem)
        index = {name: i for i, name in enumerate(program["names"])}
        # Assignments (distances, total-cost) are not facts; PddlState drops those with whole-number values.
        facts = [(a.predicate, *(index[x] for x in a.args)) for a in task.init if getattr(a, "predicate", "=") != "="]
    words = read_grammar(grammar, tuple((t.name, tuple(t.supertype_names)) for t in task.types))
    parameters = {a.name: [[p.name.strip("?"), p.type_name] for p in a.parameters] for a in task.actions}
    arities = program.pop("arities")
    if unknown := sorted(set(arities) - set(words["actions"])):
        raise ActreError(f"its grammar has no text for {', '.join(unknown)}: it is not an ALFWorld game, or is damaged")
    program["actions"] = [[a, parameters[a][:n], *words["actions"][a]] for a, n in arities.items()]
    program["grammar"] = words["rules"]
    fluent = {tuple(v) for v in program["variables"]}
    asked = asked_predicates(words)
    program["asked"] = sorted(asked)
    program["static"] = sorted({fact for fact in facts if fact[0] in asked and fact not in fluent})
    program["shown"] = _shown_names(program["names"], {i for fact in facts for i in fact[1:]})
    return {"format": FORMAT, **program}


@contextlib.contextmanager
def not_collecting() -> Iterator[None]:
    """Without garbage collection, which takes up to half the time while many objects are made and none is freed."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()


@contextlib.contextmanager
def _quiet_translator() -> Iterator[None]:
    """Fast Downward's translator with textworld's options, silent; sys.argv and standard output are restored."""
    with _TRANSLATOR:
        argv = sys.argv
        try:
            sys.argv = ["translate.py", "domain", "task"]
            from fast_downward.translate import options
            from fast_downward.translate.pddl_parser.lisp_parser import ParseError
        except ImportError as error:
            raise ActreError(
                f"the ALFWorld engine needs fast_downward ({error}): pip install alfworld==0.4.2 textworld==1.7.0"
            ) from error
        finally:
            sys.argv = argv
        options.filter_unimportant_vars = False
        options.filter_unreachable_facts = False
        options.use_partial_encoding = False
        options.add_implied_preconditions = False
        options.invariant_generation_max_candidates = 0
        try:
            with not_collecting(), contextlib.redirect_stdout(io.StringIO()):
                yield
        except (ParseError, *_NO_GAME) as error:
            reason = str(error).splitlines()[0] if str(error) else ""
            raise ActreError(
                f"its PDDL cannot be translated ({type(error).__name__}: {reason}): it is not an ALFWorld game, or is "
                "damaged; fetch or generate it again, and check it with `actre games check`"
            ) from error


def _read_pddl(domain: str, problem: str) -> tuple[Program, Any]:
    from fast_downward.translate import axiom_rules, instantiate, normalize, options
    from fast_downward.translate.pddl_parser import lisp_parser, parsing_functions

    parsed = [lisp_parser.parse_nested_list(text.split("\n")) for text in (domain, problem)]
    task = parsing_functions.parse_task(*parsed)
    normalize.normalize(task)
    reachable, atoms, actions, axioms, _ = instantiate.explore(task)
    if not reachable:
        raise ActreError("its goal cannot be reached: fetch or generate another game")
    goals = list(getattr(task.goal, "parts", ())) or [task.goal]
    axioms, layers = axiom_rules.handle_axioms(actions, axioms, goals, options.layer_strategy)
    names = [o.name for o in task.objects]
    index = {name: i for i, name in enumerate(names)}
    ordered = sorted(atoms)
    number = {atom: v for v, atom in enumerate(ordered)}
    variables = [[a.predicate, *(index[x] for x in a.args)] for a in ordered]
    initial = sorted(number[a] for a in set(task.init) if a in number)
    rules = []
    for axiom in axioms:
        if axiom.effect.negated:
            raise ActreError("it derives the absence of a fact, which this engine does not support")
        if (body := _literals(axiom.condition, number)) is not None:
            rules.append([layers[axiom.effect], number[axiom.effect], body])
    operators = [op for action in actions if (op := _operator(action, number)) is not None]
    program = {
        "names": names,
        "types": [o.type_name for o in task.objects],
        "variables": variables,
        "initial": initial,
        "rules": rules,
        "goal": _literals(goals, number),
        **_group_operators(operators, variables, initial, index),
    }
    if program["goal"] is None:
        raise ActreError("its goal contradicts itself: fetch or generate another game")
    return program, task


def _literals(conditions: Any, number: dict[Any, int]) -> list[int] | None:
    """Conditions as literals, without constant facts; None if they contradict each other."""
    found: dict[int, bool] = {}
    for condition in conditions:
        v = number.get(condition.negate() if condition.negated else condition)
        if v is not None and found.setdefault(v, not condition.negated) == condition.negated:
            return None
    return [v + 1 if on else -(v + 1) for v, on in found.items()]


def _operator(action: Any, number: dict[Any, int]) -> GroundOperator | None:
    """A ground action; None if it can never apply or changes nothing."""
    name = tuple(action.name[1:-1].split())
    preconditions = _literals(action.precondition, number)
    if preconditions is None:
        return None
    if any(conditions for conditions, _ in (*action.add_effects, *action.del_effects)):
        return _conditional_operator(name, action, number)
    given = set(preconditions)
    added = {number[fact] for _, fact in action.add_effects}
    deleted = {number[fact] for _, fact in action.del_effects} - added  # a fact both added and deleted is added
    effects = [v + 1 for v in added if v + 1 not in given] + [-(v + 1) for v in deleted if -(v + 1) not in given]
    return GroundOperator(name, preconditions, sorted(effects, key=abs)) if effects else None


def _conditional_operator(name: tuple[str, ...], action: Any, number: dict[Any, int]) -> GroundOperator | None:
    from fast_downward.translate.translate import translate_strips_operator

    pairs = {fact: [(v, 0)] for fact, v in number.items()}
    ranges = [2] * len(number)
    translated = translate_strips_operator(action, pairs, ranges, pairs, ranges, {})
    if not translated:
        return None
    (operator,) = translated

    def literal(v: int, value: int) -> int:
        return v + 1 if value == 0 else -(v + 1)

    preconditions = [literal(v, value) for v, value in operator.prevail]
    effects: list[Any] = []
    for v, before, after, conditions in operator.pre_post:
        if before != -1 and literal(v, before) not in preconditions:
            preconditions.append(literal(v, before))
        needs = [literal(*condition) for condition in conditions]
        effects.append([literal(v, after), needs] if needs else literal(v, after))
    return GroundOperator(name, preconditions, effects)


def _group_operators(
    operators: list[GroundOperator], variables: list[list[Any]], initial: list[int], index: dict[str, int]
) -> Program:
    """Operators by their positive precondition with the rarest predicate at the start (location, object held)."""
    rarity = Counter(variables[v][0] for v in initial)
    arities = {op.name[0]: len(op.name) - 1 for op in operators}
    number = {name: i for i, name in enumerate(arities)}
    groups: dict[str, list[Any]] = {}
    for name, preconditions, effects in operators:
        positive = [p - 1 for p in preconditions if p > 0]
        pivot = min(positive, key=lambda v: (rarity[variables[v][0]], v), default=None)
        rest = [v for v in positive if v != pivot]
        negative = [-p - 1 for p in preconditions if p < 0]
        row = [number[name[0]], [index[a] for a in name[1:]], rest, negative, effects]
        groups.setdefault("" if pivot is None else str(pivot), []).append(row)
    packed = {key: json.dumps(rows, separators=(",", ":")) for key, rows in groups.items()}
    return {"operators": packed, "arities": arities}


def _shown_names(names: list[str], mentioned: set[int]) -> list[str | None]:
    """The displayed name of each entity: "book_bar_..." becomes "book 1", numbered from the last id to the first.

    The rule is that of alfworld.agents.utils.misc.Demangler (0.4.2), applied to the entities of the initial facts; as
    there, an id without "_bar_" gets a trailing blank.
    """
    ids = sorted(names[i] for i in mentioned)
    kinds: dict[str, str] = {}
    for name in ids:
        head, bar, _ = name.partition("_bar_")
        if bar:
            kinds[name] = head + ("basin" if "basin" in name else "")
    left = Counter(kinds.values())
    shown: dict[str, str] = {}
    for name in ids:
        kind = kinds.get(name)
        shown[name] = f"{_plain(kind)} {left[kind]}" if kind is not None else f"{_plain(name)} "
        if kind is not None:
            left[kind] -= 1
    return [shown.get(name) for name in names]


def _plain(text: str) -> str:
    for mangled, plain in (("_minus_", "-"), ("_plus_", "+"), ("_dot_", "."), ("_comma_", ",")):
        text = text.replace(mangled, plain)
    return text
