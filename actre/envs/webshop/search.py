"""The shop's search engine: Lucene's BM25 over (id, text) documents.

It returns the same hits in the same order as Lucene 9.5 under Anserini's SimpleSearcher (k1 0.9, b 0.4): a document's
length is stored in one byte, scores are 32-bit floats summed in 64 bits, ties go to the smaller id, and repeated query
words count repeatedly. analyzer.py splits the texts.

Source: Robertson and Zaragoza, "The Probabilistic Relevance Framework" (2009), section 3; Lucene's BM25Similarity and
SmallFloat for the arithmetic.
Differs: Lucene skips documents that cannot be among the best; here every document with a query word is scored.
"""

import json
import zipfile
from array import array
from collections import Counter, OrderedDict
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from actre.envs.webshop.analyzer import tokens
from actre.types import ActreError

K1 = np.float32(0.9)
B = np.float32(0.4)
_FORMAT = 1
_KEPT_QUERIES = 2048
_CHUNK = 1 << 20  # postings sorted at once while an index is built


def quantize_length(length: int) -> int:
    """A document's length in Lucene's one-byte norm: exact up to 40 words, then 4 significant bits.

    >>> [quantize_length(n) for n in (7, 40, 41, 100, 1000)]
    [7, 40, 40, 96, 984]
    """
    if length < 24:
        return length
    excess = length - 24
    shift = max(excess.bit_length() - 4, 0)
    return 24 + (excess >> shift << shift)


class Index:
    """An inverted index; immutable except for its cache of recent queries.

    Documents are identified by their position in the order of `build`.
    """

    def __init__(self, vocabulary: dict[str, int], arrays: dict[str, np.ndarray]) -> None:
        self._vocabulary = vocabulary
        self._arrays = arrays
        self._starts = arrays["starts"]  # (V + 1): start of each word's postings
        self._ranks = arrays["ranks"]  # (P): documents, by their rank among the ids
        self._factors = arrays["factors"]  # (P): 1 + frequency / (k1 * (1 - b + b * length / mean length))
        self._positions = arrays["positions"]  # (N): rank -> position
        n, df = len(self._positions), np.diff(self._starts).astype(np.float64)
        self._idf = np.log(1 + (n - df + 0.5) / (df + 0.5)).astype(np.float32)  # (V)
        self._recent: OrderedDict[tuple[str, int], tuple[int, ...]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._positions)

    @classmethod
    def build(cls, documents: Iterable[tuple[str, str]]) -> "Index":
        """Index (id, text) pairs, reading them once. Texts are not kept."""
        vocabulary: dict[str, int] = {}
        ids: list[str] = []
        words, counts, lengths, distinct = array("I"), array("H"), array("I"), array("I")
        for name, text in documents:
            found = tokens(text)
            frequency = Counter(found)
            ids.append(name)
            lengths.append(len(found))
            distinct.append(len(frequency))
            words.extend(vocabulary.setdefault(word, len(vocabulary)) for word in frequency)
            counts.extend(min(count, 65535) for count in frequency.values())
        if not ids:
            raise ActreError("the catalogue is empty, so there is nothing to index: give files with products")
        positions = np.array(sorted(range(len(ids)), key=ids.__getitem__), dtype=np.uint32)
        postings = _Postings(*(np.asarray(numbers) for numbers in (words, counts, lengths, distinct)))
        return cls(vocabulary, _invert(len(vocabulary), postings, positions))

    def search(self, query: str, k: int = 50) -> list[int]:
        """The positions of the best k documents with a word of the query, best first; fewer if fewer match."""
        key = (query, k)
        hits = self._recent.get(key)
        if hits is None:
            hits = self._recent[key] = tuple(self.scored(query, k)[0].tolist())
            if len(self._recent) > _KEPT_QUERIES:
                self._recent.popitem(last=False)
        return list(hits)

    def scored(self, query: str, k: int = 50) -> tuple[np.ndarray, np.ndarray]:
        """Positions (H) and scores (H) of the best k documents, best first."""
        wanted = [(self._vocabulary[w], n) for w, n in Counter(tokens(query)).items() if w in self._vocabulary]
        if not wanted or k < 1:
            return np.empty(0, np.uint32), np.empty(0, np.float32)
        spans = [(self._starts[word], self._starts[word + 1]) for word, _ in wanted]
        ranks = np.concatenate([self._ranks[a:b] for a, b in spans])
        factors = np.concatenate([self._factors[a:b] for a, b in spans])
        boosted = [np.float32(n) * self._idf[word] for word, n in wanted]
        weights = np.repeat(np.array(boosted, np.float32), [b - a for a, b in spans])
        scores = np.bincount(ranks, weights - weights / factors, minlength=1).astype(np.float32)
        found = np.flatnonzero(scores)
        if len(found) > k:
            values = scores[found]
            found = found[values >= np.partition(values, len(values) - k)[len(values) - k]]
        best = found[np.argsort(-scores[found], kind="stable")][:k]
        return self._positions[best], scores[best]

    def save(self, path: str | Path) -> None:
        """Write the index to one file; `load` reads it."""
        words = json.dumps([_FORMAT, list(self._vocabulary)]).encode()
        with open(path, "wb") as file:
            np.savez(file, words=np.frombuffer(words, np.uint8), **self._arrays)  # type: ignore[arg-type]

    @classmethod
    def load(cls, path: str | Path) -> "Index":
        """Read what `save` wrote. Raises ActreError for a damaged file or another format version."""
        try:
            with np.load(path) as file:
                version, words = json.loads(file["words"].tobytes())
                arrays = {name: file[name] for name in ("starts", "ranks", "factors", "positions")}
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise ActreError(
                f"{path}: the search index is damaged or incomplete ({error}): `actre webshop import` makes it again"
            ) from error
        if version != _FORMAT:
            raise ActreError(f"{path}: has version {version}, not {_FORMAT}: `actre webshop import` makes it again")
        return cls({word: number for number, word in enumerate(words)}, arrays)


