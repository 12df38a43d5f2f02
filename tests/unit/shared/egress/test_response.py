"""Hosts that misbehave in every way: each yields the right error in bounded time."""

from collections.abc import Sequence

import pytest

from shared import errors
from shared.egress import Egress
from shared.errors import HttpProtocol, HttpStatus, ImageError
from tests import origin as hosts
from tests.origin import Behaviour, Exchange, Origin, close_at_once, drip, late, redirect, status
from tests.unit.shared.egress.conftest import PICTURE, at_most, failure, get


def raw(answer: bytes) -> Behaviour:
    return lambda exchange: exchange.send(b"HTTP/1.1 200 OK\r\n" + answer)


def endless_hints(exchange: Exchange) -> None:
    while not exchange.stopping.is_set():
        exchange.send(b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n")


def slow_hints(exchange: Exchange) -> None:
    for _ in range(100):
        exchange.send(b"HTTP/1.1 103 Early Hints\r\n\r\n")
        exchange.pause(0.1)


def drip_chunks(exchange: Exchange) -> None:
    exchange.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while True:
        exchange.send(b"1\r\nx\r\n")
        exchange.pause(0.05)


@pytest.mark.parametrize("code", [400, 401, 403, 404, 410, 204, 206, 304])
def test_other_answers_are_final(origin: Origin, egress: Egress, code: int) -> None:
    error = failure(egress, origin.on("/a", status(code)))
    assert isinstance(error, HttpStatus)
    assert error.detail == f"127.0.0.1 answered {code}."


@pytest.mark.parametrize("code", [408, 425, 429, 500, 502, 503, 504])
def test_a_busy_host_is_asked_again_later(origin: Origin, egress: Egress, code: int) -> None:
    error = failure(egress, origin.on("/a", status(code, headers={"Retry-After": "7"})))
    assert isinstance(error, errors.HttpStatusTransient)
    assert error.retry_after == 7


@pytest.mark.parametrize(
    "behaviours",
    [
        pytest.param([drip(PICTURE, every=0.05)], id="body"),
        pytest.param([drip_chunks], id="chunks"),
        pytest.param([hosts.drip_headers(every=0.05)], id="headers"),
        pytest.param([slow_hints], id="interim answers"),
        pytest.param([late(status(200, PICTURE), seconds=10)], id="first byte"),
        pytest.param([late(redirect("/a"), seconds=0.15)] * 6, id="redirects"),
    ],
)
def test_a_slow_host_cannot_outlast_the_deadline(
    origin: Origin, egress: Egress, behaviours: Sequence[Behaviour]
) -> None:
    with at_most(5):
        assert isinstance(failure(egress, origin.on("/a", *behaviours), seconds=0.4), errors.FetchTimeout)


@pytest.mark.parametrize(
    ("behaviour", "kind"),
    [
        pytest.param(hosts.reset_after(PICTURE, sent=1000), errors.IncompleteBody, id="reset in the middle"),
        pytest.param(hosts.claim(PICTURE, length=102_401), errors.IncompleteBody, id="less than Content-Length"),
        pytest.param(hosts.claim(b"x", length=10**12), errors.TooLarge, id="announced"),
        pytest.param(hosts.endless, errors.TooLarge, id="endless"),
        pytest.param(hosts.coded(PICTURE), HttpProtocol, id="content-encoding"),
        pytest.param(hosts.huge_headers(40_000), HttpProtocol, id="40 kB of headers"),
        pytest.param(hosts.huge_headers(1_000_000), HttpProtocol, id="1 MB of headers"),
        pytest.param(endless_hints, HttpProtocol, id="endless interim answers"),
        pytest.param(hosts.garbage, HttpProtocol, id="not http"),
        pytest.param(raw(b"Content-Length: 1, 2\r\n\r\n"), HttpProtocol, id="two lengths"),
        pytest.param(raw(b"Transfer-Encoding: chunked\r\n\r\nzz\r\n"), HttpProtocol, id="bad chunk"),
        pytest.param(status(302), HttpStatus, id="redirect to nowhere"),
    ],
)
def test_a_bad_answer_ends_at_once(
    origin: Origin, egress: Egress, behaviour: Behaviour, kind: type[ImageError]
) -> None:
    error = failure(egress, origin.on("/a", behaviour), seconds=30, max_bytes=500_000)
    assert isinstance(error, kind)
    assert origin.hits("/a") == 1


def test_a_body_of_exactly_the_limit_is_taken(origin: Origin, egress: Egress) -> None:
    assert get(egress, origin.add("/a", PICTURE), max_bytes=len(PICTURE)) == PICTURE
    assert isinstance(failure(egress, origin.url("/a"), max_bytes=len(PICTURE) - 1), errors.TooLarge)


@pytest.mark.parametrize(
    "behaviour",
    [pytest.param(close_at_once, id="closed"), pytest.param(hosts.reset_after(PICTURE, sent=-1), id="reset")],
)
def test_no_answer_at_all_is_tried_once_more_on_the_spot(origin: Origin, egress: Egress, behaviour: Behaviour) -> None:
    assert isinstance(failure(egress, origin.on("/a", behaviour)), errors.ConnectFailure)
    assert origin.hits("/a") == 2
    assert get(egress, origin.on("/a", behaviour, status(200, PICTURE))) == PICTURE


def test_a_closed_port_is_a_connect_failure() -> None:
    with Origin() as gone:
        url, egress = gone.url("/a"), Egress([gone.place])
    error = failure(egress, url)
    assert isinstance(error, errors.ConnectFailure)
    assert error.detail == "Could not connect to 127.0.0.1: connection refused."


def test_five_redirects_are_followed_and_a_sixth_is_not(origin: Origin, egress: Egress) -> None:
    for step in range(6):
        origin.on(f"/{step}", redirect(f"/{step + 1}"))
    origin.add("/6", PICTURE)
    assert get(egress, origin.url("/1")) == PICTURE
    assert isinstance(failure(egress, origin.url("/0")), errors.TooManyRedirects)
