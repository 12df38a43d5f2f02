"""Which service a request reaches, and what the gateway answers by itself."""

import socket
from threading import Timer

import httpx
import pytest

from tests.integration.gateway.conftest import BODY_SECONDS, Gateway


@pytest.mark.parametrize(
    ("method", "service"), [("GET", "status"), ("HEAD", "status"), ("POST", "ingest"), ("DELETE", "ingest")]
)
def test_the_method_decides_which_service_answers(gateway: Gateway, method: str, service: str) -> None:
    answer = gateway.client.request(method, f"{gateway.url}/v1/requests")
    assert answer.status_code == 200
    if method != "HEAD":
        assert answer.json()["service"] == service


@pytest.mark.parametrize("method", ["PUT", "PATCH", "OPTIONS", "TRACE", "BREW"])
def test_another_method_is_405_with_the_known_ones_named(gateway: Gateway, method: str) -> None:
    answer = gateway.client.request(method, f"{gateway.url}/v1/requests")
    assert _problem(answer, 405)["code"] == "method_not_allowed"
    assert answer.headers["Allow"] == "GET, HEAD, POST, DELETE"


@pytest.mark.parametrize("path", ["/metrics", "/readyz", "//metrics"])
def test_inner_paths_are_not_reachable(gateway: Gateway, path: str) -> None:
    assert _problem(gateway.get(path), 404)["code"] == "not_found"


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_the_root_leads_readers_to_the_docs(gateway: Gateway, method: str) -> None:
    answer = gateway.client.request(method, f"{gateway.url}/")
    assert (answer.status_code, answer.headers["Location"]) == (302, "/docs")
    assert answer.headers["X-Request-Id"]


def test_healthz_is_ready_only_when_both_services_are(gateway: Gateway) -> None:
    assert gateway.get("/healthz").status_code == 200
    for service in (gateway.ingest, gateway.status):
        service.ready = False
        try:
            assert gateway.get("/healthz").status_code == 503
        finally:
            service.ready = True


def test_a_service_that_is_away_for_a_moment_is_waited_for(gateway: Gateway) -> None:
    for service, method in ((gateway.ingest, "POST"), (gateway.status, "GET")):
        service.close()
        back = Timer(0.5, service.open)
        back.start()
        assert gateway.client.request(method, f"{gateway.url}/v1/requests", timeout=20).status_code == 200
        back.join()


def test_a_service_that_stays_away_is_503_with_retry_after(gateway: Gateway) -> None:
    gateway.status.close()
    try:
        answer = gateway.client.get(f"{gateway.url}/v1/requests", timeout=20)
        assert _problem(gateway.get("/healthz"), 503)
    finally:
        gateway.status.open()
    assert _problem(answer, 503)["code"] == "unavailable"
    assert int(answer.headers["Retry-After"]) > 0


@pytest.mark.parametrize("size", [3, 900_000])
def test_a_service_that_breaks_off_is_503_all_the_same(gateway: Gateway, size: int) -> None:
    answer = gateway.client.post(f"{gateway.url}/broken", content=b"x" * size)
    assert _problem(answer, 503)["code"] == "unavailable"


def test_a_body_that_never_ends_does_not_hold_the_service_behind_for_ever(gateway: Gateway) -> None:
    url = httpx.URL(gateway.url)
    head = b"POST /upload HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n"
    with socket.create_connection((url.host, url.port or 80)) as client:
        client.sendall(head + b"x")
        assert gateway.ingest.cut_off.wait(BODY_SECONDS + 5)


@pytest.mark.parametrize(("method", "body"), [("GET", None), ("POST", b"x")])
def test_an_answer_may_take_longer_than_a_body_may(gateway: Gateway, method: str, body: bytes | None) -> None:
    answer = gateway.client.request(method, f"{gateway.url}/slow", content=body, timeout=20)
    assert answer.json()["path"] == "/slow"


def test_forwarding_headers_of_the_client_do_not_get_through(gateway: Gateway) -> None:
    sent = {
        "X_Forwarded_For": "6.6.6.6",
        "X_Forwarded_Prefix": "/x",
        "Forwarded": "for=6.6.6.6",
        "X_Real_IP": "6.6.6.6",
    }
    seen = gateway.get("/v1/requests", **sent).json()["headers"]
    assert "6.6.6.6" not in str(seen)
    assert "x-forwarded-prefix" not in seen


@pytest.mark.parametrize("sent", [None, "spaces are not for ids", "x" * 65])
def test_a_request_without_a_usable_id_gets_one(gateway: Gateway, sent: str | None) -> None:
    answer = gateway.get("/v1/requests", **({} if sent is None else {"X_Request_Id": sent}))
    assert len(answer.json()["headers"]["x-request-id"]) == 36
    assert answer.headers["X-Request-Id"] == answer.json()["headers"]["x-request-id"]


def test_of_two_ids_neither_is_kept(gateway: Gateway) -> None:
    sent = [("X-Request-Id", "mine-1"), ("X-Request-Id", "<not for ids>")]
    for path in ("/v1/requests", "/metrics"):
        answer = gateway.client.get(gateway.url + path, headers=sent)
        (given,) = answer.headers.get_list("X-Request-Id")
        assert len(given) == 36


def test_a_request_keeps_its_id_in_a_problem_too(gateway: Gateway) -> None:
    assert gateway.get("/metrics", X_Request_Id="mine-1").headers["X-Request-Id"] == "mine-1"


def _problem(answer: httpx.Response, status: int) -> dict[str, object]:
    assert answer.status_code == status
    assert answer.headers["Content-Type"] == "application/problem+json"
    body = dict(answer.json())
    assert body.keys() == {"type", "title", "status", "detail", "code"}
    assert body["status"] == status
    assert body["type"] == f"urn:halftone:problem:{body['code']}"
    return body
