"""A request while it runs: its figures, its cancellation, and the page in every state that a person may see."""

import re
from collections.abc import Iterator
from threading import Semaphore

import pytest
from playwright.sync_api import Route, expect

from tests.api import Client
from tests.browser.conftest import Open
from tests.browser.shop import PICTURES, Shop, picture
from tests.browser.steps import finished, upload
from tests.origin import Behaviour, Exchange, body

WATCH = """
window.steps = [];
new MutationObserver(() => {
  const bar = document.querySelector("ht-request [role=progressbar]");
  if (bar) steps.push(Number(bar.getAttribute("aria-valuenow")));
}).observe(document, { attributes: true, childList: true, subtree: true });
let moved = 0;
const add = (entries) => { for (const entry of entries) if (!entry.hadRecentInput) moved += entry.value; };
const observer = new PerformanceObserver((list) => add(list.getEntries()));
observer.observe({ type: "layout-shift", buffered: true });
// By how much things have moved since this was asked last. What is in the document now moves with the next frame.
window.movedSince = async () => {
  for (let frame = 0; frame < 2; frame += 1) await new Promise(requestAnimationFrame);
  add(observer.takeRecords());
  const sum = moved;
  moved = 0;
  return sum;
};
"""

OVERHEAR = """
window.told = "";
const ask = window.fetch;
window.fetch = async (...asked) => {
  const answer = await ask(...asked);
  if (!answer.url.endsWith("/events")) return answer;
  const [ours, theirs] = answer.body.tee();
  const hearing = new WritableStream({ write: (part) => { told += part; } });
  ours.pipeThrough(new TextDecoderStream()).pipeTo(hearing).catch(() => {});
  return new Response(theirs, answer);
};
window.lastRate = () => {
  const line = told.slice(0, told.lastIndexOf("\\n")).split("\\n").findLast((one) => one.startsWith("data:"));
  return line && JSON.parse(line.slice(5)).images_per_second;
};
"""
SHOWS_LAST_RATE = """async (shown) => {
  const { rate } = await import("/app/format.js");
  return lastRate() != null && rate(lastRate()) === shown.textContent;
}"""


class Gate:
    """Lets the host answer so many times."""

    def __init__(self) -> None:
        self._places = Semaphore(0)

    def let(self, answers: int) -> None:
        self._places.release(answers)

    def before(self, behaviour: Behaviour) -> Behaviour:
        def behave(exchange: Exchange) -> None:
            while not self._places.acquire(timeout=0.05):
                exchange.pause(0)
            behaviour(exchange)

        return behave


@pytest.fixture
def gate(shop: Shop) -> Iterator[Gate]:
    """The shop's pictures come only when the test lets them."""
    gate = Gate()
    for name in PICTURES:
        shop.origin.on(f"/{name}", gate.before(body(picture(name))))
    yield gate
    gate.let(1000)


def test_figures_grow_without_going_back_and_nothing_moves(open_tab: Open, shop: Shop, gate: Gate) -> None:
    tab = open_tab("/")
    tab.page.add_init_script(WATCH)
    upload(tab.page, shop.csv())
    progress = tab.page.get_by_role("progressbar", name="Images done")
    expect(tab.page.locator("ht-products tbody tr")).to_have_count(4)
    tab.page.evaluate("movedSince()")
    gate.let(4)  # the host has few connections: the missing picture waits behind these
    expect(tab.page.locator(".failures li")).to_contain_text("answered 404", timeout=30_000)
    expect(progress).to_have_attribute("aria-valuenow", "5", timeout=30_000)
    assert tab.page.evaluate("movedSince()") < 0.001  # the time left, which is aligned to the right
    assert tab.barriers() == []
    tab.look("running")

    tab.page.evaluate("movedSince()")
    gate.let(1000)
    finished(tab.page)
    steps = tab.page.evaluate("steps")
    assert steps == sorted(steps)
    assert steps[-1] == 6
    assert 5 in steps
    assert tab.page.evaluate("movedSince()") < 0.02  # the buttons that take the place of Cancel
    assert len(tab.asked("/events$")) == 1


def test_the_images_a_second_are_the_event_stream_s(open_tab: Open, shop: Shop, gate: Gate) -> None:
    tab = open_tab("/")
    tab.page.add_init_script(OVERHEAR)
    tab.page.reload()
    upload(tab.page, shop.csv())
    shown = tab.page.locator(".facts div").filter(has_text="Images/s").locator("dd")
    expect(shown).to_have_text("\N{EN DASH}")
    assert tab.page.evaluate("lastRate()") is None

    gate.let(4)
    tab.page.wait_for_function(SHOWS_LAST_RATE, arg=shown.element_handle())


