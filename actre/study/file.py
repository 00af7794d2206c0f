"""Reads a study file (TOML): parts, and runs with their full settings.

    name = "tiny"
    about = "its purpose, in a sentence"
    shares = ["other"]              # studies whose finished runs count here if they are the same
    protocol = "../protocol.md"     # the rules for judging it, fixed before it ran; relative to this file

    [across]                        # a contrast of all parts that run both, side by side and as a map
    contrast = ["actre-grpo", "think_first-grpo"]
    largest_in = "neutral"          # confirmatory: its difference minus the mean of the others'
    others = ["narrow"]             # these; left out: all other parts that run both

    [settings]                      # of all parts, over their presets
    env_steps = 24000

    [[part]]                        # one policy in one environment
    name = "neutral"
    evidence = "confirmatory"       # or exploratory, demonstration
    preset = "tiny"
    env = "alfworld"
    seeds = [3, 4]
    settings = {"model.name" = "tiny"}          # over these; names as in actre.config.RunConfig
    misses = "its transfer is low"  # what the policy lacks of what the protocol asks for, if anything
    fingerprint = "171adbe6..."     # of the untrained policy (`model` in records); others are refused
    confirmatory = [["actre-grpo", "think_first-grpo"]]     # this minus that
    exploratory = [["tfpi-grpo", "think_first-grpo"]]

    [[part.forecasts]]              # what is expected of a contrast; scored once its planned seeds are finished
    contrast = ["actre-grpo", "think_first-grpo"]
    points = [-4, 8]                # holds its mean difference with 80 %
    above = 0.7                     # the probability that it is above 0
    because = "its preconditions are met"

    [[part.runs]]                   # every arm x every seed, in this order
    arms = ["think_first", "actre"]
    estimator = "grpo"
    seeds = [3]                     # left out: the part's
    variant = ""                    # a name for changed settings
    settings = {}

Two settings set the stages: `switch`, the iterations of the first stage, and `iterations`, those of all stages.
"""

import math
import re
import tomllib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar, get_args

from actre.config import RunConfig, StageConfig
from actre.config.arms import ARMS, arm
from actre.config.estimators import ESTIMATORS
from actre.config.overrides import changed
from actre.config.paths import place
from actre.config.presets import preset
from actre.config.recipes import with_estimator
from actre.study.plan import PRIMARY, UNTRAINED, Across, Contrast, Evidence, Forecast, Part, Run, Study
from actre.types import ActreError

_STAGES = {"switch", "iterations"}
_OWN = {"seed": "seeds = [...] in the part", "optim.advantage": 'estimator = "..." in [[part.runs]]'}
"""Settings with keys of their own in a study file."""
_KINDS = ("confirmatory", "exploratory")
_KIND_NAMES = {
    str: 'a text, "..."',
    int: "a whole number",
    list: 'a pair, ["this", "minus that"]',
    dict: "a table, {...}",
}
T = TypeVar("T")


def load_study(path: str | Path) -> Study:
    """Read a study file. Raises ActreError, with the file and part, for invalid TOML, keys and values."""
    path = Path(path)
    if not path.is_file():
        raise ActreError(f"{path} is not a file; the shipped studies are in data/studies, e.g. data/studies/tiny.toml")
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:  # not TOML, not text, or a number with too many digits
        raise ActreError(f"{path} is not TOML: {error}") from error
    try:
        return _study(raw, path.parent)
    except ActreError as error:
        raise ActreError(f"{path}: {error}") from error


def _study(raw: dict[str, Any], folder: Path) -> Study:
    where = "the study"
    _only(raw, {"name", "about", "shares", "protocol", "settings", "part", "across"}, where)
    common: dict[str, Any] = _given(raw, "settings", where, {})
    parts = tuple(_part(one, common) for one in _tables(raw, "part", where))
    protocol = _given(raw, "protocol", where, "")
    study = Study(
        _name(raw, where),
        _given(raw, "about", where, ""),
        tuple(_list(raw, "shares", where, str, ())),
        parts,
        folder / place(protocol) if protocol else None,
        _across(raw["across"], parts) if "across" in raw else None,
    )
    _no_double([part.name for part in parts], "parts", "give one of them another name")
    _no_double([run.key for run in study.runs], "runs", "give one of them a variant")
    return study


def _across(raw: Any, parts: Sequence[Part]) -> Across:
    where = "[across]"
    if not isinstance(raw, dict):
        raise ActreError(f"{where} = {raw!r}: expected {_KIND_NAMES[dict]}")
    _only(raw, {"contrast", "largest_in", "others"}, where)
    pair = _pair(raw.get("contrast"), where)
    able = tuple(part.name for part in parts if _share_a_seed(part, pair))
    if len(able) < 2:
        raise ActreError(f"{where} compares {pair[0]} and {pair[1]} between parts, but {len(able)} part runs both")
    largest_in = _given(raw, "largest_in", where, "")
    if largest_in and largest_in not in able:
        raise ActreError(f"{where}: largest_in = {largest_in!r}; the parts that run both are: {', '.join(able)}")
    if not largest_in:
        if "others" in raw:
            raise ActreError(f"{where}: others is for largest_in, which is missing")
        return Across(Contrast(*pair, False))
    rest = tuple(name for name in able if name != largest_in)
    others = _list(raw, "others", where, str) if "others" in raw else rest
    if unknown := set(others) - set(rest):
        raise ActreError(f"{where}: others = {sorted(unknown)}; the other parts that run both are: {', '.join(rest)}")
    return Across(Contrast(*pair, True), largest_in, tuple(dict.fromkeys(others)))


