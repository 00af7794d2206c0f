"""The records of `actre gpu-check` as one page.

actre gpu-check                                         # on your machine: writes runs/gpu-check-gpu/gpu_check.json
cp runs/gpu-check-gpu/gpu_check.json data/results/gpu_check/NAME.json
python benchmarks/gpu_check.py page                     # writes docs/gpu-check.md
"""

import argparse
import json
from pathlib import Path
from typing import Any

from actre.config import data_folder
from actre.study.gpu_check import CHECKS, Row
from actre.study.gpu_check.runner import beside

PAGE = Path(__file__).resolve().parents[1] / "docs" / "gpu-check.md"


def records() -> dict[str, dict[str, Any]]:
    """Name -> record; those of GPUs first."""
    paths = sorted((data_folder() / "results" / "gpu_check").glob("*.json"))
    found = {path.stem: json.loads(path.read_text()) for path in paths}
    return dict(sorted(found.items(), key=lambda one: (one[1]["device"] != "gpu", one[0])))


def page() -> str:
    """The page's text, from the records."""
    found = records()
    on_gpu = [name for name, one in found.items() if one["device"] == "gpu"]
    lines = [
        "# Machines on which everything that touches a GPU was tried",
        "",
        "Made by `python benchmarks/gpu_check.py page` from data/results/gpu_check; do not edit.",
        "",
        f"GPUs that have run it: {', '.join(map(_device, (found[name] for name in on_gpu)))}."
        if on_gpu
        else "**No GPU has run it yet.** The records below are of CPUs, where the same code runs without one.",
        "",
        "    actre gpu-check                  # about 10 minutes, no model hub; the same command continues",
        "    actre gpu-check --device cpu     # the same checks without a GPU, as in CI",
        "",
        "Each check runs in a process of its own, so that a crash is a row. What cannot run says why. To send in a",
        "record, put gpu_check.json into data/results/gpu_check under a name of the machine and make this page",
        "again, or attach it to an issue. It holds versions, devices and the rows below, and no path of the machine.",
        "",
        "| check | what it does |",
        "|---|---|",
        *(f"| {name} | {check.about} |" for name, check in CHECKS.items()),
    ]
    for name, one in found.items():
        lines += ["", f"## {name}: {_device(one)}", "", _versions(one), "", *_rows(one)]
    return "\n".join([*lines, ""])


def _device(one: dict[str, Any]) -> str:
    gpus = [f"{gpu['name']} ({gpu['memory_gb']:.0f} GB)" for gpu in one["gpus"]]
    return ", ".join(gpus) if gpus else f"no GPU; {one['processor']}"


def _versions(one: dict[str, Any]) -> str:
    shown = ("python", "torch", "transformers", "trl", "peft", "accelerate", "vllm", "unsloth", "bitsandbytes")
    libraries = [f"{name} {one['versions'][name]}" for name in shown if name in one["versions"]]
    counts = {s: sum(row["status"] == s for row in one["rows"]) for s in ("ok", "failed", "skipped", "not run")}
    checks = ", ".join(f"{number} {status}" for status, number in counts.items() if number)
    busy = f"{one['cores']} cores, load {one['load']}: seconds are those of a machine as busy as that"
    return f"{', '.join(libraries)}; {busy}. Checks: {checks}."


def _rows(one: dict[str, Any]) -> list[str]:
    lines = ["| check | | seconds | found | measured, and estimated |", "|---|---|---|---|---|"]
    for raw in one["rows"]:
        row = Row(**raw)
        cells = (row.name, row.status, f"{row.seconds:.0f}", row.words.replace("|", "/"), beside(row))
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("page",))
    parser.parse_args()
    PAGE.write_text(page())


if __name__ == "__main__":
    main()
