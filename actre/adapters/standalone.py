"""The part of a card that says how the model is used without ActRe Lab: prompt, sampling settings, and code that plays.

The code is plain transformers and peft and gives the same prompt ids, the same log-probabilities and, at temperature 0,
the same replies as the kit's own policy. tests/adapters/test_standalone.py runs the code of exported cards.
"""

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from actre.config import EnvConfig, ModelConfig, RunConfig
from actre.config.model_names import is_local, is_own, shown
from actre.envs.worlds import list_games, make_env
from actre.orders import NO_ACTION_NOTE, Renderer, chat_format
from actre.types import ActreError, Observation, Step

BASE = "./base"
"""The base model within an export, as adapter_config.json names it. No hub takes it for a name of its own."""


class Standalone(NamedTuple):
    """What an export needs to be used without the kit: the tokenizer, and the settings that the policy plays by."""

    tokenizer: Any
    config: RunConfig


def usage(alone: Standalone, base: ModelConfig, dtype: str, *, merged: bool = False) -> str:
    """The Markdown text for an adapter on `base`, or for the merged model. dtype: torch's name, such as "float32".

    The code's prompt is the first of a game of the settings' unseen panel, if one can be started here.
    """
    renderer, first = _as_text(alone), _first_observation(alone.config.env)
    code = _CODE.format(
        imports="" if merged else "from peft import PeftModel\n",
        names="AutoModelForCausalLM, AutoTokenizer, " + ("BitsAndBytesConfig, " if base.four_bit else ""),
        prompt=quoted(_text(renderer.prompt((), first))),
        model='AutoModelForCausalLM.from_pretrained(FOLDER, dtype="auto")' if merged else _adapted(base, dtype),
        ends=f"{renderer.stop!r} in said(row)" if renderer.stop else "False",
        tokens=alone.config.sampling.max_reply_tokens,
        sampling=_sampling(alone.config.sampling.eval_temperature),
        opening=f"{renderer.opening!r} + " if renderer.opening else "",
    )
    needs = "torch and transformers" if merged else "torch, transformers and peft"
    parts = [
        f"## Without ActRe Lab\n\nThis code plays one step and needs only {needs}. Run it in this folder, or put the "
        f"folder's path behind FOLDER.\n\n{fenced(code, 'python')}",
        *([] if merged else [_how_it_loads(base)]),
        _about_prompts(renderer, first, alone.config),
        _about_sampling(renderer, alone.config),
    ]
    return "\n\n".join(parts)


_CODE = '''\
import torch
{imports}from transformers import {names}StoppingCriteriaList

FOLDER = "."  # this folder
PROMPT = """{prompt}"""

tokenizer = AutoTokenizer.from_pretrained(FOLDER)
model = {model}.eval()


def play(ids, text):  # -> all ids so far, and the new reply
    more = tokenizer.encode(text, add_special_tokens=False)
    more = more[1:] if ids[-1:] == more[:1] == [tokenizer.eos_token_id] else more  # a turn ends once
    ids = torch.tensor([ids + more], device=model.device)
    said = lambda row: tokenizer.decode(row[0, ids.shape[1] :], clean_up_tokenization_spaces=False)
    end = lambda row, scores: torch.tensor([{ends}], device=row.device)
    row = model.generate(
        input_ids=ids, attention_mask=torch.ones_like(ids), stopping_criteria=StoppingCriteriaList([end]),
        max_new_tokens={tokens}, {sampling}
    )
    return row[0].tolist(), said(row)


ids, reply = play([], PROMPT)
print({opening}reply)
'''


def _adapted(base: ModelConfig, dtype: str) -> str:
    """The expression that loads base model and adapter."""
    source = f'"{base.name}"'
    if is_own(base.name):
        source = f'FOLDER + "{BASE.removeprefix(".")}"'
    elif is_local(base.name):
        source = f'"THE FOLDER OF {shown(base.name)}"'
    bits = ""
    if base.four_bit:
        bits = (
            f', quantization_config=BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", '
            f"bnb_4bit_use_double_quant=True, bnb_4bit_compute_dtype=torch.{dtype})"
        )
    loaded = f'AutoModelForCausalLM.from_pretrained({source}, dtype="{dtype}"{bits})'
    return f"PeftModel.from_pretrained({loaded}, FOLDER)"


def _how_it_loads(base: ModelConfig) -> str:
    if is_own(base.name):
        return (
            f"base/ is the base model {base.name}, so nothing is fetched. In this folder, "
            f'`AutoPeftModelForCausalLM.from_pretrained(".")` loads the same model; adapter_config.json names the base '
            f"by its place in it, {BASE}."
        )
    if is_local(base.name):
        return (
            f"The base model {shown(base.name)} is not part of the export; its fingerprint is above. "
            "`actre export RUN --merge FOLDER` writes one model that needs no base."
        )
    return "`AutoPeftModelForCausalLM.from_pretrained(FOLDER)` loads the same model."