def _part(raw: dict[str, Any], common: dict[str, Any]) -> Part:
    name = _name(raw, "a part")
    where = f"part {name!r}"
    plain = {"name", "about", "evidence", "preset", "env", "seeds", "settings", "fingerprint", "misses"}
    _only(raw, plain | {"runs", "forecasts", *_KINDS}, where)
    evidence = raw.get("evidence", "exploratory")
    if evidence not in get_args(Evidence):
        raise ActreError(f"{where}: unknown evidence {evidence!r}; there are: {', '.join(get_args(Evidence))}")
    seeds = _list(raw, "seeds", where, int)
    if len(set(seeds)) < len(seeds):
        raise ActreError(f"{where}: seeds = {list(seeds)}: list each seed once")
    base = preset(_given(raw, "preset", where, "tiny"), _given(raw, "env", where, "alfworld"))
    base = with_settings(base, {**common, **_given(raw, "settings", where, {})})
    runs = [run for block in _tables(raw, "runs", where) for run in _runs(name, block, base, seeds)]
    for run in runs:
        if not (PRIMARY[0] in run.config.evaluation.panels and PRIMARY[1] in run.config.evaluation.orders):
            raise ActreError(f"{where}: {run.key} does not play what arms are compared on, {PRIMARY[0]}, {PRIMARY[1]}")
    contrasts = [
        Contrast(*_pair(pair, where), kind == "confirmatory")
        for kind in _KINDS
        for pair in _list(raw, kind, where, list, ())
    ]
    part = Part(
        name=name,
        about=_given(raw, "about", where, ""),
        evidence=evidence,
        seeds=seeds,
        runs=tuple(runs),
        contrasts=tuple(contrasts),
        fingerprint=_given(raw, "fingerprint", where, "") or None,
        forecasts=tuple(_forecast(one, contrasts, where) for one in _tables(raw, "forecasts", where, least=0)),
        misses=_given(raw, "misses", where, ""),
    )
    _check_contrasts(part, where)
    return part


def _forecast(raw: dict[str, Any], contrasts: Sequence[Contrast], where: str) -> Forecast:
    where = f"{where}, forecasts"
    _only(raw, {"contrast", "points", "above", "because"}, where)
    pair = _pair(raw.get("contrast"), where)
    if pair not in [contrast[:2] for contrast in contrasts]:
        raise ActreError(f"{where}: {pair[0]} minus {pair[1]} is no contrast of this part")
    points: Any = raw.get("points")
    above: Any = raw.get("above")
    if not (isinstance(points, list) and len(points) == 2 and all(map(_is_number, points)) and points[0] < points[1]):
        raise ActreError(f"{where}: points = {points!r}; expected a range in points, e.g. [-4, 8]")
    if not (_is_number(above) and 0 <= above <= 1):
        raise ActreError(f"{where}: above = {above!r}; expected a probability, 0 to 1")
    return Forecast(*pair, (points[0], points[1]), above, _given(raw, "because", where, ""))


def _check_contrasts(part: Part, where: str) -> None:
    pairs = [set(contrast[:2]) for contrast in part.contrasts]
    for pair in (contrast[:2] for contrast in part.contrasts):
        for name in pair:
            if name not in part.conditions:
                raise ActreError(
                    f"{where} compares {name!r}, which it does not run; it runs {', '.join(part.conditions)}"
                )
        if pair[0] == pair[1]:
            raise ActreError(f"{where} compares {pair[0]} with itself")
        if not _share_a_seed(part, pair):
            raise ActreError(f"{where} compares {pair[0]} and {pair[1]}, which have no seed in common")
        if pairs.count(set(pair)) > 1:
            raise ActreError(f"{where} compares {pair[0]} and {pair[1]} twice, which the correction would count twice")
    if any(c.confirmatory for c in part.contrasts) and part.evidence != "confirmatory":
        raise ActreError(f'{where} names confirmatory contrasts and is {part.evidence}: say evidence = "confirmatory"')


def _share_a_seed(part: Part, pair: Sequence[str]) -> bool:
    one, other = ({run.seed for run in part.runs if run.condition == name} for name in pair)
    return bool(one & other)


