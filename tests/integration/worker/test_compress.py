"""Take over, compress, store, settle; a codec of the test's own in place of the child processes."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from services.worker.codec import FileInfo, Rendition
from services.worker.compress import Compressor, compress_batch
from shared.blobs import connect, output_key, source_key
from shared.db import Database
from shared.errors import CorruptImage, ImageError, StorageError
from shared.messages import CompressBatch, Fetched, FetchedImage
from shared.recipe import Recipe
from tests.integration.batches import compress_after, fetch_of, take
from tests.integration.seed import add_request, group_row, image_rows, pass_time, stop

BATCH = list(range(1, 5))


class Codec:
    """Halves what it is given; a source that says so is corrupt. Waits once in the middle, as for a busy pool."""

    def __init__(self) -> None:
        self.seen: list[bytes] = []
        self.before_wait: Callable[[], object] = lambda: None
        self.after_wait: Callable[[], object] = lambda: None

    def compress(
        self, sources: Sequence[bytes], recipe: Recipe, *, on_wait: Callable[[], None]
    ) -> list[Rendition | ImageError]:
        self.seen += sources
        self.before_wait()
        on_wait()
        self.after_wait()
        return [CorruptImage("no") if source.startswith(b"corrupt") else _halved(source) for source in sources]


def _halved(source: bytes) -> Rendition:
    half = source[: len(source) // 2]
    return Rendition(
        body=half,
        info=FileInfo.of(half, "jpeg", (20, 10)),
        source=FileInfo.of(source, "png", (40, 20)),
        quality=50,
        kept_original=False,
    )


@pytest.fixture
def request_id(database: Database) -> UUID:
    return add_request(database, images=4)


@pytest.fixture
def codec() -> Codec:
    return Codec()


@pytest.fixture
def compressor(database: Database, codec: Codec, tmp_path: Path) -> Iterator[Compressor]:
    pool: Any = codec
    with ThreadPoolExecutor(4) as threads:
        yield Compressor(database=database, blobs=connect(tmp_path.as_uri()), pool=pool, threads=threads)


@pytest.fixture
def batch(compressor: Compressor, request_id: UUID) -> CompressBatch:
    return held(compressor, request_id)


def held(compressor: Compressor, request_id: UUID) -> CompressBatch:
    """Its fetch holds the images and has stored their sources."""
    fetch = fetch_of(request_id, BATCH)
    take(compressor.database, fetch, BATCH)
    for number in BATCH:
        compressor.blobs.put(source_key(request_id, digest(number)), _source(number), durable=False)
    return compress_after(fetch)


def _source(number: int) -> bytes:
    return b"picture number %d, as fetched" % number


def digest(number: int) -> str:
    return sha256(_source(number)).hexdigest()


def fetched(*numbers: int) -> Fetched:
    return Fetched(
        images=tuple(FetchedImage(number=n, bytes=len(_source(n)), sha256=digest(n)) for n in numbers or BATCH)
    )


def test_renditions_are_stored_and_settled(compressor: Compressor, batch: CompressBatch, request_id: UUID) -> None:
    compress_batch(compressor, batch, fetched())
    rows = image_rows(compressor.database, request_id)
    assert {row["state"] for row in rows.values()} == {"completed"}
    half = _source(2)[: len(_source(2)) // 2]
    assert compressor.blobs.get(output_key(request_id, rows[2]["rendition_sha256"], "jpg")) == half
    assert (rows[2]["source_sha256"], rows[2]["source_bytes"], rows[2]["source_format"]) == (
        digest(2),
        len(_source(2)),
        "png",
    )
    assert (rows[2]["rendition_bytes"], rows[2]["rendition_width"], rows[2]["kept_original"]) == (len(half), 20, False)
    assert group_row(compressor.database, request_id)["completed"] == 4


def test_a_corrupt_image_costs_its_neighbours_nothing(
    compressor: Compressor, batch: CompressBatch, request_id: UUID
) -> None:
    digest = sha256(b"corrupt").hexdigest()
    compressor.blobs.put(source_key(request_id, digest), b"corrupt", durable=False)
    images = (*fetched(1, 2, 3).images, FetchedImage(number=4, bytes=7, sha256=digest))
    compress_batch(compressor, batch, Fetched(images=images))
    rows = image_rows(compressor.database, request_id)
    assert [row["state"] for row in rows.values()] == ["completed", "completed", "completed", "failed"]
    assert rows[4]["error_code"] == "corrupt_image"


def test_a_source_that_is_not_there_is_fetched_again_and_no_error(
    compressor: Compressor, batch: CompressBatch, request_id: UUID
) -> None:
    compressor.blobs.delete(source_key(request_id, digest(3)))
    compress_batch(compressor, batch, fetched())
    rows = image_rows(compressor.database, request_id)
    assert [row["state"] for row in rows.values()] == ["completed", "completed", "pending", "completed"]
    assert (rows[3]["claimed_by"], rows[3]["error_code"], rows[3]["due_in"] <= 0) == (None, None, True)


def test_a_source_that_a_power_cut_has_spoilt_is_fetched_again(
    compressor: Compressor, batch: CompressBatch, request_id: UUID
) -> None:
    key = source_key(request_id, digest(3))
    compressor.blobs.delete(key)
    compressor.blobs.put(key, bytes(len(_source(3))), durable=False)
    compress_batch(compressor, batch, fetched())
    assert image_rows(compressor.database, request_id)[3]["state"] == "pending"
    assert not compressor.blobs.exists(key)


def test_nothing_fetched_is_nothing_to_do(compressor: Compressor, batch: CompressBatch, codec: Codec) -> None:
    compress_batch(compressor, batch, Fetched())
    assert codec.seen == []


def test_what_is_no_longer_ours_is_not_compressed(
    compressor: Compressor, batch: CompressBatch, request_id: UUID, codec: Codec
) -> None:
    pass_time(compressor.database, request_id, 121)
    take(compressor.database, fetch_of(request_id, [1, 2]), [1, 2])
    compress_batch(compressor, batch, fetched())
    assert codec.seen == [_source(3), _source(4)]
    assert [row["state"] for row in image_rows(compressor.database, request_id).values()] == [
        "pending",
        "pending",
        "completed",
        "completed",
    ]


def test_a_stopped_request_is_not_compressed(
    compressor: Compressor, batch: CompressBatch, request_id: UUID, codec: Codec
) -> None:
    stop(compressor.database, request_id, "cancelled")
    compress_batch(compressor, batch, fetched())
    assert codec.seen == []


def test_a_claim_is_renewed_while_the_codec_is_at_work(
    compressor: Compressor, batch: CompressBatch, request_id: UUID, codec: Codec
) -> None:
    claims: list[float] = []
    codec.before_wait = lambda: pass_time(compressor.database, request_id, 100)
    codec.after_wait = lambda: claims.append(image_rows(compressor.database, request_id)[1]["due_in"])
    compress_batch(compressor, batch, fetched())
    assert 110 < claims[0] <= 120


def test_a_store_that_cannot_be_read_costs_no_attempt(
    compressor: Compressor, batch: CompressBatch, request_id: UUID, tmp_path: Path
) -> None:
    source = tmp_path / source_key(request_id, digest(3))
    source.unlink()
    source.mkdir()  # reading it fails, and not because it is missing
    compress_batch(compressor, batch, fetched())
    row = image_rows(compressor.database, request_id)[3]
    assert (row["state"], row["attempts"], row["claimed_by"]) == ("pending", 0, None)
    assert 10 < row["due_in"] <= 15


def test_a_full_disk_costs_no_attempt_and_a_missing_source_waits_for_nothing(
    compressor: Compressor, batch: CompressBatch, request_id: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    def put(*_: object, **__: object) -> None:
        raise StorageError("no space left")

    compressor.blobs.delete(source_key(request_id, digest(2)))
    monkeypatch.setattr(type(compressor.blobs), "put", put)
    compress_batch(compressor, batch, fetched())
    rows = image_rows(compressor.database, request_id)
    assert {(row["state"], row["claimed_by"]) for row in rows.values()} == {("pending", None)}
    assert [row["attempts"] for row in rows.values()] == [0, 1, 0, 0]
    assert 10 < rows[1]["due_in"] <= 15
    assert rows[2]["due_in"] <= 0
