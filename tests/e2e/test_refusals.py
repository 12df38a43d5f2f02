"""Bad input and missing servers: a clear answer, and nothing changes."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest

from deploy.demo.catalogue import manifest
from deploy.demo.pictures import draw
from tests.api import Client
from tests.origin import Origin
from tests.stack import Stack, until

GOOD = manifest([("1", "Shoe", ["http://images.example/shoe.jpg"])])


def total(api: Client) -> int:
    return sum(1 for _ in api.items("/v1/requests", page_size="200"))


@pytest.mark.parametrize(
    ("body", "content_type", "status", "code"),
    [
        (b"PK\x03\x04" + bytes(100), "text/csv", 415, "unsupported_media_type"),
        (b"hello", "text/plain", 415, "unsupported_media_type"),
        (b"Name,Price\nShoe,12\n", "text/csv", 422, "invalid_manifest"),
        (b"S. No.,Product Name,Input Image Urls\n1,Shoe,ftp://x/y.jpg\n", "text/csv", 422, "invalid_manifest"),
        (b"{", "application/json", 400, "malformed"),
    ],
)
def test_a_bad_upload_is_refused_and_changes_nothing(
    api: Client, http: httpx.Client, body: bytes, content_type: str, status: int, code: str
) -> None:
    before = total(api)
    answer = http.post("/v1/requests", content=body, headers={"content-type": content_type})
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["x-request-id"]
    assert total(api) == before


@contextmanager
def without(stack: Stack, name: str) -> Iterator[None]:
    """The stack while one of its servers is dead; the supervisor is frozen meanwhile, or it would start it again."""
    supervisor = int(stack.state()["pid"])
    os.kill(supervisor, signal.SIGSTOP)
    old = stack.kill(name)
    try:
        yield
    finally:
        os.kill(supervisor, signal.SIGCONT)
        until(lambda: stack.pid(name) not in (None, old), within=30)
        until(lambda: httpx.get(f"{stack.base_url}/healthz").status_code == 200, within=60)


def test_without_postgresql_the_answer_is_503_with_retry_after(stack: Stack, http: httpx.Client) -> None:
    with without(stack, "postgres"):
        for answer in (
            http.post("/v1/requests", content=GOOD, headers={"content-type": "text/csv"}),
            http.get("/v1/requests"),
        ):
            assert answer.status_code == 503
            assert int(answer.headers["retry-after"]) > 0
            assert answer.json()["code"] == "unavailable"
    until(lambda: http.get("/v1/requests").status_code == 200, within=20)


def test_without_valkey_an_upload_is_accepted_and_dispatched_later(stack: Stack, api: Client, origin: Origin) -> None:
    url = origin.add("/later.jpg", draw("later.jpg", (160, 120)))
    with without(stack, "valkey"):
        request_id = api.upload(manifest([("1", "Shoe", [url])]))["request_id"]
        assert api.request(request_id)["status"] == "pending"
    request = api.finished(request_id, within=60)
    assert request["images"]["completed"] == 1
