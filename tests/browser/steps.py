"""What a person does on the page."""

import re
from typing import Any

from playwright.sync_api import Locator, Page, expect

REQUEST = re.compile(r"#/requests/([0-9a-f-]{36})")


def upload(page: Page, csv: bytes, *, webhook: str | None = None) -> str:
    """Give a CSV to the page and press the button; the id of the request that it leads to."""
    page.goto("/")
    page.locator("input[type=file]").set_input_files({"name": "shop.csv", "mimeType": "text/csv", "buffer": csv})
    if webhook is not None:
        page.get_by_label("Webhook").fill(webhook)
    page.get_by_role("button", name=re.compile(r"^Compress \d+ image")).click()
    page.wait_for_url(REQUEST)
    found = REQUEST.search(page.url)
    assert found is not None
    return found[1]


def finished(page: Page) -> None:
    """Wait until the page shows that the request has ended."""
    expect(page.get_by_text(re.compile(r"^Finished "))).to_be_visible(timeout=60_000)


def compare(page: Page, name: str) -> Locator:
    """Open an image of the request that is shown beside its original."""
    page.get_by_role("button", name=f"Compare {name}").first.click()
    shown = page.locator("ht-compare")
    expect(shown).to_be_visible()
    return shown


def give_key(page: Page, key: str) -> None:
    """Answer the page's question for a key."""
    page.get_by_label("Key", exact=True).fill(key)
    page.get_by_role("button", name="Continue").click()


def rows(table: Locator) -> list[list[str]]:
    """The texts of a table's body."""
    texts: list[list[Any]] = table.locator("tbody tr").evaluate_all(
        "rows => rows.map(row => [...row.cells].map(cell => cell.innerText.trim()))"
    )
    return [[str(text) for text in row] for row in texts]
