"""Making a request, following it to its end, and what can be done with it then."""

import re

import pytest
from playwright.sync_api import Page, Route, expect

from tests.browser.conftest import Open
from tests.browser.shop import Shop, picture
from tests.origin import Behaviour, Exchange, body
from tests.stack import Stack

FAULTY = """S. No.,Product Name,Input Image Urls
1,Canvas shoe,"https://shop.example/a.jpg,ftp://shop.example/b.jpg"
2,,https://shop.example/c.jpg
3,Felt hat,https://shop.example/d.jpg
"""


def choose(page: Page, csv: bytes) -> None:
    page.locator("input[type=file]").set_input_files({"name": "shop.csv", "mimeType": "text/csv", "buffer": csv})


def compress(page: Page) -> None:
    page.get_by_role("button", name=re.compile("compress", re.IGNORECASE)).click()
    expect(page.get_by_role("progressbar", name="Images done")).to_be_visible()


def after(seconds: float, name: str) -> Behaviour:
    def behave(exchange: Exchange) -> None:
        exchange.pause(seconds)
        body(picture(name))(exchange)

    return behave


@pytest.mark.parametrize("view", ["", "requests"])
def test_the_views_are_usable_by_all_and_fit_a_phone(open_tab: Open, view: str) -> None:
    tab = open_tab(f"/#/{view}")
    expect(tab.page.get_by_role("heading", level=1)).to_be_visible()

    assert tab.barriers() == []
    tab.look(f"view-{view or 'new'}")
    tab.page.set_viewport_size({"width": 390, "height": 844})
    assert tab.overflow() == 0


def test_faults_are_marked_in_their_cells_before_anything_is_stored(open_tab: Open) -> None:
    tab = open_tab("/")
    tab.page.get_by_role("button", name="Paste rows").click()
    tab.page.get_by_label("Rows").fill(FAULTY)

    marked = tab.page.locator("ht-row-errors mark")
    expect(marked).to_have_text(["ftp://shop.example/b.jpg", "empty"])
    expect(tab.page.get_by_role("row", name=re.compile("^3 .*is empty"))).to_be_visible()
    expect(tab.page.get_by_role("button", name="Leave them out and compress 1 image of 1 product")).to_be_visible()
    assert tab.barriers() == []
    tab.look("faults")
    assert {request.split("?")[1] for request in tab.asked("^POST")} == {"validate_only=true"}


def test_a_request_is_followed_to_its_end_tried_again_and_deleted(open_tab: Open, shop: Shop) -> None:
    tab = open_tab("/")
    choose(tab.page, shop.csv())
    expect(tab.page.get_by_text("4 products, 6 images")).to_be_visible()
    compress(tab.page)

    expect(tab.page.get_by_text(re.compile("^Finished "))).to_be_visible(timeout=60_000)
    expect(tab.page.locator(".failures li")).to_have_text([re.compile("gone.jpg .* answered 404")])
    expect(tab.page.locator("ht-products ht-thumb[data-shown]")).to_have_count(5)
    assert len(tab.asked("/events$")) == 1
    assert tab.barriers() == []
    tab.look("request")

    tab.page.get_by_role("link", name="Images").click()
    tab.page.get_by_role("link", name="Failed").click()
    expect(tab.page.locator("ht-images tbody tr")).to_have_count(1)
    assert tab.barriers() == []
    tab.look("images-failed")

    shop.origin.add("/gone.jpg", picture("shoe.jpg"))
    tab.page.get_by_role("button", name="Retry 1 failed").click()
    expect(tab.page.get_by_text("Completed", exact=True)).to_be_visible(timeout=60_000)
    for name in ("output", "outputs"):
        with tab.page.expect_download() as download:
            tab.page.get_by_role("button", name="Download CSV" if name == "output" else "Download ZIP").click()
        assert download.value.suggested_filename.startswith(f"{name}-")

    tab.page.get_by_role("button", name="Delete").click()
    tab.page.get_by_role("dialog").get_by_role("button", name="Keep it").click()
    assert tab.asked("^DELETE") == []
    tab.page.get_by_role("button", name="Delete").click()
    tab.page.get_by_role("dialog").get_by_role("button", name="Delete the request").click()
    expect(tab.page.get_by_role("heading", name="Requests", exact=True)).to_be_visible()


def test_the_page_goes_on_when_the_service_was_away(open_tab: Open, shop: Shop, stack: Stack) -> None:
    shop.origin.on("/hat.webp", after(4, "hat.webp"))
    tab = open_tab("/")
    tab.expect_error("ERR_")
    choose(tab.page, shop.csv())
    compress(tab.page)
    tab.page.context.set_offline(True)
    stack.kill("gateway")
    away = tab.page.get_by_text("Halftone cannot be reached.")
    tab.page.get_by_role("link", name="Images").click()
    expect(away).to_be_visible(timeout=60_000)
    assert tab.barriers() == []
    tab.look("away", whole=False)

    tab.page.context.set_offline(False)
    expect(away).to_be_hidden(timeout=60_000)
    expect(tab.page.get_by_text(re.compile("^Finished "))).to_be_visible(timeout=60_000)
    expect(tab.page.locator("ht-images tbody tr")).to_have_count(6)


def test_a_bad_key_is_told_and_a_good_one_is_kept_in_the_tab_only(open_tab: Open, keyed: Stack) -> None:
    tab = open_tab("/#/requests", base_url=keyed.base_url)
    tab.expect_error("401 ")
    ask = tab.page.get_by_role("dialog", name="API key")
    ask.get_by_label("Key", exact=True).fill("ht_aaaaaaaaaaaa_nonsense")
    ask.get_by_role("button", name="Continue").click()
    expect(ask.get_by_text("That key was not accepted.")).to_be_visible()
    assert tab.barriers() == []

    ask.get_by_label("Key", exact=True).fill(keyed.key("page"))
    ask.get_by_role("button", name="Continue").click()
    expect(tab.page.get_by_role("heading", name="No requests yet")).to_be_visible()
    tab.look("requests-none")
    kept = tab.page.evaluate("[Object.keys(sessionStorage), Object.keys(localStorage), document.cookie]")
    assert kept == [["halftone.key"], [], ""]


def test_the_view_that_was_asked_for_last_is_shown(open_tab: Open) -> None:
    page = open_tab("/docs").page
    late: list[Route] = []
    page.route("**/app/new-request.js", lambda route: late.append(route))  # noqa: PLW0108 - Playwright marks it
    page.goto("/#/", wait_until="commit")
    expect(page.get_by_role("navigation", name="Main")).to_be_visible()
    page.evaluate("location.hash = '#/requests'")
    expect(page.get_by_role("heading", name="Requests", exact=True)).to_be_visible()
    late[0].continue_()
    page.evaluate("customElements.whenDefined('ht-new-request').then(() => null)")
    page.evaluate("new Promise((done) => setTimeout(done, 200))")
    expect(page.get_by_role("heading", name="Requests", exact=True)).to_be_visible()
    expect(page.get_by_role("heading", name="New request")).to_have_count(0)
