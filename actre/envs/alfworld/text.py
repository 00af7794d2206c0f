"""Renders a game's grammar: the feedback after an action and the text of a command.

Knows the grammar as translate.py wrote it, and answers its queries from indexed tables of facts. Knows no rules of
the game. Every derivation follows textworld.envs.pddl.textgen (textworld 1.7.0); queries give the assignments that
textworld.logic.State.all_assignments gives, in its order.

Differs: expressions in braces are not `eval`ed. What a game file may say there is names, the attributes of an
entity, strings, `+`, `or` and `and`; anything else is refused, so that a foreign game file cannot run code.
"""

import ast
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from actre.envs.alfworld.machine import State
from actre.envs.alfworld.translate import Program
from actre.types import ActreError

# A place is a (placeholder, type) pair. It stands for an entity number or, where an action declares its parameter
# with another type than the entity has, for an (entity, type) pair: the stock engine never takes these two for equal.
Place = tuple[str, str]
Thing = int | tuple[int, str]


class Context(NamedTuple):
    """What the names in a piece of grammar stand for: placeholders without type, and places of queries."""

    names: dict[str, int]
    places: dict[Place, Thing]


class Entity(NamedTuple):
    """What expressions may read of an entity; the stock engine leaves the rest of EntityInfo empty."""

    id: str
    type: str
    name: str | None
    definite: str = "the"
    indefinite: str = "a"

    def __str__(self) -> str:
        return str(self.name)


class _Relation:
    """The facts of one predicate that can ever hold, in the order in which the stock engine finds them."""

    def __init__(self, rows: list[tuple[int | None, tuple[int, ...]]], negated: bool) -> None:
        self.rows = rows  # (fact number, or None if it always holds; arguments)
        self.negated = negated
        self._indexes: dict[tuple[int, ...], dict[tuple[Thing, ...], list[Any]]] = {}

    def matching(self, bound: tuple[int, ...], key: tuple[Thing, ...]) -> list[tuple[int | None, tuple[int, ...]]]:
        """The rows whose arguments at the positions `bound` are `key`."""
        if not bound:
            return self.rows
        if bound not in self._indexes:
            index: dict[tuple[Thing, ...], list[Any]] = {}
            for row in self.rows:
                index.setdefault(tuple(row[1][k] for k in bound), []).append(row)
            self._indexes[bound] = index
        return self._indexes[bound].get(key, [])


