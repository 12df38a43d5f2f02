"""Which service a request reaches, and what the gateway answers by itself."""

import socket
from threading import Timer

import httpx
import pytest

from shared.http.security_headers import DEFAULTS
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
def test_another_method_is_answered_by_status_which_knows_those_of_each_path(gateway: Gateway, method: str) -> None:
    answer = gateway.client.request(method, f"{gateway.url}/v1/requests")
    assert (answer.json()["service"], answer.json()["method"]) == ("status", method)


@pytest.mark.parametrize("path", ["/metrics", "/readyz", "//metrics", "/x/../%6Detrics", "/metrics%0A", "/readyz%0A"])
def test_inner_paths_are_not_reachable(gateway: Gateway, path: str) -> None:
    url = httpx.URL(gateway.url).copy_with(raw_path=path.encode())
    assert _problem(gateway.client.get(url), 404)["code"] == "not_found"


@pytest.mark.parametrize("path", ["/", "/app/app.js"])
def test_the_page_for_people_comes_from_status(gateway: Gateway, path: str) -> None:
    answer = gateway.get(path)
    assert (answer.json()["service"], answer.json()["path"]) == ("status", path)


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
    head = b"POST /upload HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n"
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


def test_the_service_learns_the_client_s_address_from_the_gateway_alone(gateway: Gateway) -> None:
    sent = [("X-Forwarded-For", "6.6.6.6"), ("Connection", "X-Forwarded-For"), ("X-Forwarded-For", "7.7.7.7")]
    seen = gateway.client.get(f"{gateway.url}/v1/requests", headers=sent).json()["headers"]
    assert seen["x-forwarded-for"] == "127.0.0.1"


@pytest.mark.parametrize("path", ["/v1/requests", "/metrics", "/", "/files/none"])
@pytest.mark.parametrize(
    "sent",
    [
        [],
        [("X-Request-Id", "mine-1")],
        [("X-Request-Id", "mine-1"), ("X-Request-Id", "<not for ids>")],
        [("X-Request-Id", "mine-1"), ("Connection", "X-Request-Id")],
    ],
)
def test_every_call_gets_an_id_of_the_gateway_s_own(gateway: Gateway, path: str, sent: list[tuple[str, str]]) -> None:
    answer = gateway.client.get(gateway.url + path, headers=sent)
    (given,) = answer.headers.get_list("X-Request-Id")
    assert len(given) == 36
    if path == "/v1/requests":
        assert answer.json()["headers"]["x-request-id"] == given


def test_no_other_protocol_is_offered_to_a_service(gateway: Gateway) -> None:
    sent = {"Connection": "Upgrade, HTTP2-Settings", "Upgrade": "h2c", "HTTP2-Settings": "AAMAAABkAARAAAAAAAIAAAAA"}
    answer = gateway.client.get(f"{gateway.url}/v1/requests", headers=sent)
    assert answer.status_code == 200
    assert answer.json()["headers"].keys().isdisjoint({"upgrade", "http2-settings"})


def test_the_gateway_itself_speaks_no_http2(gateway: Gateway) -> None:
    url = httpx.URL(gateway.url)
    with socket.create_connection((url.host, url.port or 80), timeout=10) as client:
        client.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0]))
        client.shutdown(socket.SHUT_WR)
        assert client.makefile("rb").read() == b""


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 200),
        ("GET", "/healthz", 200),
        ("GET", "/metrics", 404),
        ("GET", "/files/none", 404),
        ("POST", "/files/none", 405),
        ("PUT", "/files/none", 405),
        ("POST", "/broken", 503),
        ("GET", "/v1/requests", 200),  # the stand-in sets none of them
    ],
)
def test_every_answer_has_the_security_headers(gateway: Gateway, method: str, path: str, status: int) -> None:
    answer = gateway.client.request(method, gateway.url + path)
    assert answer.status_code == status
    for name, value in DEFAULTS:
        assert answer.headers.get_list(name.decode()) == [value.decode()], name
    assert answer.headers.keys().isdisjoint({"server", "via", "strict-transport-security"})


def _problem(answer: httpx.Response, status: int) -> dict[str, object]:
    assert answer.status_code == status
    assert answer.headers["Content-Type"] == "application/problem+json"
    body = dict(answer.json())
    assert body.keys() == {"type", "title", "status", "detail", "code"}
    assert body["status"] == status
    assert body["type"] == f"/docs/problems/{body['code']}"
    return body
