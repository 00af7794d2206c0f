"""Turns one game's PDDL and grammar into a plain-JSON `Program` that machine.py and text.py can run.

Knows Fast Downward's translator and TextWorld's grammar parsers, and calls them unchanged: the grounded
operators, axioms, goal and initial facts are theirs. Knows no state, no step and no cache. This is the only file
that imports textworld and fast_downward, and only when a game is new.

Differs from textworld.envs.pddl.PddlEnv.load: one translation instead of four (the optimised second one serves
only the planner; load and reset each repeat both), and the names that
alfworld.agents.environment.alfred_tw_env.AlfredDemangler(shuffle=False) gives are worked out here.

The Program (JSON; `i` indexes `names`, `v` indexes `variables`, a literal is v+1 if true, -(v+1) if false):
    names, types, shown  [str]   per entity: PDDL id, declared type, displayed name (None: in no initial fact)
    variables   [[predicate, i...]]   one per fluent ground fact
    initial     [v]                   those true at the start
    static      [[predicate, i...]]   facts that never change, of the predicates that the grammar asks about
    rules       [[layer, v, [literal...]]]   derived facts; goal: [literal...]
    operators   {v or "": str}        JSON text of [[action, [i...], [literal...], [effect...]]...] grouped by one true
                                      precondition ("": none); parsed when first needed. effect: literal, or
                                      [literal, [condition literal...]]
    actions     [[name, [[placeholder, type]...], template, feedback]]
    grammar     {symbol: [[query or null, nodes]...]}
    nodes       str (text) | ["n", symbol] | ["e", expression] | ["c", node, query or null] | ["l", ["c", ...]]
    query       [[predicate, [[placeholder, type]...], [[type...]...]]...]   last: type signatures in search order
"""

import json
import sys
import threading
from collections import Counter
from typing import Any

from actre.types import ActreError

Program = dict[str, Any]
FORMAT = 1

# pddl2sas overwrites sys.argv and redirects sys.stdout while it runs.
_TRANSLATOR = threading.Lock()


def translate(pddl_domain: str, pddl_problem: str, grammar: str) -> Program:
    """The Program of one game. Raises ActreError if the texts are not a game of this engine."""
    task, sas = _pddl_to_sas(pddl_domain, pddl_problem)
    program = _read_sas(sas, {o.name: o.type_name for o in task.objects})
    parameters = {a.name: [[p.name.strip("?"), p.type_name] for p in a.parameters] for a in task.actions}
    supertypes = [(t.name, list(t.supertype_names)) for t in task.types]
    program |= _read_grammar(grammar, supertypes, parameters, program.pop("arities"))
    asked = _asked_predicates(program)
    index = {name: i for i, name in enumerate(program["names"])}
    fluent = {tuple(v) for v in program["variables"]}
    static: set[tuple[Any, ...]] = set()
    mentioned = {i for v in program["initial"] for i in program["variables"][v][1:]}
    for predicate, args in _initial_facts(task):
        fact = (predicate, *(index[a] for a in args))
        mentioned.update(fact[1:])
        if fact not in fluent and predicate in asked:
            static.add(fact)
    program["static"] = [list(fact) for fact in sorted(static)]
    program["shown"] = _shown_names(program["names"], mentioned)
    return program


def _pddl_to_sas(domain: str, problem: str) -> tuple[Any, str]:
    import fast_downward

    with _TRANSLATOR:
        argv, stdout = sys.argv, sys.stdout
        try:
            return fast_downward.pddl2sas(domain, problem)
        except (
            SystemExit,
            AssertionError,
            ValueError,
            KeyError,
            IndexError,
            TypeError,
            AttributeError,
        ) as error:
            raise ActreError(
                f"the game's PDDL cannot be translated ({type(error).__name__}: {error}): it is no ALFWorld game "
                "or it is damaged; get it again, or check it with `actre games check`"
            ) from error
        finally:
            sys.argv, sys.stdout = argv, stdout


def _initial_facts(task: Any) -> list[tuple[str, tuple[str, ...]]]:
    # Assignments (distances, total-cost) are dropped, as PddlState drops those whose value is a whole number.
    atoms = (a for a in task.init if hasattr(a, "predicate") and a.predicate != "=")
    return [(a.predicate, tuple(a.args)) for a in atoms]


