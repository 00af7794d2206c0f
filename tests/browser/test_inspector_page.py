"""The inspector's page in a real browser, without Jupyter: every view of it, in light and dark, wide and narrow."""

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from browser.bare_page import show
from browser.chromium import Watched, chromium, findings
from fake_env import CorridorEnv
from fake_run import trajectory
from small_world import CONFIG, HOSTILE, played, policy

from actre.entropy.episode_states import annotate
from actre.types import Trajectory
from actre.view import Inspector

pytestmark = pytest.mark.slow
WIDE, NARROW = {"width": 1280, "height": 900}, {"width": 400, "height": 900}


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as one:
        yield one


@pytest.fixture
def watched(browser: Any) -> Iterator[Watched]:
    one = Watched(browser, viewport=WIDE)
    yield one
    one.page.close()
    assert one.wrong == []


def live() -> Inspector:
    one = policy()
    runs = {"before": played(one, games=4), "after": played(one, "act_first", games=4)}
    return Inspector(runs, {"start": one, "trained": policy()}, config=CONFIG, env=CorridorEnv(limit=8), thoughts=4)


def recorded() -> Inspector:
    one = policy()
    return Inspector(annotate(played(one), one, config=CONFIG, thoughts=4))


@pytest.mark.parametrize(("dark", "size"), [(False, WIDE), (True, NARROW)], ids=["light and wide", "dark and narrow"])
def test_no_view_of_it_has_an_accessibility_finding(watched: Watched, dark: bool, size: dict[str, int]) -> None:
    page = watched.page
    page.set_viewport_size(size)
    show(page, live(), dark=dark)
    page.wait_for_selector(".dist")
    assert page.locator(".actre").get_attribute("data-theme") == ("dark" if dark else "light")
    assert findings(page, ".actre") == []
    page.get_by_label("colour tokens by surprise").check()
    page.get_by_label("compare with").select_option(index=1)
    page.get_by_role("button", name="Measure every step").click()
    page.wait_for_selector(".actre.two .tok")
    assert findings(page, ".actre") == []
    page.get_by_role("tab", name="What if").click()
    page.get_by_role("button", name="Delete the thought").click()
    page.wait_for_selector(".result .dist")
    assert findings(page, ".actre") == []
    page.get_by_role("tab", name="Branch").click()
    page.get_by_role("button", name="Branch from here").click()
    page.wait_for_selector(".tree")
    assert findings(page, ".actre") == []
    # nothing is wider than the page
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_steps_are_taken_with_keys_and_with_buttons(watched: Watched) -> None:
    page = watched.page
    show(page, recorded())
    page.wait_for_selector(".dist")
    place = page.locator(".where")
    page.get_by_role("button", name="next step").click()
    assert place.inner_text().startswith("step 2 of")
    page.keyboard.press("ArrowRight")
    assert place.inner_text().startswith("step 3 of")
    page.keyboard.press("Home")
    assert place.inner_text().startswith("step 1 of")
    page.keyboard.press("End")
    assert page.get_by_role("button", name="next step").is_disabled()
    page.keyboard.press("n")
    page.wait_for_selector(".episodes [aria-current][data-id='1']")
    page.locator(".steps button").nth(2).click()
    assert place.inner_text().startswith("step 3 of")
    assert page.locator(".scroll li.here").inner_text().startswith("step 3")


def test_the_list_is_filtered_and_sorted(watched: Watched) -> None:
    page = watched.page
    kinds = ["walk", "run"]
    many = [trajectory(f"g{i}", kinds[i % 2], "think_first", i % 3 == 0, i) for i in range(12)]
    many = [replace(t, steps=tuple(replace(s, reply_logps=(-float(i),)) for s in t.steps)) for i, t in enumerate(many)]
    show(page, Inspector(many))
    ids = "[...document.querySelectorAll('.episodes button')].map((b) => Number(b.dataset.id))"
    page.get_by_label("outcome").select_option("won")
    assert page.evaluate(ids) == [0, 3, 6, 9]
    page.get_by_label("task").select_option("run")
    assert page.evaluate(ids) == [3, 9]
    page.get_by_label("task").select_option("")
    page.get_by_label("outcome").select_option("")
    page.get_by_label("sort").select_option("high")
    page.get_by_label("at least").fill("9.5")
    assert page.evaluate(ids) == [11, 10]


def test_what_was_recorded_shows_without_policy_and_kernel(watched: Watched) -> None:
    page = watched.page
    widget = recorded()
    show(page, widget)
    page.wait_for_selector(".dist")
    page.evaluate("window.model.hold = true")
    page.locator(".episodes button").nth(2).click()
    page.get_by_label("colour tokens by surprise").check()
    page.wait_for_selector(".tok")
    assert page.locator(".where").inner_text().startswith("step 1 of")
    assert page.evaluate("window.model.sent.length") == 0
    assert page.get_by_role("tab").count() == 0


def test_a_late_answer_never_overwrites_a_newer_question(watched: Watched) -> None:
    page = watched.page
    show(page, live())
    page.wait_for_selector(".dist")
    page.get_by_role("tab", name="What if").click()
    page.evaluate("window.model.hold = true; window.model.sent.length = 0")
    box = page.get_by_label("What if it had thought this, before acting?")
    score = page.get_by_role("button", name="Score again")
    for thought in ("left", "nonsense", "right"):
        box.fill(thought)
        score.click()
    # one travels, the newest waits, the one between is never sent
    asked = page.evaluate("window.model.sent.filter((m) => m.kind === 'whatif').map((m) => m.thought)")
    assert asked == ["left"]
    page.evaluate("window.model.hold = false; window.model.held.forEach((answer) => answer())")
    page.wait_for_selector(".result .dist")
    asked = page.evaluate("window.model.sent.filter((m) => m.kind === 'whatif').map((m) => m.thought)")
    assert asked == ["left", "right"]
    row = page.locator(".result tr", has_text="go right").first
    assert row.locator(".number").last.inner_text() == "100%"
    # an answer nobody waits for changes nothing
    page.evaluate("window.model.receive({ re: 'other:1', ok: [{}] })")
    assert row.locator(".number").last.inner_text() == "100%"


