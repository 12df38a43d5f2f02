"""A request of 100,000 images, and what an open page costs while nothing happens."""

from uuid import UUID

import pytest
from playwright.sync_api import Worker, expect

from tests.browser.conftest import Open
from tests.browser.memory import watched
from tests.browser.rows import FAILED_EVERY, IMAGES, KEPT_EVERY, add_large
from tests.browser.steps import rows
from tests.browser.tab import Tab
from tests.stack import Stack

MEGABYTE = 1_000_000
CALL = "^[A-Z]+ /v1/"
HIDE = """
Object.defineProperty(Document.prototype, "hidden", { configurable: true, get: () => true });
document.dispatchEvent(new Event("visibilitychange"));
"""


@pytest.fixture(scope="module")
def large(stack: Stack) -> UUID:
    return add_large(stack)


# Looks at each picture of a page of a list and goes on, inside the page: Playwright's search for a button by its name
# makes more garbage in the tab than the page does.
TURN = """async () => {
  const label = () => document.querySelector(".steps span").textContent;
  for (let y = 0; y < document.documentElement.scrollHeight; y += innerHeight / 2) {
    scrollTo(0, y);
    for (let frame = 0; frame < 3; frame += 1) await new Promise(requestAnimationFrame);
  }
  const shown = document.querySelectorAll("tbody tr").length;
  while (document.querySelector("ht-thumb:not([data-shown])")) await new Promise((resolve) => setTimeout(resolve, 50));
  const before = label();
  document.querySelector(".steps button:last-child").click();
  while (label() === before) await new Promise((resolve) => setTimeout(resolve, 20));
  return shown;
}"""
PAGES = 5  # of each list: from the third or so on, what is collected is as much as what comes


def test_a_request_of_100_000_images_is_looked_through_in_little_memory(open_tab: Open, large: UUID) -> None:
    tab = open_tab("/docs/problems/")
    workers: list[str] = []

    def begun(worker: Worker) -> None:
        workers.append(worker.url)

    tab.page.on("worker", begun)
    tab.page.goto(f"/#/requests/{large}")
    expect(tab.page.get_by_role("heading", name="50,000 products, 100,000 images")).to_be_visible()
    paint = tab.page.wait_for_function("performance.getEntriesByName('first-contentful-paint')[0]?.startTime")
    painted = paint.json_value()
    known = tab.page.evaluate("document.querySelectorAll('*').length")

    assert tab.page.context.browser is not None
    with watched(tab.page.context.browser) as peak:
        for link, table in (("Products", ".products"), ("Images", ".images"), ("Biggest saving", ".images")):
            tab.page.get_by_role("link", name=link).click()
            expect(tab.page.locator(f"{table} tbody tr")).to_have_count(50)
            expect(tab.page.get_by_text("Page 1", exact=True)).to_be_visible()
            assert [tab.page.evaluate(TURN) for _ in range(PAGES)] == [50] * PAGES
        tab.page.get_by_role("link", name="Figures").click()
        expect(tab.page.locator(".part-formats tbody tr")).to_have_count(1)
        most = peak.bytes / MEGABYTE
        tab.page.context.new_cdp_session(tab.page).send("HeapProfiler.collectGarbage")
        held = peak.now() / MEGABYTE
    tab.look("large-figures")

    # A time is told and not asserted, nor is the peak: some of it is garbage of Playwright's own.
    print(f"first paint after {painted:.0f} ms, at most {most:.0f} MB, {held:.0f} held, {known} elements")  # noqa: T201
    assert 0 < held < 200
    assert len(workers) > 3 * PAGES, "no worker holds for long what is left of its pictures"
    assert known < 3000
    assert len(tab.asked("/events$")) == 1
    assert len(tab.asked("/v1/")) < 20 + 3 * PAGES


def test_the_filters_of_a_large_request_come_from_the_database(open_tab: Open, large: UUID) -> None:
    tab = open_tab(f"/#/requests/{large}/images?show=failed")
    expect(tab.page.locator(".images tbody tr")).to_have_count(50)
    assert f"{FAILED_EVERY}.jpg" in rows(tab.page.locator(".images"))[0][1]

    tab.page.get_by_role("link", name="Kept original").click()
    expect(tab.page.locator(".images tbody tr").first).to_contain_text(f"{KEPT_EVERY}.jpg")
    tab.page.get_by_role("link", name="Biggest saving").click()
    expect(tab.page.locator(".images tbody tr").first).to_contain_text(f"{IMAGES - 1}.jpg")
    assert len(tab.asked("/v1/.*/images")) == 3 + 1  # and the last failures


@pytest.mark.parametrize("part", ["", "/images", "/figures", "/deliveries", None])
def test_a_page_where_nothing_happens_asks_once_a_minute_at_most_and_never_when_hidden(
    open_tab: Open, large: UUID, part: str | None
) -> None:
    tab = open_tab("/docs/problems/")
    tab.page.clock.install()
    tab.page.goto("/#/requests" if part is None else f"/#/requests/{large}{part}")
    expect(tab.page.get_by_role("heading", level=1)).to_be_visible()
    expect(tab.page.locator("[aria-busy]")).to_have_count(0)
    tab.page.wait_for_load_state("networkidle")

    assert calls_in(tab, minutes=1) <= 1
    assert calls_in(tab, minutes=10) <= 10
    tab.page.evaluate(HIDE)
    assert calls_in(tab, minutes=10) == 0


def calls_in(tab: Tab, *, minutes: int) -> int:
    """How many calls the page makes while its clock, and not ours, advances minute by minute."""
    before = len(tab.asked(CALL))
    for _ in range(minutes):
        tab.page.clock.run_for(60_000)
        tab.page.wait_for_load_state("networkidle")
    return len(tab.asked(CALL)) - before
