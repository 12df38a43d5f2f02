"""Making a request: the three steps, and what is told of a file or an option that is not taken."""

import re
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, Route, expect

from tests.browser.conftest import Open
from tests.browser.shop import Shop
from tests.browser.steps import REQUEST, compare
from tests.browser.tab import PHONE, Tab


@pytest.fixture
def tab(open_tab: Open) -> Tab:
    return open_tab("/")


def give(page: Page, csv: bytes | Path) -> None:
    field = page.locator("input[type=file]")
    if isinstance(csv, Path):
        field.set_input_files(csv)
    else:
        field.set_input_files({"name": "shop.csv", "mimeType": "text/csv", "buffer": csv})


def compress(page: Page) -> Locator:
    return page.get_by_role("button", name=re.compile(r"^Compress \d"))


def test_three_actions_that_the_page_names_lead_from_it_to_the_slider(tab: Tab, shop: Shop) -> None:
    page = tab.page
    steps, step = page.locator("ol.path li"), page.locator("ol.path [aria-current=step]")
    expect(steps).to_have_text([re.compile("Drop your CSV"), re.compile("Press Compress"), re.compile("Open an image")])
    expect(step).to_contain_text("Drop your CSV")
    give(page, shop.csv())

    expect(step).to_contain_text("Press Compress")
    compress(page).click()

    expect(compare(page, "scarf.jpg").get_by_role("slider")).to_be_visible()


def test_a_check_that_found_the_service_away_is_repeated_with_the_same_file(tab: Tab, shop: Shop) -> None:
    tab.expect_error("ERR_")
    tab.page.context.set_offline(True)
    give(tab.page, shop.csv())
    again = tab.page.get_by_role("button", name="Check again")
    expect(again).to_be_visible()
    assert tab.barriers() == []
    tab.look("check-away")

    tab.page.context.set_offline(False)
    again.click()
    expect(compress(tab.page)).to_be_focused()
    expect(again).to_have_count(0)


def test_a_refused_webhook_is_told_at_its_field(tab: Tab, shop: Shop) -> None:
    tab.expect_error("422 ")
    give(tab.page, shop.csv())
    webhook = tab.page.get_by_label("Webhook")
    webhook.fill("http://192.168.0.1/hook")
    compress(tab.page).click()

    expect(webhook).to_be_focused()
    expect(webhook).to_have_attribute("aria-invalid", "true")
    expect(webhook).to_have_accessible_description(re.compile("^Webhook is refused. The URL.* public"))
    expect(tab.page.locator(".result .note")).to_have_count(0)
    assert tab.barriers() == []
    tab.look("webhook-refused")
    webhook.fill("")
    expect(webhook).to_have_attribute("aria-invalid", "false")


def test_a_file_without_a_header_is_told_the_line_it_lacks(tab: Tab, shop: Shop) -> None:
    give(tab.page, shop.csv().split(b"\n", 1)[1])
    said = tab.page.get_by_text("The first line must name the columns")
    expect(said).to_contain_text("S. No., Product Name, Input Image Urls")


def test_on_a_phone_each_fault_names_its_line_and_its_column(tab: Tab) -> None:
    tab.page.set_viewport_size({"width": PHONE[0], "height": PHONE[1]})
    give(tab.page, b"S. No.,Product Name,Input Image Urls\n1,,https://shop.example/c.jpg\n")
    fault = tab.page.locator("ht-row-errors tbody tr")
    expect(fault).to_have_text(re.compile(r"Line\s*2\s*Product Name\s*empty"), use_inner_text=True)
    assert tab.overflow() == 0


def test_a_file_that_was_changed_since_is_not_taken_for_a_service_that_is_away(
    tab: Tab, shop: Shop, tmp_path: Path
) -> None:
    tab.expect_error("ERR_UPLOAD_FILE_CHANGED")
    file = tmp_path / "shop.csv"
    file.write_bytes(shop.csv())
    give(tab.page, file)
    expect(compress(tab.page)).to_be_visible()
    file.write_bytes(shop.csv() + b"5,Belt,https://shop.example/belt.jpg\n")
    compress(tab.page).click()

    expect(tab.page.get_by_text("This file cannot be read.")).to_be_visible()
    expect(compress(tab.page)).to_have_count(0)
    give(tab.page, file)
    expect(tab.page.get_by_text("5 products, 7 images")).to_be_visible()


def test_a_dropped_folder_is_told_from_a_file(tab: Tab, tmp_path: Path) -> None:
    tab.expect_error("ERR_FILE_NOT_FOUND")
    expect(tab.page.get_by_text("Drop a CSV here")).to_be_visible()
    events = tab.page.context.new_cdp_session(tab.page)
    for kind in ("dragEnter", "dragOver", "drop"):
        data = {"items": [], "files": [str(tmp_path)], "dragOperationsMask": 1}
        events.send("Input.dispatchDragEvent", {"type": kind, "x": 300, "y": 300, "data": data})
    expect(tab.page.get_by_text("It is a folder")).to_be_visible()


def test_who_leaves_while_a_request_is_sent_is_told_and_not_called_back(tab: Tab, shop: Shop) -> None:
    page = tab.page
    held: list[Route] = []
    page.route(re.compile(r"/v1/requests\?mode="), lambda route: held.append(route))  # noqa: PLW0108 - Playwright marks it
    give(page, shop.csv())
    with page.expect_request("**/v1/requests?mode=*"):
        compress(page).click()
    page.get_by_role("link", name="Account", exact=True).click()
    expect(page.get_by_role("heading", name="Account")).to_be_visible()

    held[0].continue_()
    expect(page.get_by_text("Your request is made")).to_be_visible()
    assert page.url.endswith("#/account")


def test_the_whole_row_leads_to_its_request(open_tab: Open, tab: Tab, shop: Shop) -> None:
    give(tab.page, shop.csv())
    compress(tab.page).click()
    tab.page.wait_for_url(REQUEST)
    page = open_tab("/#/requests").page
    page.locator("table.requests tbody td").last.click(force=True)  # what takes it is the link, which lies over the row
    page.wait_for_url(REQUEST)


@pytest.mark.parametrize("view", ["", "requests", "account"])
def test_fingers_find_what_they_press(open_tab: Open, view: str) -> None:
    """44 px, as iOS and WCAG 2.5.5 ask for; a text of 16 px, which iOS does not zoom into."""
    page = open_tab(f"/#/{view}", touch=True).page
    page.set_viewport_size({"width": PHONE[0], "height": PHONE[1]})
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    expect(page.locator("main [aria-busy=true]")).to_have_count(0)
    pressed = page.locator("button:visible:not(.link), a.button:visible, nav a:visible, select:visible, input:visible")
    low = pressed.evaluate_all(
        "all => all.filter(one => one.type !== 'file' && one.offsetHeight < 44).map(one => one.outerHTML)"
    )
    assert low == []
    small = page.locator("input, select").evaluate_all(
        "all => all.map(one => parseFloat(getComputedStyle(one).fontSize))"
    )
    assert all(size >= 16 for size in small)
