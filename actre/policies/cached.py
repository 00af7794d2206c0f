"""A model together with the prefixes it has computed: what is known of a sequence is never computed again.

Knows sequences of token ids, cache rows and weights; no sampling and no text. Rows are matched by their longest
common beginning, so a row serves a longer sequence, a branch of it, or one that differs in its end only.

Differs: a small float32 model with adapters runs as a copy with the adapters merged in (log-probabilities then
agree with the unmerged ones to about 1e-6). Copy and prefixes are dropped as soon as a parameter changes or other
adapters become active.
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
_MERGED_PARAMETERS = 20_000_000  # up to this size adapters are merged into a copy for sampling and scoring


class Prefilled(NamedTuple):
    """slots[i]: the cache row of sequence i, (n,). logits: after each row's last token, by row, (n, V)."""

    slots: np.ndarray
    logits: torch.Tensor


class CachedModel:
    """A causal LM and its cache; `sequences[r]` are the ids whose keys and values row r holds.

    computed_tokens counts the tokens that went through the model, padding included.
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
        """Forget the computed prefixes and free their memory."""
        self.cache = RowCache(self.model.config.get_text_config().num_hidden_layers)
        self.sequences: list[tuple[int, ...]] = []
        self._runner: Any = None  # what computes: the model, or its small merged copy
        self._key: object = None  # the weights that the rows and the runner belong to

    @contextmanager
    def evaluating(self) -> Iterator[None]:
        """Inference mode, dropout off, rows of the present weights only; afterwards the model's own mode again."""
        training = self.model.training
        if training:
            self.model.eval()
        try:
            self._refresh()
            # weights that are gathered in inference mode could not be trained afterwards
            with torch.no_grad() if ranks.cuts_weights() else torch.inference_mode():
                yield
        except BaseException:
            self.reset()  # an interrupted call leaves rows half written
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
        """Write ids (rows, tokens) at `columns` of the rows from `start` on. Returns logits (rows, keep, V), 0 is all.

        width: the columns in sight. mask and positions: for blocks that are no plain continuation.
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
        """Give each sequence a row of its own and compute what is new in it; `room` columns stay free behind it.

        Equal sequences are computed once. The rows of anything else are forgotten.
        """
        if not all(sequences):
            raise ActreError("a prompt holds no token")
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
        """Compute what follows the `known` first ids of these sequences, in the rows from `start` on: (rows, V)."""
        longest = max(len(s) - k for s, k in zip(sequences, known, strict=True))
        ids = np.zeros((len(sequences), longest), dtype=np.int64)
        columns = np.full((len(sequences), longest), -1, dtype=np.int64)
        # right-aligned, so that the last column is every row's last token
        for row, (sequence, k) in enumerate(zip(sequences, known, strict=True)):
            at = longest - (len(sequence) - k)
            ids[row, at:] = sequence[k:]
            columns[row, at:] = range(k, len(sequence))
        width = max(map(len, sequences))
        placed = torch.from_numpy(columns).to(self.device)
        return self.forward(torch.from_numpy(ids).to(self.device), placed, start, width)[:, -1]

    def _place(self, wanted: list[tuple[int, ...]]) -> tuple[np.ndarray, list[int]]:
        """Give each sequence one of the first len(wanted) rows, with what is known of it moved there.

        Returns the rows and how many ids of each are computed (never all: the last one's logits are wanted).
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
        # a source is below len(wanted) only if its first user took it, so no row is both source and target
        if moves:
            source_rows, target_rows = torch.tensor(moves, device=self.device).T
            self.cache.copy_rows(source_rows, target_rows)
        return rows, known

    def _longest_matches(self, wanted: list[tuple[int, ...]]) -> tuple[list[int], list[int]]:
        """For each sequence the stored row with the longest common beginning, and that beginning's length."""
        if not self.sequences:
            return [0] * len(wanted), [0] * len(wanted)
        stored = np.full((len(self.sequences), max(map(len, self.sequences)) + 1), -1, dtype=np.int64)
        for row, sequence in enumerate(self.sequences):
            stored[row, : len(sequence)] = sequence
        rows, lengths = [], []
        for sequence in wanted:
            ids = np.asarray(sequence[: stored.shape[1] - 1])
            same = stored[:, : len(ids)] == ids
            # the first difference of each row; a row without one agrees to the end
            common = np.where(same.all(1), len(ids), same.argmin(1))
            row = int(common.argmax())
            rows.append(row)
            lengths.append(min(int(common[row]), len(sequence) - 1))
        return rows, lengths


def chunks(sizes: Sequence[int], bound: int) -> Iterator[tuple[int, int]]:
    """Runs of rows whose padded size (rows times the largest) stays within the bound, or of one row."""
    start, largest = 0, 0
    for row, size in enumerate(sizes):
        largest = max(largest, size)
        if row > start and largest * (row + 1 - start) > bound:
            yield start, row
            start, largest = row, size
    yield start, len(sizes)


def _spread(sources: list[int], unique: int) -> tuple[np.ndarray, list[int]]:
    """Rows for sequences some of which are equal: the first of its kind keeps row sources[i], a repeat gets a new one.

    Returns each sequence's row, and for the rows from `unique` on the row that each repeats.

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
    """The module that computes: for a small float32 PeftModel a copy with its adapters merged in, else its base.

    An adapter triples the number of matrix products, which is most of the time where the matrices are small.
    """
    if not isinstance(model, PeftModel) or ranks.cuts_weights():  # cut weights are gathered where it is called itself
        return model
    if model.dtype != torch.float32 or sum(p.numel() for p in model.parameters()) > _MERGED_PARAMETERS:
        return model.get_base_model()
    copied: Any = copy.deepcopy(model)
    off = any(module.disable_adapters for module in _tuner_layers(model))
    return (copied.unload() if off else copied.merge_and_unload()).eval()


def _weights_key(model: Any) -> tuple[object, ...]:
    """Changes whenever a parameter does or other adapters become active.

    What may be trained is summed up, bit pattern by bit pattern: a fused optimizer changes parameters without their
    version counters. For what is frozen the counters do.
    """
    trained = [_bits(p).sum() for p in model.parameters() if p.requires_grad]
    sums = torch.stack([s.to(model.device) for s in trained]).tolist() if trained else []
    frozen = tuple((p.data_ptr(), p._version) for p in model.parameters() if not p.requires_grad)
    return tuple(sums), frozen, tuple((tuple(m.active_adapters), m.disable_adapters) for m in _tuner_layers(model))


def _bits(parameter: torch.Tensor) -> torch.Tensor:
    """The numbers' bit patterns as integers; of a parameter that is cut over processes, those of the part here."""
    integers = {2: torch.int16, 4: torch.int32, 8: torch.int64}[parameter.element_size()]
    return ranks.part_here(parameter).detach().view(integers)


def _tuner_layers(model: Any) -> list[BaseTunerLayer]:
    return [module for module in model.modules() if isinstance(module, BaseTunerLayer)]


def _check_attention(config: Any) -> None:
    """Raises ActreError for a model whose attention does not take our masks."""
    text = config.get_text_config()
    if text._attn_implementation not in ("sdpa", "eager"):
        raise ActreError(
            f"attention {text._attn_implementation!r} takes no 4D mask: load the model with attn_implementation='sdpa'"
        )
    kinds = set(getattr(text, "layer_types", None) or ["full_attention"])
    if kinds != {"full_attention"}:
        raise ActreError(
            f"layers of kind {', '.join(sorted(kinds))}: only models with full attention in every layer "
            "are supported (Llama, Qwen2.5, SmolLM2 and their like)"
        )
