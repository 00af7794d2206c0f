"""`actre calibrate`: measure, on known truth, how far the entropy estimators and their verdicts can be trusted."""

import argparse
import json
import time
from functools import partial
from pathlib import Path
from typing import Any

from actre.config.checks import Seed, Several, of
from actre.config.paths import place
from actre.runtime import outputs


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add `calibrate` to the command line."""
    parser = subparsers.add_parser(
        "calibrate", help="test the entropy estimators and verdicts on scripted states of known entropy"
    )
    parser.add_argument(
        "--repetitions", type=of(Several), default=500, help="repetitions per row of the tables (default: 500)"
    )
    parser.add_argument("--seed", type=of(Seed), default=0, help="random seed (default: 0)")
    parser.add_argument(
        "--out", type=place, default=Path("runs/calibration.json"), help="a .json file (default: %(default)s)"
    )
    parser.set_defaults(run=_calibrate)


def _calibrate(args: argparse.Namespace) -> int:
    from tqdm.auto import tqdm

    from actre.config import versions
    from actre.entropy import calibration
    from actre.entropy.thoughts import SCHEMA_VERSION

    header = {
        "schema": SCHEMA_VERSION,
        "command": f"actre calibrate --repetitions {args.repetitions} --seed {args.seed}",
        "repetitions": args.repetitions,
        "seed": args.seed,
        "settings": calibration.settings(),
    }
    outputs.must_be_own(args.out, partial(_is_alike, header))
    args.out.parent.mkdir(parents=True, exist_ok=True)
    part = args.out.with_name(args.out.name + ".part")
    done = _started(part, header)
    cells = calibration.cells()
    for cell in tqdm(cells[len(done) :], initial=len(done), total=len(cells), unit="cell", desc="calibrating"):
        start = time.process_time()
        rows = calibration.measure(cell, args.repetitions, args.seed)
        done.append({"part": cell["part"], "rows": rows, "cpu_s": round(time.process_time() - start, 2)})
        with part.open("a", encoding="utf-8") as file:
            file.write(json.dumps(done[-1]) + "\n")
    tables: dict[str, list[Any]] = {"estimators": [], "sets": []}
    for cell in done:
        tables[cell["part"]] += cell["rows"]
    record = {**header, "cpu_s": round(sum(cell["cpu_s"] for cell in done)), "versions": versions(), **tables}
    outputs.put(args.out, _written(record).encode(), partial(_is_alike, header))
    part.unlink()
    print(described(record))
    print(f"written: {args.out}")
    return 0


def _started(part: Path, header: dict[str, Any]) -> list[dict[str, Any]]:
    """The cells that an interrupted calibration with the same settings has finished; starts the file if there is none.

    Raises ActreError if the file holds anything else.
    """
    from actre.types import ActreError

    text = part.read_bytes() if part.exists() else b""
    whole = text[: text.rfind(b"\n") + 1]  # an unfinished line was interrupted
    try:
        first, *lines = [json.loads(line) for line in whole.splitlines()] or [header]
    except ValueError:
        first, lines = None, []
    begun = json.dumps(header).encode()
    if first != header or not (whole or begun.startswith(text)):
        raise ActreError(
            f"{part} holds a calibration with other settings, or something else: choose another --out, or remove it"
        )
    part.write_bytes(whole or begun + b"\n")
    return lines


def _is_alike(header: dict[str, Any], old: bytes) -> bool:
    """Whether a file's content is a calibration with the same settings."""
    try:
        there = json.loads(old)
    except ValueError:
        return False
    return isinstance(there, dict) and all(there.get(name) == header[name] for name in header)


def _written(record: dict[str, Any]) -> str:
    """JSON with one line per row, so that two calibrations can be compared line by line."""
    plain = {key: value for key, value in record.items() if not isinstance(value, list)}
    tables = {key: value for key, value in record.items() if isinstance(value, list)}
    parts = [f"{json.dumps(key)}: {json.dumps(value)}" for key, value in plain.items()]
    for key, rows in tables.items():
        lines = ",\n".join(json.dumps(row) for row in rows)
        parts.append(f"{json.dumps(key)}: [\n{lines}\n]")
    return "{\n" + ",\n".join(parts) + "\n}\n"


def described(record: dict[str, Any]) -> str:
    """A calibration's two requirements, for a terminal: intervals cover the truth, and nulls get no verdict."""
    rows = record["sets"]
    nulls = [row for row in rows if row["null"]]
    short = [row for row in rows if row["interval_holds"] < 0.95]
    called = [row for row in nulls if row["verdicts"]["narrowed"] + row["verdicts"]["widened"] > 0.05]
    lines = [
        f"{record['repetitions']} repetitions, {record['cpu_s']:.0f} CPU-seconds",
        f"the bracket with its interval covers the truth in under 95 % of cases in {len(short)} of {len(rows)} rows",
        f"a null is called narrowed or widened in over 5 % of cases in {len(called)} of {len(nulls)} rows",
    ]
    lines += [f"  {_place(row)}: covered in {row['interval_holds']:.1%}" for row in short]
    lines += [f"  {_place(row)}: called in {row['wrong']:.1%}" for row in called]
    return "\n".join(lines)


def _place(row: dict[str, Any]) -> str:
    return (
        f"{row['kind']} thoughts, {row['actions']} actions, K = {row['k']}, {row['games']} games of {row['each']}, "
        f"{row['scenario']}"
    )
