"""Shows what is installed, what is missing, and the command that fixes it.

It imports none of the packages it checks: versions come from their metadata, so it also works on a broken installation.
"""

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from fnmatch import fnmatch
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from actre.config import ENV_NAMES, data_folder, load_config
from actre.config.checks import Positive, of
from actre.config.overrides import changed
from actre.config.paths import place
from actre.config.presets import GPU_GB, PRESETS, preset
from actre.runtime import official
from actre.runtime.estimate import estimate, outcome
from actre.runtime.game_files import walk
from actre.runtime.limits import cores, described, described_outcome, here, memory_gb, multiplies_bfloat16, on
from actre.types import ActreError

Status = Literal["ok", "other", "absent", "missing"]
"""other: present, but not as tested; absent: optional and not installed; missing: required by the quickstart."""

MIN_DISK_GB = 1.0
"""Disk space for a quickstart: its run folder and the cache of translated games, with a margin."""
MIN_MEMORY_GB = 3.0
"""Memory that the quickstart may need."""
_CPU_HINT = "for PyTorch's CPU wheels see the README"


@dataclass(frozen=True)
class Check:
    """One check. fix: a command or a short instruction; empty if there is nothing to do."""

    group: str
    name: str
    status: Status
    found: str
    fix: str = ""


def examine() -> list[Check]:
    """All checks, in the order in which they are shown."""
    pins = tested_pins()
    return [
        *_machine(),
        *_build_tools(),
        _gpu(),
        *_packages("worlds", _WORLDS, pins, needed=True, fix=_install(".")),
        *_engine(),
        *_packages("quickstart", _CORE, pins, needed=True, fix=_install(".[train]")),
        *_packages("lab", _LAB, pins, needed=False, fix=_install(".[train,lab]")),
        *_packages(
            "gpu extra",
            _GPU,
            pins,
            needed=False,
            fix=_install(".[train,gpu]"),
        ),
        *_data(),
    ]


def can_run(checks: list[Check]) -> bool:
    """Whether the quickstart can run: no check is "missing"."""
    return not any(check.status == "missing" for check in checks)


def tested_pins() -> dict[str, str]:
    """Package -> tested version, from constraints.txt next to the package; empty outside a checkout."""
    path = Path(__file__).resolve().parents[2] / "constraints.txt"
    if not path.is_file():
        return {}
    lines = (line.partition("#")[0].strip() for line in path.read_text().splitlines())
    return {name: version for name, _, version in (line.partition("==") for line in lines) if version}


_WORLDS = ("numpy", "gymnasium", "alfworld", "textworld", "tqdm")
"""What a light install brings (the extra `train` is `_CORE`)."""
_CORE = ("torch", "transformers", "trl", "peft", "accelerate", "datasets", "safetensors", "plotly")
_LAB = ("jupyterlab", "ipywidgets", "anywidget", "ipykernel", "nbclient")
_GPU = ("vllm", "unsloth", "bitsandbytes")


def _machine() -> Iterator[Check]:
    group = "machine"
    fits = (3, 11) <= sys.version_info[:2] < (3, 14)
    yield Check(
        group,
        "Python",
        "ok" if fits else "missing",
        f"{platform.python_version()} ({sys.executable})",
        "" if fits else "make clean-venv && make test PYTHON=/path/to/python3.12",
    )
    free_cores = cores()
    threads = os.environ.get("OMP_NUM_THREADS")
    yield Check(
        group,
        "cores",
        "ok",
        f"{free_cores} available to this process; OMP_NUM_THREADS {threads or 'not set: torch uses all'}",
    )
    if (units := multiplies_bfloat16()) is not None:
        faster = "--set optim.products=bfloat16 --set sampling.products=bfloat16 make larger models faster"
        yield Check(group, "bfloat16", "ok" if units else "absent", faster if units else "no instructions for it")
    memory = memory_gb()
    if memory is None:
        yield Check(group, "memory", "other", "unknown on this system", f"the quickstart needs {MIN_MEMORY_GB:.0f} GB")
    else:
        enough = memory >= MIN_MEMORY_GB
        yield Check(
            group,
            "memory",
            "ok" if enough else "other",
            f"{memory:.1f} GB free",
            "" if enough else f"the quickstart needs up to {MIN_MEMORY_GB:.0f} GB: close other programs",
        )
    free = shutil.disk_usage(Path.cwd()).free / 1e9
    yield Check(
        group,
        "disk",
        "ok" if free >= MIN_DISK_GB else "missing",
        f"{free:.1f} GB free here",
        "" if free >= MIN_DISK_GB else f"free at least {MIN_DISK_GB:.0f} GB, or use --out on another disk",
    )


