"""A model with a cache of computed prefixes, so that nothing of a sequence is computed twice.

A sequence uses the cache row with the longest common beginning: that of a shorter sequence, of another branch, or of a
sequence with another end.

Differs: a small float32 model with adapters runs as a copy with merged adapters (log-probabilities agree with the
unmerged ones to about 1e-6). Copy and prefixes are dropped when a parameter changes or other adapters become active.
"""

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import torch
from peft import PeftModel
from peft.tuners.tuners_utils import BaseTunerLayer

from actre.policies.rowcache import RowCache, causal_mask
from actre.runtime import ranks
from actre.types import ActreError

BLOCK_TOKENS = 8192
"""Tokens in one forward pass of new prompts or candidates."""
_MERGED_PARAMETERS = 20_000_000  # up to this size, a copy with merged adapters samples and scores


class Prefilled(NamedTuple):
    """slots (n,): the cache row of each sequence. logits (n, V): after the last token of each row, in order of rows."""

    slots: np.ndarray
    logits: torch.Tensor


class CachedModel:
    """A causal LM and its cache; `sequences[r]` are the ids whose keys and values are in row r.

    computed_tokens counts the tokens processed by the model, padding included.
    """

    def __init__(self, model: Any, *, reuse: bool) -> None:
        _check_attention(model.config)
        self.model = model
        self.reuse = reuse
        self.computed_tokens = 0
        self.reset()

    @property
    def device(self) -> torch.device:
        return self.model.device

    def reset(self) -> None:
        """Drop the computed prefixes and free their memory."""
        self.cache = RowCache(self.model.config.get_text_config().num_hidden_layers)
        self.sequences: list[tuple[int, ...]] = []
        self._runner: Any = None  # the module to run: the model, or its merged copy
        self._key: object = None  # identifies the weights of the rows and the runner

    @contextmanager
    def evaluating(self) -> Iterator[None]:
        """Inference mode without dropout, and with rows of the current weights only; restores the model's mode."""
        training = self.model.training
        if training:
            self.model.eval()
        try:
            self._refresh()
            # sharded weights gathered in inference mode could not be trained afterwards
            with torch.no_grad() if ranks.cuts_weights() else torch.inference_mode():
                yield
        except BaseException:
            self.reset()  # an interrupted call leaves incomplete rows
            raise
        finally:
            if training:
                self.model.train()

    def _refresh(self) -> None:
        key = _weights_key(self.model)
        if key != self._key:
            self._runner = _runner(self.model)
            self._key = key
            self.sequences = []
        if not self.reuse:
            self.sequences = []

    def forward(
        self,
        ids: torch.Tensor,
        columns: torch.Tensor,
        start: int,
        width: int,
        *,
        mask: torch.Tensor | None = None,
        positions: torch.Tensor | None = None,
        keep: int = 1,
    ) -> torch.Tensor:
        """Compute ids (rows, tokens) and store them at `columns` of the rows from `start` on.

        Returns logits (rows, keep, V); keep 0: of all tokens. width: the number of visible columns. mask, positions:
        for blocks that do not simply continue their rows.
        """
        self.cache.aim(start, start + ids.shape[0], columns, width)
        self.computed_tokens += ids.numel()
        return self._runner(
            input_ids=ids,
            attention_mask=causal_mask(columns, width, self.model.dtype) if mask is None else mask,
            position_ids=columns.clamp(min=0) if positions is None else positions,
            past_key_values=self.cache,
            use_cache=True,
            logits_to_keep=keep,
        ).logits

    def prefill(self, sequences: list[tuple[int, ...]], *, room: int) -> Prefilled:
        """Assign each sequence a row and compute its new tokens; `room` columns stay free after it.

        Equal sequences are computed once. Rows of other sequences are dropped.
        """
        if not all(sequences):
            raise ActreError("a prompt has no token: each needs at least one")
        unique = list(dict.fromkeys(sequences))
        self.cache.reserve(len(sequences), max(map(len, sequences)) + room)
        rows, known = self._place(unique)
        order = np.argsort(rows)
        by_row = [unique[i] for i in order]
        reused = [known[i] for i in order]
        new = [len(sequence) - k for sequence, k in zip(by_row, reused, strict=True)]
        logits = torch.cat([self._extend(by_row[a:b], reused[a:b], a) for a, b in chunks(new, BLOCK_TOKENS)])
        row_of = {sequence: row for row, sequence in enumerate(by_row)}
        slots, repeated = _spread([row_of[s] for s in sequences], len(unique))
        self.sequences = [*by_row, *(by_row[row] for row in repeated)]
        if repeated:
            sources = torch.tensor(repeated, device=self.device)
            self.cache.copy_rows(sources, torch.arange(len(unique), len(sequences), device=self.device))
            logits = torch.cat([logits, logits[sources]])
        return Prefilled(slots, logits)

    def _extend(self, sequences: list[tuple[int, ...]], known: list[int], start: int) -> torch.Tensor:
        """Compute these sequences after their first `known` ids, in rows from `start` on. Returns logits (rows, V)."""
        longest = max(len(s) - k for s, k in zip(sequences, known, strict=True))
        ids = np.zeros((len(sequences), longest), dtype=np.int64)
        columns = np.full((len(sequences), longest), -1, dtype=np.int64)
        # right-aligned, so that the last column holds the last token of every row
        for row, (sequence, k) in enumerate(zip(sequences, known, strict=True)):
            at = longest - (len(sequence) - k)
            ids[row, at:] = sequence[k:]
            columns[row, at:] = range(k, len(sequence))
        width = max(map(len, sequences))
        placed = torch.from_numpy(columns).to(self.device)
        return self.forward(torch.from_numpy(ids).to(self.device), placed, start, width)[:, -1]

    def _place(self, wanted: list[tuple[int, ...]]) -> tuple[np.ndarray, list[int]]:
        """Assign each sequence one of the first len(wanted) rows and move its computed beginning there.

        Returns the rows, and for each how many ids are computed (never all, because the last one's logits are needed).
        """
        sources, known = self._longest_matches(wanted)
        rows = np.full(len(wanted), -1)
        taken: set[int] = set()
        for i, source in enumerate(sources):
            if known[i] and source < len(wanted) and source not in taken:
                rows[i] = source
                taken.add(source)
        free = (row for row in range(len(wanted)) if row not in taken)
        moves = []
        for i, source in enumerate(sources):
            if rows[i] < 0:
                rows[i] = next(free)
                if known[i]:
                    moves.append((source, rows[i]))
        # a source below len(wanted) was taken by its first user, so no row is both source and target
        if moves:
            source_rows, target_rows = torch.tensor(moves, device=self.device).T
            self.cache.copy_rows(source_rows, target_rows)
        return rows, known

    def _longest_matches(self, wanted: list[tuple[int, ...]]) -> tuple[list[int], list[int]]:
        """For each sequence, the stored row with the longest common beginning and the length of that beginning."""
        if not self.sequences:
            return [0] * len(wanted), [0] * len(wanted)
        stored = np.full((len(self.sequences), max(map(len, self.sequences)) + 1), -1, dtype=np.int64)
        for row, sequence in enumerate(self.sequences):
            stored[row, : len(sequence)] = sequence
        rows, lengths = [], []
        for sequence in wanted:
            ids = np.asarray(sequence[: stored.shape[1] - 1])
            same = stored[:, : len(ids)] == ids
            # argmin: the first difference of a row; a row without one agrees to the end
            common = np.where(same.all(1), len(ids), same.argmin(1))
            row = int(common.argmax())
            rows.append(row)
            lengths.append(min(int(common[row]), len(sequence) - 1))
        return rows, lengths


