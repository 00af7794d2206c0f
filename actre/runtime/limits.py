"""The device of this machine, and estimates in words (computed in estimate.py).

Uses nvidia-smi and /proc instead of torch, so that it is fast and works on a broken installation.
"""

import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

from actre.config import RunConfig
from actre.runtime.estimate import Device, Estimate, Outcome, cpu, gpu, remedy
from actre.runtime.price import ARMS, SEEDS, price

_QUERY = ["nvidia-smi", "--query-gpu=name,memory.total,compute_cap", "--format=csv,noheader,nounits"]


def here() -> Device:
    """The first GPU of this machine, else its CPU with the free memory."""
    found = gpus()
    if found:
        return found[0]
    asked = (
        os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    )  # may be a list, one number per nesting level
    threads = int(asked) if asked.isdigit() else cores()
    return cpu(memory_gb() or 8.0, max(1, min(threads, cores())))


def cores() -> int:
    """Cores available to this process; in a container or batch job fewer than the machine has."""
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def processor() -> str:
    """The CPU's name, or its architecture if the name is unknown."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.processor() or platform.machine()


def multiplies_bfloat16(cpuinfo: Path = Path("/proc/cpuinfo")) -> bool | None:
    """Whether the CPU has instructions for products in bfloat16 (AVX512-BF16, AMX); None if unknown on this system."""
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    flags = [line.partition(":")[2].split() for line in lines if line.startswith("flags")]
    return not {"avx512_bf16", "amx_bf16"}.isdisjoint(flags[0]) if flags else None


def memory_gb() -> float | None:
    """Free memory in GB; None if unknown."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return None
    fields = {name: value for name, _, value in (line.partition(":") for line in lines)}
    return int(fields["MemAvailable"].split()[0]) * 1024 / 1e9 if "MemAvailable" in fields else None


def gpus() -> list[Device]:
    """The GPUs of this machine that nvidia-smi names; empty without one."""
    if shutil.which("nvidia-smi") is None:
        return []
    try:
        answer = subprocess.run(_QUERY, capture_output=True, text=True, check=False, timeout=5)
    except (OSError, subprocess.TimeoutExpired):
        return []
    lines = answer.stdout.strip().splitlines() if answer.returncode == 0 else []
    return [found for line in lines if (found := _parsed(line)) is not None]


def _parsed(line: str) -> Device | None:
    """
    >>> _parsed("Tesla T4, 15360, 7.5")[:3]
    ('Tesla T4', True, 16.10612736)
    """
    name, memory, capability = (part.strip() for part in line.rsplit(",", 2))
    try:
        return gpu(name, int(memory) * 1024**2 / 1e9, bf16=float(capability) >= 8.0)
    except ValueError:
        return None


def described(config: RunConfig, found: Estimate) -> str:
    """An estimate for a terminal; the last line states whether it fits."""
    work, device = found.work, found.device
    episodes = config.optim.groups * config.optim.group_size
    cost = price(config, device, found)
    lines = [
        f"{config.preset}: {config.model.name} on {device.name}, {device.memory_gb:.0f} GB",
        f"  assumed: {episodes} episodes of {work.steps:.0f} steps, replies of {work.reply_tokens:.0f} tokens, "
        f"micro-batches of {config.optim.micro_batch_tokens} tokens",
        f"  memory: weights {found.weights_gb:.1f} GB; during episodes {found.rollout_gb:.1f} GB; "
        f"during updates {found.update_gb:.1f} GB",
        f"  time per iteration: {_time(found.rollout_s)} for episodes, {_time(found.update_s)} for updates; "
        f"{cost.iterations} iterations: {hours(cost.train_h)}",
        f"  price: {hours(cost.arm_h)} an arm with its evaluation; {hours(cost.pair_h)} both arms of one seed; "
        f"{hours(cost.verdict_h)} a verdict ({ARMS} arms, {SEEDS} seeds, one after the other)",
    ]
    if found.engine_gb:
        lines.insert(3, f"  of these, vLLM holds {found.engine_gb:.1f} GB throughout")
    if device.gpu:
        lines.append("  GPU speeds are the specified ones times 0.35, not measured")
    lines.append("  it fits" if found.fits else f"  it does NOT fit: {remedy(config, found)}")
    return "\n".join(lines)


def described_outcome(found: Outcome) -> str:
    """A comparison of an estimate with its run, for a terminal."""
    rows = [
        ("episodes, s", found.rollout_s, found.before.rollout_s, found.again.rollout_s),
        ("updates, s", found.update_s, found.before.update_s, found.again.update_s),
    ]
    if found.memory_gb is not None:
        rows.append(("memory, GB", found.memory_gb, found.before.memory_gb, found.again.memory_gb))
    lines = [
        f"{found.iterations} iterations (medians; memory: peak), the estimate before the run, and the estimate with "
        "the measured steps and tokens:",
        f"  {'':14}{'measured':>10}{'estimated':>11}{'ratio':>7}{'with its work':>15}{'ratio':>7}",
    ]
    for name, measured, before, again in rows:
        lines.append(
            f"  {name:14}{measured:10.2f}{before:11.2f}{before / max(measured, 1e-9):7.2f}{again:15.2f}"
            f"{again / max(measured, 1e-9):7.2f}"
        )
    return "\n".join(lines)


def on(device: Device, memory: float | None) -> Device:
    """The device with this much GPU memory, or an assumed GPU if it has none. memory: None for the device as it is.

    >>> on(cpu(8.0, 1), 24.0).name, on(cpu(8.0, 1), None).gpu
    ('a GPU (speeds of an A10)', False)
    """
    if memory is None:
        return device
    return (device if device.gpu else gpu("a GPU (speeds of an A10)", memory))._replace(memory_gb=memory)


def hours(number: float) -> str:
    """
    >>> hours(0.72), hours(31.7)
    ('0.7 h', '32 h')
    """
    return f"{number:.1f} h" if number < 10 else f"{number:.0f} h"


def _time(seconds: float) -> str:
    """
    >>> _time(5.7), _time(694.6), _time(9000)
    ('6 s', '12 min', '2.5 h')
    """
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
