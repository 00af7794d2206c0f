"""The fast ALFWorld engine: equal to the stock engine and its translation, and its cache can be trusted."""

import gc
import gzip
import json
import os
import random
import subprocess
import sys
import tarfile
import weakref
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sas_text import read_sas, task_of
from stock_alfworld import Answer, StockEngine

from actre.envs.alfworld import AlfworldEnv, Game, cache, engine, list_games, read_game
from actre.envs.alfworld.machine import Machine, Operator
from actre.envs.alfworld.text import Writer, _Relation
from actre.envs.alfworld.translate import FORMAT, translate
from actre.types import ActreError

SMALL = list_games("small/train")


@pytest.fixture(autouse=True)
def fresh_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty cache on disk and none in memory."""
    monkeypatch.setenv("ACTRE_CACHE", str(tmp_path / "cache"))
    engine._compiled.clear()
    yield tmp_path / "cache" / "alfworld"
    engine._compiled.clear()


def first_of(task_type: str, games: list[str] = SMALL) -> Game:
    return next(game for path in games if (game := read_game(path)).task_type == task_type)


def kept(folder: Path) -> list[Path]:
    """The files of games; a grammar's is smaller than any."""
    return sorted(folder.glob("*.json.gz"), key=lambda p: p.stat().st_size)


# The stock engine


RARE = ("take", "move", "open", "close", "use", "heat", "clean", "cool", "slice")


def walk_both(game: Game, steps: int, seed: int) -> int:
    """Walk in both engines, often with actions that change something; returns the steps before a win."""
    rng = random.Random(seed)
    stock = StockEngine(game)
    env = AlfworldEnv(max_steps=steps + 1)
    text, info = env.reset(options={"game": game.path})
    answer = stock.reset()
    for number in range(steps):
        assert Answer(text, info["admissible_commands"], info["won"]) == answer, (game.path, number)
        if answer.won:
            return number
        rare = [c for c in answer.admissible if c.startswith(RARE)]
        action = rng.choice(rare if rare and rng.random() < 0.6 else answer.admissible)
        action = f" {action} " if rng.random() < 0.1 else action
        action = action.title() if rng.random() < 0.05 else action
        text, _, _, _, info = env.step(action)
        answer = stock.step(action)
    assert Answer(text, info["admissible_commands"], info["won"]) == answer, (game.path, steps)
    return steps


needs_a_working_stock_engine = pytest.mark.skipif(
    sys.version_info >= (3, 13),
    reason="textworld 1.7.0 evaluates names it puts into locals(), which Python 3.13 (PEP 667) no longer sees",
)


@needs_a_working_stock_engine
@pytest.mark.parametrize("task_type", ["look_at_obj_in_light", "pick_heat_then_place_in_recep"])
def test_a_walk_in_a_generated_game_is_answered_as_by_the_stock_engine(task_type: str) -> None:
    walk_both(first_of(task_type), steps=25, seed=1)


@pytest.mark.slow
@needs_a_working_stock_engine
def test_walks_in_many_generated_games_are_answered_as_by_the_stock_engine() -> None:
    games = [
        path for panel in ("small/seen", "small/unseen", "full/train", "full/unseen") for path in list_games(panel)
    ]
    chosen = random.Random(0).sample(games, 16)
    assert sum(walk_both(read_game(path), steps=40, seed=k) for k, path in enumerate(chosen)) > 300


# The translation


def assert_same_task(game: Game) -> None:
    import fast_downward

    program = translate(game.pddl_domain, game.pddl_problem, game.grammar)
    _, sas = fast_downward.pddl2sas(game.pddl_domain, game.pddl_problem)
    assert task_of(program) == read_sas(sas)