def _pip() -> str:
    """The pip command of this Python, as typed in the checkout."""
    python = Path(sys.executable)
    return f"{python.relative_to(Path.cwd()) if python.is_relative_to(Path.cwd()) else python} -m pip install"


def _install(what: str) -> str:
    return f'{_pip()} -c constraints.txt -e "{what}"'


def _build_tools() -> Iterator[Check]:
    """Tools needed to install textworld, but not to run it."""
    here = all(_installed(name) for name in ("textworld", "fast_downward_textworld", "jericho"))
    for name, commands, package in (
        ("C++ compiler", ("c++", "g++", "clang++"), "g++"),
        ("cmake", ("cmake",), "cmake"),
        ("make", ("make",), "make"),
    ):
        path = next(filter(None, map(shutil.which, commands)), None)
        fix = f"sudo apt-get install {package}" + ("  (only to reinstall textworld)" if here else "")
        if path:
            yield Check("build tools", name, "ok", path)
        else:
            yield Check("build tools", name, "absent" if here else "missing", "not found", fix)


def _gpu() -> Check:
    group, name = "machine", "GPU"
    if shutil.which("nvidia-smi") is None:
        if sys.platform == "darwin" and platform.machine() == "arm64":
            return Check(group, name, "absent", "Apple silicon is untested; the CPU is used")
        return Check(group, name, "absent", "none; the tiny preset does not need one")
    query = ["nvidia-smi", "--query-gpu=name,memory.total,compute_cap", "--format=csv,noheader,nounits"]
    try:
        answer = subprocess.run(query, capture_output=True, text=True, check=False, timeout=5)
    except (OSError, subprocess.TimeoutExpired) as error:
        return Check(group, name, "other", f"nvidia-smi does not respond: {error}", "check the driver: nvidia-smi")
    if answer.returncode != 0:
        reason = (answer.stdout + answer.stderr).strip().splitlines()[:1]
        return Check(group, name, "other", f"nvidia-smi fails: {' '.join(reason)}", "check the driver: nvidia-smi")
    gpus = "; ".join(_describe_gpu(line) for line in answer.stdout.strip().splitlines())
    if _installed("torch") and "+cpu" in metadata.version("torch"):
        fix = f"{_pip()} --force-reinstall torch, from PyTorch's CUDA wheels"
        return Check(group, name, "other", f"{gpus}, but torch is a CPU build", fix)
    return Check(group, name, "ok", gpus)


def _describe_gpu(line: str) -> str:
    """One line of nvidia-smi's CSV: name, memory in MiB, compute capability.

    >>> _describe_gpu("Tesla T4, 15360, 7.5")
    'Tesla T4, 15 GiB, no bf16 (float16 is used)'
    """
    name, memory, capability = (part.strip() for part in line.rsplit(",", 2))
    try:
        size, bf16 = f"{int(memory) / 1024:.0f} GiB", float(capability) >= 8.0
    except ValueError:
        return line.strip()
    return f"{name}, {size}, {'bf16' if bf16 else 'no bf16 (float16 is used)'}"


def _packages(group: str, names: tuple[str, ...], pins: dict[str, str], *, needed: bool, fix: str) -> Iterator[Check]:
    for name in names:
        if not _installed(name):
            hint = f"{fix}  ({_CPU_HINT})" if name == "torch" else fix
            yield Check(group, name, "missing" if needed else "absent", "not installed", hint)
            continue
        version, pin = metadata.version(name), pins.get(name)
        # torch's wheels append their build after a plus sign
        if pin is None or version.partition("+")[0] == pin:
            yield Check(group, name, "ok", version)
        else:
            yield Check(group, name, "other", f"{version}; tested with {pin}", fix)


def _installed(name: str) -> bool:
    try:
        metadata.version(name)
    except metadata.PackageNotFoundError:
        return False
    return True


