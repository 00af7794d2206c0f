"""Puts an exported folder on a model hub, and says what went wrong where that fails.

Knows huggingface_hub; no model. What is in the folder was written, and checked, elsewhere. Has run against a stand-in
for the hub's HTTP interface (tests/test_hub.py), not against the hub itself.
"""

import re
from pathlib import Path

from actre.outputs import NOTE
from actre.types import ActreError

_NAME = re.compile(r"[\w.-]+/[\w.-]+")
_LOG_IN = "`hf auth login` with a token that may write"


def push(folder: str | Path, repository: str, *, private: bool = True) -> str:
    """Upload the folder's files to OWNER/NAME, which is made if it is not there; returns the address of the commit.

    private: for a repository that is made now. Raises ActreError for a bad name, an empty folder, without a token,
    where the hub refuses, and where it cannot be reached; nothing was uploaded then.
    """
    folder = Path(folder)
    if not _NAME.fullmatch(repository):
        raise ActreError(f"{repository!r} is no name for a repository: OWNER/NAME is wanted")
    if not any(folder.glob("*.safetensors")):
        raise ActreError(f"{folder} holds no weights to push: `actre export` writes such a folder")
    import httpx
    from huggingface_hub import HfApi, get_token
    from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

    if get_token() is None:
        raise ActreError(f"no token for the hub is here: {_LOG_IN}")
    api = HfApi()
    try:
        api.create_repo(repository, private=private, exist_ok=True)
        done = api.upload_folder(
            repo_id=repository, folder_path=folder, commit_message="Export of ActRe Lab", ignore_patterns=[NOTE]
        )
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


def _first_line(error: Exception) -> str:
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__
