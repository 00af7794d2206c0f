"""Records of preconditions: written, read, and found for a model by its name and the fingerprint of its weights."""

import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from actre.config import RunConfig, data_folder
from actre.config.model_names import shown
from actre.config.tiny_names import saved_name
from actre.entropy.preconditions import (
    CONTRACTED_NATS,
    Learned,
    Narrowing,
    Preconditions,
    Start,
    Transfer,
    checks,
    verdict,
)
from actre.entropy.transfer import Gains
from actre.runtime import outputs
from actre.stats import Interval
from actre.types import ActreError

SCHEMA_VERSION = 1
NAME = "preconditions.json"
_COST = "cpu_minutes"
RUNS = Path("runs/preconditions")
"""Where the command writes by default."""


def to_json(p: Preconditions, **about: Any) -> dict[str, Any]:
    """A plain dict, with the verdict and each value beside its threshold. about: further fields."""
    judged = {"verdict": verdict(p), "checks": [one._asdict() for one in checks(p)]}
    return {"schema": SCHEMA_VERSION, **judged, **about, "measured": _plain(asdict(p))}


def from_json(record: dict[str, Any]) -> Preconditions:
    """The inverse of `to_json`. Raises ActreError for another record."""
    if record.get("schema") != SCHEMA_VERSION:
        raise ActreError(f"a record of preconditions has schema {record.get('schema')!r}, not {SCHEMA_VERSION}")
    raw = record["measured"]
    found, apart = raw["contraction"], raw["apart"]
    return Preconditions(
        model=saved_name(raw["model"]),
        fingerprint=raw["fingerprint"],
        env=raw["env"],
        contraction=None if found is None else Narrowing(found[0], Interval(*found[1]), Interval(*found[2])),
        start={order: Start(Interval(*one[0]), Interval(*one[1])) for order, one in raw["start"].items()},
        apart=None if apart is None else Interval(*apart),
        learned={order: Learned(Interval(*one[0]), *one[1:]) for order, one in raw["learned"].items()},
        transfers=tuple(
            Transfer(trained, way, measure, Gains(*(None if band is None else Interval(*band) for band in gained)))  # type: ignore[arg-type]
            for trained, way, measure, gained in raw["transfers"]
        ),
        budget=raw["budget"],
    )


def save(path: Path, p: Preconditions, **about: Any) -> Path:
    """Write a record; returns its path. Raises ActreError for an existing file that is no record of the same model."""

    def own(old: bytes) -> bool:
        try:
            return bool(json.loads(old)["measured"]["model"] == p.model)
        except (ValueError, KeyError, TypeError):
            return False

    return outputs.put(path, (json.dumps(to_json(p, **about), indent=1) + "\n").encode(), own, "--write")


def completed(found: Preconditions, about: dict[str, Any], path: Path) -> tuple[Preconditions, dict[str, Any]]:
    """What was measured now, and for the parts that were not what the file has, if it is a record of the same.

    about: further fields of the record; those of the file's measurement come under "before". A file of other weights,
    another environment or another budget gives nothing.
    """
    if not path.is_file():
        return found, about
    old, raw = load(path), json.loads(path.read_text(encoding="utf-8"))
    if any(getattr(old, name) != getattr(found, name) for name in ("model", "fingerprint", "env")):
        return found, about
    both = (old.budget.keys() & found.budget.keys()) - {_COST}
    if any(old.budget[name] != found.budget[name] for name in both):
        return found, about
    kept = [one for one in old.transfers if one[:3] not in {new[:3] for new in found.transfers}]
    whole = replace(
        found,
        contraction=found.contraction or old.contraction,
        start=found.start or old.start,
        apart=found.apart or old.apart,
        learned={**old.learned, **found.learned},
        transfers=(*kept, *found.transfers),
    )
    if replace(whole, budget={}) == replace(found, budget={}):
        return found, about
    if replace(whole, budget={}) == replace(old, budget={}):  # the same command again, which measured nothing anew
        return old, {name: raw[name] for name in (*about, "before") if name in raw}
    cost = round(old.budget.get(_COST, 0) + found.budget.get(_COST, 0), 1)
    whole = replace(whole, budget={**old.budget, **found.budget, _COST: cost})
    before = {name: raw[name] for name in about if name in raw}
    return whole, {**about, "before": [*raw.get("before", []), before]}


def load(path: Path) -> Preconditions:
    """Read what `save` wrote. Raises ActreError for a damaged or foreign file."""
    try:
        return from_json(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ActreError(
            f"{path} is no record of preconditions ({error!r}): `actre preconditions` writes one"
        ) from error


def file_name(model: str, env: str) -> str:
    """The record's file among those of other models.

    >>> file_name("tiny", "alfworld"), file_name("tiny/shopper", "webshop")
    ('tiny.json', 'tiny-shopper-webshop.json')
    """
    name = shown(model).strip("/").replace("/", "-").replace(" ", "-")
    return f"{name}{'' if env == 'alfworld' else f'-{env}'}.json".replace(":", "-")


def find(model: str, fingerprint: str | None, env: str, folders: Sequence[Path] | None = None) -> Preconditions | None:
    """The record of this model, with these weights, in this environment; None if there is none.

    fingerprint: None accepts any weights. folders: where to look; None: the shipped records, then those under RUNS.
    """
    places = [data_folder() / "results" / "preconditions", *sorted(RUNS.glob("*"))] if folders is None else folders
    for path in (path for place in places for path in sorted(Path(place).glob("*.json"))):
        try:
            found = load(path)
        except ActreError:  # other JSON files lie in the command's folders
            continue
        if (shown(found.model), found.env) == (shown(model), env) and fingerprint in (None, found.fingerprint):
            return found
    return None


def said(found: Preconditions | None, model: str, env: str = "alfworld") -> str:
    """The line that stands beside a comparison: the verdict, or which command measures it.

    >>> said(None, "tiny")
    'Preconditions: not measured: run `actre preconditions --model tiny`.'
    """
    if found is not None:
        return f"Preconditions: {verdict(found)}"
    shop = "" if env == "alfworld" else f" --env {env}"
    return f"Preconditions: not measured: run `actre preconditions --model {model}{shop}`."


def beside(folder: Path, config: RunConfig) -> str:
    """`said` for the run in a folder, with the remark that it is a record, and from where on it speaks of contraction.

    The adapter's actre.json has the fingerprint of the untrained weights.
    """
    path = folder / "adapter" / "actre.json"
    weights = str(json.loads(path.read_text()).get("fingerprint", "")) if path.is_file() else None
    model, env = shown(config.model.name), config.env.name
    found = find(model, weights, env)
    line = said(found, model, env)
    if found is None:
        return line
    what = f"contracted means {CONTRACTED_NATS:g} nats or more"
    return f"{line} (Recorded for the untrained model, not from this run; {what}.)"


def _plain(value: Any) -> Any:
    """Tuples as lists, named ones included."""
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    return [_plain(one) for one in value] if isinstance(value, list | tuple) else value
