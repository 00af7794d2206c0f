"""Puts an exported folder on a model hub, and says what went wrong where that fails.

Knows huggingface_hub; no model. What is in the folder was written, and checked, elsewhere. Has run against a stand-in
for the hub's HTTP interface (tests/adapters/test_hub.py), not against the hub itself.
"""

import json
import re
from pathlib import Path

from actre.config.model_names import is_local, shown
from actre.runtime.outputs import NOTE
from actre.types import ActreError

_NAME = re.compile(r"[\w.-]+/[\w.-]+")
_NAMING = {"adapter_config.json": "base_model_name_or_path", "actre.json": "base", "config.json": "_name_or_path"}
"""Which entry of which file names the base model, with its path on this machine where it is a local folder."""
_LOG_IN = "`hf auth login` with a token that may write"


def push(folder: str | Path, repository: str, *, private: bool = True) -> str:
    """Upload the folder's files to OWNER/NAME, which is made if it is not there; returns the address of the commit.

    A base model in a local folder is named there without its path. private: for a repository that is made now.
    Raises ActreError for a bad name, an empty folder, without a token, where the hub refuses, and where it cannot be
    reached; nothing was uploaded then.
    """
    folder = Path(folder)
    if not _NAME.fullmatch(repository):
        raise ActreError(f"{repository!r} is no name for a repository: OWNER/NAME is wanted")
    if not any(folder.glob("*.safetensors")):
        raise ActreError(f"{folder} holds no weights to push: `actre export` writes such a folder")
    import httpx
    from huggingface_hub import CommitOperationAdd, HfApi, get_token
    from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

    if get_token() is None:
        raise ActreError(f"no token for the hub is here: {_LOG_IN}")
    api = HfApi()
    try:
        api.create_repo(repository, private=private, exist_ok=True)
        files = [file for file in sorted(folder.rglob("*")) if file.is_file() and file.name != NOTE]
        added = [CommitOperationAdd(file.relative_to(folder).as_posix(), _for_others(file)) for file in files]
        done = api.create_commit(repository, added, commit_message="Export of ActRe Lab")
    except HfHubHTTPError as error:
        status = error.response.status_code if error.response is not None else "no answer"
        mend = f": {_LOG_IN} to {repository.partition('/')[0]}" if status in (401, 403) else ""
        raise ActreError(f"the hub refused {repository} ({status}: {_first_line(error)}){mend}") from error
    except (OfflineModeIsEnabled, httpx.HTTPError, OSError) as error:
        raise ActreError(
            f"the hub cannot be reached ({_first_line(error)}); what was exported is in {folder}, and the same command "
            "tries again"
        ) from error
    return str(done.commit_url)


def _for_others(file: Path) -> Path | bytes:
    """What is uploaded of a file: the file, or its text with a local base model's own name in place of its path."""
    key = _NAMING.get(file.name)
    if key is None:
        return file
    settings = json.loads(file.read_text())
    name = settings.get(key)
    if not isinstance(name, str) or not name or not is_local(name):
        return file
    return (json.dumps({**settings, key: shown(name)}, indent=2) + "\n").encode()


def _first_line(error: Exception) -> str:
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__
