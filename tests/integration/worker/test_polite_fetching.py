"""Limits and pauses on the way of real batches: real Valkey, rows and image hosts; each `Politeness` is a worker's."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from threading import Event, Lock
from typing import Any
from uuid import UUID

import pytest
import redis

from services.notifier import sweep
from services.notifier.close import close
from services.worker.fetch import Fetcher, fetch_batch
from services.worker.politeness import HOST, Politeness
from services.worker.settings import FetchLimits
from shared.db import Database
from shared.messages import FetchBatch, ImageRef
from tests.integration.batches import done, fetch_of, report
from tests.integration.seed import add_request, group_row, image_rows, pass_time, request_row
from tests.origin import Exchange, Origin, body, redirect, status
from tests.stack import until

PICTURE = body(b"a picture")
IMAGES = 56
PATIENT = FetchLimits(first_fetch_seconds=20, fetch_seconds=20)
Workers = Callable[..., Fetcher]


@dataclass(slots=True)
class Crowd:
    """A behaviour that knows how many requests were under way at once."""

    most: int = 0
    _now: int = 0
    _lock: Lock = field(default_factory=Lock)

    def __call__(self, exchange: Exchange) -> None:
        with self._lock:
            self._now += 1
            self.most = max(self.most, self._now)
        exchange.pause(0.02)
        with self._lock:
            self._now -= 1
        PICTURE(exchange)


@pytest.fixture
def request_id(database: Database) -> UUID:
    return add_request(database, images=IMAGES)


@pytest.fixture
def worker(fetcher: Fetcher, polite: Callable[..., Politeness]) -> Workers:
    """Makes another worker."""
    return lambda *, limit=1024, visit=10.0: replace(
        fetcher, limits=PATIENT, politeness=polite(limit=limit, visit_seconds=visit)
    )


@pytest.fixture
def client(redis_url: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(redis_url) as client:
        yield client


@pytest.fixture
def other(busy: Origin) -> Origin:
    """A second host, that is not busy at all."""
    busy.otherwise = PICTURE
    return busy


def batch_of(request_id: UUID, numbers: Sequence[int], *origins: Origin) -> FetchBatch:
    """Its images are of each origin in turn."""
    images = tuple(ImageRef(number=n, url=origins[n % len(origins)].url(f"/{n}.jpg")) for n in numbers)
    return fetch_of(request_id, numbers).model_copy(update={"images": images})


def came(fetcher: Fetcher, batch: FetchBatch) -> list[int]:
    """Fetch, and settle what came as if it were compressed."""
    numbers = [image.number for image in fetch_batch(fetcher, batch).images]
    report(fetcher.database, batch, [done(number) for number in numbers])
    return numbers


def attempts(database: Database, request_id: UUID) -> list[int]:
    return [row["attempts"] for row in image_rows(database, request_id).values()]


def hits(origin: Origin) -> int:
    return sum(origin.hits(f"/{n}.jpg") for n in range(1, IMAGES + 1))


def test_all_images_of_a_host_with_a_low_limit_come_and_never_more_at_once(
    database: Database, request_id: UUID, worker: Workers, origin: Origin, threads: ThreadPoolExecutor
) -> None:
    origin.otherwise = crowd = Crowd()
    left, sweeps = list(range(1, 41)), 0
    while left:
        batches = [batch_of(request_id, left[start : start + 16], origin) for start in range(0, len(left), 16)]
        fetched = threads.map(lambda batch: came(worker(limit=2, visit=0.1), batch), batches)
        left = sorted({*left} - {number for numbers in fetched for number in numbers})
        pass_time(database, request_id, 100)
        sweeps += 1
        assert sweeps < 40
    assert sweeps > 1
    assert crowd.most == 2
    assert attempts(database, request_id)[:40] == [1] * 40, "being put off costs none"


def test_a_host_at_its_limit_holds_no_thread_and_none_of_the_others_images(
    request_id: UUID, worker: Workers, origin: Origin, other: Origin, threads: ThreadPoolExecutor
) -> None:
    full, free = Event(), Event()

    def held(exchange: Exchange) -> None:
        full.set()
        assert free.wait(20)
        PICTURE(exchange)

    origin.otherwise = held
    first = threads.submit(came, worker(limit=1), batch_of(request_id, [1], origin))
    assert full.wait(20)
    assert came(worker(limit=1), batch_of(request_id, range(2, 18), origin, other)) == list(range(3, 18, 2))
    assert hits(origin) == 1
    free.set()
    assert first.result() == [1]


def test_a_place_serves_one_image_after_another(request_id: UUID, worker: Workers, origin: Origin) -> None:
    origin.otherwise = crowd = Crowd()
    came(worker(limit=3), batch_of(request_id, range(1, 17), origin))
    assert len(came(worker(limit=3), batch_of(request_id, range(17, 33), origin))) > 3, (
        "now it knows how long one takes"
    )
    assert crowd.most == 3
    assert origin.connections == 3


def test_no_worker_asks_a_host_that_wants_a_pause_and_other_hosts_go_on(
    database: Database, request_id: UUID, worker: Workers, origin: Origin, other: Origin
) -> None:
    origin.otherwise = status(429, headers={"Retry-After": "300"})
    assert came(worker(), batch_of(request_id, [2], origin)) == []
    for numbers in (range(3, 19), range(19, 35)):
        assert came(worker(), batch_of(request_id, numbers, origin, other)) == [n for n in numbers if n % 2]
    assert hits(origin) == 1
    rows = image_rows(database, request_id)
    assert (rows[2]["attempts"], rows[2]["error_code"]) == (1, "http_status"), "it was tried"
    assert {
        (row["attempts"], row["error_code"], row["claimed_by"]) for n, row in rows.items() if n in range(4, 35, 2)
    } == {(0, None, None)}
    assert all(290 < rows[number]["due_in"] < 400 for number in range(4, 35, 2))
    assert group_row(database, request_id)["in_flight"] == 0, "they leave room in the window"


def test_others_learn_of_a_pause_before_the_batch_that_met_it_has_ended(
    request_id: UUID, worker: Workers, origin: Origin, other: Origin, threads: ThreadPoolExecutor, client: redis.Redis
) -> None:
    """That batch waits for another host until the others have been there."""
    free = Event()

    def slow(exchange: Exchange) -> None:
        assert free.wait(20)
        PICTURE(exchange)

    origin.otherwise, other.otherwise = status(429, headers={"Retry-After": "300"}), slow
    first = threads.submit(came, worker(), batch_of(request_id, range(1, 5), origin, other))
    until(lambda: client.zscore(HOST + origin.place, "paused"))
    assert came(worker(), batch_of(request_id, range(5, 21), origin)) == []
    assert hits(origin) == 2
    free.set()
    assert first.result() == [1, 3]


def test_a_pause_ends_the_rounds_of_the_visit_that_meets_it(
    database: Database, request_id: UUID, worker: Workers, origin: Origin
) -> None:
    """Of a host at its limit: the images that have had no turn yet lose no attempt."""
    origin.otherwise = PICTURE
    origin.on("/3.jpg", status(429, headers={"Retry-After": "300"}))
    assert came(worker(limit=1), batch_of(request_id, range(1, 6), origin)) == [1, 2]
    assert hits(origin) == 3
    assert attempts(database, request_id)[:5] == [1, 1, 1, 0, 0]
    assert image_rows(database, request_id)[5]["due_in"] > 290


def test_a_host_that_is_overloaded_is_left_alone(request_id: UUID, worker: Workers, origin: Origin) -> None:
    origin.otherwise = status(503, headers={"Retry-After": "300"})
    assert came(worker(), batch_of(request_id, [1, 2], origin)) == []
    assert came(worker(), batch_of(request_id, range(3, 19), origin)) == []
    assert hits(origin) == 2


def test_a_broken_image_is_no_overload_at_once_or_tried_again(
    database: Database, request_id: UUID, worker: Workers, origin: Origin
) -> None:
    """Its host's other images come: 503 with `Retry-After` is what Varnish says of an image that cannot be made."""
    origin.otherwise = PICTURE
    origin.on("/1.jpg", status(503, headers={"Retry-After": "5"}))
    assert came(worker(), batch_of(request_id, [1, 2], origin)) == [2]
    assert came(worker(), batch_of(request_id, [3, 4], origin)) == [3, 4]
    pass_time(database, request_id, 10)
    assert came(worker(), batch_of(request_id, [1], origin)) == []
    assert origin.hits("/1.jpg") == 2
    assert came(worker(), batch_of(request_id, [5, 6], origin)) == [5, 6]


