"""A worker's steps in this process: a real image host to fetch from, a codec of the tests' own to compress with."""

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any, BinaryIO
from uuid import UUID

import pytest
import redis

from services.worker.codec import FileInfo, Rendition
from services.worker.codec_pool import Made
from services.worker.compress import Compressor
from services.worker.fetch import Fetcher
from services.worker.fleet import Fleet
from services.worker.politeness import Politeness
from services.worker.settings import FetchLimits
from shared.blobs import Blobs, connect, source_key
from shared.db import Database
from shared.egress import Egress
from shared.errors import CodecCrashed, CorruptImage, StorageError
from shared.messages import CompressBatch, Fetched, FetchedImage
from shared.recipe import Recipe
from tests.integration.batches import Post, claimed_batch, compress_after
from tests.integration.seed import add_request
from tests.origin import Origin, status

BATCH = list(range(1, 9))


class Codec:
    """Halves what it is given; a source that says so is corrupt.

    `meanwhile` happens while it is at work, `between` after each source has been dealt with.
    """

    def __init__(self) -> None:
        self.seen: list[bytes] = []
        self.meanwhile: Callable[[], object] = lambda: None
        self.between: Callable[[int], object] = lambda _: None
        self.dies_of_zeros = False

    def compress(
        self, sources: Sequence[Callable[[], BinaryIO]], _recipe: Recipe, _request_id: UUID, _account_id: UUID
    ) -> Iterator[Made]:
        read = [_read(source) for source in sources]
        self.seen += [source for source in read if isinstance(source, bytes)]
        self.meanwhile()
        for index, source in enumerate(read):
            yield self._made(index, source)
            self.between(index)

    def _made(self, index: int, source: bytes | StorageError) -> Made:
        if isinstance(source, StorageError):
            return Made(index, source)
        if self.dies_of_zeros and not any(source):
            return Made(index, CodecCrashed("no"))
        made = CorruptImage("no") if source.startswith(b"corrupt") else halved(source)
        return Made(index, made, sha256(source).hexdigest())


def _read(source: Callable[[], BinaryIO]) -> bytes | StorageError:
    try:
        with source() as file:
            return file.read()
    except StorageError as error:
        return error


def halved(source: bytes) -> Rendition:
    half = source[: len(source) // 2]
    info, original = FileInfo.of(half, "jpeg", (20, 10)), FileInfo.of(source, "png", (40, 20))
    return Rendition(body=half, info=info, source=original, quality=50, kept_original=False)


def source_of(number: int) -> bytes:
    return b"picture number %d, as fetched" % number


def fetched(*numbers: int, claimed_for: float = 120) -> Fetched:
    """What the fetch of these images hands on, with so many seconds of its claim left."""
    sources = {number: source_of(number) for number in numbers or BATCH}
    return Fetched(
        images=tuple(
            FetchedImage(number=number, bytes=len(source), sha256=sha256(source).hexdigest(), fetch_ms=90 + number)
            for number, source in sources.items()
        ),
        until=time.time() + claimed_for,
    )


def key_of(request_id: UUID, number: int) -> str:
    """The key of an image's source."""
    return source_key(request_id, fetched(number).images[0].sha256)


def held(compressor: Compressor, request_id: UUID) -> CompressBatch:
    """Its fetch holds the images and has stored their sources."""
    fetch = claimed_batch(compressor.database, request_id, BATCH)
    for number in BATCH:
        compressor.blobs.put(key_of(request_id, number), source_of(number), durable=False)
    return compress_after(fetch)


@pytest.fixture
def request_id(database: Database) -> UUID:
    return add_request(database, images=len(BATCH))


@pytest.fixture
def blobs(tmp_path: Path) -> Blobs:
    return connect(tmp_path.as_uri())


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(8) as threads:
        yield threads


@pytest.fixture
def origin() -> Iterator[Origin]:
    with Origin() as origin:
        yield origin


@pytest.fixture
def busy() -> Iterator[Origin]:
    """A host of its own that wants to be left alone for a while."""
    with Origin(otherwise=status(503, headers={"Retry-After": "40"})) as busy:
        yield busy


@pytest.fixture
def post() -> Post:
    return Post()


@pytest.fixture
def polite(redis_url: str) -> Iterator[Callable[..., Politeness]]:
    """Makes what each worker has one of."""
    with redis.Redis.from_url(redis_url) as client:
        yield partial(Politeness, client, visit_seconds=0.5, lease_seconds=60, chance=lambda: 0.0)


@pytest.fixture
def fetcher(
    database: Database, origin: Origin, busy: Origin, blobs: Blobs, post: Post, polite: Callable[..., Politeness]
) -> Iterator[Fetcher]:
    egress = Egress((origin.place, busy.place))
    limits = FetchLimits(first_fetch_seconds=1.5, fetch_seconds=20.0, max_source_bytes=10_000)
    yield Fetcher(database=database, egress=egress, blobs=blobs, limits=limits, politeness=polite(), send_group=post)
    egress.close()


@pytest.fixture
def codec() -> Codec:
    return Codec()


@pytest.fixture
def fleet(redis_url: str) -> Iterator[Fleet]:
    with redis.Redis.from_url(redis_url) as client:
        yield Fleet(client, threads=8)


@pytest.fixture
def compressor(database: Database, codec: Codec, blobs: Blobs, fleet: Fleet) -> Compressor:
    pool: Any = codec
    return Compressor(database=database, blobs=blobs, pool=pool, begun_before=fleet.begun_before)


@pytest.fixture
def compress(compressor: Compressor, request_id: UUID) -> CompressBatch:
    return held(compressor, request_id)