class _Postings(NamedTuple):
    """Words by document, in reading order."""

    words: np.ndarray  # (P)
    counts: np.ndarray  # (P): frequency of the word in its document
    lengths: np.ndarray  # (N): in words
    distinct: np.ndarray  # (N): number of different words


def _invert(size: int, given: _Postings, positions: np.ndarray) -> dict[str, np.ndarray]:
    """Postings by document -> postings by word, in chunks, so that little memory beyond the result is needed."""
    n, words = len(given.lengths), given.words
    rank = np.empty(n, np.uint32)
    rank[positions] = np.arange(n, dtype=np.uint32)
    mean = np.float32(given.lengths.sum(dtype=np.int64) / n) or np.float32(1)
    lengths, which = np.unique(given.lengths, return_inverse=True)
    kept = np.array([quantize_length(int(length)) for length in lengths], np.float32)
    inverse = np.float32(1) / (K1 * ((np.float32(1) - B) + B * kept / mean))
    starts = np.zeros(size + 1, np.int64)
    np.cumsum(np.bincount(words, minlength=size), out=starts[1:])
    ranks, factors = np.empty(len(words), np.uint32), np.empty(len(words), np.float32)
    ends = np.cumsum(given.distinct, dtype=np.int64)
    cursor = starts[:-1].copy()
    for begin in range(0, len(words), _CHUNK):
        chunk = words[begin : begin + _CHUNK]
        order = np.argsort(chunk, kind="stable")
        word = chunk[order]
        first = np.flatnonzero(np.r_[True, word[1:] != word[:-1]])
        run = np.diff(np.r_[first, len(word)])
        to = cursor[word] + np.arange(len(word)) - np.repeat(first, run)
        document = np.searchsorted(ends, begin + order, side="right")
        ranks[to] = rank[document]
        factors[to] = np.float32(1) + given.counts[begin + order].astype(np.float32) * inverse[which[document]]
        cursor[word[first]] += run
    return {"starts": starts, "ranks": ranks, "factors": factors, "positions": positions}
