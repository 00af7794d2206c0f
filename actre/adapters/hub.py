"""Uploads an exported folder to the Hugging Face hub.

Tested against a fake of the hub's HTTP interface (tests/adapters/test_hub.py), not against the hub itself.
"""

import json
import re
from pathlib import Path

from actre.adapters.standalone import BASE
from actre.config.model_names import is_local, shown
from actre.runtime.outputs import NOTE
from actre.types import ActreError

_NAME = re.compile(r"[\w.-]+/[\w.-]+")
_NAMING = {"adapter_config.json": "base_model_name_or_path", "actre.json": "base", "config.json": "_name_or_path"}
"""File -> its entry with the base model's name, which for a local folder is a path on this machine."""
_LOG_IN = "run `hf auth login` with a write token"


def push(folder: str | Path, repository: str, *, private: bool = True) -> str:
    """Upload the folder's files to OWNER/NAME, creating the repository if necessary; returns the commit's URL.

    A base model in a local folder is published without its path. private: applies to a new repository. Raises
    ActreError, with nothing uploaded, for a bad name, a folder without weights, a missing token, and if the hub refuses
    or cannot be reached.
    """
    folder = Path(folder)
    if not _NAME.fullmatch(repository):
        raise ActreError(f"{repository!r} is not the name of a repository: write OWNER/NAME")
    if not any(folder.glob("*.safetensors")):
        raise ActreError(f"{folder} holds no weights to upload: make one with `actre export`")
    import httpx
    from huggingface_hub import CommitOperationAdd, HfApi, get_token
    from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

    if get_token() is None:
        raise ActreError(f"there is no token for the hub: {_LOG_IN}")
    api = HfApi()
    try:
        api.create_repo(repository, private=private, exist_ok=True)
        files = [file for file in sorted(folder.rglob("*")) if file.is_file() and file.name != NOTE]
        added = [CommitOperationAdd(file.relative_to(folder).as_posix(), _for_others(file)) for file in files]
        done = api.create_commit(repository, added, commit_message="Export of ActRe Lab")
    except HfHubHTTPError as error:
        status = error.response.status_code if error.response is not None else "no answer"
        fix = f": {_LOG_IN} for {repository.partition('/')[0]}" if status in (401, 403) else ""
        raise ActreError(f"the hub refused {repository} ({status}: {_first_line(error)}){fix}") from error
    except (OfflineModeIsEnabled, httpx.HTTPError, OSError) as error:
        raise ActreError(
            f"the hub cannot be reached ({_first_line(error)}); the export is in {folder}; run the same command to "
            "try again"
        ) from error
    return str(done.commit_url)


def _for_others(file: Path) -> Path | bytes:
    """The file to upload, or its text with a local base model's path replaced by the folder's name."""
    key = _NAMING.get(file.name)
    if key is None:
        return file
    settings = json.loads(file.read_text())
    name = settings.get(key)
    if not isinstance(name, str) or name in ("", BASE) or not is_local(name):
        return file
    return (json.dumps({**settings, key: shown(name)}, indent=2) + "\n").encode()


def _first_line(error: Exception) -> str:
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__
