"""What is sent, what comes back, and which connections are used again."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime
from threading import Barrier, Event

import pytest

from shared.egress import Egress
from shared.egress.response import retry_after
from shared.errors import ConnectFailure, FetchTimeout, HttpProtocol
from tests import origin as hosts
from tests.origin import Behaviour, Exchange, Origin, Received, body, close_at_once, drip, late, redirect, status
from tests.stack import until
from tests.unit.shared.egress.conftest import PICTURE, at_most, failure, get, post


def then_close(behaviour: Behaviour) -> Behaviour:
    def answer(exchange: Exchange) -> None:
        behaviour(exchange)
        exchange.keep = False

    return answer


def raw(answer: bytes) -> Behaviour:
    return lambda exchange: exchange.send(answer)


@pytest.mark.parametrize(
    "behaviour",
    [
        pytest.param(body(b"abc"), id="length"),
        pytest.param(then_close(raw(b"HTTP/1.0 200 OK\r\n\r\nabc")), id="until it closes"),
        pytest.param(raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"), id="chunked"),
    ],
)
def test_the_body_comes_back_as_it_was(origin: Origin, egress: Egress, behaviour: Behaviour) -> None:
    assert get(egress, origin.on("/a", behaviour)) == b"abc"


def test_the_request_names_its_host_and_asks_for_no_coding(origin: Origin, egress: Egress) -> None:
    seen: list[Received] = []

    def look(exchange: Exchange) -> None:
        seen.append(exchange.request)
        status(200, headers={"Set-Cookie": "a=b"})(exchange)

    url = origin.on("/a", look)
    get(egress, url)
    get(egress, f"{url}?w=1&h=2#top")
    assert seen[1].path == "/a?w=1&h=2"
    assert seen[1].headers == {
        "host": origin.place,
        "user-agent": "Halftone/1.0 (image compression)",
        "accept-encoding": "identity",
        "accept": "image/*, */*;q=0.5",
    }


@pytest.mark.parametrize(
    ("contact", "agent"),
    [
        ("https://shop.example/bot", "Halftone/1.0 (+https://shop.example/bot)"),
        ("images@shop.example", "Halftone/1.0 (+mailto:images@shop.example)"),
    ],
)
def test_a_host_is_told_whom_to_ask_about_us(origin: Origin, contact: str, agent: str) -> None:
    seen: list[str] = []

    def answer(exchange: Exchange) -> None:
        seen.append(exchange.request.headers["user-agent"])
        status(200)(exchange)

    with closing(Egress([origin.place], contact=contact)) as egress:
        get(egress, origin.on("/a", answer))
        post(egress, origin.on("/hook", answer))
    assert seen == [agent] * 2


def test_umlauts_are_sent_encoded_and_so_are_spaces_in_a_redirect(origin: Origin, egress: Egress) -> None:
    origin.on("/gr%C3%BCn%20blau", body(b"x"))
    assert get(egress, origin.url("/grün%20blau")) == b"x"
    assert get(egress, origin.on("/a", redirect("/grün blau"))) == b"x"


def test_one_connection_serves_a_host_one_image_after_the_other(origin: Origin, egress: Egress) -> None:
    origin.add("/b", PICTURE)
    url = origin.on("/a", redirect("/b"))
    for _ in range(5):
        get(egress, url)
        failure(egress, origin.url("/missing"))
    assert origin.connections == 1


def test_a_connection_the_host_has_closed_is_replaced(origin: Origin, egress: Egress) -> None:
    url = origin.on("/a", then_close(body(PICTURE)))
    for _ in range(3):
        assert get(egress, url) == PICTURE


def test_a_kept_connection_that_breaks_on_use_costs_no_try(origin: Origin, egress: Egress) -> None:
    get(egress, origin.add("/a", PICTURE))
    url = origin.on("/b", close_at_once, close_at_once, body(PICTURE))
    assert get(egress, url) == PICTURE
    assert origin.hits("/b") == 3


@pytest.mark.parametrize("size", [1, 63_000, 200_000])
def test_surplus_bytes_are_not_taken_for_the_answer_to_the_next_request(
    origin: Origin, egress: Egress, size: int
) -> None:
    one, other = (b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size + letter * size for letter in (b"a", b"x"))
    assert get(egress, origin.on("/a", raw(one + other))) == b"a" * size
    assert get(egress, origin.add("/b", PICTURE)) == PICTURE
    assert origin.connections == 2


def test_surplus_bytes_that_come_later_end_the_connection_too(origin: Origin, egress: Egress) -> None:
    late = Event()

    def then_more(exchange: Exchange) -> None:
        body(b"a")(exchange)
        late.wait(30)
        exchange.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx")

    assert get(egress, origin.on("/a", then_more)) == b"a"
    late.set()
    assert until(lambda: not any(connection.is_reusable() for connection in egress._pool._idle))
    assert get(egress, origin.add("/b", PICTURE)) == PICTURE
    assert origin.connections == 2


def test_many_threads_share_its_connections(origin: Origin, egress: Egress) -> None:
    urls = [origin.add(f"/{number}", bytes([number]) * 10_000) for number in range(20)]
    with ThreadPoolExecutor(8) as pool:
        bodies = list(pool.map(lambda url: get(egress, url), urls * 10))
    assert bodies == [bytes([number]) * 10_000 for number in range(20)] * 10
    assert origin.connections <= 8


def test_no_more_than_max_idle_connections_are_kept(origin: Origin) -> None:
    egress = Egress([origin.place], max_idle=2)
    all_at_once = Barrier(6)

    def together(exchange: Exchange) -> None:
        all_at_once.wait(30)
        body(b"x")(exchange)

    url, opened = origin.on("/a", together), []
    for _ in range(2):
        with ThreadPoolExecutor(6) as pool:
            list(pool.map(lambda _: get(egress, url, seconds=30), range(6)))
        opened.append(origin.connections)
    egress.close()
    assert opened == [6, 10]


def test_a_dripping_error_page_is_not_waited_for(origin: Origin, egress: Egress) -> None:
    def answer(exchange: Exchange) -> None:
        exchange.send(b"HTTP/1.1 404 Not Found\r\nContent-Length: 1000\r\n\r\n")
        drip(b"x" * 1000, every=0.05)(exchange)

    with at_most(20):
        assert failure(egress, origin.on("/a", answer), seconds=30).code == "http_status"


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
        ("Tue, 01 Jan 2030 00:01:30 GMT", 90),
        ("Mon, 31 Dec 2029 00:00:00 GMT", 0),
        ("Wed, 02 Jan 2030 00:00:00 GMT", 3600),
    ],
)
def test_retry_after_is_seconds_or_a_date_up_to_an_hour(value: str | None, seconds: float | None) -> None:
    assert retry_after(value, now=NOW) == seconds


def test_a_webhook_arrives_as_it_was_sent(origin: Origin, egress: Egress) -> None:
    answer = post(egress, origin.on("/hook", status(200, b"thanks")))
    assert (answer.status_code, answer.excerpt) == (200, "thanks")
    (received,) = origin.posts("/hook")
    assert received.body == b"{}"
    assert received.headers["webhook-id"] == "evt_1"
    assert received.headers["host"] == origin.place


@pytest.mark.parametrize("code", [204, 302, 400, 410, 500])
def test_any_status_is_a_webhooks_answer(origin: Origin, egress: Egress, code: int) -> None:
    answer = post(egress, origin.on("/hook", status(code, headers={"Location": "/elsewhere", "Retry-After": "9"})))
    assert answer.status_code == code
    assert answer.headers["retry-after"] == "9"
    assert origin.hits("/elsewhere") == 0


@pytest.mark.parametrize(
    "behaviour",
    [
        pytest.param(hosts.endless, id="endless"),
        pytest.param(hosts.claim(b"y" * 5, length=10), id="short"),
        pytest.param(hosts.reset_after(b"y" * 5000, sent=5), id="reset"),
        pytest.param(drip(b"x" * 1000, every=0.05), id="dripping"),
        pytest.param(status(200, b"\xff" * 5000), id="not text"),
    ],
)
def test_a_webhooks_body_never_changes_its_status(origin: Origin, egress: Egress, behaviour: Behaviour) -> None:
    with at_most(10):
        answer = post(egress, origin.on("/hook", behaviour), seconds=3)
    assert answer.status_code == 200
    assert len(answer.excerpt) <= 1000


def test_a_webhook_without_an_answer_was_sent_once(origin: Origin, egress: Egress) -> None:
    with pytest.raises(ConnectFailure):
        post(egress, origin.on("/hook", close_at_once))
    assert len(origin.posts("/hook")) == 1


def test_a_webhooks_receiver_may_not_hint_for_ever(origin: Origin, egress: Egress) -> None:
    def hints(exchange: Exchange) -> None:
        while not exchange.stopping.is_set():
            exchange.send(b"HTTP/1.1 103 Early Hints\r\n\r\n")

    with pytest.raises(HttpProtocol):
        post(egress, origin.on("/hook", hints), seconds=30)
    assert origin.hits("/hook") == 1


def test_a_header_of_ours_cannot_hold_a_second_one(origin: Origin, egress: Egress) -> None:
    headers = {"webhook-id": "evt_1\r\nHost: elsewhere"}
    with pytest.raises(ValueError, match="line break"):
        egress.post(origin.url("/hook"), body=b"", headers=lambda: headers, deadline_seconds=5, max_response_bytes=9)


def test_a_webhook_that_takes_too_long_times_out(origin: Origin, egress: Egress) -> None:
    with at_most(5), pytest.raises(FetchTimeout):
        post(egress, origin.on("/hook", late(body(b""), seconds=10)), seconds=0.3)
