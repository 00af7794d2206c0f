"""A policy from any transformers causal language model: sampling replies and scoring candidates, batched.

Knows no environment and no order. Our own decode loop instead of `model.generate`: it keeps the key-value cache of
one call for the next, so that a growing episode costs its new tokens only; rows that are finished leave the batch;
equal prompts are computed once; each row draws its own random numbers, so a reply does not depend on when its
neighbours ended. Candidates are scored exactly in one forward pass a prefix, as a token tree.

Differs: a cached prefix is reused for as long as no parameter changed and the same adapters are active; this is
checked from the parameters' version counters at every call. `reset()` forgets it, and frees its memory.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import torch

from actre.config import PromptConfig
from actre.orders import Renderer, chat_format
from actre.policies.rowcache import RowCache, additive, causal_mask
from actre.policies.stops import Stops
from actre.policies.trie import Trie, build_trie
from actre.types import ActreError, Order, Reply

_BLOCK_TOKENS = 8192  # tokens in one forward pass of new prompts or candidates
_LOGITS = 1 << 27  # numbers in one tensor of logits (0.5 GB in float32)


class HFPolicy:
    """The Policy protocol over a transformers causal LM (a PeftModel too), where the model already is.

    reuse: keep computed prefixes between calls. `computed_tokens` counts the tokens that went through the model,
    for benchmarks and tests.
    """

    def __init__(self, model: Any, tokenizer: Any, *, reuse: bool = True) -> None:
        _check_attention(model.config)
        self.model = model
        self.tokenizer = tokenizer
        self.reuse = reuse
        self.computed_tokens = 0
        self._end_ids = _end_ids(model, tokenizer)
        self._store = _Store(RowCache(model.config.get_text_config().num_hidden_layers), [])
        self._store_key: object = None
        self._stops: dict[str | None, Stops] = {}
        self._encode = lru_cache(maxsize=4096)(self._encode_new)

    def encode(self, text: str) -> list[int]:
        """Text to ids, no special tokens added."""
        return list(self._encode(text))

    def decode(self, ids: Sequence[int]) -> str:
        """Ids to text, every token shown."""
        return self.tokenizer.decode(list(ids), skip_special_tokens=False, clean_up_tokenization_spaces=False)

    def renderer(self, prompt: PromptConfig, order: Order) -> Renderer:
        """Prompts for this policy's tokenizer and chat template."""
        return Renderer(
            self.encode, chat_format(self.tokenizer), prompt, order, end_id=self.tokenizer.eos_token_id
        )

    def reset(self) -> None:
        """Forget the computed prefixes and free their memory."""
        self._store = _Store(RowCache(len(self._store.cache.layers)), [])
        self._store_key = None

    def generate(
        self,
        prompts: Sequence[Sequence[int]],
        *,
        max_new_tokens: int,
        temperature: float,
        stop: str | None,
        seed: int,
    ) -> list[Reply]:
        """One sampled reply a prompt; temperature 0 takes the likeliest token (and its log-probability is then 0).

        logps are float32 log-softmax of logits / temperature. The same prompts, weights and seed give the same
        replies. Differs: `Reply.text` leaves out the end-of-turn token a reply may end with.
        Raises ActreError for an empty prompt or a bad number.
        """
        if temperature < 0 or max_new_tokens < 1:
            raise ActreError(
                f"temperature {temperature} and max_new_tokens {max_new_tokens}: "
                "the one must not be negative, the other at least 1"
            )
        if not prompts:
            return []
        with self._evaluating():
            sequences = [tuple(prompt) for prompt in prompts]
            slots, logits = self._prefill(sequences, own_rows=True, room=max_new_tokens)
            decoding = _Decoding(self, sequences, slots, max_new_tokens, temperature, stop, seed)
            return decoding.run(logits)

    def action_logprobs(
        self,
        prefixes: Sequence[Sequence[int]],
        candidates: Sequence[Sequence[Sequence[int]]],
        *,
        temperature: float = 1.0,
    ) -> list[np.ndarray]:
        """For each prefix, the exact log-probability in nats of each of its candidates: arrays of shape (A,), float64.

        Equal to one plain forward pass a candidate up to rounding; the beginnings that candidates share are computed
        once. Raises ActreError for an empty prefix or candidate, or a temperature that is not positive.
        """
        if temperature <= 0:
            raise ActreError(
                f"temperature {temperature}: a distribution over actions needs a positive temperature"
            )
        if not prefixes:
            return []
        tries = _tries(candidates)
        with self._evaluating():
            room = max(len(trie.tokens) for trie in tries)
            sequences = [tuple(prefix) for prefix in prefixes]
            slots, logits = self._prefill(sequences, own_rows=True, room=room)
            by_slot = np.argsort(slots)
            result: list[np.ndarray] = [np.empty(0)] * len(prefixes)
            lengths = [len(sequences[i]) for i in by_slot]
            for start, stop in _chunks([len(tries[i].tokens) + 1 for i in by_slot], self._block(logits)):
                rows = by_slot[start:stop]
                scored = self._score(
                    start, lengths[start:stop], [tries[i] for i in rows], logits[start:stop], temperature
                )
                for i, logps in zip(rows, scored, strict=True):
                    result[i] = logps
            return result

    # --- the model ---

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
        """Logits (rows, keep, V) after writing ids (rows, tokens) at `columns` of the rows from `start` on."""
        cache = self._store.cache
        cache.aim(start, start + ids.shape[0], columns, width)
        dtype = self.model.dtype
        self.computed_tokens += ids.numel()
        return self.model(
            input_ids=ids,
            attention_mask=causal_mask(columns, width, dtype) if mask is None else mask,
            position_ids=columns.clamp(min=0) if positions is None else positions,
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=keep,
        ).logits

    def _prefill(
        self, sequences: list[tuple[int, ...]], *, own_rows: bool, room: int
    ) -> tuple[np.ndarray, torch.Tensor]:
        """Compute what is new in these sequences. Returns each one's cache row, and the last logits (rows, V) by row."""
        if not all(sequences):
            raise ActreError("a prompt holds no token")
        unique = list(dict.fromkeys(sequences))
        store = self._valid_store()
        store.cache.reserve(len(sequences), max(map(len, sequences)) + room)
        placed, known = store.place(unique)
        order = np.argsort(placed)
        by_row = [unique[i] for i in order]
        reused = [known[i] for i in order]
        logits = [
            self._extend(by_row[a:b], reused[a:b], a)
            for a, b in _chunks([len(s) - k for s, k in zip(by_row, reused, strict=True)], _BLOCK_TOKENS)
        ]
        row_of = {sequence: row for row, sequence in enumerate(by_row)}
        sources = [row_of[s] for s in sequences]
        slots, repeats = _spread(sources, len(unique))
        store.sequences = [*by_row, *(by_row[r] for r in repeats)]
        if repeats:
            index = torch.tensor(repeats, device=self.model.device)
            store.cache.copy_rows(index, torch.arange(len(unique), len(sequences), device=index.device))
            all_logits = torch.cat(logits)
            return slots, torch.cat([all_logits, all_logits[index]])
        return slots, torch.cat(logits)

    def _extend(self, sequences: list[tuple[int, ...]], known: list[int], start: int) -> torch.Tensor:
        """Compute the ids after the `known` first ones of each sequence, into the rows from `start` on; (rows, V)."""
        longest = max(len(s) - k for s, k in zip(sequences, known, strict=True))
        ids = np.zeros((len(sequences), longest), dtype=np.int64)
        columns = np.full((len(sequences), longest), -1, dtype=np.int64)
        # right-aligned, so that the last column is every row's last token
        for row, (sequence, k) in enumerate(zip(sequences, known, strict=True)):
            new = len(sequence) - k
            ids[row, longest - new :] = sequence[k:]
            columns[row, longest - new :] = range(k, len(sequence))
        width = max(map(len, sequences))
        device = self.model.device
        return self.forward(
            torch.from_numpy(ids).to(device), torch.from_numpy(columns).to(device), start, width
        )[:, -1]

    def _score(
        self, start: int, lengths: list[int], tries: list[Trie], last: torch.Tensor, temperature: float
    ) -> list[np.ndarray]:
        """Log-probabilities of each trie's candidates after the cached rows from `start` on, `last` their logits (rows, V)."""
        device = self.model.device
        nodes = max(len(trie.tokens) for trie in tries)
        logits = last[:, None]
        if nodes:
            block = _tree_block(lengths, tries, nodes)
            seen = block.seen.to(device)
            inner = self.forward(
                block.ids.to(device),
                block.columns.to(device),
                start,
                seen.shape[-1],
                mask=additive(seen, self.model.dtype),
                positions=block.positions.to(device),
                keep=0,
            )
            logits = torch.cat([logits, inner], dim=1)  # (rows, 1 + nodes, V): row's node m is at 1 + m
        logps = torch.log_softmax(logits.float() / temperature, dim=-1)
        return [
            _sum_scores(logps[row], trie.scores) if trie.scores else np.empty(0)
            for row, trie in enumerate(tries)
        ]

    # --- what is kept between calls ---

    def _valid_store(self) -> "_Store":
        key = _weights_key(self.model)
        if not self.reuse or key != self._store_key:
            self._store.sequences = []
            self._store_key = key
        return self._store

    @contextmanager
    def _evaluating(self) -> Iterator[None]:
        """Inference mode, dropout off, and the model's own mode afterwards."""
        training = self.model.training
        if training:
            self.model.eval()
        try:
            with torch.inference_mode():
                yield
        except BaseException:
            self.reset()  # an interrupted call leaves rows half written
            raise
        finally:
            if training:
                self.model.train()

    def _block(self, logits: torch.Tensor) -> int:
        return min(_BLOCK_TOKENS, max(1, _LOGITS // logits.shape[-1]))

    def stops(self, stop: str | None, vocabulary: int) -> Stops:
        """The table of tokens that may end a reply, made once a stop string."""
        if stop not in self._stops:
            self._stops[stop] = Stops(self.tokenizer, stop, self._end_ids, vocabulary, self.model.device)
        return self._stops[stop]

    def _encode_new(self, text: str) -> tuple[int, ...]:
        return tuple(self.tokenizer.encode(text, add_special_tokens=False))


class _Store:
    """The cache and what its rows hold: row r has the keys and values of sequences[r]."""

    def __init__(self, cache: RowCache, sequences: list[tuple[int, ...]]) -> None:
        self.cache = cache
        self.sequences = sequences

    def place(self, wanted: list[tuple[int, ...]]) -> tuple[np.ndarray, list[int]]:
        """Give each sequence one of the first len(wanted) rows, with what is already known of it moved there.

        Returns the rows and how many of its ids each has computed (never all: the last one's logits are wanted).
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
            device = self.cache.layers[0].keys.device
            source_rows, target_rows = torch.tensor(moves, device=device).T
            self.cache.copy_rows(source_rows, target_rows)
        return rows, known

    def _longest_matches(self, wanted: list[tuple[int, ...]]) -> tuple[list[int], list[int]]:
        """For each sequence the stored row with the longest common beginning, and its length."""
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


class _Decoding:
    """The loop of one `generate` call. Rows are cache rows; `row_of` says whose reply a cache row holds."""

    def __init__(
        self,
        policy: HFPolicy,
        prompts: list[tuple[int, ...]],
        slots: np.ndarray,
        max_new_tokens: int,
        temperature: float,
        stop: str | None,
        seed: int,
    ) -> None:
        self.policy, self.prompts, self.temperature = policy, prompts, temperature
        self.limit, self.stop = max_new_tokens, stop
        device, n = policy.model.device, len(prompts)
        self.row_of = torch.from_numpy(np.argsort(slots)).to(device)
        self.lengths = torch.tensor([len(p) for p in prompts], device=device)[self.row_of]
        generator = torch.Generator().manual_seed(seed)
        self.noise = torch.rand(n, max_new_tokens, generator=generator, dtype=torch.float64).to(device)
        self.tokens = torch.zeros(n, max_new_tokens, dtype=torch.long, device=device)
        self.logps = torch.zeros(n, max_new_tokens, device=device)
        self.reply_length = torch.full((n,), max_new_tokens, device=device)
        self.ended = torch.zeros(n, dtype=torch.bool, device=device)

    def run(self, logits: torch.Tensor) -> list[Reply]:
        """Sample until every row has ended or the limit is reached."""
        stops = self.policy.stops(self.stop, logits.shape[-1])
        active = len(self.prompts)
        width = int(self.lengths.max())
        for t in range(self.limit):
            rows = self.row_of[:active]
            token, logp = _sample(logits, self.temperature, self.noise[rows, t])
            self.tokens[rows, t] = token
            self.logps[rows, t] = logp
            ends = stops.ends(self.tokens, rows, t) & ~self.ended[rows]
            if ends.any():
                self.ended[rows[ends]] = True
                self.reply_length[rows[ends]] = t + 1
                finished = self.ended[rows]
                left = active - int(finished.sum())
                if left == 0:
                    break
                if left <= active * 7 // 8:
                    token = token[self._drop(finished, left)]
                    active = left
                    width = int(self.lengths[:active].max())
            if t + 1 == self.limit:
                break
            width += 1
            columns = self.lengths[:active, None]
            logits = self.policy.forward(token[:, None], columns, 0, width)[:, -1]
            self.lengths[:active] += 1
        return self._replies()

    def _drop(self, finished: torch.Tensor, left: int) -> torch.Tensor:
        """Bring the unfinished rows to the front. Returns, for each row kept, where it was."""
        moved = torch.arange(left, device=finished.device)
        holes = finished[:left].nonzero().flatten()
        late = (~finished[left:]).nonzero().flatten() + left
        if len(holes):
            self.policy._store.cache.swap_rows(holes, late)
            both, crossed = torch.cat([holes, late]), torch.cat([late, holes])
            self.row_of[both] = self.row_of[crossed]
            self.lengths[both] = self.lengths[crossed]
            moved[holes] = late
        return moved

    def _replies(self) -> list[Reply]:
        replies = []
        for ids, logps, length, ended in zip(
            self.tokens.tolist(),
            self.logps.tolist(),
            self.reply_length.tolist(),
            self.ended.tolist(),
            strict=True,
        ):
            kept = tuple(ids[:length])
            shown = kept[:-1] if kept[-1] in self.policy._end_ids else kept
            replies.append(Reply(kept, tuple(logps[:length]), self.policy.decode(shown), truncated=not ended))
        # the last token of a reply was sampled but not computed
        self.policy._store.sequences = [
            self.prompts[row] + replies[row].token_ids[:-1] for row in self.row_of.tolist()
        ]
        return replies


def _sample(
    logits: torch.Tensor, temperature: float, noise: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """One token a row (rows, V), and its log-probability, by inverting the cumulative distribution at `noise`."""
    if temperature == 0:
        token = logits.argmax(-1)
        return token, torch.zeros_like(token, dtype=torch.float32)
    logps = torch.log_softmax(logits.float() / temperature, dim=-1)
    cumulative = logps.double().exp().cumsum(-1)
    # right=True: the first token whose cumulative probability exceeds the target, which has a positive one itself
    target = noise[:, None] * cumulative[:, -1:]
    token = torch.searchsorted(cumulative, target, right=True).clamp(max=logits.shape[-1] - 1)
    return token[:, 0], logps.gather(-1, token)[:, 0]


class _TreeBlock(NamedTuple):
    ids: torch.Tensor  # (rows, nodes)
    columns: torch.Tensor  # (rows, nodes), -1 for padding
    positions: torch.Tensor  # (rows, nodes)
    seen: torch.Tensor  # (rows, 1, nodes, width), bool


def _tree_block(lengths: list[int], tries: list[Trie], nodes: int) -> _TreeBlock:
    """The tries as one padded block: each node sees its row's prefix, its ancestors and itself."""
    rows = len(tries)
    width = max(length + len(trie.tokens) for length, trie in zip(lengths, tries, strict=True))
    ids = np.zeros((rows, nodes), dtype=np.int64)
    columns = np.full((rows, nodes), -1, dtype=np.int64)
    positions = np.zeros((rows, nodes), dtype=np.int64)
    seen = np.zeros((rows, 1, nodes, width), dtype=bool)
    for row, (length, trie) in enumerate(zip(lengths, tries, strict=True)):
        count = len(trie.tokens)
        ids[row, :count] = trie.tokens
        columns[row, :count] = range(length, length + count)
        positions[row, :count] = np.asarray(trie.depths, dtype=np.int64) + length
        seen[row, 0, :, :length] = True
        seen[row, 0, :count, length : length + count] = _ancestors(trie.parents)
    return _TreeBlock(*map(torch.from_numpy, (ids, columns, positions, seen)))


@lru_cache(maxsize=256)
def _ancestors(parents: tuple[int, ...]) -> np.ndarray:
    """(nodes, nodes): whether column's node is row's node or above it."""
    above = np.eye(len(parents), dtype=bool)
    for node, parent in enumerate(parents):
        if parent >= 0:
            above[node] |= above[parent]
    return above


def _tries(candidates: Sequence[Sequence[Sequence[int]]]) -> list[Trie]:
    """One trie a list of candidates; equal lists share theirs."""
    made: dict[tuple[tuple[int, ...], ...], Trie] = {}
    tries = []
    for listed in candidates:
        key = tuple(map(tuple, listed))
        if key not in made:
            try:
                made[key] = build_trie(key)
            except ValueError as error:
                raise ActreError(f"{error}; an action without text cannot be scored") from error
        tries.append(made[key])
    return tries


def _sum_scores(logps: torch.Tensor, scores: tuple[tuple[tuple[int, int], ...], ...]) -> np.ndarray:
    """(A,) sums over each candidate's (node, token) pairs in logps (1 + nodes, V)."""
    pairs = torch.tensor([pair for listed in scores for pair in listed], device=logps.device)
    values = logps[pairs[:, 0] + 1, pairs[:, 1]].double().cpu().numpy()
    starts = np.cumsum([0, *(len(listed) for listed in scores[:-1])])
    return np.add.reduceat(values, starts)


def _chunks(sizes: Sequence[int], bound: int) -> Iterator[tuple[int, int]]:
    """Runs of rows whose padded size (rows times the largest) stays within the bound, or of one row."""
    start, largest = 0, 0
    for row, size in enumerate(sizes):
        largest = max(largest, size)
        if row > start and largest * (row + 1 - start) > bound:
            yield start, row
            start, largest = row, size
    yield start, len(sizes)


def _spread(sources: list[int], unique: int) -> tuple[np.ndarray, list[int]]:
    """Rows for sequences of which some are equal: the first of its kind keeps row sources[i], a repeat gets a new one.

    Returns each sequence's row, and for rows `unique`, `unique + 1`, ... the row each repeats.
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


def _weights_key(model: Any) -> tuple[object, ...]:
    """Changes whenever a parameter does (its version counter) or other adapters become active."""
    weights = tuple((p.data_ptr(), p._version) for p in model.parameters())
    # peft's tuner layers carry both as properties; transformers' models have a method of the second name
    adapters = tuple(
        (tuple(module.active_adapters), module.disable_adapters)
        for module in model.modules()
        if isinstance(getattr(module, "disable_adapters", None), bool)
    )
    return (weights, adapters)


def _end_ids(model: Any, tokenizer: Any) -> frozenset[int]:
    listed = getattr(model, "generation_config", None)
    ids = listed.eos_token_id if listed is not None else None
    found = set(ids if isinstance(ids, list) else [ids]) | {tokenizer.eos_token_id}
    return frozenset(i for i in found if i is not None)


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
