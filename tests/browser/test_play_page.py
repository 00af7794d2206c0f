"""The play widget's page in a real browser, without Jupyter: a game is played with clicks and keys alone."""

from collections.abc import Iterator

import pytest
from browser.bare_page import show
from browser.chromium import Watched, chromium, findings
from fake_env import CorridorEnv
from small_world import CONFIG, HOSTILE, policy

from actre.view import Play

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def watched() -> Iterator[Watched]:
    with chromium() as browser:
        one = Watched(browser, viewport={"width": 1100, "height": 800})
        yield one
        assert one.wrong == []


def test_a_game_is_played_by_clicking_and_the_policy_shows_on_demand(watched: Watched) -> None:
    page = watched.page
    opened = CorridorEnv(limit=9, extra_actions=("search[<query>]", HOSTILE.replace("\ud800", "")))
    widget = Play(["2", "3"], policy(), env=opened, config=CONFIG, thoughts=2)
    show(page, widget)
    page.get_by_role("button", name="What would it do here?").click()
    page.wait_for_selector(".dist")
    assert findings(page, ".actre") == []
    page.get_by_label("search[<query>]").fill("red socks")
    page.keyboard.press("Enter")
    page.wait_for_function("document.querySelectorAll('.story li').length === 2")
    assert widget.trajectory.steps[0].action == "search[red socks]"
    page.get_by_role("button", name="go right").click()
    page.wait_for_function("document.querySelectorAll('.story li').length === 3")
    page.get_by_role("button", name="Take back").click()
    page.wait_for_function("document.querySelectorAll('.story li').length === 2")
    for steps in (3, 4):
        page.get_by_role("button", name="go right").click()
        page.wait_for_function(f"document.querySelectorAll('.story li').length === {steps}")
    assert page.locator(".story .chip.won").count() == 1
    assert widget.trajectories[0].won
    assert page.locator("img").count() == 0
    assert findings(page, ".actre") == []
    page.get_by_role("button", name="Next game").click()
    page.wait_for_function("document.querySelector('h3').textContent.includes('door 3')")


def test_in_the_dark_and_on_a_narrow_page_it_has_no_finding(watched: Watched) -> None:
    page = watched.page
    page.set_viewport_size({"width": 400, "height": 800})
    show(page, Play(["2"], {"a": policy(), "b": policy()}, env=CorridorEnv(), config=CONFIG, thoughts=2), dark=True)
    page.get_by_role("button", name="What would it do here?").click()
    page.wait_for_selector(".dist")
    assert findings(page, ".actre") == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
