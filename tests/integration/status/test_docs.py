"""The API's own description over HTTP."""

import re

import httpx
import pytest

from tests.integration.status.conftest import PUBLIC_URL


def test_openapi_is_served_for_programs(client: httpx.Client) -> None:
    answer = client.get("/openapi.json")

    assert answer.headers["content-type"] == "application/json"
    assert answer.json()["openapi"].startswith("3.1")
    assert answer.json()["servers"] == [{"url": PUBLIC_URL}]


def test_docs_are_served_for_people_with_all_that_the_page_asks_for(client: httpx.Client) -> None:
    page = client.get("/docs")
    types = {".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8"}

    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert page.headers["content-security-policy"].startswith("default-src 'none'; script-src 'self';")
    assert client.head("/docs").content == b""
    for path in re.findall(r'(?:src|href)="(/docs/[^"]+)', page.text):
        asset = client.get(path)
        assert asset.headers["content-type"] == types[re.sub(r".*(\.\w+)\?.*", r"\1", path)]
        assert asset.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("name", ["", "none.js", "..%2fdocs.py", "../docs.py", "swagger-ui", "%00"])
def test_no_other_file_is_served(client: httpx.Client, name: str) -> None:
    assert client.get(f"/docs/{name}").status_code == 404
