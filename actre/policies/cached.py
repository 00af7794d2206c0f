"""A model with a cache of computed prefixes, so that nothing of a sequence is computed twice.

A sequence uses the cache row with the longest common beginning: that of a shorter sequence, of another branch, or of a
sequence with another end. Prefixes are dropped when a parameter changes or other adapters become active. What runs the
model is in runner.py, and for Llama and Qwen2 on a CPU in llama/.
"""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import torch
from peft.tuners.tuners_utils import BaseTunerLayer

from actre.policies.llama.runner import LlamaRunner
from actre.policies.llama.weights import reason_against
from actre.policies.runner import ModuleRunner, Runner
from actre.runtime import ranks
from actre.types import ActreError

BLOCK_TOKENS = 8192
"""Tokens in one forward pass of new prompts or candidates."""
_MERGED_PARAMETERS = 20_000_000  # up to this size, a copy with merged adapters samples and scores
_ALLOWED_NATS = {torch.float32: 1e-3, torch.bfloat16: 0.5}
"""How far plain weights and modules may differ. bfloat16 has three digits, and both round at other places."""


class Prefilled(NamedTuple):
    """slots (n,): the cache row of each sequence. logits (n, V): after the last token of each row, in order of rows."""

    slots: np.ndarray
    logits: torch.Tensor


class CachedModel:
    """A causal LM and its cache; `sequences[r]` are the ids whose keys and values are in row r.

    plain_weights: run without the model's modules where possible (llama/); else, and for any other model, through them.
    products: the type of the layers' products; raises ActreError if the model cannot run from its plain weights.
    """

    def __init__(
        self, model: Any, *, reuse: bool, plain_weights: bool = True, products: torch.dtype | None = None
    ) -> None:
        _check_attention(model.config)
        if products is not None and reason_against(model) is not None:
            raise _needs_plain_weights(model)
        self.model = model
        self.reuse = reuse
        self._plain_weights = plain_weights
        self._products = products
        self._computed = 0
        self._runner: Runner | None = None
        self.reset()

    @property
    def device(self) -> torch.device:
        return self.model.device

    @property
    def runner(self) -> Runner:
        """What runs the model; made at the first call."""
        if self._runner is None:
            raise RuntimeError("a model runs only within `evaluating`")
        return self._runner

    @property
    def computed_tokens(self) -> int:
        """Tokens processed by the model, padding included."""
        return self._computed + (0 if self._runner is None else self._runner.computed_tokens)

    def reset(self) -> None:
        """Drop the computed prefixes and free their memory."""
        self._computed = self.computed_tokens
        self._runner = None
        self.sequences: list[tuple[int, ...]] = []
        self._key: object = None  # identifies the weights of the rows and the runner

    @contextmanager
    def evaluating(self) -> Iterator[None]:
        """Inference mode without dropout, and with rows of the current weights only; restores the model's mode."""
        training = self.model.training
        if training:
            self.model.eval()
        try:
            # sharded weights gathered in inference mode could not be trained afterwards
            with torch.no_grad() if ranks.cuts_weights() else torch.inference_mode():
                self._refresh()
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
            self._load()
            self._key = key
            self.sequences = []
        if not self.reuse:
            self.sequences = []

    def _load(self) -> None:
        """Give the runner the model's weights; another runner where the model has become one of another kind."""
        parameters = sum(p.numel() for p in self.model.parameters())
        small = self.model.dtype == torch.float32 and parameters <= _MERGED_PARAMETERS
        plain = self._plain_weights and reason_against(self.model) is None
        if self._products is not None and not plain:
            raise _needs_plain_weights(self.model)
        if type(self._runner) is (LlamaRunner if plain else ModuleRunner):
            self._runner.load(self.model, small=small)
            return
        self.reset()
        if plain:
            runner = LlamaRunner(self.model, small=small, products=self._products)
            if _agrees(runner, self.model, _ALLOWED_NATS[self._products or self.model.dtype]):
                self._runner = runner
                return
            self._plain_weights = False
        self._runner = ModuleRunner(self.model, small=small)

    def prefill(self, sequences: list[tuple[int, ...]], *, room: int) -> Prefilled:
        """Assign each sequence a row and compute its new tokens; `room` columns stay free after it.

        Equal sequences are computed once. Rows of other sequences are dropped.
        """
        if not all(sequences):
            raise ActreError("a prompt has no token: each needs at least one")
        unique = list(dict.fromkeys(sequences))
        self.runner.reserve(len(sequences), max(map(len, sequences)) + room)
        rows, known = self._place(unique)
        self.runner.forget(len(unique))
        order = np.argsort(rows)
        by_row = [unique[i] for i in order]
        reused = [known[i] for i in order]
        new = [len(sequence) - k for sequence, k in zip(by_row, reused, strict=True)]
        logits = torch.cat([self.runner.extend(by_row[a:b], reused[a:b], a) for a, b in chunks(new, BLOCK_TOKENS)])
        row_of = {sequence: row for row, sequence in enumerate(by_row)}
        slots, repeated = _spread([row_of[s] for s in sequences], len(unique))
        self.sequences = [*by_row, *(by_row[row] for row in repeated)]
        if repeated:
            lengths = [len(by_row[row]) for row in repeated]
            self.runner.copy_rows(repeated, range(len(unique), len(sequences)), lengths, lengths)
            logits = torch.cat([logits, logits[torch.tensor(repeated, device=self.device)]])
        return Prefilled(slots, logits)

    def _place(self, wanted: list[tuple[int, ...]]) -> tuple[np.ndarray, list[int]]:
        """Assign each sequence one of the first len(wanted) rows and move its computed beginning there.

        Returns the rows, and for each how many ids are computed (never all, because the last one's logits are needed).
        """
        sources, known = self._longest_matches(wanted)
        rows = np.full(len(wanted), -1)
        taken: dict[int, int] = {}  # row: the columns that its sequence uses
        for i, source in enumerate(sources):
            if known[i] and source < len(wanted) and source not in taken:
                rows[i] = source
                taken[source] = known[i]
        free = (row for row in range(len(wanted)) if row not in taken)
        moves = []
        for i, source in enumerate(sources):
            if rows[i] < 0:
                rows[i] = next(free)
                if known[i]:
                    moves.append((source, int(rows[i]), known[i], taken.get(source, 0)))
        # a source below len(wanted) was taken by its first user, so no row is both source and target
        if moves:
            self.runner.copy_rows(*zip(*moves, strict=True))
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


