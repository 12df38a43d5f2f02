"""The frames between worker and child: what is sent arrives, and anything else is refused before it takes memory."""

import os
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import replace
from hashlib import sha256
from typing import Any

import pytest

from services.worker.codec import FileInfo, Rendition
from services.worker.codec_pool import frames
from services.worker.codec_pool.frames import Failure, Outcome, Stream
from shared.blobs.store import in_memory
from shared.errors import CodecTimeout, CorruptImage, TooManyPixels
from shared.recipe import Mode, Recipe, TargetFormat

SOURCE = b"a picture, as fetched"
BODY = os.urandom(1_000_000)
MADE = Rendition(
    body=BODY,
    info=FileInfo(bytes=len(BODY), format="jpeg", width=65_500, height=1),
    source=FileInfo(bytes=len(SOURCE), format="tiff", width=70_000, height=2),
    quality=95,
    kept_original=False,
)
KEPT = replace(MADE, quality=None, kept_original=True)


@pytest.fixture
def ends() -> Iterator[tuple[Stream, Stream]]:
    """The worker's and the child's."""
    ours, theirs = socket.socketpair()
    worker = Stream(ours)
    worker.in_steps()
    yield worker, Stream(theirs)
    ours.close()
    theirs.close()


@pytest.mark.parametrize(
    "recipe", [Recipe(), Recipe(quality=95, mode=Mode.BYTES, format=TargetFormat.AVIF, max_side=9)]
)
def test_a_request_arrives_with_its_source(ends: tuple[Stream, Stream], recipe: Recipe) -> None:
    with in_memory(SOURCE) as file:
        ends[0].send_request(2**32 - 1, recipe, file.fileno())
    number, received, descriptor = ends[1].receive_request()
    assert (number, received, os.pread(descriptor, 100, 0)) == (2**32 - 1, recipe, SOURCE)
    os.close(descriptor)


def with_body(body: bytes) -> Rendition:
    return replace(MADE, body=body, info=replace(MADE.info, bytes=len(body)))


@pytest.mark.parametrize("outcome", [with_body(b"x"), KEPT, MADE])
def test_a_rendition_arrives(ends: tuple[Stream, Stream], outcome: Rendition) -> None:
    answer = answered(ends, outcome)
    assert (answer.outcome, answer.source_sha256) == (outcome, sha256(SOURCE).hexdigest())


def test_what_a_child_says_of_its_bytes_is_not_believed(ends: tuple[Stream, Stream]) -> None:
    made = answered(ends, replace(MADE, info=replace(MADE.info, bytes=5))).outcome
    assert isinstance(made, Rendition)
    assert made.info.bytes == len(BODY)


@pytest.mark.parametrize("outcome", [CorruptImage("no \ud800 é"), TooManyPixels("x" * 9_000)])
def test_an_error_arrives_with_the_sources_digest(ends: tuple[Stream, Stream], outcome: CorruptImage) -> None:
    answer = answered(ends, outcome)
    assert isinstance(answer.outcome, type(outcome))
    assert answer.outcome.detail == outcome.detail.encode(errors="replace").decode()
    assert answer.source_sha256 == sha256(SOURCE).hexdigest()


def test_a_failure_arrives(ends: tuple[Stream, Stream]) -> None:
    assert answered(ends, Failure("no memory", tries=2)).outcome == Failure("no memory", tries=2)


@pytest.mark.parametrize(
    "lie",
    [
        {"number": 8},
        {"kind": b"X"},
        {"kind": b"E", "size": 10},
        {"kind": b"E", "size": 10, "code": b"dns_failure"},
        {"kind": b"F", "size": 2**31},
        {"size": 2**32 - 1},
        {"size": 0},
        {"format": b"exe"},
        {"source_format": b"\xff\xfe"},
        {"width": 0},
        {"height": 2**31},
        {"source_bytes": 0},
        {"quality": 101},
        {"quality": 0},
        {"kept_original": True},
    ],
)
def test_an_answer_that_cannot_be_is_refused(
    ends: tuple[Stream, Stream], monkeypatch: pytest.MonkeyPatch, lie: dict[str, Any]
) -> None:
    packed = frames._packed_rendition
    monkeypatch.setattr(frames, "_packed_rendition", lambda *parts: packed(*parts)._replace(**lie))
    ends[1].send_answer(7, SOURCE, with_body(b"0123456789"))
    with pytest.raises(ValueError, match="the child's answer"):
        ends[0].receive_answer(7, 5.0)


def test_an_error_that_only_the_worker_may_raise_is_refused(ends: tuple[Stream, Stream]) -> None:
    with pytest.raises(ValueError, match="no known kind"):
        answered(ends, CodecTimeout("a lie"))


def test_an_answer_that_is_cut_off_ends_the_wait(ends: tuple[Stream, Stream]) -> None:
    ends[1].send(b"half a header")
    with pytest.raises(TimeoutError):
        ends[0].receive_answer(7, 0.3)
    ends[1].close()
    with pytest.raises(EOFError):
        ends[0].receive_answer(7, 60.0)


def test_a_child_that_reads_no_requests_does_not_hold_its_worker(ends: tuple[Stream, Stream]) -> None:
    """As one might that answers without reading."""

    def send_many(source: int) -> None:
        for number in range(100_000):
            ends[0].send_request(number, Recipe(), source)

    with in_memory(SOURCE) as file, ThreadPoolExecutor(1) as worker:
        sending = worker.submit(send_many, file.fileno())
        wait([sending], timeout=60)
        ends[1].shut_down()  # so that this test ends, whatever is wrong
        assert isinstance(sending.exception(), BlockingIOError)


def answered(ends: tuple[Stream, Stream], outcome: Outcome) -> frames.Answer:
    with ThreadPoolExecutor(1) as child:  # a large answer is more than the socket holds
        child.submit(ends[1].send_answer, 7, SOURCE, outcome)
        return ends[0].receive_answer(7, 20.0)
