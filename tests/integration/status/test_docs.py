"""The API's own description over HTTP."""

import httpx

from tests.integration.status.conftest import PUBLIC_URL


def test_openapi_is_served_for_programs(client: httpx.Client) -> None:
    answer = client.get("/openapi.json")

    assert answer.headers["content-type"] == "application/json"
    assert answer.json()["openapi"].startswith("3.1")
    assert answer.json()["servers"] == [{"url": PUBLIC_URL}]


def test_docs_are_served_for_readers_and_allow_no_script(client: httpx.Client) -> None:
    answer = client.get("/docs")

    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.headers["content-security-policy"].startswith("default-src 'none'")
    assert "/v1/requests/{request_id}/output.csv" in answer.text
    assert client.head("/docs").content == b""