@pytest.mark.parametrize("task_type", ["look_at_obj_in_light", "pick_two_obj_and_place"])
def test_the_translation_is_the_one_that_textworld_gives_to_its_c_library(
    task_type: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", list(sys.argv))  # pddl2sas overwrites it
    assert_same_task(first_of(task_type))


def test_the_translation_of_real_games_is_the_one_that_textworld_gives_to_its_c_library(
    shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", list(sys.argv))
    archive = shared / "alfworld" / "games.tar.xz"
    if not archive.exists():
        pytest.skip(f"no real games at {archive}")
    with tarfile.open(archive) as members:
        names = sorted(name for name in members.getnames() if name.endswith(".tw-pddl"))
        chosen = random.Random(3).sample(names, 2)
        members.extractall(tmp_path, [members.getmember(name) for name in chosen], filter="data")
    for name in chosen:
        assert_same_task(read_game(tmp_path / name))


def test_translating_leaves_arguments_output_and_collector_as_they_were(
    capsys: pytest.CaptureFixture[str],
) -> None:
    game = first_of("pick_and_place_simple")
    before = (list(sys.argv), sys.stdout, gc.isenabled())
    translate(game.pddl_domain, game.pddl_problem, game.grammar)
    with pytest.raises(ActreError):
        translate(game.pddl_domain, game.pddl_problem[:2000], game.grammar)
    assert (list(sys.argv), sys.stdout, gc.isenabled()) == before
    assert capsys.readouterr().out == ""


def test_a_goal_that_can_never_be_reached_is_refused() -> None:
    game = first_of("pick_and_place_simple")
    head, _, _ = game.pddl_problem.rpartition("(:goal")
    assert head
    with pytest.raises(ActreError, match="cannot be reached"):
        engine.load(replace(game, pddl_problem=head + "(:goal (isOn agent1))\n)"))


def test_a_broken_text_anywhere_is_an_error_of_ours_or_plays() -> None:
    rng, game = random.Random(11), first_of("pick_clean_then_place_in_recep")
    outcomes = set()
    for _ in range(30):
        field = rng.choice(["pddl_domain", "grammar", "pddl_problem"])
        text = getattr(game, field)
        at = rng.randrange(len(text))
        text = text[:at] + rng.choice(["", "(", ")", '"', "}", " not "]) + text[at + rng.choice([0, 1, 3, 200]) :]
        try:
            compiled = engine.load(replace(game, **{field: text}))
            state = compiled.initial
            for _ in range(5):
                commands = compiled.commands(state)
                state, _ = compiled.apply(state, commands[rng.choice(list(commands))])
            outcomes.add("plays")
        except ActreError:
            outcomes.add("refused")
    assert outcomes == {"plays", "refused"}


# States


def test_operators_with_one_command_text_do_the_same() -> None:
    """The engine takes the first of them; the stock one takes the first in another order."""
    for path in (*SMALL[:4], list_games("full/train")[0]):
        game = read_game(path)
        program = translate(game.pddl_domain, game.pddl_problem, game.grammar)
        machine, writer = Machine(program), Writer(program)
        rng, state = random.Random(0), machine.initial
        for _ in range(20):
            texts: dict[str, Operator] = {}
            operators = machine.applicable(state)
            for op in operators:
                text = writer.write(program["actions"][op.action][2], state, op.action, op.args)
                other = texts.setdefault(text, op)
                assert machine.apply(state, op) == machine.apply(state, other), text
            state = machine.apply(state, rng.choice(operators))


def test_states_are_values_equal_by_content_however_reached() -> None:
    compiled = engine.load(first_of("pick_and_place_simple"))
    there, _ = compiled.apply(compiled.initial, compiled.commands(compiled.initial)["look"])
    again, _ = compiled.apply(there, compiled.commands(there)["look"])
    assert again == there
    assert hash(again) == hash(there)


def test_threads_that_share_a_game_get_the_answers_of_one_alone() -> None:
    game = SMALL[0]

    def walk(seed: int) -> list[str]:
        env, rng = AlfworldEnv(max_steps=200), random.Random(seed)
        text, info = env.reset(options={"game": game})
        texts = [text]
        for _ in range(60):
            text, _, over, _, info = env.step(rng.choice(info["admissible_commands"]))
            texts += [text, *info["admissible_commands"]]
            if over:
                break
        return texts

    engine.load(read_game(game))  # in the cache on disk
    engine._compiled.clear()
    switching = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        with ThreadPoolExecutor(8) as pool:
            together = list(pool.map(walk, range(8)))
    finally:
        sys.setswitchinterval(switching)
    assert together == [walk(seed) for seed in range(8)]


def test_a_table_of_facts_that_another_thread_is_building_is_never_read_half_built() -> None:
    found = []

    class Rows(list[Any]):
        def __iter__(self) -> Iterator[Any]:
            for row in list.__iter__(self):
                yield row
                if not found:  # what another thread would see at this moment
                    found.append(None)
                    found[0] = relation.matching((0,), (2,))

    rows = Rows([(0, (1, 5)), (1, (2, 5)), (2, (2, 6))])
    relation = _Relation(rows, negated=False)
    assert relation.matching((0,), (2,)) == rows[1:] == found[0]


def test_a_command_text_that_depends_on_the_state_is_written_anew() -> None:
    game = first_of("pick_and_place_simple")
    template = 'template :: "look";'
    assert template in game.grammar
    grammar = game.grammar.replace(template, 'template :: "look [{r.name | opened(r:receptacle)}]";')
    compiled = engine.load(replace(game, grammar=grammar))
    state = compiled.initial
    assert "look nothing" in compiled.commands(state)
    for go in [c for c in compiled.commands(state) if c.startswith("go to")]:
        state, _ = compiled.apply(state, compiled.commands(state)[go])
        open_it = next((c for c in compiled.commands(state) if c.startswith("open")), None)
        if open_it:
            state, _ = compiled.apply(state, compiled.commands(state)[open_it])
            assert f"look {open_it.removeprefix('open ')}" in compiled.commands(state)
            return
    pytest.fail("nothing to open in this game")


# The cache


def test_a_second_process_reads_the_cache_and_loads_neither_translator_nor_textworld() -> None:
    game = SMALL[0]
    program = (
        "import sys\n"
        "from actre.envs.alfworld import AlfworldEnv\n"
        f"text, info = AlfworldEnv([{game!r}]).reset()\n"
        "print(any(m in sys.modules for m in ('textworld', 'fast_downward', 'alfworld')), len(text))"
    )
    runs = [
        subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, env=os.environ)
        for _ in range(2)
    ]
    cold, warm = (run.stdout.split() for run in runs)
    assert cold[0] == "True"
    assert warm == ["False", cold[1]]


def test_a_deleted_cache_is_made_again(fresh_cache: Path) -> None:
    game = read_game(SMALL[0])
    before = engine.load(game)
    for path in fresh_cache.iterdir():
        path.unlink()
    fresh_cache.rmdir()
    engine._compiled.clear()
    assert engine.load(game).intro == before.intro
    assert kept(fresh_cache)


@pytest.mark.parametrize(
    "damage",
    [
        b"",
        b"not gzip",
        gzip.compress(b"{not json"),
        gzip.compress(b"[1, 2]"),
        gzip.compress(json.dumps({"format": -1}).encode()),
        gzip.compress(json.dumps({"format": FORMAT}).encode()),
    ],
    ids=["empty", "no gzip", "no json", "no object", "another form", "no program"],
)
def test_a_damaged_cache_file_is_translated_again(fresh_cache: Path, damage: bytes) -> None:
    game = read_game(SMALL[0])
    before = engine.load(game)
    path = kept(fresh_cache)[-1]
    whole = path.read_bytes()
    for content in (damage, whole[: len(whole) // 2]):
        path.write_bytes(content)
        engine._compiled.clear()
        again = engine.load(game)
        assert (again.intro, list(again.commands(again.initial))) == (
            before.intro,
            list(before.commands(before.initial)),
        )
        assert path.read_bytes() == whole


def test_a_cache_that_cannot_be_written_costs_time_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("a file where a folder should be")
    monkeypatch.setenv("ACTRE_CACHE", str(tmp_path / "file"))
    assert engine.load(read_game(SMALL[0])).intro
    assert not cache.write("0" * 40, {"format": 0})


def test_the_cache_drops_what_was_used_longest_ago_when_it_outgrows_its_limit(
    fresh_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(6):
        cache.write(f"{number:040d}", {"format": 1, "noise": random.Random(number).random()})
        os.utime(fresh_cache / f"{number:040d}.json.gz", (1000 + number, 1000 + number))
    assert cache.read(f"{0:040d}", 1)  # reading makes it young again
    size = kept(fresh_cache)[0].stat().st_size
    assert cache.prune(3 * size + size // 2) <= 3 * size + size // 2
    left = {int(path.name.split(".")[0]) for path in kept(fresh_cache)}
    assert 0 in left
    assert left <= {0, 4, 5}
    monkeypatch.setattr(cache, "LIMIT_BYTES", 0)
    monkeypatch.setattr(cache, "_writes", 0)
    cache.write("f" * 40, {"format": 1})
    assert kept(fresh_cache) == []


def test_another_problem_or_grammar_is_another_game() -> None:
    game = read_game(SMALL[0])
    sentence = game.grammar.partition("Your task is to: ")[2].partition('"')[0]
    other = replace(game, grammar=game.grammar.replace(sentence, "do as you please."))
    assert engine.load(game).intro.endswith(sentence)
    assert engine.load(other).intro.endswith("Your task is to: do as you please.")
    awkward = replace(game, grammar=game.grammar.replace(sentence, "put it (now) in/on; so: 50%."))
    assert engine.load(awkward).intro.endswith("Your task is to: put it (now) in/on")  # as the stock parser cuts it


def test_games_in_memory_are_bounded_and_freed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "_KEPT_GAMES", 3)
    env = AlfworldEnv()
    refs = []
    for path in SMALL[:6]:
        env.reset(options={"game": path})
        refs.append(weakref.ref(env._compiled))
    gc.collect()
    assert len(engine._compiled) == 3
    assert [ref() is not None for ref in refs] == [False] * 3 + [True] * 3


def test_environments_in_one_process_open_no_files(monkeypatch: pytest.MonkeyPatch) -> None:
    folder = Path("/proc/self/fd")
    if not folder.is_dir():
        pytest.skip("no /proc to count open files in")
    AlfworldEnv(SMALL[:1]).reset()
    before = len(list(folder.iterdir()))
    envs = [AlfworldEnv(SMALL[:4]) for _ in range(8)]
    for env in envs:
        env.reset(seed=1)
        env.step("look")
    assert len(list(folder.iterdir())) == before