def _engine() -> Iterator[Check]:
    """Files that the ALFWorld engine loads and that a broken build lacks."""
    for package, file, what in (
        ("alfworld", "data/alfred.pddl", "domain"),
        ("alfworld", "data/alfred.twl2", "grammar"),
        ("fast_downward", "libdownward.so", "compiled state machine"),
    ):
        # find_spec does not import a top-level name
        spec = find_spec(package)
        if spec is None or spec.origin is None:
            continue  # reported above as not installed
        path = Path(spec.origin).parent / file
        if path.is_file():
            yield Check("engine", what, "ok", f"{package}/{file}")
        else:
            fix = f"{_pip()} --force-reinstall --no-deps -c constraints.txt alfworld fast_downward_textworld"
            yield Check("engine", what, "missing", f"{path} is missing", fix)


def _data() -> Iterator[Check]:
    try:
        folder = data_folder()
    except ActreError as error:
        yield Check("data", "data/", "missing", str(error), "git checkout -- data, or set ACTRE_DATA to it")
        return
    for name, part, pattern in (("games", "alfworld", "*.jsonl*"), ("tiny policy", "tiny", "model.safetensors")):
        files = sum(1 for path in walk(folder / part) if fnmatch(path.name, pattern))
        status: Status = "ok" if files else "missing"
        found = f"{files} file{'s' * (files != 1)} in {folder / part}"
        yield Check("data", name, status, found, "" if files else "git checkout -- data")
    for name, data in (("official games", official.games()), ("official shop", official.shop())):
        optional: Status = "other" if data.asked or data.there == "part" else "absent"
        yield Check("data", name, "ok" if data.there == "all" else optional, data.words, data.fix)


_MARK: dict[Status, str] = {"ok": "ok     ", "other": "look   ", "absent": "-      ", "missing": "MISSING"}


def as_text(checks: list[Check]) -> str:
    """The checks for a terminal, each problem followed by its fix."""
    lines: list[str] = []
    for group in dict.fromkeys(check.group for check in checks):
        lines += ["", group]
        for check in (check for check in checks if check.group == group):
            lines.append(f"  {_MARK[check.status]} {check.name:22} {check.found}")
            if check.fix and check.status != "absent":
                lines.append(f"{'':33}-> {check.fix}")
            elif check.fix:
                lines[-1] += f"  ({check.fix})"
    lost = {check.group for check in checks if check.status == "missing"}
    worlds = "The worlds can be played. " if lost == {"quickstart"} else ""
    lines += ["", f"{worlds}The quickstart cannot run: see MISSING above." if lost else "The quickstart can run."]
    return "\n".join(lines).lstrip("\n")


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add `doctor` to the command line."""
    parser = subparsers.add_parser(
        "doctor",
        help="show what is installed, what is missing, and how to fix it",
        description="Shows what is installed, what is missing, and the command that fixes it.",
    )
    parser.add_argument("--json", action="store_true", help="print the checks as JSON")
    parser.add_argument(
        "--preset", choices=PRESETS, help="instead, estimate the memory and time that these settings need here"
    )
    parser.add_argument(
        "--gpu-memory", type=of(Positive), metavar="GB", help="with --preset: assume a GPU with this much memory"
    )
    parser.add_argument("--env", default="alfworld", choices=ENV_NAMES, help="with --preset: the environment")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="with --preset: any setting, e.g. --set model.engine=vllm",
    )
    parser.add_argument(
        "--run", type=place, dest="folder", metavar="RUN", help="instead, compare a run with its estimate"
    )
    parser.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> int:
    if args.folder is not None:
        config = load_config(args.folder / "config.json")
        print(described_outcome(outcome(args.folder, config, on(here(), args.gpu_memory))))
        return 0
    if args.preset is not None:
        config = changed(preset(args.preset, args.env), args.set)
        device = on(here(), args.gpu_memory)
        if not device.gpu and args.preset in GPU_GB:
            print(
                f"no GPU here, and {args.preset} trains on one: actre doctor --preset {args.preset} --gpu-memory "
                f"{GPU_GB[args.preset]} estimates for a GPU with that many GB"
            )
            return 1
        found = estimate(config, device)
        print(described(config, found))
        return 0 if found.fits else 1
    checks = examine()
    if args.json:
        report = {"can_run": can_run(checks), "checks": [asdict(check) for check in checks]}
        print(json.dumps(report, indent=1))
    else:
        print(as_text(checks))
    return 0 if can_run(checks) else 1