def test_a_request_is_cancelled_after_a_question_and_taken_up_again(open_tab: Open, shop: Shop, gate: Gate) -> None:
    tab = open_tab("/")
    upload(tab.page, shop.csv())
    dialog = tab.page.get_by_role("dialog", name="Cancel this request?")
    cancel = tab.page.get_by_role("button", name="Cancel", exact=True)
    cancel.click()
    expect(dialog).to_contain_text("images not done yet")
    assert tab.barriers() == []
    tab.look("question", whole=False)
    dialog.get_by_role("button", name="Keep it").click()
    assert tab.asked("^POST .*cancel") == []

    cancel.click()
    dialog.get_by_role("button", name="Cancel the request").click()
    gate.let(3)
    expect(tab.page.locator(".badge")).to_have_text("Cancelled", timeout=60_000)
    expect(tab.page.get_by_text(re.compile("^Ended "))).to_be_visible(timeout=60_000)
    assert tab.barriers() == []
    tab.look("cancelled")
    gate.let(1000)
    tab.page.get_by_role("button", name=re.compile("^Retry [3-6] unfinished")).click()
    expect(tab.page.get_by_text("Partly failed", exact=True)).to_be_visible(timeout=60_000)


def test_a_page_that_is_not_looked_at_asks_for_nothing_while_its_request_runs(
    open_tab: Open, shop: Shop, gate: Gate
) -> None:
    tab = open_tab("/")
    upload(tab.page, shop.csv())
    progress = tab.page.get_by_role("progressbar", name="Images done")
    expect(tab.page.locator("ht-products tbody tr")).to_have_count(4)
    tab.page.evaluate("Object.defineProperty(Document.prototype, 'hidden', {configurable: true, get: () => true})")
    tab.requests.clear()
    gate.let(1000)
    expect(progress).to_have_attribute("aria-valuenow", "6", timeout=60_000)
    finished(tab.page)
    assert tab.asked("/v1/") == []

    tab.page.evaluate(
        """Object.defineProperty(Document.prototype, 'hidden', {configurable: true, get: () => false});
        document.dispatchEvent(new Event("visibilitychange"));"""
    )
    expect(tab.page.locator("ht-products ht-thumb[data-shown]")).to_have_count(5)


@pytest.fixture
def request_id(api: Client, shop: Shop) -> str:
    """A finished request of the shop's."""
    request_id: str = api.upload(shop.csv())["request_id"]
    api.finished(request_id)
    return request_id


def test_filters_show_what_the_api_gives_for_them(open_tab: Open, api: Client, request_id: str) -> None:
    tab = open_tab(f"/#/requests/{request_id}/images")
    filters = {
        "Failed": {"status": "failed"},
        "Kept original": {"kept_original": "true"},
        "Biggest saving": {"sort": "-saved"},
        "All": {},
    }
    for link, query in filters.items():
        tab.page.get_by_role("navigation", name="Show").get_by_role("link", name=link).click()
        wanted = [one["url"].rpartition("/")[2] for one in api.items(f"/v1/requests/{request_id}/images", **query)]
        assert wanted
        shown = [re.compile(f"^{re.escape(name)}") for name in wanted]
        expect(tab.page.locator("table.images tbody th")).to_have_text(shown)
        assert tab.barriers() == []
        tab.look(f"images-{link.split()[0].lower()}")
        assert tab.overflow() == 0


def test_an_error_s_code_leads_to_its_explanation(open_tab: Open, request_id: str) -> None:
    tab = open_tab(f"/#/requests/{request_id}/images?show=failed")
    tab.page.get_by_role("link", name="http_status").click()
    tab.page.wait_for_url("**/docs/problems/image-errors#http_status")
    expect(tab.page.locator("section#http_status")).to_be_in_viewport()


def test_a_request_that_is_not_there_is_said_to_be_missing(open_tab: Open) -> None:
    tab = open_tab("/docs/problems/")
    tab.expect_error("404 ")
    tab.page.goto("/#/requests/00000000-0000-7000-8000-000000000000")
    expect(tab.page.get_by_role("heading", name="There is no such request")).to_be_visible()
    assert tab.barriers() == []
    tab.look("missing")


@pytest.mark.parametrize("view", ["", "requests", "request", "images", "figures", "deliveries", "account"])
def test_what_is_loading_and_what_failed_says_so(open_tab: Open, request_id: str, view: str) -> None:
    """A real answer of 500 is not to be had; the browser makes it up, as it holds the answers back."""
    tab = open_tab("/docs/problems/")
    tab.expect_error("500 ")
    problem = {"status": 500, "code": "internal", "title": "Internal error", "detail": "Something broke in Halftone."}
    held: list[Route] = []
    broken = False

    def answer(route: Route) -> None:
        if broken:
            route.fulfill(status=500, json=problem)
        else:
            held.append(route)

    events = "|events" if view == "request" else ""
    reads = rf"/v1/(requests\?|account$|requests/[^/]+/(products|images|report|deliveries{events})($|\?))"
    tab.page.route(re.compile(reads), answer)
    paths = {"": "/", "requests": "/requests", "request": f"/requests/{request_id}", "account": "/account"}
    tab.page.goto(f"/#{paths.get(view, f'/requests/{request_id}/{view}')}")
    waiting = tab.page.locator("[aria-busy=true]").first
    expect(waiting).to_be_attached()
    assert tab.barriers() == []
    tab.look(f"loading-{view or 'new'}")

    broken = True
    for route in held:
        route.fulfill(status=500, json=problem)
    expect(tab.page.get_by_text("Something broke in Halftone.").first).to_be_visible()
    assert tab.barriers() == []
    tab.look(f"error-{view or 'new'}")
