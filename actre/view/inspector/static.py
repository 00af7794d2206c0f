"""Episodes as HTML without widget, script or kernel, as a saved notebook shows them.

Some viewers (GitHub's among them) drop styles and scripts, so the structure is tables, headings and <details> blocks;
bars and ribbons are characters.
"""

from collections.abc import Sequence
from typing import Any

from actre.view.html import Html, tag
from actre.view.inspector import data

MOST_WHOLE, MOST_BYTES, MOST_LISTED = 6, 300_000, 200
"""Limits for a saved notebook: whole episodes, their bytes, and listed episodes."""
_RAMP = "▁▂▃▄▅▆▇█"
_STYLE = Html(
    ".actre-saved p{margin:.2rem 0;white-space:pre-line;overflow-wrap:anywhere}"
    ".actre-saved summary{cursor:pointer;padding:.2rem 0}"
    ".actre-saved table{margin:.4rem 0}.actre-saved td,.actre-saved th{text-align:left;vertical-align:top}"
    ".actre-saved ol{padding-left:1.6rem}.actre-saved li{margin:.5rem 0}"
)


def page(entries: Sequence[data.Entry]) -> str:
    """The list of episodes, and the first ones in full within the limits."""
    rows = data.index(entries[:MOST_LISTED])
    whole: list[Html] = []
    size = 0
    for number, entry in enumerate(entries[:MOST_WHOLE]):
        one = transcript(data.episode(number, entry), unfolded=number == 0)
        if whole and size + len(one) > MOST_BYTES:
            break
        whole.append(one)
        size += len(one)
    said = f"{len(entries)} episodes, {sum(e.trajectory.won for e in entries)} won; {len(whole)} of them in full below."
    listed = tag("details", tag("summary", f"The list of episodes ({len(rows)})"), _list(rows))
    note = tag("p", tag("em", "Run this notebook to step through them, compare them and query the policy."))
    return tag("div", tag("style", _STYLE), tag("p", said), note, listed, whole, class_="actre-saved")


def transcript(episode: dict[str, Any], *, unfolded: bool = False) -> Html:
    """One episode, as from `data.episode`, in a <details> block."""
    run = f"{episode['run']} · " if episode["run"] else ""
    head = f"{run}{_ending(episode)} · {episode['task'] or episode['game']} ({episode['count']} steps)"
    facts = f"{episode['order_name']} · {episode['type']} · {episode['game']} · return {episode['return']:g}"
    facts += f" · {episode['of_group']}" if episode["of_group"] else ""
    steps = [tag("li", _step(step, episode)) for step in episode["steps"]]
    end = tag("p", tag("strong", "Then: "), episode["final"])
    failed = tag("p", f"Environment failed: {episode['error']}") if episode["error"] else None
    cut = tag("p", f"Cut here: {episode['cut']}") if episode["cut"] else None
    body = [tag("p", facts), _ribbon(episode), tag("ol", steps), end, failed, cut]
    return tag("details", tag("summary", tag("strong", head)), body, open=unfolded)


def _step(step: dict[str, Any], episode: dict[str, Any]) -> list[Html | None]:
    thought = tag("p", tag("em", f"Thinks: {step['thought']}")) if step["thought"] else None
    action = tag("p", tag("strong", "Does: "), tag("code", step["action"])) if step["action"] is not None else None
    written = [action, thought] if episode["order"] == "act_first" else [thought, action]
    if action is None:
        written.append(tag("p", tag("strong", "Writes: "), tag("code", step["reply"])))
    notes = [*step["flags"], *(f"{name} {step[name]:+g}" for name in ("reward", "advantage") if step[name])]
    flags = tag("p", tag("small", " · ".join(notes))) if notes else None
    return [tag("p", step["seen"]), *written, flags, _distribution(step, episode)]


def _distribution(step: dict[str, Any], episode: dict[str, Any]) -> Html | None:
    scores = step["scores"]
    if not scores:
        return None
    orders = [(name, scores.get(key)) for name, key in _COLUMNS if scores.get(key)]
    names = [episode["actions"][i] for i in step["admissible"]]
    places = sorted(range(len(names)), key=lambda i: -max(one["p"][i] for _, one in orders))
    shown = [i for i in places if max(one["p"][i] for _, one in orders) >= 0.005]
    head = tag("tr", tag("th", "action"), [tag("th", name) for name, _ in orders])
    rows = [tag("tr", tag("td", names[i]), [tag("td", bar(one["p"][i])) for _, one in orders]) for i in shown]
    rows.append(tag("tr", tag("td", tag("em", "anything else")), [tag("td", bar(one["other"])) for _, one in orders]))
    nats = [tag("td", f"{one['entropy']:.2f} nats{_bounds(one)}") for _, one in orders]
    rows.append(tag("tr", tag("td", tag("em", "entropy")), nats))
    apart = f"; Jensen-Shannon divergence {scores['js']:.3f} nats" if scores.get("js") is not None else ""
    summary = f"What it would do here: {scores['act_first']['entropy']:.2f} nats acting first{apart}"
    return tag("details", tag("summary", tag("small", summary)), tag("table", tag("thead", head), tag("tbody", rows)))


_COLUMNS = (("acts first", "act_first"), ("thinks first", "think_first"), ("after this thought", "after"))


def _bounds(one: dict[str, Any]) -> str:
    if "lower" not in one:
        return ""
    upper = "?" if one["upper"] is None else f"{one['upper']:.2f}"
    return f" [{one['lower']:.2f}, {upper}]"


def bar(p: float) -> str:
    """A probability as a bar of characters with its percentage.

    >>> bar(0.5), bar(0.004)
    ('█████ 50%', '0.4%')
    """
    blocks = "█" * round(p * 10)
    return f"{blocks} {p * 100:.0f}%".strip() if p >= 0.01 or p == 0 else f"{p * 100:.1g}%"


def _ribbon(episode: dict[str, Any]) -> Html | None:
    """The act-first entropy over the episode, one character per step."""
    values = [step["scores"]["act_first"]["entropy"] if step["scores"] else None for step in episode["steps"]]
    known = [value for value in values if value is not None]
    if not known:
        return None
    top = max(*known, 1e-9)
    marks = "".join("·" if v is None else _RAMP[min(int(v / top * len(_RAMP)), len(_RAMP) - 1)] for v in values)
    words = f"Entropy over the episode, acting first, 0 to {top:.2f} nats: "
    return tag("p", tag("small", words), tag("code", marks))


def _list(rows: Sequence[dict[str, Any]]) -> Html:
    names = ("run", "outcome", "task", "kind", "order", "steps", "surprise per token (nats)")
    body = [
        tag(
            "tr",
            [tag("td", cell) for cell in (row["run"], _ending(row), row["task"], row["type"], row["order_name"])],
            tag("td", row["count"]),
            tag("td", "" if row["surprise"] is None else f"{row['surprise']:.2f}"),
        )
        for row in rows
    ]
    return tag("table", tag("thead", tag("tr", [tag("th", name) for name in names])), tag("tbody", body))


def _ending(row: dict[str, Any]) -> str:
    return "won" if row["won"] else "lost" if row["count"] else "not started"
