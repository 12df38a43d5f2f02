"""DELETE against a batch at work: whichever comes last, no file of the request is left."""

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from threading import Barrier
from uuid import UUID

import pytest
from sqlalchemy import text

from services.ingest.changes import cancel, erase_request
from services.notifier.reconcile import Reconciler
from services.worker.compress import Compressor, compress_batch
from services.worker.fetch import Fetcher, fetch_batch
from shared.blobs import Blobs, connect, erase_files, identity
from shared.blobs.store import STORE_ID
from shared.db import Database
from shared.messages import CompressBatch
from shared.schemas.accounts import DEFAULT_ACCOUNT
from tests.integration.batches import compress_after, fetch_of
from tests.integration.seed import add_request
from tests.integration.worker.conftest import BATCH, Codec, fetched, held, key_of
from tests.origin import Exchange, Origin, body

ROUNDS = 20


@pytest.fixture(params=["disk", "bucket"])
def blobs(request: pytest.FixtureRequest, tmp_path: Path, database: Database) -> Blobs:
    on_disk = request.param == "disk"
    blobs: Blobs = connect(tmp_path.as_uri()) if on_disk else request.getfixturevalue("bucket").connect()
    identity.introduce(database, blobs)
    return blobs


def stop_and_close(database: Database, request_id: UUID) -> None:
    """It is finished, and may be deleted, though a worker that lives still holds its images."""
    database.transact(lambda session: cancel(session, DEFAULT_ACCOUNT, request_id))
    reconciler = Reconciler(database=database, send=lambda _: True, public_url="https://shop.example")
    reconciler.run(request_id, 1, dispatch_no=None)


def erase(database: Database, blobs: Blobs, request_id: UUID) -> None:
    """What `DELETE` does."""
    database.transact(lambda session: erase_request(session, DEFAULT_ACCOUNT, request_id))
    erase_files(blobs, request_id)


def test_renditions_of_a_request_that_was_deleted_meanwhile_do_not_come_back(
    compressor: Compressor, codec: Codec, compress: CompressBatch, request_id: UUID
) -> None:
    def delete() -> None:
        stop_and_close(compressor.database, request_id)
        erase(compressor.database, compressor.blobs, request_id)

    codec.meanwhile = delete
    compress_batch(compressor, compress, fetched())
    assert len(codec.seen) == len(BATCH)
    assert list(compressor.blobs.folders()) == []


def test_sources_fetched_for_a_request_that_was_deleted_meanwhile_do_not_stay(
    fetcher: Fetcher, compressor: Compressor, request_id: UUID, origin: Origin
) -> None:
    def delete_first(exchange: Exchange) -> None:
        stop_and_close(fetcher.database, request_id)
        erase(fetcher.database, fetcher.blobs, request_id)
        body(b"picture")(exchange)

    origin.on("/1.jpg", delete_first)
    fetch = fetch_of(request_id, [1], base=origin.url(""))
    came = fetch_batch(fetcher, fetch)
    assert [found.number for found in came.images] == [1]
    compress_batch(compressor, compress_after(fetch), came)
    assert list(fetcher.blobs.folders()) == []


def test_a_request_that_was_only_cancelled_keeps_its_files(
    compressor: Compressor, codec: Codec, compress: CompressBatch, request_id: UUID
) -> None:
    codec.meanwhile = lambda: stop_and_close(compressor.database, request_id)
    compress_batch(compressor, compress, fetched())
    compress_batch(compressor, compress, fetched())
    assert compressor.blobs.exists(key_of(request_id, 1))


def test_delete_and_a_batch_that_stores_its_renditions_at_the_same_moment(
    compressor: Compressor, codec: Codec, database: Database
) -> None:
    for _ in range(ROUNDS):
        request_id = add_request(database, images=len(BATCH))
        compress = held(compressor, request_id)
        made = Barrier(2, action=partial(stop_and_close, database, request_id), timeout=10)
        codec.meanwhile = made.wait
        with ThreadPoolExecutor(1) as thread:
            work = thread.submit(compress_batch, compressor, compress, fetched())
            made.wait()
            erase(database, compressor.blobs, request_id)
            work.result(timeout=10)
        assert list(compressor.blobs.folders()) == []


def test_a_database_that_knows_no_request_of_the_store_erases_nothing(
    compressor: Compressor, compress: CompressBatch, request_id: UUID
) -> None:
    compressor.blobs.delete(STORE_ID)
    compressor.blobs.put(STORE_ID, b"0198c0de-0000-7000-8000-000000000000")
    compressor.database.transact(lambda session: session.execute(text("DELETE FROM processing_request")))
    compress_batch(compressor, compress, fetched())
    assert list(compressor.blobs.folders()) == [str(request_id)]
