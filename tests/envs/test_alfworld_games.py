"""Games: what the shipped panels hold, that the generator keeps its promises, and that bad files say so."""

import gzip
import json
import os
import re
import subprocess
import sys
from collections import Counter
from itertools import islice
from pathlib import Path

import pytest

from actre.cli import build_parser
from actre.cli.terminal import ask
from actre.envs.alfworld import games, panels, wheel
from actre.envs.alfworld.generate import SIZES, SPLITS, plans, possible_goals, rooms, solvable_by_construction
from actre.envs.alfworld.rooms import Room, content_key, problem, spots
from actre.envs.alfworld.tasks import TASK_TYPES, parse_task
from actre.types import ActreError, write_jsonl

SHIPPED = games.SHIPPED
SHARED = Path(os.environ.get("ACTRE_SHARED", Path(__file__).parents[3] / "shared")) / "alfworld"


@pytest.fixture(scope="module")
def shipped() -> dict[str, list[Room]]:
    return {name: games.read_rooms(name) for name in SHIPPED}


@pytest.fixture(scope="module")
def real_games(tmp_path_factory: pytest.TempPathFactory) -> Path:
    archive = SHARED / "games.tar.xz"
    if not archive.exists():
        pytest.skip(f"no real games at {archive}: set ACTRE_SHARED")
    folder = tmp_path_factory.mktemp("real")
    subprocess.run(["tar", "xJf", archive, "-C", folder], check=True)
    return folder


# --- the shipped panels ---


def test_shipped_panels_have_their_numbers_and_even_task_types(shipped: dict[str, list[Room]]) -> None:
    for name, panel in shipped.items():
        want = panels.COUNTS[name.partition("/")[2].removesuffix("-2")]  # type: ignore[index]
        assert len(panel) == want
        assert Counter(room.task_type for room in panel) == dict.fromkeys(TASK_TYPES, want // 6)


def test_unseen_floor_plans_are_never_used_by_train_or_seen_and_cover_all_room_kinds(
    shipped: dict[str, list[Room]],
) -> None:
    used = {split: {r.plan for s in SIZES for r in shipped[f"{s}/{split}"]} for split in SPLITS}
    used["unseen"] |= {r.plan for r in shipped[panels.SECOND]}
    assert not used["unseen"] & (used["train"] | used["seen"])
    for size in SIZES:
        kinds = {wheel.room_kind(r.plan) for r in shipped[f"{size}/unseen"]}
        assert kinds == set(wheel.ROOM_KINDS)
        assert {r.plan for r in shipped[f"{size}/seen"]} <= {r.plan for r in shipped[f"{size}/train"]}


def test_no_two_shipped_games_have_the_same_content(shipped: dict[str, list[Room]]) -> None:
    keys = [content_key(room) for panel in shipped.values() for room in panel]
    assert len(keys) == len(set(keys)) == 960
    assert len({room.id for panel in shipped.values() for room in panel}) == 960


def test_shipped_panels_are_compact() -> None:
    assert sum(games.shipped_panel(name).stat().st_size for name in SHIPPED) < 300_000


def test_both_sentence_templates_of_every_task_type_occur(shipped: dict[str, list[Room]]) -> None:
    for size in SIZES:
        train = shipped[f"{size}/train"]
        openings = {(r.task_type, " ".join(r.task.split()[:2])) for r in train}
        for task_type in TASK_TYPES:
            assert len({o for t, o in openings if t == task_type}) >= 2


def test_the_shipped_panels_are_what_the_generator_draws(shipped: dict[str, list[Room]], tmp_path: Path) -> None:
    """No room was edited by hand, and the generator has not drifted since."""
    # the expert solved every room that was drawn: none had to be dropped
    panels.make_shipped(tmp_path, lambda room: True)
    for name in SHIPPED:
        assert games.read_rooms(tmp_path / f"{name}.jsonl.gz") == shipped[name]


# --- the generator ---


def _first(size: str, split: str, n: int, seed: int | str = 0) -> list[Room]:
    return list(islice(rooms(size, split, seed), n))  # type: ignore[arg-type]


def test_the_same_seed_draws_the_same_games_whatever_the_hash_seed() -> None:
    code = (
        "from itertools import islice\n"
        "from actre.envs.alfworld.generate import rooms\n"
        "from actre.envs.alfworld.rooms import digest, problem\n"
        "print(digest(''.join(map(problem, islice(rooms('small', 'train', 3), 60)))))\n"
        "print(digest(''.join(map(problem, islice(rooms('full', 'train', 3), 30)))))"
    )
    outs = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": h},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for h in ("1", "77")
    }
    assert len(outs) == 1
    assert [r.plan for r in _first("small", "train", 30, 3)] != [r.plan for r in _first("small", "train", 30, 4)]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("split", SPLITS)
