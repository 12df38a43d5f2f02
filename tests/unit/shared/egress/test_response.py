"""Hosts that misbehave in every way: each yields the right error code in bounded time."""

import pytest

from shared.egress import Egress
from shared.errors import (
    ConnectFailure,
    FetchTimeout,
    HttpProtocol,
    HttpStatus,
    HttpStatusTransient,
    IncompleteBody,
    TooLarge,
    TooManyRedirects,
)
from tests.origin import (
    Behaviour,
    Origin,
    body,
    claim,
    close_at_once,
    coded,
    drip,
    drip_headers,
    endless,
    garbage,
    huge_headers,
    late,
    redirect,
    reset_after,
    status,
)
from tests.unit.shared.egress.conftest import at_most, failure, get

PICTURE = bytes(range(256)) * 400


@pytest.mark.parametrize("code", [400, 401, 403, 404, 410, 204, 206, 304])
def test_other_answers_are_final(origin: Origin, egress: Egress, code: int) -> None:
    error = failure(egress, origin.on("/a", status(code)))
    assert isinstance(error, HttpStatus)
    assert error.detail == f"127.0.0.1 answered {code}."


@pytest.mark.parametrize("code", [408, 425, 429, 500, 502, 503, 504])
def test_a_busy_host_is_asked_again_later(origin: Origin, egress: Egress, code: int) -> None:
    error = failure(egress, origin.on("/a", status(code, headers={"Retry-After": "7"})))
    assert isinstance(error, HttpStatusTransient)
    assert error.retry_after == 7


@pytest.mark.parametrize(
    "behaviour",
    [
        pytest.param(drip(PICTURE, every=0.05), id="body"),
        pytest.param(drip_headers(every=0.05), id="headers"),
        pytest.param(late(body(PICTURE), seconds=10), id="first byte"),
    ],
)
def test_a_dripping_host_cannot_outlast_the_deadline(origin: Origin, egress: Egress, behaviour: Behaviour) -> None:
    with at_most(5):
        error = failure(egress, origin.on("/a", behaviour), seconds=0.4)
    assert isinstance(error, FetchTimeout)


def test_redirects_share_one_deadline(origin: Origin, egress: Egress) -> None:
    for step in range(4):
        origin.on(f"/{step}", late(redirect(f"/{step + 1}"), seconds=0.2))
    with at_most(5):
        assert isinstance(failure(egress, origin.url("/0"), seconds=0.5), FetchTimeout)


@pytest.mark.parametrize(
    "behaviour",
    [
        pytest.param(reset_after(PICTURE, sent=1000), id="reset in the middle"),
        pytest.param(claim(PICTURE, length=len(PICTURE) + 1), id="less than Content-Length"),
    ],
)
def test_a_body_that_breaks_off_is_incomplete(origin: Origin, egress: Egress, behaviour: Behaviour) -> None:
    assert isinstance(failure(egress, origin.on("/a", behaviour)), IncompleteBody)


def test_more_than_content_length_spoils_nothing_for_the_next(origin: Origin, egress: Egress) -> None:
    url = origin.on("/a", claim(PICTURE, length=1000))
    origin.add("/b", PICTURE)
    assert get(egress, url).body == PICTURE[:1000]
    assert get(egress, origin.url("/b")).body == PICTURE


@pytest.mark.parametrize(
    "behaviour", [pytest.param(claim(b"x", length=10**12), id="announced"), pytest.param(endless, id="endless")]
)
def test_a_giant_body_is_refused_as_soon_as_it_is_known(origin: Origin, egress: Egress, behaviour: Behaviour) -> None:
    with at_most(5):
        assert isinstance(failure(egress, origin.on("/a", behaviour), max_bytes=500_000), TooLarge)


def test_a_body_of_exactly_the_limit_is_taken(origin: Origin, egress: Egress) -> None:
    assert len(get(egress, origin.add("/a", PICTURE), max_bytes=len(PICTURE)).body) == len(PICTURE)
    assert isinstance(failure(egress, origin.url("/a"), max_bytes=len(PICTURE) - 1), TooLarge)


@pytest.mark.parametrize(
    "behaviour",
    [
        pytest.param(coded(PICTURE), id="content-encoding"),
        pytest.param(huge_headers(40_000), id="40 kB of headers"),
        pytest.param(huge_headers(1_000_000), id="1 MB of headers"),
        pytest.param(garbage, id="not http"),
        pytest.param(
            lambda exchange: exchange.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1, 2\r\n\r\n"), id="two lengths"
        ),
        pytest.param(
            lambda exchange: exchange.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"),
            id="bad chunk",
        ),
    ],
)
def test_improper_http_is_a_protocol_error(origin: Origin, egress: Egress, behaviour: Behaviour) -> None:
    with at_most(5):
        assert isinstance(failure(egress, origin.on("/a", behaviour)), HttpProtocol)


@pytest.mark.parametrize(
    "behaviour", [pytest.param(close_at_once, id="closed"), pytest.param(reset_after(PICTURE, sent=-1), id="reset")]
)
def test_no_answer_at_all_is_tried_once_more_on_the_spot(origin: Origin, egress: Egress, behaviour: Behaviour) -> None:
    url = origin.on("/a", behaviour)
    assert isinstance(failure(egress, url), ConnectFailure)
    assert origin.hits("/a") == 2


def test_the_second_try_may_succeed(origin: Origin, egress: Egress) -> None:
    url = origin.on("/a", close_at_once, status(200, PICTURE))
    assert get(egress, url).body == PICTURE


def test_a_closed_port_is_a_connect_failure() -> None:
    with Origin() as gone:
        url, egress = gone.url("/a"), Egress([gone.place])
    error = failure(egress, url)
    assert isinstance(error, ConnectFailure)
    assert error.detail == "Could not connect to 127.0.0.1: connection refused."


def test_five_redirects_are_followed_and_a_sixth_is_not(origin: Origin, egress: Egress) -> None:
    for step in range(6):
        origin.on(f"/{step}", redirect(f"/{step + 1}"))
    origin.add("/6", PICTURE)
    assert get(egress, origin.url("/1")).final_url == origin.url("/6")
    assert isinstance(failure(egress, origin.url("/0")), TooManyRedirects)


def test_a_redirect_to_nowhere_is_just_a_status(origin: Origin, egress: Egress) -> None:
    assert isinstance(failure(egress, origin.on("/a", status(302))), HttpStatus)
