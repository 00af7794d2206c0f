"""The glossary: the records that flow through the kit, their JSONL form, and how a written action is parsed.

Imports only the standard library, so that a trajectory written on a GPU machine can be read anywhere.

Glossary (each name has this meaning everywhere):
    episode     one game played from reset to its end; a `Trajectory` is its record
    step        one action sent to the environment (or nothing, if the reply held none); a `Step`
    token       one id of the policy's tokenizer
    order       the form of a reply: "think_first" (thought, then action), "act_first" (action, then thought),
                "no_think" (action alone)
    stage       a part of training with one order
    history     the earlier steps in the prompt: "growing" (all of them) or "windowed" (the last n)
    observation the environment's text; `task` is what the episode asks for
    admissible  of an action: listed by the environment as possible in this state; "listed" means the same
    other       of a reply: any text that is not a listed action; one outcome in action entropies
    thought     the text between <think> and </think>;  action: the text between <action> and </action>
    group       the episodes of one game in one iteration, which are compared with each other
    arm         a named list of stages and settings, compared with other arms in a study
    panel       a fixed list of games, each played exactly once in an evaluation
    probe state the beginning of an episode, on which action entropy is measured
    bracket     the lower and the upper bound of think-first's action entropy, from K thoughts
    verdict     what a comparison of two orders' entropies says: narrowed, widened, equivalent, inconclusive, withheld
    contraction act-first's action entropy minus think-first's; a policy is contracted if thinking narrows its choice
    learnability the success that a short reinforcement in one order alone teaches that order
    transfer    what one order learns and the other gains by it, as a ratio
    precondition contraction, learnability, transfer or start: what must hold before a comparison can show the claim
    organism    a tiny policy made for a comparison, with a known place on contraction and transfer
    rationale   a thought that is written after the action
Sizes: B batch, T tokens, G group, A admissible actions, K thoughts. Units are suffixes: _nats, _logp, _s, _tokens.
"""

import errno
import gzip
import json
import os
import re
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

SCHEMA_VERSION = 1

Order = Literal["think_first", "act_first", "no_think"]
ORDERS: tuple[Order, ...] = get_args(Order)

# What can be wrong with a step; a step without flags is well-formed and admissible.
Flag = Literal[
    "no_action",  # no action between the tags; nothing was sent to the environment
    "wrong_order",  # all parts are there, but not in the order of the stage
    "no_thought",  # the order has a thought, but there is none between the tags
    "extra_text",  # text outside the tags, or a repeated tag
    "inadmissible",  # the action is well-formed but not in the admissible list
    "truncated",  # the token limit ended the reply
    "env_error",  # the environment failed in this step, which ends the episode
]
FLAGS: tuple[Flag, ...] = get_args(Flag)

Cut = Literal["prompt", "context"]
"""Why an episode was cut for its length. prompt: its prompt exceeded `SamplingConfig.max_prompt_tokens`; context: its
prompt and the longest reply together exceeded `Policy.max_context`."""


_BRACKETED = re.compile(r"(.+)\[(.+)\]")


class ActreError(Exception):
    """An error that a user can fix: its text says what happened, why, and the command that fixes it."""


def parse_action(action: str) -> tuple[str, str | None]:
    """The verb and the argument of an action of the form verb[argument]; for any other, the whole text and None.

    The rule is that of princeton-nlp/WebShop@64fa2a5: the argument begins at the last opening bracket that is followed
    by some text and a closing bracket on the same line, and ends at the last closing bracket. Text after it is ignored.

    >>> parse_action("search[Red shoes]"), parse_action("search[a] click[b]"), parse_action("think")
    (('search', 'Red shoes'), ('search[a] click', 'b'), ('think', None))
    """
    match = _BRACKETED.match(action)
    return (match[1], match[2]) if match else (action, None)