def test_an_error_in_the_kernel_is_said_in_the_page(watched: Watched) -> None:
    page = watched.page
    broken = policy()
    broken.act_first = lambda text: 1 / 0  # type: ignore[assignment,return-value]
    show(page, Inspector(played(policy()), broken, config=CONFIG))
    assert "ZeroDivisionError" in page.locator(".trouble").inner_text()
    page.keyboard.press("ArrowRight")
    assert page.locator(".scroll").inner_text()  # what is recorded still shows


def test_checkpoints_are_compared_on_the_same_state(watched: Watched) -> None:
    page = watched.page
    trained = policy()
    trained.act_first = lambda text: {"look": 1.0}
    one = policy()
    show(page, Inspector(played(one), {"start": one, "trained": trained}, config=CONFIG, thoughts=2))
    page.wait_for_selector(".dist")
    first = page.locator(".facts .act b")
    assert first.inner_text() == "0.00"
    page.get_by_label("Checkpoint").fill("0")
    page.wait_for_function("document.querySelector('.facts .act b')?.textContent === '1.33'")
    assert page.locator(".checkpoints output").inner_text() == "start"
    assert page.locator(".where").inner_text().startswith("step 1 of")


def test_an_end_of_a_branch_opens_as_an_episode(watched: Watched) -> None:
    page = watched.page
    show(page, live())
    page.wait_for_selector(".dist")
    before = page.locator(".episodes button").count()
    page.get_by_role("tab", name="Branch").click()
    page.get_by_role("button", name="Branch from here").click()
    page.wait_for_selector(".tree")
    assert page.locator(".episodes button").count() == before + 6
    page.locator(".tree button.end").first.click()
    page.wait_for_function(f"Number(document.querySelector('.episodes [aria-current]').dataset.id) >= {before}")
    page.wait_for_selector(".scroll li")


def test_hostile_text_stays_text_in_every_view(watched: Watched) -> None:
    page = watched.page
    bad = HOSTILE.replace("\ud800", "")
    one = replace(trajectory("g", bad, "think_first", False, 0, hostile=bad), game=bad)
    rows = [[bad] * len(t.reply_logps) for t in one.steps]
    two = replace(one, meta={"tokens": rows, "env_error": bad})
    show(page, Inspector({bad: [one, two]}))
    page.wait_for_selector(".admissible")
    page.get_by_label("colour tokens by surprise").check()
    page.get_by_label("compare with").select_option(index=1)
    page.evaluate("window.model.receive({ re: 'x', error: '<img src=x onerror=alert(1)>' })")
    assert page.locator("img, script[src], .actre script, .actre style").count() == 0
    assert "onerror=alert(1)" in page.locator(".scroll").first.inner_text()


def test_a_reloaded_page_goes_on_where_the_reader_was(watched: Watched) -> None:
    page = watched.page
    widget = recorded()
    show(page, widget)
    page.wait_for_selector(".dist")
    page.locator(".episodes button").nth(1).click()
    page.get_by_role("button", name="next step").click()
    page.wait_for_function("window.model.saved > 0")
    page.wait_for_timeout(500)
    widget._place = page.evaluate("window.model.traits._place")
    page.evaluate("window.close_widget()")
    show(page, widget)
    page.wait_for_selector(".dist")
    assert page.locator(".where").inner_text().startswith("step 2 of")
    assert page.locator(".episodes [aria-current]").get_attribute("data-id") == "1"
    json.dumps(widget._place)


def large() -> list[Trajectory]:
    base = trajectory("g", "t", "think_first", False, 0)
    steps = tuple(replace(base.steps[i % 20], reply_logps=(-0.1,) * 20) for i in range(50))
    return [replace(base, game=f"g{i}", steps=steps) for i in range(200)]


class Clock:
    """The page's own processor time, in ms: another program's work does not count."""

    def __init__(self, page: Any) -> None:
        self.session = page.context.new_cdp_session(page)
        self.session.send("Performance.enable", {"timeDomain": "threadTicks"})

    def ms(self) -> float:
        metrics = self.session.send("Performance.getMetrics")["metrics"]
        return next(1000 * one["value"] for one in metrics if one["name"] == "TaskDuration")


def test_200_episodes_of_50_steps_open_in_2_s_and_steps_change_in_100_ms(watched: Watched) -> None:
    page = watched.page
    widget = Inspector(large())
    clock = Clock(page)
    before = clock.ms()
    show(page, widget, until=".scroll li.here")
    opened = clock.ms() - before
    page.wait_for_timeout(300)
    before = clock.ms()
    page.evaluate("""async () => {
      for (let i = 0; i < 30; i += 1) {
        document.querySelector(".actre").dispatchEvent(new KeyboardEvent("keydown", { key: "ArrowRight" }));
        await new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
      }
    }""")
    a_step = (clock.ms() - before) / 30
    assert page.locator(".where").inner_text() == "step 31 of 50"
    print(f"processor time: opened in {opened:.0f} ms, a step in {a_step:.1f} ms")
    assert 0 < opened < 2000
    assert 0 < a_step < 100