def _about_prompts(renderer: Renderer, first: Observation, config: RunConfig) -> str:
    """The prompts as text, with names in braces for what the environment and the policy say."""
    order = config.stages[-1].order
    said = (
        f"### The prompt\n\nOrder: {order}. PROMPT is the first prompt of a game. It ends with the opening tag "
        f"`{renderer.opening}`, which belongs to the reply, and the reply ends with `{renderer.stop}`."
        if renderer.opening
        else f"### The prompt\n\nOrder: {order}, asked for in words only: the policy writes its own first tag."
    )
    steps = _named_steps(renderer, first)
    third = fenced(_text(renderer.prompt(steps[:2], steps[2].observation)), "text")
    if config.prompt.history == "growing" and config.prompt.history_thoughts:
        listed = " + '\\nYou can: ' + '; '.join(admissible)" if config.prompt.list_admissible else ""
        after = renderer.chat.to_assistant + renderer.opening
        turn = f"{renderer.chat.to_user!r} + observation{listed} + {after!r}"
        how = f"Each later step continues the ids:\n\n{fenced(f'ids, reply = play(ids, {turn})', 'python')}\n\n"
    else:
        how = "Each later step has a whole new prompt: `ids, reply = play([], prompt)`. "
    return (
        f'{said}\n\n{how}If a reply has no action, "{NO_ACTION_NOTE}" takes the place of the next observation. The '
        f"third prompt of an episode is\n\n{third}"
    )


def _about_sampling(renderer: Renderer, config: RunConfig) -> str:
    sampling = config.sampling
    stop = f"`{renderer.stop}`" if renderer.stop else "none, only the end of the turn"
    return f"""### Sampling

| setting | value |
|---|---|
| temperature | {sampling.eval_temperature:g} in evaluations (the code above), {sampling.temperature:g} in training |
| top-k, top-p, penalties | none: all tokens can be sampled |
| longest reply | {sampling.max_reply_tokens} tokens |
| longest prompt | {sampling.max_prompt_tokens} tokens, or what the model's context leaves beside the reply |
| text that ends a reply | {stop} |"""


def _sampling(temperature: float) -> str:
    if temperature == 0:
        return "do_sample=False, repetition_penalty=1.0"
    return f"do_sample=True, temperature={temperature!r}, top_k=0, top_p=1.0, repetition_penalty=1.0"


def _as_text(alone: Standalone) -> Renderer:
    """The policy's renderer with characters as tokens, so that its prompts can be read."""
    prompt = alone.config.prompt
    chat = chat_format(alone.tokenizer, prompt.date)
    return Renderer(lambda text: list(map(ord, text)), chat, prompt, alone.config.stages[-1].order)


def _text(ids: Sequence[int]) -> str:
    return "".join(map(chr, ids))


def _first_observation(env: EnvConfig) -> Observation:
    """That of the unseen panel's first game; a name in braces where none can be started here."""
    try:
        game = list_games(env.name, env.unseen)[0]
        text, info = make_env(replace(env, train=env.unseen)).reset(options={"game": game})
    except (ActreError, OSError):  # its games or its package are elsewhere, which is no reason not to export
        return Observation("{observation}", "{task}", ("{admissible}",))
    return Observation(text, info["task"], tuple(info["admissible_commands"]))


def _named_steps(renderer: Renderer, first: Observation) -> list[Step]:
    """Three steps whose texts are names in braces. A task that the first observation repeats is not named again."""
    steps: list[Step] = []
    repeated = ", with the task {task}" if first.task in first.text else ""
    whole = first.text in _text(renderer.prompt((), first))
    for number in (1, 2, 3):
        seen, task = f"{{observation {number}}}", "{task}"
        if number == 1:
            seen = f"{{observation 1{repeated}{'' if whole else ', without its banner line'}}}"
        observation = Observation(seen, task, (f"{{admissible {number}}}",))
        reply = f"{{reply {number}}}"
        ids = tuple(map(ord, reply))
        prompt = renderer.prompt(steps, observation)
        steps.append(Step(observation, prompt, ids, (), reply, None, f"{{action {number}}}", (), 0.0))
    return steps


def quoted(text: str) -> str:
    r"""The text as it stands between triple quotes in Python.

    >>> quoted('a "b" \\ \r')
    'a "b" \\\\ \\r'
    """
    kept = text.replace("\\", "\\\\").replace("\r", "\\r").replace("\0", "\\x00").replace('"""', '\\"\\"\\"')
    return kept[:-1] + '\\"' if kept.endswith('"') else kept


def fenced(text: str, language: str) -> str:
    """A Markdown code block of the text, with a fence that the text does not contain."""
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{text.rstrip(chr(10))}\n{fence}"