def parse_click(action: str, offered: Callable[[str], bool], *, whole: bool = True) -> str | None:
    """The offered text that an action clicks, lower-cased; None if it clicks none.

    whole: also accept everything between "click[" and a closing bracket at the end, so that texts with brackets or line
    breaks, which `parse_action` splits elsewhere, can be clicked.

    >>> parse_click("click[Us [10]]", {"us [10]"}.__contains__)
    'us [10]'
    >>> parse_click("click[us [10]]", {"us [10]"}.__contains__, whole=False) is None
    True
    """
    verb, argument = parse_action(action)
    if verb == "click" and argument is not None and offered(argument.lower()):
        return argument.lower()
    if whole and action.startswith("click[") and action.endswith("]"):
        argument = action.removeprefix("click[").removesuffix("]").lower()
        return argument if argument and offered(argument) else None
    return None


@dataclass(frozen=True)
class Observation:
    """What the policy may see before a step. `admissible` is in the environment's own order."""

    text: str
    task: str
    admissible: tuple[str, ...]


class Spelling(list[int]):
    """Token ids that stand for their text: the last id stands for every token whose text begins with its own text.

    A policy scores plain ids as exactly these tokens, and a spelling as "this text is written, whatever follows". In
    most tokenizers the `>` that closes a tag can also be the beginning of `><` or of `>` with a line break.
    """


@dataclass(frozen=True)
class Reply:
    """What a policy generated after one prompt.

    token_ids: the sampled ids, the last token of the stop string included; logps: their log-probabilities in nats under
    the sampling distribution (temperature applied), same length; text: their decoding; truncated: the token limit was
    reached before a stop.
    """

    token_ids: tuple[int, ...]
    logps: tuple[float, ...]
    text: str
    truncated: bool = False


SCORES, TOKENS = "orders", "tokens"
"""Keys of `Trajectory.meta`: each step's distributions in both orders, and the texts of its reply's tokens."""


@dataclass(frozen=True)
class Step:
    """One step: the observation, the reply, and their outcome.

    prompt_ids end with the forced opening tag, if there is one; reply_ids continue them. `action` is the exact text
    between the tags (outer blanks stripped), None if there is none and nothing was sent. `reward` is the environment's,
    without the trainer's penalties. advantage: what the step was trained with, None where none was computed.
    """

    observation: Observation
    prompt_ids: tuple[int, ...]
    reply_ids: tuple[int, ...]
    reply_logps: tuple[float, ...]
    reply_text: str
    thought: str | None
    action: str | None
    flags: tuple[Flag, ...]
    reward: float
    advantage: float | None = None


@dataclass(frozen=True)
class Trajectory:
    """One episode. `final` is the observation after the last step, `game` the game's path or id.

    order: the one it was played in. group: index of the group within an iteration (or of the game, where each was
    played several times), None where nothing is compared; evaluations recorded earlier have the game's index. `meta`
    holds information for readers (iteration, stage, the stage's order, probe distributions), "env_error" if the
    environment failed, and "cut" if the episode was cut for its length.
    """

    env: str
    game: str
    task_type: str
    order: Order
    seed: int
    steps: tuple[Step, ...]
    final: Observation
    won: bool
    truncated: bool
    group: int | None = None
    meta: dict[str, Any] = field(default_factory=dict)

    @property
    def env_return(self) -> float:
        """The sum of the environment's rewards."""
        return sum(step.reward for step in self.steps)

    @property
    def cut(self) -> Cut | None:
        """Why the episode was cut for its length; None if it was not, and in records older than this field."""
        return self.meta.get("cut")


def trajectory_to_json(trajectory: Trajectory) -> dict[str, Any]:
    """A plain dict. Of a prompt that extends the previous step's prompt and reply only the new ids are stored."""
    # not dataclasses.asdict, which copies every token id and is 20 times slower
    record = {**vars(trajectory), "final": vars(trajectory.final)}
    record["steps"] = [{**vars(step), "observation": vars(step.observation)} for step in trajectory.steps]
    previous: tuple[int, ...] = ()
    for step, out in zip(trajectory.steps, record["steps"], strict=True):
        extends = bool(previous) and step.prompt_ids[: len(previous)] == previous
        out["prompt_extends"] = extends
        out["prompt_ids"] = list(step.prompt_ids[len(previous) :] if extends else step.prompt_ids)
        out["reply_logps"] = [round(x, 6) for x in step.reply_logps]
        previous = step.prompt_ids + step.reply_ids
    return {"schema": SCHEMA_VERSION, **record}


