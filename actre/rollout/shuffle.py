"""Act-first replies whose thoughts are exchanged: each keeps its action and explains another episode's.

If training on such replies helps as much as on true ones, the thought after the action regularises and does not explain
(the question of arXiv 2406.14511, asked there of rationales in distillation).
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

from actre.orders import END_ACTION, END_THINK, tokens_up_to
from actre.types import Reply


def with_thoughts_of_others(replies: Sequence[Reply], decode: Callable[[Sequence[int]], str]) -> list[Reply]:
    """The replies of one turn, each with what another one wrote after its action, token by token.

    It is that of the reply half-way down the list: another game's, where there are two or more games in equal groups.
    Only complete replies (action and thought closed) give and take, and only among those whose token that completes
    the action's tag has the same text behind it, such as the `<` of `><`; one alone keeps its own. The
    log-probabilities of what moves are those it had in its own reply: training computes them anew
    (`SlicedTrainer.rescored`).

    >>> words = ("a</action>", "b</action>", " because</think>", " for fun</think>")
    >>> write = lambda ids: "".join(words[i] for i in ids)
    >>> made = with_thoughts_of_others([Reply((i, i + 2), (-1.0, -2.0), write((i, i + 2))) for i in (0, 1)], write)
    >>> [reply.text for reply in made]
    ['a</action> for fun</think>', 'b</action> because</think>']
    """
    alike: dict[str, list[tuple[int, int]]] = {}  # text behind the tag -> replies, and where each is cut
    for i, reply in enumerate(replies):
        if _complete(reply):
            cut = tokens_up_to(END_ACTION, reply.token_ids, decode)
            alike.setdefault(decode(reply.token_ids[:cut]).partition(END_ACTION)[2], []).append((i, cut))
    found = list(replies)
    for whole in alike.values():
        for place, (i, cut) in enumerate(whole):
            other, after = whole[(place + max(1, len(whole) // 2)) % len(whole)]
            ids = (*replies[i].token_ids[:cut], *replies[other].token_ids[after:])
            logps = (*replies[i].logps[:cut], *replies[other].logps[after:])
            found[i] = replace(replies[i], token_ids=ids, logps=logps, text=decode(ids))
    return found


def _complete(reply: Reply) -> bool:
    _, closed, after = reply.text.partition(END_ACTION)
    return bool(closed) and END_THINK in after and not reply.truncated
