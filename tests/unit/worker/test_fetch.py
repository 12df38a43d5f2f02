from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path
from uuid import uuid4

import pytest

from services.worker.fetch import FetchLimits, FetchResults, fetch_images
from shared.blobs import Blobs, connect, source_key
from shared.egress import Egress
from shared.errors import ConnectFailure, FetchTimeout
from shared.messages import FetchedImage, ImageRef
from tests.origin import Origin, body, late, status

REQUEST = uuid4()
LIMITS = FetchLimits(first_seconds=0.3, total_seconds=0.8, max_bytes=10_000)


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
    with ThreadPoolExecutor(4) as pool:
        results = fetch_images(
            images,
            request_id=REQUEST,
            egress=egress,
            blobs=blobs,
            pool=pool,
            stopping=Future(),
            slow=slow,
            limits=LIMITS,
        )
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
