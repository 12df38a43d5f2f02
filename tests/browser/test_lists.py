"""The lists of a request with names, numbers and addresses as long as they come."""

import pytest
from playwright.sync_api import expect

from deploy.demo.catalogue import manifest
from tests.api import Client
from tests.browser.conftest import Open
from tests.browser.shop import Shop, picture

LONG = "/a-name-that-a-catalogue-system-has-made-of-every-word-that-it-knew-of-the-picture-seen-from-the-front.jpg"
NUMBER = "SKU-2026-000000000000000000004711-B"
OUTSIDE = """
panel => [...panel.querySelectorAll("tbody :is(th, td)")].filter((cell) => {
  const [inner, outer] = [cell.getBoundingClientRect(), panel.getBoundingClientRect()];
  return inner.right > outer.right + 1 || cell.scrollWidth > cell.clientWidth + 1;
}).map((cell) => cell.textContent.trim())
"""


@pytest.fixture
def request_id(api: Client, shop: Shop) -> str:
    """A finished request with one good image and one that is missing."""
    shop.origin.add(LONG, picture("shoe.jpg"))
    name = "Sleeve protectors for the office and the workshop, " * 4
    urls = [shop.origin.url(path) for path in (f"{LONG}?{'token=0123456789' * 8}", "/missing" + LONG)]
    request_id: str = api.upload(manifest([(NUMBER, name, urls), ("2", "Bag", [shop.origin.url("/bag.png")])]))[
        "request_id"
    ]
    api.finished(request_id)
    return request_id


@pytest.mark.parametrize("part", ["", "/images", "/images?show=failed"])
@pytest.mark.parametrize("width", [1280, 768, 390])
def test_long_texts_push_nothing_out_of_the_lists(open_tab: Open, request_id: str, part: str, width: int) -> None:
    tab = open_tab(f"/#/requests/{request_id}{part}")
    tab.page.set_viewport_size({"width": width, "height": 860})
    panel = tab.page.locator(".panel.flush")
    expect(panel.locator("tbody tr").first).to_be_visible()

    assert panel.evaluate(OUTSIDE) == []
    assert tab.overflow() == 0
    assert tab.barriers() == []


def test_a_phone_shows_the_whole_address_of_an_image_that_failed(open_tab: Open, request_id: str) -> None:
    tab = open_tab(f"/#/requests/{request_id}")
    tab.page.set_viewport_size({"width": 390, "height": 860})
    tab.page.locator(".failures a").click()
    expect(tab.page.locator("ht-images tbody tr")).to_have_count(1)
    address = tab.page.locator(".url")
    expect(address).to_contain_text("/missing" + LONG)
    assert address.evaluate("text => text.scrollWidth <= text.clientWidth")
