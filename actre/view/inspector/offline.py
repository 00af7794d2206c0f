"""The inspector in a report: script, style and episodes as one block that needs no request and no kernel.

The files are the notebook widget's, with offline.js in place of the kernel. Without a script, the episodes are shown
written out, as in a saved notebook.
"""

import base64
import hashlib
import json
from collections.abc import Sequence
from typing import Any, NamedTuple

from actre.view.html import Html, tag
from actre.view.inspector import data
from actre.view.inspector.assets import SCRIPTS, STYLES, parts
from actre.view.inspector.static import transcript

MOST_BYTES = 2_500_000
"""Limit for the episodes' data, and for their written form; the page states how many were left out."""

UNSCORED = "No distribution was recorded at this step: actre report RUN --score measures the chosen episodes."


class Exhibit(NamedTuple):
    """A link above the inspector: the episodes it opens (one or two indices), the step, and why they were chosen."""

    title: str
    why: str
    episodes: tuple[int, ...]
    step: int = 0
    group: str = ""
    """The heading above the link."""


class Offline(NamedTuple):
    """The parts for a page: the block, and the text of its <script> element."""

    block: Html
    script: str


def offline(entries: Sequence[data.Entry], exhibits: Sequence[Exhibit]) -> Offline:
    """The block for these episodes; the first exhibit is open. Exhibits of episodes beyond MOST_BYTES are left out."""
    episodes = [data.episode(number, entry) for number, entry in enumerate(entries)]
    kept = _within(episodes)
    shown = [one for one in exhibits if all(number < kept for number in one.episodes)]
    groups: dict[str, list[Exhibit]] = {}
    for one in shown:
        groups.setdefault(one.group, []).append(one)
    listed = [
        tag("div", tag("h3", group) if group else None, tag("ul", [_line(one) for one in lines]))
        for group, lines in groups.items()
    ]
    written = [_written(episode) for episode in episodes[:kept]]
    hint = "The same episodes written out, step by step"
    block = [
        tag("div", listed, class_="chosen"),
        tag("div", class_="inspector-host"),
        tag("details", tag("summary", hint), written, class_="written", open=True),
        _block(entries[:kept], episodes[:kept], shown),
    ]
    if kept < len(entries):
        left = f"{len(entries) - kept} more episodes were chosen but left out, to keep the report small."
        block.insert(1, tag("p", left, class_="soft"))
    return Offline(tag("div", block), script())


def script() -> str:
    """The script, wrapped so that HTML and XML parsers read it alike."""
    return f"//<![CDATA[\n{parts((*SCRIPTS, 'offline.js'))}//]]>"


def fingerprint(text: str) -> str:
    """The hash by which a Content-Security-Policy allows this script and no other.

    >>> fingerprint("")
    'sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU='
    """
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _within(episodes: Sequence[dict[str, Any]]) -> int:
    """How many of the first episodes fit."""
    size = 0
    for number, episode in enumerate(episodes):
        size += max(len(_json(episode)), len(_written(episode)))
        if number and size > MOST_BYTES:
            return number
    return len(episodes)


def _written(episode: dict[str, Any]) -> Html:
    return tag("article", transcript(episode), id=f"episode-{episode['id']}", class_="saved")


def _line(one: Exhibit) -> Html:
    show = " ".join(map(str, one.episodes))
    first, *other = one.episodes
    link = tag("a", one.title, href=f"#episode-{first}", data_show=show, data_step=one.step)
    also = [[" and ", tag("a", "its other ending", href=f"#episode-{number}")] for number in other]
    return tag("li", tag("strong", link), also, tag("span", f" {one.why}", class_="soft"))


def _block(entries: Sequence[data.Entry], episodes: Sequence[dict[str, Any]], exhibits: Sequence[Exhibit]) -> Html:
    first = exhibits[0] if exhibits else Exhibit("", "", (0,))
    place: dict[str, Any] = {"episode": first.episodes[0], "step": first.step}
    if len(first.episodes) > 1:
        place["other"] = first.episodes[1]
    traits = {
        "_index": data.index(entries),
        "_episodes": list(episodes),
        "_about": {"packed": len(episodes), "checkpoints": [], "thoughts": 0, "unscored": UNSCORED},
        "_place": place,
        "_style": parts(STYLES),
    }
    return tag("script", Html(_json(traits)), type="application/json", data_inspector=True)


def _json(record: Any) -> str:
    r"""JSON without markup characters, so that no text in it can end its element.

    >>> _json("</script>&")
    '"\\u003c/script\\u003e\\u0026"'
    """
    text = json.dumps(record, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
