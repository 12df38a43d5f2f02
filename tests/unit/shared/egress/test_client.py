"""What is sent, what comes back, and which connections are used again."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest

from shared.egress import Egress
from shared.egress.response import retry_after
from shared.errors import ConnectFailure, FetchTimeout
from tests.origin import (
    Behaviour,
    Exchange,
    Origin,
    Received,
    body,
    claim,
    close_at_once,
    drip,
    endless,
    late,
    redirect,
    reset_after,
    status,
)
from tests.unit.shared.egress.conftest import at_most, failure, get

PICTURE = bytes(range(256)) * 400


def test_the_body_comes_back_as_it_was(origin: Origin, egress: Egress) -> None:
    url = origin.add("/a.jpg", PICTURE)
    fetched = get(egress, f"{url}?w=1&h=2#top")
    assert fetched.body == PICTURE
    assert fetched.final_url == f"{url}?w=1&h=2"


def test_a_chunked_body_and_one_that_ends_with_the_connection_are_read(origin: Origin, egress: Egress) -> None:
    def until_close(exchange: Exchange) -> None:
        exchange.send(b"HTTP/1.0 200 OK\r\n\r\nabc")
        exchange.keep = False

    def chunked(exchange: Exchange) -> None:
        exchange.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n")

    assert get(egress, origin.on("/a", until_close)).body == b"abc"
    assert get(egress, origin.on("/b", chunked)).body == b"abc"


def test_the_request_names_its_host_and_asks_for_no_coding(origin: Origin, egress: Egress) -> None:
    seen: list[Received] = []

    def look(exchange: Exchange) -> None:
        seen.append(exchange.request)
        status(200, headers={"Set-Cookie": "a=b"})(exchange)

    url = origin.on("/a", look)
    get(egress, url)
    get(egress, url)
    assert seen[1].headers == {
        "host": origin.place,
        "user-agent": "Halftone/1.0 (image compression)",
        "accept-encoding": "identity",
        "accept": "image/*, */*;q=0.5",
    }


def test_a_url_with_umlauts_is_sent_encoded(origin: Origin, egress: Egress) -> None:
    origin.on("/gr%C3%BCn%20blau.jpg", body(b"x"))
    assert get(egress, origin.url("/grün%20blau.jpg")).body == b"x"


def test_one_connection_serves_a_host_one_image_after_the_other(origin: Origin, egress: Egress) -> None:
    url = origin.add("/a", PICTURE)
    missing = origin.url("/missing")
    for _ in range(5):
        get(egress, url)
        failure(egress, missing)
    assert origin.connections == 1


def test_a_redirect_in_raw_utf8_with_spaces_is_followed_as_browsers_do(origin: Origin, egress: Egress) -> None:
    origin.on("/gr%C3%BCn%20blau", body(b"x"))
    assert get(egress, origin.on("/a", redirect("/grün blau"))).body == b"x"


def test_a_redirect_within_a_host_stays_on_its_connection(origin: Origin, egress: Egress) -> None:
    origin.add("/b", PICTURE)
    get(egress, origin.on("/a", redirect("/b")))
    assert origin.connections == 1


def test_a_connection_the_host_has_closed_is_replaced(origin: Origin, egress: Egress) -> None:
    def then_close(exchange: Exchange) -> None:
        body(PICTURE)(exchange)
        exchange.keep = False

    url = origin.on("/a", then_close)
    for _ in range(3):
        assert get(egress, url).body == PICTURE


def test_a_kept_connection_that_breaks_on_use_costs_no_try(origin: Origin, egress: Egress) -> None:
    get(egress, origin.add("/a", PICTURE))
    url = origin.on("/b", close_at_once, close_at_once, body(PICTURE))
    assert get(egress, url).body == PICTURE
    assert origin.hits("/b") == 3


def test_many_threads_share_its_connections(origin: Origin, egress: Egress) -> None:
    urls = [origin.add(f"/{number}", bytes([number]) * 10_000) for number in range(20)]
    with ThreadPoolExecutor(8) as pool:
        bodies = list(pool.map(lambda url: get(egress, url).body, urls * 10))
    assert bodies == [bytes([number]) * 10_000 for number in range(20)] * 10
    assert origin.connections <= 8


def test_no_more_than_max_idle_connections_are_kept(origin: Origin) -> None:
    egress = Egress([origin.place], max_idle=2)
    url = origin.on("/a", late(body(b"x"), seconds=0.05))
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda _: get(egress, url), range(6)))
    opened = origin.connections
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda _: get(egress, url), range(6)))
    egress.close()
    assert (opened, origin.connections) == (6, 10)


def test_a_dripping_error_page_is_not_waited_for(origin: Origin, egress: Egress) -> None:
    def answer(exchange: Exchange) -> None:
        exchange.send(b"HTTP/1.1 404 Not Found\r\nContent-Length: 1000\r\n\r\n")
        drip(b"x" * 1000, every=0.05)(exchange)

    with at_most(5):
        assert failure(egress, origin.on("/a", answer)).code == "http_status"


NOW = datetime(2030, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        ("", None),
        ("0", 0),
        (" 120 ", 120),
        ("999999999999999999999", 3600),
        ("-5", None),
        ("1.5", None),
        ("soon", None),
        ((NOW + timedelta(seconds=90)).strftime("%a, %d %b %Y %H:%M:%S GMT"), 90),
        ((NOW - timedelta(days=1)).strftime("%a, %d %b %Y %H:%M:%S GMT"), 0),
        ((NOW + timedelta(days=1)).strftime("%a, %d %b %Y %H:%M:%S GMT"), 3600),
    ],
)
def test_retry_after_is_seconds_or_a_date_up_to_an_hour(value: str | None, seconds: float | None) -> None:
    assert retry_after(value, now=NOW) == seconds


def post(egress: Egress, url: str, *, seconds: float = 5.0) -> tuple[int, str]:
    headers = {"Content-Type": "application/json", "webhook-id": "evt_1"}
    answer = egress.post(url, body=b"{}", headers=headers, deadline_seconds=seconds, max_response_bytes=1000)
    return answer.status_code, answer.excerpt


def test_a_webhook_arrives_as_it_was_sent(origin: Origin, egress: Egress) -> None:
    assert post(egress, origin.on("/hook", status(200, b"thanks"))) == (200, "thanks")
    (received,) = origin.posts("/hook")
    assert received.body == b"{}"
    assert received.headers["webhook-id"] == "evt_1"
    assert received.headers["host"] == origin.place


@pytest.mark.parametrize("code", [204, 302, 400, 410, 500])
def test_any_status_is_a_webhooks_answer(origin: Origin, egress: Egress, code: int) -> None:
    url = origin.on("/hook", status(code, headers={"Location": "/elsewhere", "Retry-After": "9"}))
    answer = egress.post(url, body=b"", headers={}, deadline_seconds=5, max_response_bytes=10)
    assert answer.status_code == code
    assert answer.headers["retry-after"] == "9"
    assert origin.hits("/elsewhere") == 0


@pytest.mark.parametrize(
    "behaviour",
    [
        pytest.param(endless, id="endless"),
        pytest.param(claim(b"y" * 5, length=10), id="short"),
        pytest.param(reset_after(b"y" * 5000, sent=5), id="reset"),
        pytest.param(status(200, b"\xff" * 5000), id="not text"),
    ],
)
def test_a_webhooks_body_never_changes_its_status(origin: Origin, egress: Egress, behaviour: Behaviour) -> None:
    code, excerpt = post(egress, origin.on("/hook", behaviour))
    assert code == 200
    assert len(excerpt) <= 1000


def test_a_dripping_webhook_body_is_cut_at_the_deadline(origin: Origin, egress: Egress) -> None:
    with at_most(5):
        assert post(egress, origin.on("/hook", drip(b"x" * 1000, every=0.05)), seconds=0.4)[0] == 200


def test_a_webhook_without_an_answer_was_sent_once(origin: Origin, egress: Egress) -> None:
    with pytest.raises(ConnectFailure):
        post(egress, origin.on("/hook", close_at_once))
    assert len(origin.posts("/hook")) == 1


def test_a_webhook_that_takes_too_long_times_out(origin: Origin, egress: Egress) -> None:
    with at_most(5), pytest.raises(FetchTimeout):
        post(egress, origin.on("/hook", late(body(b""), seconds=10)), seconds=0.3)