def _read_sas(sas: str, types: dict[str, str]) -> Program:
    """The state machine of a translation without invariants: every variable is one fact, true or false."""
    lines = iter(sas.split("\n"))
    names = list(types)
    index = {name: i for i, name in enumerate(names)}
    _skip_to(lines, "end_metric")
    variables, true_values, layers = [], [], []
    for _ in range(int(next(lines))):
        _, _, layer, size, *values, _ = [next(lines) for _ in range(7)]
        truth = [value.startswith("Atom ") for value in values]
        if size != "2" or sorted(truth) != [False, True]:
            raise ActreError(f"the game's translation holds a variable that is no plain fact ({values})")
        name, args = values[truth.index(True)][len("Atom ") :].removesuffix(")").split("(", 1)
        variables.append([name, *(index[a] for a in args.split(", ") if a)])
        true_values.append(truth.index(True))
        layers.append(int(layer))

    def literal(var: str, value: str) -> int:
        v = int(var)
        return v + 1 if int(value) == true_values[v] else -(v + 1)

    for _ in range(int(next(lines))):  # mutex groups
        _skip_to(lines, "end_mutex_group")
    next(lines)
    initial = [v for v in range(len(variables)) if int(next(lines)) == true_values[v]]
    _skip_to(lines, "begin_goal")
    goal = [literal(*next(lines).split()) for _ in range(int(next(lines)))]
    next(lines)
    operators = [_read_operator(lines, literal) for _ in range(int(next(lines)))]
    rules = []
    for _ in range(int(next(lines))):
        next(lines)
        body = [literal(*next(lines).split()) for _ in range(int(next(lines)))]
        var, _, value = next(lines).split()
        head = literal(var, value)
        if head < 0:
            raise ActreError("the game's translation derives a negated fact: no game of this engine does")
        rules.append([layers[head - 1], head - 1, body])
        next(lines)
    return {
        "format": FORMAT,
        "names": names,
        "types": [types[name] for name in names],
        "variables": variables,
        "initial": initial,
        "rules": rules,
        "goal": goal,
        **_group_operators(operators, variables, set(initial), index),
    }


def _skip_to(lines: Any, mark: str) -> None:
    while next(lines) != mark:
        pass


def _read_operator(lines: Any, literal: Any) -> tuple[list[str], list[int], list[Any]]:
    next(lines)
    name = next(lines).split()
    preconditions = [literal(*next(lines).split()) for _ in range(int(next(lines)))]
    effects: list[Any] = []
    for _ in range(int(next(lines))):
        numbers = next(lines).split()
        count = int(numbers[0])
        conditions = [literal(*numbers[k : k + 2]) for k in range(1, 1 + 2 * count, 2)]
        var, before, after = numbers[1 + 2 * count :]
        if before != "-1":
            preconditions.append(literal(var, before))
        effect = literal(var, after)
        effects.append([effect, conditions] if conditions else effect)
    next(lines)  # cost
    next(lines)  # end_operator
    return name, preconditions, effects


def _group_operators(
    operators: list[tuple[list[str], list[int], list[Any]]],
    variables: list[list[Any]],
    initial: set[int],
    index: dict[str, int],
) -> Program:
    """Operators by the true precondition whose predicate is rarest at the start: where the agent is, what it holds."""
    rarity = Counter(variables[v][0] for v in initial)
    names = sorted({name[0] for name, _, _ in operators})
    number = {name: i for i, name in enumerate(names)}
    groups: dict[str, list[Any]] = {}
    for name, preconditions, effects in operators:
        positive = [p - 1 for p in preconditions if p > 0]
        pivot = min(positive, key=lambda v: (rarity[variables[v][0]], v), default="")
        rest = [p for p in preconditions if pivot == "" or p != pivot + 1]
        row = [number[name[0]], [index[a] for a in name[1:]], rest, effects]
        groups.setdefault(str(pivot), []).append(row)
    packed = {key: json.dumps(rows, separators=(",", ":")) for key, rows in groups.items()}
    return {"operators": packed, "arities": {n[0]: len(n) - 1 for n, _, _ in operators}}


