"""Importing: the streamed files are the files, the import is the shop, and bad files say where."""

import gzip
import json
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from actre.config import data_folder
from actre.envs.webshop import files, generate, importer
from actre.envs.webshop.catalogue import read_catalogue
from actre.envs.webshop.importer import check, find_files, import_shop, open_catalogue, stream
from actre.envs.webshop.store import StoredCatalogue, StoredProducts
from actre.types import ActreError

SHIPPED = data_folder() / "webshop"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for path in SHIPPED.glob("*.json.gz"):
        shutil.copy(path, tmp_path)
    return tmp_path


def entries(folder: Path, name: str = generate.PRODUCTS) -> Any:
    return json.loads(gzip.decompress((folder / f"{name}.json.gz").read_bytes()))


def rewrite(folder: Path, value: Any, name: str = generate.PRODUCTS) -> None:
    (folder / f"{name}.json.gz").write_bytes(gzip.compress(json.dumps(value).encode()))


# --- streaming ---


@pytest.mark.parametrize("chunk", [1, 7, 1000, 1 << 20])
@pytest.mark.parametrize("text", ["[]", ' [ {"a": "]} é"} ,\n{"b": [1, 2]}]\n', '[{"a": 1}]', '[{"a": "x\\"y"}, {}]'])
def test_a_streamed_list_is_the_list_whatever_the_chunks(
    text: str, chunk: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "_CHUNK", chunk)
    (tmp_path / "x.json").write_text(text, encoding="utf-8")
    (tmp_path / "x.json.gz").write_bytes(gzip.compress(text.encode()))
    assert list(stream(tmp_path / "x.json")) == list(stream(tmp_path / "x.json.gz")) == json.loads(text)


def test_progress_adds_up_to_the_files_size(folder: Path) -> None:
    told: list[int] = []
    path = folder / f"{generate.PRODUCTS}.json.gz"
    assert sum(1 for _ in stream(path, told.append)) == generate.SHIPPED_PRODUCTS
    assert sum(told) == path.stat().st_size


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('[{"a": 1}, {"b": ]', "entry 1"),
        ('[{"a": 1} {"b": 2}]', "after entry 0"),
        ('[{"a": 1}', "after entry 0"),
        ('[{"a": 1},', "entry 1"),
        ('{"a": 1}', "not a list of products"),
        ("", "no list of products"),
    ],
)
def test_a_damaged_list_names_file_and_entry(text: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "bad.json").write_text(text)
    with pytest.raises(ActreError, match=words) as error:
        list(stream(tmp_path / "bad.json"))
    assert "bad.json" in str(error.value)


def test_a_cut_off_archive_names_the_file(folder: Path) -> None:
    path = folder / f"{generate.PRODUCTS}.json.gz"
    path.write_bytes(path.read_bytes()[:20_000])
    with pytest.raises(ActreError, match=r"items_shuffle\.json\.gz.*fetch it again"):
        list(stream(path))


# --- importing ---


def same(stored: Any, plain: Any) -> None:
    fields = list(type(plain.products[0]).__dataclass_fields__)
    assert list(stored.by_asin) == list(plain.by_asin)
    for ours, theirs in zip(stored.products, plain.products, strict=True):
        assert [getattr(ours, f) for f in fields] == [getattr(theirs, f) for f in fields]
        assert list(ours.options) == list(theirs.options)
    assert dict(stored.nouns) == dict(plain.nouns)
    for query in ("gluten free granola", "find me running shoes with rubber sole", "nothing like it", ""):
        assert stored.index.search(query) == plain.index.search(query)


@pytest.mark.parametrize("in_memory", [0, 10_000])
def test_an_import_is_the_same_shop_from_disk_and_from_memory(folder: Path, in_memory: int) -> None:
    plain = read_catalogue(folder)
    report = import_shop(folder, in_memory=in_memory)
    opened = open_catalogue(folder)
    assert isinstance(opened, StoredCatalogue) == (in_memory == 0)
    same(opened, plain)
    assert report.products == report.with_nouns == len(plain) == 320
    assert report.instructions == sum(p.instruction is not None for p in plain.products)
    assert opened.products[-1].asin == plain.products[-1].asin
    assert [p.asin for p in opened.products[:3]] == [p.asin for p in plain.products[:3]]


