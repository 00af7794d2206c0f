"""Panels are played once each, results add up, and intervals hold what they should."""

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actre.config import EnvConfig, EvalConfig, RunConfig
from actre.orders import Renderer
from actre.orders.chat import ChatFormat
from actre.rollout import evaluate as ev
from actre.types import ActreError, Reply


class CharPolicy:
    """Writes the same action always; tokens are characters."""

    max_context: int | None = None

    def __init__(self, action: str) -> None:
        self.action = action
        self.temperatures: set[float] = set()
        self.seeds: list[int] = []

    def encode(self, text: str) -> list[int]:
        return [ord(c) for c in text]

    def decode(self, ids: Sequence[int]) -> str:
        return "".join(map(chr, ids))

    def renderer(self, prompt: Any, order: Any) -> Renderer:
        return Renderer(self.encode, ChatFormat("U:", "\nA:", "\nU:"), prompt, order)

    def generate(self, prompts: Sequence[Sequence[int]], *, temperature: float, seed: int, **_: Any) -> list[Reply]:
        self.temperatures.add(temperature)
        self.seeds.append(seed)
        text = f"{self.action}</action>"
        ids = tuple(self.encode(text))
        return [Reply(ids, (0.0,) * len(ids), text) for _ in prompts]


class Room:
    """Won by the action that the game's name ends with."""

    spec = SimpleNamespace(id="Room-v0")

    def reset(self, *, seed: int | None = None, options: dict[str, str]) -> tuple[str, dict[str, Any]]:
        self.door = options["game"].split()[-1]
        return "A room.", self._info(False)

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        won = action == self.door
        return "Well.", float(won), won, False, self._info(won)

    def _info(self, won: bool) -> dict[str, Any]:
        return {"task": "leave", "task_type": self.door, "won": won, "admissible_commands": ["left", "right"]}

    @property
    def unwrapped(self) -> "Room":
        return self


CONFIG = RunConfig(env=EnvConfig(max_steps=3))


def results(wins: Sequence[int], panel: str = "unseen", order: Any = "think_first") -> list[ev.EpisodeResult]:
    return [
        ev.EpisodeResult(panel, order, f"game {i}", "even" if i % 2 == 0 else "odd", bool(w), 5 + i, float(w))
        for i, w in enumerate(wins)
    ]


# --- playing ---


