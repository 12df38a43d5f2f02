"""Claim, fetch, settle what failed, hand on what came: against a real image host."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from hashlib import sha256
from uuid import UUID

import pytest
from prometheus_client import REGISTRY

from services.worker.fetch import Fetcher, fetch_batch
from services.worker.settings import FetchLimits
from shared.blobs import BlobMissing, Blobs, source_key
from shared.egress import Egress
from shared.egress.loop import Ended
from shared.errors import StorageError
from shared.messages import FetchBatch, Fetched, FetchSlowBatch, ImageRef
from tests.integration.batches import Post, done, fetch_of, report, take
from tests.integration.seed import Row, group_row, image_rows, pass_time, stop
from tests.origin import Exchange, Origin, body, late, status
from tests.stack import until


@pytest.fixture
def batch(request_id: UUID, origin: Origin, busy: Origin) -> FetchBatch:
    """Four images that come, one that is not there, one whose host is busy, one that is slow, one whose host is bad."""
    for number in (1, 2, 3, 4):
        origin.add(f"/{number}.jpg", b"picture %d" % number)
    slow = body(b"picture 7")
    origin.on("/7.jpg", late(slow, seconds=30), late(slow, seconds=0.8))  # the second time in the slow queue
    fetch = fetch_of(request_id, range(1, 9), base=origin.url(""))
    private = ImageRef(number=8, url="http://127.0.0.1:1/8.jpg")
    held_up = ImageRef(number=6, url=busy.url("/6.jpg"))
    return fetch.model_copy(update={"images": (*fetch.images[:5], held_up, fetch.images[6], private)})


def is_stored(fetcher: Fetcher, request_id: UUID, picture: bytes) -> bool:
    with suppress(BlobMissing):
        return fetcher.blobs.size(source_key(request_id, sha256(picture).hexdigest())) > 0
    return False


def summary(rows: dict[int, Row]) -> dict[int, tuple[object, ...]]:
    return {number: (row["state"], row["error_code"], row["attempts"]) for number, row in rows.items()}


def test_sources_are_handed_on_and_everything_else_is_settled(
    fetcher: Fetcher, batch: FetchBatch, request_id: UUID
) -> None:
    fetched = fetch_batch(fetcher, batch)
    assert [image.number for image in fetched.images] == [1, 2, 3, 4]
    key = source_key(request_id, fetched.images[1].sha256)
    assert fetched.images[1].sha256 == sha256(b"picture 2").hexdigest()
    assert fetcher.blobs.get(key) == b"picture 2"
    rows = image_rows(fetcher.database, request_id)
    assert summary(rows) == dict.fromkeys(range(1, 5), ("pending", None, 1)) | {
        5: ("failed", "http_status", 1),
        6: ("pending", "http_status", 1),
        7: ("pending", None, 0),
        8: ("failed", "blocked_url", 1),
    }
    assert 35 < rows[6]["due_in"] <= 40
    assert {rows[number]["claimed_by"] for number in (1, 2, 3, 4, 7)} == {batch.claim}
    assert group_row(fetcher.database, request_id)["failed"] == 2


def test_the_time_of_a_fetch_is_kept_whether_it_went_well_or_not(
    fetcher: Fetcher, batch: FetchBatch, request_id: UUID, origin: Origin
) -> None:
    before = REGISTRY.get_sample_value("halftone_fetch_seconds_count") or 0
    origin.on("/1.jpg", late(body(b"picture 1"), seconds=0.3))
    origin.on("/5.jpg", late(status(404), seconds=0.3))
    fetched = {image.number: image for image in fetch_batch(fetcher, batch).images}
    rows = image_rows(fetcher.database, request_id)
    assert REGISTRY.get_sample_value("halftone_fetch_seconds_count") == before + 8
    assert (fetched[1].fetch_ms or 0) >= 300
    assert fetched[2].fetch_ms is not None
    assert rows[5]["fetch_ms"] >= 300
    assert rows[6]["fetch_ms"] >= 0  # to be tried again
    assert rows[7]["fetch_ms"] is None  # in the slow queue
    assert {number for number, row in rows.items() if row["settled_at"] is not None} == {5, 8}


def test_a_batch_is_one_call_and_each_source_is_stored_while_others_are_waited_for(
    fetcher: Fetcher, request_id: UUID, origin: Origin, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetch_all, calls = Egress.fetch_all, []

    def counted(egress: Egress, urls: Sequence[str], **limits: float) -> Iterator[Ended[bytearray]]:
        calls.append(len(urls))
        return fetch_all(egress, urls, **limits)  # type: ignore[arg-type]

    def after_the_first(exchange: Exchange) -> None:
        until(lambda: is_stored(fetcher, request_id, b"picture 1"), within=20)
        body(b"picture 2")(exchange)

    monkeypatch.setattr(Egress, "fetch_all", counted)
    origin.add("/1.jpg", b"picture 1")
    origin.on("/2.jpg", after_the_first)
    patient = replace(fetcher, limits=FetchLimits(first_fetch_seconds=30))
    fetched = fetch_batch(patient, fetch_of(request_id, (2, 1), base=origin.url("")))
    assert [image.number for image in fetched.images] == [2, 1]
    assert calls == [2]


def test_a_stopping_worker_hands_back_images_that_have_not_come(
    fetcher: Fetcher, request_id: UUID, origin: Origin
) -> None:
    def until_it_stops(exchange: Exchange) -> None:
        until(lambda: is_stored(fetcher, request_id, b"picture 1"), within=20)
        fetcher.give_up()
        late(body(b"picture 2"), seconds=5)(exchange)

    origin.add("/1.jpg", b"picture 1")
    origin.on("/2.jpg", until_it_stops)
    slow = FetchSlowBatch.model_validate(fetch_of(request_id, (1, 2), base=origin.url("")).model_dump())
    assert [image.number for image in fetch_batch(fetcher, slow).images] == [1]
    row = image_rows(fetcher.database, request_id)[2]
    assert (row["attempts"], row["claimed_by"], row["due_in"] <= 0) == (0, None, True)


def test_a_slow_image_is_fetched_in_the_slow_queue(
    fetcher: Fetcher, batch: FetchBatch, request_id: UUID, post: Post
) -> None:
    fetch_batch(fetcher, batch)
    ((done, [(slow, compress)]),) = post.groups
    assert isinstance(slow, FetchSlowBatch)
    assert [image.number for image in slow.images] == [7]
    assert compress is not None
    assert (slow.takes_over, compress.takes_over) == (batch.claim, slow.claim)
    assert (done.group, done.dispatch_no) == (batch.group, batch.dispatch_no)
    fetched = fetch_batch(fetcher, slow)
    assert [image.number for image in fetched.images] == [7]
    assert image_rows(fetcher.database, request_id)[7]["attempts"] == 1


def test_an_image_that_the_slow_queue_cannot_fetch_is_due_again(
    fetcher: Fetcher, batch: FetchBatch, request_id: UUID, post: Post
) -> None:
    fetch_batch(fetcher, batch)
    slow = post.batches[0]
    quick = replace(fetcher, limits=FetchLimits(fetch_seconds=0.2))
    assert fetch_batch(quick, slow) == Fetched()
    row = image_rows(fetcher.database, request_id)[7]
    assert (row["state"], row["error_code"], row["attempts"], row["claimed_by"]) == ("pending", "timeout", 1, None)
    assert len(post.groups) == 1


def test_claims_outlast_the_longest_fetch_that_the_settings_allow(
    fetcher: Fetcher, request_id: UUID, origin: Origin, post: Post
) -> None:
    lasting: list[float] = []
    pauses = [30.0, 0.5]

    def slow(exchange: Exchange) -> None:
        lasting.append(image_rows(fetcher.database, request_id)[1]["due_in"])
        late(body(b"picture"), seconds=pauses[len(lasting) - 1])(exchange)

    origin.on("/1.jpg", slow)
    patient = replace(fetcher, limits=FetchLimits(first_fetch_seconds=1.5, fetch_seconds=180))
    assert fetch_batch(patient, fetch_of(request_id, [1], base=origin.url(""))) == Fetched()
    assert 1700 < image_rows(fetcher.database, request_id)[1]["due_in"] <= 1800  # waiting in the slow queue
    assert fetch_batch(patient, post.batches[0]).images
    assert [250 < seconds <= 272 for seconds in lasting] == [True, True]


def test_a_slow_queue_that_cannot_be_reached_leaves_the_image_due_now(
    fetcher: Fetcher, batch: FetchBatch, request_id: UUID
) -> None:
    fetch_batch(replace(fetcher, send_group=Post(works=False)), batch)
    row = image_rows(fetcher.database, request_id)[7]
    assert (row["state"], row["attempts"], row["claimed_by"], row["isolated"]) == ("pending", 0, None, False)
    assert row["due_in"] <= 0


def test_nothing_is_fetched_without_a_claim(
    fetcher: Fetcher, batch: FetchBatch, request_id: UUID, origin: Origin
) -> None:
    take(fetcher.database, fetch_of(request_id, range(1, 9)), range(1, 9))
    assert fetch_batch(fetcher, batch) == Fetched()
    pass_time(fetcher.database, request_id, 121)
    stop(fetcher.database, request_id, "cancelled")
    assert fetch_batch(fetcher, batch) == Fetched()
    assert origin.hits("/1.jpg") == 0


def test_a_message_that_came_twice_fetches_nothing_the_second_time(
    fetcher: Fetcher, batch: FetchBatch, origin: Origin
) -> None:
    fetch_batch(fetcher, batch)
    assert fetch_batch(fetcher, batch) == Fetched()
    assert origin.hits("/1.jpg") == 1


def test_images_that_others_settled_are_not_fetched(
    fetcher: Fetcher, batch: FetchBatch, request_id: UUID, origin: Origin
) -> None:
    report(fetcher.database, batch, [done(1), done(2), done(3)])
    assert [image.number for image in fetch_batch(fetcher, batch).images] == [4]
    assert origin.hits("/1.jpg") == 0


def test_a_mistake_of_ours_or_a_huge_image_touches_no_neighbour(
    fetcher: Fetcher, batch: FetchBatch, request_id: UUID, origin: Origin, monkeypatch: pytest.MonkeyPatch
) -> None:
    origin.add("/1.jpg", b"odd")
    origin.add("/3.jpg", b"x" * (fetcher.limits.max_source_bytes + 1))
    put = type(fetcher.blobs).put

    def broken(store: Blobs, key: str, data: bytes, *, durable: bool = True) -> None:
        if data == b"odd":
            raise ZeroDivisionError
        put(store, key, data, durable=durable)

    monkeypatch.setattr(type(fetcher.blobs), "put", broken)
    assert [image.number for image in fetch_batch(fetcher, batch).images] == [2, 4]
    rows = image_rows(fetcher.database, request_id)
    assert summary(rows)[1] == ("pending", "connect_failure", 1)
    assert summary(rows)[3] == ("failed", "too_large", 1)


def test_a_full_disk_costs_no_attempt(fetcher: Fetcher, batch: FetchBatch, request_id: UUID) -> None:
    class Full:
        def put(self, *_: object, **__: object) -> None:
            raise StorageError("no space left")

    full: Blobs = Full()  # type: ignore[assignment]
    assert fetch_batch(replace(fetcher, blobs=full), batch) == Fetched()
    row = image_rows(fetcher.database, request_id)[1]
    assert (row["state"], row["attempts"], row["error_code"], row["claimed_by"]) == ("pending", 0, None, None)
    assert 10 < row["due_in"] <= 15
