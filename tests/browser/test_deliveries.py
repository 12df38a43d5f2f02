"""The webhooks of a request."""

import pytest
from playwright.sync_api import expect

from tests.api import Client
from tests.browser.conftest import Open
from tests.browser.shop import Shop
from tests.browser.steps import rows
from tests.browser.tab import Tab
from tests.origin import Origin, status
from tests.stack import until

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
    (row,) = rows(tab.page.locator("table.attempts"))

    assert (row[0], row[2]) == ("1", "200")
    expect(tab.page.locator(".delivery-facts")).to_contain_text(sent.headers["webhook-id"])
    tab.page.get_by_text("Begins with").click()
    expect(tab.page.locator("pre")).to_have_text(ANSWER.decode())
    assert tab.barriers() == []
    tab.page.set_viewport_size({"width": 390, "height": 844})
    assert tab.overflow() == 0
    tab.look("deliveries")


def test_a_redelivery_asks_first_and_shows_its_attempt(tab: Tab, origin: Origin) -> None:
    tab.page.get_by_role("button", name="Send again").click()
    dialog = tab.page.get_by_role("dialog", name="Send this event again?")
    dialog.locator("button").last.click()
    assert tab.asked("^POST .*redeliver") == []

    tab.page.get_by_role("button", name="Send again").click()
    dialog.get_by_role("button", name="Send again").click()
    expect(tab.page.locator("table.attempts tbody tr")).to_have_count(2)
    assert len({post.headers["webhook-id"] for post in origin.posts("/hook")}) == 1


def test_a_request_without_a_webhook_says_what_would_stand_here(open_tab: Open, api: Client, shop: Shop) -> None:
    request_id = api.upload(shop.csv())["request_id"]
    api.finished(request_id)

    tab = open_tab(f"/#/requests/{request_id}/deliveries")
    expect(tab.page.get_by_role("heading", name="No webhook was due")).to_be_visible()
    tab.look("deliveries-none")