@pytest.fixture
def panel(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    games = [f"{i} {'left' if i % 3 else 'right'}" for i in range(7)]
    monkeypatch.setattr(ev, "panel_games", lambda config, name: list(games))
    return games


def test_every_game_of_a_panel_is_played_exactly_once_in_its_order(panel: list[str]) -> None:
    policy = CharPolicy("left")
    played = ev.play(policy, [Room(), Room()], "unseen", order="no_think", config=CONFIG, seed=0)
    assert [r.game for r in played.results] == [t.game for t in played.trajectories] == panel
    assert [r.won for r in played.results] == [game.endswith("left") for game in panel]
    assert {r.steps for r in played.results if r.won} == {1}
    assert {r.steps for r in played.results if not r.won} == {3}
    assert {(r.panel, r.order) for r in played.results} == {("unseen", "no_think")}
    assert policy.temperatures == {CONFIG.sampling.eval_temperature}
    again = ev.play(policy, [Room()], "unseen", order="no_think", config=CONFIG, seed=0)
    assert again.results == played.results


def test_panels_and_orders_draw_replies_of_their_own(panel: list[str]) -> None:
    def seeds(name: str, order: Any, seed: int = 0) -> tuple[int, ...]:
        policy = CharPolicy("left")
        ev.play(policy, [Room()], name, order=order, config=CONFIG, seed=seed)
        return tuple(policy.seeds)

    places = [(name, order) for name in ("seen", "unseen") for order in ("act_first", "no_think")]
    drawn = [seeds(*place) for place in places] + [seeds("seen", "no_think", seed=1)]
    assert len({one for each in drawn for one in each}) == sum(map(len, drawn))
    assert [seeds(*place) for place in places] == drawn[:4]


def test_progress_counts_every_episode(panel: list[str]) -> None:
    told: list[int] = []
    ev.play(
        CharPolicy("left"),
        [Room(), Room()],
        "seen",
        order="no_think",
        config=CONFIG,
        seed=0,
        progress=told.append,
    )
    assert sum(told) == len(panel)


def test_a_panel_that_names_a_game_twice_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for games, says in ((["a left"] * 2, "2 times"), ([], "no games")):
        monkeypatch.setattr(ev, "panel_games", lambda config, name, games=games: games)
        with pytest.raises(ActreError, match=says):
            ev.play(CharPolicy("left"), [Room()], "seen", order="no_think", config=CONFIG, seed=0)


def test_a_limited_panel_is_its_first_games(monkeypatch: pytest.MonkeyPatch) -> None:
    from actre.envs.alfworld import games

    monkeypatch.setattr(games, "list_games", lambda source: [f"{source}#{i}" for i in range(5)])
    config = replace(CONFIG, evaluation=EvalConfig(limit=2))
    assert ev.panel_games(config, "unseen") == ["small/unseen#0", "small/unseen#1"]
    assert ev.panel_games(CONFIG, "seen") == [f"small/seen#{i}" for i in range(5)]
    assert ev.panel_games(config, "my.jsonl")[0] == "my.jsonl#0"
    fewer = replace(CONFIG, evaluation=EvalConfig(limit=4, other_limit=1))
    assert [len(ev.panel_games(fewer, panel)) for panel in ("unseen", "seen", "full/unseen")] == [4, 1, 1]
    with pytest.raises(ActreError, match="is not a folder"):
        ev.panel_games(replace(CONFIG, env=EnvConfig(name="webshop")), "seen")


# --- one proportion ---


def test_wilson_equals_published_values() -> None:
    # Newcombe 1998, table I, method 3
    assert ev.wilson(81, 263)[1:] == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert ev.wilson(15, 148)[1:] == pytest.approx((0.0624, 0.1605), abs=5e-5)
    assert ev.wilson(0, 20)[1:] == pytest.approx((0.0, 0.1611), abs=5e-5)
    assert ev.wilson(1, 29)[1:] == pytest.approx((0.0061, 0.1718), abs=5e-5)


@given(st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_stays_within_zero_and_one_and_mirrors(counts: tuple[int, int]) -> None:
    won, games = counts
    here, mirror = ev.wilson(won, games), ev.wilson(games - won, games)
    assert 0 <= here.low <= here.value + 1e-12
    assert here.value - 1e-12 <= here.high <= 1
    assert here.low == pytest.approx(1 - mirror.high, abs=1e-9)


def test_wilson_refuses_impossible_counts() -> None:
    for won, games in ((0, 0), (3, 2), (-1, 5)):
        with pytest.raises(ValueError):
            ev.wilson(won, games)


# --- summaries ---


def test_a_summary_keeps_panels_orders_and_task_types_apart() -> None:
    rows = ev.summarise(results([1, 0, 1, 1]) + results([0, 0], "seen") + results([1], "seen", "act_first"))
    found = {(r.panel, r.order, r.task_type): (r.won, r.games) for r in rows}
    assert found == {
        ("unseen", "think_first", None): (3, 4),
        ("unseen", "think_first", "even"): (2, 2),
        ("unseen", "think_first", "odd"): (1, 2),
        ("seen", "think_first", None): (0, 2),
        ("seen", "think_first", "even"): (0, 1),
        ("seen", "think_first", "odd"): (0, 1),
        ("seen", "act_first", None): (1, 1),
        ("seen", "act_first", "even"): (1, 1),
    }
    overall = rows[0]
    assert overall.success == ev.wilson(3, 4)
    assert overall.steps == 6.5
    assert overall.env_return == 0.75
    assert overall.return_interval is not None
    assert rows[-1].return_interval is None


def test_a_game_twice_in_one_panel_and_order_is_refused() -> None:
    with pytest.raises(ActreError, match="2 times"):
        ev.summarise(results([1]) + results([0]))
    with pytest.raises(ActreError, match="no results"):
        ev.summarise([])


# --- differences ---


def test_a_paired_difference_counts_game_by_game_whatever_their_order() -> None:
    before, after = results([0, 0, 1, 0, 1, 0]), results([1, 1, 1, 0, 1, 1])
    interval = ev.paired_difference(before, after[::-1])
    assert interval.value == pytest.approx(0.5)
    assert interval.low < 0.5 < interval.high
    assert ev.paired_difference(after, before).value == pytest.approx(-0.5)
    assert ev.paired_difference(before, before) == (0, 0, 0)
    assert ev.paired_difference(before, after, value="steps").value == 0


def test_pairing_narrows_what_games_share() -> None:
    rng = np.random.default_rng(0)
    hard = rng.random(100) < 0.5
    before = results([int(h) for h in hard])
    after = results([int(h or i % 10 == 0) for i, h in enumerate(hard)])
    paired = ev.paired_difference(before, after)
    # unpaired, two rates near 0.5 over 100 games differ by +-0.14
    assert paired.high - paired.low < 0.14
    assert paired.low > 0


def test_seeds_that_disagree_widen_the_interval() -> None:
    rng = np.random.default_rng(1)
    before = results(list(rng.integers(0, 2, 60)))
    alike = [results(list(rng.random(60) < 0.6)) for _ in range(3)]
    apart = [results(list(rng.random(60) < p)) for p in (0.1, 0.6, 1.0)]
    narrow, wide = ev.paired_difference(before, alike), ev.paired_difference(before, apart)
    assert wide.high - wide.low > 1.3 * (narrow.high - narrow.low)
    several = ev.paired_difference([before] * 3, alike)
    assert several == narrow


def test_intervals_over_games_and_seeds_cover_the_true_gain() -> None:
    """Seeds differ, games differ, wins are coin tosses: the interval holds the population's gain in about 95
    %.
    """
    rng = np.random.default_rng(0)
    held = 0
    for trial in range(150):
        ease = rng.normal(0, 0.15, 40)
        toss = [results(list(rng.random(40) < np.clip(0.5 + ease + gain, 0, 1))) for gain in rng.normal(0.1, 0.03, 5)]
        before = [results(list(rng.random(40) < np.clip(0.5 + ease, 0, 1))) for _ in range(5)]
        interval = ev.paired_difference(before, toss, n=500, seed=trial)
        held += interval.low <= 0.1 <= interval.high
    assert held >= 0.92 * 150


def test_what_cannot_be_paired_is_refused() -> None:
    one = results([1, 0, 1])
    with pytest.raises(ActreError, match="only in one"):
        ev.paired_difference(one, results([1, 0]))
    with pytest.raises(ActreError, match="never pooled"):
        ev.paired_difference(one + results([1], "seen"), one + results([1], "seen"))
    with pytest.raises(ActreError, match="occurs twice"):
        ev.paired_difference(one + results([1], order="act_first"), one)
    with pytest.raises(ActreError, match="seeds"):
        ev.paired_difference([one, one], [one, one, one])
    with pytest.raises(ActreError, match="no results"):
        ev.paired_difference([], one)
    with pytest.raises(ActreError, match="at least 2"):
        ev.paired_difference(results([1]), results([0]))


# --- files ---


def test_results_come_back_from_their_file_and_replace_their_like(tmp_path: Path) -> None:
    path = tmp_path / "evaluation.jsonl"
    ev.save_evaluation(path, results([0, 1]), "before")
    ev.save_evaluation(path, results([1, 1]), "after")
    ev.save_evaluation(path, results([1], "seen"), "before")
    ev.save_evaluation(path, results([1, 0]), "before")
    assert ev.load_evaluation(path, "before") == results([1], "seen") + results([1, 0])
    assert ev.load_evaluation(path, "after") == results([1, 1])
    assert len(ev.load_evaluation(path)) == 5
    assert math.isclose(ev.load_evaluation(path, "after")[0].env_return, 1)
    path.write_text('{"when": "before"}\n')
    with pytest.raises(ActreError, match="not an evaluation record"):
        ev.load_evaluation(path)


def test_a_game_that_could_not_be_played_is_named_and_counts_in_no_result(panel: list[str]) -> None:
    class Broken(Room):
        def reset(self, **settings: Any) -> Any:
            if settings["options"]["game"] == panel[3]:
                raise ActreError("the file is damaged")
            return super().reset(**settings)

    def played(env: type[Room]) -> ev.Played:
        return ev.play(CharPolicy("left"), [env(), env()], "unseen", order="no_think", config=CONFIG, seed=0)

    with pytest.warns(UserWarning, match=rf"1 of the 7 games of unseen are left out:\s+{panel[3]}: .* is damaged"):
        found = played(Broken)
    assert found.results == [result for result in played(Room).results if result.game != panel[3]]
    assert [t.game for t in found.trajectories if "env_error" in t.meta] == [panel[3]]
    assert ev.summarise(found.results)[0].games == 6
