"""A shop's files are read by one reader: the same products or the same sentence, whoever asks."""

import gzip
import json
import math
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shops import HUMAN, INSTRUCTIONS, NOUNS, SHIRT, SOAP, write

from actre import cli
from actre.envs.webshop import WebshopEnv, files, open_catalogue, panels, read_catalogue
from actre.envs.webshop.files import read_json, stream
from actre.envs.webshop.importer import check, import_shop
from actre.envs.webshop.panel_env import PanelEnv
from actre.types import ActreError

FILES = {
    "items_shuffle": [SHIRT, SOAP],
    "items_ins_v2": INSTRUCTIONS,
    "items_human_ins": HUMAN,
    "nouns": {**NOUNS, "B000000001": ["soft", "shirt"]},
}
"""Every file of a shop, and what it holds: the word "soft" among other things."""


# --- entry points: each gives the number of products ---


def checked(folder: Path) -> int:
    found = check(folder)
    if found.problems:
        raise ActreError(found.problems[0].words)
    return found.products


def imported(folder: Path, in_memory: int) -> int:
    found = import_shop(folder, in_memory=in_memory).products
    assert len(open_catalogue(folder)) == found
    for path in (folder / "actre-cache").rglob("*"):
        path.unlink() if path.is_file() else None
    return found


def by_command(folder: Path, *words: str) -> int:
    """What a command says: its error, or (a number that it does not show) the number of products."""
    args = cli.build_parser("webshop").parse_args(["webshop", *words])
    code = args.run(args)
    if code:
        raise ActreError(check(folder).problems[0].words)
    return len(panels.shop_catalogue(str(folder)))


def entry_points(folder: Path) -> dict[str, Callable[[], int]]:
    panel = f"{folder}/paper-test"
    return {
        "check": partial(checked, folder),
        "import": partial(imported, folder, 10_000),
        "import to disk": partial(imported, folder, 0),
        "open": lambda: len(open_catalogue(folder)),
        "read": lambda: len(read_catalogue(folder, strict=False)),
        "environment": lambda: len(WebshopEnv(folder).catalogue),
        "panel": lambda: len(PanelEnv(panel).unwrapped.catalogue),  # type: ignore[attr-defined]
        "report": lambda: panels.report(str(folder)) and len(panels.shop_catalogue(str(folder))),
        "actre webshop check": partial(by_command, folder, "check", str(folder)),
        "actre webshop import": partial(by_command, folder, "import", str(folder)),
        "actre webshop report": partial(by_command, folder, "report", str(folder)),
        "actre webshop play": partial(by_command, folder, "play", panel),
    }


def answers(folder: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, int | str]:
    """By entry point, the number of products or the sentence of the refusal."""
    typed = iter(["search[shirt soap]", "click[b000000002]"])
    monkeypatch.setattr("builtins.input", lambda _: next(typed, "click[buy now]"))
    found: dict[str, int | str] = {}
    for name, ask in entry_points(folder).items():
        try:
            found[name] = ask()
        except ActreError as error:
            found[name] = str(error)
    return found


def one_answer(folder: Path, monkeypatch: pytest.MonkeyPatch) -> int | str:
    found = answers(folder, monkeypatch)
    assert len(set(found.values())) == 1, found
    return found["check"]


# --- kinds of files ---


def shop(folder: Path, name: str, raw: bytes) -> Path:
    """A shop with one file of these bytes."""
    write(folder)
    (folder / f"{name}.json").write_bytes(raw)
    return folder


def zipped(raw: bytes) -> bytes:
    return gzip.compress(raw, mtime=0)


