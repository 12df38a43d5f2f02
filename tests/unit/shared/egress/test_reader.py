"""The bytes of an answer, without a network: framing, growth, and what an answer in crumbs may cost."""

from collections.abc import Iterator
from itertools import repeat

import pytest

from shared.egress.response import FIRST_BUFFER, MAX_INTERIM_ANSWERS, Response, ResponseReader
from shared.errors import HttpProtocol, TooLarge

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
BODY = bytes(range(256)) * 14_000  # 3.6 MB: more than the first buffer


def feed(reader: ResponseReader, data: bytes) -> bool:
    """Whether the answer is over; what is left then was not read."""
    while data:
        room = reader.room(-1)
        count = min(len(room), len(data))
        room[:count] = data[:count]
        del room
        data = data[count:]
        if reader.received(count):
            return True
    return False


def read(*pieces: bytes, max_bytes: int = 20_000_000, excerpt: bool = False) -> Response:
    reader = ResponseReader("shop.example", max_bytes=max_bytes, excerpt=excerpt)
    if not any(feed(reader, piece) for piece in pieces):
        reader.ended(broken=False)
    return reader.result()


def chunks(data: bytes, *, size: int) -> bytes:
    parts = [data[start : start + size] for start in range(0, len(data), size)]
    return b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (*parts, b""))


@pytest.mark.parametrize(
    ("answer", "reusable"),
    [
        pytest.param(OK + b"Content-Length: %d\r\n\r\n" % len(BODY) + BODY, True, id="length"),
        pytest.param(CHUNKED + chunks(BODY, size=10_000), True, id="chunks"),
        pytest.param(OK + b"\r\n" + BODY, False, id="until it closes"),
    ],
)
@pytest.mark.parametrize("piece", [1460, 70_000, 10**7])
def test_a_large_body_comes_back_as_it_was(answer: bytes, piece: int, *, reusable: bool) -> None:
    response = read(*(answer[start : start + piece] for start in range(0, len(answer), piece)))
    assert bytes(response.body) == BODY
    assert (response.error, response.reusable) == (None, reusable)


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(OK + b"Content-Length: 3\r\n\r\nabc", id="length"),
        pytest.param(OK + b"content-length:3  \r\nX-Name: gr\xfcn\r\n\r\nabc", id="spaces and letters"),
        pytest.param(b"HTTP/1.1 200\r\nContent-Length: 3\r\n\r\nabc", id="no reason"),
        pytest.param(b"HTTP/1.1 200 OK\nContent-Length: 3\n\nabc", id="lone LF"),
        pytest.param(b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 3\r\n\r\nabc", id="HTTP/1.0"),
        pytest.param(CHUNKED + b"2;a=b\r\nab\r\n1\r\nc\r\n0\r\nX-Sum: 1\r\n\r\n", id="extension and trailer"),
        pytest.param(
            OK + b"Upgrade: h2,h2c\r\nConnection: Upgrade, Keep-Alive\r\nContent-Length: 3\r\n\r\nabc", id="upgrade"
        ),
        pytest.param(
            b"HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n" * MAX_INTERIM_ANSWERS + OK + b"Content-Length: 3\r\n\r\nabc",
            id="interim answers",
        ),
    ],
)
@pytest.mark.parametrize("size", [1, 7, 1000])
def test_a_proper_answer_is_taken_in_pieces_of_any_size(answer: bytes, size: int) -> None:
    response = read(*(answer[start : start + size] for start in range(0, len(answer), size)))
    assert (bytes(response.body), response.error, response.reusable) == (b"abc", None, True)
    assert "x-sum" not in response.headers
    assert "link" not in response.headers


@pytest.mark.parametrize("status", [204, 304])
def test_an_answer_without_a_body_has_none_whatever_it_announces(status: int) -> None:
    response = read(b"HTTP/1.1 %d No\r\nContent-Length: 9\r\n\r\n" % status, b"not read")
    assert (bytes(response.body), response.reusable) == (b"", True)


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding:\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -3\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: +3\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 3 3\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999999\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length:\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length : 3\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX-Folded: a\r\n b\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX-Nul: a\x00b\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n",
        b"HTTP/2 200 OK\r\n\r\n",
        b"RTSP/1.0 200 OK\r\n\r\n",
        b"ICY 200 OK\r\n\r\n",
        b"\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
    ],
)
def test_an_ambiguous_or_garbled_head_is_refused(head: bytes) -> None:
    with pytest.raises(HttpProtocol):
        read(head)


