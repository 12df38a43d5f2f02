"""Against a real server that misbehaves as told."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.demo.origin import head
from halftone_client import Client, HalftoneError, Incomplete, Refused, Unreachable
from halftone_client.shapes import Request
from tests.origin import Behaviour, Exchange, Origin, body, close_at_once, garbage, redirect, reset_after, status
from tests.stack import reserve_ports

REQUEST = {"request_id": "r", "run": 1, "status": "completed", "images": {"total": 1, "pending": 0}}
RUNNING = REQUEST | {"status": "processing"}
MANIFEST = b"S. No.,Product Name,Input Image Urls\n1,Shoe,http://a.example/b.jpg\n"


def answered(value: object, **headers: str) -> Behaviour:
    return body(json.dumps(value).encode(), headers=headers)


def noting(headers: list[dict[str, str]], behaviour: Behaviour) -> Behaviour:
    """Also keeps the headers that came."""

    def answer(exchange: Exchange) -> None:
        headers.append(dict(exchange.request.headers))
        behaviour(exchange)

    return answer


def in_turn(*behaviours: Behaviour) -> Behaviour:
    """One after the other, then the last one always."""
    left = list(behaviours)

    def answer(exchange: Exchange) -> None:
        (left.pop(0) if len(left) > 1 else left[0])(exchange)

    return answer


@pytest.fixture
def host() -> Iterator[Origin]:
    with Origin(port=reserve_ports(1)[0]) as host:
        yield host


@pytest.fixture
def pauses() -> list[float]:
    return []


@pytest.fixture
def client(host: Origin, pauses: list[float]) -> Iterator[Client]:
    """Does not sleep."""
    with Client(host.url(""), patience=60, away=60, pause=lambda seconds, _: pauses.append(seconds)) as client:
        yield client


@pytest.mark.parametrize("code", [429, 503])
def test_a_call_is_repeated_when_the_service_says(host: Origin, client: Client, pauses: list[float], code: int) -> None:
    busy = status(code, b"{}", headers={"Retry-After": "7"})
    host.on("/v1/requests/r", in_turn(busy, busy, answered(REQUEST)))
    assert client.request("r") == REQUEST
    assert pauses == [7, 7]


def test_a_wait_beyond_the_patience_is_refused_at_once(host: Origin, client: Client, pauses: list[float]) -> None:
    host.on("/v1/requests/r", status(429, b'{"code": "quota"}', headers={"Retry-After": "3600"}))
    with pytest.raises(Refused) as refused:
        client.request("r")
    assert (refused.value.status, refused.value.code, refused.value.retry_after) == (429, "quota", 3600)
    assert pauses == []


@pytest.mark.parametrize("broken", [close_at_once, garbage, reset_after(b"x", sent=-1)])
def test_reading_is_repeated_after_a_connection_that_breaks(host: Origin, client: Client, broken: Behaviour) -> None:
    host.on("/v1/requests/r", in_turn(broken, broken, answered(REQUEST)))
    assert client.request("r") == REQUEST


def test_a_change_whose_answer_is_lost_is_not_sent_again(host: Origin, client: Client) -> None:
    host.on("/v1/requests/r/retry", in_turn(close_at_once, answered(REQUEST)))
    with pytest.raises(Unreachable):
        client.retry("r")
    assert host.hits("/v1/requests/r/retry") == 1


def test_an_upload_is_sent_again_from_its_start_with_the_same_key(host: Origin, client: Client, tmp_path: Path) -> None:
    in_flight = status(409, b'{"code": "idempotency_key_in_flight"}', headers={"Retry-After": "1"})
    seen: list[tuple[str, bool]] = []
    answers = in_turn(close_at_once, in_flight, answered(REQUEST, **{"Idempotent-Replayed": "true"}))

    def take(exchange: Exchange) -> None:
        seen.append((exchange.request.headers["idempotency-key"], MANIFEST in exchange.request.body))
        answers(exchange)

    host.on("/v1/requests", take)
    (path := tmp_path / "products.csv").write_bytes(MANIFEST)
    sent: list[int] = []
    assert client.submit(path, advance=sent.append)["replayed"]
    assert [whole for _, whole in seen] == [True, True, True]
    assert len({key for key, _ in seen}) == 1
    assert sum(sent) == len(MANIFEST), "progress begins again with the file"


def test_a_manifest_is_sent_in_blocks(host: Origin, client: Client, tmp_path: Path) -> None:
    host.on("/v1/requests", answered(REQUEST))
    (path := tmp_path / "products.csv").write_bytes(MANIFEST * 20_000)
    blocks: list[int] = []
    client.submit(path, advance=blocks.append)
    assert max(blocks) <= 1 << 16
    assert sum(blocks) == 20_000 * len(MANIFEST)


def test_a_service_that_is_away_is_named(pauses: list[float]) -> None:
    url = f"http://127.0.0.1:{reserve_ports(1)[0]}"
    with Client(url, away=3, pause=lambda seconds, _: pauses.append(seconds)) as client:
        client.be_patient(patience=0, away=0)
        with pytest.raises(Unreachable, match=url):
            client.request("r")
    assert pauses == []


def test_what_is_no_address_is_refused() -> None:
    for url in ("", "localhost:8080", "ftp://a.example", "http://"):
        with pytest.raises(HalftoneError, match="not an"):
            Client(url)


def test_another_service_at_the_address_is_no_crash(host: Origin, client: Client) -> None:
    host.on("/v1/requests/r", body(b"<html>"))
    with pytest.raises(HalftoneError, match="is not Halftone"):
        client.request("r")


def events(*states: dict[str, object]) -> Behaviour:
    text = "".join(f"event: progress\ndata: {json.dumps(state)}\n\n" for state in states)
    return body(text.encode(), headers={"Content-Type": "text/event-stream"})


@pytest.mark.parametrize(
    "broken", [close_at_once, status(404, b'{"code": "x"}'), body(b"<html>"), events(), events(RUNNING), status(204)]
)
def test_a_request_is_asked_for_where_events_do_not_come_through(
    host: Origin, client: Client, broken: Behaviour
) -> None:
    host.on("/v1/requests/r/events", broken)
    host.on("/v1/requests/r", in_turn(answered(RUNNING), answered(RUNNING), answered(REQUEST)))
    seen: list[Request] = []
    assert client.wait("r", watch=seen.append) == REQUEST
    assert seen[-2:] == [RUNNING, REQUEST]


def test_a_time_limit_holds_where_nothing_happens(host: Origin, client: Client) -> None:
    def silent(exchange: Exchange) -> None:
        exchange.send(head("200 OK", {"Content-Type": "text/event-stream"}) + b": heartbeat\n\n")
        exchange.pause(60)

    host.on("/v1/requests/r/events", silent)
    host.on("/v1/requests/r", answered(RUNNING | {"finished_at": None}))
    with pytest.raises(TimeoutError):
        client.wait("r", timeout=0.2)


def test_a_service_without_room_for_a_stream_is_asked_instead(
    host: Origin, client: Client, pauses: list[float]
) -> None:
    host.on("/v1/requests/r/events", status(503, b"{}", headers={"Retry-After": "30"}))
    host.on("/v1/requests/r", in_turn(answered(RUNNING), answered(REQUEST)))
    assert list(client.follow("r")) == [RUNNING, REQUEST]
    assert 30 not in pauses
    assert host.hits("/v1/requests/r/events") == 1


def test_a_proxy_that_holds_events_back_is_found_out_soon(
    host: Origin, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not after the 40 s that a stream may be silent once it has worked."""

    def held_back(exchange: Exchange) -> None:
        exchange.send(head("200 OK", {"Content-Type": "text/event-stream"}))
        exchange.pause(60)

    monkeypatch.setattr("halftone_client.events.FIRST_SILENCE", 0.1)
    host.on("/v1/requests/r/events", held_back)
    host.on("/v1/requests/r", answered(REQUEST))
    assert list(client.follow("r")) == [REQUEST]


