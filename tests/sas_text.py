"""Reads Fast Downward's SAS text: what textworld gives to its C library, to compare our translation with."""

from collections import Counter
from typing import Any, NamedTuple

from actre.envs.alfworld.translate import Program


class Task(NamedTuple):
    """A transition system in words: facts are texts such as "holds(agent1, mug_1)", "-" before those denied."""

    facts: frozenset[str]
    initial: frozenset[str]
    goal: frozenset[str]
    operators: Counter[tuple[str, frozenset[str], tuple[Any, ...]]]
    rules: Counter[tuple[str, frozenset[str]]]


def read_sas(sas: str) -> Task:
    """The task that a SAS text describes. Every variable must be one fact, true or false."""
    lines = iter(sas.split("\n"))
    words: list[tuple[str, str]] = []
    derived = set()

    def skip_to(mark: str) -> None:
        while next(lines) != mark:
            pass

    def literal(var: str, value: str) -> str:
        return words[int(var)][int(value)]

    def literals() -> list[str]:
        return [literal(*next(lines).split()) for _ in range(int(next(lines)))]

    skip_to("end_metric")
    for _ in range(int(next(lines))):
        _, _, layer, size, *values, _ = [next(lines) for _ in range(7)]
        assert size == "2"
        marks = {"Atom": "", "NegatedAtom": "-"}
        pair = tuple(marks[v.split(" ", 1)[0]] + v.split(" ", 1)[1] for v in values)
        words.append(pair)  # type: ignore[arg-type]
        if layer != "-1":
            derived.add(pair[0])
    for _ in range(int(next(lines))):
        skip_to("end_mutex_group")
    next(lines)
    initial = frozenset(x for v in range(len(words)) if (x := literal(str(v), next(lines)))[0] != "-")
    skip_to("begin_goal")
    goal = frozenset(literals())
    next(lines)
    operators: Counter[Any] = Counter()
    for _ in range(int(next(lines))):
        next(lines)
        name = next(lines)
        needs = literals()
        effects: list[Any] = []
        for _ in range(int(next(lines))):
            numbers = next(lines).split()
            k = 1 + 2 * int(numbers[0])
            when = frozenset(literal(*numbers[j : j + 2]) for j in range(1, k, 2))
            var, before, after = numbers[k:]
            needs += [literal(var, before)] if before != "-1" else []
            effects.append((literal(var, after), when))
        operators[name, frozenset(needs), _by_fact(effects)] += 1
        skip_to("end_operator")
    rules: Counter[Any] = Counter()
    for _ in range(int(next(lines))):
        next(lines)
        body = frozenset(literals())
        var, _, value = next(lines).split()
        rules[literal(var, value), body] += 1
        next(lines)
    facts = frozenset(w.removeprefix("-") for pair in words for w in pair)
    return Task(facts, initial - derived, goal, operators, rules)


def task_of(program: Program) -> Task:
    """The same, of our translation."""
    import json

    names = program["names"]
    facts = [f"{p}({', '.join(names[i] for i in args)})" for p, *args in program["variables"]]

    def words(literals: list[int]) -> list[str]:
        return [facts[x - 1] if x > 0 else "-" + facts[-x - 1] for x in literals]

    operators: Counter[Any] = Counter()
    for pivot, packed in program["operators"].items():
        for action, args, on, off, effects in json.loads(packed):
            name = " ".join([program["actions"][action][0], *(names[i] for i in args)])
            needs = [facts[v] for v in on] + ["-" + facts[v] for v in off] + ([facts[int(pivot)]] if pivot else [])
            pairs = [(words([e])[0], frozenset()) if isinstance(e, int) else (words(e[:1])[0], frozenset(words(e[1])))
                     for e in effects]  # fmt: skip
            operators[name, frozenset(needs), _by_fact(pairs)] += 1
    rules = Counter((facts[v], frozenset(words(body))) for _, v, body in program["rules"])
    initial = frozenset(facts[v] for v in program["initial"])
    return Task(frozenset(facts), initial, frozenset(words(program["goal"])), operators, rules)


def _by_fact(effects: list[Any]) -> tuple[Any, ...]:
    """Effects in an order that keeps only what counts: which comes first among those on the same fact."""
    return tuple(sorted(effects, key=lambda e: e[0].removeprefix("-")))