def _runs(part: str, raw: dict[str, Any], base: RunConfig, seeds: tuple[int, ...]) -> list[Run]:
    """The runs of one block, seed by seed: a seed's arms are finished before the next seed begins."""
    where = f"part {part!r}, runs"
    _only(raw, {"arms", "estimator", "variant", "settings", "seeds"}, where)
    estimator, variant = raw.get("estimator", "grpo"), _given(raw, "variant", where, "")
    if estimator not in ESTIMATORS:
        raise ActreError(f"{where}: unknown estimator {estimator!r}; there are: {', '.join(ESTIMATORS)}")
    if variant:
        _plain_name(variant, f"{where}: the variant")
    config = with_settings(with_estimator(base, estimator), _given(raw, "settings", where, {}))
    return [
        Run(part, name, estimator, variant, _settings_of(name, replace(config, seed=seed), where))
        for seed in (_list(raw, "seeds", where, int) if "seeds" in raw else seeds)
        for name in _list(raw, "arms", where, str)
    ]


def _settings_of(name: str, config: RunConfig, where: str) -> RunConfig:
    if name == UNTRAINED:
        return config
    if name not in ARMS:
        raise ActreError(f"{where}: unknown arm {name!r}; there are: {', '.join((*ARMS, UNTRAINED))}")
    return arm(name, config)


def with_settings(config: RunConfig, settings: dict[str, Any]) -> RunConfig:
    """The settings with some replaced, by dotted name; `switch` and `iterations` set the two stages' lengths.

    Raises ActreError for an unknown name or a value of another type.

    >>> made = with_settings(preset("tiny"), {"optim.group_size": 4, "switch": 5})
    >>> made.optim.group_size, [stage.iterations for stage in made.stages]
    (4, [5, 75])
    """
    plain = {name: value for name, value in settings.items() if name not in _STAGES}
    for name, instead in _OWN.items():
        if name in plain:
            raise ActreError(f"{name!r} cannot be in settings: write {instead}")
    made = changed(config, [f"{name}={_text(value)}" for name, value in plain.items()])
    first, whole = settings.get("switch", config.stages[0].iterations), settings.get("iterations", config.iterations)
    if not _STAGES & settings.keys():
        return made
    for name, value in (("switch", first), ("iterations", whole)):
        if not _is(value, int):
            raise ActreError(f"{name} = {value!r}: expected a whole number of iterations")
    if not 0 < first < whole:
        raise ActreError(f"a switch after {first} of {whole} iterations leaves a stage without iterations")
    stages = (StageConfig(config.stages[0].order, first), StageConfig(config.stages[-1].order, whole - first))
    return replace(made, stages=stages)


def _text(value: Any) -> str:
    """A TOML value as command-line text."""
    if isinstance(value, bool):
        return str(value).lower()
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)


# --- reading ---


def _is(value: Any, kind: type) -> bool:
    return isinstance(value, kind) and not (kind is int and isinstance(value, bool))


def _given(raw: dict[str, Any], name: str, where: str, default: T) -> T:
    """The value of a key, of the default's type."""
    value = raw.get(name, default)
    if not _is(value, type(default)):
        raise ActreError(f"{where}: {name} = {value!r}; expected {_KIND_NAMES[type(default)]}")
    return value  # type: ignore[no-any-return]


def _list(
    raw: dict[str, Any], name: str, where: str, kind: type, default: Sequence[Any] | None = None
) -> tuple[Any, ...]:
    """A list of one type; it must not be empty unless there is a default."""
    values = raw.get(name, default)
    if (
        not isinstance(values, list | tuple)
        or (not values and default is None)
        or not all(_is(v, kind) for v in values)
    ):
        least = "" if default == () else ", at least one"
        raise ActreError(f"{where}: {name} = {values!r}; expected a list, each {_KIND_NAMES[kind]}{least}")
    return tuple(values)


def _is_number(value: Any) -> bool:
    return _is(value, int) or (isinstance(value, float) and math.isfinite(value))


def _tables(raw: dict[str, Any], name: str, where: str, least: int = 1) -> tuple[dict[str, Any], ...]:
    found = raw.get(name, [])
    if not isinstance(found, list) or len(found) < least or not all(isinstance(one, dict) for one in found):
        table = f"[[{'part' if name == 'part' else 'part.' + name}]]"
        raise ActreError(f"{where} needs at least one {table}" if least else f"{where}: write each as {table}")
    return tuple(found)


def _name(raw: dict[str, Any], where: str) -> str:
    name = raw.get("name")
    if not isinstance(name, str):
        raise ActreError(f'{where} needs a name: name = "..."')
    return _plain_name(name, f"{where}: the name")


def _plain_name(name: str, what: str) -> str:
    """The name, which must be valid as a file's name."""
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", name):
        raise ActreError(f"{what} {name!r} is not valid as a file's name: use letters, digits, - and _")
    return name


def _only(raw: dict[str, Any], known: set[str], where: str) -> None:
    odd = sorted(raw.keys() - known)
    if odd:
        raise ActreError(f"{where} has {odd[0]!r}, which is unknown; the keys are {', '.join(sorted(known))}")


def _pair(raw: Any, where: str) -> tuple[str, str]:
    if not (isinstance(raw, list) and len(raw) == 2):
        raise ActreError(f'{where}: {raw!r} is not a contrast; write ["this", "minus that"]')
    return str(raw[0]), str(raw[1])


def _no_double(names: list[str], what: str, fix: str) -> None:
    double = sorted({name for name in names if names.count(name) > 1})
    if double:
        raise ActreError(f"two {what} are called {double[0]}: {fix}")