def test_drawn_rooms_keep_to_their_split_size_and_task(size: str, split: str) -> None:
    for room in _first(size, split, 600):
        here = [spots(room.plan)[i] for i in room.receptacles]
        assert room.plan in plans(split)  # type: ignore[arg-type]
        assert solvable_by_construction(room)
        low, high = (7, 9) if size == "small" else (20, 40)
        assert low <= len(here) <= high
        for thing, position in room.objects:
            assert thing == "DeskLamp" or thing in wheel.fits()[here[position].kind]
        if size == "small":
            assert len({s.pose for s in here}) == len(here)
        machine = {"clean": "SinkBasin", "heat": "Microwave", "cool": "Fridge"}.get(room.task_type.split("_")[1])
        assert machine is None or machine in {s.kind for s in here}
        task = parse_task(room.task)
        assert task is not None
        assert task.task_type == room.task_type
        assert (task.thing, task.receptacle or task.lamp) == (room.thing.lower(), room.target.lower())


def test_full_size_rooms_hold_about_sixty_objects_and_shared_places() -> None:
    drawn = _first("full", "train", 60)
    sizes = [len(r.objects) + len(r.scenery) for r in drawn]
    assert 45 <= sum(sizes) / len(sizes) <= 65
    shared = [len({spots(r.plan)[i].pose for i in r.receptacles}) < len(r.receptacles) for r in drawn]
    assert any(shared)


def test_what_must_be_changed_can_be() -> None:
    able = {"clean": "Cleanable", "heat": "Heatable", "cool": "Coolable"}
    for plan in wheel.floor_plans():
        for task_type in TASK_TYPES:
            for goal in possible_goals(plan, task_type):
                ability = able.get(task_type.split("_")[1])
                assert ability is None or goal.thing in wheel.can()[ability]


def test_every_floor_plan_serves_some_goal_and_spots_are_distinct() -> None:
    for plan in wheel.floor_plans():
        assert any(possible_goals(plan, t) for t in TASK_TYPES)
        names = [s.name for s in spots(plan)]
        assert len(names) == len(set(names))


def test_fresh_games_avoid_shipped_and_excluded_ones(shipped: dict[str, list[Room]]) -> None:
    fresh = panels.generate("small", "train", 12, panels.SHIPPED_SEED)
    assert not {content_key(r) for r in fresh} & {content_key(r) for p in shipped.values() for r in p}
    others = panels.generate("small", "train", 12, 0, exclude=[content_key(r) for r in fresh])
    assert not {content_key(r) for r in fresh} & {content_key(r) for r in others}


def test_an_unknown_size_or_split_is_refused() -> None:
    with pytest.raises(ActreError, match="sizes are"):
        next(rooms("tiny", "train", 0))  # type: ignore[arg-type]


def test_problems_close_their_brackets_and_declare_what_they_use() -> None:
    for room in _first("small", "unseen", 12) + _first("full", "unseen", 6):
        text = problem(room)
        assert text.count("(") == text.count(")")
        declared = set(re.findall(r"^(\S+) - ", text, flags=re.M))
        init = text[text.index("(:init") : text.index("(:goal")]
        used = {name for line in re.findall(r"\((\w+ [^()]+)\)", init) for name in line.split()[1:]}
        assert used <= declared


# --- reading ---


def test_a_panel_survives_writing_and_reading(tmp_path: Path) -> None:
    drawn = _first("small", "train", 6) + _first("full", "seen", 6)
    paths = panels.write_panel(tmp_path / "p.jsonl.gz", drawn)
    assert games.list_games(tmp_path / "p.jsonl.gz") == paths
    assert games.read_rooms(tmp_path / "p.jsonl.gz") == drawn
    for path, room in zip(paths, drawn, strict=True):
        game = games.read_game(path)
        assert (game.id, game.path, game.task_type) == (room.id, path, room.task_type)
        assert game.pddl_problem == problem(room)
        assert f"Your task is to: {room.task}." in game.grammar


def test_a_shipped_game_is_named_by_its_panel_wherever_the_data_lies() -> None:
    path = games.list_games("small/train")[5]
    assert path.startswith("small/train#")
    file = f"{games.shipped_panel('small/train')}#{path.partition('#')[2]}"
    assert games.read_game(path).pddl_problem == games.read_game(file).pddl_problem
    assert games.list_games(path) == [path]