def test_events_are_followed_without_asking(host: Origin, client: Client) -> None:
    host.on("/v1/requests/r/events", events(RUNNING, RUNNING, REQUEST))
    assert list(client.follow("r")) == [RUNNING, RUNNING, REQUEST]
    assert host.hits("/v1/requests/r") == 0


def test_a_download_that_breaks_off_begins_again(host: Origin, client: Client, tmp_path: Path) -> None:
    path = "/v1/requests/r/output.csv"
    host.on(path, in_turn(reset_after(b"a" * 100, sent=40), body(b"a" * 100)))
    counted: list[int] = []
    assert client.download_csv("r", tmp_path / "out.csv", advance=counted.append) == 100
    assert sum(counted) == 100
    host.on(path, reset_after(b"a" * 100, sent=40))
    with pytest.raises(Incomplete):
        client.download_csv("r", tmp_path / "never.csv")
    assert [one.name for one in tmp_path.iterdir()] == ["out.csv"]


def test_a_list_is_read_page_by_page_as_it_is_needed(host: Origin, client: Client) -> None:
    pages = [
        {"items": [{"number": 1}, {"number": 2}], "next_page_token": "t/2"},
        {"items": [{"number": 3}], "next_page_token": None},
    ]
    host.on(
        "/v1/requests/r/images", lambda exchange: answered(pages["page_token=t%2F2" in exchange.request.path])(exchange)
    )
    images = client.images("r")
    assert next(images)["number"] == 1
    assert host.hits("/v1/requests/r/images") == 1
    assert [image["number"] for image in images] == [2, 3]


@pytest.mark.parametrize("key", ["ht_a\nht_secret", "ht_a secret", "ht_secret\u2026", "ht_\x1bsecret"])
def test_a_key_that_cannot_be_sent_is_in_no_message(host: Origin, key: str) -> None:
    with pytest.raises(HalftoneError) as caught:
        Client(host.url(""), key=key, away=0).account()
    assert "secret" not in str(caught.value)


def test_the_line_end_of_a_file_is_no_part_of_the_key(host: Origin) -> None:
    came: list[dict[str, str]] = []
    host.on("/v1/account", noting(came, answered({})))
    with Client(host.url(""), key="ht_a_b\n") as client:
        client.account()
    assert came[0]["authorization"] == "Bearer ht_a_b"


@pytest.mark.parametrize(
    "address",
    [
        "http://shop:secret@127.0.0.1:1",
        "ftp://shop:secret@a.example",
        "http://shop:secret@a:b",
        "shop:secret@a.example",
    ],
)
def test_a_password_in_the_address_is_in_no_message(address: str) -> None:
    with pytest.raises(HalftoneError) as caught:
        Client(address, away=0).account()
    assert "secret" not in str(caught.value)


def test_the_key_does_not_follow_a_redirect_to_another_host(host: Origin) -> None:
    first: list[dict[str, str]] = []
    second: list[dict[str, str]] = []
    with Origin(port=reserve_ports(1)[0]) as other:
        other.on("/v1/account", noting(second, answered({})))
        host.on("/v1/account", noting(first, redirect(other.url("/v1/account"))))
        with Client(host.url(""), key="ht_a_b") as client:
            client.account()
    assert "authorization" in first[0]
    assert "authorization" not in second[0]
