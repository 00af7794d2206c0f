"""Pushing: what the hub is asked for, byte for byte, and what is said where it refuses.

The stand-in is at the lowest level there is without a network: it answers huggingface_hub's HTTP requests. The hub
itself was not asked.
"""

import base64
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import huggingface_hub
import pytest

from actre.adapters import hub
from actre.types import ActreError


class Hub:
    """Answers as the hub does for a repository of regular files, and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[httpx.Request] = []
        self.files: dict[str, bytes] = {}
        self.refuse: int | None = None

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        path = request.url.path
        if self.refuse is not None:
            return httpx.Response(self.refuse, json={"error": "no"}, request=request)
        if path == "/api/repos/create":
            return httpx.Response(200, json={"url": "https://huggingface.co/me/it"}, request=request)
        if path == "/api/validate-yaml":  # a card's header
            return httpx.Response(200, json={"errors": [], "warnings": []}, request=request)
        if path == "/api/models/me/it/preupload/main":
            wanted = json.loads(request.content)["files"]
            files = [{"path": f["path"], "uploadMode": "regular", "shouldIgnore": False} for f in wanted]
            return httpx.Response(200, json={"files": files}, request=request)
        if path == "/api/models/me/it/commit/main":
            for line in map(json.loads, request.content.splitlines()):
                if line["key"] == "file":
                    self.files[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
            done = {"commitUrl": "https://huggingface.co/me/it/commit/abc", "commitOid": "abc"}
            return httpx.Response(200, json=done, request=request)
        if path == "/api/models/me/it":
            return httpx.Response(200, json={"id": "me/it", "sha": "0" * 40, "siblings": []}, request=request)
        return httpx.Response(404, json={"error": path}, request=request)


def _answering(monkeypatch: pytest.MonkeyPatch, handler: Callable[[httpx.Request], httpx.Response]) -> None:
    monkeypatch.setattr(huggingface_hub, "get_token", lambda: "hf_stand_in")
    huggingface_hub.set_client_factory(lambda: httpx.Client(transport=httpx.MockTransport(handler)))


@pytest.fixture
def standing(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    one = Hub()
    _answering(monkeypatch, one)
    yield one
    from huggingface_hub.utils._http import default_client_factory

    huggingface_hub.set_client_factory(default_client_factory)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "adapter_model.safetensors").write_bytes(bytes(range(256)))
    (tmp_path / "README.md").write_text("the card")
    return tmp_path


def test_every_file_arrives_as_it_is_in_a_private_repository(standing, folder):
    assert hub.push(folder, "me/it") == "https://huggingface.co/me/it/commit/abc"
    assert standing.files == {"adapter_model.safetensors": bytes(range(256)), "README.md": b"the card"}
    made = json.loads(standing.asked[0].content)
    assert (made["name"], made["organization"], made["visibility"]) == ("it", "me", "private")


@pytest.mark.parametrize(
    ("name", "shown"), [("/home/somebody/my-model", "my-model"), ("owner/model", "owner/model"), ("tiny", "tiny")]
)
def test_a_local_base_model_is_uploaded_by_its_name_without_its_path(standing, folder, name, shown):
    about = {"base": name, "fingerprint": "f"}
    (folder / "actre.json").write_text(json.dumps(about))
    (folder / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": name, "r": 4}))
    (folder / "config.json").write_text(json.dumps({"model_type": "llama"}))
    hub.push(folder, "me/it")
    assert json.loads(standing.files["actre.json"]) == {"base": shown, "fingerprint": "f"}
    assert json.loads(standing.files["adapter_config.json"]) == {"base_model_name_or_path": shown, "r": 4}
    assert json.loads(standing.files["config.json"]) == {"model_type": "llama"}
    assert json.loads((folder / "actre.json").read_text()) == about, "here it keeps its path, by which it is found"


def test_a_base_inside_the_export_is_uploaded_and_keeps_its_place(standing, folder):
    (folder / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": "./base"}))
    (folder / "base").mkdir()
    (folder / "base" / "model.safetensors").write_bytes(b"weights")
    hub.push(folder, "me/it")
    assert json.loads(standing.files["adapter_config.json"]) == {"base_model_name_or_path": "./base"}
    assert standing.files["base/model.safetensors"] == b"weights"


def test_a_public_repository_is_made_only_where_that_is_asked_for(standing, folder):
    hub.push(folder, "me/it", private=False)
    assert json.loads(standing.asked[0].content)["visibility"] == "public"


@pytest.mark.parametrize(("status", "said"), [(401, "hf auth login"), (403, "hf auth login"), (500, "500")])
def test_a_refusal_says_what_to_do(standing, folder, status, said, monkeypatch):
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    standing.refuse = status
    with pytest.raises(ActreError, match=said):
        hub.push(folder, "me/it")
    assert standing.files == {}


def test_without_a_network_the_export_is_said_to_be_there(standing, folder, monkeypatch):
    def broken(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("no route", request=request)

    monkeypatch.setattr("time.sleep", lambda seconds: None)
    _answering(monkeypatch, broken)
    with pytest.raises(ActreError, match="same command to try again"):
        hub.push(folder, "me/it")


def test_nothing_is_asked_of_the_hub_for_a_bad_name_no_weights_or_no_token(standing, folder, monkeypatch, tmp_path):
    with pytest.raises(ActreError, match="OWNER/NAME"):
        hub.push(folder, "it")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ActreError, match="no weights"):
        hub.push(tmp_path / "empty", "me/it")
    monkeypatch.setattr(huggingface_hub, "get_token", lambda: None)
    with pytest.raises(ActreError, match="hf auth login"):
        hub.push(folder, "me/it")
    assert standing.asked == []
