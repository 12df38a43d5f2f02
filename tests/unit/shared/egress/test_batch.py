"""Many images at once: one hand-over to the loop, outcomes as they come, and an end when the worker stops."""

import asyncio
import threading
import time
from collections.abc import Callable
from itertools import islice
from typing import Any

import pytest

from shared.egress import Egress, client
from shared.egress.loop import running_loop
from shared.errors import FetchTimeout, HttpStatus, ImageError
from tests.origin import Behaviour, Exchange, Origin, body
from tests.stack import until
from tests.unit.shared.egress.conftest import PICTURE, failure


class CountedLoop:
    """The loop, with what was handed to it."""

    def __init__(self) -> None:
        self.calls: list[Callable[..., object]] = []

    def call_soon_threadsafe(self, call: Callable[..., object], *arguments: Any) -> asyncio.Handle:
        self.calls.append(call)
        return running_loop().call_soon_threadsafe(call, *arguments)


def fetch_all(egress: Egress, urls: list[str], *, seconds: float = 30) -> dict[int, bytearray | BaseException | None]:
    ended = egress.fetch_all(urls, deadline_seconds=seconds, max_bytes=1_000_000)
    return {one.position: one.outcome for one in ended}


def waiting(event: threading.Event) -> Behaviour:
    def answer(exchange: Exchange) -> None:
        event.wait(30)
        body(b"late")(exchange)

    return answer


def test_a_batch_is_handed_over_once_and_needs_no_thread_of_its_own(
    origin: Origin, egress: Egress, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop, all_at_once = CountedLoop(), threading.Barrier(16)
    threads: list[set[str]] = []
    monkeypatch.setattr(client, "running_loop", lambda: loop)

    def together(exchange: Exchange) -> None:
        all_at_once.wait(30)
        threads.append({thread.name for thread in threading.enumerate()})
        body(PICTURE)(exchange)

    before = {"origin-connection", "egress"} | {thread.name for thread in threading.enumerate()}
    outcomes = fetch_all(egress, [origin.on("/a", together)] * 16)
    assert outcomes == dict.fromkeys(range(16), bytearray(PICTURE))
    assert len(loop.calls) == 1
    assert set().union(*threads) <= before


def test_each_url_has_an_outcome_of_its_own(origin: Origin, egress: Egress) -> None:
    outcomes = fetch_all(egress, [origin.url("/missing"), origin.add("/a", b"x"), "http://127.0.0.1:1/", "nonsense"])
    codes = {index: error.code for index, error in outcomes.items() if isinstance(error, ImageError)}
    assert codes == {0: "http_status", 2: "blocked_url", 3: "blocked_url"}
    assert outcomes[1] == bytearray(b"x")
    assert fetch_all(egress, []) == {}


def test_images_are_there_while_their_neighbours_are_still_waited_for(origin: Origin, egress: Egress) -> None:
    answer = threading.Event()
    slow = [origin.on(f"/slow{number}", waiting(answer)) for number in range(15)]
    outcomes = egress.fetch_all([*slow, origin.add("/a", b"x")], deadline_seconds=30, max_bytes=9)
    first = next(outcomes)
    assert first[:2] == (15, bytearray(b"x"))
    time.sleep(0.1)
    answer.set()
    late = list(outcomes)
    assert all(one.seconds >= first.seconds + 0.1 for one in late)  # whenever it is taken: each has its own time
    assert {index for index, outcome, _ in late if outcome == bytearray(b"late")} == set(range(15))


def test_a_dead_host_delays_no_other_batch(origin: Origin, egress: Egress) -> None:
    answer = threading.Event()
    dead = egress.fetch_all([origin.on("/dead", waiting(answer))] * 64, deadline_seconds=30, max_bytes=9)
    assert until(lambda: origin.hits("/dead") == 64)
    assert fetch_all(egress, [origin.add("/a", b"x")] * 16) == dict.fromkeys(range(16), bytearray(b"x"))
    answer.set()
    assert len(list(dead)) == 64


def test_one_deadline_ends_the_whole_batch(origin: Origin, egress: Egress) -> None:
    answer = threading.Event()
    outcomes = fetch_all(egress, [origin.on("/a", waiting(answer))] * 16, seconds=0.3)
    answer.set()
    assert {type(outcome) for outcome in outcomes.values()} == {FetchTimeout}


def test_giving_up_ends_what_is_under_way_and_begins_nothing_new(origin: Origin, egress: Egress) -> None:
    answer = threading.Event()
    slow = origin.on("/slow", waiting(answer))
    outcomes = egress.fetch_all([slow, slow, origin.url("/missing")], deadline_seconds=30, max_bytes=9)
    [(index, missing, _)] = islice(outcomes, 1)
    assert (index, type(missing)) == (2, HttpStatus)
    assert until(lambda: origin.hits("/slow") == 2)
    egress.give_up()
    assert {one.position: one.outcome for one in outcomes} == {0: None, 1: None}
    assert fetch_all(egress, [slow] * 3) == dict.fromkeys(range(3))
    answer.set()
    assert origin.hits("/slow") == 2


def test_a_bug_of_ours_costs_one_image(origin: Origin, egress: Egress, monkeypatch: pytest.MonkeyPatch) -> None:
    parse = client._parse

    def broken(url: str) -> object:
        return 1 / 0 if url.endswith("/odd") else parse(url)

    monkeypatch.setattr(client, "_parse", broken)
    outcomes = fetch_all(egress, [origin.url("/odd"), origin.add("/a", b"x")])
    assert isinstance(outcomes[0], ZeroDivisionError)
    assert outcomes[1] == bytearray(b"x")
    with pytest.raises(ZeroDivisionError):
        failure(egress, origin.url("/odd"))