def test_a_folder_that_was_not_imported_or_has_changed_is_read_anew(folder: Path) -> None:
    import_shop(folder, in_memory=0)
    products = entries(folder)
    rewrite(folder, products[:40])
    catalogue = open_catalogue(folder)
    assert len(catalogue) == 40
    assert not isinstance(catalogue, StoredCatalogue)


def test_an_interrupted_import_leaves_nothing_that_passes_for_one(folder: Path) -> None:
    import_shop(folder, in_memory=0)
    products = entries(folder)
    products[200]["name"] = 7
    rewrite(folder, products)
    with pytest.raises(ActreError, match=r"entry 200.*'name'"):
        import_shop(folder, in_memory=0)
    cache = folder / importer.CACHE / generate.PRODUCTS
    assert not (cache / "import.json").exists()
    with pytest.raises(ActreError, match="actre webshop import"):
        StoredProducts(cache)


def test_a_tagger_makes_the_noun_table_where_there_is_none(folder: Path) -> None:
    (folder / "nouns.json.gz").unlink()

    def tag(names: Iterable[str]) -> Iterator[list[str]]:
        return ([name.split()[0].lower()] for name in names)

    assert import_shop(folder).with_nouns == 0
    assert dict(open_catalogue(folder).nouns) == {}
    assert import_shop(folder, tag=tag).with_nouns == 320
    catalogue = open_catalogue(folder)
    assert all(catalogue.nouns_of(p.asin) == (p.name.split()[0].lower(),) for p in catalogue.products)


def test_entries_the_original_passes_over_are_counted(folder: Path) -> None:
    products = entries(folder)
    rewrite(folder, [*products, products[0], {**products[1], "asin": "nan"}, {**products[2], "asin": "B" * 11}])
    assert import_shop(folder).skipped == 3
    assert check(folder).skipped == 3
    assert len(open_catalogue(folder)) == 320


# --- checking ---


def test_a_sound_folder_has_no_problems_and_its_counts_are_those_of_the_import(folder: Path) -> None:
    assert check(folder) == import_shop(folder)


def test_check_names_entry_and_field_of_every_problem_and_goes_on(folder: Path) -> None:
    products = entries(folder)
    del products[3]["name"]
    products[5]["small_description"] = [1]
    products[9] = "B00"
    products[11]["customization_options"] = {"color": [{"price": 1}]}
    rewrite(folder, products)
    problems = check(folder).problems
    assert [p.number for p in problems] == [3, 5, 9, 11]
    for problem, field in zip(problems, ("name", "small_description", "not an object", "color"), strict=True):
        assert f"entry {problem.number}" in problem.words
        assert field in problem.words
        assert "items_shuffle.json.gz" in problem.words
    assert len(check(folder, most=2).problems) == 2


def test_missing_files_say_which(tmp_path: Path, folder: Path) -> None:
    with pytest.raises(ActreError, match="not a folder"):
        find_files(tmp_path / "none")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ActreError, match=r"items_shuffle\.json"):
        find_files(tmp_path / "empty")
    (folder / f"{generate.INSTRUCTIONS}.json.gz").unlink()
    with pytest.raises(ActreError, match=r"items_ins_v2\.json"):
        find_files(folder)


def test_a_store_whose_files_do_not_fit_is_refused(folder: Path) -> None:
    import_shop(folder, in_memory=0)
    cache = folder / importer.CACHE / generate.PRODUCTS
    with (cache / "products.jsonl").open("ab") as file:
        file.write(b"more")
    with pytest.raises(ActreError, match="do not match"):
        open_catalogue(folder)