def test_a_pause_is_that_of_the_host_that_asked_not_of_the_one_that_redirected_there(
    request_id: UUID, worker: Workers, origin: Origin, other: Origin
) -> None:
    """Or an open redirect would let anybody have a host left alone."""
    other.on("/1.jpg", redirect(origin.url("/1.jpg")))
    origin.otherwise = status(429, headers={"Retry-After": "300"})
    assert came(worker(), batch_of(request_id, [1], other)) == []
    assert came(worker(), batch_of(request_id, range(2, 6), origin, other)) == [3, 5]


def test_fetching_goes_on_without_valkey_each_worker_with_a_limit_of_its_own(
    request_id: UUID, fetcher: Fetcher, origin: Origin
) -> None:
    origin.otherwise = crowd = Crowd()
    nowhere = redis.Redis.from_url("redis://127.0.0.1:1")
    alone = Politeness(nowhere, limit=3, visit_seconds=10, lease_seconds=60)
    alone_there = replace(fetcher, limits=PATIENT, politeness=alone)
    assert came(alone_there, batch_of(request_id, range(1, 17), origin)) == [1, 2, 3]
    assert came(alone_there, batch_of(request_id, range(17, 33), origin)) == [17, 18, 19]
    assert crowd.most <= 3


def test_a_place_that_a_killed_worker_held_is_another_s_when_the_lease_ends(
    request_id: UUID, worker: Workers, fetcher: Fetcher, origin: Origin, client: redis.Redis
) -> None:
    origin.otherwise = PICTURE
    dead = worker(limit=2).politeness.admit({origin.place: 2})
    assert came(worker(limit=2), batch_of(request_id, [1], origin)) == []
    members: Any = client.zrange(HOST + origin.place, 0, -1)
    (lease,) = [member for member in members if b" " in member]
    client.zincrby(HOST + origin.place, -61_000, lease)
    pass_time(fetcher.database, request_id, 100)
    assert came(worker(limit=2), batch_of(request_id, [1], origin)) == [1]
    assert dead.admissions[origin.place].places == 2


def test_a_host_that_wants_pauses_for_ever_cannot_keep_a_request_open_beyond_its_deadline(
    database: Database, request_id: UUID, worker: Workers, origin: Origin
) -> None:
    origin.otherwise = status(429, headers={"Retry-After": "3600"})
    for _ in range(3):
        came(worker(limit=2), batch_of(request_id, range(1, IMAGES + 1)[:16], origin))
        pass_time(database, request_id, 4000)
    assert max(attempts(database, request_id)[2:]) == 0
    pass_time(database, request_id, 24 * 3600)
    assert database.transact(lambda session: sweep.expire_requests(session, 200))
    database.transact(lambda session: close(session, request_id, public_url="", wait=False))
    request = request_row(database, request_id)
    assert (request["status"], request["failed"]) == ("failed", IMAGES)
    assert {row["error_code"] for row in image_rows(database, request_id).values()} == {"expired"}
