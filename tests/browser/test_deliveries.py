"""The webhooks of a request."""

import json
import re

import pytest
from playwright.sync_api import Locator, expect
from standardwebhooks import Webhook

from tests.api import Client
from tests.browser.conftest import Open
from tests.browser.shop import Shop
from tests.browser.tab import Tab
from tests.origin import Origin, status
from tests.stack import Stack, until

ANSWER = b'{"taken": true}'


@pytest.fixture
def tab(open_tab: Open, api: Client, shop: Shop, origin: Origin) -> Tab:
    """The tab of a request whose webhook was answered."""
    hook = origin.on("/hook", status(200, ANSWER))
    request_id = api.upload(shop.csv(), webhook_url=hook)["request_id"]
    path = f"/v1/requests/{request_id}/deliveries"
    until(lambda: any(one["status"] == "delivered" for one in api.items(path)), within=30)
    tab = open_tab(f"/#/requests/{request_id}/deliveries")
    expect(tab.page.get_by_role("button", name="Send again")).to_be_visible()
    return tab


def test_a_delivery_shows_its_attempts_and_what_was_answered(tab: Tab, origin: Origin) -> None:
    (sent,) = origin.posts("/hook")
    cells = tab.page.locator("table.attempts tr.attempt td").all_inner_texts()

    assert (cells[0], cells[2]) == ("1", "200")
    assert re.search(r"\d\d:\d\d:\d\d", cells[1]), "two attempts may be of one minute"
    expect(tab.page.locator(".delivery-facts")).to_contain_text(sent.headers["webhook-id"])
    tab.page.get_by_text("Begins with").click()
    expect(tab.page.locator("table.attempts pre")).to_have_text(ANSWER.decode())
    assert tab.barriers() == []
    tab.page.set_viewport_size({"width": 390, "height": 844})
    assert tab.overflow() == 0
    tab.look("deliveries")


def copied(tab: Tab, button: Locator) -> str:
    """What is in the clipboard after the button was pressed, with the keyboard."""
    tab.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    tab.page.evaluate("navigator.clipboard.writeText('')")
    button.press("Enter")
    expect(tab.page.get_by_text("Copied.")).to_be_visible()
    return str(until(lambda: tab.page.evaluate("navigator.clipboard.readText()")))


def test_the_shown_signature_is_that_of_the_shown_body(tab: Tab, stack: Stack, origin: Origin) -> None:
    (sent,) = origin.posts("/hook")
    page = tab.page
    page.get_by_text("Body, ").press("Enter")
    page.get_by_text("Signature headers", exact=True).press("Enter")
    body = page.get_by_role("group", name="Body", exact=True)
    table = page.get_by_role("table", name="Signature headers of attempt 1")
    headers = dict(
        zip(table.locator("th code").all_inner_texts(), table.locator("td code").all_inner_texts(), strict=True)
    )

    assert json.loads(body.inner_text()) == json.loads(sent.body)
    assert "\n" in body.inner_text()
    assert tab.barriers() == []
    page.set_viewport_size({"width": 390, "height": 844})
    assert tab.overflow() == 0
    tab.look("deliveries-signed")
    page.get_by_role("button", name="As sent", exact=True).press("Enter")
    shown = str(body.text_content())
    Webhook(stack.command("secret").stdout.strip()).verify(shown, headers)
    assert shown.encode() == copied(tab, page.get_by_role("button", name="Copy as sent")).encode() == sent.body
    name = "webhook-signature"
    assert (
        copied(tab, page.get_by_role("button", name=f"Copy {name} of attempt 1")) == headers[name] == sent.headers[name]
    )


def test_without_a_clipboard_what_is_to_be_copied_is_marked(tab: Tab, origin: Origin) -> None:
    """As on a page that was opened without https."""
    tab.page.evaluate("Object.defineProperty(navigator, 'clipboard', {value: undefined})")
    (sent,) = origin.posts("/hook")
    for summary, button, text in (
        ("Body, ", "Copy as sent", sent.body.decode()),
        ("Signature headers", "Copy webhook-id of attempt 1", sent.headers["webhook-id"]),
    ):
        tab.page.locator("summary", has_text=summary).press("Enter")
        tab.page.get_by_role("button", name=button).press("Enter")
        expect(tab.page.get_by_text("Marked: copy it with Ctrl+C.")).to_be_visible()
        assert tab.page.evaluate("getSelection().toString()") == text


def test_headers_that_are_open_stay_those_of_their_attempt(tab: Tab) -> None:
    tab.page.get_by_text("Signature headers", exact=True).click()
    tab.page.get_by_role("button", name="Send again").click()
    tab.page.get_by_role("dialog").get_by_role("button", name="Send again").click()
    expect(tab.page.locator("tr.attempt")).to_have_count(2)
    expect(tab.page.get_by_role("table", name="Signature headers of attempt 1")).to_be_visible()
    expect(tab.page.get_by_role("table", name="Signature headers of attempt 2")).to_be_hidden()


def test_an_attempt_of_which_no_headers_are_known_says_so(
    open_tab: Open, api: Client, shop: Shop, stack: Stack
) -> None:
    with Origin(port=stack.host_ports[1]) as gone:
        hook = gone.url("/hook")
    request_id = api.upload(shop.csv(), webhook_url=hook)["request_id"]
    path = f"/v1/requests/{request_id}/deliveries"
    until(lambda: any(attempt["duration_ms"] for one in api.items(path) for attempt in one["attempts"]), within=30)
    tab = open_tab(f"/#/requests/{request_id}/deliveries")
    expect(tab.page.get_by_text("No signature headers").first).to_be_visible()


def test_a_redelivery_asks_first_and_shows_its_attempt(tab: Tab, origin: Origin) -> None:
    tab.page.get_by_role("button", name="Send again").click()
    dialog = tab.page.get_by_role("dialog", name="Send this event again?")
    dialog.get_by_role("button", name="Not now").click()
    assert tab.asked("^POST .*redeliver") == []

    tab.page.get_by_role("button", name="Send again").click()
    dialog.get_by_role("button", name="Send again").click()
    expect(tab.page.locator("tr.attempt")).to_have_count(2)
    assert len({post.headers["webhook-id"] for post in origin.posts("/hook")}) == 1


def test_a_request_without_a_webhook_says_what_would_stand_here(open_tab: Open, api: Client, shop: Shop) -> None:
    request_id = api.upload(shop.csv())["request_id"]
    api.finished(request_id)

    tab = open_tab(f"/#/requests/{request_id}/deliveries")
    expect(tab.page.get_by_role("heading", name="No webhook was due")).to_be_visible()
    tab.look("deliveries-none")
