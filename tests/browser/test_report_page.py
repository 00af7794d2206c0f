"""The report in a real browser, as a file: it steps through episodes without a server, and reads without a script."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from browser.chromium import Watched, chromium, findings
from fake_run import build_quickstart, build_run
from small_world import CONFIG, HOSTILE, played, policy

from actre.entropy.episode_states import annotate
from actre.types import write_trajectories
from actre.view.records import SCORED
from actre.view.report import write

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as one:
        yield one


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose episodes a small policy played and scored, beside another run."""
    folder = tmp_path_factory.mktemp("runs") / "quickstart"
    build_quickstart(folder)
    one = policy()
    episodes = [
        replace(t, meta={"when": "after"}) for order in ("think_first", "act_first") for t in played(one, order)
    ]
    kept = folder / "actre" / "trajectories"
    write_trajectories(kept / "eval_after.jsonl.gz", episodes)
    write_trajectories(kept / SCORED, annotate(episodes, one, config=CONFIG, thoughts=4))
    return write(folder)


def opened(browser: Any, path: Path, **context: Any) -> Watched:
    watched = Watched(browser, **context)
    watched.page.goto(path.as_uri())
    watched.wrong[:] = [one for one in watched.wrong if one != f"asked for {path.as_uri()}"]
    return watched


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 400])
def test_it_has_no_finding_and_is_no_wider_than_the_page(browser: Any, report: Path, scheme: str, width: int) -> None:
    watched = opened(browser, report, viewport={"width": width, "height": 900}, color_scheme=scheme)
    page = watched.page
    page.locator(".actre .dist").wait_for()
    assert page.locator(".actre").get_attribute("data-theme") == scheme
    assert findings(page, "html") == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.locator("#episodes").scroll_into_view_if_needed()
    watched.keep(f"report-{scheme}-{width}")
    assert watched.wrong == []
    page.close()


def test_episodes_are_stepped_through_compared_and_filtered_without_a_server(browser: Any, report: Path) -> None:
    watched = opened(browser, report, viewport={"width": 1280, "height": 900})
    page = watched.page
    page.locator(".actre .dist").wait_for()
    assert not page.locator("details.written").evaluate("one => one.open")
    link = page.locator("a[data-show]", has_text="where its two orders differ most")
    step = int(link.get_attribute("data-step"))
    link.click()
    assert page.locator(".actre .where").inner_text().startswith(f"step {step + 1} of")
    page.keyboard.press("Home")
    page.keyboard.press("ArrowRight")
    assert page.locator(".actre .where").inner_text().startswith("step 2 of")
    page.get_by_label("colour tokens by surprise").check()
    assert page.locator(".actre .tok").count()
    page.keyboard.press("ArrowRight")  # the box that was ticked has the focus: arrows still take steps
    assert page.locator(".actre .where").inner_text().startswith("step 3 of")
    page.get_by_label("outcome").select_option("won")
    assert page.locator(".actre .dot.lost").count() == 0
    page.get_by_label("compare with").select_option(index=1)
    assert page.locator(".actre.two .scroll").count() == 2
    # a link that is opened elsewhere leads to what is written out
    page.evaluate("location.hash = '#episode-1'")
    page.wait_for_function("document.querySelector('details.written').open")
    assert watched.wrong == []
    page.close()


def test_without_javascript_every_episode_is_written_out(browser: Any, report: Path) -> None:
    watched = opened(browser, report, java_script_enabled=False)
    page = watched.page
    episode = page.locator("#episode-0")
    assert episode.is_visible()
    episode.locator("summary").first.click()
    assert "Does:" in episode.inner_text()
    episode.locator("summary", has_text="What it would do here").first.click()
    assert "anything else" in episode.inner_text()
    assert page.locator(".actre").count() == 0
    page.close()


def test_what_a_model_wrote_never_becomes_markup_or_a_script(browser: Any, tmp_path: Path) -> None:
    bad = HOSTILE.replace("\ud800", "") + "</script><script>document.title = 'taken'</script><!--"
    watched = opened(browser, write(build_run(tmp_path, "actre", hostile=bad)))
    page = watched.page
    page.locator(".actre .scroll").wait_for()
    assert page.title() == "actre: report"
    assert page.locator("img, .actre script").count() == 0
    assert page.locator("script").count() == 2
    assert "onerror=alert(1)" in page.locator(".actre .scroll").inner_text()
    # and were one to get in, it would not run: only the page's own is named
    page.evaluate(
        "() => { const s = document.createElement('script'); s.text = 'document.title = 1'; document.body.append(s) }"
    )
    assert page.title() == "actre: report"
    watched.wrong[:] = [one for one in watched.wrong if "Content Security Policy" not in one]
    assert watched.wrong == []
    page.close()