def _tw_pddl(folder: Path, **changes: str) -> Path:
    game = games.game_of(_first("small", "train", 1)[0])
    raw = {"pddl_domain": game.pddl_domain, "grammar": game.grammar, "pddl_problem": game.pddl_problem}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "game.tw-pddl").write_text(json.dumps({**raw, **changes}))
    return folder / "game.tw-pddl"


def test_a_game_file_is_read_itself_or_through_its_folder(tmp_path: Path) -> None:
    file = _tw_pddl(tmp_path / "pick-X" / "trial_1")
    assert games.read_game(file).pddl_problem == games.read_game(file.parent).pddl_problem
    assert games.read_game(file).id == "pick-X/trial_1"
    assert games.list_games(tmp_path) == [str(file)]
    assert games.list_games(file) == [str(file)]


def test_official_games_are_found_in_alfworld_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALFWORLD_DATA", str(tmp_path))
    with pytest.raises(ActreError, match="alfworld-download"):
        games.list_games("official/valid_seen")
    file = _tw_pddl(tmp_path / "json_2.1.1" / "valid_seen" / "pick_and_place_simple-A-None-B-1" / "trial_1")
    _tw_pddl(tmp_path / "json_2.1.1" / "valid_seen" / "pick_and_place_with_movable_recep-A" / "trial_2")
    marked = _tw_pddl(tmp_path / "json_2.1.1" / "valid_seen" / "pick_and_place_simple-A-None-B-1" / "trial_3")
    marked.write_text(json.dumps({**json.loads(marked.read_text()), "solvable": False}))
    assert games.list_games("official/valid_seen") == [str(file)]
    marked.write_text(json.dumps({**json.loads(marked.read_text()), "solvable": True}))
    assert games.list_games("official/valid_seen") == [str(file), str(marked)]


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("small/trian", "did you mean 'small/train'"),
        ("nowhere/at/all", "actre games list"),
        ("small/train#small-train-v1-9999", "did you mean"),
        ("small/train#zzz", "240 games"),
    ],
)
def test_a_wrong_name_is_answered_with_what_would_help(name: str, says: str) -> None:
    with pytest.raises(ActreError, match=re.escape(says)):
        games.list_games(name)


def test_damaged_and_foreign_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(ActreError, match="does not exist"):
        games.read_game(tmp_path / "no.tw-pddl")
    (tmp_path / "bad.tw-pddl").write_text('{"pddl_domain": ')
    with pytest.raises(ActreError, match="not JSON"):
        games.read_game(tmp_path / "bad.tw-pddl")
    (tmp_path / "bad.tw-pddl").write_text("[1]")
    with pytest.raises(ActreError, match="not an ALFWorld game"):
        games.read_game(tmp_path / "bad.tw-pddl")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ActreError, match=r"holds no game\.tw-pddl"):
        games.list_games(tmp_path / "empty")


def _as_2_1_1(grammar: str) -> str:
    """A grammar of today with the older format's words where they differ."""
    return grammar.replace("move {o} to {r}", "put {o} in/on {r}").replace("You move the", "You put the")


def test_a_game_in_format_2_1_1_is_played_by_todays_rules_and_says_so(tmp_path: Path) -> None:
    room = _first("small", "train", 1)[0]
    today = games.game_of(room)
    file = _tw_pddl(tmp_path / "pick-X" / "trial_1", grammar=_as_2_1_1(today.grammar), pddl_domain="(an older domain)")
    with pytest.warns(UserWarning, match=r"2\.1\.1 are converted"):
        game = games.read_game(file)
    assert game.converted
    assert not games.read_game(_tw_pddl(tmp_path / "pick-Y" / "trial_1")).converted
    assert (game.pddl_domain, game.grammar, game.pddl_problem) == (
        today.pddl_domain,
        today.grammar,
        today.pddl_problem,
    )


def test_real_games_put_back_into_the_older_words_come_out_as_they_were(real_games: Path, tmp_path: Path) -> None:
    """Those games were converted from 2.1.1 once, by others' hands: problem and task kept, the rest today's."""
    for file in games.list_games(real_games)[::40]:
        raw = json.loads(Path(file).read_text())
        old = tmp_path / Path(file).parent.name / "game.tw-pddl"
        old.parent.mkdir()
        old.write_text(json.dumps({**raw, "grammar": _as_2_1_1(raw["grammar"]), "pddl_domain": "(an older domain)"}))
        with pytest.warns(UserWarning, match="converted"):
            game = games.read_game(old)
        assert (game.pddl_domain, game.grammar) == (raw["pddl_domain"], raw["grammar"])
        assert game.pddl_problem == raw["pddl_problem"]


