"""The page where renditions are in a bucket, at another address than the page's own."""

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import expect

from tests.api import Client
from tests.browser.conftest import Open
from tests.browser.shop import Shop
from tests.browser.steps import compare
from tests.bucket import BUCKET, Bucket
from tests.stack import Stack


@pytest.fixture(scope="module")
def stack(workspace: Path, cluster: Path, s3_server: Bucket) -> Iterator[Stack]:
    s3_server.empty()
    env = {**s3_server.env, "BLOB_URL": f"s3://{BUCKET}"}
    with Stack(workspace / "browser-bucket", env=env, like=cluster) as stack:
        yield stack


def test_thumbnails_and_both_sides_of_a_comparison_are_shown(
    open_tab: Open, api: Client, shop: Shop, s3_server: Bucket
) -> None:
    request_id = api.upload(shop.csv())["request_id"]
    completed = api.finished(request_id)["images"]["completed"]
    served: list[str] = []
    tab = open_tab("/")
    tab.hosts.add(urlsplit(s3_server.public_endpoint).netloc)
    page = tab.page
    page.on("response", lambda answer: served.append(answer.url) if answer.ok else None)
    page.goto(f"/#/requests/{request_id}")
    expect(page.locator("ht-thumb[data-shown]")).to_have_count(completed)
    shown = compare(page, "scarf.jpg")
    expect(shown.get_by_role("slider")).to_have_attribute("aria-valuenow", "50")
    for side in (".before img", ".after img"):
        expect(shown.locator(side)).to_have_js_property("naturalWidth", 900)
    assert any(url.startswith(f"{s3_server.public_endpoint}/") for url in served)