def trajectory_from_json(record: dict[str, Any]) -> Trajectory:
    """The inverse of `trajectory_to_json`. Raises ActreError for another schema or a missing field."""
    if record.get("schema") != SCHEMA_VERSION:
        raise ActreError(
            f"trajectory schema {record.get('schema')!r} is not {SCHEMA_VERSION}: "
            "it was written by another version of actre; read it with that version"
        )
    try:
        steps = []
        previous: tuple[int, ...] = ()
        for raw in record["steps"]:
            prompt = tuple(raw["prompt_ids"])
            prompt = previous + prompt if raw["prompt_extends"] else prompt
            step = Step(
                observation=_observation(raw["observation"]),
                prompt_ids=prompt,
                reply_ids=tuple(raw["reply_ids"]),
                reply_logps=tuple(raw["reply_logps"]),
                reply_text=raw["reply_text"],
                thought=raw["thought"],
                action=raw["action"],
                flags=tuple(raw["flags"]),
                reward=raw["reward"],
                advantage=raw.get("advantage"),
            )
            previous = step.prompt_ids + step.reply_ids
            steps.append(step)
        names = ("env", "game", "task_type", "order", "seed", "won", "truncated", "group", "meta")
        return Trajectory(steps=tuple(steps), final=_observation(record["final"]), **{n: record[n] for n in names})
    except (KeyError, TypeError) as error:
        raise ActreError(f"not a trajectory record: {error!r}") from error


def _observation(raw: dict[str, Any]) -> Observation:
    return Observation(raw["text"], raw["task"], tuple(raw["admissible"]))


UNWRITABLE = (errno.EACCES, errno.EPERM, errno.EROFS, errno.EEXIST, errno.ENOTDIR, errno.EIO)
"""The error numbers of an unusable folder; a full disk is handled separately."""


def write_jsonl(path: str | Path, records: Iterable[dict[str, Any]]) -> None:
    """Write dicts, one a line, gzipped if the name ends in .gz; the file is replaced atomically."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    part.write_bytes(jsonl_bytes(path, records))
    os.replace(part, path)


def jsonl_bytes(path: str | Path, records: Iterable[dict[str, Any]]) -> bytes:
    """The bytes that `write_jsonl` writes to a file of that name; the same records give the same bytes."""
    # ASCII, because a lone surrogate in a model's text cannot be encoded as UTF-8
    lines = "".join(json.dumps(record) + "\n" for record in records).encode()
    return gzip.compress(lines, mtime=0) if Path(path).suffix == ".gz" else lines


def read_jsonl(path: str | Path) -> Iterator[dict[str, Any]]:
    """The dicts of a JSONL file, gzipped or not. Raises ActreError, with file and line, if a line does not parse."""
    path = Path(path)
    if not path.exists():
        raise ActreError(f"{path} does not exist")
    try:
        raw = path.read_bytes()
        lines = (gzip.decompress(raw) if path.suffix == ".gz" else raw).decode().split("\n")
    except (EOFError, gzip.BadGzipFile, zlib.error, UnicodeDecodeError) as error:
        raise ActreError(f"{path} cannot be read ({error}): the file is damaged or incomplete") from error
    for number, line in enumerate(lines, 1):
        if not line:
            continue
        try:
            yield json.loads(line)
        except json.JSONDecodeError as error:
            raise ActreError(f"{path}, line {number}: not JSON ({error}); the file is damaged or incomplete") from error


def drop_torn_line(path: Path) -> None:
    """Remove an incomplete last line, as an interruption leaves it."""
    text = path.read_bytes()
    if not text.endswith(b"\n"):
        os.truncate(path, text.rfind(b"\n") + 1)


def write_trajectories(path: str | Path, trajectories: Iterable[Trajectory]) -> None:
    """Write trajectories as JSONL (see `trajectory_to_json`)."""
    write_jsonl(path, map(trajectory_to_json, trajectories))


def read_trajectories(path: str | Path) -> list[Trajectory]:
    """Read what `write_trajectories` wrote."""
    return [trajectory_from_json(record) for record in read_jsonl(path)]
