"""Paraphrases: many wordings, the same names, the same play, and nothing that the thought does not say."""

import random
import re
from collections import defaultdict
from pathlib import Path

import pytest

from actre.cli import main
from actre.envs.alfworld.env import AlfworldEnv
from actre.envs.alfworld.expert import Expert, Habits, Thoughts
from actre.envs.alfworld.panels import generate, write_panel
from actre.envs.alfworld.paraphrase import paraphrase

NAME = re.compile(r"[a-z]+ [0-9]+")


def played(tmp_path: Path, thoughts: Thoughts, *, other_words: bool, games: int = 24) -> list[tuple[str, str]]:
    """(thought, action) of every step of an expert that wanders and forgets."""
    panel = write_panel(tmp_path / f"{thoughts}-{other_words}.jsonl.gz", list(generate("small", "train", games, 3)))
    env, steps = AlfworldEnv(panel, max_steps=20), []
    for n, game in enumerate(panel):
        text, info = env.reset(options={"game": game})
        expert = Expert(Habits(random_moves=0.3, forget=0.5, thoughts=thoughts, paraphrase=other_words), seed=n)
        expert.reset(text, info["task"])
        over = False
        while not over:
            said = expert.act(text)
            steps.append((said.thought, said.action))
            text, _, terminated, truncated, _ = env.step(said.action)
            over = terminated or truncated
    return steps


@pytest.mark.parametrize("thoughts", ["needs", "plain", "said"])
def test_other_words_keep_the_play_and_every_name(thoughts: Thoughts, tmp_path: Path) -> None:
    plain, worded = (played(tmp_path, thoughts, other_words=way) for way in (False, True))
    assert [action for _, action in plain] == [action for _, action in worded]
    for (one, action), (other, _) in zip(plain, worded, strict=True):
        assert set(NAME.findall(one)) == set(NAME.findall(other)), (one, other)
        if thoughts == "said":
            assert other.startswith(action)


def test_there_are_hundreds_of_wordings(tmp_path: Path) -> None:
    """Without names and things, so that only the sentences count."""
    canonical = {NAME.sub("it", thought) for thought, _ in played(tmp_path, "plain", other_words=False)}
    kinds = {re.sub(r"(?<!no )need (one more )?[a-z]+", "need it", thought) for thought in canonical}
    wordings = {paraphrase(kind, random.Random(n)) for kind in kinds for n in range(400)}
    assert len(kinds) < 40
    assert len(wordings) > 300


def test_the_wording_depends_on_the_thought_and_the_draw_alone() -> None:
    """A mode of the expert that the thought does not show cannot be seen in its paraphrase either."""
    draws = [paraphrase("need mug . try shelf 1", random.Random(n)) for n in range(200)]
    again = [paraphrase("need mug . try shelf 1", random.Random(n)) for n in range(200)]
    assert draws == again
    counts = defaultdict(int)
    for draw in draws:
        counts[draw] += 1
    assert max(counts.values()) < 20  # no wording dominates


@pytest.mark.parametrize("thought", ["look around . go to shelf 1 . x", "peradventure", "need mug . peradventure it"])
def test_a_thought_of_another_kind_is_refused(thought: str) -> None:
    with pytest.raises(ValueError, match="no other words"):
        paraphrase(thought, random.Random(0))


@pytest.mark.parametrize("thoughts", ["marked", "other"])
def test_thoughts_without_paraphrases_are_refused_at_once(thoughts: Thoughts) -> None:
    with pytest.raises(ValueError, match="no paraphrases"):
        Expert(Habits(thoughts=thoughts, paraphrase=True), 0)


def test_the_command_says_which_thoughts_can_be_worded_anew(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["warmstart", "--model", "tiny", "--paraphrase", "--out", str(tmp_path / "o")]) == 2
    assert "--thoughts plain" in capsys.readouterr().err
    assert not (tmp_path / "o").exists()