class Writer:
    """The text of one game."""

    def __init__(self, program: Program) -> None:
        self._program = program
        self._names: list[str] = program["names"]
        self._types: list[str] = program["types"]
        self.entities = [Entity(*e) for e in zip(program["names"], program["types"], program["shown"], strict=True)]
        self._facts: dict[str, list[tuple[int | None, tuple[int, ...]]]] = {}
        for v, (predicate, *args) in enumerate(program["variables"]):
            self._facts.setdefault(predicate, []).append((v, tuple(args)))
        for predicate, *args in program["static"]:
            self._facts.setdefault(predicate, []).append((None, tuple(args)))
        self._relations: dict[tuple[str, str], _Relation] = {}
        self._grammar: dict[str, list[Any]] = program["grammar"]
        self._steady: dict[str, bool] = {}
        self._fluent = {v[0] for v in program["variables"]}

    def write(self, nodes: list[Any], state: State, action: int | None = None, args: tuple[int, ...] = ()) -> str:
        """The text of `nodes` in a state, after (or for) an action with these arguments."""
        context = Context({}, {})
        if action is not None:
            for (name, type_), i in zip(self._program["actions"][action][1], args, strict=True):
                context.names[name] = i
                context.places[name, type_] = i if self._types[i] == type_ else (i, type_)
        out: list[str] = []
        self._emit(nodes, context, state, out)
        return "".join(out)

    def steady(self, nodes: list[Any]) -> bool:
        """Whether the text of `nodes` can never depend on the state: it asks about facts that never change."""
        for node in nodes:
            if isinstance(node, str):
                continue
            kind, content = node[0], node[1]
            if kind == "n" and not self._steady_symbol(content):
                return False
            if kind == "l" and not (self.steady([content]) and self._steady_lists()):
                return False
            if kind == "c" and not (self.steady([content]) and self._static_query(node[2])):
                return False
        return True

    def _steady_lists(self) -> bool:
        return all(self._steady_symbol(s) for s in ("list_empty", "list_separator", "list_last_separator"))

    def _steady_symbol(self, symbol: str) -> bool:
        if symbol not in self._steady:
            self._steady[symbol] = False  # for one that contains itself
            rules = self._grammar.get(symbol, [])
            self._steady[symbol] = all(self._static_query(q) and self.steady(nodes) for q, nodes in rules)
        return self._steady[symbol]

    def _static_query(self, query: list[Any] | None) -> bool:
        return not any(p[0].removeprefix("not_") in self._fluent for p in query or [])

    def _emit(self, nodes: list[Any], context: Context, state: State, out: list[str]) -> None:
        for node in nodes:
            if isinstance(node, str):
                out.append(node)
            elif node[0] == "n":
                self._emit(self._rule(node[1], context, state), context, state, out)
            elif node[0] == "e":
                out.append(str(_expression(node[1])(self._named, context.names)))
            elif node[0] == "c":
                for inner in self._contexts(node, context, state):
                    self._emit([node[1]], inner, state, out)
            else:
                self._emit_list(node[1], context, state, out)

    def _emit_list(self, node: list[Any], context: Context, state: State, out: list[str]) -> None:
        contexts = list(self._contexts(node, context, state))
        if not contexts:
            self._emit([["n", "list_empty"]], context, state, out)
        for k, inner in enumerate(contexts):
            if k:
                symbol = "list_last_separator" if k == len(contexts) - 1 else "list_separator"
                self._emit([["n", symbol]], context, state, out)
            self._emit([node[1]], inner, state, out)

    def _rule(self, symbol: str, context: Context, state: State) -> list[Any]:
        for query, nodes in self._grammar.get(symbol, []):
            if query is None or next(self._assignments(query, context, state), None) is not None:
                return nodes
        raise ActreError(f"the game's grammar has no rule for #{symbol}# here: the game file is damaged or foreign")

    def _contexts(self, node: list[Any], context: Context, state: State) -> Iterator[Context]:
        if node[2] is None:
            yield context
            return
        for places in self._assignments(node[2], context, state):
            names = dict(context.names)
            for (name, _), thing in places.items():
                names[name] = thing if isinstance(thing, int) else thing[0]
            yield Context(names, places)

    def _assignments(self, query: list[Any], context: Context, state: State) -> Iterator[dict[Place, Thing]]:
        """Every way to fill the query's places, no two with the same entity."""
        return self._extend(query, 0, dict(context.places), set(context.places.values()), state)

    def _extend(
        self, query: list[Any], depth: int, places: dict[Place, Thing], used: set[Thing], state: State
    ) -> Iterator[dict[Place, Thing]]:
        if depth == len(query):
            yield dict(places)
            return
        predicate, wanted, signatures = query[depth]
        relation = self._relation(predicate, signatures)
        slots: list[Place] = [(name, type_) for name, type_ in wanted]
        bound = tuple(k for k, slot in enumerate(slots) if slot in places)
        free = [k for k in range(len(slots)) if k not in bound]
        holding = state.denied if relation.negated else state.told
        for number, args in relation.matching(bound, tuple(places[slots[k]] for k in bound)):
            if number not in holding and (number is not None or relation.negated):
                continue
            new: dict[Place, Thing] = {}
            for k in free:
                if slots[k] in new:
                    if new[slots[k]] != args[k]:
                        break
                elif args[k] in used or args[k] in new.values():
                    break
                else:
                    new[slots[k]] = args[k]
            else:
                yield from self._extend(query, depth + 1, places | new, used | set(new.values()), state)

    def _relation(self, predicate: str, signatures: list[list[str]]) -> _Relation:
        key = (predicate, ",".join(signatures[0]) if signatures else "")
        if key not in self._relations:
            order = {tuple(s): k for k, s in enumerate(signatures)}
            rows = []
            for number, args in self._facts.get(predicate.removeprefix("not_"), []):
                rank = order.get(tuple(self._types[i] for i in args))
                if rank is not None:
                    rows.append((rank, [self._names[i] for i in args], number, args))
            rows.sort(key=lambda row: row[:2])
            self._relations[key] = _Relation([row[2:] for row in rows], predicate.startswith("not_"))
        return self._relations[key]

    def _named(self, i: int) -> Entity:
        return self.entities[i]


Evaluate = Callable[[Callable[[int], Entity], dict[str, int]], Any]
_EXPRESSIONS: dict[str, Evaluate] = {}


def _expression(text: str) -> Evaluate:
    if text not in _EXPRESSIONS:
        try:
            tree = ast.parse(text.strip(), mode="eval").body
        except SyntaxError as error:
            raise ActreError(f"the game's grammar holds an expression that is no expression: {text!r}") from error
        _EXPRESSIONS[text] = _compile(tree, text)
    return _EXPRESSIONS[text]


def _compile(tree: ast.expr, text: str) -> Evaluate:
    match tree:
        case ast.Name(id=name):
            return lambda entity, names: entity(names[name])
        case ast.Attribute(value=value, attr=attr) if attr in Entity._fields:
            inner = _compile(value, text)
            return lambda entity, names: getattr(inner(entity, names), attr)
        case ast.Constant(value=str() as constant):
            return lambda entity, names: constant
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            a, b = _compile(left, text), _compile(right, text)
            return lambda entity, names: a(entity, names) + b(entity, names)
        case ast.BoolOp(op=op, values=values):
            parts, stop = [_compile(v, text) for v in values], isinstance(op, ast.Or)

            def evaluate(entity: Callable[[int], Entity], names: dict[str, int]) -> Any:
                result = None
                for part in parts:
                    result = part(entity, names)
                    if bool(result) is stop:
                        break
                return result

            return evaluate
    raise ActreError(f"the game's grammar holds an expression that is not allowed: {text!r}; is the game foreign?")