def _agrees(runner: LlamaRunner, model: Any, allowed: float) -> bool:
    """Whether a new runner computes what the model does, on a few tokens; warns if not, which no known model causes."""
    ids = tuple(i % model.config.vocab_size for i in range(1, 10))
    runner.reserve(1, len(ids))
    ours = runner.extend([ids], [0], 0)[0].float().log_softmax(-1)
    theirs = model(input_ids=torch.tensor([ids])).logits[0, -1].float().log_softmax(-1)
    runner.computed_tokens = 0
    gap = float((ours - theirs).abs().max())
    if gap <= allowed:
        return True
    warnings.warn(
        f"log-probabilities from plain weights differ from the model's own by {gap:.2g} nats, so the model runs "
        "through its modules, which is slower: please report it with the model's config",
        stacklevel=2,
    )
    return False


def _needs_plain_weights(model: Any) -> ActreError:
    reason = reason_against(model) or "they are switched off"
    return ActreError(
        f"sampling.products=bfloat16 needs the model's plain weights, and {reason}: use --set sampling.products=float32"
    )


def _weights_key(model: Any) -> tuple[object, ...]:
    """A value that changes when a parameter changes, other adapters become active, or a hook is added.

    For trainable parameters it has the sum of bit patterns, because a fused optimizer changes parameters without their
    version counters; for frozen ones it has the counters.
    """
    modules = _modules(model)
    parameters = [p for module in modules for p in module._parameters.values() if p is not None]
    trained = [_bits(p).sum() for p in parameters if p.requires_grad]
    sums = torch.stack([s.to(model.device) for s in trained]).tolist() if trained else []
    frozen = tuple((p.data_ptr(), p._version) for p in parameters if not p.requires_grad)
    tuners = [module for module in modules if isinstance(module, BaseTunerLayer)]
    active = tuple((tuple(tuner.active_adapters), tuner.disable_adapters) for tuner in tuners)
    hooked = any(m._forward_hooks or m._forward_pre_hooks or "forward" in vars(m) for m in modules)
    return tuple(sums), frozen, active, hooked


def _modules(model: Any) -> list[Any]:
    """The modules of a model, as `modules()` has them, which takes longer than a decoding step of a small model."""
    found: dict[int, Any] = {}
    left = [model]
    while left:
        module = left.pop()
        if id(module) not in found:
            found[id(module)] = module
            left += [child for child in module._modules.values() if child is not None]
    return list(found.values())


def _bits(parameter: torch.Tensor) -> torch.Tensor:
    """A parameter's bit patterns as integers; of a sharded parameter, those of the local part."""
    integers = {2: torch.int16, 4: torch.int32, 8: torch.int64}[parameter.element_size()]
    return ranks.part_here(parameter).detach().view(integers)


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