def chunks(sizes: Sequence[int], bound: int) -> Iterator[tuple[int, int]]:
    """Consecutive ranges of rows, each a single row or of a padded size (rows times the largest) within the bound."""
    start, largest = 0, 0
    for row, size in enumerate(sizes):
        largest = max(largest, size)
        if row > start and largest * (row + 1 - start) > bound:
            yield start, row
            start, largest = row, size
    yield start, len(sizes)


def _spread(sources: list[int], unique: int) -> tuple[np.ndarray, list[int]]:
    """Rows for sequences, some equal: the first of equal ones keeps row sources[i], a repeat gets a new row.

    Returns the row of each sequence, and for each row from `unique` on the row that it repeats.

    >>> _spread([0, 1, 0], 2)
    (array([0, 1, 2]), [0])
    """
    rows = np.empty(len(sources), dtype=np.int64)
    repeats: list[int] = []
    used: set[int] = set()
    for i, source in enumerate(sources):
        if source in used:
            rows[i] = unique + len(repeats)
            repeats.append(source)
        else:
            rows[i] = source
            used.add(source)
    return rows, repeats


def _runner(model: Any) -> Any:
    """The module to run: for a small float32 PeftModel a copy with merged adapters, else its base model.

    An adapter triples the number of matrix products, which dominate the time if the matrices are small.
    """
    # sharded weights are gathered only when the model itself is called
    if not isinstance(model, PeftModel) or ranks.cuts_weights():
        return model
    if model.dtype != torch.float32 or sum(p.numel() for p in model.parameters()) > _MERGED_PARAMETERS:
        return model.get_base_model()
    copied: Any = copy.deepcopy(model)
    off = any(module.disable_adapters for module in _tuner_layers(model))
    return (copied.unload() if off else copied.merge_and_unload()).eval()


def _weights_key(model: Any) -> tuple[object, ...]:
    """A value that changes when a parameter changes or other adapters become active.

    For trainable parameters it has the sum of bit patterns, because a fused optimizer changes parameters without their
    version counters; for frozen ones it has the counters.
    """
    trained = [_bits(p).sum() for p in model.parameters() if p.requires_grad]
    sums = torch.stack([s.to(model.device) for s in trained]).tolist() if trained else []
    frozen = tuple((p.data_ptr(), p._version) for p in model.parameters() if not p.requires_grad)
    return tuple(sums), frozen, tuple((tuple(m.active_adapters), m.disable_adapters) for m in _tuner_layers(model))


def _bits(parameter: torch.Tensor) -> torch.Tensor:
    """A parameter's bit patterns as integers; of a sharded parameter, those of the local part."""
    integers = {2: torch.int16, 4: torch.int32, 8: torch.int64}[parameter.element_size()]
    return ranks.part_here(parameter).detach().view(integers)


def _tuner_layers(model: Any) -> list[BaseTunerLayer]:
    return [module for module in model.modules() if isinstance(module, BaseTunerLayer)]


def _check_attention(config: Any) -> None:
    """Raises ActreError for a model whose attention does not take 4D masks."""
    text = config.get_text_config()
    if text._attn_implementation not in ("sdpa", "eager"):
        raise ActreError(
            f"attention {text._attn_implementation!r} takes no 4D mask: load the model with attn_implementation='sdpa'"
        )
    kinds = set(getattr(text, "layer_types", None) or ["full_attention"])
    if kinds != {"full_attention"}:
        raise ActreError(
            f"layers of kind {', '.join(sorted(kinds))}: only models with full attention in every layer "
            "are supported (such as Llama, Qwen2.5 and SmolLM2): choose one of these"
        )