ACCEPTED: dict[str, Callable[[str], bytes]] = {
    "plain": str.encode,
    "UTF-8 with a mark": lambda text: text.encode("utf-8-sig"),
    "UTF-16": lambda text: text.encode("utf-16"),
    "UTF-16, big end first": lambda text: b"\xfe\xff" + text.encode("utf-16-be"),
    "UTF-16 without a mark": lambda text: text.encode("utf-16-le"),
    "UTF-16 without a mark, big end first": lambda text: text.encode("utf-16-be"),
    "UTF-32": lambda text: text.encode("utf-32"),
    "UTF-32 without a mark": lambda text: text.encode("utf-32-be"),
    "letters of all sorts": lambda text: text.replace("soft", "söft 🧦 ").encode(),
    "a lone surrogate": lambda text: text.replace("soft", r"so\ud800ft").encode(),
    "a lone surrogate as bytes": lambda text: text.replace("soft", "so\ud800ft").encode("utf-8", "surrogatepass"),
    "lines": lambda text: json.dumps(json.loads(text), indent=1).encode(),
    "lines that end in CR LF": lambda text: json.dumps(json.loads(text), indent=1).replace("\n", "\r\n").encode(),
    "blanks around": lambda text: f" \r\n\t{text}\n\n ".encode(),
    "zipped, called .json": lambda text: zipped(text.encode()),
    "zipped, UTF-16": lambda text: zipped(text.encode("utf-16")),
    "zipped in two pieces": lambda text: zipped(text[:9].encode()) + zipped(text[9:].encode()),
}

