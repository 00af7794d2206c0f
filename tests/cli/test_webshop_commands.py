"""`actre webshop`: each verb does what it says, on a terminal that nobody watches."""

import gzip
import json
import shutil
from pathlib import Path

import pytest

from actre import cli
from actre.config import data_folder
from actre.envs.webshop import generate

SHIPPED = data_folder() / "webshop"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    shutil.copytree(SHIPPED, tmp_path / "shop")
    return tmp_path / "shop"


def said(capsys: pytest.CaptureFixture[str]) -> str:
    return capsys.readouterr().out


def test_generate_writes_a_shop_that_check_finds_sound(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["webshop", "generate", "--n", "40", "--seed", "3", "--out", str(tmp_path)]) == 0
    assert f"actre webshop check {tmp_path}" in said(capsys)
    assert cli.main(["webshop", "check", str(tmp_path)]) == 0
    assert "40 products (0 entries skipped)" in said(capsys)


def test_generate_shipped_makes_the_shipped_shop(tmp_path: Path) -> None:
    assert cli.main(["webshop", "generate", "--shipped", "--out", str(tmp_path)]) == 0
    assert generate.digest(tmp_path) == generate.digest(SHIPPED)


def test_generate_without_a_folder_says_how(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["webshop", "generate"]) == 2
    assert "--out my-shop" in capsys.readouterr().err


def test_check_of_the_shipped_shop_needs_no_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["webshop", "check"]) == 0
    assert "320 products" in said(capsys)


def test_check_shows_what_is_wrong_and_fails(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = folder / f"{generate.PRODUCTS}.json.gz"
    products = json.loads(gzip.decompress(path.read_bytes()))
    products[17]["customization_options"] = []
    products[18]["customization_options"] = ["red"]
    path.write_bytes(gzip.compress(json.dumps(products).encode()))
    assert cli.main(["webshop", "check", str(folder)]) == 1
    out = said(capsys)
    assert "entry 18" in out
    assert "customization_options" in out
    assert "1 invalid entries" in out


def test_import_keeps_an_index_beside_the_files(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["webshop", "import", str(folder)]) == 0
    assert "320 in the noun table" in said(capsys)
    assert (folder / "actre-cache" / "items_shuffle" / "index.npz").exists()


def test_import_without_nouns_says_what_cannot_be_done(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "nouns.json.gz").unlink()
    assert cli.main(["webshop", "import", str(folder), "--no-nouns"]) == 0
    assert "320 names have no nouns on record" in said(capsys)


def test_report_shows_the_leak_of_one_split_and_not_of_the_other(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["webshop", "report"]) == 0
    lines = {line.split()[0]: line for line in said(capsys).splitlines() if line.startswith("shop/")}
    assert "  0.0% of goals by product" in lines["shop/unseen"]
    assert "100.0% of goals by product" in lines["shop/seen"]
    assert lines["shop/paper-test"].split()[1] == "500"


def test_a_purchase_can_be_made_by_hand(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    typed = iter(["?", "search[granola]", "click[next >]", "click[< prev]", "", "hm", "OPEN", "click[buy now]"])
    shown: list[str] = []

    def answer(_: str) -> str:
        shown.append(capsys.readouterr().out)
        word = next(typed)
        if word != "OPEN":
            return word
        listed = shown[-1].split(" [SEP] ")
        return f"click[{next(text for text in listed if len(text) == 10 and text.isupper())}]"

    monkeypatch.setattr("builtins.input", answer)
    assert cli.main(["webshop", "play"]) == 0
    assert "search[<query>]" in shown[1]
    assert "Page 2" in shown[3]
    assert "bought in 6 steps" in said(capsys)


def test_leaving_the_shop_is_no_error(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def leave(_: str) -> str:
        raise EOFError

    monkeypatch.setattr("builtins.input", leave)
    assert cli.main(["webshop", "play", "shop/unseen", "--mode", "text_rich"]) == 0
    assert "shop left" in said(capsys)


def test_play_ends_with_the_purchase_or_the_limit(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("builtins.input", lambda _: "search[granola]")
    assert cli.main(["webshop", "play", "--max-steps", "2"]) == 0
    assert "nothing bought in 2 steps" in said(capsys)