@pytest.mark.parametrize("ending", [b"3\nabc\n0\n\n", b"zz\r\n", b"3\r\nabcd\r\n0\r\n\r\n", b"3 \r\nabc\r\n0\r\n\r\n"])
def test_garbled_chunks_are_refused(ending: bytes) -> None:
    assert isinstance(read(CHUNKED, ending).error, HttpProtocol)


@pytest.mark.parametrize("surplus", [b"HTTP/1.1 200 OK\r\n\r\n", b"x"])
@pytest.mark.parametrize("size", [3, 63_000, 100_000])
def test_a_connection_with_surplus_bytes_is_not_used_again(surplus: bytes, size: int) -> None:
    data = b"x" * size
    for answer in (OK + b"Content-Length: %d\r\n\r\n" % size + data, CHUNKED + chunks(data, size=size)):
        assert read(answer).reusable
        response = read(answer + surplus)
        assert (bytes(response.body), response.error, response.reusable) == (data, None, False)


def test_interim_answers_end_somewhere() -> None:
    with pytest.raises(HttpProtocol, match="too many interim answers"):
        read(*repeat(b"HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n", MAX_INTERIM_ANSWERS + 1))


def crumbs(first: bytes, crumb: bytes) -> Iterator[bytes]:
    yield first
    yield from repeat(crumb, 100_000)


@pytest.mark.parametrize(
    ("first", "crumb", "most"),
    [
        pytest.param(OK + b"Content-Length: 1000000\r\n\r\n", b"x", 1100, id="a byte at a time"),
        pytest.param(OK + b"\r\n", b"x", 1100, id="without an end"),
        pytest.param(CHUNKED, b"1\r\nx\r\n", 1100, id="a chunk at a time"),
        pytest.param(CHUNKED, b"1\r\nx\r\n" * 500, 15, id="small chunks in large reads"),
        pytest.param(CHUNKED + b"0\r\nX-Trailer: ", b"x" * 3000, 15, id="an endless trailer"),
        pytest.param(CHUNKED + b"1;", b"x" * 3000, 15, id="an endless chunk extension"),
    ],
)
def test_an_answer_in_crumbs_is_refused_after_few_reads(first: bytes, crumb: bytes, most: int) -> None:
    pieces = crumbs(first, crumb)
    assert isinstance(_error(pieces), HttpProtocol)
    assert 100_000 - sum(1 for _ in pieces) <= most


def _error(pieces: Iterator[bytes]) -> object:
    reader = ResponseReader("shop.example", max_bytes=20_000_000)
    assert any(feed(reader, piece) for piece in pieces)
    return reader.result().error


def test_a_head_in_crumbs_is_refused_too() -> None:
    reader = ResponseReader("shop.example", max_bytes=9)
    with pytest.raises(HttpProtocol, match="too many small pieces"):
        any(feed(reader, piece) for piece in crumbs(OK + b"X-Drip: ", b"x"))


def test_memory_follows_what_has_come_and_not_what_was_announced() -> None:
    reader = ResponseReader("shop.example", max_bytes=20_000_000)
    assert not feed(reader, OK + b"Content-Length: 20000000\r\n\r\n")
    assert len(reader.room(-1)) == FIRST_BUFFER


@pytest.mark.parametrize(
    "answer",
    [OK + b"Content-Length: 100\r\n\r\n", OK + b"\r\n" + b"x" * 100, CHUNKED + chunks(b"x" * 100, size=7)],
)
def test_too_much_is_refused_and_an_excerpt_is_cut(answer: bytes) -> None:
    assert isinstance(read(answer, max_bytes=99).error, TooLarge)
    assert len(read(answer + b"x" * 100, max_bytes=10, excerpt=True).body) == 10
