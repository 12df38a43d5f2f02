from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from services.worker.fetch import Fetcher, FetchResults, fetch_images, retry_delay
from services.worker.settings import FetchLimits
from shared.blobs import Blobs, connect, source_key
from shared.egress import Egress
from shared.errors import (
    BlockedUrl,
    ConnectFailure,
    DnsFailure,
    FetchTimeout,
    HttpStatus,
    HttpStatusTransient,
    ImageError,
    IncompleteBody,
    NotAnImage,
)
from shared.messages import FetchedImage, ImageRef
from tests.origin import Origin, body, late, status

REQUEST = uuid4()
LIMITS = FetchLimits(first_fetch_seconds=0.3, fetch_seconds=0.8, max_source_bytes=10_000)


@pytest.fixture
def origin() -> Iterator[Origin]:
    with Origin() as origin:
        yield origin


@pytest.fixture
def blobs(tmp_path: Path) -> Blobs:
    return connect(f"file://{tmp_path}/blobs")


def fetch(origin: Origin, blobs: Blobs, *paths: str, slow: bool = False) -> FetchResults:
    """Fetch these paths as the images 1, 2, ..."""
    images = [ImageRef(number=number, url=origin.url(path)) for number, path in enumerate(paths, start=1)]
    egress = Egress([origin.place])
    nothing: Any = None  # fetching alone reaches no database and sends nothing
    with ThreadPoolExecutor(4) as threads:
        fetcher = Fetcher(
            database=nothing, egress=egress, blobs=blobs, threads=threads, limits=LIMITS, send_group=nothing
        )
        results = fetch_images(fetcher, images, request_id=REQUEST, slow=slow)
    egress.close()
    return results


def test_sources_land_in_the_store_in_the_batchs_order(origin: Origin, blobs: Blobs) -> None:
    paths = [f"/{number}" for number in range(8)]
    for path in paths:
        origin.add(path, path.encode() * 10)
    results = fetch(origin, blobs, *paths)
    digests = [sha256(path.encode() * 10).hexdigest() for path in paths]
    assert results.fetched == [
        FetchedImage(number=number, bytes=20, sha256=digest) for number, digest in enumerate(digests, start=1)
    ]
    assert [blobs.get(source_key(REQUEST, digest)) for digest in digests] == [path.encode() * 10 for path in paths]
    assert (results.failed, results.slow, results.unstored) == ([], [], [])


def test_one_image_that_fails_leaves_its_neighbours_alone(origin: Origin, blobs: Blobs) -> None:
    origin.add("/good", b"x")
    origin.add("/big", b"x" * 20_000)
    origin.on("/busy", status(503, headers={"Retry-After": "60"}))
    results = fetch(origin, blobs, "/missing", "/good", "/big", "/busy")
    assert [image.number for image in results.fetched] == [2]
    assert [(number, error.code, error.retry_after) for number, error in results.failed] == [
        (1, "http_status", None),
        (3, "too_large", None),
        (4, "http_status", 60),
    ]


def test_an_image_beyond_the_first_fetchs_time_is_slow_and_not_failed(origin: Origin, blobs: Blobs) -> None:
    origin.add("/good", b"x")
    origin.on("/slow", late(body(b"picture"), seconds=0.5))
    results = fetch(origin, blobs, "/slow", "/good")
    assert results.slow == [1]
    assert [image.number for image in results.fetched] == [2]
    assert results.failed == []


def test_a_slow_image_gets_the_full_time(origin: Origin, blobs: Blobs) -> None:
    origin.on("/slow", late(body(b"picture"), seconds=0.5))
    origin.on("/slower", late(body(b"picture"), seconds=5))
    results = fetch(origin, blobs, "/slow", "/slower", slow=True)
    assert [image.number for image in results.fetched] == [1]
    assert [(number, type(error)) for number, error in results.failed] == [(2, FetchTimeout)]
    assert results.slow == []


def test_a_store_that_fails_is_no_fault_of_the_image(origin: Origin, blobs: Blobs, tmp_path: Path) -> None:
    (tmp_path / "blobs" / str(REQUEST)).write_bytes(b"a file where a folder should be")
    origin.add("/good", b"x")
    results = fetch(origin, blobs, "/good", "/missing")
    assert [number for number, _ in results.unstored] == [1]
    assert [number for number, _ in results.failed] == [2]
    assert results.fetched == []


def test_a_mistake_of_ours_is_tried_again_and_touches_no_neighbour(
    origin: Origin, blobs: Blobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    origin.add("/good", b"x")
    origin.add("/odd", b"odd")
    put = type(blobs).put

    def broken(store: Blobs, key: str, data: bytes, *, durable: bool = True) -> None:
        if data == b"odd":
            raise ZeroDivisionError
        put(store, key, data, durable=durable)

    monkeypatch.setattr(type(blobs), "put", broken)
    results = fetch(origin, blobs, "/odd", "/good")
    assert [(number, type(error)) for number, error in results.failed] == [(1, ConnectFailure)]
    assert [image.number for image in results.fetched] == [2]


def test_an_empty_batch_is_an_empty_result(origin: Origin, blobs: Blobs) -> None:
    assert fetch(origin, blobs) == FetchResults()


def none() -> float:
    return 0.0


def most() -> float:
    return 1.0


@pytest.mark.parametrize("kind", [DnsFailure, ConnectFailure, FetchTimeout, IncompleteBody, HttpStatusTransient])
def test_a_transient_failure_has_five_attempts(kind: type[ImageError]) -> None:
    delays = [retry_delay(kind("no"), attempts=attempts, random=none) for attempts in range(1, 6)]
    assert delays == [5, 15, 60, 120, None]


@pytest.mark.parametrize("kind", [HttpStatus, BlockedUrl, NotAnImage])
def test_any_other_failure_is_final_at_once(kind: type[ImageError]) -> None:
    assert retry_delay(kind("no"), attempts=1, random=none) is None


def test_chance_adds_at_most_a_quarter() -> None:
    assert retry_delay(ConnectFailure("no"), attempts=1, random=most) == 6.25


@pytest.mark.parametrize(("asked", "delay"), [(None, 5), (0, 5), (90, 90), (3600, 3600), (10**6, 3600)])
def test_retry_after_prolongs_up_to_an_hour_and_never_shortens(asked: float | None, delay: float) -> None:
    error = HttpStatusTransient("503", retry_after=asked)
    assert retry_delay(error, attempts=1, random=none) == delay


def test_retry_after_gives_no_sixth_attempt() -> None:
    assert retry_delay(HttpStatusTransient("503", retry_after=5), attempts=5, random=none) is None
