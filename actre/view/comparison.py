"""Which settings and package versions differ between runs."""

import dataclasses
from collections.abc import Sequence

from actre.config import StageConfig
from actre.view.records import RunRecord

NOT_SET = "–"


def flat(settings: dict[str, object], prefix: str = "") -> list[tuple[str, str]]:
    """Nested settings as (dotted name, value) rows.

    >>> flat({"a": {"b": 1}, "c": [{"d": 2}]})
    [('a.b', '1'), ('c[0].d', '2')]
    """
    rows: list[tuple[str, str]] = []
    for key, value in settings.items():
        if isinstance(value, dict):
            rows += flat(value, f"{prefix}{key}.")
        elif isinstance(value, list | tuple) and value and isinstance(value[0], dict):
            for index, one in enumerate(value):
                rows += flat(one, f"{prefix}{key}[{index}].")
        else:
            rows.append((f"{prefix}{key}", str(value)))
    return rows


def settings_that_differ(runs: Sequence[RunRecord]) -> list[tuple[str, list[str]]]:
    """(name, value in each run) of the settings that differ.

    Settings at their default are left out for a stage that only some runs have.
    """
    rows = _differing([dict(flat(dataclasses.asdict(run.config))) if run.config else {} for run in runs])
    defaults = {f.name: str(f.default) for f in dataclasses.fields(StageConfig)}
    return [(name, values) for name, values in rows if set(values) != {NOT_SET, defaults.get(name.partition("].")[2])}]


def versions_that_differ(runs: Sequence[RunRecord]) -> list[tuple[str, list[str]]]:
    """(package, version in each run) of those that differ, with the commit of actre among them."""
    return _differing([run.versions for run in runs])


def _differing(each: Sequence[dict[str, str]]) -> list[tuple[str, list[str]]]:
    names = dict.fromkeys(name for one in each for name in one)
    rows = [(name, [one.get(name, NOT_SET) for one in each]) for name in names]
    return [(name, values) for name, values in rows if len(set(values)) > 1]
