"""Converts a game's text grammar into plain JSON that text.py can render.

TextWorld's own parsers (textworld 1.7.0) read the grammar. Grammars of games differ only in the task sentence, so one
is parsed once and each game's sentence is inserted.

The format:
    nodes    [node...]; a node is str (text) | ["n", symbol] | ["e", expression] | ["c", node, query or null]
             | ["l", ["c", ...]]   (n: replaced by a rule; e: evaluated; c: once per answer; l: those as a list)
    query    [[predicate, [[placeholder, type]...], [[type...]...]]...]   last: signatures in search order
    grammar  {"actions": {name: [template nodes, feedback nodes]}, "rules": {symbol: [[query or null, nodes]...]}}
"""

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from actre.envs.alfworld import cache
from actre.types import ActreError

FORM = 1
Grammar = dict[str, Any]
# The task sentence, if the grammar's parser reads all of it as plain text.
_TASK = re.compile(r'(?<="Your task is to: )[A-Za-z0-9 ,.\'-]+(?=")')
_PLACE = "TASKGOESHERE"


def read_grammar(text: str, supertypes: tuple[tuple[str, tuple[str, ...]], ...]) -> Grammar:
    """The grammar of a game. Raises ActreError if it cannot be read.

    supertypes: (type, its supertypes) in the order of the PDDL domain.
    """
    tasks = _TASK.findall(text)
    if len(tasks) != 1 or _PLACE in text:
        return _parsed(text, supertypes)
    return _with_task(_parsed(_TASK.sub(_PLACE, text), supertypes), tasks[0])


def _with_task(part: Any, task: str) -> Any:
    match part:
        case str():
            return part.replace(_PLACE, task)
        case list():
            return [_with_task(inner, task) for inner in part]
        case dict():
            return {key: _with_task(inner, task) for key, inner in part.items()}
    return part


@lru_cache(maxsize=4)
def _parsed(text: str, supertypes: tuple[tuple[str, tuple[str, ...]], ...]) -> Grammar:
    # Cached on disk too: importing the parser takes longer than translating a game.
    key = cache.key("grammar", str(FORM), text, repr(supertypes))
    kept = cache.read(key, FORM)
    if kept is None:
        kept = {"format": FORM, **_parse(text, supertypes)}
        cache.write(key, kept)
    return kept


def _parse(text: str, supertypes: tuple[tuple[str, tuple[str, ...]], ...]) -> Grammar:
    from tatsu.exceptions import ParseException
    from textworld.envs.pddl.logic import GameLogic
    from textworld.envs.pddl.textgen import _parse_and_convert
    from textworld.logic import Type, TypeHierarchy

    types = TypeHierarchy()
    for name, parents in supertypes:
        if all(name != known.name for known in types):  # PddlState skips repeated types
            types.add(Type(name, parents))
    try:
        logic = GameLogic(domain="", grammar=text)
        actions = {
            name: [
                _nodes(_parse_and_convert(part, rule_name="symbols"), types)
                for part in (action.template, action.feedback_rule)
            ]
            for name, action in logic.actions.items()
        }
        rules = {
            symbol: [[_query(rule.condition, types), _nodes(rule.rhs, types)] for rule in found]
            for symbol, found in logic.grammar._rules.items()
        }
    except (ParseException, ValueError, LookupError, AttributeError, TypeError, RecursionError) as error:
        reason = str(error).splitlines()[0] if str(error) else ""
        raise ActreError(
            f"its text grammar cannot be read ({type(error).__name__}: {reason}): it is not an ALFWorld game, or is "
            "damaged; fetch or generate it again, and check it with `actre games check`"
        ) from error
    return {"actions": actions, "rules": rules}


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
        raise TypeError(f"unknown symbol {symbol!r}")

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


def asked_predicates(grammar: Grammar) -> set[str]:
    """The predicates in the grammar's queries, without "not_"."""
    found: set[str] = set()
    for rules in grammar["rules"].values():
        for query, nodes in rules:
            found.update(_predicates([["c", "", query], *nodes]))
    for parts in grammar["actions"].values():
        for nodes in parts:
            found.update(_predicates(nodes))
    return found


def _predicates(nodes: list[Any]) -> Iterator[str]:
    for node in nodes:
        if isinstance(node, str):
            continue
        if node[0] == "c":
            yield from (part[0].removeprefix("not_") for part in node[2] or [])
        if node[0] in ("c", "l"):
            yield from _predicates([node[1]])