def _read_grammar(
    text: str, supertypes: list[tuple[str, list[str]]], parameters: dict[str, Any], arities: dict[str, int]
) -> Program:
    from tatsu.exceptions import ParseException
    from textworld.envs.pddl.logic import GameLogic
    from textworld.envs.pddl.textgen import _parse_and_convert
    from textworld.logic import Type, TypeHierarchy

    types = TypeHierarchy()
    for name, parents in supertypes:
        if all(name != known.name for known in types):
            types.add(Type(name, parents))
    try:
        logic = GameLogic(domain="", grammar=text)
        actions = []
        for name in sorted(arities):
            action = logic.actions[name]
            template = _nodes(_parse_and_convert(action.template, rule_name="symbols"), types)
            feedback = _nodes(_parse_and_convert(action.feedback_rule, rule_name="symbols"), types)
            actions.append([name, parameters[name][: arities[name]], template, feedback])
        grammar = {
            symbol: [[_query(rule.condition, types), _nodes(rule.rhs, types)] for rule in rules]
            for symbol, rules in logic.grammar._rules.items()
        }
    except (ParseException, json.JSONDecodeError, KeyError, AttributeError) as error:
        raise ActreError(
            f"the game's text grammar cannot be read ({type(error).__name__}: {error}): "
            "it is no ALFWorld game or it is damaged; get it again, or check it with `actre games check`"
        ) from error
    return {"actions": actions, "grammar": grammar}


def _nodes(symbols: Any, types: Any) -> list[Any]:
    from textworld.envs.pddl import textgen

    def node(symbol: Any) -> Any:
        match symbol:
            case textgen.TerminalSymbol():
                return str(symbol)
            case textgen.NonterminalSymbol():
                return ["n", str(symbol)]
            case textgen.EvalSymbol():
                return ["e", symbol.expression]
            case textgen.ConditionalSymbol():
                return ["c", node(symbol.expression), _query(symbol.given, types)]
            case textgen.ListSymbol():
                return ["l", node(symbol.symbol)]
        raise ActreError(f"the game's text grammar holds an unknown symbol ({type(symbol).__name__})")

    return [node(symbol) for symbol in symbols]


def _query(expression: str | None, types: Any) -> list[Any] | None:
    from textworld.logic import Rule

    if not expression:
        return None
    query = []
    for predicate in Rule.parse_conjunctive_query(expression).preconditions:
        places = [[p.name, p.type] for p in predicate.parameters]
        wanted = [types.get(t) for t in predicate.signature.types]
        signatures = [[t.name for t in found] for found in types.multi_subtypes(wanted)]
        query.append([predicate.name, places, signatures])
    return query


def _asked_predicates(program: Program) -> set[str]:
    asked: set[str] = set()

    def walk(part: Any) -> None:
        if not isinstance(part, list):
            return
        match part:
            case ["c", inner, query]:
                asked.update(p[0].removeprefix("not_") for p in query or [])
                walk(inner)
            case _:
                for inner in part:
                    walk(inner)

    for rules in program["grammar"].values():
        for query, nodes in rules:
            asked.update(p[0].removeprefix("not_") for p in query or [])
            walk(nodes)
    for _, _, template, feedback in program["actions"]:
        walk(template)
        walk(feedback)
    return asked


def _shown_names(names: list[str], mentioned: set[int]) -> list[str | None]:
    """What the player reads for each entity: "Book_bar_..." becomes "book 1", numbered from the last id to the first.

    The rule is alfworld.agents.utils.misc.Demangler's (0.4.2), applied to the entities of the initial facts; an id
    without "_bar_" keeps a trailing blank there, so it does here.
    """
    ids = sorted(names[i] for i in mentioned)
    classes = {}
    for name in ids:
        head, bar, _ = name.partition("_bar_")
        classes[name] = (head + ("basin" if "basin" in name else "")) if bar else None
    left = Counter(c for c in classes.values() if c is not None)
    shown = {}
    for name in ids:
        if (kind := classes[name]) is None:
            shown[name] = _plain(name) + " "
        else:
            shown[name] = f"{_plain(kind)} {left[kind]}"
            left[kind] -= 1
    return [shown.get(name) for name in names]


def _plain(text: str) -> str:
    for mangled, plain in (("_minus_", "-"), ("_plus_", "+"), ("_dot_", "."), ("_comma_", ",")):
        text = text.replace(mangled, plain)
    return text