REFUSED: dict[str, tuple[Callable[[str], bytes], str]] = {
    "empty": (lambda _: b"", r"is not JSON \(it is empty.*line 1 column 1 \(char 0\)"),
    "a mark alone": (lambda _: b"\xef\xbb\xbf", "is not JSON .*it is empty"),
    "blank": (lambda _: b" \n\n", r"is not JSON \(it is empty.*line 3 column 1 \(char 3\)"),
    "empty, zipped": (lambda _: zipped(b""), "is not JSON .*it is empty"),
    "text behind": (lambda text: f"{text}\n\n x".encode(), r"'x' after its end: line 3 column 2 \(char \d+\)"),
    "text behind, zipped": (lambda text: zipped(f"{text} x".encode()), r"'x' after its end: line 1 column \d+ "),
    "text behind, UTF-16": (lambda text: f"{text}\nx".encode("utf-16"), r"'x' after its end: line 2 column 1 "),
    "twice": (lambda text: f"{text}\n{text}".encode(), r"'[\[{]' after its end: line 2 column 1 "),
    "a zero behind": (lambda text: text.encode() + b"\0", r"'\\x00' after its end"),
    "two marks": (lambda text: b"\xef\xbb\xbf" + text.encode("utf-8-sig"), r"is not JSON .*line 1 column 1 \(char 0\)"),
    "cut off": (lambda text: text[:-1].encode(), "is not JSON"),
    "cut off in a word": (lambda text: text[: text.index("soft") + 2].encode(), "is not JSON .*Unterminated string"),
    "no JSON": (lambda _: b"hello", r"is not JSON \(.*line 1 column 1 \(char 0\)"),
    "null": (lambda _: b"null", "holds null, "),
    "a number": (lambda _: b" 12", "holds a int, "),
    "a text": (lambda text: json.dumps(text).encode(), "holds a str, "),
    "too deep": (lambda _: b'[{"a":' + b"[" * 200_000, "is not JSON .*recursion"),
    "too long a number": (lambda _: b"[" + b"1" * 5000 + b"]", "is not JSON .*digits|holds a list, not"),
    "latin-1": (
        lambda text: text.replace("soft", "söft").encode("latin-1"),
        r"is not UTF-8 \(byte 0xf6 at posi",
    ),
    "half a letter": (
        lambda text: text.encode() + b"\xc3",
        r"is not UTF-8 \(byte 0xc3 at position \d+: unexp",
    ),
    "half of UTF-16": (lambda text: text.encode("utf-16")[:-1], r"is not UTF-16 \(byte 0x\w\w at position \d+: trunc"),
    "zipped and cut off": (lambda text: zipped(text.encode())[:-12], "cannot be read .*: fetch it again"),
    "zipped and damaged": (lambda text: zipped(text.encode())[:20] + b"\xff" * 50, "cannot be read .*: fetch it again"),
    "zipped, text behind": (lambda text: zipped(text.encode()) + b"x", "cannot be read .*: fetch it again"),
    "a zip archive": (lambda _: b"PK\x03\x04\x14\0\0\0", "is not JSON|is not UTF-"),
}


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("kind", ACCEPTED)
def test_a_file_that_is_read_is_read_by_every_entry_point(
    kind: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = ACCEPTED[kind](json.dumps(FILES[name]))
    assert one_answer(shop(tmp_path, name, raw), monkeypatch) == 2


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("kind", REFUSED)
def test_a_file_that_is_refused_is_refused_by_every_entry_point_in_the_same_words(
    kind: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make, words = REFUSED[kind]
    said = str(one_answer(shop(tmp_path, name, make(json.dumps(FILES[name]))), monkeypatch))
    assert said.startswith(f"{tmp_path / name}.json: ")
    assert re.search(words, said)


@pytest.mark.parametrize("name", FILES)
def test_a_plain_file_may_be_called_gz(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path) / f"{name}.json"
    path.rename(f"{path}.gz")
    assert one_answer(tmp_path, monkeypatch) == 2


@pytest.mark.parametrize("name", FILES)
def test_a_folder_is_no_file(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path) / f"{name}.json"
    path.unlink()
    path.mkdir()
    assert re.search(f"{name}.json: cannot be read", str(one_answer(tmp_path, monkeypatch)))


ENTRIES: dict[str, tuple[list[Any], int | str]] = {
    "none": ([], r"items_shuffle.json: holds no product"),
    "none but those passed over": ([{**SHIRT, "asin": "nan"}, {**SOAP, "asin": "B" * 11}], r"holds no product"),
    "null": ([SHIRT, SOAP, None], r"entry 2: is null, not an object of fields$"),
    "a number": ([7, SHIRT], r"entry 0: is a int, not"),
    "a list": ([SHIRT, [SOAP]], r"entry 1: is a list, not"),
    "repeated": ([SHIRT, SOAP, SHIRT], 2),
    "repeated and wrong": ([SHIRT, SOAP, {"asin": "B000000001"}], 2),
    "passed over and wrong": ([SHIRT, {"asin": "nan"}, {"asin": "B" * 11}, SOAP], 2),
    "no asin": ([SHIRT, {"name": "x"}], r"entry 1: field 'asin': is missing$"),
    "wrong": ([SHIRT, {**SOAP, "name": None}], r"entry 1 \(B000000002\): field 'name': is null, not a string$"),
    "a rating of NaN": ([{**SHIRT, "average_rating": math.nan}, SOAP], 2),
    "a name of NaN": ([{**SHIRT, "name": math.nan}, SOAP], r"entry 0 \(B000000001\): field 'name': is a float, not"),
    "a price of NaN": ([SHIRT, {**SOAP, "pricing": math.nan}], r"entry 1 \(B000000002\): field 'pricing': is a float"),
    "an asin of NaN": ([SHIRT, {**SOAP, "asin": math.nan}], r"entry 1: field 'asin': is a float, not a string$"),
    "a lone surrogate": ([SHIRT, {**SOAP, "name": "rose \ud800", "asin": "\ud800", "full_description": "\udfff"}], 2),
    "an asin with line breaks": ([SHIRT, {**SOAP, "asin": 'a\n"\r\\\u2028'}], 2),
    "blank asins": ([{**SHIRT, "asin": ""}, {**SOAP, "asin": " "}], 2),
}


@pytest.mark.parametrize("kind", ENTRIES)
def test_entries_are_taken_passed_over_or_refused_alike(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    products, wanted = ENTRIES[kind]
    nouns = {str(p["asin"]): ["soap"] for p in products if isinstance(p, dict) and "asin" in p}
    asked = {asin: {"instruction": "Find me soap", "instruction_attributes": ["soft"]} for asin in nouns}
    said = one_answer(write(tmp_path, items_shuffle=products, items_ins_v2=asked, nouns=nouns), monkeypatch)
    assert said == wanted if isinstance(wanted, int) else re.search(wanted, str(said)), said


def test_entries_that_repeat_or_are_no_products_are_counted_alike(tmp_path: Path) -> None:
    repeated = {"asin": "B000000001"}
    folder = write(
        tmp_path, items_shuffle=[SHIRT, repeated, SOAP, {"asin": "nan"}, repeated, {**SOAP, "asin": "B" * 11}]
    )
    assert check(folder) == import_shop(folder)
    assert check(folder).skipped == 4


@pytest.mark.parametrize(
    "wrong", [("items_ins_v2", "items_human_ins", "nouns", "items_shuffle"), ("nouns", "items_shuffle")]
)
def test_where_several_files_are_wrong_the_same_is_named_first(
    wrong: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = one_answer(write(tmp_path, **dict.fromkeys(wrong, "hello")), monkeypatch)
    assert f"{wrong[0]}.json" in str(said)


def test_a_damaged_end_does_not_hide_the_wrong_entries_before_it(tmp_path: Path) -> None:
    folder = write(tmp_path, items_shuffle=json.dumps([SHIRT, 7, SOAP]) + "\nmore")
    found = check(folder)
    assert [problem.number for problem in found.problems] == [1, 3]
    assert "'m' after its end: line 2 column 1" in found.problems[1].words
    with pytest.raises(ActreError) as error:
        import_shop(folder)
    assert str(error.value) == found.problems[0].words


# --- against the standard library ---

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)
ENCODINGS = st.sampled_from(
    ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be", "latin-1"]
)


@st.composite
def json_bytes(draw: st.DrawFn) -> bytes:
    """A JSON value in some encoding, often damaged: cut off, or with a byte too many somewhere."""
    value = draw(st.lists(VALUES, max_size=4) | VALUES)
    blanks = st.text(" \t\r\n", max_size=3)
    text = draw(blanks) + json.dumps(value, ensure_ascii=draw(st.booleans()), indent=draw(st.none() | st.just(1)))
    raw = (text + draw(blanks)).encode(draw(ENCODINGS), "replace")
    match draw(st.sampled_from(["whole", "whole", "cut", "more", "changed"])), draw(st.integers(0, len(raw))):
        case "cut", at:
            return raw[:at]
        case "more", at:
            return raw[:at] + draw(st.binary(min_size=1, max_size=2)) + raw[at:]
        case "changed", at:
            return raw[:at] + draw(st.binary(min_size=1, max_size=1)) + raw[at + 1 :]
    return raw


def by_the_library(raw: bytes) -> Any:
    try:
        return repr(json.loads(raw))
    except ValueError:
        return None


def by_us(read: Callable[[Path], Any], path: Path) -> Any:
    try:
        return repr(read(path))
    except ActreError:
        return None


@settings(max_examples=200)
@given(json_bytes(), st.booleans(), st.sampled_from([1, 5, 1 << 20]))
def test_bytes_are_read_as_the_standard_library_reads_them(
    tmp_path_factory: pytest.TempPathFactory, raw: bytes, zip_it: bool, chunk: int
) -> None:
    path = tmp_path_factory.getbasetemp() / "drawn.json"
    path.write_bytes(zipped(raw) if zip_it else raw)
    wanted = by_the_library(raw)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(files, "_CHUNK", chunk)
        assert by_us(read_json, path) == wanted
        streamed = by_us(lambda path: list(stream(path)), path)
    assert streamed == (wanted if wanted is not None and wanted.startswith("[") else None)


@settings(max_examples=100)
@given(VALUES, st.text(" \r\n", max_size=4), st.sampled_from([1, 1 << 20]))
def test_the_place_of_an_error_is_the_standard_librarys(
    tmp_path_factory: pytest.TempPathFactory, value: Any, blanks: str, chunk: int
) -> None:
    text = json.dumps([value, value], indent=1) + blanks + "x"
    with pytest.raises(json.JSONDecodeError) as known:
        json.loads(text)
    place = str(known.value).removeprefix("Extra data: ")
    path = tmp_path_factory.getbasetemp() / "behind.json"
    path.write_text(text, newline="")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(files, "_CHUNK", chunk)
        for read in (read_json, lambda path: list(stream(path))):
            with pytest.raises(ActreError) as error:
                read(path)
            assert f"after its end: {place}" in str(error.value)
