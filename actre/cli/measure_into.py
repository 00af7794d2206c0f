"""Output folders of evaluations and diagnoses: a new one, or that of the run whose policy is measured.

Other folders are refused, so that a folder holds the results of one policy.
"""

from collections.abc import Collection
from pathlib import Path

from actre.config import RunConfig, load_config, save_config
from actre.config.overrides import unlike
from actre.runtime import outputs
from actre.types import ActreError

_QUICKSTART = "logs"
"""A folder that only a quickstart has; its runs lie in subfolders."""


def must_take(out: Path, config: RunConfig, adapter: Path | None, started: Collection[str] = ()) -> None:
    """Raises ActreError for a folder that holds anything but measurements with these settings or the policy's run.

    adapter: the policy's; None: the untrained policy, which may be measured in any run's folder. started: files that
    an interrupted command may leave before it writes the settings.
    """

    def own(folder: Path) -> bool:
        names = outputs.visible(folder)
        if "config.json" not in names:
            return names <= set(started)
        return outputs.holds_settings(folder) and _QUICKSTART not in names

    folder = outputs.growing(out, own, what="a run or a measurement")
    _must_be_alike(config, folder, out)
    if adapter is not None and outputs.is_trained(folder) and not _is_its_own(adapter, folder):
        raise outputs.refusal(out, f"holds a run, and {adapter} is not its adapter")


def must_be_the_runs(out: Path, adapter: Path | None, when: str) -> None:
    """Raises ActreError for an adapter evaluated as a run before training, and for no adapter as one after it."""
    if not outputs.is_trained(out) or (adapter is None) == (when == "before"):
        return
    played = "the untrained policy's" if adapter is None else f"of {adapter}"
    fix = f"add --adapter {out / 'adapter'}, or --when before" if adapter is None else "leave out --when before"
    raise outputs.refusal(out, f"holds a run, and its evaluation {when} training would be {played}: {fix}")


def keep_settings(config: RunConfig, out: Path) -> None:
    """Write the settings into the folder `out`, unless it has settings, which must agree.

    Raises ActreError if those have another model, environment, prompt or sampling.
    """
    if (out / "config.json").exists():
        _must_be_alike(config, out, out)
    else:
        save_config(config, out / "config.json")


def _must_be_alike(config: RunConfig, folder: Path, out: Path) -> None:
    path = folder / "config.json"
    if path.exists() and (others := unlike(load_config(path), config)):
        raise ActreError(
            f"{out} holds results with other settings ({'; '.join(others[:3])}), which are not overwritten: "
            "choose another --out"
        )


def _is_its_own(adapter: Path, run: Path) -> bool:
    """Whether an adapter has the weights of the run's adapter or, before that is saved, lies in the run's folder."""
    from actre.adapters.files import weights_digest

    if (run / "adapter" / "adapter_model.safetensors").is_file():
        return weights_digest(adapter) == weights_digest(run / "adapter")
    return adapter.resolve().is_relative_to(run.resolve())
