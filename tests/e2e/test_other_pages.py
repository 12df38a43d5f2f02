"""A web page in the same browser, against the whole stack: it changes nothing, and by its own name it reads nothing."""

import httpx
import pytest

from deploy.demo.catalogue import manifest
from deploy.demo.pictures import draw
from tests.api import Client
from tests.origin import Origin
from tests.stack import Stack

GOOD = manifest([("1", "Shoe", ["http://images.example/shoe.jpg"])])
PAGE = {"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example"}
REBOUND = {"Host": "evil.example"}


def total(api: Client) -> int:
    return sum(1 for _ in api.items("/v1/requests", page_size="200"))


@pytest.mark.parametrize("path", ["/v1/requests", "/upload", "/api/upload-csv/"])
@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        (PAGE, 403, "cross_site"),
        ({"Origin": "null"}, 403, "cross_site"),
        ({"Sec-Fetch-Site": "same-site"}, 403, "cross_site"),
        (REBOUND | {"Sec-Fetch-Site": "same-origin", "Origin": "http://evil.example"}, 421, "unknown_host"),
    ],
)
def test_a_form_that_another_page_posts_is_not_taken(
    api: Client, http: httpx.Client, path: str, headers: dict[str, str], status: int, code: str
) -> None:
    before = total(api)
    answer = http.post(path, files={"file": ("a.csv", GOOD)}, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert total(api) == before


def test_a_name_that_leads_here_reads_and_deletes_nothing(api: Client, http: httpx.Client, origin: Origin) -> None:
    url = origin.add("/kept.jpg", draw("kept.jpg", (160, 120)))
    request_id = api.upload(manifest([("1", "Shoe", [url])]))["request_id"]
    api.finished(request_id, within=60)
    path = f"/v1/requests/{request_id}"
    for method, below in (("GET", ""), ("GET", "/events"), ("GET", "/output.csv"), ("DELETE", "")):
        answer = http.request(method, path + below, headers=REBOUND)
        assert (answer.status_code, answer.json()["code"]) == (421, "unknown_host")
    assert http.delete(path, headers=PAGE).status_code == 403
    assert http.get(path).status_code == 200


@pytest.mark.parametrize("name", ["localhost", "[::1]", "127.0.0.1"])
def test_the_loopback_s_names_are_known(http: httpx.Client, stack: Stack, name: str) -> None:
    assert http.get("/v1/requests", headers={"Host": f"{name}:{stack.port}"}).status_code == 200


def test_a_large_body_of_another_page_is_refused_without_reading_it(http: httpx.Client) -> None:
    for _ in range(10):
        answer = http.post("/upload", content=bytes(20_000_000), headers={"Content-Type": "text/csv"} | PAGE)
        assert answer.status_code == 403