def test_damaged_panels_are_named(tmp_path: Path) -> None:
    whole = tmp_path / "p.jsonl.gz"
    paths = panels.write_panel(whole, _first("small", "train", 3))
    with pytest.raises(ActreError, match="is a panel of several games"):
        games.read_game(whole)
    cut = tmp_path / "cut.jsonl.gz"
    cut.write_bytes(whole.read_bytes()[:200])
    with pytest.raises(ActreError, match="damaged"):
        games.list_games(cut)
    (tmp_path / "plain.jsonl.gz").write_bytes(b"no gzip")
    with pytest.raises(ActreError, match="damaged"):
        games.list_games(tmp_path / "plain.jsonl.gz")
    records = [json.loads(line) for line in gzip.decompress(whole.read_bytes()).splitlines()]
    records[0]["objects"] = records[0]["objects"][1:]
    write_jsonl(whole, records)
    with pytest.raises(ActreError, match="is not the one its panel was made with"):
        games.read_game(paths[0])
    del records[1]["plan"]
    write_jsonl(whole, records)
    with pytest.raises(ActreError, match="not a room record"):
        games.read_game(paths[1])


def test_reading_games_loads_neither_alfworld_nor_textworld(tmp_path: Path) -> None:
    code = (
        "import sys; from actre.envs.alfworld import games, demos\n"
        "games.read_game(games.list_games('small/train')[0])\n"
        "print(sorted({m.partition('.')[0] for m in sys.modules} & {'alfworld', 'textworld', 'torch'}))"
    )
    env = {**os.environ, "ALFWORLD_DATA": str(tmp_path / "never"), "HOME": str(tmp_path)}
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=env)
    assert out.stdout.strip() == "[]"
    assert not (tmp_path / "never").exists()


# --- real games ---


def test_real_games_parse_to_the_task_type_of_their_folder(real_games: Path) -> None:
    paths = games.list_games(real_games)
    assert len(paths) > 100
    for path in paths:
        game = games.read_game(path)
        assert Path(path).parent.parent.name.startswith(game.task_type)


def test_generated_grammar_and_domain_are_those_of_real_games(real_games: Path) -> None:
    real = games.read_game(games.list_games(real_games)[0])
    sentence = real.grammar.partition("Your task is to: ")[2].partition('."')[0]
    assert real.grammar == wheel.grammar(sentence)
    assert real.pddl_domain == wheel.domain()


# --- the command line ---


def _run(*argv: str) -> int:
    parser = build_parser()
    args = parser.parse_args(["games", *argv])
    return int(args.run(args) or 0)


def test_generate_then_list_shows_the_games(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "mine.jsonl.gz"
    assert _run("generate", "--n", "4", "--seed", "7", "--out", str(out)) == 0
    assert _run("list", str(out), "--tasks") == 0
    lines = capsys.readouterr().out.splitlines()
    assert sum(line.startswith(f"{out}#small-train-7-") for line in lines) == 4
    assert _run("list") == 0
    assert "small/train" in capsys.readouterr().out
    for wrong in (["--n", "0", "--out", str(out)], ["--n", "3"], ["--out", str(tmp_path / "x.txt")]):
        with pytest.raises(ActreError):
            _run("generate", *wrong)


def test_check_solves_and_play_answers_until_input_ends(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert _run("check", "small/seen", "--limit", "3") == 0
    assert "3 of 3" in capsys.readouterr().out
    # one attempt of one step solves nothing: the exit code says so
    assert _run("check", "small/seen", "--limit", "1", "--max-steps", "1", "--attempts", "1") == 1
    lines = iter(["?", "", "fly away", "look"])

    def typed(prompt: str) -> str:
        try:
            return next(lines)
        except StopIteration:
            raise EOFError from None

    monkeypatch.setattr("builtins.input", typed)
    assert _run("play", "small/seen") == 0
    out = capsys.readouterr().out
    assert "Your task is to" in out
    assert "   go to " in out  # what `?` showed
    assert "Nothing happens." in out
    assert "game left" in out


def test_a_players_end_of_input_leaves_the_game(monkeypatch: pytest.MonkeyPatch) -> None:
    for stop in (EOFError, KeyboardInterrupt):

        def end(prompt: str, stop: type[BaseException] = stop) -> str:
            raise stop

        monkeypatch.setattr("builtins.input", end)
        assert ask("> ", ["look"]) is None
