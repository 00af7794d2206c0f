"""Renders a game's grammar: the feedback after an action and the text of a command.

It takes the grammar in translate.py's form and answers its queries from indexed tables of facts. Derivations follow
textworld.envs.pddl.textgen (textworld 1.7.0); queries yield the assignments of textworld.logic.State.all_assignments in
the same order.

Differs: expressions in braces are not `eval`ed. Only names, the attributes of an entity, strings, `+`, `or` and `and`
are allowed; anything else is refused, so that an untrusted game file cannot run code.
"""

import ast
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from actre.envs.alfworld.machine import State
from actre.envs.alfworld.translate import Program
from actre.types import ActreError

# A place is a (placeholder, type) pair. Its value is an entity number or, if an action declares its parameter with
# another type than the entity's, an (entity, type) pair: the stock engine treats these two as different.
Place = tuple[str, str]
Thing = int | tuple[int, str]


class Context(NamedTuple):
    """The values of the names in a piece of grammar: placeholders without type, and places of queries."""

    names: dict[str, int]
    places: dict[Place, Thing]


class Entity(NamedTuple):
    """The attributes of an entity that expressions may read; the stock engine leaves the rest of EntityInfo empty."""

    id: str
    type: str
    name: str | None
    definite: str = "the"
    indefinite: str = "a"

    def __str__(self) -> str:
        return str(self.name)


Row = tuple[int | None, tuple[int, ...]]  # fact number (None: it always holds) and arguments


class _Relation:
    """All possible facts of one predicate, in the stock engine's order."""

    def __init__(self, rows: list[Row], negated: bool) -> None:
        self._rows = rows
        self.negated = negated
        self.fluent = any(number is not None for number, _ in rows)
        self._indexes: dict[tuple[int, ...], dict[tuple[Thing, ...], list[Row]]] = {}

    def matching(self, bound: tuple[int, ...], key: tuple[Thing, ...]) -> list[Row]:
        """The rows whose arguments at the positions `bound` are `key`."""
        if not bound:
            return self._rows
        index = self._indexes.get(bound)
        if index is None:
            index = {}
            for row in self._rows:
                index.setdefault(tuple(row[1][k] for k in bound), []).append(row)
            self._indexes[bound] = index  # set when complete: threads may share a game
        return index.get(key, [])


Query = list[tuple[_Relation, list[Place]]]  # predicates in order, with the places to fill


