"""A request of 100,000 images, and what an open page costs while nothing happens."""

from pathlib import Path
from uuid import UUID

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Open
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


def memory(page: Page) -> int:
    """Bytes that the tab's process holds, with its part of what processes share: not what waits to be collected."""
    session = page.context.new_cdp_session(page)
    session.send("HeapProfiler.collectGarbage")
    session.detach()
    assert page.context.browser is not None
    browser = page.context.browser.new_browser_cdp_session()
    processes = browser.send("SystemInfo.getProcessInfo")["processInfo"]
    browser.detach()
    return max(pss(process["id"]) for process in processes if process["type"] == "renderer")


def pss(pid: int) -> int:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines()
    return sum(1024 * int(line.split()[1]) for line in lines if line.startswith("Pss:"))


def scroll_to_the_end(page: Page) -> None:
    """Slowly enough that each picture is shown once."""
    page.evaluate(
        """async () => {
          for (let y = 0; y < document.documentElement.scrollHeight; y += innerHeight / 2) {
            scrollTo(0, y);
            for (let frame = 0; frame < 3; frame += 1) await new Promise(requestAnimationFrame);
          }
        }"""
    )


def turn(page: Page, pages: int, table: str) -> None:
    """Look at each page of a list as a whole, and go to the next one."""
    for number in range(1, pages + 1):
        expect(page.get_by_text(f"Page {number}", exact=True)).to_be_visible()
        expect(page.locator(f"{table} tbody tr")).to_have_count(50)
        scroll_to_the_end(page)
        expect(page.locator("ht-thumb:not([data-shown])")).to_have_count(0, timeout=30_000)
        page.get_by_role("button", name="Next").click()
    expect(page.get_by_text(f"Page {pages + 1}", exact=True)).to_be_visible()


def test_a_request_of_100_000_images_is_looked_through_in_little_memory(open_tab: Open, large: UUID) -> None:
    tab = open_tab("/")
    tab.page.goto(f"/#/requests/{large}")
    tab.page.reload()
    expect(tab.page.get_by_role("heading", name="50,000 products, 100,000 images")).to_be_visible()
    painted = tab.page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime")
    elements = "document.querySelectorAll('*').length"
    most, known = memory(tab.page), tab.page.evaluate(elements)

    for link, table in (("Products", ".products"), ("Images", ".images"), ("Biggest saving", ".images")):
        tab.page.get_by_role("link", name=link).click()
        turn(tab.page, 2, table)
        most = max(most, memory(tab.page))
    tab.page.get_by_role("link", name="Figures").click()
    expect(tab.page.locator(".part-formats tbody tr")).to_have_count(1)
    most = max(most, memory(tab.page))
    tab.look("large-figures")

    # A time is told and not asserted.
    print(f"first paint after {painted:.0f} ms, at most {most / MEGABYTE:.0f} MB in its process, {known} elements")  # noqa: T201
    assert most < 200 * MEGABYTE
    assert known < 3000
    assert len(tab.asked("/events$")) == 1
    assert len(tab.asked("/v1/")) < 20


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
