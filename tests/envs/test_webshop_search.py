"""The shop's search: words as Lucene's, stems as nltk's, scores worked out by hand."""

import itertools
import math
import random
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actre.envs.webshop import read_catalogue, search
from actre.envs.webshop.analyzer import _ascii_words, _words, tokens
from actre.envs.webshop.search import Index, quantize_length
from actre.envs.webshop.stemmer import _STEP_2, _STEP_3, _STEP_4, stem
from actre.types import ActreError

DOCUMENTS = [("b", "red shoes for women"), ("c", "a blue shoe"), ("a", "blue shoes shoes"), ("d", "green tea")]


@given(st.text(st.characters(max_codepoint=127), max_size=40))
def test_the_fast_words_of_ascii_are_the_words_of_unicode(text: str) -> None:
    assert _ascii_words(text) == _words(text)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("The women's t-shirt, 10.5in x 3,000 (U.S.A.)", ["women", "t", "shirt", "10.5in", "x", "3,000", "u.s.a"]),
        ("don't o'clock’s a:b 1:2 x_y _z", ["don't", "o'clock", "a:b", "1", "2", "x_y", "_z"]),
        ("日本ひらカタカナ한국", ["日", "本", "ひ", "ら", "カタカナ", "한국"]),
        ("tea 🍵 👩‍👩‍👧 🇯🇵 café naïve", ["tea", "🍵", "👩‍👩‍👧", "🇯🇵", "café", "naïv"]),
        ("to be or not to be", []),
        ("", []),
        ("x" * 600, ["x" * 255, "x" * 255, "x" * 90]),
    ],
)
def test_words_are_cut_as_lucenes_analyzer_cuts_them(text: str, wanted: list[str]) -> None:
    assert tokens(text) == wanted


def test_stems_are_those_of_nltk(root: Path) -> None:
    porter = pytest.importorskip("nltk.stem.porter", reason="the reference stemmer is missing: make test").PorterStemmer
    theirs = porter(mode="MARTIN_EXTENSIONS")
    rng = random.Random(0)
    endings = [*_STEP_2, *_STEP_3, *_STEP_4, "s", "es", "ed", "ing", "eed", "y", "e", "ll", "ies", "sses", ""]
    words = {word for p in read_catalogue(root / "data" / "webshop").products for word in p.index_text.split()}
    words |= {"".join(letters) for letters in itertools.product("aeysltn", repeat=4)}
    for _ in range(20_000):
        start = "".join(rng.choices("bcdaeiouylst", k=rng.randint(1, 6)))
        words.add(start + rng.choice(endings) + rng.choice(endings))
    words = {word for word in words if len(word) > 2}
    assert {word: stem(word) for word in words} == {word: theirs.stem(word, to_lowercase=False) for word in words}


def test_a_score_is_bm25_with_the_length_that_one_byte_keeps() -> None:
    filler = "tea " * 40
    index = Index.build([("a", "shoe " + filler), ("b", "shoe shoe " + filler + "tea"), ("c", "hat")])
    found, scores = index.scored("shoe")
    mean = (41 + 43 + 1) / 3
    idf = math.log(1 + (3 - 2 + 0.5) / (2 + 0.5))
    # both lengths, 41 and 43, are remembered as 40 and 42: one of two, above 40
    once, twice = (
        idf * tf / (tf + 0.9 * (0.6 + 0.4 * kept / mean)) for tf, kept in ((1, quantize_length(41)), (2, 42))
    )
    assert [quantize_length(n) for n in (41, 42, 43)] == [40, 42, 42]
    assert found.tolist() == [1, 0]
    assert scores == pytest.approx([twice, once], rel=1e-6)


def test_equal_scores_are_ordered_by_id_and_hits_are_positions() -> None:
    index = Index.build([("z", "tea"), ("m", "tea"), ("a", "tea"), ("b", "soap")])
    assert index.search("tea") == [2, 1, 0]
    assert index.search("tea", k=2) == [2, 1]
    assert index.search("nothing here") == []


def test_a_repeated_word_counts_as_often() -> None:
    index = Index.build(DOCUMENTS)
    once, twice = index.scored("blue")[1], index.scored("blue Blue")[1]
    assert twice == pytest.approx(2 * once)
    assert index.search("tea blue") == [3, 1, 2]
    assert index.search("tea blue blue blue") == [1, 2, 3]


def test_only_documents_with_a_word_of_the_query_are_hits() -> None:
    index = Index.build(DOCUMENTS)
    assert sorted(index.search("blue teas")) == [1, 2, 3]
    assert index.search("of the") == []


def test_the_best_k_are_the_first_k_of_all(root: Path) -> None:
    index = read_catalogue(root / "data" / "webshop").index
    whole = index.search("soft cotton shirt for women", k=10_000)
    assert len(whole) > 20
    for k in (0, 1, 7, 20):
        assert index.search("soft cotton shirt for women", k=k) == whole[:k]


def test_the_index_does_not_depend_on_how_much_is_sorted_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = random.Random(1)
    documents = [
        (f"{n:03d}", " ".join(rng.choices(["tea", "soap", "shoe", "hat"], k=rng.randrange(9)))) for n in range(50)
    ]
    rng.shuffle(documents)
    whole = Index.build(documents)
    monkeypatch.setattr(search, "_CHUNK", 7)
    pieces = Index.build(documents)
    for query in ("tea", "hat cup", "soap soap shoe"):
        for a, b in zip(whole.scored(query), pieces.scored(query), strict=True):
            assert np.array_equal(a, b)


def test_an_index_survives_being_saved(tmp_path: Path) -> None:
    index = Index.build(DOCUMENTS)
    index.save(tmp_path / "index.npz")
    again = Index.load(tmp_path / "index.npz")
    for query in ("shoe", "blue women", "tea"):
        assert again.search(query) == index.search(query)


@pytest.mark.parametrize("damage", ["cut", "empty", "other"])
def test_a_damaged_index_is_refused(damage: str, tmp_path: Path) -> None:
    path = tmp_path / "index.npz"
    Index.build(DOCUMENTS).save(path)
    if damage == "other":
        np.savez(path, words=np.zeros(3, np.uint8))
    else:
        path.write_bytes(path.read_bytes()[: 200 if damage == "cut" else 0])
    with pytest.raises(ActreError, match="actre webshop import"):
        Index.load(path)


def test_no_documents_are_no_index() -> None:
    with pytest.raises(ActreError, match="empty"):
        Index.build([])


def test_the_memory_of_queries_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "_KEPT_QUERIES", 3)
    index = Index.build(DOCUMENTS)
    for n in range(20):
        index.search(f"tea {n}")
    assert len(index._recent) == 3