class Writer:
    """Writes the text of one game. Raises ActreError if the game's grammar cannot be followed."""

    def __init__(self, program: Program) -> None:
        self._names: list[str] = program["names"]
        self._types: list[str] = program["types"]
        self._entities = list(map(Entity, program["names"], program["types"], program["shown"]))
        self._actions: list[Any] = program["actions"]
        self._grammar: dict[str, list[Any]] = program["grammar"]
        self._facts: dict[str, list[Row]] = {predicate: [] for predicate in program["asked"]}
        for v, (predicate, *args) in enumerate(program["variables"]):
            if predicate in self._facts:
                self._facts[predicate].append((v, tuple(args)))
        for predicate, *args in program["static"]:
            self._facts[predicate].append((None, tuple(args)))
        self._relations: dict[tuple[str, ...], _Relation] = {}
        self._queries: dict[int, Query] = {}  # by the identity of the parsed form, which the grammar keeps alive

    def write(self, nodes: list[Any], state: State, action: int | None = None, args: Sequence[int] = ()) -> str:
        """The text of `nodes` in a state, after (or for) an action with these arguments."""
        context = Context({}, {})
        if action is not None:
            for (name, type_), i in zip(self._actions[action][1], args, strict=True):
                context.names[name] = i
                context.places[name, type_] = i if self._types[i] == type_ else (i, type_)
        out: list[str] = []
        try:
            self._emit(nodes, context, state, out)
        except (KeyError, TypeError, RecursionError) as error:
            raise ActreError(
                f"the game's grammar cannot be followed ({error!r}): the game is unsupported or damaged; "
                "check it with `actre games check`"
            ) from error
        return "".join(out)

    def needs(self, action: int) -> list[int] | None:
        """The arguments on which the command text of an action depends; None if it also depends on the state.

        Constant facts do not count as state. A query never fills a free place with an argument of the action, so a text
        with a free place depends on all arguments.
        """
        _, parameters, template, _ = self._actions[action]
        positions: dict[Place, int] = {(name, type_): k for k, (name, type_) in enumerate(parameters)}
        found: set[int] = set()
        for node in template:
            if isinstance(node, str):
                continue
            part: list[Any] = node[1] if node[0] == "l" else node
            if part[0] != "c" or part[1][0] != "e" or (node[0] == "l" and not self._plain_lists()):
                return None
            _expression(part[1][1])  # raises for an invalid expression
            words = {w.id for w in ast.walk(ast.parse(part[1][1].strip())) if isinstance(w, ast.Name)}
            found |= {k for (name, _), k in positions.items() if name in words}
            for relation, wanted in self._query(part[2]) if part[2] else ():
                if relation.fluent:
                    return None
                filled = positions.keys() >= set(wanted)
                found |= {positions[p] for p in wanted} if filled else set(positions.values())
        return sorted(found)

    def _plain_lists(self) -> bool:
        """Whether lists are joined by constant text."""
        rules = [self._grammar.get(symbol) for symbol in ("list_empty", "list_separator", "list_last_separator")]
        return all(r and r[0][0] is None and all(isinstance(node, str) for node in r[0][1]) for r in rules)

    def _emit(self, nodes: list[Any], context: Context, state: State, out: list[str]) -> None:
        for node in nodes:
            if isinstance(node, str):
                out.append(node)
            elif node[0] == "n":
                self._emit(self._rule(node[1], context, state), context, state, out)
            elif node[0] == "e":
                out.append(str(_expression(node[1])(self._entities, context.names)))
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
        raise ActreError(f"the game's grammar has no rule for #{symbol}# here: the game is unsupported or damaged")

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
        """Every way to fill the query's places with distinct entities."""
        return self._extend(self._query(query), 0, context.places, state)

    def _extend(
        self, query: Query, depth: int, places: dict[Place, Thing], state: State
    ) -> Iterator[dict[Place, Thing]]:
        if depth == len(query):
            yield places
            return
        relation, wanted = query[depth]
        bound = tuple([k for k, place in enumerate(wanted) if place in places])
        free = [k for k in range(len(wanted)) if k not in bound]
        holding = state.denied if relation.negated else state.asserted
        for number, args in relation.matching(bound, tuple([places[wanted[k]] for k in bound])):
            if number not in holding and (number is not None or relation.negated):
                continue
            new = dict(places) if free else places
            for k in free:
                if wanted[k] in new:  # repeated in one predicate
                    if new[wanted[k]] != args[k]:
                        break
                elif args[k] in new.values():
                    break
                else:
                    new[wanted[k]] = args[k]
            else:
                yield from self._extend(query, depth + 1, new, state)

    def _query(self, parsed: list[Any]) -> Query:
        query = self._queries.get(id(parsed))
        if query is None:
            query = [
                (self._relation(predicate, signatures), [(name, type_) for name, type_ in wanted])
                for predicate, wanted, signatures in parsed
            ]
            self._queries[id(parsed)] = query
        return query

    def _relation(self, predicate: str, signatures: list[list[str]]) -> _Relation:
        key = (predicate, *(signatures[0] if signatures else ()))
        if key not in self._relations:
            order = {tuple(s): k for k, s in enumerate(signatures)}
            rows = []
            for number, args in self._facts[predicate.removeprefix("not_")]:
                rank = order.get(tuple([self._types[i] for i in args]))
                if rank is not None:
                    rows.append((rank, [self._names[i] for i in args], number, args))
            rows.sort(key=lambda row: row[:2])
            self._relations[key] = _Relation([row[2:] for row in rows], predicate.startswith("not_"))
        return self._relations[key]


Evaluate = Callable[[list[Entity], dict[str, int]], Any]
_EXPRESSIONS: dict[str, Evaluate] = {}


def _expression(text: str) -> Evaluate:
    if text not in _EXPRESSIONS:
        try:
            tree = ast.parse(text.strip(), mode="eval").body
        except SyntaxError as error:
            raise ActreError(f"the game's grammar has an invalid expression: {text!r}; is the game damaged?") from error
        _EXPRESSIONS[text] = _compile(tree, text)
    return _EXPRESSIONS[text]


def _compile(tree: ast.expr, text: str) -> Evaluate:
    match tree:
        case ast.Name(id=name):
            return lambda entities, names: entities[names[name]]
        case ast.Attribute(value=value, attr=attr) if attr in Entity._fields:
            inner = _compile(value, text)
            return lambda entities, names: getattr(inner(entities, names), attr)
        case ast.Constant(value=str() as constant):
            return lambda entities, names: constant
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            a, b = _compile(left, text), _compile(right, text)
            return lambda entities, names: a(entities, names) + b(entities, names)
        case ast.BoolOp(op=op, values=values):
            parts, stop = [_compile(v, text) for v in values], isinstance(op, ast.Or)

            def evaluate(entities: list[Entity], names: dict[str, int]) -> Any:
                result = None
                for part in parts:
                    result = part(entities, names)
                    if bool(result) is stop:
                        break
                return result

            return evaluate
    raise ActreError(f"the game's grammar has an expression that is not allowed: {text!r}; the game is unsupported")
